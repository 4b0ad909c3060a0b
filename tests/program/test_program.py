"""A training step allocates nothing, waits for nothing, and is the same on the fake device."""

from __future__ import annotations

import tracemalloc
from typing import Any

import fakecupy
import numpy as np
import pytest

from mlpx import MLP, Adam, Callback, Dense, Rescale
from mlpx.engines import Interpreter
from mlpx.errors import InputError
from mlpx.kernels.activations import Activation
from mlpx.kernels.losses import Loss
from mlpx.optimizers import Optimizer
from mlpx.program.data import TrainingData
from mlpx.program.program import TrainingProgram

N, D, K = 103, 20, 3
AVERAGED = Adam(average="ema")


def data(dtype: str = "float32") -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(N, D)).astype(dtype), rng.integers(0, K, size=N)


def program(
    model: MLP,
    x: Any,
    y: Any,
    *,
    optimizer: str = "adam",
    weights: Any = None,
    batch_size: int = 25,
) -> TrainingProgram:
    backend, rule = model.backend, Optimizer.resolve(optimizer)
    made = TrainingProgram(
        model,
        TrainingData(*(None if a is None else backend.asarray(a) for a in (x, y, weights))),
        optimizer=rule,
        moments={name: backend.zeros(model.layout.size, model.dtype) for name in rule.moments},
        batch_size=batch_size,
        rows=len(x),
    )
    made.start_epoch(np.arange(len(x)), step=0)
    return made


def rewind(made: TrainingProgram) -> None:
    made.state[:1] = 0


def run_epoch(made: TrainingProgram, execute: Any) -> None:
    execute(made.full, made.full_steps)
    execute(made.last, 1)


NETS: dict[str, dict[str, Any]] = {
    "plain": {},
    "bytes": {"x": np.random.default_rng(0).integers(0, 255, size=(N, D)).astype("u1")},
    "double": {"dtype": "float64", "x": data("float64")[0]},
    "one-hot": {"y": np.eye(K, dtype=np.float32)[data()[1]]},
    "weighted": {"weights": np.linspace(0, 1, N, dtype=np.float32)[:, None]},
    "sgd": {"optimizer": "sgd"},
    "mse": {"loss": "mean_squared_error", "y": np.zeros((N, K), np.float32)},
}


def build(case: str, device: str, *, repeat: int = 1) -> TrainingProgram:
    options = dict(NETS[case])
    x, y = options.pop("x", data()[0]), options.pop("y", data()[1])
    x, y = np.repeat(x, repeat, axis=0), np.repeat(y, repeat, axis=0)
    given = {name: options.pop(name) for name in ("optimizer", "weights") if name in options}
    if "weights" in given:
        given["weights"] = np.repeat(given["weights"], repeat, axis=0)
    given["batch_size"] = 25 if repeat == 1 else len(x) - 10
    layers = [D, Rescale(0.5, 0.1), Dense(16, "sigmoid"), Dense(8, "relu"), K]
    return program(MLP(layers, device=device, **options), x, y, **given)


@pytest.mark.parametrize("case", ["plain", "weighted"])
def test_a_thousand_steps_leave_nothing_behind(case: str) -> None:
    made = build(case, "cpu")
    execute = Interpreter().prepare(made)
    tracemalloc.start()
    marks = []
    for _ in range(2):
        for _ in range(200):
            run_epoch(made, execute)
            rewind(made)
        marks.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert marks[1] - marks[0] <= 64


@pytest.mark.parametrize("case", NETS)
def test_no_array_of_a_batch_is_made_in_a_step(case: str) -> None:
    """NumPy's own buffers for casting hold 8192 numbers at most; the batch here is far larger."""
    made = build(case, "cpu", repeat=600)
    execute = Interpreter().prepare(made)
    run_epoch(made, execute)
    rewind(made)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    run_epoch(made, execute)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak - before < 200_000 < 4 * made.batch_size


@pytest.mark.parametrize("case", NETS)
def test_a_step_on_the_device_allocates_and_awaits_nothing(case: str) -> None:
    with fakecupy.installed() as cupy:
        made = build(case, "cuda")
        execute = Interpreter().prepare(made)
        execute(made.full, 1)
        cupy.counters.reset()
        execute(made.full, made.full_steps - 1)
        execute(made.last, 1)
        counters = dict(vars(cupy.counters))
    assert set(counters.values()) == {0}


@pytest.mark.parametrize("activation", sorted(Activation.table))
def test_no_activation_allocates(activation: str) -> None:
    with fakecupy.installed() as cupy:
        model = MLP([D, Dense(8, activation), Dense(8, activation), K], device="cuda")
        made = program(model, *data())
        run_epoch(made, Interpreter().prepare(made))
        rewind(made)
        execute = Interpreter().prepare(made)
        cupy.counters.reset()
        run_epoch(made, execute)
        assert cupy.counters.allocations == cupy.counters.synchronizations == 0


@pytest.mark.parametrize("loss", sorted(Loss.table))
def test_no_loss_allocates(loss: str) -> None:
    k = 1 if Loss.table[loss].targets not in ("classes", "values") else K
    y = data()[1] if Loss.table[loss].targets == "classes" else np.ones((N, k), np.float32)
    with fakecupy.installed() as cupy:
        made = program(MLP([D, 8, k], loss=loss, device="cuda"), data()[0], y)
        execute = Interpreter().prepare(made)
        execute(made.full, 1)
        cupy.counters.reset()
        execute(made.full, 2)
        execute(made.last, 1)
        assert cupy.counters.allocations == cupy.counters.synchronizations == 0


@pytest.mark.parametrize("optimizer", sorted(Optimizer.table))
def test_no_optimizer_allocates(optimizer: str) -> None:
    with fakecupy.installed() as cupy:
        made = program(MLP([D, 8, K], device="cuda"), *data(), optimizer=optimizer)
        execute = Interpreter().prepare(made)
        execute(made.full, 1)
        cupy.counters.reset()
        execute(made.full, 2)
        execute(made.last, 1)
        assert cupy.counters.allocations == cupy.counters.synchronizations == 0


@pytest.mark.parametrize("case", NETS)
def test_the_loss_curve_is_the_same_on_both_devices(case: str) -> None:
    logs = []
    with fakecupy.installed():
        for device in ("cpu", "cuda"):
            made = build(case, device)
            run_epoch(made, Interpreter().prepare(made))
            logs.append(made.network.backend.to_numpy(made.log))
    exact = {"rtol": 1e-12} if logs[0].dtype == np.float64 else {"rtol": 2e-6, "atol": 1e-6}
    np.testing.assert_allclose(logs[1], logs[0], **exact)
    assert np.isfinite(logs[0]).all()
    assert logs[0][:, 2].max() > 0


class Marks(Callback):
    """The counters at the end of every epoch."""

    def __init__(self, counters: Any) -> None:
        self.counters = counters
        self.seen: list[dict[str, int]] = []

    def on_epoch_end(self, run: Any, epoch: int, logs: Any) -> None:
        self.seen.append(dict(vars(self.counters)))


@pytest.mark.parametrize("options", [{}, {"record_gradient_norms": True}, {"optimizer": AVERAGED}])
@pytest.mark.parametrize("validated", [False, True])
def test_an_epoch_reads_the_device_once_and_allocates_nothing(
    validated: bool, options: dict[str, Any]
) -> None:
    """Logs, norms and scores come in one transfer; only metrics make arrays of their own."""
    x, y = data()
    with fakecupy.installed() as cupy:
        model, marks = MLP([D, 8, K], device="cuda"), Marks(cupy.counters)
        held = (x, y) if validated else None
        model.fit(
            x, y, epochs=8, batch_size=10, validation_data=held, metrics=[], callbacks=[marks],
            verbose=0, engine="interpreter", **options,
        )  # fmt: skip
        per_epoch = [
            {name: after[name] - before[name] for name in after}
            for before, after in zip(marks.seen[1:], marks.seen[2:], strict=False)
        ]
    assert {epoch["to_host"] for epoch in per_epoch} == {1}
    assert {epoch["synchronizations"] for epoch in per_epoch} == {1}
    assert {epoch["to_device"] for epoch in per_epoch} == {3}, "order, table and state"
    means = 2 if validated else 0  # the losses in float64, and their mean
    assert {epoch["allocations"] for epoch in per_epoch} == {means}


def test_fit_end_to_end_is_as_on_the_host() -> None:
    x, y = data("float64")
    with fakecupy.installed():
        histories, flats = [], []
        for device in ("cpu", "cuda"):
            model = MLP([D, Dense(8, "tanh"), K], dtype="float64", device=device)
            histories.append(
                model.fit(x, y, epochs=5, batch_size=10, validation_data=(x, y), verbose=0)
            )
            flats.append(model.backend.to_numpy(model.flat))
        assert histories[1].device.startswith("cuda:0 (")
    np.testing.assert_allclose(histories[1].step_loss, histories[0].step_loss, rtol=1e-11)
    np.testing.assert_allclose(histories[1]["val_loss"], histories[0]["val_loss"], rtol=1e-11)
    assert histories[1]["val_accuracy"] == histories[0]["val_accuracy"]
    np.testing.assert_allclose(flats[1], flats[0], rtol=1e-9, atol=1e-12)


def test_the_padding_stays_zero() -> None:
    model = MLP([D, Dense(7, "tanh"), K])
    model.fit(*data(), epochs=2, verbose=0)
    used = np.zeros(model.flat.size, bool)
    for place in model.layout.places.values():
        used[place.start : place.stop] = True
    assert not used.all()
    assert model.training_state is not None
    for flat in (model.flat, *model.training_state.moments.values()):
        assert not flat[~used].any()
        assert flat[used].any()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("validated", [False, True])
def test_device_arrays_are_checked_with_one_wait(weighted: bool, validated: bool) -> None:
    class Count(Callback):
        waits = -1

        def on_check(self, run: Any) -> None:
            self.waits = cupy.counters.synchronizations

    x, y = data()
    count = Count()
    with fakecupy.installed() as cupy:
        model = MLP([D, K], device="cuda")
        on_device = [cupy.asarray(a) for a in (x, y, np.ones(N, np.float32))]
        w = on_device[2] if weighted else None
        held = tuple(on_device) if validated else None
        cupy.counters.reset()
        model.fit(
            *on_device[:2], sample_weight=w, validation_data=held, epochs=1, callbacks=[count],
            verbose=0,
        )  # fmt: skip
        assert count.waits == 1
        model.evaluate(*on_device[:2], sample_weight=w)
        cupy.counters.reset()
        model.evaluate(*on_device[:2], sample_weight=w)
        assert cupy.counters.synchronizations == 2, "the checks, and the scores"


@pytest.mark.parametrize(
    ("part", "row", "value", "words"),
    [
        ("x", (3, 1), np.nan, "^x has nan at row 3, column 1"),
        ("y", 4, K, f"^y has label {K} at row 4"),
        ("y", 5, -1, "^y has label -1 at row 5"),
        ("weights", 6, -1, "^sample_weight has -1 at row 6"),
        ("weights", 7, np.inf, "^sample_weight has inf at row 7"),
        ("weights", slice(None), 0, "^sample_weight is zero for every row"),
    ],
)
def test_what_is_wrong_in_a_device_array_is_named(part: str, row: Any, value: float, words: str):
    x, y = data()
    given = {"x": x, "y": y, "weights": np.ones(N, np.float32)}
    given[part][row] = value
    with fakecupy.installed() as cupy:
        model = MLP([D, K], device="cuda")
        before = model.backend.to_numpy(model.flat)
        arrays = {name: cupy.asarray(a) for name, a in given.items()}
        with pytest.raises(InputError, match=words):
            model.fit(arrays["x"], arrays["y"], sample_weight=arrays["weights"], verbose=0)
        held = tuple(arrays.values())
        with pytest.raises(InputError, match=words.replace("^", "^validation ")):
            model.fit(*(cupy.asarray(a) for a in data()), validation_data=held, verbose=0)
        assert (model.backend.to_numpy(model.flat) == before).all()

    @pytest.mark.parametrize(
        "other", [{"columns": 4}, {"dtype": "float64"}, {"by_column": True}, {"rows": 11}]
    )
    def test_a_name_is_one_array(self, other: dict[str, Any]) -> None:
        buffers = self.buffers()
        asked = {"name": "a", "rows": 4, "columns": 3}
        first = buffers.get(**asked)
        with pytest.raises(ValueError, match="buffer 'a' is"):
            buffers.get(**(asked | other))
        assert np.shares_memory(first, buffers.get(**asked))

    def test_a_vector_has_one_length_and_is_no_batch(self) -> None:
        buffers = self.buffers()
        buffers.vector("v", 3)
        with pytest.raises(ValueError, match=r"buffer 'v' is 3 wide, float32, vector"):
            buffers.vector("v", 4)
        with pytest.raises(ValueError, match="asked for 3 wide, float32, by row"):
            buffers.get("v", 1, 3)


def test_the_update_of_many_parameters_is_no_more_calls() -> None:
    x, y = data()
    small, large = (program(MLP([D, width, K]), x, y) for width in (8, 40_000))
    assert large.network.layout.size > 10 * large.network.backend.slice_elements
    assert len(large.full.calls) == len(small.full.calls)
