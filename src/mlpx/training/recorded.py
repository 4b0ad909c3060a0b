"""What a checkpoint keeps of a run besides the model, and how a run goes on from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from mlpx.errors import CheckpointError, InputError, InputTypeError
from mlpx.network.network import Network
from mlpx.network.saved import Saved
from mlpx.optimizers import Optimizer
from mlpx.random import check_seed
from mlpx.training.fingerprint import changes, fingerprint
from mlpx.training.history import History
from mlpx.training.kept import INVALID, as_table, history_in, run_of
from mlpx.untrusted import brief

if TYPE_CHECKING:
    from mlpx.training.run import Callback, Run

INTERRUPTED = "interrupted"


def progress(run: Run) -> dict[str, Any]:
    """How far a run is, between two of its steps, besides its training state; arrays are copies."""
    part, program = slice(run.reported, run.state.position), run.program
    to_numpy = run.model.backend.to_numpy
    norms = None if program.norms is None else np.array(to_numpy(program.norms[part]))
    return {
        "reported": run.reported,
        "steps_done": run.steps_done,
        "samples_done": run.samples_done,
        "reported_steps": run.steps_done - (part.stop - part.start),
        "reported_epochs": len(run.history),
        "log": np.array(to_numpy(program.log[part])),
        "norms": norms,
        "callbacks": [[kind, state] for kind, state in _states(run.callbacks)],
    }


def set_progress(run: Run, kept: dict[str, Any]) -> None:
    """Set a run to where it was; what its history has of the time after that is dropped."""
    run.reported = kept["reported"]
    run.steps_done, run.samples_done = kept["steps_done"], kept["samples_done"]
    done, history = kept["reported_steps"], run.history
    run.all_losses = [np.concatenate([np.zeros(0), *run.all_losses])[:done]]
    history.gradient_norms.update({k: norms[:done] for k, norms in history.gradient_norms.items()})
    del history.epochs[kept["reported_epochs"] :]


def record(run: Run) -> dict[str, Any]:
    """What a checkpoint keeps of a run, between two of its steps; arrays are copies."""
    history, reached = run.history, progress(run)
    done = reached["reported_steps"]
    return {
        **reached,
        "begun": list(run.begun),
        "total_steps": run.total_steps,
        "epochs": run.options.epochs,
        "steps": run.options.steps,
        "stopping": None if run.stopping == INTERRUPTED else run.stopping,
        "history": {
            **history.to_dict(),
            "epochs": as_table(history.epochs),
            "notes": list(history.notes),
            "seconds": run.seconds,
        },
        "step_loss": np.concatenate([np.zeros(0), *run.all_losses])[:done],
        "gradient_norms": {k: norm[:done].copy() for k, norm in history.gradient_norms.items()},
        "loop": run.loop.state(),
        "divergence": run.watch.record(run),
        "settings": settings(run),
    }


def settings(run: Run) -> dict[str, Any]:
    """What must be the same for a run to go on as if it had never stopped."""
    options = run.options
    return {
        "optimizer": options.optimizer.config(),
        "batch_size": options.part_rows,
        "sampling": options.sampling,
        "gradient": options.gradient_rule.config(),
        "record_gradient_norms": options.gradient_norms,
        "precision": options.precision,
        "columns": list(run.columns),
    }


def data_of(run: Run) -> dict[str, Any]:
    """The fingerprints of the run's data."""
    return {"data": fingerprint(run.data), "validation_data": fingerprint(run.held_out)}


def _states(callbacks: Iterable[Callback]) -> list[tuple[str, dict[str, Any]]]:
    """The kind and the state of each callback that has one."""
    asked = ((type(each).__name__, getattr(each, "state", None)) for each in callbacks)
    states = [(kind, ask()) for kind, ask in asked if callable(ask)]
    for kind, state in states:
        if state is not None and not isinstance(state, dict):
            raise InputTypeError(f"{kind}.state() is {state!r}; wanted a dict, or None")
    return [(kind, _copied(kind, state)) for kind, state in states if state is not None]


def _copied(kind: str, value: Any) -> Any:
    """A copy of what a callback of that kind keeps, which is written while the run goes on.

    Raises InputTypeError for what a file cannot keep.
    """
    if isinstance(value, dict) and all(isinstance(name, str) for name in value):
        return {name: _copied(kind, entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_copied(kind, entry) for entry in value]
    if isinstance(value, np.generic) and value.dtype.kind in "biuf":
        return value.item()
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf" and value.itemsize <= 8:
        return value.astype(value.dtype.newbyteorder("="))
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise InputTypeError(
        f"{kind}.state() has {value!r}; a checkpoint keeps numbers, text, None, lists, dicts with "
        "text as keys, and NumPy arrays of numbers"
    )


def go_on(run: Run, saved: Saved) -> None:
    """Set a new run to where the saved one was.

    Raises InputError, listing what differs, unless it is a run of the same kind on the same data;
    CheckpointError for a file without a run or an invalid one.
    """
    kept = run_of(saved)
    _check(run, saved)
    history = history_in(saved) | {"step_loss": []}
    device, notes = run.history.device, run.history.notes
    run.history = History.from_dict(history)
    run.history.device = device
    run.history.notes = list(dict.fromkeys([*run.history.notes, *notes]))
    run.history.gradient_norms = {k: np.array(v) for k, v in kept["gradient_norms"].items()}
    run.begun, run.stopping = (kept["begun"][0], kept["begun"][1]), kept["stopping"]
    now = {"epochs": run.options.epochs, "steps": run.options.steps}
    if run.stopping is not None and any((now[name] or 0) > (kept[name] or 0) for name in now):
        run.history.notes.append(f"the run had ended ({run.stopping}); it is not made longer")
    run.seconds_before = run.history.seconds
    run.all_losses = [np.array(kept["step_loss"], np.float64)]
    set_progress(run, kept)
    if run.reported > run.state.position:
        raise CheckpointError(f"{saved.path} has reported steps that it has not done")
    try:
        run.watch.go_on(run, kept["divergence"])
        if kept["loop"] is not None:
            run.loop.restore(run, kept["loop"])
    except INVALID as error:
        told = brief(repr(error))
        raise CheckpointError(f"{saved.path} has no run that can go on: {told}") from error


@contextmanager
def restored_arrays(run: Run, saved: Saved) -> Iterator[None]:
    """Inside, the model has the saved parameters, and the program what it logged of the present
    epoch; if the run fails before the model has its training state, the model's own are put back.
    """
    model, before = run.model, run.model.flat.copy()
    try:
        model.set_parameters(saved.parameters)
        restore_log(run, run_of(saved), source=str(saved.path))
        yield
    except BaseException:
        if model.training_state is not run.state:
            model.flat[...] = before
        raise


def restore_log(run: Run, kept: dict[str, Any], *, source: str = "the state to go back to") -> None:
    """Give the program what it had logged of an epoch that was begun.

    Raises CheckpointError, naming the `source`, if it is not of as many steps.
    """
    program = run.program
    part = slice(run.reported, run.state.position)
    if part.start < part.stop:
        logged = {"log": program.log, "norms": program.norms}
        for name, target in logged.items():
            if target is None:
                continue
            if kept[name] is None or kept[name].shape != target[part].shape:
                raise CheckpointError(f"{source} has not the {name} of the steps of its epoch")
            run.model.backend.upload(kept[name], out=target[part])


def callback_states(run: Run) -> dict[int, dict[str, Any]]:
    """What the checkpoint kept of each callback, by the callback's `id`.

    A note is added for what was kept of a callback that is not there.
    """
    if run.checkpoint is None:
        return {}
    kept = run_of(run.checkpoint)["callbacks"]
    found = paired(run.callbacks, kept)
    left = Counter(kind for kind, _ in kept) - Counter(type(each).__name__ for each, _ in found)
    run.history.notes += [
        f"the checkpoint keeps the state of a callback {kind}, and this run has none"
        for kind in left.elements()
    ]
    return {id(callback): state for callback, state in found}


def paired(
    callbacks: Iterable[Callback], kept: Iterable[tuple[str, dict[str, Any]]]
) -> list[tuple[Callback, dict[str, Any]]]:
    """The callbacks of which something was kept, with that: the first EarlyStopping with what was
    kept of the first, and so on.
    """
    states: dict[str, list[dict[str, Any]]] = {}
    for kind, state in kept:
        states.setdefault(kind, []).append(state)
    found = []
    for callback in callbacks:
        left = states.get(type(callback).__name__)
        if left and hasattr(callback, "restore"):
            found.append((callback, left.pop(0)))
    return found


def restore(callback: Any, run: Run, *, state: dict[str, Any]) -> None:
    """Have the callback go on with what the file keeps of it.

    Raises CheckpointError if it cannot.
    """
    try:
        callback.restore(run, state)
    except InputError:
        raise
    except INVALID as error:
        path = run.checkpoint and run.checkpoint.path
        raise CheckpointError(
            f"{path} has a state of {type(callback).__name__} that it cannot go on with: "
            f"{brief(repr(error))}"
        ) from error


def adopt(saved: Saved, model: Network, optimizer: Optimizer) -> None:
    """Give the model the file's seed, which the order of its rows depends on.

    Raises InputError if the file is of another architecture or optimizer than these.
    """
    now, before = model.config(), saved.config
    told = [text for name in ("layers", "loss", "dtype")
            for text in _differences(name, now[name], before.get(name))]  # fmt: skip
    run_of(saved)
    assert saved.state is not None
    told += _differences("optimizer", optimizer.config(), saved.state.optimizer.config())
    _refuse(saved, told)
    model.seed = check_seed(saved.config["seed"])


def _check(run: Run, saved: Saved) -> None:
    """Raise InputError for settings or data that differ from the saved run's."""
    kept = run_of(saved)
    now, before = settings(run), kept["settings"]
    told = [text for name in now for text in _differences(name, now[name], before.get(name))]
    for which, found in data_of(run).items():
        told += changes(found, kept[which], name="validation " * (which != "data"))
    _refuse(saved, told)


def _differences(name: str, now: Any, before: Any) -> Iterator[str]:
    """What differs between two plain values, in words: "layers[1].units is 6, it was 5"."""
    if isinstance(now, tuple):
        now = list(now)
    if now == before:
        return
    if isinstance(now, dict) and isinstance(before, dict) and _named(now) == _named(before):
        for key in now:
            yield from _differences(f"{name}.{key}", now[key], before.get(key))
    elif isinstance(now, list) and isinstance(before, list) and len(now) == len(before):
        for i, pair in enumerate(zip(now, before, strict=True)):
            yield from _differences(f"{name}[{i}]", *pair)
    else:
        yield f"{name} is {_named(now)!r}, it was {_named(before)!r}"


def _named(value: Any) -> Any:
    """A record by its name, a list of records by theirs; anything else as it is."""
    if isinstance(value, list):
        return [_named(entry) for entry in value]
    return value.get("name") if isinstance(value, dict) else value


def _refuse(saved: Saved, told: list[str]) -> None:
    if told:
        raise InputError(
            f"{saved.path} is of another run: {brief('; '.join(told))}. Give what that run was "
            "given, or begin a new one in another folder"
        )
