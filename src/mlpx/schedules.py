"""Learning-rate schedules: the rate of each step, as a function of its number.

A schedule stands wherever a learning rate does: `Adam(Cosine(1e-3))`, `fit(learning_rate=Warmup(100))`.
Steps are counted from 1, and a step is one update of the parameters. `rates` is evaluated in float64 for all
steps of an epoch at once; the numbers go into the program's table on the device, and each step reads its own
row there by the counter it advances itself. So within an epoch no rate passes from the host to the device,
and every engine and device uses the same ones.

A `steps` of None means "to the end of the run": `fit` fills it in, and the model remembers it, so that
training that was stopped goes on along the same curve.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
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
        """Whether it waits for the length of the run."""
        unset = getattr(self, "steps", 1) is None
        return unset or any(schedule.open for schedule in self.nested())

    def resolved(self, total: int) -> Schedule:
        """The same schedule for a run of `total` steps: a `steps` of None becomes `total`."""
        if getattr(self, "steps", 1) is not None:
            return self
        changed: Schedule = dataclasses.replace(self, steps=max(total, 1))  # type: ignore[type-var]
        return changed

    def watched(self) -> tuple[str, ...]:
        """Columns of the history that it needs."""
        return tuple(name for schedule in self.nested() for name in schedule.watched())

    def after_epoch(self, state: dict[str, float], logs: dict[str, float]) -> dict[str, float]:
        """The state to keep after an epoch that reported `logs`; `state["scale"]` multiplies all rates."""
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


def rates_of(given: float | Schedule, t: Steps) -> Steps:
    """The rates at steps t of a number or a schedule."""
    return given.rates(t) if isinstance(given, Schedule) else np.full_like(t, given)


def _check_steps(steps: int | None) -> None:
    if steps is not None:
        require_count("steps", steps)


@dataclass(frozen=True)
class Constant(Schedule, name="constant"):
    """rate, always."""

    rate: float = 1e-3

    def __post_init__(self) -> None:
        require("rate", self.rate, least=0)

    def rates(self, t: Steps) -> Steps:
        return np.full_like(t, self.rate)


@dataclass(frozen=True)
class Step(Schedule, name="step"):
    """rate factor**floor((t - 1) / every): falls by `factor` after every `every` steps."""

    rate: float = 1e-3
    every: int = 1000
    factor: float = 0.1

    def __post_init__(self) -> None:
        require("rate", self.rate, least=0)
        require_count("every", self.every)
        require("factor", self.factor, above=0, most=1)

    def rates(self, t: Steps) -> Steps:
        return self.rate * self.factor ** np.floor((t - 1) / self.every)


@dataclass(frozen=True)
class Exponential(Schedule, name="exponential"):
    """rate factor**((t - 1) / every): as `Step`, but smoothly. A factor above 1 lets the rate grow."""

    rate: float = 1e-3
    every: int = 1000
    factor: float = 0.9

    def __post_init__(self) -> None:
        require("rate", self.rate, least=0)
        require_count("every", self.every)
        require("factor", self.factor, above=0)

    def rates(self, t: Steps) -> Steps:
        return self.rate * self.factor ** ((t - 1) / self.every)


@dataclass(frozen=True)
class Polynomial(Schedule, name="polynomial"):
    """final + (rate - final) (1 - (t - 1) / steps)**power, then final. A power of 1 is a straight line."""

    rate: float = 1e-3
    steps: int | None = None
    final: float = 0.0
    power: float = 1.0

    def __post_init__(self) -> None:
        require("rate", self.rate, least=0)
        _check_steps(self.steps)
        require("final", self.final, least=0)
        require("power", self.power, above=0)

    def rates(self, t: Steps) -> Steps:
        left = 1 - np.minimum((t - 1) / self._length(), 1)
        return self.final + (self.rate - self.final) * left**self.power


@dataclass(frozen=True)
class InverseScaling(Schedule, name="inverse_scaling"):
    """rate / t**power.

    scikit-learn's `invscaling` counts samples where this counts steps.
    """

    rate: float = 0.1
    power: float = 0.5

    def __post_init__(self) -> None:
        require("rate", self.rate, least=0)
        require("power", self.power, least=0)

    def rates(self, t: Steps) -> Steps:
        return self.rate / t**self.power


@dataclass(frozen=True)
class Cosine(Schedule, name="cosine"):
    """final + (rate - final) (1 + cos(pi (t - 1) / steps)) / 2, then final.

    Source: Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017, eq. 5.
    """

    rate: float = 1e-3
    steps: int | None = None
    final: float = 0.0

    def __post_init__(self) -> None:
        require("rate", self.rate, least=0)
        _check_steps(self.steps)
        require("final", self.final, least=0)

    def rates(self, t: Steps) -> Steps:
        return _half_wave(self.rate, self.final, np.minimum((t - 1) / self._length(), 1))


@dataclass(frozen=True)
class WarmRestarts(Schedule, name="warm_restarts"):
    """A cosine from rate to final that starts again after `period` steps; each period is `factor` as long.

    Source: Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017.
    """

    rate: float = 1e-3
    period: int = 1000
    factor: float = 2.0
    final: float = 0.0

    def __post_init__(self) -> None:
        require("rate", self.rate, least=0)
        require_count("period", self.period)
        require("factor", self.factor, least=1)
        require("final", self.final, least=0)

    def rates(self, t: Steps) -> Steps:
        starts, lengths = [0.0], [float(self.period)]
        if self.factor > 1:
            while starts[-1] + lengths[-1] <= t.max(initial=1):
                starts.append(starts[-1] + lengths[-1])
                lengths.append(lengths[-1] * self.factor)
            cycle = np.searchsorted(starts, t - 1, side="right") - 1
            done = (t - 1 - np.take(starts, cycle)) / np.take(lengths, cycle)
        else:
            done = (t - 1) % self.period / self.period
        return _half_wave(self.rate, self.final, done)


@dataclass(frozen=True)
class OneCycle(Schedule, name="one_cycle"):
    """Half a cosine wave up from rate / start to rate, in the share `warm` of the run, then one down to
    rate / (start end).

    As PyTorch's OneCycleLR, whose momentum cycle is left out. Source: Smith and Topin,
    "Super-convergence", 2018.
    """

    rate: float = 1e-2
    steps: int | None = None
    warm: float = 0.3
    start: float = 25.0
    end: float = 1e4

    def __post_init__(self) -> None:
        require("rate", self.rate, least=0)
        _check_steps(self.steps)
        require("warm", self.warm, above=0, below=1)
        require("start", self.start, least=1)
        require("end", self.end, least=1)

    def rates(self, t: Steps) -> Steps:
        last = self._length() - 1.0
        top = max(self.warm * self._length() - 1.0, 0.0)
        first = self.rate / self.start
        rising = (t - 1) / max(top, 1e-9)
        falling = np.minimum((t - 1 - top) / max(last - top, 1e-9), 1)
        up = _half_wave(first, self.rate, rising)
        down = _half_wave(self.rate, first / self.end, falling)
        return np.where(t - 1 < top, up, down)


@dataclass(frozen=True)
class Cyclic(Schedule, name="cyclic"):
    """Straight up from rate to peak in `up` steps and down in `down` (as many unless given), over and over.

    The height of the peak over rate is multiplied by `factor` after each cycle. Source: Smith, "Cyclical
    learning rates for training neural networks", 2017; a factor of 0.5 is its "triangular2".
    """

    rate: float = 1e-4
    peak: float = 1e-2
    up: int = 2000
    down: int | None = None
    factor: float = 1.0

    def __post_init__(self) -> None:
        require("rate", self.rate, least=0)
        require("peak", self.peak, least=self.rate)
        require_count("up", self.up)
        if self.down is not None:
            require_count("down", self.down)
        require("factor", self.factor, above=0, most=1)

    def rates(self, t: Steps) -> Steps:
        down = self.up if self.down is None else self.down
        cycle, into = np.divmod(t - 1, self.up + down)
        height = np.minimum(into / self.up, (self.up + down - into) / down)
        return self.rate + (self.peak - self.rate) * height * self.factor**cycle


@dataclass(frozen=True)
class ReduceOnPlateau(Schedule, name="reduce_on_plateau"):
    """rate, multiplied by `factor` whenever `monitor` has not improved for more than `patience` epochs.

    `monitor` is a column of the history, such as "loss" or "val_loss"; with mode="max" higher is better. An
    improvement is one by more than `min_change`. After a reduction `cooldown` epochs are not judged. The
    rate never falls below `least` times what it was at first. It acts between epochs, on the whole table
    of the next one; as a part of another schedule it scales that one's rate.
    """

    rate: float = 1e-3
    monitor: str = "loss"
    factor: float = 0.1
    patience: int = 10
    min_change: float = 1e-4
    cooldown: int = 0
    least: float = 0.0
    mode: str = "min"

    def __post_init__(self) -> None:
        require("rate", self.rate, least=0)
        require("factor", self.factor, above=0, below=1)
        require_count("patience", self.patience, least=0)
        require("min_change", self.min_change, least=0)
        require_count("cooldown", self.cooldown, least=0)
        require("least", self.least, least=0, most=1)
        if self.mode not in ("min", "max"):
            raise InputError(f"mode = {self.mode!r}; it must be 'min' or 'max'")

    def rates(self, t: Steps) -> Steps:
        return np.full_like(t, self.rate)

    def watched(self) -> tuple[str, ...]:
        return (self.monitor,)

    def after_epoch(self, state: dict[str, float], logs: dict[str, float]) -> dict[str, float]:
        value = logs[self.monitor] * (1.0 if self.mode == "min" else -1.0)
        scale, waited, cooling = (
            state.get("scale", 1.0),
            state.get("waited", 0),
            state.get("cooling", 0),
        )
        best = state.get("best")
        if best is None or value < best - self.min_change:
            best, waited = value, 0
        else:
            waited += 1
        if cooling > 0:
            cooling, waited = cooling - 1, 0
        if waited > self.patience:
            scale, waited, cooling = max(scale * self.factor, self.least), 0, self.cooldown
        return {"scale": scale, "best": best, "waited": waited, "cooling": cooling}


@dataclass(frozen=True)
class Warmup(Schedule, name="warmup"):
    """`then` from its first step on, after `lead` steps in which the rate grows linearly to its first.

    Step t of the warm-up has the share t / lead of it, or from `start` on if that is given. `then` is a
    schedule or a number.
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
    """One schedule after the other: the i-th for `lengths[i]` steps, each from its own first step on.

    The last one has no length: it lasts as long as the run.
    """

    schedules: tuple[Schedule, ...] = (Constant(),)
    lengths: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "schedules", _all_schedules(self.schedules))
        object.__setattr__(self, "lengths", tuple(self.lengths))
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
        return np.choose(which, parts) if len(parts) < 32 else np.stack(parts)[which, range(len(t))]

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
    """The product of several schedules' rates: `Product((Cosine(1.0), Cyclic(1e-3, 1e-2, up=50)))`."""

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


def _half_wave(start: float, end: float, share: Steps) -> Steps:
    """From start at share 0 to end at share 1 along half a cosine wave."""
    return end + (start - end) * (1 + np.cos(np.pi * share)) / 2
