"""Modules of plain NumPy: what they compute, what they look like, and that they need no mlpx."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import fakecupy
import numpy as np
import pytest
from activation_cases import CASES, NAMES
from leaving_models import (
    DTYPES,
    ENDS,
    LAYERS,
    bare,
    ending,
    extreme,
    far,
    offset,
    overflowing,
    rows,
    same,
    turns,
    with_layer,
)

from mlpx import MLP, Dense, Dropout, Layer, Residual
from mlpx.errors import InputError
from mlpx.export.plain.layers import ACTIVATIONS
from mlpx.export.plain.layers import LAYERS as FORMS
from mlpx.kernels.activations import Activation

CLOSE = {
    "float32": {"relative": 1e-6, "absolute": 1e-6},
    "float64": {"relative": 1e-14, "absolute": 1e-14},
}
NEEDED = {"__future__", "json", "math", "zlib", "pathlib", "typing", "numpy"}
each_dtype = pytest.mark.parametrize("dtype", DTYPES)


@pytest.fixture
def left(tmp_path):
    """The module that a model is exported as."""
    return partial(exported, tmp_path / "net.py")


def exported(path, model, **options):
    model.export_numpy(path, **options)
    return imported(path)


def imported(path):
    text = path.read_text(encoding="utf-8")
    assert max(map(len, text.splitlines())) <= 100
    brought = {
        getattr(node, "module", None) or node.names[0].name
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert brought == NEEDED
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def defined(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]


def test_every_activation_and_layer_has_a_form():
    assert sorted(ACTIVATIONS) == NAMES
    assert set(FORMS) == {name for name in LAYERS if name in Layer.table}


@each_dtype
@pytest.mark.parametrize("case", range(len(CASES)), ids=lambda i: f"{CASES[i][0]}{i}")
def test_activations_at_extremes(left, case, dtype):
    model, x = bare(case, dtype), extreme(dtype)
    found, wanted = left(model).predict(x), model.predict(x)
    assert found.dtype == wanted.dtype
    # The native engine takes what is below the smallest normal numbers for 0.
    tiny = 200 * float(np.finfo(dtype).tiny)
    rtol = 1e-6 if dtype == "float32" else 1e-14
    if CASES[case][0] == "gelu_tanh":
        rtol *= 20  # far out, where it is below 1e-6, it is exp of a large rounded number
    np.testing.assert_allclose(found, wanted, rtol=rtol, atol=tiny)


@pytest.mark.parametrize("case", range(len(CASES)), ids=lambda i: f"{CASES[i][0]}{i}")
def test_activations_of_infinite_numbers(left, case):
    """They have the limits, as the model's have."""
    model, x = overflowing(case)
    module = left(model)
    with np.errstate(over="ignore"):
        found = module.predict(x)
    np.testing.assert_allclose(found, model.predict(x), rtol=1e-6)


@each_dtype
@pytest.mark.parametrize("name", LAYERS)
def test_layers(left, name, dtype):
    model = with_layer(LAYERS[name], dtype)
    module, layer, many = left(model), LAYERS[name], rows(40, 4, dtype)
    close = {key: turns(layer) * value for key, value in CLOSE[dtype].items()}
    for x in (many, far(layer) * many, many[:0], many[:1]):
        same(module.predict(x), model.predict(x), **close)


def test_an_offset_costs_a_layer_norm_nothing(left):
    model, x = offset()
    same(left(model).predict(x), model.predict(x), **CLOSE["float32"])


@pytest.mark.parametrize(("loss", "k"), ENDS, ids=lambda each: repr(each))
def test_answers_of_every_loss(left, loss, k):
    model = ending(loss, k)
    module = left(model)
    assert hasattr(module, "predict_proba") == (loss.link in ("softmax", "sigmoid"))
    for scale in (1.0, 30.0):
        x = scale * rows(30, 4)
        with np.errstate(over="ignore"):
            wanted = model.predict(x)
        found = module.predict(x)
        assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype)
        if loss.target_kind(k) == "values":
            if loss.link is None:
                same(found, wanted, **CLOSE["float32"])
            else:
                np.testing.assert_allclose(found, wanted, rtol=1e-4)  # exp of numbers up to 100
        else:
            np.testing.assert_array_equal(found, wanted)
        if loss.link in ("softmax", "sigmoid"):
            wanted = model.predict_proba(x)
            same(module.predict_proba(x), wanted, relative=1e-4, absolute=1e-6)


@pytest.mark.parametrize(
    "names",
    [
        ["a", 'b"', "ü\n"],
        ["it's", "'\"", "\U0001f600\t\\"],
        [7, -1, 3],
        np.array([5, 2**63 + 1, 1], np.uint64),
        ["long " * 9] * 3,
    ],
)
def test_classes_are_called_by_their_names(left, names):
    names = [f"{name}{i}" if name == "long " * 9 else name for i, name in enumerate(names)]
    model, x = ending("softmax_cross_entropy", 3), rows(30, 4)
    found = left(model, names=names).predict(x)
    assert found.tolist() == [names[i] for i in model.predict(x)]
    assert found.dtype.kind != "f"
    assert len(set(found.tolist())) > 1


def test_yes_and_no_have_names(left):
    model, x = ending("binary_cross_entropy", 1), rows(30, 4)
    found = left(model, names=["no", "yes"]).predict(x)
    assert found.tolist() == [("no", "yes")[i] for i in model.predict(x)]


def test_a_module_has_what_it_needs_and_nothing_else(tmp_path):
    path = tmp_path / "net.py"
    MLP([4, Dense(3, activation="silu"), Dropout(0.1), 2]).export_numpy(path)
    assert defined(path) == [
        "predict", "predict_proba", "outputs", "rows", "sigmoid", "logistic", "silu", "softmax",
        "not_infinite", "read",
    ]  # fmt: skip
    text = path.read_text()
    assert 'x = silu(x @ p["0.W"] + p["0.b"])  # 0 dense' in text
    assert "from net import predict, predict_proba" in text
    assert "dropout" not in text


def test_the_parameters_are_a_model_of_mlpx_too(tmp_path):
    model, x = with_layer(LAYERS["residual"], "float32"), rows(9, 4)
    model.export_numpy(tmp_path / "net.py")
    assert (MLP.load(tmp_path / "net.safetensors").predict(x) == model.predict(x)).all()
    model.export_numpy(tmp_path / "net.py")  # replaces what it wrote
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["net.py", "net.safetensors"]


def test_a_model_on_a_gpu_leaves_the_same_files(tmp_path):
    with fakecupy.installed():
        for name, device in (("cpu", "cpu"), ("gpu", "cuda")):
            (tmp_path / name).mkdir()
            model = with_layer(LAYERS["residual"], "float32", device=device)
            model.export_numpy(tmp_path / name / "net.py")
            model.export_onnx(tmp_path / name / "net.onnx")
    for file in (tmp_path / "cpu").iterdir():
        assert file.read_bytes() == (tmp_path / "gpu" / file.name).read_bytes()


def test_it_runs_where_there_is_no_mlpx(tmp_path):
    inner = Residual([Dense(6, activation="gelu"), "layer_norm"])
    model, x = MLP([4, 6, inner, 3]), rows(7, 4)
    model.export_numpy(tmp_path / "net.py", names=["a", "b", "c"])
    np.save(tmp_path / "x.npy", x)
    home = str(Path(np.__file__).parents[1])
    code = (
        f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {home!r}]; sys.modules['mlpx'] = None\n"
        "sys.modules['safetensors'] = None\n"
        f"import numpy as np; import net; x = np.load({str(tmp_path / 'x.npy')!r})\n"
        "print(*net.predict(x)); print(*net.predict_proba(x).ravel().tolist())"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-I", "-c", code], capture_output=True, text=True, check=True,
        timeout=60,
    )  # fmt: skip
    labels, numbers = done.stdout.splitlines()
    assert labels.split() == ["abc"[i] for i in model.predict(x)]
    found = np.array(list(map(float, numbers.split())), np.float32).reshape(7, 3)
    same(found, model.predict_proba(x), **CLOSE["float32"])


def test_rows_are_checked(left):
    module = left(MLP([4, 2]))
    with pytest.raises(ValueError, match=r"x.shape = \(2, 3\); wanted \(n, 4\)"):
        module.predict(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="x holds NaN or infinity"):
        module.predict(np.full((2, 4), np.nan))
    assert module.predict([[1, 2, 3, 4]]).shape == (1,)


def test_parameters_of_another_export_are_refused(tmp_path):
    path = tmp_path / "net.py"
    MLP([4, 2]).export_numpy(path)
    text = path.read_text()
    MLP([4, 2], seed=1).export_numpy(path)
    path.write_text(text)
    with pytest.raises(ValueError, match="is damaged, or was not written together with"):
        imported(path)


def test_parameters_of_other_shapes_are_refused(tmp_path):
    path = tmp_path / "net.py"
    MLP([4, 2]).export_numpy(path)
    path.write_text(path.read_text().replace('"0.b": (2,)', '"0.b": (1, 2)'))
    with pytest.raises(ValueError, match=r"0.b has shape \[2\]; wanted \(1, 2\)"):
        imported(path)


def test_a_model_that_is_there_is_not_replaced(tmp_path):
    saved = tmp_path / "net.safetensors"
    MLP([4, 2]).save(saved)
    before = saved.read_bytes()
    with pytest.raises(
        InputError, match=r"net.safetensors is there and net.py is not, so it may be a model"
    ):
        MLP([4, 2], seed=1).export_numpy(tmp_path / "net.py")
    assert saved.read_bytes() == before
    assert not (tmp_path / "net.py").exists()


def test_the_name_ends_in_py(tmp_path):
    with pytest.raises(InputError, match=r"net'; wanted a name that ends in .py"):
        MLP([4, 2]).export_numpy(tmp_path / "net")


def test_names_of_values_are_refused(tmp_path):
    with pytest.raises(InputError, match="this model answers values"):
        ending("mean_squared_error", 3).export_numpy(tmp_path / "net.py", names=["a", "b", "c"])


def test_columns_may_be_prepared_and_values_finished(left):
    model = ending("mean_squared_error", 3)
    before = '''
    def prepare(data: Any) -> np.ndarray:
        """Four columns by name."""
        return np.stack([data[name] for name in "abcd"], axis=1)
    '''
    after = "def finish(value: np.ndarray) -> np.ndarray:\n    return 3 * value"
    x = rows(9, 4)
    found = left(model, before=before, after=after).predict(dict(zip("abcd", x.T, strict=True)))
    same(found, 3 * model.predict(x), **CLOSE["float32"])


def test_a_record_without_a_form_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(Activation, "table", {**Activation.table})
    monkeypatch.setattr(Layer, "table", {**Layer.table})

    @dataclass(frozen=True)
    class Cube(Activation, name="cube"):
        """Of someone else."""

    @dataclass(frozen=True)
    class Turn(Layer, name="turn"):
        """Of someone else."""

    for entry, text in ((Cube(), "activation 'cube'"), (Turn(), "layer 'turn'")):
        with pytest.raises(InputError, match=f"the {text} has no form in plain NumPy"):
            MLP([3, entry, Dense(2)]).export_numpy(tmp_path / "net.py")
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("name", "told"),
    [("numpy.py", "imports numpy"), ("class.py", "is no name"), ("a-b.py", "is no name")],
)
def test_names_that_no_module_can_have(name: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=told):
        MLP([2, 3, 2]).export_numpy(tmp_path / name)
    assert not list(tmp_path.iterdir())
