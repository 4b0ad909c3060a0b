"""Why a loss is not finite: the rows of the batch, the first layer that overflows, the gradient."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mlpx.engines.interpreter import run_once
from mlpx.errors import DeviceMemoryError
from mlpx.network.network import Network
from mlpx.plan.plan import Buffers, Plan
from mlpx.program.data import TrainingData
from mlpx.program.program import LOSS, TrainingProgram
from mlpx.types import Array

if TYPE_CHECKING:
    from mlpx.training.divergence import Found
    from mlpx.training.run import Run

NAMED = 3
"""How many rows a message names."""
LOWER, CORRECT = "Lower the learning rate or scale x", "Correct such rows or leave them out"


@dataclass(frozen=True)
class Parameters:
    """A flat vector of parameters, and after how many steps a run had it."""

    step: int
    flat: Array


@dataclass(frozen=True)
class Diagnosis:
    """What happened and what to do about it, as text."""

    what: str
    advice: str

    @property
    def blames_data(self) -> bool:
        """Whether no learning rate would help."""
        return self.advice == CORRECT


def diagnose(run: Run, found: Found, candidates: Iterable[Parameters]) -> Diagnosis:
    """What happened in the step that was found; the first of the candidates that is finite is used
    to look for the cause.
    """
    rows = batch_rows(run, found.position)
    batch = listed(original(run, rows))
    what = f"the loss is {found.loss} at step {found.step:,} (epoch {found.epoch + 1}, {batch})"
    try:
        with np.errstate(all="ignore"):  # x may be beyond the range of the model's dtype
            cause, advice = _cause(run, found, rows, candidates)
    except (DeviceMemoryError, MemoryError):
        cause, advice = "there is not enough memory to look for the cause", LOWER
    return Diagnosis(f"{what}: {cause}", advice)


def batch_rows(run: Run, position: int) -> np.ndarray:
    """The rows of the run's data in the batch of a step of the present epoch."""
    program = run.program
    if run.state.optimizer.full_batch:
        return np.arange(len(run.data))
    start = position * program.batch_size
    stop = start + program.batch_size if position < program.full_steps else program.rows
    order = run.model.backend.to_numpy(program.order)
    return run.feed.rows_at(order, slice(start, stop))


def original(run: Run, rows: np.ndarray) -> np.ndarray:
    """The numbers that rows of the run's data have in what `fit` was given."""
    return rows if run.data.origin is None else run.data.origin[rows]


def listed(rows: np.ndarray) -> str:
    """The first few of the rows, and how many more there are."""
    first, more = ", ".join(map(str, rows[:NAMED])), len(rows) - NAMED
    return f"row{'s' * (len(rows) > 1)} {first}" + (f" and {more:,} more" if more > 0 else "")


def _cause(
    run: Run, found: Found, rows: np.ndarray, candidates: Iterable[Parameters]
) -> tuple[str, str]:
    model, batch = run.model, run.data.part(rows)
    for name, values in (("x", batch.x), ("y", batch.y)):
        bad = not_finite(model, values.astype(model.dtype))
        if len(bad):
            where = listed(original(run, rows[bad]))
            return f"{name} is not finite in {where}", CORRECT
    for parameters in candidates:
        if bool(model.backend.xp.isfinite(parameters.flat).all()):
            copy = model.copy()
            copy.flat[...] = parameters.flat
            told = _examined(run, copy, batch, rows, found)
            return f"with the parameters after {parameters.step:,} steps, {told}", LOWER
    return "the parameters are not finite any more", LOWER


def not_finite(model: Network, values: Array) -> np.ndarray:
    """The rows of `values` (n, ...), on the model's device, that are not finite."""
    finite = model.backend.xp.isfinite(values).reshape(len(values), -1).all(axis=1)
    return np.flatnonzero(~model.backend.to_numpy(finite))


def _examined(run: Run, copy: Network, batch: TrainingData, rows: np.ndarray, found: Found) -> str:
    """What a step of a copy of the model on `batch`, the `rows` of the run's data, shows."""
    numbers = run.program.layer_numbers
    at = min(found.position, len(numbers.table) - 1)  # full batches have one row for all steps
    row = numbers.table[at : at + 1]
    program = TrainingProgram(
        copy, batch, optimizer=None, moments={}, batch_size=len(rows), rows=len(rows),
        part_rows=run.program.part_rows,
    )  # fmt: skip
    assert program.full is not None
    program.start_epoch(np.arange(len(rows)), step=0, drawn=found.drawn)
    program.layer_numbers.table[...] = row
    run_once(program.full)
    loss = float(copy.backend.to_numpy(program.log)[0, LOSS])
    gradient = largest_gradient(copy, program.step_gradient.total)
    parts = program.parts(len(rows))
    x = batch.x.astype(copy.dtype)
    first = first_layer(copy, x, parts, found.drawn, numbers=numbers.parts(row))
    bad = np.arange(0)
    if first is not None:
        i, bad = first
        told = f"the output of layer {i} ({copy.layers[i].name}) is the first that is not finite"
    elif np.isfinite(loss):
        told = "every output and the loss are finite: the steps since then made them overflow"
    else:
        told = "every output is finite and the loss is not"
        if len(parts) == 1:  # the buffer has the losses of the last part
            bad = not_finite(copy, program.buffers.get("row losses", len(rows), 1))
    if 0 < len(bad) < len(rows):
        told += f", in {listed(original(run, rows[bad]))}"
    return f"{told}; {gradient}"


def first_layer(
    network: Network,
    x: Array,
    parts: Sequence[slice],
    drawn: int,
    *,
    numbers: dict[str, tuple[Array, ...]],
) -> tuple[int, np.ndarray] | None:
    """The first layer whose output for x (rows, d_in) is not finite in training, and in which rows;
    None if all are finite. x is taken in parts, as accumulated batches are; `numbers` are the
    step's of the layers. Running statistics of the network change.
    """
    buffers = Buffers(network.backend, max(at.stop - at.start for at in parts), network.dtype)
    state = network.backend.asarray(np.array([0, drawn]))
    plan = Plan(
        buffers, len(x), parameters=network.layout.views(network.flat), training=True,
        seed=network.seed, state=state,
    )  # fmt: skip
    plan.numbers = numbers
    for at in parts:
        part, z = plan.part(at.stop - at.start, first=at.start == 0), x[at]
        for i, layer in enumerate(network.layers):
            done = len(plan.calls)
            z = layer.forward(part.at(str(i)), z)
            run_once(plan, done)
            bad = not_finite(network, z)
            if len(bad):
                return i, at.start + bad
    return None


def largest_gradient(network: Network, gradient: Array) -> str:
    """Which parameter has the largest gradient; or the first whose gradient is not finite."""
    norms = {}
    for name, view in network.layout.views(gradient).items():
        if network.layout.places[name].parameter.kind != "state":
            g = network.backend.to_numpy(view).astype(np.float64)
            norms[name] = float(np.sqrt((g * g).sum()))
            if not np.isfinite(norms[name]):
                return f"the gradient of {name} is not finite"
    name = max(norms, key=lambda name: norms[name])
    return f"the largest gradient is that of {name} (norm {norms[name]:.2g})"
