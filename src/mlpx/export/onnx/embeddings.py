"""The embeddings as ONNX operators: all columns of a layer at once, with a dimension for them."""

from __future__ import annotations

from itertools import accumulate

import numpy as np

from mlpx.export.onnx.graph import INT64, Graph
from mlpx.export.sites import Site

TURN = 2.0 * np.pi


def embedding(graph: Graph, site: Site, x: str) -> str:
    """The first columns of x, then for each of the last the row of E that its code stands for."""
    sizes, numbers = site.layer.sizes, site.columns - len(site.layer.sizes)
    codes = columns(graph, x, numbers, site.columns)
    known = graph.add("Greater", [codes, graph.number(0)])  # not so for NaN, which is code 0
    codes = graph.add("Where", [known, codes, graph.number(0)])
    codes = graph.add("Min", [codes, graph.constant(np.array(sizes, graph.dtype) - 1)])
    first = np.array([*accumulate(sizes[:-1], initial=0)], np.int64)
    index = graph.add("Add", [graph.add("Cast", [codes], to=INT64), graph.constant(first)])
    rows = graph.add("Gather", [graph.constant(site.value("E"), name=site.key("E")), index])
    rows = _flat(graph, rows, len(sizes) * site.layer.width)
    return graph.add("Concat", [columns(graph, x, 0, numbers), rows], axis=1) if numbers else rows


def periodic_embedding(graph: Graph, site: Site, x: str) -> str:
    """Each number x_f and cos(2 pi x_f w_f + b_f) V_f + c_f, then the other columns."""
    k = site.layer.columns
    xf = _each_column(graph, columns(graph, x, 0, k))  # (k, N, 1)
    start = graph.constant(site.value("b")[:, None, :] * (1 / TURN), name=site.key("b in turns"))
    u = graph.add("Mul", [xf, graph.constant(site.value("w"), name=site.key("w"))])
    u = graph.add("Add", [u, start])
    u = graph.add("Sub", [u, graph.add("Round", [u])])  # within half a turn, (k, N, h)
    wave = graph.add("Cos", [graph.add("Mul", [u, graph.number(TURN)])])
    z = _products(graph, site, wave, site.value("V"))
    return _with_others(graph, site, x, graph.add("Concat", [xf, z], axis=2), k)


def piecewise_embedding(graph: Graph, site: Site, x: str) -> str:
    """The piecewise linear encoding e of each number as e V_f + c_f, then the other columns."""
    edges, k = site.layer.edges, len(site.layer.edges)
    most = max(len(column) for column in edges) - 1
    left, size, low, high = (np.zeros((k, 1, most), graph.dtype) for _ in range(4))
    size[...] = 1
    V, first = np.zeros((k, most, site.layer.width), graph.dtype), 0
    for f, column in enumerate(edges):
        at, bins = np.array(column, graph.dtype), len(column) - 1
        left[f, 0, :bins], size[f, 0, :bins] = at[:-1], np.diff(at)
        high[f, 0, :bins] = 1
        low[f, 0, 0] = -np.finfo(graph.dtype).max  # the first and the last bin have no end
        high[f, 0, bins - 1] = np.finfo(graph.dtype).max
        V[f, :bins] = site.value("V")[first : first + bins]
        first += bins
    xf = _each_column(graph, columns(graph, x, 0, k))  # (k, N, 1)
    e = graph.add("Div", [graph.add("Sub", [xf, graph.constant(left)]), graph.constant(size)])
    e = graph.add("Min", [graph.add("Max", [e, graph.constant(low)]), graph.constant(high)])
    return _with_others(graph, site, x, _products(graph, site, e, V), k)


def columns(graph: Graph, x: str, begin: int, end: int) -> str:
    """The columns of x from `begin` to before `end`."""
    ends = [graph.constant(np.array([at], np.int64)) for at in (begin, end, 1)]
    return graph.add("Slice", [x, *ends])


def _each_column(graph: Graph, x: str) -> str:
    """x (N, k) as (k, N, 1)."""
    turned = graph.add("Transpose", [x], perm=[1, 0])
    return graph.add("Unsqueeze", [turned, graph.constant(np.array([2], np.int64))])


def _products(graph: Graph, site: Site, e: str, V: np.ndarray) -> str:
    """e V + c for each column: (k, N, m)."""
    product = graph.add("MatMul", [e, graph.constant(V, name=site.key("V"))])
    c = graph.constant(site.value("c")[:, None, :], name=site.key("c"))
    return graph.add("Add", [product, c])


def _with_others(graph: Graph, site: Site, x: str, y: str, k: int) -> str:
    """y (k, N, width) as (N, k width), and the columns of x from k on."""
    rows = graph.add("Transpose", [y], perm=[1, 0, 2])
    rows = _flat(graph, rows, k * site.layer.width)
    if k == site.columns:
        return rows
    return graph.add("Concat", [rows, columns(graph, x, k, site.columns)], axis=1)


def _flat(graph: Graph, y: str, width: int) -> str:
    """y (N, k, m) as (N, k m), for no rows too."""
    return graph.add("Reshape", [y, graph.constant(np.array([0, width], np.int64))])
