"""The base of every schedule."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlpx.errors import InputError, InputTypeError
from mlpx.records import Record, require, require_count

Steps = NDArray[np.float64]


class Schedule(Record, kind="schedule"):
    """A learning rate that depends on the step."""

    def rates(self, t: Steps) -> Steps:
        """The learning rate of each of the steps `t` = 1, 2, ..., float64 of t's shape."""
        raise NotImplementedError

    def nested(self) -> tuple[Schedule, ...]:
        """The schedules inside this one."""
        return ()

    @property
    def open(self) -> bool:
        """Whether it still needs the length of the run."""
        unset = getattr(self, "steps", 1) is None
        return unset or any(schedule.open for schedule in self.nested())

    def resolved(self, total: int) -> Schedule:
        """The same schedule for a run of `total` steps: a `steps` of None becomes `total`."""
        if getattr(self, "steps", 1) is not None:
            return self
        changed: Schedule = dataclasses.replace(self, steps=max(total, 1))  # type: ignore[type-var]
        return changed

    def watched(self) -> tuple[str, ...]:
        """The columns of the history that it needs."""
        return tuple(name for schedule in self.nested() for name in schedule.watched())

    def after_epoch(self, state: dict[str, float], logs: dict[str, float]) -> dict[str, float]:
        """The state to keep after an epoch that reported `logs`; `state["scale"]` multiplies all
        rates.
        """
        for schedule in self.nested():
            state = schedule.after_epoch(state, logs)
        return state

    def _length(self) -> int:
        steps: int | None = getattr(self, "steps", None)
        if steps is None:
            raise InputError(
                f"{self.name} has steps = None, to the end of the run; "
                "outside of fit give a number of steps"
            )
        return steps


def rate_or_schedule(name: str, given: Any) -> float | Schedule:
    """`given` if it is a rate of at least 0 or a schedule.

    Raises InputTypeError or InputError naming the value.
    """
    if isinstance(given, Schedule):
        return given
    if isinstance(given, type) and issubclass(given, Schedule):
        raise InputTypeError(
            f"{name} is the class {given.__name__}; make one: {given.__name__}(...)"
        )
    require(name, given, least=0)
    return float(given)


def require_unwatched(name: str, given: Schedule) -> None:
    """Check that a schedule needs no column of the history: those act on the learning rate."""
    watched = given.watched()
    if watched:
        raise InputError(
            f"{name} = {given!r} watches {watched[0]!r}; such a schedule is for learning rates"
        )


def rates_of(given: float | Schedule, t: Steps) -> Steps:
    """The rates at steps t of a number or a schedule."""
    return given.rates(t) if isinstance(given, Schedule) else np.full_like(t, given)


def check_steps(steps: int | None) -> None:
    """Check a number of steps, or None for the whole run."""
    if steps is not None:
        require_count("steps", steps)
