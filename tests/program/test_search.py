"""Training without backpropagation: numerical gradients, and random search over weights."""

from __future__ import annotations

import numpy as np
import pytest

from mlpx import MLP, SGD
from mlpx.engines import Engine, Interpreter, Runner, choose
from mlpx.errors import EngineError, InputError, UnknownNameError
from mlpx.optimizers import Optimizer
from mlpx.program.data import prepare_data
from mlpx.program.gradients import Backpropagation, Numerical, Search, default_step
from mlpx.program.program import TrainingProgram


def data(n: int = 24) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(n, 3))
    return x, (x[:, 0] > 0.3).astype(np.int64)


def net(**options: object) -> MLP:
    return MLP([3, 5, 2], activation="tanh", **{"dtype": "float64", **options})


def program(model: MLP, rule: object, *, rows: int = 24) -> TrainingProgram:
    x, y = data()
    optimizer = SGD(0.1)
    return TrainingProgram(
        model,
        prepare_data(model, x, y),
        optimizer=optimizer,
        moments={},
        batch_size=rows,
        rows=24,
        gradient_rule=rule,
    )


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize(
    ("gradient", "tolerance"), [("numerical", 1e-6), (Numerical(method="forward"), 1e-4)]
)
def test_numerical_gradients_train_as_backpropagation_does(
    gradient: object, tolerance: float, optimizer: str
) -> None:
    trained = []
    for rule in (gradient, "backprop"):
        model = net()
        history = model.fit(
            *data(), epochs=3, batch_size=10, gradient=rule, optimizer=optimizer, verbose=0
        )
        trained.append((model.flat, history.step_loss, history["accuracy"]))
    np.testing.assert_allclose(trained[0][0], trained[1][0], rtol=0, atol=tolerance)
    np.testing.assert_allclose(trained[0][1], trained[1][1], rtol=0, atol=tolerance)
    assert trained[0][2] == trained[1][2]


def test_float32_numerical_gradients_lower_the_loss() -> None:
    model = net(dtype="float32")
    history = model.fit(
        *data(), epochs=15, batch_size=24, gradient="numerical", optimizer=SGD(0.5), verbose=0
    )
    reference = net(dtype="float32")
    wanted = reference.fit(*data(), epochs=15, batch_size=24, optimizer=SGD(0.5), verbose=0)
    assert abs(history.step_loss[-1] - wanted.step_loss[-1]) < 1e-3


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_search_moves_one_weight_and_never_raises_the_loss_of_a_full_batch(dtype: str) -> None:
    model = net(dtype=dtype)
    losses, moves = [], []
    for _ in range(60):
        before = model.flat.copy()
        history = model.fit(
            *data(), steps=1, batch_size=24, gradient="search", optimizer=SGD(0.5), verbose=0,
            sampling="sequential",
        )  # fmt: skip
        losses.append(history.step_loss[0])
        moves.append(np.count_nonzero(model.flat != before))
    assert set(moves) == {0, 1}
    falls = np.diff(losses) < 0
    assert np.array_equal(falls, np.array(moves[:-1], dtype=bool))
    assert not (np.diff(losses) > 0).any()
    assert losses[-1] < 0.9 * losses[0]


def test_a_move_that_changes_nothing_is_not_kept() -> None:
    x, y = data()
    x[:, 1] = 0
    model = net()
    before = model.parameters["0.W"].copy()
    model.fit(x, y, epochs=300, batch_size=24, gradient="search", optimizer=SGD(0.5), verbose=0)
    moved = model.parameters["0.W"] != before
    assert not moved[1].any()
    assert moved[0].all()


def test_the_optimizer_does_nothing_in_a_search() -> None:
    trained = []
    for optimizer in (SGD(0.3), SGD(0.3, weight_decay=0.5)):
        model = net()
        model.fit(
            *data(), epochs=5, batch_size=24, gradient="search", optimizer=optimizer, verbose=0
        )
        trained.append(model.flat)
    assert np.array_equal(*trained)


def test_search_learns() -> None:
    x, y = data()
    model = net()
    model.fit(x, y, epochs=1500, batch_size=24, gradient="search", optimizer=SGD(0.5), verbose=0)
    assert model.evaluate(x, y)["accuracy"] == 1.0


def test_search_moves_every_parameter_and_no_padding() -> None:
    model = net()
    before = model.flat.copy()
    model.fit(*data(), epochs=600, batch_size=24, gradient="search", optimizer=SGD(0.5), verbose=0)
    changed = model.flat != before
    places = model.layout.places.values()
    for place in places:
        assert changed[place.start : place.stop].mean() > 0.6
        changed[place.start : place.stop] = False
    assert not changed.any()


def test_search_is_fixed_by_the_seed_alone() -> None:
    def trained(seed: int, *epochs: int) -> np.ndarray:
        model = net(seed=seed)
        for count in epochs:
            model.fit(
                *data(),
                epochs=count,
                batch_size=7,
                gradient="search",
                optimizer=SGD(0.3),
                verbose=0,
            )
        return model.flat

    assert np.array_equal(trained(3, 8), trained(3, 8))
    assert np.array_equal(trained(3, 8), trained(3, 5, 3))
    assert not np.array_equal(trained(3, 8), trained(4, 8))


def test_search_moves_are_normal_with_the_learning_rate_as_deviation() -> None:
    t, rates = np.arange(1.0, 4001), np.full(4000, 0.25)
    chosen, moves = Search().numbers(net(), t, rates)
    assert abs(moves.mean()) < 0.02
    assert moves.std() == pytest.approx(0.25, rel=0.05)
    counts = np.unique(chosen, return_counts=True)[1]
    assert len(counts) == net().parameter_count
    assert counts.min() > 60


def test_a_loss_that_becomes_nan_is_not_kept() -> None:
    model = net()
    x, y = data()
    history = model.fit(
        100 * x, y, epochs=30, batch_size=24, gradient="search", optimizer=SGD(1e307), verbose=0
    )
    assert np.isfinite(history.step_loss).all()
    assert np.isfinite(model.flat).all()


def test_a_net_too_large_is_refused_before_anything_changes() -> None:
    model = MLP([784, 50, 10])
    before = model.flat.copy()
    Numerical().check(10_000)
    with pytest.raises(InputError, match=r"at most 10000 parameters; this model has 39760"):
        model.fit(np.zeros((4, 784)), [0, 1, 2, 3], batch_size=4, gradient="numerical", verbose=0)
    assert np.array_equal(model.flat, before)
    assert model.training_state is None


def test_what_cannot_be_meant_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="backprop"):
        net().fit(*data(), batch_size=8, gradient="backpropp", verbose=0)
    with pytest.raises(InputError, match="method = 'sideways'"):
        Numerical(method="sideways")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"step = 0; it must be in \(0, inf\)"):
        Numerical(step=0)


def test_only_the_interpreter_runs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlpx.engines.PREFERENCE", (_Willing, Interpreter))
    plain = program(net(), Backpropagation())
    assert isinstance(choose("auto", plain).engine, _Willing)
    for other, reason in (
        (program(net(), Numerical()), "gradient='numerical'"),
        (program(net(), Search()), "gradient='search'"),
    ):
        engine, why, _ = choose("auto", other)
        assert isinstance(engine, Interpreter)
        assert f"{reason} is done by the interpreter only" in why
    monkeypatch.setitem(Engine.table, "willing", _Willing)
    with pytest.raises(EngineError, match="gradient='search' is done by the interpreter only"):
        choose("willing", program(net(), Search()))


class _Willing(Engine):
    name = "willing"

    def _runner(self, program: TrainingProgram, threads: int | None) -> Runner:
        return Interpreter().prepare(program)


def test_steps_balance_truncation_and_rounding() -> None:
    assert default_step("central", np.float64) == 2.0**-17
    assert default_step("forward", np.float64) == 2.0**-26
    assert default_step("central", np.float32) == 2.0**-8


@pytest.mark.parametrize("rule", ["backprop", "numerical"])
def test_gradient_norms_of_every_step_and_parameter(rule: str) -> None:
    model = net()
    x, y = data()
    history = model.fit(
        x, y, epochs=2, batch_size=10, gradient=rule, sampling="sequential", verbose=0,
        optimizer=SGD(0.1), record_gradient_norms=True,
    )  # fmt: skip
    assert sorted(history.gradient_norms) == sorted(model.parameters)
    assert all(norms.shape == (6,) for norms in history.gradient_norms.values())
    again = net()
    for step, rows in enumerate([slice(0, 10), slice(10, 20), slice(20, 24)] * 2):
        before = {name: value.copy() for name, value in again.parameters.items()}
        again.fit(
            x[rows],
            y[rows],
            steps=1,
            batch_size=10 if step % 3 < 2 else 4,
            optimizer=SGD(0.1),
            verbose=0,
        )
        for name, value in again.parameters.items():
            norm = np.linalg.norm((before[name] - value) / 0.1)
            assert history.gradient_norms[name][step] == pytest.approx(norm, rel=1e-8)


def test_without_being_asked_no_norms_are_kept() -> None:
    assert net().fit(*data(), epochs=1, batch_size=8, verbose=0).gradient_norms == {}


def test_recording_changes_no_bit() -> None:
    def trained(norms: bool) -> np.ndarray:
        model = net()
        model.fit(
            *data(), epochs=2, batch_size=10, optimizer=Optimizer.resolve("adam"), verbose=0,
        )  # fmt: skip
        return model.flat

    assert np.array_equal(trained(True), trained(False))


def test_a_search_has_no_gradient_to_add_up() -> None:
    model = net()
    before = model.flat.copy()
    with pytest.raises(InputError, match=r"accumulate = 2 with gradient='search'"):
        model.fit(*data(), optimizer=SGD(accumulate=2), gradient="search", verbose=0)
    assert np.array_equal(model.flat, before)
