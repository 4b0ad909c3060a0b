"""Killed anywhere, a run that is resumed ends with the bits of one that was never interrupted."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cudasim
import numpy as np
import pytest
from broken_off import Trial, Whole, bits, digest, known, plain, writing_at_once
from embedded import with_codes
from engine_cases import BATCH_NORM, LAYERS, MORE, OPTIONS

from mlpx import (
    MLP,
    BestWeights,
    Callback,
    Checkpoints,
    CSVLog,
    EarlyStopping,
    Optimizer,
    StopOnPlateau,
)
from mlpx.engines import NativeEngine
from mlpx.errors import InputError, InputTypeError
from mlpx.network.saved import read
from mlpx.optimizers import SWA
from mlpx.optimizers.averaging import Average
from mlpx.schedules import Cosine, Product, ReduceOnPlateau, Schedule, Sequential, Warmup
from mlpx.training.checkpoint_files import numbered
from mlpx.training.sampling import SAMPLINGS
from mlpx.training.writer import Writer

N, D, K = 21, 7, 3
rng = np.random.default_rng(11)
X, Y = rng.normal(size=(N, D)), rng.integers(0, K, size=N)
HELD_OUT = rng.normal(size=(9, D)), rng.integers(0, K, size=9)
STEPS = 3
"""Of an epoch; the last one has five rows."""


def maker(layers: Any = (D, 5, K), **options: Any) -> Callable[..., MLP]:
    return lambda **more: MLP(list(layers), **{"dtype": "float64", "seed": 5} | options | more)


def trial(layers: Any = (D, 5, K), *, model: Any = None, **options: Any) -> Trial:
    x, y, log = (options.pop(name, v) for name, v in (("x", X), ("y", Y), ("log", None)))
    callbacks = options.pop("callbacks", list)
    given = {"epochs": 2, "batch_size": 8, "optimizer": "adam", "learning_rate": 0.01} | options
    return Trial(maker(layers, **model or {}), with_codes(x, layers), y, given, callbacks, log)


def rows(options: dict[str, Any]) -> dict[str, Any]:
    """A case of the engines', whose arrays have 45 rows, with 21."""
    cut = {name: v[:N] for name, v in options.items() if isinstance(v, np.ndarray)}
    return options | cut | ({"batch_size": N} if options.get("batch_size", 0) > N else {})


def _but(options: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in options.items() if key != name}


NESTED: dict[str, Schedule] = {
    "product": Product((Cosine(0.1), ReduceOnPlateau(1.0, patience=0, min_change=9.0))),
    "sequential": Sequential((Warmup(4, 0.1), Cosine(0.05)), (4,)),
    "reduce_on_plateau": ReduceOnPlateau(0.1, patience=0, min_change=9.0),
}
VALIDATED: dict[str, Any] = {"validation_data": HELD_OUT}


class Losses(Callback):
    """Keeps the loss of every step and epoch, in a list that grows."""

    def on_train_begin(self, run: Any) -> None:
        self.seen: list[float] = []

    def on_steps(self, run: Any) -> None:
        self.seen.append(run.recent_loss())

    def on_epoch_end(self, run: Any, epoch: int, logs: Any) -> None:
        self.seen.append(logs["loss"])

    def state(self) -> dict[str, Any]:
        return {"seen": self.seen}

    def restore(self, run: Any, state: dict[str, Any]) -> None:
        self.seen = state["seen"]


class Stops(Callback):
    """Ends the training in the second epoch, which is completed."""

    def on_steps(self, run: Any) -> None:
        if run.steps_done == 4:
            run.stop("enough")


def schedules() -> dict[str, Schedule]:
    """One of each kind; those that can span the run do."""
    return {name: NESTED.get(name) or made() for name, made in sorted(Schedule.table.items())}


CASES: dict[str, Trial] = {
    **{
        name: trial(optimizer=made(average="ema"), record_gradient_norms=True)
        for name, made in sorted(Optimizer.table.items())
        if not made.full_batch
    },
    **{name: trial(optimizer=Optimizer.table["sgd"](**rule)) for name, rule in OPTIONS.items()},
    **{
        f"average {name}": trial(BATCH_NORM, optimizer=Optimizer.table["adam"](average=name))
        for name in sorted(Average.table)
    },
    **{f"rate {name}": trial(learning_rate=rate) for name, rate in schedules().items()},
    **{name: trial(layers) for name, layers in LAYERS.items()},
    **{
        name: trial(model={"penalty": more.get("penalty")}, **rows(_but(more, "penalty")))
        for name, more in MORE.items()
    },
    **{f"sampling {name}": trial(sampling=name, steps=5, epochs=None) for name in SAMPLINGS},
    "all rows at once": trial(
        optimizer="lbfgs", learning_rate=None, batch_size=None, epochs=6, **VALIDATED
    ),
    "float32": trial(LAYERS["dropout"], model={"dtype": "float32"}),
    "split off": trial(
        validation_split=0.2, metrics=["accuracy", "f1_macro"], class_weight="balanced"
    ),
    "early stopping": trial(
        **VALIDATED, epochs=9, learning_rate=2.0,
        callbacks=lambda: [EarlyStopping(patience=2), EarlyStopping("loss", patience=3)],
    ),
    "best weights": trial(
        **VALIDATED, epochs=4, learning_rate=1.0, callbacks=lambda: [BestWeights()]
    ),
    "plateau": trial(
        epochs=9, learning_rate=0.0, callbacks=lambda: [StopOnPlateau(tolerance=1e-2, patience=2)]
    ),
    "stopped within an epoch": trial(epochs=3, callbacks=lambda: [Stops()]),
    "callback of one's own": trial(callbacks=lambda: [Losses(), Losses()]),
}  # fmt: skip


def chosen(name: str, moments: int) -> list[int]:
    """Three moments of a case: other ones in each, and over all cases every one there is."""
    first = sum(map(ord, name))
    return sorted({(first + third * moments // 3) % moments for third in range(3)})


@pytest.mark.parametrize("name", CASES)
def test_same_bits(name: str, tmp_path: Path) -> None:
    whole = Whole(CASES[name], tmp_path / "whole")
    for moment in chosen(name, whole.moments):
        whole.check(moment)


def everything(log: Path, **options: Any) -> Trial:
    """A training with all that has a state."""
    return trial(
        LAYERS["dropout"], **VALIDATED, epochs=3, learning_rate=NESTED["product"], log=log,
        optimizer=Optimizer.table["adam"](average=SWA(start=2)), record_gradient_norms=True,
        callbacks=lambda: [EarlyStopping(patience=2), Losses(), CSVLog(log)], **options,
    )  # fmt: skip


@pytest.fixture(params=["interpreter", "native", "interpreter on cuda", "cuda"])
def place(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The arguments of `trial` for each engine that can run here; CUDA is simulated."""
    engine, _, device = str(request.param).partition(" on ")
    if engine == "cuda" and cudasim.compiler() is None:
        pytest.skip("no C++ compiler")
    if engine == "native" and (missing := NativeEngine().missing()) is not None:
        pytest.skip(missing)
    if "cuda" in (engine, device):
        request.getfixturevalue("fake_cupy")
        device = "cuda"
    return {"engine": engine, "model": {"device": device or "cpu"}}


def test_same_bits_at_every_moment(place: dict[str, Any], tmp_path: Path) -> None:
    whole = Whole(everything(tmp_path / "log.csv", **place), tmp_path / "whole")
    assert whole.moments == 10
    for moment in range(0, 10, 3 if place["model"]["device"] == "cuda" else 1):
        whole.check(moment)


@pytest.mark.parametrize("began", ["cpu", "cuda"])
def test_on_the_other_device_within_rounding(began: str, fake_cupy: Any, tmp_path: Path) -> None:
    case = everything(tmp_path / "log.csv", engine="interpreter", model={"device": began})
    whole = Whole(case, tmp_path / "whole")
    other = case.model(seed=99).to({"cpu": "cuda", "cuda": "cpu"}[began])
    model, history, _ = whole.resumed(6, model=other)
    assert model.device.startswith({"cpu": "cuda", "cuda": "cpu"}[began])
    np.testing.assert_allclose(model.to("cpu").flat, whole.model.to("cpu").flat, rtol=1e-11)
    np.testing.assert_allclose(history.step_loss, whole.history.step_loss, rtol=1e-11)


@pytest.mark.parametrize("length", [{"epochs": 2}, {"epochs": None, "steps": 7}])
def test_run_of_a_model_that_was_trained_before(length: dict[str, Any], tmp_path: Path) -> None:
    """It begins in the middle of an epoch, with moments, and ends there too."""
    case = trial(LAYERS["dropout"], **length, **VALIDATED, optimizer="adam", learning_rate=Cosine())
    case.model = lambda **more: case.fit(maker(LAYERS["dropout"])(**more), epochs=None, steps=5)[0]
    whole = Whole(case, tmp_path / "whole")
    assert whole.history.first_epoch == 1
    for moment in range(whole.moments):
        whole.check(moment)


def begun(folder: Path, **options: Any) -> MLP:
    """A run of four steps of six, cut short."""

    class Death(Callback):
        def on_epoch_end(self, run: Any, epoch: int, logs: Any) -> None:
            raise Killed

    case = trial(callbacks=lambda: [Death()], **VALIDATED, **options)
    model = case.model()
    with writing_at_once(), pytest.raises(Killed):
        case.fit(model, checkpoint=folder, every=1)
    return model


class Killed(BaseException):
    """Nothing that is run after it counts."""


OTHER_X, OTHER_Y = X.copy(), Y.copy()
OTHER_X[17, 3] += 1e-9
OTHER_Y[20] = (Y[20] + 1) % K
CHANGED: dict[str, tuple[dict[str, Any], str]] = {
    "units": ({"layers": [D, 6, K]}, "layers[1].units is 6, it was 5"),
    "layers": (
        {"layers": [D, 5, "tanh", K]},
        "layers is [7, 'dense', 'activation', 'dense'], it was [7, 'dense', 'dense']",
    ),
    "loss": ({"model": {"loss": "focal"}}, "loss is 'focal', it was 'softmax_cross_entropy'"),
    "dtype": ({"model": {"dtype": "float32"}}, "dtype is 'float32', it was 'float64'"),
    "optimizer": ({"optimizer": "sgd"}, "optimizer is 'sgd', it was 'adam'"),
    "rate": ({"learning_rate": 0.5}, "optimizer.learning_rate is 0.5, it was 0.01"),
    "schedule": ({"learning_rate": Cosine()}, "optimizer.learning_rate is 'cosine', it was 0.01"),
    "accumulated": (
        {"batch_size": 4, "optimizer": Optimizer.table["adam"](accumulate=2)},
        "optimizer.accumulate is 2, it was 1",
    ),
    "batch size": ({"batch_size": 7}, "batch_size is 7, it was 8"),
    "sampling": ({"shuffle": False}, "sampling is 'sequential', it was 'shuffle'"),
    "norms": ({"record_gradient_norms": True}, "record_gradient_norms is True, it was False"),
    "metrics": ({"metrics": ["f1_macro"]}, "columns[3] is 'val_f1_macro', it was 'val_accuracy'"),
    "rows": (
        {"x": X[:-1], "y": Y[:-1]},
        "x.shape = (20, 7), it was (21, 7); y.shape = (20,), it was (21,)",
    ),
    "a value": ({"x": OTHER_X}, "x has other values"),
    "order": ({"x": X[::-1]}, "x has other values"),
    "dtype of x": ({"x": X.astype("float32")}, "x is float32, it was float64"),
    "a label": ({"y": OTHER_Y}, "y has other values"),
    "weights": ({"sample_weight": np.ones(N)}, "there is now sample_weight"),
    "class weights": ({"class_weight": {0: 1, 1: 2, 2: 1}}, "there is now sample_weight"),
    "validation data": (
        {"validation_data": (HELD_OUT[0] + 1, HELD_OUT[1])}, "validation x has other values"
    ),
    "validation rows": (
        {"validation_data": (HELD_OUT[0][:5], HELD_OUT[1][:5])},
        "validation x.shape = (5, 7), it was (9, 7); validation y.shape = (5,), it was (9,)",
    ),
    "no validation": (
        {"validation_data": None},
        "columns is ['loss', 'accuracy'], it was ['loss', 'accuracy', 'val_loss', 'val_accuracy']; "
        "there is no validation data",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGED)
def test_another_run_is_refused(name: str, tmp_path: Path) -> None:
    """The message says what differs, and the model stays as it is."""
    changes, told = CHANGED[name]
    begun(tmp_path)
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    case = trial(**{**VALIDATED, **changes})
    model = case.model(seed=17)
    before = model.flat.tobytes()
    with pytest.raises(InputError) as error:
        case.fit(model, checkpoint=tmp_path, resume=True)
    assert str(error.value) == (
        f"{tmp_path / 'checkpoint-000003.safetensors'} is of another run: {told}. Give what that "
        "run was given, or begin a new one in another folder"
    )
    assert (model.seed, model.flat.tobytes(), model.training_state) == (17, before, None)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == files


@pytest.mark.parametrize("moment", [1, -1])
def test_a_finished_run_returns_at_once(moment: int, tmp_path: Path) -> None:
    whole = Whole(CASES["early stopping"], tmp_path / "whole")
    assert "did not improve" in whole.history.stop_reason
    assert len(whole.history) < 9
    trained: list[int] = []

    class Steps(Callback):
        def on_steps(self, run: Any) -> None:
            trained.append(run.steps_done)

    at = moment % whole.moments
    whole.check(at)
    case = CASES["early stopping"]
    watchers = [*case.callbacks(), Steps()]
    _, history, _ = whole.resumed(at, folder=tmp_path / "again", callbacks=watchers)
    assert plain(history) == plain(whole.history)
    assert bool(trained) == (moment == 1)


def test_a_run_that_stopped_by_itself_is_not_made_longer(tmp_path: Path) -> None:
    case = CASES["early stopping"]
    whole = Whole(case, tmp_path / "whole")
    _, history, _ = whole.resumed(whole.moments - 1, callbacks=case.callbacks(), epochs=99)
    assert history.notes == [
        f"the run had ended ({whole.history.stop_reason}); it is not made longer"
    ]
    assert history.epochs == whole.history.epochs


def test_a_longer_plan_goes_on(tmp_path: Path) -> None:
    """Finished or cut short, a run of two epochs becomes one of four."""
    short, long = trial(LAYERS["dropout"], epochs=2), trial(LAYERS["dropout"], epochs=4)
    wanted, history, _ = long.fit(long.model())
    whole = Whole(short, tmp_path / "whole")
    for moment in range(whole.moments):
        model, found, _ = whole.resumed(moment, epochs=4)
        assert bits(model) == bits(wanted)
        assert plain(found) == plain(history)


def test_a_schedule_that_a_longer_plan_outlasts_is_told(tmp_path: Path) -> None:
    """It spans the run as it was planned."""
    whole = Whole(trial(epochs=2, learning_rate=Cosine()), tmp_path / "whole")
    _, history, _ = whole.resumed(1, epochs=3)
    told = "a schedule ends after 5 of these 8 steps, because its steps are None"
    assert [note.partition(":")[0] for note in history.notes] == [told]
    _, history, _ = whole.resumed(whole.moments - 1, epochs=3)
    assert history.notes[0].startswith("a schedule starts over")


def test_a_watch_of_another_column_begins_anew(tmp_path: Path) -> None:
    """The best loss says nothing of an accuracy."""
    case = trial(**VALIDATED, epochs=3, callbacks=lambda: [EarlyStopping(patience=5)])
    whole = Whole(case, tmp_path / "whole")
    watch = EarlyStopping("val_accuracy", patience=5)
    _, history, _ = whole.resumed(whole.moments - 3, callbacks=[watch])
    assert history.notes == [
        "EarlyStopping watches 'val_accuracy' now and begins anew; it watched 'val_loss'"
    ]
    assert (watch.best_epoch, watch.waited) == (2, 0)


@pytest.mark.parametrize("kind", [BestWeights, EarlyStopping])
def test_a_watch_of_the_other_end_begins_anew(kind: Any, tmp_path: Path) -> None:
    """The highest loss so far would stay the best for ever."""
    case = trial(epochs=4, callbacks=lambda: [kind("loss", mode="max")])
    whole = Whole(case, tmp_path / "whole")
    assert whole.watchers[0].best_epoch == 0  # the loss falls
    watch = kind("loss", mode="min")
    _, history, _ = whole.resumed(whole.moments - 3, callbacks=[watch])
    assert history.notes == [
        f"{kind.__name__} wants the lowest 'loss' now and begins anew; it wanted the highest"
    ]
    assert watch.best_epoch == 3
    assert watch.best == history.epochs[-1]["loss"]
    assert getattr(watch, "waited", 0) == 0


def test_a_watch_of_an_earlier_version_goes_on(tmp_path: Path) -> None:
    """It did not say which end it watched."""

    class Earlier(BestWeights):
        def state(self) -> dict[str, Any]:
            return {name: v for name, v in super().state().items() if name != "wanted"}

    case = trial(epochs=3, callbacks=lambda: [Earlier("loss", mode="max")])
    whole = Whole(case, tmp_path / "whole")
    whole.check(whole.moments - 3)


def test_a_shorter_plan_ends_at_once(tmp_path: Path) -> None:
    """An open schedule keeps its span."""
    whole = Whole(trial(epochs=3, learning_rate=Cosine()), tmp_path / "whole")
    model, history, _ = whole.resumed(whole.moments - 1, epochs=1)
    assert bits(model) == bits(whole.model)
    assert plain(history) == plain(whole.history)


def test_columns_of_ones_own(tmp_path: Path) -> None:
    """Also some that not every epoch has."""

    class Adds(Callback):
        def on_epoch_end(self, run: Any, epoch: int, logs: Any) -> None:
            logs["mine"] = [1.5, 2.5, float("nan")][epoch]
            logs |= {"first": 1.0} if epoch == 0 else {}

    whole = Whole(trial(epochs=3, callbacks=lambda: [Adds()]), tmp_path / "whole")
    for moment in (3, 4, 8, whole.moments - 1):
        whole.check(moment)


def test_a_checkpoint_grows_little_with_the_epochs(tmp_path: Path) -> None:
    """By their numbers, eight bytes each: three columns and one step."""
    case = trial(batch_size=N, **VALIDATED, metrics=[])
    sizes = []
    for epochs in (100, 200):
        with writing_at_once():
            case.fit(case.model(), checkpoint=tmp_path / str(epochs), epochs=epochs)
        sizes.append(numbered(tmp_path / str(epochs))[-1][1].stat().st_size)
    assert sizes[1] - sizes[0] < 100 * 8 * 5


def test_the_time_of_all_parts_counts(tmp_path: Path) -> None:
    whole = Whole(trial(), tmp_path / "whole")
    path = numbered(tmp_path / "whole")[4][1]
    seconds = read(path).beside["run"]["history"]["seconds"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "perf_counter", lambda: 0.0)
        _, history, _ = whole.resumed(4)
    assert history.seconds == seconds > 0


def test_without_a_checkpoint_a_run_begins(tmp_path: Path) -> None:
    case = trial()
    wanted, history, _ = case.fit(case.model())
    model, found, _ = case.fit(case.model(), checkpoint=tmp_path / "new" / "run", resume=True)
    assert bits(model) == bits(wanted)
    assert plain(found) == plain(history)


def test_a_second_resume(tmp_path: Path) -> None:
    """Killed three times, twice in one epoch."""
    log, folder = tmp_path / "log.csv", tmp_path / "run"
    case = everything(log)

    class Death(Callback):
        def __init__(self, step: int) -> None:
            self.step = step

        def on_steps(self, run: Any) -> None:
            if run.steps_done == self.step:
                raise Killed

    with writing_at_once():
        wanted, history, watchers = case.fit(case.model())
        logged = log.read_bytes()
        for dies in (2, 3, 8):
            dying = [*case.callbacks(), Death(dies)]
            with pytest.raises(Killed):
                case.fit(case.model(), callbacks=dying, checkpoint=folder, every=1, resume=True)
        model, found, ended = case.fit(case.model(seed=9), checkpoint=folder, resume=True)
    assert bits(model) == bits(wanted)
    assert plain(found) == plain(history)
    assert [known(each) for each in ended] == [known(each) for each in watchers]
    assert log.read_bytes() == logged


def test_after_ctrl_c(tmp_path: Path) -> None:
    """What an interrupted epoch had recorded is not recorded twice."""
    case = everything(tmp_path / "log.csv")
    wanted, history, _ = case.fit(case.model())

    class Keys(Callback):
        def on_steps(self, run: Any) -> None:
            if run.steps_done == 5:
                signal.raise_signal(signal.SIGINT)

    with writing_at_once():
        with pytest.raises(KeyboardInterrupt):
            case.fit(case.model(), callbacks=[*case.callbacks(), Keys()], checkpoint=tmp_path / "r")
        model, found, _ = case.fit(case.model(seed=4), checkpoint=tmp_path / "r", resume=True)
    assert bits(model) == bits(wanted)
    assert plain(found) == plain(history)


class Foreign:
    """A callback that is no subclass, with attributes that happen to be named so."""

    def __init__(self) -> None:
        self.state = {"of": "its own"}
        self.began = 0

    def on_check(self, run: Any) -> None: ...
    def on_epoch_begin(self, run: Any, epoch: int) -> None: ...
    def on_epoch_end(self, run: Any, epoch: int, logs: Any) -> None: ...
    def on_train_end(self, run: Any) -> None: ...

    def on_train_begin(self, run: Any) -> None:
        self.began += 1


def test_callbacks_that_keep_nothing(tmp_path: Path) -> None:
    whole = Whole(trial(), tmp_path / "whole")
    watchers = [Foreign(), Callback()]
    model, _, _ = whole.resumed(4, callbacks=watchers)
    assert watchers[0].began == 1  # type: ignore[union-attr]
    assert bits(model) == bits(whole.model)
    whole = Whole(trial(callbacks=lambda: [Foreign()]), tmp_path / "foreign")  # type: ignore[list-item]
    whole.resumed(4)


def test_what_no_callback_takes_is_told(tmp_path: Path) -> None:
    whole = Whole(trial(callbacks=lambda: [Losses(), Losses()]), tmp_path / "whole")
    only = Losses()
    _, history, _ = whole.resumed(4, callbacks=[only])
    assert only.seen == whole.watchers[0].seen  # type: ignore[attr-defined]
    assert history.notes == ["the checkpoint keeps the state of a callback Losses, and this run "
                             "has none"]  # fmt: skip


class Keeps(Callback):
    """Keeps what it is given and remembers what it gets back."""

    kept: Any = None
    got: Any = None

    def state(self) -> Any:
        return self.kept

    def restore(self, run: Any, state: Any) -> None:
        self.got = state


@pytest.mark.parametrize(
    ("kept", "got"),
    [
        ({}, {}),
        ({"array": 5}, {"array": 5}),
        ({"array": "text"}, {"array": "text"}),
        ({"a": (1, None, [True])}, {"a": [1, None, [True]]}),
        ({"a": np.float32(0.5), "b": np.int64(3), "c": np.True_}, {"a": 0.5, "b": 3, "c": True}),
        ({"inf": float("inf"), "text": "\u00fc\n\0"}, {"inf": float("inf"), "text": "\u00fc\n\0"}),
    ],
)  # fmt: skip
def test_states_come_back(kept: Any, got: Any, tmp_path: Path) -> None:
    keeper = Keeps()
    keeper.kept = kept
    whole = Whole(trial(epochs=1, callbacks=lambda: [keeper]), tmp_path / "whole")
    whole.resumed(1)
    assert keeper.got == got
    assert repr(keeper.got) == repr(got)


def test_arrays_come_back(tmp_path: Path) -> None:
    backwards = np.arange(6).reshape(2, 3)[:, ::-1]
    arrays = [backwards.astype(t) for t in ("bool", "uint8", "int64", "float32", "float64")]
    arrays += [np.array(1.5), np.zeros((0, 3)), np.array([np.nan])]
    keeper = Keeps()
    keeper.kept = {"array": arrays[0], "more": [{"array": a} for a in arrays]}
    whole = Whole(trial(epochs=1, callbacks=lambda: [keeper]), tmp_path / "whole")
    whole.resumed(1)
    found = [keeper.got["array"], *[each["array"] for each in keeper.got["more"]]]
    for a, b in zip([arrays[0], *arrays], found, strict=True):
        assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())


@pytest.mark.parametrize(
    "state", [{"s": {1}}, {1: 2}, {"o": np.array([None])}, {"f": 1j}, {"m": rng}]
)
def test_a_state_that_cannot_be_kept_is_refused(state: Any, tmp_path: Path) -> None:
    """At the first checkpoint, before the first step, not when the run has died."""
    keeper = Keeps()
    keeper.kept = state
    case = trial(callbacks=lambda: [keeper])
    model = case.model()
    before = model.flat.tobytes()
    with pytest.raises(InputTypeError, match=r"Keeps.state\(\) has .*; a checkpoint keeps numbers"):
        case.fit(model, checkpoint=tmp_path / "run")
    assert model.flat.tobytes() == before
    assert not (tmp_path / "run").exists()


def kept_in(path: Path) -> dict[str, Any]:
    """All that a checkpoint holds but for the time it took."""
    saved = read(path)
    assert saved.state is not None
    run = dict(saved.beside["run"])
    history, log = run.pop("history") | {"seconds": None}, run.pop("log")
    arrays = {**saved.parameters, "log": log}
    for moment, tensors in saved.moments.items():
        arrays |= {f"{moment} {name}": tensor for name, tensor in tensors.items()}
    named = {name: digest(array) for name, array in arrays.items()}
    return named | {"run": repr(run), "history": repr(history), "state": vars(saved.state)}


def test_training_moves_on_while_one_is_written(tmp_path: Path) -> None:
    """A checkpoint that is written after the end is the one that is written at once."""
    case, waiting = everything(tmp_path / "log.csv"), []
    whole = Whole(case, tmp_path / "whole")
    with writing_at_once() as patch:
        patch.setattr(Checkpoints, "_due", lambda *_: True)
        patch.setattr(Writer, "start", lambda self, work: waiting.append(work))
        case.fit(case.model(), checkpoint=Checkpoints(tmp_path / "late", every=1, keep=99))
        (tmp_path / "late").mkdir()
        for write in waiting[: whole.moments]:
            write()
    pairs = zip(numbered(whole.folder), numbered(tmp_path / "late"), strict=True)
    for (_, at_once), (_, late) in pairs:
        assert kept_in(at_once) == kept_in(late)


def test_a_state_may_change_while_it_is_written(tmp_path: Path) -> None:
    """The thread that writes gets a copy."""
    waiting: list[Any] = []
    keeper = Keeps()
    keeper.kept = {"list": [1], "array": np.ones(2)}
    case = trial(epochs=1, callbacks=lambda: [keeper])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Writer, "start", lambda self, work: waiting.append(work))
        case.fit(case.model(), checkpoint=tmp_path)
    keeper.kept["list"].append(2)
    keeper.kept["array"] += 1
    tmp_path.mkdir(exist_ok=True)
    waiting[0]()
    case.fit(case.model(), checkpoint=tmp_path, resume=True)
    assert keeper.got["list"] == [1]
    assert keeper.got["array"].tolist() == [1, 1]


def test_a_callback_that_fails_to_go_on_leaves_the_model_as_it_was(tmp_path: Path) -> None:
    class Fails(Callback):
        def state(self) -> dict[str, Any]:
            return {}

        def restore(self, run: Any, state: Any) -> None:
            raise ValueError("no")

    # The best weights are put back when a training ends, and so when it fails to begin.
    whole = Whole(trial(callbacks=lambda: [BestWeights("loss"), Fails()]), tmp_path / "whole")
    trained = whole.trial.model(seed=8)
    trained.fit(X, Y, epochs=1, verbose=0)
    for moment, model in enumerate((whole.trial.model(seed=8), trained), start=3):
        flat, state = model.flat.copy(), model.training_state
        with pytest.raises(ValueError, match="no"):
            whole.resumed(moment, model=model)
        assert np.array_equal(model.flat, flat)
        assert (model.seed, model.training_state) == (8, state)
