"""Every row of every table computes the same on the CPU and on a device.

The device is real hardware where there is some, and the fake CuPy everywhere: of the tables that
engines/cuda/test_kernels and engines/test_tables run on the fake, one row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any

import cudasim
import fakecupy
import numpy as np
import pytest
from accepted_input import DTYPES, FORMS, X, Y
from cudasim.cases import CASES, FLAT, POSITION, SINGLE, STEP, Case, Given
from cudasim.checking import FEW
from embedded import EMBEDDINGS

from mlpx import MLP, Dense, Optimizer, Residual, get_backend
from mlpx.backend.diagnosis import Diagnosis, diagnose
from mlpx.engines.cuda.kernels import StepPositions, launcher
from mlpx.engines.cuda.launches import ROOM_BYTES
from mlpx.engines.lowering import Operation
from mlpx.errors import InputError
from mlpx.kernels.activations import Activation
from mlpx.kernels.losses import Loss
from mlpx.layers import Layer
from mlpx.metrics import Metric
from mlpx.training.fit import SAMPLINGS

DEVICES = ("cuda:0", "cuda:1")
BOUND = 1e-11  # float64: four steps of sums over fewer than 50 numbers, 1000 eps each


@cache
def hardware() -> Diagnosis:
    """What there is. Asked once: a device that is lost later must fail tests, not skip them."""
    return diagnose()


@pytest.fixture(params=["fake", "cuda"])
def device(request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of a device that is not the CPU."""
    if request.param == "fake":
        with fakecupy.installed():
            yield "cuda"
        return
    found = hardware()
    if found.status != "ok":
        pytest.skip(f"no GPU: {found.message}")
    yield "cuda"


def rows(names: Iterable[str], one: str, *further: tuple[str, list[Any]]) -> pytest.MarkDecorator:
    """All names on hardware, one on the fake; each with all of what is further asked for."""
    fields, values = [field for field, _ in further], [value for _, value in further]
    assert one in names
    given = [
        pytest.param(device, name, *rest, id="-".join(map(str, (name, *rest, device))))
        for device in ("fake", "cuda")
        for name in (sorted(names) if device == "cuda" else [one])
        for rest in product(*values)
    ]
    return pytest.mark.parametrize(("device", "name", *fields), given, indirect=["device"])


def batch(n: int = 23) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    return rng.normal(size=(n, 7)), rng.integers(0, 3, size=n)


def agree(device: str, layers: list[Any], y: Any = None, **options: Any) -> None:
    """Two epochs with a ragged last batch give the same losses and parameters on both devices."""
    x, labels = batch()
    options = {"optimizer": "sgd", "epochs": 2, "batch_size": 8, "verbose": 0} | options
    loss = options.pop("loss", "softmax_cross_entropy")
    models = [MLP(layers, dtype="float64", loss=loss, device=where) for where in ("cpu", device)]
    losses = [m.fit(x, labels if y is None else y, **options).step_loss for m in models]
    flats = [m.backend.to_numpy(m.flat) for m in models]
    assert len(losses[0]) == 6
    assert np.isfinite(losses[0]).all()
    np.testing.assert_allclose(losses[1], losses[0], rtol=BOUND)
    np.testing.assert_allclose(flats[1], flats[0], rtol=BOUND, atol=BOUND)


@pytest.mark.skipif(cudasim.compiler() is None, reason="no C++ compiler")
@rows(CASES, "weighted_mean", ("dtype", ["float32", "float64"]))
def test_kernel(device: str, name: str, dtype: str) -> None:
    """As compiled for the device, against NumPy in float64; each twice, with the same bits."""
    backend = get_backend(device)
    dtype = "float32" if name in SINGLE else dtype
    bound = 200 * float(np.finfo(dtype).eps)
    with backend.xp.cuda.Device(backend.index):
        for make in CASES[name]:
            shape = (1, 9001) if name in FLAT else FEW.get(name, [(600, 33)])[-1]
            case = make(Given(dtype, *shape))
            found, again = (
                launched(backend, name, case, dtype),
                launched(backend, name, case, dtype),
            )
            for i, wanted in case.wanted.items():
                scale = np.abs(wanted[np.isfinite(wanted)]).max(initial=0)
                np.testing.assert_allclose(
                    found[i].reshape(wanted.shape),
                    wanted,
                    rtol=bound,
                    atol=bound * min(scale, 1e30),
                )
                np.testing.assert_array_equal(found[i], again[i])


def launched(backend: Any, name: str, case: Case, dtype: str) -> dict[int, np.ndarray]:
    """What one launch leaves in the arrays that the case names."""
    arrays = [None if a is None else backend.xp.asarray(a) for a in case.p]
    positions = StepPositions(backend.asarray(np.array([[POSITION, STEP]])))
    room = backend.xp.zeros(ROOM_BYTES, np.uint8)
    operation = Operation(name, case.n, case.c, tuple(arrays), ())
    launcher(backend, operation, np.dtype(dtype), positions, room)()
    backend.synchronize()
    return {i: backend.to_numpy(arrays[i]).astype(np.float64) for i in case.wanted}


@rows(Activation.table, "tanh")
def test_activation(device: str, name: str) -> None:
    agree(device, [7, Dense(6, activation=name), Dense(5, activation=name), 3])


@rows(Optimizer.table, "adam")
def test_optimizer(device: str, name: str) -> None:
    if name == "lbfgs":
        agree(device, [7, 6, 3], optimizer=name, epochs=6, batch_size=23)
        return
    agree(device, [7, 6, 3], optimizer=name)


@pytest.mark.parametrize("sampling", sorted(SAMPLINGS))
def test_sampling(device: str, sampling: str) -> None:
    epochs = 3 if sampling == "whole_batches" else 2  # of two steps, not three
    agree(device, [7, 6, 3], sampling=sampling, epochs=epochs)


def test_weights(device: str) -> None:
    agree(device, [7, 6, 3], sample_weight=np.linspace(0, 2, 23))


def test_soft_targets(device: str) -> None:
    y = np.random.default_rng(2).dirichlet(np.ones(3), size=23)
    agree(device, [7, 6, 3], y)


# Layers that have no defaults for all of their fields.
LAYERS: dict[str, Layer] = {
    "dense": Dense(6, activation="tanh"),
    **EMBEDDINGS,
    "residual": Residual([Dense(6, activation="tanh"), "dropout", Dense(6)]),
}


@rows(Layer.table, "residual")
def test_layer(device: str, name: str) -> None:
    agree(device, [7, 6, LAYERS.get(name) or Layer.resolve(name), 3])


@rows(Loss.table, "huber", ("k", [1, 3]))
def test_loss(device: str, name: str, k: int) -> None:
    x, labels = batch()
    kind = Loss.resolve(name).target_kind(k)
    y = {"classes": labels % k, "binary": (x[:, :k] > 0).astype(int)}.get(kind, abs(x[:, :k]))
    agree(device, [7, 6, k], y, loss=name)


@pytest.mark.parametrize("name", sorted(Metric.table))
def test_metric(device: str, name: str) -> None:
    x, y = batch()
    of_values = Metric.table[name].needs == "values"
    k = 2 if name in ("f1", "precision", "recall") else 3  # these are of the second of two classes
    loss, given = "softmax_cross_entropy", y % k
    if of_values:
        loss, given = "mean_squared_error", x[:, :k]
    found = [
        MLP([7, 6, k], dtype="float64", loss=loss, device=where).evaluate(x, given, metrics=[name])
        for where in ("cpu", device)
    ]
    assert found[1] == pytest.approx(found[0], rel=BOUND)


def test_arrays_of_the_device_train_as_those_of_the_host(device: str) -> None:
    x, y = batch()
    backend = get_backend(device)
    models = [MLP([7, 6, 3], dtype="float64", device=device) for _ in range(2)]
    for model, as_given in zip(models, (np.asarray, backend.asarray), strict=True):
        given = [as_given(a) for a in (x, y, np.linspace(0.5, 1, 23))]
        model.fit(
            *given[:2], sample_weight=given[2], validation_data=tuple(given), epochs=2, verbose=0
        )
        assert np.isfinite(backend.to_numpy(model.predict_proba(given[0]))).all()
    flats = [backend.to_numpy(model.flat) for model in models]
    np.testing.assert_array_equal(flats[1], flats[0])


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_x_train_to_the_same_bits(device: str, form: str) -> None:
    same_bits(device, X, FORMS[form](X))


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes_of_x_train_as_their_floats(device: str, dtype: str) -> None:
    x = (np.abs(X) * 3).astype(dtype)
    same_bits(device, x.astype(np.float32), x)
    same_bits(device, x.astype(np.float32), x.astype(x.dtype.newbyteorder(">")))


def same_bits(device: str, plain: np.ndarray, other: Any) -> None:
    models = [MLP([X.shape[1], 5, 3], device=device) for _ in range(2)]
    found = []
    for model, x in zip(models, (plain, other), strict=True):
        model.fit(x, Y, epochs=2, batch_size=5, validation_data=(x, Y), verbose=0)
        found.append((model.backend.to_numpy(model.flat).tobytes(), model.evaluate(x, Y)))
        found[-1] += (model.backend.to_numpy(model.predict_proba(x)).tobytes(),)
    assert found[1] == found[0]


def test_what_is_wrong_in_an_array_of_the_device_is_named(device: str) -> None:
    x, y = batch()
    backend = get_backend(device)
    with pytest.raises(InputError, match="y has label 3 at row 0"):
        MLP([7, 3], device=device).evaluate(backend.asarray(x), backend.asarray(y * 0 + 3))
    x[3, 1] = np.nan
    with pytest.raises(InputError, match="x has nan at row 3, column 1"):
        MLP([7, 3], device=device).fit(backend.asarray(x), backend.asarray(y), verbose=0)


def test_model_moves_and_comes_back(device: str) -> None:
    x, y = batch()
    model, twin = MLP([7, 6, 3], dtype="float64"), MLP([7, 6, 3], dtype="float64")
    for m in (model, twin):
        m.fit(x, y, epochs=1, verbose=0)
    model.to(device).fit(x, y, epochs=1, verbose=0)
    twin.fit(x, y, epochs=1, verbose=0)
    model.to("cpu")
    np.testing.assert_allclose(model.flat, twin.flat, rtol=BOUND, atol=BOUND)
    np.testing.assert_allclose(model.predict_proba(x), twin.predict_proba(x), rtol=BOUND)


@pytest.mark.parametrize("engine", ["interpreter", "auto"])
def test_a_device_that_is_not_the_current_one(engine: str, tmp_path: Path) -> None:
    """Of two, with data on the host, on it, or on the other: as on the first, which stays so."""
    x, y = batch()
    found = []
    with fakecupy.installed(devices=2) as cupy:
        for where, holder in (("cuda:0", "cuda:0"), *product(["cuda:1"], ["cpu", *DEVICES])):
            model = MLP([7, 6, 3], device=where)
            model.set_parameters({"1.b": get_backend(holder).asarray(np.ones(3))})
            given = [get_backend(holder).asarray(a) for a in (x, y, np.linspace(0.5, 1, 23))]
            fit = partial(model.fit, *given[:2], epochs=1, engine=engine, verbose=0)
            fit(sample_weight=given[2], validation_data=tuple(given))
            model.save(tmp_path / "m")
            model = MLP.load(tmp_path / "m", device=where)
            answers = [model.predict(given[0]), model.predict_proba(given[0])]
            assert [a.device.id for a in answers] == [int(where[-1])] * 2
            told = [model.backend.to_numpy(a).tobytes() for a in (*answers, model.flat)]
            found.append([*told, model.evaluate(*given[:2], sample_weight=given[2])])
            assert cupy.machine.current == 0
    assert found == [found[0]] * 4
