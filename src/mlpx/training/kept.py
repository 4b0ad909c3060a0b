"""What a checkpoint keeps of a run, checked, since nobody vouches for the file."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from mlpx.errors import CheckpointError, InputTypeError, MlpxError
from mlpx.network.saved import MOST_STEPS, Saved, check_count
from mlpx.records import is_whole
from mlpx.training.history import History
from mlpx.untrusted import brief

if TYPE_CHECKING:
    from mlpx.training.run import Run

RUN = "run"
INVALID = (MlpxError, AttributeError, LookupError, TypeError, ValueError, ArithmeticError)
"""What entries of a wrong kind make of whoever uses them."""


def run_of(saved: Saved) -> dict[str, Any]:
    """The entries of `training.recorded.record`.

    Raises CheckpointError for a model file without a run, or with an invalid one.
    """
    if saved.state is None or not isinstance(saved.beside, dict) or RUN not in saved.beside:
        raise CheckpointError(f"{saved.path} is a model, not the checkpoint of a run")
    kept: dict[str, Any] = saved.beside[RUN]
    check_run(kept, f"{saved.path} has no run that can go on")
    return kept


def history_in(saved: Saved) -> dict[str, Any]:
    """The entries of the history in a checkpoint, except for the step losses.

    Raises CheckpointError.
    """
    return from_table(run_of(saved)["history"])


def as_table(epochs: list[dict[str, float]]) -> list[dict[str, float]] | dict[str, Any]:
    """The epochs' logs as one array with its columns' names, since there may be a million; as they
    are if a callback has put something else in.
    """
    names = list(epochs[0]) if epochs else []
    alike = all(list(log) == names and {*map(type, log.values())} == {float} for log in epochs)
    if not names or not alike:
        return [dict(logs) for logs in epochs]
    return {"names": names, "values": np.array([[*logs.values()] for logs in epochs])}


def from_table(history: dict[str, Any]) -> dict[str, Any]:
    """The entries of a history whose epochs may be a table."""
    epochs = history["epochs"]
    if isinstance(epochs, dict):
        names = epochs["names"]
        epochs = [dict(zip(names, row, strict=True)) for row in epochs["values"].tolist()]
    return {**history, "epochs": epochs}


def check_run(kept: dict[str, Any], told: str) -> None:
    """Raise CheckpointError, beginning with what is `told`, unless `kept` is a run's record."""
    try:
        _check_kinds(kept, KINDS)
        epochs = kept["history"]["epochs"]
        if isinstance(epochs, dict):  # as a table: there may be a million
            _check_kinds({"epochs": epochs}, {"epochs": _is_table})
            epochs = []
        History.from_dict(kept["history"] | {"epochs": epochs, "step_loss": []})
        for name, count in zip(("epoch", "step"), kept["begun"], strict=True):
            check_count(name, count)
    except INVALID as error:
        why = f"no {error}" if isinstance(error, KeyError) else error
        raise CheckpointError(f"{told}: {brief(why)}") from error


def _check_kinds(kept: dict[str, Any], kinds: dict[str, Callable[[Any], bool]]) -> None:
    for name, fits in kinds.items():
        if not fits(kept[name]):
            raise InputTypeError(f"{name} = {brief(kept[name])}")


def _is_count(value: Any) -> bool:
    return is_whole(value) and 0 <= value < MOST_STEPS


def _is_length(value: Any) -> bool:
    return value is None or _is_count(value)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_plain_object(value: Any) -> bool:
    json.dumps(value)  # raises TypeError for an array, which would be compared element by element
    return _is_object(value)


def _are_norms(value: Any) -> bool:
    return isinstance(value, dict) and all(_numbers(norms, 1) for norms in value.values())


def _are_states(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(kind, str) and isinstance(state, dict) for kind, state in value
    )


def _are_prints(value: Any) -> bool:
    return value is None or all(print_ is None or _is_print(*print_) for print_ in value.values())


def _is_print(shape: Any, dtype: Any, found: Any) -> bool:
    texts = isinstance(dtype, str) and isinstance(found, str)
    return texts and isinstance(shape, list) and all(isinstance(n, int) for n in shape)


def _numbers(value: Any, ndim: int) -> bool:
    return isinstance(value, np.ndarray) and value.ndim == ndim and value.dtype.kind == "f"


def _is_table(value: dict[str, Any]) -> bool:
    names, values = value["names"], value["values"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return False
    if not names:  # of a run without an epoch, as an earlier version kept it
        return isinstance(values, np.ndarray) and not values.size
    return _numbers(values, 2) and bool(values.shape[1] == len(names))


def _is_divergence(value: Any) -> bool:
    _check_kinds(value, DIVERGENCE)
    return True


def _is_good(value: Any) -> bool:
    if value is not None:
        _check_kinds(value, GOOD)
        _check_kinds(value["progress"], PROGRESS)
    return True


PROGRESS: dict[str, Callable[[Any], bool]] = {
    "reported": _is_count, "steps_done": _is_count, "samples_done": _is_count,
    "reported_steps": _is_count, "reported_epochs": _is_count, "callbacks": _are_states,
    "log": lambda value: _numbers(value, 2),
    "norms": lambda value: value is None or _numbers(value, 2),
}  # fmt: skip
"""What the entries of how far a run was may be,"""
GOOD: dict[str, Callable[[Any], bool]] = {
    "flat": lambda value: _numbers(value, 1), "moments": _are_norms, "progress": _is_object,
    "counts": lambda value: isinstance(value, list) and all(map(_is_count, value)),
    "schedule": lambda value: all(isinstance(number, float) for number in value.values()),
}  # fmt: skip
"""those of a state to go back to,"""
DIVERGENCE: dict[str, Callable[[Any], bool]] = {
    "restores": _is_count, "told": lambda value: isinstance(value, bool), "good": _is_good,
}  # fmt: skip
"""those of a run's watch over its losses,"""
KINDS: dict[str, Callable[[Any], bool]] = PROGRESS | {
    "total_steps": _is_count, "epochs": _is_length, "steps": _is_length,
    "begun": lambda value: isinstance(value, list),
    "stopping": lambda value: isinstance(value, str | None),
    "history": _is_object, "settings": _is_plain_object,
    "step_loss": lambda value: _numbers(value, 1), "gradient_norms": _are_norms,
    "data": _are_prints, "validation_data": _are_prints,
    "loop": lambda value: value is None or _is_object(value), "divergence": _is_divergence,
}  # fmt: skip
"""and those of a run."""


def as_flat(values: Any, run: Run) -> Any:
    """Parameters that a checkpoint kept, on the model's device; None if it kept none.

    Raises CheckpointError unless they are the model's in number and kind.
    """
    if values is None:
        return None
    flat = run.model.flat
    if not _numbers(values, 1) or values.shape != flat.shape or values.dtype != flat.dtype:
        raise CheckpointError("the parameters of its best epoch are not those of its model")
    return run.model.backend.asarray(values)
