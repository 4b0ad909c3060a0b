"""States of a run between two steps: what a checkpoint is made of, what a run goes back to."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mlpx.network.state import TrainingState
from mlpx.training.recorded import paired, progress, restore_log, set_progress
from mlpx.types import Array

if TYPE_CHECKING:
    from mlpx.training.run import Run

COUNTS = ("step", "epoch", "position", "drawn", "begin", "total")
"""What a training state has besides arrays, its optimizer, its pace and its schedule."""
Copy = Callable[[Array], Array]


@dataclass(frozen=True)
class Snapshot:
    """Copies of the parameters and of the training state of a run."""

    flat: Array
    state: TrainingState

    @property
    def trained(self) -> Array:
        """The parameters that training updates, not their average; of a state between epochs."""
        return trained(self.flat, self.state)

    def finite(self) -> bool:
        """Whether all numbers are finite; for copies on the host."""
        return all(bool(np.isfinite(a).all()) for a in (self.flat, *self.state.moments.values()))


def trained(flat: Array, state: TrainingState) -> Array:
    """The parameters that training updates, of a model with parameters `flat` between epochs."""
    return state.moments.get("average", flat)


def finite(run: Run) -> bool:
    """Whether the parameters and moments of a run are finite; waits for the device."""
    arrays, isfinite = (run.model.flat, *run.state.moments.values()), run.model.backend.xp.isfinite
    return all(bool(isfinite(array).all()) for array in arrays)


def snapshot(run: Run, *, inside: bool = False, copy: Copy | None = None) -> Snapshot:
    """The run's arrays, by default copied to the host. `inside` an epoch, the average and the
    parameters have changed places.
    """
    copy = copy or to_host(run)
    flat, state = copy(run.model.flat), run.state.copied(copy)
    if inside and "average" in state.moments:
        flat, state.moments["average"] = state.moments["average"], flat
    return Snapshot(flat, replace(state, schedule=dict(state.schedule)))


def to_host(run: Run) -> Copy:
    """Copies arrays of the run's device to the host."""
    to_numpy = run.model.backend.to_numpy
    return lambda array: np.array(to_numpy(array))


def on_device(run: Run) -> Copy:
    """Copies arrays within the device; they raise DeviceMemoryError."""
    empty = run.model.backend.empty

    def copy(array: Array) -> Array:
        made = empty(array.shape, array.dtype)
        made[...] = array
        return made

    return copy


@dataclass(frozen=True)
class Good:
    """A state to go back to: a snapshot on the device, and how far the run was."""

    snapshot: Snapshot
    progress: dict[str, Any]

    @classmethod
    def of(cls, run: Run) -> Good:
        """The present state of a run, between two epochs.

        Raises DeviceMemoryError.
        """
        return cls(snapshot(run, copy=on_device(run)), deepcopy(progress(run)))

    @property
    def step(self) -> int:
        """How many steps came before it."""
        return self.snapshot.state.step

    @property
    def steps_done(self) -> int:
        """How many of these were the run's."""
        return int(self.progress["steps_done"])

    def go_back(self, run: Run) -> None:
        """Set the run to this state: model, training state, callbacks, and what was recorded."""
        state, before = run.state, self.snapshot.state
        run.model.flat[...] = self.snapshot.flat
        for name, moment in before.moments.items():
            state.moments[name][...] = moment
        for name in COUNTS:
            setattr(state, name, getattr(before, name))
        state.schedule = dict(before.schedule)
        set_progress(run, self.progress)
        run.history.samples = run.samples_done
        restore_log(run, self.progress)
        for callback, kept in paired(run.callbacks, deepcopy(self.progress["callbacks"])):
            callback.restore(run, kept)

    def halve_rates(self) -> None:
        """Have a run that goes back here train at half the rates of the time before."""
        schedule = self.snapshot.state.schedule
        schedule["scale"] = schedule.get("scale", 1.0) / 2

    def record(self, run: Run) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        copy, state = to_host(run), self.snapshot.state
        return {
            "flat": copy(self.snapshot.flat),
            "moments": {name: copy(moment) for name, moment in state.moments.items()},
            "counts": [getattr(state, name) for name in COUNTS],
            "schedule": dict(state.schedule),
            "progress": self.progress,
        }

    @classmethod
    def recorded(cls, run: Run, kept: dict[str, Any]) -> Good:
        """The inverse of `record`.

        Raises LookupError, TypeError or ValueError for what `record` did not make.
        """
        state, model = run.state, run.model

        def put(host: Any) -> Array:
            out = model.backend.zeros(model.layout.size, model.dtype)
            model.backend.upload(np.asarray(host), out=out)
            return out

        counts = dict(zip(COUNTS, map(int, kept["counts"]), strict=True))
        made = replace(state, moments={m: put(kept["moments"][m]) for m in state.moments})
        made.schedule = {str(name): float(value) for name, value in kept["schedule"].items()}
        vars(made).update(counts)
        return cls(Snapshot(put(kept["flat"]), made), kept["progress"])
