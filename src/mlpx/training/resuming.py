"""Where a run begins: at the state that an earlier run left, or at a new one."""

from __future__ import annotations

from collections.abc import Sequence

from mlpx.errors import InputError
from mlpx.layers import Layer
from mlpx.network.network import Network
from mlpx.network.state import TrainingState
from mlpx.optimizers import Optimizer

ANEW = (
    "a schedule starts over, because its steps are None: it spans each call of "
    "fit; give it the number of steps of all calls together to span them"
)
ENDS = (
    "a schedule ends after {left:,} of these {steps:,} steps, because its steps "
    "are None: it spans the run as it was first planned"
)


def resume(
    model: Network, optimizer: Optimizer, pace: tuple[str, int, int], steps_per_epoch: int
) -> TrainingState:
    """The model's training state if its optimizer equals `optimizer`, else a new one.

    A new one keeps the epoch. An epoch that was begun at another pace starts over.
    """
    before = model.training_state
    if before is not None and before.optimizer == optimizer:
        begun = before.pace == pace and before.position < steps_per_epoch
        position = before.position if begun else 0
        changed = {"position": position, "pace": pace, "schedule": dict(before.schedule)}
        return TrainingState(**(vars(before) | changed))
    moments = {
        name: model.backend.zeros(model.layout.size, model.dtype) for name in optimizer.moments
    }
    if optimizer.average is not None:
        moments["average"] = model.flat.copy()
    epoch, drawn = (before.epoch, before.drawn) if before else (0, 0)
    return TrainingState(optimizer, moments, epoch=epoch, pace=pace, drawn=drawn)


def begin_schedules(
    state: TrainingState, layers: Sequence[Layer], steps: int, notes: list[str]
) -> Optimizer:
    """Have open schedules span `steps` steps, or the rest of an unfinished earlier run; returns the
    optimizer with these schedules. Those of the layers take `state.begin` and `state.total`.

    A note is added to `notes` if a schedule starts over, or ends before the run does.
    """
    open_layers = any(layer.open for layer in layers)
    if not (state.optimizer.open or open_layers):
        return state.optimizer
    left = state.begin + state.total - state.step
    open_rate = open_layers or any(schedule.open for schedule in state.optimizer.schedules)
    if 0 < left < steps and open_rate:
        notes.append(ENDS.format(left=left, steps=steps))
    if steps > 0 and left <= 0:
        if state.step and open_rate:
            notes.append(ANEW)
        state.begin, state.total = state.step, steps
    if not state.optimizer.open:
        return state.optimizer
    return state.optimizer.resolved(state.begin, state.total)


def check_watched(optimizer: Optimizer, columns: tuple[str, ...]) -> None:
    """Raise InputError if a schedule watches a column that the run does not report."""
    watched = [name for schedule in optimizer.schedules for name in schedule.watched()]
    for name in watched:
        if name not in columns:
            raise InputError(f"a schedule watches {name!r}; this run reports {list(columns)}")
