"""Whole steps of 784-50-10 by products of our own: affine, the end of the classifier, two dW that
move their weights, and the next step's rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import numpy as np

from gpu import steps
from gpu.section import Row, Setup
from gpu.small_cases import WAYS
from gpu.small_products import OF_BYTES, Rows, Small, Tile
from mlpx.engines.cuda.epilogues import Fused
from mlpx.engines.cuda.graphs import Launch, lanes
from mlpx.engines.cuda.runner import MOST_STEPS, CudaRunner
from mlpx.engines.lowering import Operation, address
from mlpx.engines.lowering.operations import Access, access
from mlpx.engines.lowering.translator import LABELS

ROWS = 100 * MOST_STEPS * 2
"""Of data: two of the longest graphs."""
HOW = (
    (Rows(4, 1, 8), Tile(1, 1, 8)),
    (Rows(4, 4, 8), Tile(1, 1, 8)),
    (Rows(8, 4, 8), Tile(1, 1, 8)),
    (Rows(4, 4, 16), Tile(1, 1, 8)),
    (Rows(4, 4, 8), Tile(2, 1, 4)),
)
TOLERANCE = 1e-3


def measured(setup: Setup, small: Small) -> Iterator[Row]:
    """The step by cublasLt and the engine's kernels, then by ours."""
    with patch.object(steps, "ROWS", ROWS):
        bench = steps.Bench(steps.NETS[0], setup)
    start = bench.program.network.flat.get()
    expected = trained(bench, bench.runner(), start)
    engine = bench.runner()
    row: Row = {"product": "step", "by": "cublasLt", "nodes": len(bench.launches(engine))}
    yield row | {"us": bench.step_us(engine), "passed": True}
    for forward, backward in HOW[:1] if setup.quick else HOW:
        for of_bytes in (False, True):
            if of_bytes and forward not in OF_BYTES:
                continue
            execute = bench.runner()
            made = ours(bench, small, execute, forward, backward, of_bytes=of_bytes)
            execute.replayer.launches[id(bench.program.full)] = made
            error = off(trained(bench, execute, start), expected, start)
            row = {
                "product": "step", "by": f"{forward.name} {backward.name}", "bytes": of_bytes,
                "nodes": len(made), "passed": error <= TOLERANCE and not execute.notes,
                "largest_error": error if np.isfinite(error) else None,
            }  # fmt: skip
            yield row | {"us": bench.step_us(execute), "why": "; ".join(execute.notes)}


def trained(bench: steps.Bench, execute: CudaRunner, start: np.ndarray) -> np.ndarray:
    """The parameters after an epoch's first steps, as many as a graph may hold and one."""
    flat, plan = bench.program.network.flat, bench.program.full
    assert plan is not None
    flat[...] = bench.backend.asarray(start)
    count = min(bench.program.full_steps, MOST_STEPS + 1)
    bench.time(lambda: execute(plan, count))
    return np.asarray(flat.get())


def off(found: np.ndarray, wanted: np.ndarray, start: np.ndarray) -> float:
    """How far off what was learned is, by how much that was."""
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted - start))


def ours(
    bench: steps.Bench, small: Small, execute: CudaRunner, forward: Rows, backward: Tile, *,
    of_bytes: bool,
) -> list[Launch]:  # fmt: skip
    """The launches of a runner, with our products and without the rule."""
    given = [operation for operation, _ in bench.launches(execute)]
    named = {op.name: op for op in given}
    head = headed(named["softmax_head"])
    first = affine(bench, named, forward, of_bytes=of_bytes)
    moving = [moved(op, named["rule_sgd"], backward) for op in given if op.name == "affine_dW"]
    rows = fed(named["gather"], bench)
    operations = [first, head, *moving, labels_of(rows) if of_bytes else rows]
    placed = [replace(op, lane=at) for op, at in zip(operations, lanes(operations), strict=True)]
    sizes = {first.name: forward.launch(shape(named["affine"]))}
    found = list[Launch]()
    for op in placed:
        if op.name in ("softmax_head", "gather"):
            found.append((op, execute.planner.launcher(op)))
        else:
            size = sizes.get(op.name) or backward.launch(op.n[:3])
            found.append((op, small.ours(op, size, execute.planner.positions)))
    return found


def affine(
    bench: steps.Bench, named: dict[str, Operation], how: Rows, *, of_bytes: bool
) -> Operation:
    """The first layer with its bias and activation, which the engine's end of the classifier does;
    of bytes, with what the engine's gather does.
    """
    product, head, gather = (named[name] for name in ("affine", "softmax_head", "gather"))
    h, b = head["h"], head["b"]
    n = (*shape(product), head["formula"], product["rows"])
    touched = (*product.touches, access(h, writes=True), access(b))
    if not of_bytes:
        return Operation(f"affine_{how.name}", n, (), (product["x"], product["W"], h, b), touched)
    p = (bench.program.data.x, product["W"], h, b, gather["indices"], gather["out"])
    touched = (*touched, access(gather["out"], writes=True))
    c = gather["scale"], gather["offset"]
    return Operation(f"affine_bytes_{how.name}", n, c, p, touched)


def shape(product: Operation) -> tuple[int, int, int]:
    """The rows, inputs and outputs of a layer's product."""
    return product["rows"], product["inputs"], product["outputs"]


def headed(head: Operation) -> Operation:
    """The end of the classifier without the activation."""
    known = head["formula"] >= 0 == head["slope_of_z"]
    assert known, "a layer whose activation is the end's, and its slope of h"
    return head.replaced(formula=-1, z=None, b=None)


def fed(gather: Operation, bench: steps.Bench) -> Operation:
    """What brings the next step's rows, with the data that a runner does not hold."""
    x, y = bench.program.data.x, bench.program.data.y
    return gather.replaced(x=x, labels=y)


def labels_of(gather: Operation) -> Operation:
    """What brings the labels alone."""
    y, out = gather["labels"], gather["labels_out"]
    alone = gather.replaced(
        columns=1, dtype=LABELS, scaled=False, x=y, out=out, labels=None, labels_out=None
    )
    return replace(alone, touches=(access(y), gather.touches[1], access(out, writes=True)))


def moved(product: Operation, rule: Operation, how: Tile) -> Operation:
    """A product that moves its weights and bias by its gradient."""
    assert isinstance(product, Fused)
    apart = address(rule["parameters"]) - address(rule["gradient"])
    W, b = (at + apart for at in (address(product["dW"]), product.epilogue.vector))
    _, d, k = shape(product)
    touched = (Access(W, W + 4 * d * k, True), Access(b, b + 4 * k, True))
    n = (*shape(product), WAYS.index("sgd"), rule["table_columns"])
    p: tuple[Any, ...] = (product["x"], product["dz"], W, b, *[None] * 6, rule["scalars"])
    return Operation(f"dW_{how.name}", n, rule["constants"], p, (*product.touches, *touched))
