"""The update: which optimizer moves which part of the flat vector, and the calls around it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mlpx.errors import UnknownNameError
from mlpx.kernels import batches, penalties, updates
from mlpx.network.network import Network
from mlpx.optimizers.base import Multipliers, Optimizer
from mlpx.plan.layout import KINDS, Layout, Parameter, Place
from mlpx.plan.plan import Plan
from mlpx.schedules import Steps, rates_of
from mlpx.types import Array

NORM_ELEMENTS = 1 << 22
"""The gradient's norm is summed in pieces of at most this length, as they are cast to float64."""


@dataclass(frozen=True)
class Group:
    """A slice of the flat vector, the optimizer that updates it, and a factor on its rate."""

    optimizer: Optimizer
    span: slice
    multiplier: float

    def columns(self, t: Steps, rate_scale: float) -> tuple[Steps, ...]:
        """The per-step numbers of steps t = 1, 2, ...: the rule's, then the decoupled decay's."""
        rule = self.optimizer
        rate = rate_scale * self.multiplier * rule.rates(t)
        shrinking = (1 - rate * rates_of(rule.weight_decay, t),) if self._shrinks else ()
        return (*rule.scalars(t, rate), *shrinking)

    @property
    def width(self) -> int:
        """How many columns there are."""
        return self.optimizer.columns + self._shrinks

    @property
    def _shrinks(self) -> bool:
        return self.optimizer.decay == "decoupled" and self.optimizer.decays


def make_groups(layout: Layout, optimizer: Optimizer) -> list[Group]:
    """The trainable part of the flat vector, padding included, in as few groups as possible.

    Raises UnknownNameError for a multiplier that matches no parameter.
    """
    places = {n: place for n, place in layout.places.items() if place.parameter.kind in KINDS}
    check_multipliers(places, optimizer)
    groups: list[Group] = []
    starts = [place.start for place in layout.places.values()] + [layout.size]
    for i, (name, place) in enumerate(places.items()):
        parameter, span = place.parameter, slice(place.start, starts[i + 1])
        rule = rule_for(optimizer, name, parameter)
        factor = _multiplied(optimizer.rate_multipliers, name, parameter.kind)
        last = groups[-1] if groups else None
        if last and (last.optimizer, last.multiplier) == (rule, factor):
            groups[-1] = Group(rule, slice(last.span.start, span.stop), factor)
        else:
            groups.append(Group(rule, span, factor))
    return groups


def check_multipliers(places: dict[str, Place], optimizer: Optimizer) -> None:
    """Raise UnknownNameError if a multiplier names neither a kind, a layer nor a parameter."""
    for key in {**dict(optimizer.rate_multipliers), **dict(optimizer.decay_multipliers)}:
        if not any(_matches(key, name, place.parameter.kind) for name, place in places.items()):
            known = {*KINDS, *places, *(name.rpartition(".")[0] for name in places)}
            raise UnknownNameError("parameter", key, known)


def _matches(key: str, name: str, kind: str) -> bool:
    return key in (kind, name) or name.startswith(f"{key}.")


def rule_for(optimizer: Optimizer, name: str, parameter: Parameter) -> Optimizer:
    """The optimizer that moves a parameter, with the weight decay that it has there."""
    rule = optimizer.for_parameter(parameter.kind, parameter.shape)
    return rule.with_decay(_multiplied(optimizer.decay_multipliers, name, parameter.kind))


def _multiplied(given: Multipliers, name: str, kind: str) -> float:
    factors = dict(given).items()
    return math.prod(factor for key, factor in factors if _matches(key, name, kind))


def average_columns(optimizer: Optimizer, t: Steps) -> tuple[Steps, ...]:
    """The per-step numbers of the average: the weight of the old average and of the parameters."""
    if optimizer.average is None:
        return ()
    weight = optimizer.average.weights(t)
    return 1 - weight, weight


class Update:
    """The calls that move the parameters of a network along a gradient; arrays are allocated once.

    In this order, which `plan` and `_move` follow:

    1. clip: the gradient's values, then its norm;
    2. decay: the penalty on weights, added to the gradient or taken off the parameters;
    3. rule: the optimizer's update;
    4. bound: the norms of units that have a limit;
    5. average: the running average of the parameters.

    `table` (steps, columns) holds the numbers of each step of an epoch, `row` those of one step.
    """

    def __init__(
        self, network: Network, optimizer: Optimizer, moments: dict[str, Array], *, steps: int
    ) -> None:
        self.network, self.optimizer, self.moments = network, optimizer, moments
        self.groups = make_groups(network.layout, optimizer)
        backend, size = network.backend, network.layout.size
        self.table = backend.zeros((steps, len(self.columns(np.ones(1), 1.0))), network.dtype)
        self.row = backend.zeros((1, self.table.shape[1]), network.dtype)
        self.width = min(backend.slice_elements, size)
        largest = max((group_largest(group, network.layout) for group in self.groups), default=0)
        self.work = [
            backend.empty(max(self.width, largest), network.dtype)
            for _ in range(max((group.optimizer.scratch for group in self.groups), default=1))
        ]
        self.factor = backend.empty(1, network.dtype)

    @property
    def arrays(self) -> list[Array]:
        """The arrays allocated here, but for tiny ones."""
        return [self.table, *self.work]

    def columns(self, t: Steps, rate_scale: float) -> list[Steps]:
        """The columns of the table for the steps t = 1, 2, ..., float64 (steps,) each."""
        columns = [column for group in self.groups for column in group.columns(t, rate_scale)]
        return columns + list(average_columns(self.optimizer, t))

    def fill(self, t: Steps, rate_scale: float) -> None:
        """Fill the table for the steps t; `rate_scale` is a factor on all rates."""
        columns = self.columns(t, rate_scale)
        if columns:
            self.network.backend.upload(np.array(columns).T, out=self.table)

    def plan(self, plan: Plan, g: Array, state: Array, *, moves: bool = True) -> None:
        """Append the update by the gradient g, which may be overwritten; its padding stays zero.

        `state` says which row of the table is the step's. Without `moves`, the parameters have
        already been updated, and only norm limits and the average remain.
        """
        take = self.network.backend.take
        plan.call(batches.select_row, take, self.table, state, out=self.row)
        if moves:
            self._clip(plan, g)
            self._move_all(plan, g)
        plan_norm_limits(plan, self.network)
        self._average(plan)

    def _move_all(self, plan: Plan, g: Array) -> None:
        """Append decay and rule, group by group, slice by slice."""
        first = 0
        for group in self.groups:
            numbers = [self.row[0, first + i : first + i + 1] for i in range(group.width)]
            first += group.width
            for part, shape in self._parts(group):
                self._move(plan, group, g, part, shape, numbers)

    def _average(self, plan: Plan) -> None:
        """Append the update of the running average, if there is one."""
        if self.optimizer.average is None:
            return
        p, average = self.network.flat, self.moments["average"]
        keep, weight, work = self.row[0, -2:-1], self.row[0, -1:], self.work[0][: len(p)]
        plan.call_in_slices(
            slices(0, len(p), self.width),
            updates.blend,
            p,
            keep=keep,
            weight=weight,
            out=average,
            work=work,
        )

    def _clip(self, plan: Plan, g: Array) -> None:
        """Append clipping by value, and the factor for clipping by norm, in `self.factor`."""
        rule, backend = self.optimizer, self.network.backend
        if rule.clip_value is not None:
            plan.call_in_slices(
                slices(0, len(g), self.width), updates.clip_values, g, limit=rule.clip_value
            )
        if rule.clip_norm is None:
            return
        parts = list(slices(0, len(g), min(self.width, NORM_ELEMENTS)))
        work = backend.empty(min(len(g), self.width, NORM_ELEMENTS), np.float64)
        squares, total = backend.empty(len(parts), np.float64), backend.empty(1, np.float64)
        for i, part in enumerate(parts):
            piece = work[: part.stop - part.start]
            plan.call(updates.sum_squares, g[part], work=piece, out=squares[i : i + 1])
        plan.call(updates.norm_factor, squares, limit=rule.clip_norm, total=total, out=self.factor)

    def _parts(self, group: Group) -> Iterator[tuple[slice, tuple[int, ...]]]:
        """The slices to call the rule on, each with the shape that the rule expects.

        Where more than the rule works on the numbers, all that does takes one slice after the
        other, while it is in the cache; else the rule is a single call.
        """
        if not group.optimizer.by_parameter:
            span = group.span
            width = self.width if self._prepares(group) else span.stop - span.start
            for part in slices(span.start, span.stop, width):
                yield part, (part.stop - part.start,)
            return
        for place in self.network.layout.places.values():
            if group.span.start <= place.start < group.span.stop:
                yield slice(place.start, place.stop), place.parameter.shape

    def _prepares(self, group: Group) -> bool:
        """Whether a group's rule comes after something that works on the same numbers."""
        rule = group.optimizer
        decays = rule.decay == "l2" and rule.decays
        return self.optimizer.clip_norm is not None or decays or group.width > rule.columns

    def _move(
        self,
        plan: Plan,
        group: Group,
        gradient: Array,
        part: slice,
        shape: tuple[int, ...],
        numbers: list[Array],
    ) -> None:
        """Append the decay and the rule for one slice."""
        rule, count = group.optimizer, group.optimizer.columns
        p, g = self.network.flat[part], gradient[part]
        work = tuple(w[: part.stop - part.start] for w in self.work[: rule.scratch])
        if self.optimizer.clip_norm is not None:
            plan.call(updates.scale, g, self.factor)
        if rule.decay == "l2" and rule.decays:
            plan.call(updates.add_decay, p, g, weight_decay=rule.constant_decay, work=work[0])
        for factor in numbers[count:]:
            plan.call(updates.scale, p, factor)
        whole = rule.by_parameter
        plan.call_in_slices(
            () if whole else slices(0, part.stop - part.start, self.width),
            rule.update,
            p.reshape(shape),
            g.reshape(shape),
            moments=tuple(self.moments[name][part].reshape(shape) for name in rule.moments),
            scalars=tuple(numbers[:count]),
            work=tuple(w.reshape(shape) for w in work) if whole else work,
        )


def plan_norm_limits(plan: Plan, network: Network) -> None:
    """Append the limits on the norms of units, which apply after the update."""
    for name, place in network.layout.places.items():
        most = place.parameter.max_norm
        if most is not None:
            W = plan.parameters[name]
            norms = plan.buffers.vector(f"norms {name}", W.shape[1])[None, :]
            plan.call(penalties.limit_norms, W, most=most, norms=norms, work=plan.like(W))


def group_largest(group: Group, layout: Layout) -> int:
    """The size of the largest parameter that the group's rule needs as a whole; 0 if none."""
    if not group.optimizer.by_parameter:
        return 0
    return max(
        place.parameter.size
        for place in layout.places.values()
        if group.span.start <= place.start < group.span.stop
    )


def slices(start: int, stop: int, width: int) -> Iterator[slice]:
    """Slices of at most `width` elements that cover [start, stop)."""
    return (slice(i, min(i + width, stop)) for i in range(start, stop, max(width, 1)))
