"""The layer that turns columns of codes into numbers, and what all embeddings share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlpx.errors import InputError, InputTypeError
from mlpx.kernels import embedding
from mlpx.kernels.initializers import Draw, Initializer, Normal
from mlpx.layers.base import Layer
from mlpx.plan.layout import Parameter
from mlpx.records import require_count
from mlpx.types import Array

if TYPE_CHECKING:
    from mlpx.plan.plan import LayerPlan

MOST_CODES = 2**24
"""Codes of one column: float32 holds all whole numbers up to there."""


class ColumnEmbedding(Layer):
    """What the embeddings share: each of `embedded` columns becomes `width` numbers."""

    width: int  # type: ignore[assignment]  # `outputs` says how many columns come out

    @property
    def embedded(self) -> int:
        """How many columns it embeds."""
        raise NotImplementedError

    def outputs(self, d_in: int) -> int:
        self._require_columns(d_in)
        return d_in + self.embedded * (self.width - 1)

    def _require_columns(self, d_in: int) -> None:
        if d_in < self.embedded:
            raise InputError(
                f"{self.name} is for {self.embedded} columns; the layer gets {d_in}: it needs a "
                "column of x for each"
            )


def offsets(counts: Iterable[int]) -> list[int]:
    """Where each of several parts of a table begins, and where the last one ends."""
    return list(accumulate(counts, initial=0))


def listed(name: str, given: Any) -> tuple[Any, ...]:
    """An entry for each column.

    Raises InputError or InputTypeError.
    """
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise InputTypeError(f"{name} = {given!r}; wanted an entry for each column, such as a list")
    entries = tuple(given)
    if not entries:
        raise InputError(f"{name} is empty; wanted an entry for each column")
    return entries


@dataclass(frozen=True)
class _KnownCodes(Initializer):
    """N(0, 1), and zeros for the first row of each column."""

    sizes: tuple[int, ...]

    def sample(self, shape: tuple[int, ...], draw: Draw) -> NDArray[np.float64]:
        E = Normal(1.0).sample(shape, draw)
        E[offsets(self.sizes)[:-1]] = 0
        return E


@dataclass(frozen=True)
class Embedding(ColumnEmbedding, name="embedding"):
    """y = the first columns of x, then for each of its last len(sizes) columns the row of E that
    its code stands for.

    x (n, d_in) has codes in its last columns, 0 to size - 1, as numbers; y (n, d_in - len(sizes) +
    len(sizes) width). E (sum(sizes), width) is learnt, the rows of each column behind those of the
    column before. It starts as N(0, 1), but for code 0 of each column, which is meant for what is
    unknown or missing: it starts at zero, so that it says nothing until it was learnt. The gradient
    of a code that no row of the batch has is zero, and so is that of x. In front of a model,
    directly or behind embeddings of numbers, codes are checked when x is given; elsewhere the
    nearest code is taken. A model's `penalty` is not on embeddings; weight decay is, on E.

    Raises InputError or InputTypeError. Source: Guo and Berkhahn, "Entity embeddings of categorical
    variables", 2016.

    Known to: `engines/lowering/embeddings.py`, `engines/native/c/embedding.inc`,
    `engines/native/c/table.inc`, `engines/cuda/embedding.cu`, `engines/cuda/launches.py`,
    `network/architecture.py`, `gradcheck/cases.py`.
    """

    sizes: tuple[int, ...]
    width: int = 8

    def __post_init__(self) -> None:
        sizes = listed("sizes", self.sizes)
        for i, size in enumerate(sizes):
            require_count(f"sizes[{i}]", size)
            if size > MOST_CODES:
                raise InputError(f"sizes[{i}] = {size}; it must be at most 2**24")
        require_count("width", self.width)
        object.__setattr__(self, "sizes", tuple(map(int, sizes)))
        object.__setattr__(self, "width", int(self.width))

    @property
    def codes(self) -> tuple[int, ...]:
        return self.sizes

    @property
    def embedded(self) -> int:
        return len(self.sizes)

    def parameters(self, d_in: int) -> tuple[Parameter, ...]:
        self._require_columns(d_in)
        shape = sum(self.sizes), self.width
        return (Parameter("E", shape, _KnownCodes(self.codes)),)

    def forward(self, plan: LayerPlan, x: Array) -> Array:
        k, y = len(self.sizes), plan.buffer("y", self.outputs(x.shape[1]))
        index = plan.buffer("index", k, dtype=np.int64)
        starts = plan.constant(offsets(self.sizes), np.int64)
        plan.call(
            embedding.look_up, plan.take, x, plan.parameter("E"), starts=starts,
            last=plan.constant(np.array(self.sizes) - 1), index=index,
            rows=plan.scratch(k * self.width, 1)[0].reshape(-1, self.width), out=y,
            work=plan.scratch(k, 1)[0],
        )  # fmt: skip
        plan.kept.update(x=x, index=index, starts=starts)
        return y

    def backward(self, plan: LayerPlan, dy: Array, *, need_dx: bool) -> Array | None:
        x = plan.kept["x"]
        work = plan.buffer("same", embedding.BLOCK), plan.buffer("part", self.width)
        plan.call(
            embedding.look_up_backward, dy, x, index=plan.kept["index"],
            entries=plan.constant(np.arange(sum(self.sizes)), np.int64), sizes=self.codes,
            starts=plan.kept["starts"], dE=plan.gradient("E"), work=work,
        )  # fmt: skip
        if not need_dx:
            return None
        dx = plan.buffer("dx", x.shape[1])
        plan.call(embedding.look_up_dx, dy, codes=len(self.sizes), width=self.width, out=dx)
        return dx
