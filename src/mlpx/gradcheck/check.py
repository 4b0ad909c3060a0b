"""The gradient check: backpropagation in the model's dtype against differences in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mlpx.errors import InputError
from mlpx.gradcheck.numerical import copy_of, gradients_of, run_gradient, whole_batch
from mlpx.gradcheck.report import TOLERANCE, Report, Row, compare
from mlpx.kernels.activations import Activation
from mlpx.kernels.losses import Loss
from mlpx.kernels.penalties import Penalty
from mlpx.plan.plan import Call
from mlpx.program.data import prepare_data
from mlpx.program.gradients import Backpropagation, central, default_step, learnt
from mlpx.program.objective import Objective, Runs
from mlpx.random import Purpose, normal, words
from mlpx.records import require, require_count
from mlpx.types import Array, Namespace

if TYPE_CHECKING:
    from mlpx.mlp import MLP

FLOAT32_ROUNDINGS = 200
"""How many float32 roundings a float32 gradient may be away from the float64 one."""
LOSS_ROUNDINGS = 8
"""How many roundings of the float64 loss a difference of two losses is assumed to carry."""
DRAWS = 10
"""Directions tried for each one wanted, before the rest are given up as kinks."""


def check_gradients(
    model: MLP,
    x: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    method: Literal["elements", "directions"] = "elements",
    tolerance: float | None = None,
    directions: int = 2,
) -> Report:
    """A Report on the gradient of the mean loss of x (n, d_in) and y: backpropagation, checked.

    Backpropagation runs in the model's dtype on its device, as in training, with the dropout masks
    of the first step. The truth is central differences of the same step in float64.
    `method="elements"` moves every parameter alone, two forward passes each; `"directions"` moves
    each parameter array along `directions` random directions v and compares <g, v>: few passes then
    cover every element, so a net of any size can be checked.

    Where a step crosses a kink (an input of ReLU changes its sign, say) there is no derivative to
    compare with: such elements are left out and counted. `tolerance` is relative to the largest
    element of each parameter's gradient; the default is 1e-7, for float32 `FLOAT32_ROUNDINGS` times
    its epsilon.

    The model is not changed. Raises InputError or InputTypeError.
    """
    if method not in METHODS:
        raise InputError(f"method = {method!r}; it must be one of {list(METHODS)}")
    require_count("directions", directions)
    if tolerance is None:
        tolerance = max(TOLERANCE, FLOAT32_ROUNDINGS * float(np.finfo(model.dtype).eps))
    require("tolerance", tolerance, above=0)
    check = Check(model, x, y, sample_weight, tolerance)
    return Report(tuple(METHODS[method](check, directions)), tolerance, method)


class Check:
    """The analytic gradient of a batch, and a float64 twin of the model to move."""

    def __init__(self, model: MLP, x: Any, y: Any, sample_weight: Any, tolerance: float) -> None:
        self.tolerance = tolerance
        self.analytic = self._backpropagate(copy_of(model, model.dtype), x, y, sample_weight)
        self.twin = copy_of(model, "float64")
        data = prepare_data(self.twin, x, y, sample_weight)
        program = whole_batch(self.twin, data, Backpropagation())
        run_gradient(program)  # brings the batch into its buffers
        plan = program.full
        assert plan is not None
        self.objective: Objective = plan.objective
        self.kinks = Kinks(self.twin.backend.xp)
        self.forward = self.kinks.watch(self.objective)
        self.h = default_step("central", np.float64)
        loss = abs(float(self.twin.backend.to_numpy(self.objective.loss)[0, 0]))
        self.noise = LOSS_ROUNDINGS * np.finfo(np.float64).eps * max(1.0, loss) / self.h
        largest = max((np.abs(g).max() for g in self.analytic.values() if g.size), default=0.0)
        self.noise += 8 * float(np.finfo(model.dtype).eps) * float(largest)

    def _backpropagate(self, twin: MLP, x: Any, y: Any, w: Any) -> dict[str, np.ndarray]:
        data = prepare_data(twin, x, y, w)
        g = run_gradient(whole_batch(twin, data, Backpropagation()))
        return self.host(twin, g)

    def host(self, model: MLP, flat: Array) -> dict[str, np.ndarray]:
        """The gradients in `flat` by name, in float64 on the host."""
        views = model.layout.views(model.backend.to_numpy(flat).astype(np.float64))
        return {name: views[name] for name in gradients_of(model)}


def by_elements(check: Check, directions: int) -> Iterator[Row]:
    """A row for each parameter, from differences in each of its elements."""
    twin, kinks = check.twin, check.kinks
    backend = twin.backend
    g = backend.zeros(twin.layout.size, twin.dtype)
    crossed = np.zeros(twin.layout.size, bool)

    def observe(i: int, sign: int) -> None:
        if sign == 1:
            kinks.remember()
        else:
            crossed[i] = kinks.crossed()

    with np.errstate(all="ignore"):
        central(
            backend.xp, check.forward, twin.flat, g, positions=learnt(twin.layout), h=check.h,
            loss=check.objective.loss, kept=check.objective.kept, observe=observe,
        )  # fmt: skip
    numerical, marks = check.host(twin, g), twin.layout.views(crossed)
    for name, analytic in check.analytic.items():
        yield compare(
            name, analytic, numerical[name],
            tolerance=check.tolerance, noise=check.noise, crossed=marks[name],
        )  # fmt: skip


def by_directions(check: Check, directions: int) -> Iterator[Row]:
    """A row for each parameter, from differences along random directions in it."""
    for item, (name, g) in enumerate(check.analytic.items()):
        slopes = np.zeros((2, DRAWS * directions))
        crossed = np.ones(DRAWS * directions, bool)
        for i in range(DRAWS * directions):
            count = -(-g.size // 2) * 2
            raw = words(check.twin.seed, Purpose.DIRECTIONS, count=count, step=i, item=item)
            v = normal(raw)[: g.size].reshape(g.shape)
            v /= np.sqrt(g.size)  # about as far as a single element is moved
            slope, crossed[i] = _slope(check, name, v)
            slopes[:, i] = np.vdot(g, v), slope
            if np.count_nonzero(~crossed) == directions:
                break
        crossed, slopes = crossed[: i + 1], slopes[:, : i + 1]
        # A direction may be nearly orthogonal to g, so the error is relative to a typical <g, v>.
        typical = float(np.linalg.norm(g) / np.sqrt(g.size))
        yield compare(
            name, slopes[0], slopes[1], tolerance=check.tolerance, noise=check.noise,
            scale=typical, crossed=crossed, directions=True,
        )  # fmt: skip


def _slope(check: Check, name: str, v: np.ndarray) -> tuple[float, bool]:
    """The central difference along v in one parameter, and whether it crosses a kink."""
    twin, objective, losses = check.twin, check.objective, []
    p = twin.parameters[name]
    before, move = p.copy(), twin.backend.asarray(check.h * v)
    with np.errstate(all="ignore"):
        for sign in (1, -1):
            twin.backend.xp.add(before, sign * move, out=p)
            for run in check.forward:
                run()
            losses.append(float(twin.backend.to_numpy(objective.loss)[0, 0]))
            if sign == 1:
                check.kinks.remember()
    p[...] = before
    return (losses[0] - losses[1]) / (2 * check.h), check.kinks.crossed()


METHODS: dict[str, Callable[[Check, int], Iterator[Row]]] = {
    "elements": by_elements,
    "directions": by_directions,
}


class Kinks:
    """On which side of each kink the inputs of kinked functions lie."""

    def __init__(self, xp: Namespace) -> None:
        self.xp = xp
        self.sides: list[Array] = []
        self.remembered: list[Array] = []

    def watch(self, objective: Objective) -> Runs:
        """The objective's forward calls; before each kinked one its inputs are recorded."""
        runs: list[Callable[[], None]] = []
        for call in objective.calls:
            for margin in margins(call):
                runs.append(partial(self._look, margin, len(self.sides)))
                self.sides.append(margin() > 0)
            runs.append(call.bind(self.xp))
        return runs

    def _look(self, margin: Callable[[], Array], slot: int) -> None:
        self.sides[slot] = margin() > 0

    def remember(self) -> None:
        """Remember the current sides."""
        self.remembered = list(self.sides)

    def crossed(self) -> bool:
        """Whether any side differs from the remembered one."""
        pairs = zip(self.sides, self.remembered, strict=True)
        return any(bool((now != before).any()) for now, before in pairs)


def margins(call: Call) -> list[Callable[[], Array]]:
    """For each kink of the function that `call` runs, the signed distance of the input from it."""
    owner = call.keywords.get("f") or getattr(call.kernel, "__self__", None)
    if isinstance(owner, Loss):
        z, t = call.arguments[:2]
        count = len(owner.margins(z, t))
        return [partial(lambda i: owner.margins(z, t)[i], i) for i in range(count)]
    if isinstance(owner, Activation | Penalty) and call.kernel.__name__ in ("forward", "value"):
        x = call.arguments[0]
        return [partial(lambda kink: x - kink, kink) for kink in owner.kinks]
    return []
