"""Schedules made of schedules."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlpx.errors import InputError, InputTypeError
from mlpx.records import require, require_count
from mlpx.schedules.base import Schedule, Steps, rate_or_schedule, rates_of
from mlpx.schedules.curves import Constant


@dataclass(frozen=True)
class Warmup(Schedule, name="warmup"):
    """`lead` steps in which the rate grows linearly to the first rate of `then`, and then `then`.

    Step t of the warm-up has the share t / lead of that rate, or a share that grows from `start`.
    `then` is a schedule or a number.
    """

    lead: int = 100
    then: float | Schedule = 1e-3
    start: float = 0.0

    def __post_init__(self) -> None:
        require_count("lead", self.lead)
        rate_or_schedule("then", self.then)
        require("start", self.start, least=0, most=1)

    def rates(self, t: Steps) -> Steps:
        share = self.start + (1 - self.start) * np.minimum(t / self.lead, 1)
        return share * rates_of(self.then, np.maximum(t - self.lead, 1))

    def nested(self) -> tuple[Schedule, ...]:
        return (self.then,) if isinstance(self.then, Schedule) else ()

    def resolved(self, total: int) -> Schedule:
        if not isinstance(self.then, Schedule):
            return self
        return dataclasses.replace(self, then=self.then.resolved(total - self.lead))


@dataclass(frozen=True)
class Sequential(Schedule, name="sequential"):
    """One schedule after the other: the i-th for `lengths[i]` steps, each starting at its step 1.

    The last one has no length: it lasts to the end of the run.
    """

    schedules: tuple[Schedule, ...] = (Constant(),)
    lengths: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "schedules", _all_schedules(self.schedules))
        lengths = self.lengths if isinstance(self.lengths, Iterable) else (self.lengths,)
        object.__setattr__(self, "lengths", tuple(lengths))
        if len(self.lengths) != len(self.schedules) - 1:
            raise InputError(
                f"lengths = {self.lengths}; {len(self.schedules)} schedules need "
                f"{len(self.schedules) - 1}, one for each but the last"
            )
        for length in self.lengths:
            require_count("lengths", length)

    def rates(self, t: Steps) -> Steps:
        starts = np.cumsum((0, *self.lengths))
        which = np.searchsorted(starts, t - 1, side="right") - 1
        parts = [
            schedule.rates(np.maximum(t - start, 1))
            for schedule, start in zip(self.schedules, starts, strict=True)
        ]
        rates: Steps = np.stack(parts)[which, np.arange(len(t))]
        return rates

    def nested(self) -> tuple[Schedule, ...]:
        return self.schedules

    def resolved(self, total: int) -> Schedule:
        lengths = (*self.lengths, total - sum(self.lengths))
        pairs = zip(self.schedules, lengths, strict=True)
        return dataclasses.replace(
            self, schedules=tuple(schedule.resolved(length) for schedule, length in pairs)
        )


@dataclass(frozen=True)
class Product(Schedule, name="product"):
    """The product of several schedules' rates: `Product((Cosine(1.0), Cyclic(1e-3, 1e-2)))`."""

    schedules: tuple[Schedule, ...] = (Constant(),)

    def __post_init__(self) -> None:
        object.__setattr__(self, "schedules", _all_schedules(self.schedules))

    def rates(self, t: Steps) -> Steps:
        rates = np.ones_like(t)
        for schedule in self.schedules:
            rates = rates * schedule.rates(t)
        return rates

    def nested(self) -> tuple[Schedule, ...]:
        return self.schedules

    def resolved(self, total: int) -> Schedule:
        return dataclasses.replace(
            self, schedules=tuple(schedule.resolved(total) for schedule in self.schedules)
        )


def begun(schedule: Schedule, begin: int, total: int) -> Schedule:
    """An open schedule as it is in a run of `total` steps after step `begin`, where it starts.

    One that has its number of steps counts from the first step of all, and stays as it is.
    """
    if not schedule.open:
        return schedule
    ready = schedule.resolved(total)
    return Sequential((Constant(0.0), ready), (begin,)) if begin else ready


def _all_schedules(given: Iterable[Any]) -> tuple[Schedule, ...]:
    schedules = tuple(given) if isinstance(given, Iterable) else (given,)
    for schedule in schedules:
        if not isinstance(schedule, Schedule):
            raise InputTypeError(
                f"schedules holds {schedule!r}; wanted schedules such as Constant(0.1)"
            )
    if not schedules:
        raise InputError("schedules is empty; wanted at least one")
    return schedules
