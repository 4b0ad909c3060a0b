"""How a step gets its gradient: backpropagation, or one of two simpler ways used in tutorials.

A rule appends the calls that fill the flat gradient to a step's plan, after the forward pass and
the loss. The two simpler ways run the step's own forward calls again with changed parameters. They
are for tiny nets, for understanding and checking: only the interpreter runs them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from mlpx.errors import InputError
from mlpx.network.network import Network
from mlpx.network.passes import plan_backward
from mlpx.plan.layout import Layout
from mlpx.program.objective import Objective, Runs, plan_penalty_gradients
from mlpx.random import Purpose, integers, normal, words
from mlpx.records import Record, require, require_one_of
from mlpx.schedules import Steps
from mlpx.types import Array, Namespace

NUMERICAL_LIMIT = 10_000
"""The most parameters for numerical gradients, which cost two forward passes for each."""
SEARCH_LIMIT = 1 << 24
"""The most parameters for search: float32 represents their positions exactly."""

Observer = Callable[[int, int], None]


class GradientRule(Record, kind="gradient"):
    """A way to compute the gradient of a batch's loss."""

    columns: ClassVar[int] = 0
    """How many numbers per step it needs from the host."""
    updates: ClassVar[bool] = True
    """Whether the optimizer updates the parameters; if not, the rule does so itself."""
    limit: ClassVar[int | None] = None
    """The most parameters a network may have."""

    def check(self, parameters: int) -> None:
        """Raises InputError for a network that is too large for the rule."""
        if self.limit is not None and parameters > self.limit:
            raise InputError(
                f"gradient = {self.name!r} is for nets of at most {self.limit} parameters; "
                f"this model has {parameters}: use gradient='backprop'"
            )

    def numbers(self, network: Network, t: Steps, rates: Steps) -> tuple[Steps, ...]:
        """The per-step numbers for steps t: `columns` arrays, float64 (steps,).

        Not called if `columns` is 0.
        """
        raise NotImplementedError

    def plan(self, objective: Objective) -> None:
        """Append the calls that fill `objective.gradient`."""
        raise NotImplementedError


@dataclass(frozen=True)
class Backpropagation(GradientRule, name="backprop"):
    """The chain rule from the loss back: all derivatives for the cost of two forward passes."""

    def plan(self, objective: Objective) -> None:
        plan_backward(objective.network, objective.sites, objective.dz)
        plan_penalty_gradients(objective.plan, objective.network)


@dataclass(frozen=True)
class Numerical(GradientRule, name="numerical"):
    """Finite differences: move each parameter by h = `step` and compute the loss again.

    `method="central"`: (L(p + h) - L(p - h)) / 2h, whose error falls as h**2.
    `method="forward"`: (L(p + h) - L(p)) / h, half the work, with an error that falls as h.
    Without `step`, h is `default_step`.
    """

    method: Literal["central", "forward"] = "central"
    step: float | None = None

    limit = NUMERICAL_LIMIT

    def __post_init__(self) -> None:
        require_one_of("method", self.method, DIFFERENCES)
        if self.step is not None:
            require("step", self.step, above=0)

    def plan(self, objective: Objective) -> None:
        network = objective.network
        objective.plan.call(
            DIFFERENCES[self.method],
            objective.forward,
            network.flat,
            objective.gradient,
            positions=learnt(network.layout),
            h=self.step or default_step(self.method, network.dtype),
            loss=objective.loss,
            kept=objective.kept,
        )


@dataclass(frozen=True)
class Search(GradientRule, name="search"):
    """No gradient: move one random parameter, and keep the move if it lowers the batch's loss.

    The move is normally distributed; its standard deviation is the optimizer's learning rate. The
    optimizer itself does nothing.
    """

    columns = 2
    updates = False
    limit = SEARCH_LIMIT

    def numbers(self, network: Network, t: Steps, rates: Steps) -> tuple[Steps, ...]:
        # Keyed by the number of steps so far, so a resumed training draws what follows.
        raw = words(network.seed, Purpose.SEARCH, count=4 * len(t), step=int(t[0])).reshape(-1, 4)
        spots = np.concatenate([np.asarray(span) for span in learnt(network.layout)])
        chosen = spots[integers(raw[:, 0], len(spots))]
        moves = rates * normal(raw[:, 2:].reshape(-1))[::2]
        return chosen.astype(np.float64), moves

    def plan(self, objective: Objective) -> None:
        network, numbers = objective.network, objective.numbers
        backend, dtype = network.backend, network.dtype
        assert numbers is not None
        objective.plan.call(
            try_move,
            backend.take,
            objective.forward,
            network.flat,
            numbers,
            index=backend.zeros(1, np.int64),
            values=(backend.zeros(1, dtype), backend.zeros(1, dtype)),
            better=backend.zeros(1, bool),
            loss=objective.loss,
            kept=objective.kept,
        )


def learnt(layout: Layout) -> tuple[range, ...]:
    """The ranges of the flat vector that hold trainable parameters."""
    return tuple(
        range(place.start, place.stop)
        for place in layout.places.values()
        if place.parameter.kind != "state"
    )


def default_step(method: str, dtype: Any) -> float:
    """The power of two nearest to eps**(1/3) for central, eps**(1/2) for forward differences.

    There, truncation and rounding errors are about equal; with a power of two, p + h is usually
    exact.
    Source: Nocedal and Wright, "Numerical optimization", 2006, section 8.1.
    """
    order = {"central": 3, "forward": 2}[method]
    return float(2.0 ** round(np.log2(np.finfo(dtype).eps) / order))


def central(
    xp: Namespace, forward: Runs, p: Array, g: Array, *, positions: tuple[range, ...], h: float,
    loss: Array, kept: tuple[tuple[Array, Array], ...], observe: Observer | None = None,
) -> None:  # fmt: skip
    """g_i = (L(p_i + h) - L(p_i - h)) / 2h for every i of `positions`.

    `kept` lists (array, room for a copy) of what the forward pass changes; it and p are restored.
    `observe(i, +1 or -1)` is called after each forward pass.
    """
    _keep(xp, kept)
    before = p[:1].copy()
    for i in (i for span in positions for i in span):
        spot, slope = p[i : i + 1], g[i : i + 1]
        xp.copyto(before, spot)
        spot += h
        _evaluate(forward, observe, i, 1)
        xp.copyto(slope, loss[0])
        xp.subtract(before, h, out=spot)
        _evaluate(forward, observe, i, -1)
        slope -= loss[0]
        slope /= 2 * h
        xp.copyto(spot, before)
    _give_back(xp, kept)


def forward_difference(
    xp: Namespace, forward: Runs, p: Array, g: Array, *, positions: tuple[range, ...], h: float,
    loss: Array, kept: tuple[tuple[Array, Array], ...], observe: Observer | None = None,
) -> None:  # fmt: skip
    """g_i = (L(p_i + h) - L(p)) / h for every i of `positions`; otherwise as `central`."""
    _keep(xp, kept)
    before, start = p[:1].copy(), loss[0].copy()
    for i in (i for span in positions for i in span):
        spot, slope = p[i : i + 1], g[i : i + 1]
        xp.copyto(before, spot)
        spot += h
        _evaluate(forward, observe, i, 1)
        xp.subtract(loss[0], start, out=slope)
        slope /= h
        xp.copyto(spot, before)
    _give_back(xp, kept)


DIFFERENCES: dict[str, Callable[..., None]] = {"central": central, "forward": forward_difference}


def try_move(
    xp: Namespace, take: Any, forward: Runs, p: Array, numbers: Array, *, index: Array,
    values: tuple[Array, Array], better: Array, loss: Array, kept: tuple[tuple[Array, Array], ...],
) -> None:  # fmt: skip
    """Add numbers[0, 1] to p[numbers[0, 0]] if that lowers the loss; NaN never does."""
    old, new = values
    _keep(xp, kept)
    xp.copyto(index, numbers[0, :1], casting="unsafe")
    take(p, index, out=old)
    xp.add(old, numbers[0, 1:], out=new)
    p[index] = new
    _evaluate(forward, None, 0, 1)
    (_, loss_before), *_ = kept
    xp.less(loss[0], loss_before[0], out=better)
    xp.copyto(old, new, where=better)
    p[index] = old
    _give_back(xp, kept)


def _evaluate(forward: Runs, observe: Observer | None, i: int, sign: int) -> None:
    for run in forward:
        run()
    if observe is not None:
        observe(i, sign)


def _keep(xp: Namespace, kept: tuple[tuple[Array, Array], ...]) -> None:
    for array, room in kept:
        xp.copyto(room, array)


def _give_back(xp: Namespace, kept: tuple[tuple[Array, Array], ...]) -> None:
    for array, room in kept:
        xp.copyto(array, room)
