"""Factors of products in 16 bits: each array is cast once a step, and again after it is rewritten.

A layer multiplies three arrays, each of them twice: x for z and dW, W for z and dx, dz for dx and
dW. A cast is an operation of its own just before the first product that needs it, so that a graph
knows what waits for it; its result stays until the end of the step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from mlpx.engines.cuda.epilogues import Fused
from mlpx.engines.cuda.products import AFFINE, HALVES, Matrix, Narrow, operands
from mlpx.engines.lowering import Access, Operation, address
from mlpx.engines.lowering.operations import access

MOST_BACKS = 4
"""The most products for which one `scale_of` finds the factor; it takes two arrays for each."""


@dataclass(eq=False)
class Cast:
    """One array in 16 bits, valid until the array is written again; in float16, times a scale."""

    source: Matrix
    read: Access
    memory: Any
    scale: Any = None
    backs: list[tuple[Any, Any]] = field(default_factory=list)
    """For each product whose other factor is cast earlier: that factor's scale, and where to write
    what the product is to be multiplied by."""

    def of(self, matrix: Matrix) -> Matrix:
        """A factor of a product, read from this cast."""
        return matrix.narrowed(address(self.memory))

    def operations(self, name: str) -> list[Operation]:
        """The operations that make the cast; `name` is that of the last of them."""
        narrow = self.of(self.source)
        scale = {} if self.scale is None else {"scale": self.scale}
        touches = (self.read, access(self.memory, writes=True), *map(access, scale.values()))
        cast = Operation.of(
            name,
            rows=narrow.rows,
            columns=narrow.columns,
            stride=narrow.padded,
            x=self.source.address,
            out=self.memory,
            **scale,
            touches=touches,
        )
        return [*(self._scalings() if scale else ()), cast]

    def _scalings(self) -> list[Operation]:
        """The operations that find the scale, and from it what products are multiplied by."""
        scalings = list[Operation]()
        for i in range(0, max(1, len(self.backs)), MOST_BACKS):
            backs = self.backs[i : i + MOST_BACKS]
            read = [access(other) for other, _ in backs if other is not self.scale]
            written = (self.scale, *(back for _, back in backs))
            scaling = Operation.of(
                "scale_of",
                elements=self.source.rows * self.source.columns,
                products=len(backs),
                x=self.source.address,
                scale=self.scale,
                others=[array for pair in backs for array in pair],
                touches=(self.read, *read, *(access(array, writes=True) for array in written)),
            )
            scalings.append(scaling)
        return scalings


class Casts:
    """Casts for the products of plans that run one after another, and so share the memory in
    `kept`.
    """

    def __init__(self, backend: Any, precision: str) -> None:
        self.backend, self.precision = backend, precision
        self.kept: list[Any] = []
        self.memory: dict[tuple[int, int], tuple[Any, Any]] = {}
        """The 16-bit copy and the scale of the array at an address, with so many columns."""

    def put_into(self, operations: Sequence[Operation]) -> list[Operation]:
        """The operations of a step, with casts before the affine products that need them."""
        if self.precision not in HALVES:
            return list(operations)
        entries, valid = list[Operation | Cast](), list[Cast]()
        for op in operations:
            if op.name in AFFINE:
                b, a = (self._cast(matrix, op, valid, entries) for matrix in operands(op)[1::-1])
                op = self._of_casts(op, a, b, last=max(a, b, key=entries.index))
            entries.append(op)
            written = [access for access in op.touches if access.writes]
            valid = [cast for cast in valid if not any(cast.read.overlaps(w) for w in written)]
        name = f"to_{self.precision}"
        made = ([op] if isinstance(op, Operation) else op.operations(name) for op in entries)
        return [op for ops in made for op in ops]

    def narrow(self, operation: Operation) -> Narrow | None:
        """The factors of a product in 16 bits; None for an operation that `put_into` did not cast
        for.
        """
        if operation.name not in AFFINE or self.precision not in HALVES:
            return None
        a, b, back = (address(operation[field]) for field in ("left", "right", "back"))
        left, right, _ = operands(operation)
        return Narrow(left.narrowed(a), right.narrowed(b), HALVES[self.precision], back)

    def _cast(
        self, matrix: Matrix, op: Operation, valid: list[Cast], entries: list[Operation | Cast]
    ) -> Cast:
        """The cast of a factor of the product: one that is still valid, or a new one."""
        source = matrix._replace(turned=False)
        same = next((cast for cast in valid if cast.source == source), None)
        if same is not None:
            return same
        memory, scale = self._room(source)
        # Memory belongs to an address and a width: another number of rows overwrites it.
        valid[:] = [cast for cast in valid if cast.memory is not memory]
        made = Cast(source, read_of(source, op), memory, scale)
        valid.append(made)
        entries.append(made)
        return made

    def _room(self, source: Matrix) -> tuple[Any, Any]:
        """The memory for a cast, and for its scale."""
        key, size = (source.address, source.columns), source.rows * source.narrowed(0).padded
        held = self.memory.get(key)
        if held is None or held[0].size < size:
            scale = self._keep(self.backend.zeros(1)) if self.precision == "fp16" else None
            held = self.memory[key] = self._keep(self.backend.empty(size, np.uint16)), scale
        return held

    def _of_casts(self, op: Operation, a: Cast, b: Cast, last: Cast) -> Operation:
        """The product of two casts; the last of them finds what it is multiplied by."""
        if self.precision == "bf16":
            return reading(op, left=a.memory, right=b.memory)
        back = self._keep(self.backend.zeros(2))  # the second is beta, which stays 0
        last.backs.append(((a if last is b else b).scale, back))
        return reading(op, left=a.memory, right=b.memory, back=back)

    def _keep(self, array: Any) -> Any:
        self.kept.append(array)
        return array


def read_of(matrix: Matrix, op: Operation) -> Access:
    """How the operation reads one of its factors."""
    return next(access for access in op.touches if access.start == matrix.address)


def reading(op: Operation, **arrays: Any) -> Operation:
    """An affine product, perhaps with what follows it, that also reads these arrays."""
    touches = (*op.touches, *map(access, arrays.values()))
    product = replace(op.replaced(**arrays), touches=touches)
    if not isinstance(product, Fused):
        return product
    parts = (reading(part, **arrays) if part.name in AFFINE else part for part in product.parts)
    return replace(product, parts=tuple(parts))
