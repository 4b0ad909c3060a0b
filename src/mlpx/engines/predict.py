"""Prediction in chunks of rows, by the fastest engine that can."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from weakref import proxy

import numpy as np

from mlpx import engines
from mlpx.engines.interpreter import run_once
from mlpx.engines.native.mapped import watched
from mlpx.inputs.arrays import check_finite, check_x
from mlpx.inputs.codes import check_codes
from mlpx.kernels import losses as kernels
from mlpx.network.network import Network
from mlpx.network.passes import plan_forward
from mlpx.plan.plan import Buffers, Plan
from mlpx.program.objective import loss_work, plan_by_column, plan_targets
from mlpx.records import require_count
from mlpx.types import Array


class ForwardProgram:
    """A forward pass for chunks of up to `rows` rows; `losses` of the rows too if y is given."""

    def __init__(self, model: Network, *, rows: int) -> None:
        self.model, self.rows = model, rows
        self.buffers = Buffers(model.backend, rows, model.dtype)
        self._plans: dict[int, tuple[Plan, Array, Array]] = {}
        self._losses: dict[int, tuple[Plan, Array, Array, Array]] = {}

    def run(self, x: Array) -> Array:
        """The outputs (m, d_out) for x (m, d_in), in a buffer that the next run overwrites."""
        plan, inputs, z = self._plans.get(len(x)) or self._plan(len(x))
        self.model.backend.xp.copyto(inputs, self.model.backend.asarray(x))
        run_once(plan)
        return z

    def losses(self, z: Array, y: Array) -> Array:
        """The loss of each row (m, 1), for outputs z (m, d_out) and targets y, in a buffer.

        Targets are of one dtype and width in all calls.
        """
        plan, outputs, targets, rows = self._losses.get(len(z)) or self._plan_losses(len(z), y)
        outputs[...], targets[...] = z, y
        run_once(plan)
        return rows

    def _plan(self, rows: int) -> tuple[Plan, Array, Array]:
        model = self.model
        plan = Plan(self.buffers, rows, parameters=model.layout.views(model.flat))
        x = plan.buffer("x", model.d_in)
        z, _ = plan_forward(plan, model, x)
        self._plans[rows] = plan, x, z
        return self._plans[rows]

    def _plan_losses(self, n: int, like: Array) -> tuple[Plan, Array, Array, Array]:
        model, plan = self.model, Plan(self.buffers, n, parameters={})
        z = plan.buffer("given outputs", model.d_out)
        columns = 1 if like.ndim == 1 else like.shape[1]
        y = plan.buffer("y", columns, dtype=like.dtype).reshape(n, *like.shape[1:])
        rows = plan.buffer("row losses", 1)
        t = plan_targets(plan, model, y)
        work = loss_work(plan, model.loss, model.d_out)
        plan.call(model.loss.value, plan_by_column(plan, z), t, rows=rows, work=work)
        self._losses[n] = plan, z, y, rows
        return self._losses[n]


def chunks(n: int, size: int) -> Iterator[slice]:
    """Slices of at most `size` that cover range(n)."""
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


class KeptPredictor:
    """What predicts for a network, with memory that is kept from one prediction to the next.

    `predictor` is None where the interpreter predicts.
    """

    def __init__(self, network: Network) -> None:
        self.flat, self.predictor = network.flat, engines.predictor(proxy(network))


def predictor_of(network: Network) -> engines.Predictor | None:
    """The network's predictor, made at its first prediction; None for the interpreter."""
    kept = network.kept
    if not isinstance(kept, KeptPredictor) or kept.flat is not network.flat:
        kept = network.kept = KeptPredictor(network)
    return kept.predictor


def outputs(model: Network, x: Any, *, batch_size: int) -> Array:
    """The raw outputs (n, d_out) for x (n, d_in)."""
    return _predict(model, x, batch_size, classes=False)


def _predict(model: Network, x: Any, batch_size: int, *, classes: bool) -> Array:
    """The outputs, or the likeliest classes, for x, which is not checked yet."""
    if isinstance(x, np.memmap):
        with watched(x):
            return _predict(model, np.asarray(x), batch_size, classes=classes)
    require_count("batch_size", batch_size)
    x = check_x(x, columns=model.d_in, backend=model.backend, least_rows=0)
    if len(x) == 0:
        shape, dtype = ((0,), np.int64) if classes else ((0, model.d_out), model.dtype)
        return model.backend.empty(shape, dtype)
    if model.codes:
        check_codes(x, model.codes, name="x")
    predictor = predictor_of(model)
    if predictor is not None:
        predicted, finite = predictor.run(x, classes=classes, rows=batch_size)
        if not finite:
            check_finite(x, dtype=model.dtype, name="x")
        return predicted
    with model.backend.failing("predicting"):
        check_finite(x, dtype=model.dtype, name="x")
        z = interpret(ForwardProgram(model, rows=min(batch_size, len(x))), x)
        return z.argmax(axis=1) if classes else z


def interpret(program: ForwardProgram, x: Array, out: Array | None = None) -> Array:
    """The outputs (n, d_out) for x (n, d_in), by the interpreter."""
    model = program.model
    if out is None:
        out = model.backend.empty((len(x), model.d_out), model.dtype)
    for part in chunks(len(x), program.rows):
        out[part] = program.run(x[part])
    return out


def probabilities(model: Network, x: Any, *, batch_size: int) -> Array:
    """Probabilities (n, d_out), or (n, 2) for one yes-or-no output.

    Raises InputError if the model's loss has none.
    """
    kernels.require_probabilities(model.loss)
    z = outputs(model, x, batch_size=batch_size)
    with model.backend.failing("predicting"):
        return kernels.probabilities(model.backend.xp, model.loss, z)


def predictions(model: Network, x: Any, *, batch_size: int) -> Array:
    """Class indices (n,), 0 or 1 for each of several labels (n, d_out), or values (n, d_out)."""
    if model.loss.target_kind(model.d_out) == "classes":
        return _predict(model, x, batch_size, classes=True)
    z = outputs(model, x, batch_size=batch_size)
    with model.backend.failing("predicting"):
        return kernels.predictions(model.backend.xp, model.loss, z)
