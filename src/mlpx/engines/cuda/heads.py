"""The head of a classifier as one operation: its last layer, its loss with metrics and log line,
and the way back to the layer before.

A small net's step takes as long as its longest chain of launches. The head has up to ten launches,
of which five wait for each other; done row by row, nothing has to wait.
"""

from __future__ import annotations

from collections.abc import Sequence

from mlpx.engines.cuda.epilogues import ends_a_product
from mlpx.engines.cuda.fusing import among, put_for, same, together, touches
from mlpx.engines.lowering import Operation, address
from mlpx.engines.lowering.formulas import codes

MOST_OUTPUTS = {4: 32, 8: 12}
"""The most outputs that fit into the registers of each lane of a warp, by the bytes of a number."""
MOST_WORK = 4_000_000
"""Rows x inputs x outputs. Each lane reads the weights of its own inputs, which are far apart in
memory; with more work than this, cublasLt's products are expected to be faster.
"""
LINE = 3
"""Numbers in a line of the log: the loss, the share of right rows, and the sum of weights."""


def with_heads(operations: Sequence[Operation]) -> list[Operation]:
    """The operations, with each head of a classifier as one."""
    step = list(operations)
    for loss in [op for op in operations if op.name == "softmax_loss"]:
        head = Head.of(loss, step)
        if head is not None:
            step = put_for(step, head.operation(), head.parts)
    return step


class Head:
    """The operations around a loss; None for one that is missing or cannot be part of the head."""

    def __init__(self, loss: Operation, operations: Sequence[Operation]) -> None:
        self.loss, self.operations = loss, operations
        self.z, self.labels, self.r = loss["z"], loss["t"], loss["r"]
        self.losses, self.dz = loss["losses"], loss["dz"]
        before = operations[: operations.index(loss)]
        self.product = last(before, "affine", out=self.z)
        self.bias = last(before, "activation", z=self.z)
        self.mean = first(operations, "weighted_mean", values=self.losses)
        self.correct = first(operations, "correct", z=self.z)
        hits = self.correct["out"] if self.correct else None
        self.hits = first(operations, "weighted_mean", values=hits)
        self.dx = first(operations, "affine_dx", dz=self.dz)
        self.activation = self._activation()
        self.slope = self._slope()
        record = first(operations, "record", values=self.mean["out"]) if self.mean else None
        self.record = record if record and record["columns"] == LINE else None

    @classmethod
    def of(cls, loss: Operation, operations: Sequence[Operation]) -> Head | None:
        """The head that a loss belongs to, if it can be one operation."""
        head = cls(loss, operations)
        if not head.fits:
            return None
        for name in ("record", "slope", "activation"):  # the head can do without these
            if not head.may_be_one:
                setattr(head, name, None)
        return head if head.may_be_one else None

    @property
    def fits(self) -> bool:
        """Whether all that is needed is there, and small enough for one warp a row."""
        size = self.r.itemsize
        few = self.loss["outputs"] <= MOST_OUTPUTS[size]
        product, mean, hits, bias = self.product, self.mean, self.hits, self.bias
        if not (self.loss["by_label"] and few and product and mean and hits and self.correct):
            return False
        work = product["rows"] * product["inputs"] * product["outputs"]
        if work > MOST_WORK or self.correct["labels"] is not self.labels:
            return False
        identity = codes("activation")["identity"]
        biased = bias is None or (bias["formula"] == identity and bias["biased"] == 1)
        beside = address(hits["out"]) - address(mean["out"]) == size
        return biased and beside and all(op["r"] is self.r for op in (mean, hits))

    @property
    def parts(self) -> list[Operation]:
        """The operations that the head replaces, in their order."""
        mine = (
            self.activation, self.product, self.bias, self.loss, self.mean, self.correct,
            self.hits, self.dx, self.slope, self.record,
        )  # fmt: skip
        return [op for op in self.operations if among(op, [part for part in mine if part])]

    @property
    def may_be_one(self) -> bool:
        """Whether the parts can run as one, and nothing else uses what they pass on."""
        assert self.correct is not None
        passed = (self.z, self.losses, self.correct["out"])
        return together(self.parts, self.operations, passed)

    def _activation(self) -> Operation | None:
        """The activation that made the last layer's input, unless it is the epilogue of the product
        before it.
        """
        if self.product is None:
            return None
        at = self.operations.index(self.product)
        made = last(self.operations[:at], "activation", y=self.product["x"])
        if made is None or not made["biased"] or ends_a_product(made):
            return None
        return made if of_inputs(made, self.product) else None

    def _slope(self) -> Operation | None:
        """The operation that multiplies the gradient of that input by the activation's slope."""
        if self.dx is None or self.product is None:
            return None
        dh = self.dx["dx"]
        after = self.operations[self.operations.index(self.dx) + 1 :]
        slope = next((op for op in after if touches(op, dh)), None)
        if slope is None or slope.name != "activation_back" or not of_inputs(slope, self.dx):
            return None
        made = self.activation
        if made is not None:
            alike = all(slope[field] == made[field] for field in ("formula", "constants"))
            known = any(same(slope["kept"], a) for a in (made["z"], made["y"]))
            if not (alike and known):
                return None
        return slope if same(slope["out"], dh) else None

    def operation(self) -> Operation:
        """The parts as one operation."""
        product, mean, made, slope = self.product, self.mean, self.activation, self.slope
        assert product is not None
        assert mean is not None
        of_z = slope is not None and not same(slope["kept"], product["x"])
        either = made or slope
        return product.turned_into(
            "softmax_head",
            formula=made["formula"] if made else -1,
            slope_formula=slope["formula"] if slope else -1,
            slope_of_z=of_z,
            constants=either["constants"] if either else (),
            z=made["z"] if made else slope["kept"] if slope and of_z else None,
            h=product["x"],
            b=made["bias"] if made else None,
            bias=self.bias["bias"] if self.bias else None,
            labels=self.labels,
            r=self.r,
            dz=self.dz,
            dh=self.dx["dx"] if self.dx else None,
            line=mean["out"],
            log=self.record["log"] if self.record else None,
            touches=tuple(access for op in self.parts for access in op.touches),
        )


def of_inputs(operation: Operation, product: Operation) -> bool:
    """Whether an operation is of as many rows and columns as a product's input."""
    sizes = operation["rows"], operation["columns"]
    return sizes == (product["rows"], product["inputs"])


def first(operations: Sequence[Operation], name: str, **field: object) -> Operation | None:
    """The first operation of that name with the array in the given field; None for no array."""
    ((key, array),) = field.items()
    if array is None:
        return None
    return next((op for op in operations if op.name == name and same(op[key], array)), None)


def last(operations: Sequence[Operation], name: str, **field: object) -> Operation | None:
    """The last operation of that name with the array in the given field; None for no array."""
    return first(operations[::-1], name, **field)
