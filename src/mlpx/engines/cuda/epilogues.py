"""Products and what follows them as one: cublasLt adds a bias, takes relu or gelu_tanh, or sums.

Operations become one where cublasLt has an algorithm for all of them. The way forward through relu
keeps bits that say where it let a number through, and the way back multiplies by them and adds up
the gradient of the bias; both are done so, or neither. cublasLt's relu may put out 0 for a NaN
where ours puts out NaN; the last layer has no relu. Its GELU is the one by tanh.
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
"""What cublasLt does for an activation behind a bias, by the formula's code."""


class Epilogue(NamedTuple):
    """What cublasLt does with a product before it writes it; addresses, 0 for none."""

    kind: int
    vector: int = 0
    """The bias it adds, or the gradient of one that it writes."""
    input: int = 0
    """GELU's input or relu's bits, which it writes, or backward reads."""
    input_columns: int = 0
    """How many numbers or bits the rows of those are apart."""
    out: int = 0
    """Where the result goes, if not where the product would."""

    @property
    def sums_factor(self) -> bool:
        """Whether it sums what it multiplies, as that is."""
        return self.kind == EPILOGUE_BGRADA

    @property
    def writes_bits(self) -> bool:
        """Whether another epilogue reads bits that this one leaves."""
        return self.kind == EPILOGUE_RELU_AUX_BIAS

    @property
    def reads_bits(self) -> bool:
        """Whether it reads bits that another epilogue left."""
        return self.kind in (EPILOGUE_DRELU, EPILOGUE_DRELU_BGRAD)


@dataclass(frozen=True, eq=False, kw_only=True)
class Fused(Operation):
    """Operations as one: a product and what follows it. `parts` are what does the same without."""

    parts: tuple[Operation, ...]
    epilogue: Epilogue


Memory = Callable[[int], int]
"""Gives the address of so many bytes of the device."""


def fuse(operations: Sequence[Operation], memory: Memory) -> list[Operation]:
    """The operations, with each product that something follows fused with it."""
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
    """The operations with each relu in the products before it, on the way forward and back."""
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
    """The product with relu whose slope it is, None where that is no product or does not fuse."""
    kept = address(slope["kept"])
    for i, first in enumerate(operations):
        second = follower(first, operations[i + 1 :])
        epilogue = epilogue_of(first, second) if second else None
        is_relu = epilogue is not None and epilogue.kind == EPILOGUE_RELU_BIAS
        if second and epilogue and is_relu and address(second["y"]) == kept:
            return fused(epilogue, first, second)
    return None


def sums_of(slope: Operation, rest: Sequence[Operation]) -> list[Operation]:
    """The sum of the slope's result over the rows, if it can be done as soon as that is there."""
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
    """A product with relu that also says where relu let a number through."""
    epilogue = forward.epilogue._replace(
        kind=EPILOGUE_RELU_AUX_BIAS, input=bits.start, input_columns=columns
    )
    return replace(forward, parts=(forward,), epilogue=epilogue, touches=(*forward.touches, bits))


def back_through_bits(
    dx: Operation, ends: Sequence[Operation], bits: Access, columns: int
) -> Fused:
    """A product that is multiplied by relu's slope, and perhaps summed over its rows."""
    slope, *sums = ends
    kind = EPILOGUE_DRELU_BGRAD if sums else EPILOGUE_DRELU
    db = address(sums[0]["db"]) if sums else 0
    one = fused(Epilogue(kind, db, bits.start, columns, out=address(slope["out"])), dx, *ends)
    return replace(one, touches=(*one.touches, replace(bits, writes=False)))


def sources(operation: Operation) -> list[Operation]:
    """The operations that one does which are not fused themselves."""
    if not isinstance(operation, Fused):
        return [operation]
    return [source for part in operation.parts for source in sources(part)]


def follower(first: Operation, rest: Sequence[Operation]) -> Operation | None:
    """The operation after the first; after one of the main branch, the next of that branch, unless
    what is between them has to come before it.
    """
    between: list[Operation] = []
    for op in rest:
        if first.late or not op.late:
            free = not any(in_order(op, other) for other in between)
            return op if free else None
        between.append(op)
    return None


def fused(epilogue: Epilogue, first: Operation, *others: Operation) -> Fused:
    """The first operation with the others as its end."""
    fields = {name: getattr(first, name) for name in ("name", "n", "c", "p", "alone", "late")}
    touches = tuple(access for op in (first, *others) for access in op.touches)
    return Fused(**fields, touches=touches, parts=(first, *others), epilogue=epilogue)


def epilogue_of(first: Operation, second: Operation) -> Epilogue | None:
    """How the second operation can be the end of the first, None if it cannot."""
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
    """Whether the second writes over what the first reads: as one they would read it too late."""
    read = [access for access in first.touches if not access.writes]
    return any(a.writes and a.overlaps(b) for a in second.touches for b in read)


def of_activation(first: Operation, second: Operation) -> Epilogue | None:
    """A product's end that adds the bias and takes an activation."""
    z, y, bias = (address(second[field]) for field in ("z", "y", "bias"))
    if not second["biased"] or z != address(first["out"]):
        return None
    kind, outputs = ENDS.get(second["formula"]), first["outputs"]
    if kind == EPILOGUE_GELU_AUX_BIAS:
        fits = y != z and outputs % GELU_COLUMNS == 0
        return Epilogue(kind, bias, z, outputs, out=y) if fits else None
    return Epilogue(kind, bias) if kind and y == z else None


def ends_a_product(activation: Operation) -> bool:
    """Whether an activation can be the end of the product before it, by what it is."""
    kind = ENDS.get(activation["formula"])
    wide = activation["columns"] % GELU_COLUMNS == 0
    return kind is not None and (wide or kind != EPILOGUE_GELU_AUX_BIAS)


def is_slope(operation: Operation, dx: Operation, activation: str) -> bool:
    """Whether it multiplies what the product dx puts out by the slope of an activation."""
    return (
        (dx.name, operation.name) == ("affine_dx", "activation_back")
        and operation["formula"] == codes("activation")[activation]
        and address(operation["dy"]) == address(dx["dx"])
        and not clobbers(operation, dx)
    )
