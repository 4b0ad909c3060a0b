"""Layers that turn each of some columns of numbers into several, by waves or by pieces."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mlpx.errors import InputError
from mlpx.kernels import embedding
from mlpx.kernels.initializers import Draw, Initializer, Normal, Uniform
from mlpx.layers.embedding import ColumnEmbedding, listed, offsets
from mlpx.plan.layout import Parameter
from mlpx.records import require, require_count
from mlpx.types import Array

if TYPE_CHECKING:
    from mlpx.plan.plan import LayerPlan

MOST_BINS = 2**16
"""Of one column, whose sums have to fit into what a thread works in."""


@dataclass(frozen=True)
class _ByRow(Initializer):
    """U(-bound, bound), with a bound for each row."""

    bounds: tuple[float, ...]

    def sample(self, shape: tuple[int, ...], draw: Draw) -> NDArray[np.float64]:
        return np.array(self.bounds)[:, None] * Uniform(-1.0, 1.0).sample(shape, draw)


@dataclass(frozen=True)
class PeriodicEmbedding(ColumnEmbedding, name="periodic_embedding"):
    """y = for each of the first `columns` columns its number x_f and width - 1 more, cos(2 pi x_f
    w_f + b_f) V_f + c_f; then the other columns.

    x (n, d_in), y (n, d_in + columns (width - 1)). Learnt are, for each column, w (1, frequencies),
    N(0, std**2) at first; b (frequencies,), U(-pi, pi); V (frequencies, width - 1) and c
    (width - 1,), U(-a, a) with a = 1 / sqrt(frequencies). `rate_multipliers={"0": 0.1}` slows the
    layer where it comes first, as its authors do. The numbers of x should be about 1 in size.

    Raises InputError or InputTypeError. Source: Holzmueller, Grinsztajn and Steinwart, "Better by
    default: strong pre-tuned MLPs and boosted trees on tabular data", 2024 (PBLD); Gorishniy,
    Rubachev and Babenko, "On embeddings for numerical features in tabular deep learning", 2022.

    Known to: `engines/lowering/embeddings.py`, `engines/native/c/embedding.inc`,
    `engines/native/c/table.inc`, `engines/cuda/embedding.cu`, `engines/cuda/launches.py`,
    `network/summary.py`.
    """

    columns: int
    frequencies: int = 16
    width: int = 4
    std: float = 0.1

    def __post_init__(self) -> None:
        for name, least in {"columns": 1, "frequencies": 1, "width": 2}.items():
            require_count(name, getattr(self, name), least=least)
            object.__setattr__(self, name, int(getattr(self, name)))
        require("std", self.std, least=0)

    @property
    def embedded(self) -> int:
        return self.columns

    def passed_on(self, d_in: int) -> int:
        return d_in - self.columns

    def parameters(self, d_in: int) -> tuple[Parameter, ...]:
        self._require_columns(d_in)
        k, h, more = self.columns, self.frequencies, self.width - 1
        inner = Uniform(-(h**-0.5), h**-0.5)
        return (
            Parameter("w", (k, 1, h), Normal(self.std)),
            Parameter("b", (k, h), Uniform(-math.pi, math.pi), kind="bias"),
            Parameter("V", (k, h, more), inner),
            Parameter("c", (k, more), inner, kind="bias"),
        )

    def forward(self, plan: LayerPlan, x: Array) -> Array:
        k, h, y = self.columns, self.frequencies, plan.buffer("y", self.outputs(x.shape[1]))
        angle, wave = (plan.buffer(name, k * h).reshape(k, -1, h) for name in ("angle", "wave"))
        plan.call(
            embedding.waves, x, *self._learnt(plan), plan.parameter("c"), angle=angle, wave=wave,
            out=y, work=(plan.vector("turn", h), *plan.scratch(self.width - 1, 1)),
        )  # fmt: skip
        plan.kept.update(x=x, angle=angle, wave=wave)
        return y

    def backward(self, plan: LayerPlan, dy: Array, *, need_dx: bool) -> Array | None:
        x, h = plan.kept["x"], self.frequencies
        dx = plan.buffer("dx", x.shape[1]) if need_dx else None
        names = "dwave", "dz", "xf", "du"
        columns = h, self.width - 1, 1, 1
        work = tuple(plan.buffer(*each) for each in zip(names, columns, strict=True))
        plan.call(
            embedding.waves_backward, dy, x, *self._learnt(plan), angle=plan.kept["angle"],
            wave=plan.kept["wave"], ones=plan.ones(),
            **{f"d{name}": plan.gradient(name) for name in ("w", "b", "V", "c")}, dx=dx, work=work,
        )  # fmt: skip
        return dx

    def _learnt(self, plan: LayerPlan) -> list[Array | None]:
        return [plan.parameter(name) for name in ("w", "b", "V")]


@dataclass(frozen=True)
class PiecewiseLinearEmbedding(ColumnEmbedding, name="piecewise_embedding"):
    """y = for each of the first len(edges) columns e V_f + c_f, a function of x_f that is linear
    between edges and continuous; then the other columns.

    edges: for each column increasing numbers, two or more, such as quantiles of its values; between
    each and the next lies a bin. e_t is 1 for a bin below x_f, 0 for one above, and for its own the
    fraction of it below x_f; before the first edge it is negative, after the last above 1.
    x (n, d_in), y (n, d_in + len(edges) (width - 1)). V (all bins, width) and c (len(edges), width)
    are learnt and start as U(-a, a) with a = 1 / sqrt(the column's bins). The edges are fixed, and
    saved with the layer.

    Raises InputError or InputTypeError. Source: Gorishniy, Rubachev and Babenko, "On embeddings for
    numerical features in tabular deep learning", 2022, section 3.2.

    Known to: `engines/lowering/embeddings.py`, `engines/native/c/embedding.inc`,
    `engines/native/c/table.inc`, `engines/cuda/embedding.cu`, `engines/cuda/launches.py`.
    """

    edges: tuple[tuple[float, ...], ...]
    width: int = 16

    def __post_init__(self) -> None:
        edges = tuple(
            _increasing(f"edges[{f}]", column)
            for f, column in enumerate(listed("edges", self.edges))
        )
        require_count("width", self.width)
        object.__setattr__(self, "edges", edges)
        object.__setattr__(self, "width", int(self.width))

    @property
    def embedded(self) -> int:
        return len(self.edges)

    @property
    def bins(self) -> tuple[int, ...]:
        """How many bins each column has."""
        return tuple(len(column) - 1 for column in self.edges)

    def passed_on(self, d_in: int) -> int:
        return d_in - self.embedded

    def parameters(self, d_in: int) -> tuple[Parameter, ...]:
        self._require_columns(d_in)
        each = tuple(count**-0.5 for count in self.bins)
        rows = tuple(
            bound for bound, count in zip(each, self.bins, strict=True) for _ in range(count)
        )
        return (
            Parameter("V", (len(rows), self.width), _ByRow(rows)),
            Parameter("c", (len(each), self.width), _ByRow(each), kind="bias"),
        )

    def forward(self, plan: LayerPlan, x: Array) -> Array:
        y = plan.buffer("y", self.outputs(x.shape[1]))
        dtype = plan.plan.buffers.dtype
        edges = [np.array(column, dtype) for column in self.edges]
        fixed = {
            "left": plan.constant(np.concatenate([column[:-1] for column in edges])),
            "size": plan.constant(np.concatenate([np.diff(column) for column in edges])),
            "starts": plan.constant(offsets(self.bins), np.int64),
            "bins": self.bins,
        }
        V, c = plan.parameter("V"), plan.parameter("c")
        plan.call(embedding.pieces, x, V, c, **fixed, out=y, work=self._work(plan))
        plan.kept.update(x=x, fixed=fixed)
        return y

    def backward(self, plan: LayerPlan, dy: Array, *, need_dx: bool) -> Array | None:
        x, fixed, work = plan.kept["x"], plan.kept["fixed"], self._work(plan)
        plan.call(
            embedding.pieces_backward, dy, x, **fixed, ones=plan.ones(), dV=plan.gradient("V"),
            dc=plan.gradient("c"), work=work,
        )  # fmt: skip
        if not need_dx:
            return None
        dx = plan.buffer("dx", x.shape[1])
        inside = plan.buffer("inside", max(self.bins))
        plan.call(
            embedding.pieces_dx, dy, x, plan.parameter("V"), **fixed, out=dx,
            work=(work[0], inside, work[1]),
        )  # fmt: skip
        return dx

    def _work(self, plan: LayerPlan) -> tuple[Array, Array]:
        return plan.buffer("encoding", max(self.bins)), plan.buffer("part", self.width)


def _increasing(name: str, given: Any) -> tuple[float, ...]:
    """The edges of one column, as float32 can tell them apart too.

    Raises InputError or InputTypeError.
    """
    edges = tuple(e.item() if isinstance(e, np.generic) else e for e in listed(name, given))
    single = np.finfo(np.float32)
    most = float(single.max)
    for i, edge in enumerate(edges):
        require(f"{name}[{i}]", edge, least=-most, most=most)
    if len(edges) < 2:
        raise InputError(f"{name} has one edge, {edges[0]!r}; a bin is between two")
    if len(edges) > MOST_BINS + 1:
        raise InputError(f"{name} has {len(edges):,} edges; at most {MOST_BINS + 1:,} are possible")
    with np.errstate(over="ignore"):  # a step may be larger than the largest number
        steps = np.diff(np.array(edges, np.float32))
    apart = (steps >= single.tiny) & np.isfinite(steps)
    if not apart.all():
        at = int(np.argmin(apart))
        raise InputError(
            f"{name}[{at + 1}] = {edges[at + 1]!r} after {edges[at]!r}; edges must increase, in "
            "float32 too"
        )
    return tuple(map(float, edges))
