"""Model files load bit for bit, are written atomically, and invalid ones are refused clearly."""

from __future__ import annotations

import json
import os
import pickle
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fakecupy
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from small_training import data, net, quiet, same

from mlpx import EMA, MLP, SGD, Adam, AdamW, Dense, Muon, Rescale
from mlpx.errors import CheckpointError, DeviceError, InputError
from mlpx.layers import Layer, Residual
from mlpx.network import checkpoint, saved
from mlpx.network.checkpoint import CHECKSUM, checksum
from mlpx.schedules import OneCycle

Header = dict[str, Any]
Tensors = dict[str, np.ndarray]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of a model trained for five steps."""
    model = net(dtype="float32")
    quiet(model, *data(), steps=5, optimizer=Adam(0.01))
    model.save(tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def parts(path: Path) -> tuple[Header, Tensors]:
    raw = path.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    return json.loads(json.loads(raw[8 : 8 + size])["__metadata__"]["mlpx"]), load_file(path)


def write(path: Path, header: Any, tensors: Tensors) -> None:
    """A file whose checksum is right, whatever else is wrong."""
    if isinstance(header, dict):
        header = {**header, CHECKSUM: checksum(header, tensors)}
    save_file(tensors, path, metadata={"mlpx": json.dumps(header)})


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", [str, Path])
def test_comes_back_bit_for_bit(dtype: str, kind: Any, tmp_path: Path) -> None:
    x, y = data()
    layers = [4, Rescale(0.5, -1), Dense(5, "sigmoid", bias=False), Dense(4, "tanh"), 3]
    model = MLP(layers, dtype=dtype, seed=7)
    quiet(model, x, y, steps=5, optimizer=Adam(0.01, beta1=0.8))
    place = kind(tmp_path / "größe 模型.safetensors")
    model.save(place)
    loaded = MLP.load(place)
    assert same(model, loaded)
    assert model.config() == loaded.config()
    assert model.layers == loaded.layers
    assert loaded.training_state is not None
    assert loaded.training_state.optimizer == Adam(0.01, beta1=0.8)
    assert loaded.predict_proba(x).tobytes() == model.predict_proba(x).tobytes()


def test_untrained_and_stateless(tmp_path: Path) -> None:
    model = net()
    model.save(tmp_path / "a")
    assert MLP.load(tmp_path / "a").training_state is None
    quiet(model, *data(), epochs=1, optimizer="adam")
    model.save(tmp_path / "b", training_state=False)
    loaded = MLP.load(tmp_path / "b")
    assert loaded.training_state is None
    assert loaded.flat.tobytes() == model.flat.tobytes()
    assert set(load_file(tmp_path / "b")) == set(model.parameters)


def test_what_a_model_is_about_is_kept_with_it(tmp_path: Path) -> None:
    model, about = net(), {"table": {"columns": ["größe", "b"], "median": 0.1, "none": None}}
    assert model.about is None
    model.about = about
    model.save(tmp_path / "model")
    assert MLP.load(tmp_path / "model").about == about
    assert pickle.loads(pickle.dumps(model)).about == about
    assert model.copy().about == about
    quiet(model, *data(), epochs=2, checkpoint=tmp_path / "run", every="1 epochs")
    checkpoint = max((tmp_path / "run").glob("checkpoint-*.safetensors"))
    assert MLP.load(checkpoint).about == about
    model.about = None
    model.save(tmp_path / "model")
    assert MLP.load(tmp_path / "model").about is None


@pytest.mark.parametrize("about", [[], "text", 5, False])
def test_what_a_model_is_about_is_an_object(about: Any, path: Path) -> None:
    header, tensors = parts(path)
    write(path, {**header, "about": about}, tensors)
    with pytest.raises(CheckpointError, match=r"about is .*; wanted a JSON object"):
        MLP.load(path)


def test_padding_is_not_saved(path: Path) -> None:
    model = MLP.load(path)
    stored = sum(tensor.size for tensor in load_file(path).values())
    assert stored == 3 * model.parameter_count < 3 * model.flat.size


def test_other_programs_can_read_it(path: Path) -> None:
    model, tensors = MLP.load(path), load_file(path)
    for name, value in model.parameters.items():
        assert np.array_equal(tensors[name], value)


def test_between_devices(path: Path, tmp_path: Path) -> None:
    x, y = data()
    host = MLP.load(path)
    with fakecupy.installed():
        device = MLP.load(path, device="cuda")
        assert device.device == "cuda:0"
        quiet(device, x, y, epochs=1, optimizer=Adam(0.01))
        device.save(tmp_path / "back")
    back = MLP.load(tmp_path / "back", device="cpu")
    quiet(host, x, y, epochs=1, optimizer=Adam(0.01))
    np.testing.assert_allclose(back.flat, host.flat, rtol=1e-6, atol=1e-7)
    assert back.training_state is not None
    assert back.training_state.position == 0


def test_unknown_device_is_not_the_files_fault(path: Path) -> None:
    with pytest.raises(InputError, match="'gpux' is not a known device"):
        MLP.load(path, device="gpux")
    with pytest.raises(DeviceError):
        MLP.load(path, device="cuda:99")


class TestDamaged:
    def test_truncated_anywhere(self, path: Path, tmp_path: Path) -> None:
        raw, cut = path.read_bytes(), tmp_path / "cut"
        for size in [*range(0, len(raw), 100), len(raw) - 1]:
            cut.write_bytes(raw[:size])
            with pytest.raises(CheckpointError, match="is not a whole safetensors file"):
                MLP.load(cut)

    @pytest.mark.parametrize(
        ("moment", "told"),
        [
            ("parse_json", "it changes while it is read"),
            ("_compare", "it changes"),
            ("checksum", ""),
        ],
    )
    def test_cut_while_it_is_read(
        self, moment: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """In the midst it is refused; what has been read is whole. A mapped file would end us."""
        path, model = tmp_path / "model", MLP([80, 80, 10])
        model.save(path)
        act = getattr(saved, moment)

        def late(*args: Any, **options: Any) -> Any:
            os.truncate(path, 4096)
            return act(*args, **options)

        monkeypatch.setattr(saved, moment, late)
        if told:
            with pytest.raises(CheckpointError, match=told):
                MLP.load(path)
        else:
            assert MLP.load(path).flat.tobytes() == model.flat.tobytes()

    def test_trailing_bytes(self, path: Path) -> None:
        path.write_bytes(path.read_bytes() + b"more")
        with pytest.raises(CheckpointError, match="not a whole"):
            MLP.load(path)

    @pytest.mark.parametrize("content", [b"", b"hello\n" * 50, b"\xff" * 64, b"PK\x03\x04" * 99])
    def test_foreign_content(self, content: bytes, tmp_path: Path) -> None:
        (tmp_path / "x").write_bytes(content)
        with pytest.raises(CheckpointError, match="not a whole safetensors file"):
            MLP.load(tmp_path / "x")

    def test_absent_file_and_folder(self, tmp_path: Path) -> None:
        with pytest.raises(CheckpointError, match="does not exist"):
            MLP.load(tmp_path / "absent")
        with pytest.raises(CheckpointError, match="not a whole safetensors file"):
            MLP.load(tmp_path)

    @pytest.mark.parametrize(
        "metadata",
        [None, {}, {"format": "pt"}, {"mlpx": "x"}, {"mlpx": "[]"}, {"mlpx": "{}"},
         {"mlpx": '{"format": "mlpx-model", "version": 1}'}, {"mlpx": "[" * 100_000}],
    )  # fmt: skip
    def test_foreign_safetensors(self, metadata: Any, tmp_path: Path) -> None:
        save_file({"weight": np.ones(3)}, tmp_path / "x", metadata=metadata)
        with pytest.raises(CheckpointError, match="but not a model of mlpx"):
            MLP.load(tmp_path / "x")

    def test_later_version(self, path: Path) -> None:
        header, tensors = parts(path)
        write(path, header | {"version": 3}, tensors)
        with pytest.raises(CheckpointError, match=r"by a newer mlpx, in version 3 .*update mlpx"):
            MLP.load(path)

    @pytest.mark.parametrize("version", [0, "2", True, None])
    def test_no_version(self, version: Any, path: Path) -> None:
        header, tensors = parts(path)
        write(path, header | {"version": version}, tensors)
        with pytest.raises(CheckpointError, match=r"has format .*reads 'mlpx-model', 1 to 2"):
            MLP.load(path)

    @pytest.mark.parametrize("change", ["header", "parameter", "moment"])
    def test_changed_content(self, change: str, path: Path) -> None:
        header, tensors = parts(path)
        if change == "header":
            header["model"]["seed"] += 1
        else:
            name = next(
                name for name in tensors if name.startswith("moment/") != (change == "parameter")
            )
            tensors[name].reshape(-1)[-1] += 1
        save_file(tensors, path, metadata={"mlpx": json.dumps(header)})
        with pytest.raises(CheckpointError, match="damaged: its content does not match its check"):
            MLP.load(path)


def test_the_first_version_had_no_checksum(path: Path) -> None:
    model, (header, tensors) = MLP.load(path), parts(path)
    del header[CHECKSUM]
    save_file(tensors, path, metadata={"mlpx": json.dumps(header | {"version": 1})})
    assert same(MLP.load(path), model)


def drop(name: str) -> Callable[[Header, Tensors], None]:
    return lambda header, tensors: (tensors.pop(name), None)[1]


def put(name: str, value: np.ndarray) -> Callable[[Header, Tensors], None]:
    return lambda header, tensors: tensors.update({name: value})


WRONG_TENSORS: dict[str, tuple[Callable[[Header, Tensors], None], str]] = {
    "missing": (drop("0.b"), r"missing \['0.b'\], unexpected \[\]"),
    "extra": (put("9.W", np.ones(2, "f4")), r"missing \[\], unexpected \['9.W'\]"),
    "missing moment": (drop("moment/v/0.b"), r"missing \['moment/v/0.b'\]"),
    "extra moment": (put("moment/q/0.b", np.ones(5, "f4")), r"unexpected \['moment/q/0.b'\]"),
    "shape": (put("0.W", np.ones((5, 4), "f4")), r"0.W is float32 \(5, 4\); .*\(4, 5\)"),
    "flat": (put("0.W", np.ones(20, "f4")), r"0.W is float32 \(20,\)"),
    "dtype": (put("0.W", np.ones((4, 5))), r"0.W is float64 \(4, 5\); .*says float32"),
    "moment shape": (put("moment/m/0.b", np.ones(4, "f4")), "moment/m/0.b is float32"),
    "integers": (put("0.b", np.ones(5, "i4")), "0.b is int32"),
}


@pytest.mark.parametrize("case", WRONG_TENSORS)
def test_wrong_tensors(case: str, path: Path) -> None:
    change, words = WRONG_TENSORS[case]
    header, tensors = parts(path)
    change(header, tensors)
    write(path, header, tensors)
    with pytest.raises(CheckpointError, match=words):
        MLP.load(path)


@pytest.mark.parametrize("arrays", [4, 400])
@pytest.mark.parametrize(
    "layer",
    [
        {"kind": "layer", "name": "dense", "units": 1},
        {"kind": "layer", "name": "dropout", "rate": 0.5},
    ],
    ids=["dense", "dropout"],
)
def test_many_layers_are_refused_before_they_are_built(
    layer: Header, arrays: int, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    header, _ = parts(path)
    layers = 20_000 if layer["name"] == "dense" else 50_000
    header["model"]["layers"] = [1] + [layer] * layers
    write(path, header, {f"{i}.x": np.ones(1, "f4") for i in range(arrays)})
    made = []
    monkeypatch.setattr(Layer, "from_config", lambda config: made.append(1) or Dense(1))
    with pytest.raises(CheckpointError, match=r"layers, and only|ture: missing") as caught:
        MLP.load(path)
    assert len(made) <= 20
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("inner", ["dropout", {"kind": "activation", "name": "relu"}])
@pytest.mark.parametrize("key", ["layers", "units"])
def test_many_layers_inside_one_are_refused_before_they_are_built(
    key: str, inner: Any, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    header, tensors = parts(path)
    block = {"kind": "layer", "name": "residual", "layers": ["relu"]}
    header["model"]["layers"] = [4, block | {"layers": [block | {key: [inner] * 20_000}]}]
    write(path, header, tensors)
    monkeypatch.setattr(Layer, "from_config", lambda config: pytest.fail("it is built"))
    with pytest.raises(CheckpointError, match=r"20,00\d layers, and only 18 arrays"):
        MLP.load(path)


def test_many_layers_without_arrays_come_back(tmp_path: Path) -> None:
    model = MLP([4, *["relu"] * 400, Residual(["tanh"] * 300), 2])
    model.save(tmp_path / "model")
    assert MLP.load(tmp_path / "model").layers == model.layers


def test_more_arrays_may_have_more_layers(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved, "MANY_LAYERS", 1)
    monkeypatch.setattr(saved, "MOST_LAYERS", 4)
    MLP([4, *["relu"] * 13, 2]).save(path)  # two arrays
    with pytest.raises(CheckpointError, match="14 layers, and only 2 arrays"):
        MLP.load(path)
    model = MLP([4, *["relu"] * 13, 3, 2])  # four
    model.save(path)
    assert MLP.load(path).layers == model.layers


def test_a_header_that_is_too_deep(path: Path) -> None:
    header, tensors = parts(path)
    deep: Any = 1.0
    for _ in range(400):
        deep = {"kind": "layer", "name": "residual", "layers": [deep]}
    header["model"]["layers"] = [4, deep]
    write(path, header, tensors)
    with pytest.raises(CheckpointError):
        MLP.load(path)


@pytest.mark.parametrize(
    "rule",
    [SGD(0.1), Adam(0.01, average=EMA()), AdamW(OneCycle(0.1)), Muon()],
    ids=lambda rule: rule.name,
)
def test_size_is_known_before_the_training(rule: Any, tmp_path: Path) -> None:
    for model in (MLP([4, 3]), net(), MLP([30, *[20] * 30, 3])):
        told = checkpoint.size_bytes(model, rule)
        x = np.zeros((8, model.d_in))
        quiet(model, x, np.arange(8) % 2, steps=1, optimizer=rule)
        model.save(tmp_path / "model")
        assert 0.5 * told - 2000 < (tmp_path / "model").stat().st_size <= told


BIG = 10**9
DENSE = {"kind": "layer", "name": "dense", "units": BIG}
HOSTILE: dict[str, tuple[str, Any]] = {
    "huge": ("layers", [BIG, DENSE]),
    "huge twice": ("layers", [BIG, DENSE, DENSE]),
    "null layers": ("layers", None),
    "no layers": ("layers", []),
    "word layers": ("layers", "dense"),
    "number layers": ("layers", 7),
    "dict layers": ("layers", {"a": 1}),
    "null width": ("layers", [None, DENSE]),
    "negative width": ("layers", [-4, DENSE]),
    "bare width": ("layers", [4, 5]),
    "null layer": ("layers", [4, None]),
    "unknown layer": ("layers", [4, {"kind": "layer", "name": "conv"}]),
    "unknown kind": ("layers", [4, {"kind": "os.system", "name": "ls"}]),
    "listed kind": ("layers", [4, {"kind": ["layer"], "name": "dense"}]),
    "no layer": ("layers", [4, {"kind": "activation", "name": "relu"}]),
    "units word": ("layers", [4, DENSE | {"units": "many"}]),
    "units 0": ("layers", [4, DENSE | {"units": 0}]),
    "units null": ("layers", [4, DENSE | {"units": None}]),
    "activation": ("layers", [4, DENSE | {"activation": {"kind": "loss", "name": "x"}}]),
    "activation list": ("layers", [4, DENSE | {"activation": [1]}]),
    "field": ("layers", [4, DENSE | {"__class__": 1}]),
    "dtype": ("dtype", "object"),
    "dtype null": ("dtype", None),
    "dtype list": ("dtype", [["a", "f4"]]),
    "half": ("dtype", "float16"),
    "loss": ("loss", {"kind": "loss", "name": "x"}),
    "loss kind": ("loss", {"kind": "layer", "name": "dense", "units": 3}),
    "loss null": ("loss", None),
    "seed": ("seed", -1),
    "seed word": ("seed", "x"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_architecture(case: str, path: Path) -> None:
    """Refused clearly, before anything of the claimed size is allocated."""
    field, value = HOSTILE[case]
    header, tensors = parts(path)
    header["model"][field] = value
    write(path, header, tensors)
    words = "cannot be built|does not match its own|its architecture says"
    peaks = []
    for _ in range(2):  # what other tests have left may take memory meanwhile
        tracemalloc.start()
        with pytest.raises(CheckpointError, match=words):
            MLP.load(path)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert min(peaks) < 1_000_000


@pytest.mark.parametrize("field", ["layers", "dtype", "loss", "seed"])
def test_missing_field_of_the_architecture(field: str, path: Path) -> None:
    header, tensors = parts(path)
    del header["model"][field]
    write(path, header, tensors)
    with pytest.raises(CheckpointError, match=f"cannot be built: no '{field}'"):
        MLP.load(path)


@pytest.mark.parametrize("model", [None, [], "x", 3, {}])
def test_architecture_of_a_wrong_kind(model: Any, path: Path) -> None:
    header, tensors = parts(path)
    write(path, header | {"model": model}, tensors)
    with pytest.raises(CheckpointError, match="cannot be built"):
        MLP.load(path)


@pytest.mark.parametrize(
    ("field", "value"),
    [("step", -1), ("step", "x"), ("step", None), ("step", 1.5), ("step", float("inf")),
     ("epoch", -1), ("position", -1), ("pace", 3), ("pace", [1]), ("pace", None),
     ("optimizer", None), ("optimizer", {"kind": "loss", "name": "mean_squared_error"}),
     ("optimizer", {"kind": "optimizer", "name": "x"}),
     ("optimizer", {"kind": "optimizer", "name": "adam", "beta1": 7})],
)  # fmt: skip
def test_hostile_training_state(field: str, value: Any, path: Path) -> None:
    header, tensors = parts(path)
    header["training"][field] = value
    write(path, header, tensors)
    with pytest.raises(CheckpointError, match="has a training state that cannot be read"):
        MLP.load(path)


def test_impossible_place_in_an_epoch_begins_it_anew(path: Path) -> None:
    header, tensors = parts(path)
    header["training"]["position"] = 10**6
    write(path, header, tensors)
    history = quiet(MLP.load(path), *data(), epochs=1, optimizer=Adam(0.01))
    assert len(history.step_loss) == 4


def test_a_subclass_with_a_constructor_of_its_own_loads_a_model(tmp_path: Path) -> None:
    class Own(MLP):
        def __init__(self, width: int) -> None:
            super().__init__([5, width, 3])

    path = tmp_path / "own.safetensors"
    Own(4).save(path)
    assert Own.load(path).widths == [5, 4, 3]
