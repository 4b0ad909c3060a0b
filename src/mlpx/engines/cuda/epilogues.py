"""Products and what follows them as one: cublasLt adds the bias, takes relu, or sums a gradient.

Two operations that stand beside each other become one, where cublasLt has an algorithm for both.
Backward, relu needs only its output, which is there: so the masks that cublasLt could keep are not
asked for. It may put out 0 for a NaN where relu puts out NaN; the last layer has no relu.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from mlpx.engines.cuda.cublaslt import EPILOGUE_BGRADA, EPILOGUE_BIAS, EPILOGUE_RELU_BIAS
from mlpx.engines.lowering import Operation, address
from mlpx.engines.lowering.formulas import codes


class Epilogue(NamedTuple):
    """What cublasLt does with a product before it writes it, and the vector it reads or writes."""

    kind: int
    vector: int


@dataclass(frozen=True, eq=False, kw_only=True)
class Fused(Operation):
    """Two operations as one: a product and what follows it."""

    parts: tuple[Operation, Operation]
    epilogue: Epilogue


def fuse(operations: list[Operation]) -> list[Operation]:
    """The operations, with each product that something follows fused with it."""
    found: list[Operation] = []
    taken: Operation | None = None
    for first, second in pairwise([*operations, Operation("", (), (), (), ())]):
        epilogue = None if first is taken else epilogue_of(first, second)
        if epilogue is not None:
            found.append(fused(first, second, epilogue))
            taken = second
        elif first is not taken:
            found.append(first)
    return found


def fused(first: Operation, second: Operation, epilogue: Epilogue) -> Fused:
    """The first operation with the second as its end."""
    fields = {name: getattr(first, name) for name in ("name", "n", "c", "p", "alone", "late")}
    touches = (*first.touches, *second.touches)
    return Fused(**fields, touches=touches, parts=(first, second), epilogue=epilogue)


def epilogue_of(first: Operation, second: Operation) -> Epilogue | None:
    """How the second operation can be the end of the first, None if it cannot."""
    if (first.name, second.name) == ("affine", "activation"):
        z, (code, biased) = address(first.p[2]), second.n[2:4]
        kinds = {"identity": EPILOGUE_BIAS, "relu": EPILOGUE_RELU_BIAS}
        kind = {codes("activation")[name]: kind for name, kind in kinds.items()}.get(code)
        if kind and biased and address(second.p[0]) == address(second.p[1]) == z:
            return Epilogue(kind, address(second.p[2]) or 0)
    sums = (first.name, second.name) == ("affine_dW", "column_sum")
    if sums and address(first.p[1]) == address(second.p[0]):
        return Epilogue(EPILOGUE_BGRADA, address(second.p[1]) or 0)
    return None
