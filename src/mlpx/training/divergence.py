"""Losses that are not finite: seen while an epoch runs, told with their cause, and acted upon."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mlpx.backend.base import Mirror
from mlpx.errors import DeviceMemoryError
from mlpx.program.program import LOSS
from mlpx.training.diagnosis import Diagnosis, Parameters, diagnose
from mlpx.training.snapshots import Good, finite, on_device, trained

if TYPE_CHECKING:
    from mlpx.training.run import Run

RESTORES = 5
"""How often a run goes back at most."""
APART = 100
"""How many steps lie at least between two states that are kept: then the copies cost little."""
FEW = 10
"""A run of fewer steps copies nothing."""


@dataclass(frozen=True)
class Found:
    """A step whose loss is not finite."""

    loss: float
    position: int
    """How many steps of its epoch came before it."""
    step: int
    """Its number over all fits, from 1 on."""
    epoch: int
    drawn: int
    """How many steps of any optimizer came before it."""


class Watch:
    """Looks for a loss of a run that is not finite, and then does what `policy` says.

    The lines of the log that the last steps wrote are looked at while the next steps run, so
    nothing waits for the device; the end of an epoch, which does, looks at all of them.
    """

    def __init__(self, policy: str) -> None:
        self.policy = policy
        self.found: Found | None = None
        self.restores = 0
        """How often the run went back."""
        self.told = False
        """Whether a run that continues has told of a loss that is not finite."""
        self.good: Good | None = None
        """The state to go back to, if that is the policy."""
        self._before: Parameters | None = None
        """Parameters from before the divergence, if that is not the policy."""
        self._copied: int | None = None
        """How many steps the run had done then."""
        self._looked = 0
        self._warning: str | None = None
        self._mirror: Mirror | None = None

    @property
    def stops(self) -> bool:
        """Whether the run must not go on as it is."""
        return self.found is not None and self.policy != "continue"

    def begin(self, run: Run) -> None:
        """Before an epoch, or the rest of one."""
        self._looked = run.reported
        if self._mirror is not None:
            self._mirror.forget()
        if self.policy == "restore":
            self._keep(run)
        elif not self.told:
            self._copy_parameters(run)

    def _keep(self, run: Run) -> None:
        """Keep this state, unless one is kept that is not far back. A run that goes on within an
        epoch from a checkpoint has the one that was kept there.
        """
        within = run.state.position > run.reported
        if self.good is None or not (within or run.steps_done - self.good.steps_done < APART):
            self.good = Good.of(run) if finite(run) else self.good

    def _copy_parameters(self, run: Run) -> None:
        """Keep the present parameters to look for a cause with, if that costs little."""
        first = self._copied is None and run.total_steps >= FEW
        if first or run.steps_done - (self._copied or 0) >= APART:
            self._copied, flat = run.steps_done, trained(run.model.flat, run.state)
            try:
                self._before = Parameters(run.state.step, on_device(run)(flat))
            except DeviceMemoryError:
                self._before = None

    def look(self, run: Run, end: int) -> None:
        """Look at the losses that have arrived after some of the steps of an epoch up to `end`."""
        done = run.state.position
        if done >= end or self.told or self.found is not None:
            return  # the whole log is looked at when the epoch ends
        if self._mirror is None:
            self._mirror = run.model.backend.mirror(run.program.log)
        here = self._mirror.fetch(self._looked, done)
        self._looked = done
        self.look_at(run, here.start, self._mirror.host[here, LOSS])

    def look_at(self, run: Run, first: int, losses: np.ndarray) -> None:
        """Look at the losses of the steps of the present epoch from `first` on."""
        if np.isfinite(losses).all() or self.told or self.found is not None:
            return
        bad = int(np.flatnonzero(~np.isfinite(losses))[0])
        back, state = run.state.position - first - bad, run.state
        self.found = Found(
            float(losses[bad]), first + bad, state.step - back + 1, state.epoch, state.drawn - back
        )

    def note(self, run: Run) -> None:
        """Before a run that goes on in spite of such a loss reports the epoch: tell why."""
        if self.found is not None and not self.stops:
            found, self.found, self.told = self.found, None, True
            self._warning = f"{diagnose(run, found, self._candidates(run)).what}; training goes on"
            run.history.notes.append(self._warning)

    def act(self, run: Run) -> None:
        """After an epoch, or the part of it that ran: warn of a loss that is not finite, and stop
        or go back if the run cannot go on.
        """
        self.note(run)
        warning, self._warning = self._warning, None
        if self.found is not None:
            found, self.found = self.found, None
            warning = self._stop_or_go_back(run, diagnose(run, found, self._candidates(run)))
        if warning is not None:
            warnings.warn(warning, RuntimeWarning, stacklevel=6)

    def _stop_or_go_back(self, run: Run, diagnosis: Diagnosis) -> str:
        """Do that; returns what there is to tell."""
        told, good = diagnosis.what, self.good
        run.diverged = good is None or self.restores == RESTORES or diagnosis.blames_data
        if good is not None:
            self._go_back(run, good)
            told += f"; back to the state after {good.step:,} steps"
        if run.diverged:
            run.stop(f"diverged: {told}. {diagnosis.advice}")
            return str(run.stopping)
        told += f", at half the learning rate, time {self.restores} of at most {RESTORES}"
        run.history.notes.append(told)
        return told

    def _go_back(self, run: Run, good: Good) -> None:
        """Set the run back to its last good state, to be trained on unless it has diverged."""
        if not run.diverged:
            self.restores += 1
            good.halve_rates()
        good.go_back(run)

    def _candidates(self, run: Run) -> list[Parameters]:
        """Parameters to look for the cause with; the first finite ones are taken."""
        if self.good is not None:  # not the present ones, which depend on when it was seen
            return [Parameters(self.good.step, self.good.snapshot.trained)]
        present = Parameters(run.state.step, trained(run.model.flat, run.state))
        return [present, *([] if self._before is None else [self._before])]

    def record(self, run: Run) -> dict[str, Any]:
        """What a checkpoint keeps."""
        good = None if self.good is None else self.good.record(run)
        return {"restores": self.restores, "told": self.told, "good": good}

    def go_on(self, run: Run, kept: dict[str, Any]) -> None:
        """Go on from what `record` returned.

        Raises LookupError, TypeError or ValueError for anything else.
        """
        self.restores, self.told = int(kept["restores"]), bool(kept["told"])
        if self.policy == "restore" and kept["good"] is not None:
            self.good = Good.recorded(run, kept["good"])
