"""Products and what follows them as one: cublasLt adds a bias, takes relu or gelu_tanh, or sums.

Two operations become one, where cublasLt has an algorithm for both. Backward, relu needs only its
output, which is there: so the masks that cublasLt could keep are not asked for. It may put out 0
for a NaN where relu puts out NaN; the last layer has no relu. cublasLt's GELU is the one by tanh.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from mlpx.engines.cuda.cublaslt import (
    EPILOGUE_BGRADA,
    EPILOGUE_BIAS,
    EPILOGUE_DGELU,
    EPILOGUE_GELU_AUX_BIAS,
    EPILOGUE_RELU_BIAS,
    GELU_COLUMNS,
)
from mlpx.engines.cuda.graphs import in_order
from mlpx.engines.lowering import Operation, address
from mlpx.engines.lowering.formulas import codes


class Epilogue(NamedTuple):
    """What cublasLt does with a product before it writes it; addresses, 0 for none."""

    kind: int
    vector: int = 0
    """The bias it adds, or the gradient of one that it writes."""
    input: int = 0
    """GELU's input, which it writes, or backward reads."""
    out: int = 0
    """Where the result goes, if not where the product would."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Fused(Operation):
    """Two operations as one: a product and what follows it."""

    parts: tuple[Operation, Operation]
    epilogue: Epilogue


def fuse(operations: list[Operation]) -> list[Operation]:
    """The operations, with each product that something follows fused with it."""
    found: list[Operation] = []
    taken: list[Operation] = []
    for i, first in enumerate(operations):
        if any(first is other for other in taken):
            continue
        second = follower(first, operations[i + 1 :])
        epilogue = epilogue_of(first, second) if second else None
        if second is None or epilogue is None or clobbers(second, first):
            found.append(first)
        else:
            found.append(fused(first, second, epilogue))
            taken.append(second)
    return found


def follower(first: Operation, rest: list[Operation]) -> Operation | None:
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


def clobbers(second: Operation, first: Operation) -> bool:
    """Whether the second writes over what the first reads: as one they would read it too late."""
    read = [access for access in first.touches if not access.writes]
    return any(a.writes and a.overlaps(b) for a in second.touches for b in read)


def fused(first: Operation, second: Operation, epilogue: Epilogue) -> Fused:
    """The first operation with the second as its end."""
    fields = {name: getattr(first, name) for name in ("name", "n", "c", "p", "alone", "late")}
    touches = (*first.touches, *second.touches)
    return Fused(**fields, touches=touches, parts=(first, second), epilogue=epilogue)


def epilogue_of(first: Operation, second: Operation) -> Epilogue | None:
    """How the second operation can be the end of the first, None if it cannot."""
    names = (first.name, second.name)
    if names == ("affine", "activation"):
        return of_activation(first, second)
    if names == ("affine_dx", "activation_back"):
        return of_slope(first, second)
    if names == ("affine_dW", "column_sum") and address(first.p[1]) == address(second.p[0]):
        return Epilogue(EPILOGUE_BGRADA, address(second.p[1]) or 0)
    return None


def of_activation(first: Operation, second: Operation) -> Epilogue | None:
    """A product's end that adds the bias and takes an activation."""
    product, (code, biased) = address(first.p[2]), second.n[2:4]
    z, y, bias = (address(array) or 0 for array in second.p[:3])
    if not biased or z != product:
        return None
    if code == codes("activation")["gelu_tanh"] and y != z and first.n[2] % GELU_COLUMNS == 0:
        return Epilogue(EPILOGUE_GELU_AUX_BIAS, bias, input=z, out=y)
    kinds = {"identity": EPILOGUE_BIAS, "relu": EPILOGUE_RELU_BIAS}
    kind = {codes("activation")[name]: kind for name, kind in kinds.items()}.get(code)
    return Epilogue(kind, bias) if kind and y == z else None


def of_slope(first: Operation, second: Operation) -> Epilogue | None:
    """A product's end that multiplies by the slope of gelu_tanh."""
    dy, z, out = (address(array) or 0 for array in second.p[:3])
    alike = second.n[2] == codes("activation")["gelu_tanh"] and first.n[1] % GELU_COLUMNS == 0
    if alike and dy == address(first.p[2]):
        return Epilogue(EPILOGUE_DGELU, input=z, out=out)
    return None
