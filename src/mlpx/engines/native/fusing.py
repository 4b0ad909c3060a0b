"""Operations joined with the products beside them, so that what they read is still in a register or
the first-level cache: rows of the data are read where they lie, in the order of the epoch, and an
activation or its slope is the end of a product.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mlpx.engines.lowering import Access, Operation, address
from mlpx.engines.lowering.fields import FIELDS
from mlpx.engines.lowering.operations import access
from mlpx.engines.lowering.translator import LABELS
from mlpx.engines.native.barriers import Touched
from mlpx.types import Array

LEAST_ROWS, LEAST_COLUMNS, LEAST_WEIGHTS = 24, 32, 60_000
"""The rows and the columns for each thread, and the number of weights, from which on threads divide
the rows of a product, or may divide its columns.
"""
LARGE_BYTES = 4 << 20
"""Of weights that are copied, each column by one thread, however many rows there are."""
READERS = {"affine", "affine_dW"}
"""The operations that can read their rows as a gather would bring them."""


def fuse(operations: Sequence[Operation]) -> list[Operation]:
    """The operations with as many of them joined as can be; each result is what it was,
    to rounding.
    """
    return join_slopes(join_activations(read_in_place(operations)))


def read_in_place(operations: Sequence[Operation]) -> list[Operation]:
    """The operations without the gathers whose rows only products read: these products have the
    gather as their x.
    """
    kept = list(operations)
    for gather in operations:
        if gather.name == "gather" and gather["dtype"] != LABELS:
            kept = _without(kept, gather)
    return kept


def _without(operations: list[Operation], gather: Operation) -> list[Operation]:
    """The operations without a gather, and without the rescaling of what it brings; unchanged if
    anything else than a product reads that.
    """
    brought, dropped = gather, {gather}
    users = _users(operations, operations.index(gather), gather["out"])
    if [user.name for user in users] == ["scale"]:
        (scale,) = users
        numbers = {"scale": scale["scale"], "offset": scale["offset"]}
        brought = gather.replaced(scaled=True, out=scale["out"], **numbers)
        dropped.add(scale)
        users = _users(operations, operations.index(scale), scale["out"])
    if not users or not all(_reads(user, brought) for user in users):
        return operations
    source = tuple(a for a in gather.touches if not a.writes)
    memory = access(brought["out"], writes=True)
    joined = {
        user: replace(
            user.replaced(x=brought, gathered=True),
            touches=(*source, *(a for a in user.touches if not a.overlaps(memory))),
        )
        for user in users
    }
    return [joined.get(op, op) for op in operations if op not in dropped]


def _users(operations: Sequence[Operation], i: int, out: Array) -> list[Operation]:
    """The operations that touch what operation i wrote to `out`, until it is gathered anew."""
    memory, users = access(out, writes=True), list[Operation]()
    for op in operations[i + 1 :]:
        if any(a.overlaps(memory) for a in op.touches):
            if op.name == "gather":
                break
            users.append(op)
    return users


def _reads(operation: Operation, gather: Operation) -> bool:
    """Whether an operation reads whole rows as its x, and nothing else of what a gather brings."""
    out = gather["out"]
    memory = access(out, writes=True)
    return bool(
        operation.name in READERS
        and address(operation["x"]) == address(out)
        and operation["inputs"] == gather["columns"]
        and sum(a.overlaps(memory) for a in operation.touches) == 1
    )


def split_columns(operations: Sequence[Operation], *, threads: int) -> list[Operation]:
    """The operations with each product of few rows and many weights, or of large weights, divided
    among the threads by its columns, so that each reads only its part of the weights.
    """
    if threads < 2:
        return list(operations)
    return [_split(op) if _is_worth_splitting(op, threads) else op for op in operations]


def _is_worth_splitting(op: Operation, threads: int) -> bool:
    if op.name not in ("layer", "layer_back"):
        return False
    inputs, outputs = int(op["inputs"]), int(op["outputs"])
    width = outputs if op.name == "layer" else inputs
    few = op["rows"] < LEAST_ROWS * threads and inputs * outputs >= LEAST_WEIGHTS
    large = op["W"].nbytes > LARGE_BYTES
    return width >= LEAST_COLUMNS * threads and (few or large)


def _split(op: Operation) -> Operation:
    """A product whose columns are divided: what it reads as a whole, and what by column."""
    width = op["outputs"] if op.name == "layer" else op["inputs"]
    division = ("columns", op["rows"], width)
    by_column = {address(op[field]) for field in ("z", "y", "kept", "out") if field in fields(op)}
    touches = tuple(
        replace(a, division=division if a.start in by_column else None) for a in op.touches
    )
    return replace(op.replaced(split=True), touches=touches)


def fields(op: Operation) -> dict[str, Any]:
    """The places of an operation's fields."""
    return FIELDS[op.name].places


def join_activations(operations: Sequence[Operation]) -> list[Operation]:
    """The operations with each bias and activation joined to the product before it."""
    made = list[Operation]()
    for op in operations:
        before = made[-1] if made else None
        if (
            before is not None
            and before.name == "affine"
            and op.name == "activation"
            and address(op["z"]) == address(before["out"])
        ):
            made[-1] = before.turned_into(
                "layer",
                gathered=before["gathered"],
                formula=op["formula"],
                constants=op["constants"],
                z=op["z"],
                y=op["y"],
                bias=op["bias"],
                touches=(*before.touches, *op.touches),
            )
        else:
            made.append(op)
    return made


def join_slopes(operations: Sequence[Operation]) -> list[Operation]:
    """The operations with each slope joined to the product whose result it multiplies."""
    joined: dict[Operation, Operation | None] = {}
    for i, product in enumerate(operations):
        if product.name == "affine_dx":
            slope = _slope(operations, i)
            if slope is not None:
                joined[product], joined[slope] = _with_slope(product, slope), None
    made = (joined.get(op, op) for op in operations)
    return [op for op in made if op is not None]


def _slope(operations: Sequence[Operation], i: int) -> Operation | None:
    """The operation that multiplies the result of product i by a slope, if it can be made earlier,
    with the product, and nobody else needs the result.
    """
    dx = access(operations[i]["dx"], writes=True)
    between = Touched()
    for op in operations[i + 1 :]:
        if any(a.overlaps(dx) for a in op.touches):
            break
        between.add(*op.touches)
    else:
        return None
    if op.name != "activation_back" or address(op["dy"]) != dx.start:
        return None
    if between.precedes(*(a for a in op.touches if not a.overlaps(dx))):
        return None
    if address(op["out"]) != dx.start:
        after = operations[operations.index(op) + 1 :]
        if any(a.overlaps(dx) and not a.writes for later in after for a in later.touches):
            return None
    return op


def _with_slope(product: Operation, slope: Operation) -> Operation:
    """The product whose result is multiplied by a slope."""
    dy = access(slope["dy"])
    apart = address(slope["out"]) != dy.start
    touches: tuple[Access, ...] = tuple(a for a in product.touches if not a.writes)
    touches += tuple(a for a in slope.touches if not (apart and a.start == dy.start))
    return product.turned_into(
        "layer_back",
        formula=slope["formula"],
        constants=slope["constants"],
        kept=slope["kept"],
        out=slope["out"],
        touches=touches,
    )
