"""The base of every optimizer: a record of hyperparameters and one rule over flat arrays.

Numbers that depend only on the step (learning rate, bias corrections) are computed in float64 on
the host by `scalars`, for all steps of an epoch at once; each step reads them from a table on the
device. So schedules are ordinary functions, every device and engine uses the same numbers, and
`update` is elementwise.

Clipping, weight decay, accumulation and averaging are the same for all rules and happen around
them: see `mlpx.program.update`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from mlpx.errors import InputError, InputTypeError
from mlpx.optimizers.averaging import Average
from mlpx.records import Record, require, require_count, require_flag
from mlpx.schedules import (
    Constant,
    Product,
    Schedule,
    Steps,
    begun,
    rate_or_schedule,
    rates_of,
    require_unwatched,
)
from mlpx.types import Array, Namespace

Multipliers = Mapping[str, float] | tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Optimizer(Record, kind="optimizer"):
    """A rule that moves the flat parameter vector along its gradient.

    Every optimizer takes, besides its own hyperparameters:

    learning_rate: a number, or a schedule (`mlpx.schedules`), evaluated for every update.
    weight_decay: draws weights towards zero; biases and the parameters of normalisations only with
    `decay_all=True`. In most rules this is the gradient of weight_decay / 2 |W|**2 (L2); in adamw,
    lion and muon it is decoupled, p = p - rate weight_decay p, and may be a schedule, evaluated as
    that of the rate is; lamb has its own.
    clip_value: no element of the gradient exceeds it; clip_norm: nor does the norm of the whole
    gradient, which is multiplied by min(1, clip_norm / norm). In this order, before weight decay.
    accumulate: this many batches make one update, equal to that of one batch of all their rows.
    average: `EMA()` or `SWA()` of the parameters.
    rate_multipliers: factors on the rate by kind ("weight", "bias", "norm"), layer ("0") or
    parameter ("0.W"); all that match are multiplied. A factor of 0 freezes the parameter.
    decay_multipliers: factors on the weight decay, by the same names; biases and normalisations
    are decayed only with `decay_all=True` even so.
    """

    decay: ClassVar[Literal["l2", "decoupled", "own"]] = "l2"
    scratch: ClassVar[int] = 1
    """How many scratch arrays `update` needs."""
    by_parameter: ClassVar[bool] = False
    """Whether `update` wants whole parameters in their own shape rather than slices of the flat
    vector.
    """
    full_batch: ClassVar[bool] = False
    """Whether it minimises over all rows at once instead of updating after each batch."""

    learning_rate: float | Schedule = 1e-3
    _: KW_ONLY
    weight_decay: float | Schedule = 0.0
    decay_all: bool = False
    clip_value: float | None = None
    clip_norm: float | None = None
    accumulate: int = 1
    average: Average | None = None
    rate_multipliers: Multipliers = ()
    decay_multipliers: Multipliers = ()

    def __post_init__(self) -> None:
        rate_or_schedule("learning_rate", self.learning_rate)
        self._check_decay()
        require_flag("decay_all", self.decay_all)
        for name in ("clip_value", "clip_norm"):
            if getattr(self, name) is not None:
                require(name, getattr(self, name), above=0)
        require_count("accumulate", self.accumulate)
        if self.average is not None:
            object.__setattr__(self, "average", Average.resolve(self.average))
        for name in ("rate_multipliers", "decay_multipliers"):
            object.__setattr__(self, name, _pairs(name, getattr(self, name)))

    def _check_decay(self) -> None:
        given = rate_or_schedule("weight_decay", self.weight_decay)
        if not isinstance(given, Schedule):
            return
        if self.decay != "decoupled":
            raise InputError(
                f"weight_decay = {given!r}; in {self.name} it must be a number: it may be a "
                "schedule where it is decoupled, as in adamw, lion and muon"
            )
        require_unwatched("weight_decay", given)

    @property
    def moments(self) -> tuple[str, ...]:
        """Names of the flat state arrays, as long as the parameters and initially zero."""
        return ()

    @property
    def arrays(self) -> tuple[str, ...]:
        """Names of all flat arrays of the training state: the moments, and the average if any."""
        return (*self.moments, "average") if self.average is not None else self.moments

    @property
    def columns(self) -> int:
        """How many numbers per step the rule reads."""
        return len(self.scalars(np.ones(1), np.ones(1)))

    @property
    def schedules(self) -> tuple[Schedule, ...]:
        """The schedules among its hyperparameters."""
        given = (self.learning_rate, self.weight_decay)
        return tuple(value for value in given if isinstance(value, Schedule))

    @property
    def open(self) -> bool:
        """Whether a schedule or the average still needs the length of the run."""
        averaging = self.average is not None and self.average.open
        return averaging or any(schedule.open for schedule in self.schedules)

    def resolved(self, begin: int, total: int) -> Optimizer:
        """The same optimizer for a run of `total` steps after step `begin`, where its open
        schedules start.
        """
        changes: dict[str, Any] = {
            field.name: begun(value, begin, total)
            for field in dataclasses.fields(self)
            if isinstance(value := getattr(self, field.name), Schedule)
        }
        if self.average is not None:
            changes["average"] = self.average.resolved(begin + total)
        return dataclasses.replace(self, **changes)

    def for_parameter(self, kind: str, shape: tuple[int, ...]) -> Optimizer:
        """The optimizer that moves parameters of this kind and shape: decay applies only to
        weights.
        """
        if kind == "weight" or self.decay_all or not self.decays:
            return self
        return dataclasses.replace(self, weight_decay=0.0)

    def with_decay(self, factor: float) -> Optimizer:
        """The optimizer with `factor` times its weight decay."""
        if factor == 1 or not self.decays:
            return self
        decay: float | Schedule = self.constant_decay * factor
        if isinstance(self.weight_decay, Schedule) and factor:
            decay = Product((self.weight_decay, Constant(factor)))
        return dataclasses.replace(self, weight_decay=decay)

    @property
    def decays(self) -> bool:
        """Whether there is any weight decay."""
        return self.weight_decay != 0

    @property
    def constant_decay(self) -> float:
        """The weight decay of a rule in which it cannot be a schedule."""
        return 0.0 if isinstance(self.weight_decay, Schedule) else self.weight_decay

    def rates(self, t: Steps) -> Steps:
        """The learning rate of each of the steps `t` = 1, 2, ..."""
        return rates_of(self.learning_rate, t)

    def scalars(self, t: Steps, rate: Steps) -> tuple[Steps, ...]:
        """Columns of per-step numbers for steps `t` = 1, 2, ... at learning rates `rate`, float64
        (steps,).
        """
        return (rate,)

    def update(
        self,
        xp: Namespace,
        p: Array,
        g: Array,
        *,
        moments: tuple[Array, ...],
        scalars: tuple[Array, ...],
        work: tuple[Array, ...],
    ) -> None:
        """One step on p given its gradient g, in place; moments and work have p's shape.

        scalars are this step's row of `scalars()`, each of shape (1,). g is not overwritten: the
        padding between parameters has a gradient of zero that no backward pass would restore.
        """
        raise NotImplementedError


def bias(beta: float, t: Steps) -> Steps:
    """1 - beta**t, exact for small t too; a beta of 0 gives 1."""
    return -np.expm1(t * np.log(beta)) if beta > 0 else np.ones_like(t)


def _pairs(name: str, given: Any) -> tuple[tuple[str, float], ...]:
    """Multipliers as sorted pairs: equal mappings give equal pairs, and JSON keeps them."""
    try:
        pairs = dict(given)
    except (TypeError, ValueError):
        raise InputTypeError(
            f"{name} is {given!r}; wanted a mapping such as {{'bias': 2.0, '0': 0.1}}"
        ) from None
    for key, factor in pairs.items():
        if not isinstance(key, str):
            raise InputError(f"{name} has the key {key!r}; keys are names such as 'bias' or '0.W'")
        require(f"{name}[{key!r}]", factor, least=0)
    return tuple(sorted((key, float(factor)) for key, factor in pairs.items()))
