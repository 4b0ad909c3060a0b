"""Each scaling as ONNX operators: of columns beside each other, doubles (N, k), all at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from mlpx.errors import InputError
from mlpx.export.onnx.embeddings import columns
from mlpx.export.onnx.graph import Graph
from mlpx.tables.scaling import CLIP, FAR, Scaling

Form = Callable[[Graph, str, Sequence[Any]], str]


def scaled(graph: Graph, z: str, scales: Sequence[Scaling]) -> str:
    """z (N, k), each column by its scaling; neighbours of one kind are scaled together.

    Raises InputError for a scaling that has no form.
    """
    parts, first = [], 0
    for name, of in groupby(scales, lambda scale: scale.name):
        if name not in SCALINGS:
            raise InputError(
                f"the scaling {name!r} has no form in ONNX; there are forms of "
                f"{', '.join(SCALINGS)}; to add one, put a function into "
                "mlpx.tables.exporting.scales.SCALINGS"
            )
        run = list(of)
        part = z if len(run) == len(scales) else columns(graph, z, first, first + len(run))
        parts.append(SCALINGS[name](graph, part, run))
        first += len(run)
    return parts[0] if len(parts) == 1 else graph.add("Concat", parts, axis=1)


def plain(graph: Graph, z: str, scales: Sequence[Any]) -> str:
    """z itself."""
    return z


def standard(graph: Graph, z: str, scales: Sequence[Any]) -> str:
    """(z - center) factor, within +-1e9."""
    z = graph.add("Sub", [z, _row(graph, [scale.center for scale in scales])])
    z = graph.add("Mul", [z, _row(graph, [scale.factor for scale in scales])])
    return graph.add("Clip", [z, *(graph.constant(np.float64(end)) for end in (-FAR, FAR))])


def robust(graph: Graph, z: str, scales: Sequence[Any]) -> str:
    """u / sqrt(1 + (u / 3)**2) of u = (z - center) factor."""
    u = standard(graph, z, scales)
    root = graph.add("Mul", [u, graph.constant(np.float64(1 / CLIP))])
    root = graph.add("Add", [graph.add("Mul", [root, root]), graph.constant(np.float64(1))])
    return graph.add("Div", [u, graph.add("Sqrt", [root])])


def quantile(graph: Graph, z: str, scales: Sequence[Any]) -> str:
    """Linear between the edges around z, which are found by halving, in all columns at once.

    Each column has its part of one list of edges, filled up with infinity to a power of two; the
    slope behind the last is 0.
    """
    size = 1 << (max(len(scale.edges) for scale in scales) - 1).bit_length()
    edges, scores, slopes = (np.zeros((len(scales), size)) for _ in range(3))
    edges[:] = np.inf
    for j, scale in enumerate(scales):
        n = len(scale.edges)
        edges[j, :n], scores[j, :n] = scale.edges, scale.scores
        slopes[j, : n - 1] = np.diff(scale.scores) / np.diff(scale.edges)
    z = graph.add("Max", [z, _row(graph, [scale.edges[0] for scale in scales])])
    known = graph.constant(edges.ravel())
    at = graph.constant((np.arange(len(scales)) * size)[None])  # the edge at or below z
    while size > 1:
        size //= 2
        further = graph.add("Add", [at, graph.constant(np.int64(size))])
        below = graph.add("LessOrEqual", [graph.add("Gather", [known, further]), z])
        at = graph.add("Where", [below, further, at])
    rest = graph.add("Sub", [z, graph.add("Gather", [known, at])])
    slope = graph.add("Gather", [graph.constant(slopes.ravel()), at])
    score = graph.add("Gather", [graph.constant(scores.ravel()), at])
    return graph.add("Add", [score, graph.add("Mul", [slope, rest])])


def _row(graph: Graph, values: list[float]) -> str:
    """A number for each column, (1, k)."""
    return graph.constant(np.array([values], np.float64))


SCALINGS: dict[str, Form] = {
    "plain": plain, "quantile": quantile, "robust": robust, "standard": standard,
}  # fmt: skip
"""The form of each scaling, by its name in `Scaling.table`."""
