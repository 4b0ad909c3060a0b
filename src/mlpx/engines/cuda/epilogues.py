"""Products joined with what follows them: cublasLt adds a bias, takes relu or gelu_tanh, or sums.

Operations are joined where cublasLt has an epilogue that does them. For relu, the forward product
stores a bit for each number that it let through, and the backward product multiplies by these bits
and adds up the gradient of the bias; either both products are fused, or neither is. cublasLt's relu
may return 0 for a NaN where ours returns NaN; the last layer has no relu. Its GELU is the
approximation by tanh.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from mlpx.engines.cuda.cublaslt import (
    EPILOGUE_BGRADA,
    EPILOGUE_BIAS,
    EPILOGUE_DGELU,
    EPILOGUE_DRELU,
    EPILOGUE_DRELU_BGRAD,
    EPILOGUE_GELU_AUX_BIAS,
    EPILOGUE_RELU_AUX_BIAS,
    EPILOGUE_RELU_BIAS,
    GELU_COLUMNS,
    MASK_COLUMNS,
)
from mlpx.engines.cuda.fusing import put_for
from mlpx.engines.cuda.graphs import in_order
from mlpx.engines.lowering import Access, Operation, address
from mlpx.engines.lowering.formulas import codes

ENDS = {
    codes("activation")[name]: kind
    for name, kind in {
        "identity": EPILOGUE_BIAS,
        "relu": EPILOGUE_RELU_BIAS,
        "gelu_tanh": EPILOGUE_GELU_AUX_BIAS,
    }.items()
}
"""The epilogue that adds a bias and takes an activation, by the code of its formula."""


class Epilogue(NamedTuple):
    """What cublasLt does to a product before it writes the result; an address of 0 is none."""

    kind: int
    vector: int = 0
    """The address of the bias that it adds, or of the gradient of one that it writes."""
    input: int = 0
    """The address of GELU's input or relu's bits, written by a forward epilogue and read by a
    backward one."""
    input_columns: int = 0
    """How many numbers or bits apart the rows of that input are."""
    out: int = 0
    """The address of the result, if it is not the product's."""

    @property
    def sums_factor(self) -> bool:
        """Whether it sums one of the product's factors, in the precision of the factor."""
        return self.kind == EPILOGUE_BGRADA

    @property
    def writes_bits(self) -> bool:
        """Whether it writes bits that another epilogue reads."""
        return self.kind == EPILOGUE_RELU_AUX_BIAS

    @property
    def reads_bits(self) -> bool:
        """Whether it reads bits that another epilogue wrote."""
        return self.kind in (EPILOGUE_DRELU, EPILOGUE_DRELU_BGRAD)


@dataclass(frozen=True, eq=False, kw_only=True)
class Fused(Operation):
    """A product joined with what follows it; `parts` are the operations that do the same."""

    parts: tuple[Operation, ...]
    epilogue: Epilogue


Memory = Callable[[int], int]
"""Allocates so many bytes on the device, and returns their address."""


def fuse(operations: Sequence[Operation], memory: Memory) -> list[Operation]:
    """The operations, with each product fused with what follows it where an epilogue does that."""
    joined: list[Operation] = []
    taken: list[Operation] = []
    operations = fuse_relus(operations, memory)
    for i, first in enumerate(operations):
        if any(first is other for other in taken):
            continue
        second = follower(first, operations[i + 1 :])
        epilogue = epilogue_of(first, second) if second else None
        if second is None or epilogue is None:
            joined.append(first)
        else:
            joined.append(fused(epilogue, first, second))
            taken.append(second)
    return joined


def fuse_relus(operations: Sequence[Operation], memory: Memory) -> list[Operation]:
    """The operations, with each relu fused into the product before it, forward and backward."""
    step = list(operations)
    for dx in [op for op in operations if op.name == "affine_dx"]:
        rest = step[step.index(dx) + 1 :]
        slope = follower(dx, rest)
        forward = forward_of(slope, step) if slope and is_slope(slope, dx, "relu") else None
        if slope is None or forward is None:
            continue
        columns = -(-dx["inputs"] // MASK_COLUMNS) * MASK_COLUMNS
        size = dx["rows"] * columns // 8
        bits = Access(start := memory(size), start + size, True)
        ends = [slope, *sums_of(slope, rest)]
        made = keeping_bits(forward, bits, columns)
        step = put_for(step, made, sources(made))
        made = back_through_bits(dx, ends, bits, columns)
        step = put_for(step, made, sources(made))
    return step


def forward_of(slope: Operation, operations: Sequence[Operation]) -> Fused | None:
    """The product fused with the relu that `slope` belongs to; None if they cannot be fused."""
    kept = address(slope["kept"])
    for i, first in enumerate(operations):
        second = follower(first, operations[i + 1 :])
        epilogue = epilogue_of(first, second) if second else None
        is_relu = epilogue is not None and epilogue.kind == EPILOGUE_RELU_BIAS
        if second and epilogue and is_relu and address(second["y"]) == kept:
            return fused(epilogue, first, second)
    return None


def sums_of(slope: Operation, rest: Sequence[Operation]) -> list[Operation]:
    """The sum of the slope's result over the rows, if it can run right after the slope; a list of
    none or one.
    """
    between: list[Operation] = []
    for op in rest:
        if op.name == "column_sum" and address(op["dz"]) == address(slope["out"]):
            free = not any(in_order(op, other) for other in between)
            alike = all(op[size] == slope[size] for size in ("rows", "columns"))
            return [op] if free and alike else []
        if op is not slope:
            between.append(op)
    return []


def keeping_bits(forward: Fused, bits: Access, columns: int) -> Fused:
    """A product with relu that also stores where relu let a number through."""
    epilogue = forward.epilogue._replace(
        kind=EPILOGUE_RELU_AUX_BIAS, input=bits.start, input_columns=columns
    )
    return replace(forward, parts=(forward,), epilogue=epilogue, touches=(*forward.touches, bits))


def back_through_bits(
    dx: Operation, ends: Sequence[Operation], bits: Access, columns: int
) -> Fused:
    """A product whose result is multiplied by relu's slope, and perhaps summed over its rows."""
    slope, *sums = ends
    kind = EPILOGUE_DRELU_BGRAD if sums else EPILOGUE_DRELU
    db = address(sums[0]["db"]) if sums else 0
    one = fused(Epilogue(kind, db, bits.start, columns, out=address(slope["out"])), dx, *ends)
    return replace(one, touches=(*one.touches, replace(bits, writes=False)))


def sources(operation: Operation) -> list[Operation]:
    """The operations that a fused one consists of, none of them fused itself."""
    if not isinstance(operation, Fused):
        return [operation]
    return [source for part in operation.parts for source in sources(part)]


def follower(first: Operation, rest: Sequence[Operation]) -> Operation | None:
    """The operation that follows `first`, if it may run right after it: the next one, or for an
    operation that is not late, the next that is not late.
    """
    between: list[Operation] = []
    for op in rest:
        if first.late or not op.late:
            free = not any(in_order(op, other) for other in between)
            return op if free else None
        between.append(op)
    return None


def fused(epilogue: Epilogue, first: Operation, *others: Operation) -> Fused:
    """The first operation with the others as its epilogue."""
    fields = {name: getattr(first, name) for name in ("name", "n", "c", "p", "alone", "late")}
    touches = tuple(access for op in (first, *others) for access in op.touches)
    return Fused(**fields, touches=touches, parts=(first, *others), epilogue=epilogue)


def epilogue_of(first: Operation, second: Operation) -> Epilogue | None:
    """The epilogue of the first operation that does the second; None if there is none."""
    names = (first.name, second.name)
    if isinstance(first, Fused) or clobbers(second, first):
        return None
    if names == ("affine", "activation"):
        return of_activation(first, second)
    if is_slope(second, first, "gelu_tanh") and first["inputs"] % GELU_COLUMNS == 0:
        z, out = address(second["kept"]), address(second["out"])
        return Epilogue(EPILOGUE_DGELU, input=z, input_columns=first["inputs"], out=out)
    if names == ("affine_dW", "column_sum") and address(first["dz"]) == address(second["dz"]):
        return Epilogue(EPILOGUE_BGRADA, address(second["db"]))
    return None


def clobbers(second: Operation, first: Operation) -> bool:
    """Whether the second overwrites what the first reads; joined, they might read it too late."""
    read = [access for access in first.touches if not access.writes]
    return any(a.writes and a.overlaps(b) for a in second.touches for b in read)


def of_activation(first: Operation, second: Operation) -> Epilogue | None:
    """The epilogue that adds the bias and takes the activation; None if there is none."""
    z, y, bias = (address(second[field]) for field in ("z", "y", "bias"))
    if not second["biased"] or z != address(first["out"]):
        return None
    kind, outputs = ENDS.get(second["formula"]), first["outputs"]
    if kind == EPILOGUE_GELU_AUX_BIAS:
        fits = y != z and outputs % GELU_COLUMNS == 0
        return Epilogue(kind, bias, z, outputs, out=y) if fits else None
    return Epilogue(kind, bias) if kind and y == z else None


def ends_a_product(activation: Operation) -> bool:
    """Whether cublasLt has an epilogue for an activation of this kind and width."""
    kind = ENDS.get(activation["formula"])
    wide = activation["columns"] % GELU_COLUMNS == 0
    return kind is not None and (wide or kind != EPILOGUE_GELU_AUX_BIAS)


def is_slope(operation: Operation, dx: Operation, activation: str) -> bool:
    """Whether an operation multiplies the result of the product `dx` by the activation's slope."""
    return (
        (dx.name, operation.name) == ("affine_dx", "activation_back")
        and operation["formula"] == codes("activation")[activation]
        and address(operation["dy"]) == address(dx["dx"])
        and not clobbers(operation, dx)
    )
