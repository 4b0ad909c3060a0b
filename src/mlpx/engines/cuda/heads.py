"""The end of a classifier as one operation: its last layer, its loss with metrics and log line, and
the way back to the layer before.

A small net's step takes as long as its longest chain of launches. These are up to ten of them, of
which five wait for each other; done row by row, nothing has to wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from mlpx.engines.cuda.epilogues import ends_a_product
from mlpx.engines.cuda.fusing import among, put_for, same, together, touches
from mlpx.engines.lowering import Operation, address
from mlpx.engines.lowering.formulas import codes

MOST_OUTPUTS = {4: 32, 8: 12}
"""What fits into the registers of each lane of a warp, by the bytes of a number."""
MOST_WORK = 4_000_000
"""Rows x inputs x outputs. Each lane reads the weights of its own inputs, which lie apart: at more
than that the time of it is expected to be above that of cublasLt's products.
"""
LINE = 3
"""Numbers in a line of the log: the loss, the share of right rows, and the sum of weights."""


def with_heads(operations: Sequence[Operation]) -> list[Operation]:
    """The operations with each end of a classifier as one."""
    found = list(operations)
    for loss in [op for op in operations if op.name == "softmax_loss"]:
        head = Head.of(loss, found)
        if head is not None:
            found = put_for(found, head.operation(), head.parts)
    return found


class Head:
    """What is found around a loss; None is what is not there or cannot be part of it."""

    def __init__(self, loss: Operation, operations: Sequence[Operation]) -> None:
        self.loss, self.operations = loss, operations
        self.z, self.labels, self.r, self.losses, self.dz = loss.p
        before = operations[: operations.index(loss)]
        self.product = last(before, "affine", 2, self.z)
        self.bias = last(before, "activation", 0, self.z)
        self.mean = first(operations, "weighted_mean", 1, self.losses)
        self.correct = first(operations, "correct", 0, self.z)
        hits = self.correct.p[2] if self.correct else None
        self.hits = first(operations, "weighted_mean", 1, hits)
        self.dx = first(operations, "affine_dx", 0, self.dz)
        self.activation = self._activation()
        self.slope = self._slope()
        record = first(operations, "record", 1, self.mean.p[2]) if self.mean else None
        self.record = record if record and record.n == (LINE,) else None

    @classmethod
    def of(cls, loss: Operation, operations: Sequence[Operation]) -> Head | None:
        """The end that a loss belongs to, if it can be one operation."""
        head = cls(loss, operations)
        if not head.fits:
            return None
        for name in ("record", "slope", "activation"):  # what it can do without
            if not head.may_be_one:
                setattr(head, name, None)
        return head if head.may_be_one else None

    @property
    def fits(self) -> bool:
        """Whether it is all there, and of a size for one warp a row."""
        _, k, by_labels = self.loss.n
        most = MOST_OUTPUTS[self.r.itemsize]
        product, mean, hits = self.product, self.mean, self.hits
        if not (by_labels and k <= most and product and mean and hits and self.correct):
            return False
        if prod(product.n[:3]) > MOST_WORK or self.correct.p[1] is not self.labels:
            return False
        biased = self.bias is None or self.bias.n[2:4] == (codes("activation")["identity"], 1)
        size = self.r.itemsize
        beside = address(hits.p[2]) - address(mean.p[2]) == size
        return biased and beside and all(op.p[0] is self.r for op in (mean, hits))

    @property
    def parts(self) -> list[Operation]:
        """The operations it does, in their order."""
        mine = (
            self.activation, self.product, self.bias, self.loss, self.mean, self.correct,
            self.hits, self.dx, self.slope, self.record,
        )  # fmt: skip
        return [op for op in self.operations if among(op, [part for part in mine if part])]

    @property
    def may_be_one(self) -> bool:
        """Whether it can be done in one place, and no other needs what the parts pass on."""
        assert self.correct is not None
        passed = (self.z, self.losses, self.correct.p[2])
        return together(self.parts, self.operations, passed)

    def _activation(self) -> Operation | None:
        """What made the input of the last layer, if that is no end of the product before it."""
        if self.product is None:
            return None
        at = self.operations.index(self.product)
        found = last(self.operations[:at], "activation", 1, self.product.p[0])
        if found is None or not found.n[3] or ends_a_product(found):
            return None
        return found if found.n[:2] == self.product.n[:2] else None

    def _slope(self) -> Operation | None:
        """What multiplies the gradient of that input by the slope of what made it."""
        if self.dx is None or self.product is None:
            return None
        dh = self.dx.p[2]
        after = self.operations[self.operations.index(self.dx) + 1 :]
        found = next((op for op in after if touches(op, dh)), None)
        if found is None or found.name != "activation_back" or found.n[:2] != self.dx.n[:2]:
            return None
        made = self.activation
        alike = made is None or (found.n[2] == made.n[2] and found.c == made.c)
        known = made is None or any(same(found.p[1], a) for a in made.p[:2])
        return found if alike and known and same(found.p[2], dh) else None

    def operation(self) -> Operation:
        """The parts as one."""
        product, mean, made, back = self.product, self.mean, self.activation, self.slope
        assert product is not None
        assert mean is not None
        h, W = product.p[:2]
        of_z = back is not None and not same(back.p[1], h)
        z = made.p[0] if made else back.p[1] if back and of_z else None
        formula = made or back
        n = (
            *product.n[:3], made.n[2] if made else -1, back.n[2] if back else -1, int(of_z),
        )  # fmt: skip
        p = (
            z, h, made.p[2] if made else None, W, self.bias.p[2] if self.bias else None,
            self.labels, self.r, self.dz, self.dx.p[2] if self.dx else None, mean.p[2],
            self.record.p[0] if self.record else None,
        )  # fmt: skip
        touched = tuple(access for op in self.parts for access in op.touches)
        return Operation("softmax_head", n, formula.c if formula else (), p, touched)


def first(operations: Sequence[Operation], name: str, i: int, array: object) -> Operation | None:
    """The first operation of a name whose p[i] is an array; None for None."""
    if array is None:
        return None
    return next((op for op in operations if op.name == name and same(op.p[i], array)), None)


def last(operations: Sequence[Operation], name: str, i: int, array: object) -> Operation | None:
    """The last of them."""
    return first(operations[::-1], name, i, array)
