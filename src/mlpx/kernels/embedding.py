"""Embeddings: columns of codes or of numbers, each turned into several numbers that are learnt.

Codes are rows of one table E, those of each column behind those of the column before. A number is
described by waves of learnt frequencies, or by pieces between fixed edges; each column has matrices
of its own. The other columns pass unchanged. `width` is how many numbers a column becomes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import accumulate, pairwise
from typing import Any

from mlpx.types import Array, Namespace

TURN = 2.0 * math.pi
BLOCK = 64
"""How many codes are compared with those of a batch at a time: memory is n BLOCK, not n times all.
"""


def look_up(
    xp: Namespace,
    take: Any,
    x: Array,
    E: Array,
    *,
    starts: Array,
    last: Array,
    index: Array,
    rows: Array,
    out: Array,
    work: Array,
) -> None:
    """out = the first columns of x, then for each of the last k the row of E of its code.

    x (n, d), E (entries, width), starts (k + 1,) the first entry of each column, last (k,) its
    highest code; out (n, d - k + k width). index (n, k) int64 becomes the entries; rows
    (n k, width) and work (n, k) are scratch. Codes beyond the ends, and NaN, become the nearest
    code, or 0.
    """
    n, k = index.shape
    numbers = x.shape[1] - k
    xp.fmax(x[:, numbers:], 0.0, out=work)
    xp.minimum(work, last, out=work)
    xp.copyto(index, work, casting="unsafe")
    index += starts[:k]
    take(E, index.reshape(-1), out=rows)
    xp.copyto(out[:, :numbers], x[:, :numbers])
    xp.copyto(out[:, numbers:], rows.reshape(n, -1))


def look_up_backward(
    xp: Namespace,
    dy: Array,
    x: Array,
    *,
    index: Array,
    entries: Array,
    sizes: tuple[int, ...],
    starts: Array,
    dE: Array,
    work: tuple[Array, Array],
) -> None:
    """dE = for each entry the sum of dy over the rows that have its code; 0 where none has.

    dy (n, d - k + k width), index (n, k) as `look_up` left it, entries (entries,) counts from 0;
    work: (n, BLOCK) and (n, width). A product with zeros and ones, in place of additions whose
    order no device promises.
    """
    n, width = work[1].shape
    numbers = x.shape[1] - len(sizes)
    for f, (first, stop) in enumerate(_spans(sizes)):
        at = numbers + f * width
        xp.copyto(work[1], dy[:, at : at + width])
        for start in range(first, stop, BLOCK):
            end = min(start + BLOCK, stop)
            same = _part(work[0], n, end - start)
            xp.equal(index[:, f : f + 1], entries[start:end], out=same)
            xp.matmul(same.T, work[1], out=dE[start:end])  # (codes, width)


def look_up_dx(xp: Namespace, dy: Array, *, codes: int, width: int, out: Array) -> None:
    """out = dy of the columns that are no codes, 0 of those that are; out (n, d)."""
    numbers = out.shape[1] - codes
    xp.copyto(out[:, :numbers], dy[:, :numbers])
    out[:, numbers:] = 0


def _spans(sizes: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """The first row of each column in a table of all columns, and the one behind its last."""
    return pairwise(accumulate(sizes, initial=0))


def waves(
    xp: Namespace,
    x: Array,
    w: Array,
    b: Array,
    V: Array,
    c: Array,
    *,
    angle: Array,
    wave: Array,
    out: Array,
    work: tuple[Array, Array],
) -> None:
    """out = for each of the first columns x_f its number and cos(2 pi x_f w_f + b_f) V_f + c_f,
    then the other columns.

    x (n, d); of k columns w (k, 1, h), b (k, h), V (k, h, width - 1), c (k, width - 1);
    out (n, d - k + k width). angle and wave (k, n, h) are overwritten, for `waves_backward`;
    work: (h,) and (n, width - 1). Turns are reduced to half a turn, before pi makes them inexact.
    Source: Holzmueller, Grinsztajn and Steinwart, "Better by default", 2024, section 3 (PBLD).
    """
    k, _, more = V.shape
    turn, z = work
    for f in range(k):
        u = angle[f]  # (n, h)
        xp.multiply(x[:, f : f + 1], w[f], out=u)
        xp.multiply(b[f], 1.0 / TURN, out=turn)
        u += turn
        xp.rint(u, out=wave[f])
        u -= wave[f]
        u *= TURN
        xp.cos(u, out=wave[f])
        xp.matmul(wave[f], V[f], out=z)  # (n, width - 1)
        at = f * (more + 1)
        xp.copyto(out[:, at : at + 1], x[:, f : f + 1])
        xp.add(z, c[f], out=out[:, at + 1 : at + 1 + more])
    xp.copyto(out[:, k * (more + 1) :], x[:, k:])


def waves_backward(
    xp: Namespace,
    dy: Array,
    x: Array,
    w: Array,
    b: Array,
    V: Array,
    *,
    angle: Array,
    wave: Array,
    ones: Array,
    dw: Array,
    db: Array,
    dV: Array,
    dc: Array,
    dx: Array | None,
    work: tuple[Array, ...],
) -> None:
    """The gradients of `waves`, each of its parameter's shape, and dx (n, d) unless that is None.

    angle is overwritten. ones (1, n); work: (n, h), (n, width - 1), (n, 1) and (n, 1).
    """
    k, _, more = V.shape
    dwave, dz, xf, du = work
    for f in range(k):
        at = f * (more + 1)
        xp.copyto(dz, dy[:, at + 1 : at + 1 + more])
        xp.copyto(xf, x[:, f : f + 1])
        xp.matmul(wave[f].T, dz, out=dV[f])
        xp.matmul(ones, dz, out=dc[f : f + 1])
        xp.matmul(dz, V[f].T, out=dwave)
        slope = angle[f]
        xp.sin(slope, out=slope)
        dwave *= slope
        xp.negative(dwave, out=dwave)  # of the angle, (n, h)
        xp.matmul(ones, dwave, out=db[f : f + 1])
        xp.matmul(xf.T, dwave, out=dw[f])
        if dx is not None:
            xp.matmul(dwave, w[f].T, out=du)
            du *= TURN
            xp.add(du, dy[:, at : at + 1], out=dx[:, f : f + 1])
    dw *= TURN
    if dx is not None:
        xp.copyto(dx[:, k:], dy[:, k * (more + 1) :])


def pieces(
    xp: Namespace,
    x: Array,
    V: Array,
    c: Array,
    *,
    left: Array,
    size: Array,
    starts: Array,
    bins: tuple[int, ...],
    out: Array,
    work: tuple[Array, Array],
) -> None:
    """out = for each of the first columns e V_f + c_f, e its piecewise linear encoding, then the
    other columns.

    e_t is how much of bin t lies below x_f: 1, a fraction, or 0; the first bin's may be below 0 and
    the last one's above 1. x (n, d); V (all bins, width), c (k, width); left and size (all bins,)
    say where each bin begins and how wide it is, starts (k + 1,) the first bin of each column, as
    `bins` does on the host; out (n, d - k + k width). work: (n, most bins) and (n, width).
    Source: Gorishniy, Rubachev and Babenko, "On embeddings for numerical features in tabular deep
    learning", 2022, section 3.2.
    """
    k, width = c.shape
    for f, (first, stop) in enumerate(_spans(bins)):
        e = _encode(xp, x[:, f : f + 1], left[first:stop], size[first:stop], work=work[0])
        xp.matmul(e, V[first:stop], out=work[1])
        xp.add(work[1], c[f], out=out[:, f * width : (f + 1) * width])
    xp.copyto(out[:, k * width :], x[:, k:])


def pieces_backward(
    xp: Namespace,
    dy: Array,
    x: Array,
    *,
    left: Array,
    size: Array,
    starts: Array,
    bins: tuple[int, ...],
    ones: Array,
    dV: Array,
    dc: Array,
    work: tuple[Array, Array],
) -> None:
    """dV and dc of `pieces`; ones (1, n), work as there."""
    width = dV.shape[1]
    for f, (first, stop) in enumerate(_spans(bins)):
        xp.copyto(work[1], dy[:, f * width : (f + 1) * width])
        e = _encode(xp, x[:, f : f + 1], left[first:stop], size[first:stop], work=work[0])
        xp.matmul(e.T, work[1], out=dV[first:stop])
        xp.matmul(ones, work[1], out=dc[f : f + 1])


def pieces_dx(
    xp: Namespace,
    dy: Array,
    x: Array,
    V: Array,
    *,
    left: Array,
    size: Array,
    starts: Array,
    bins: tuple[int, ...],
    out: Array,
    work: tuple[Array, Array, Array],
) -> None:
    """out = dx (n, d) of `pieces`: dy times the row of V of the bin that x_f is in, over its size.

    work: twice (n, most bins), and (n, width).
    """
    k, width = len(bins), V.shape[1]
    for f, (first, stop) in enumerate(_spans(bins)):
        xf = x[:, f : f + 1]
        slope, inside = (_part(array, len(x), stop - first) for array in work[:2])
        xp.copyto(work[2], dy[:, f * width : (f + 1) * width])
        xp.matmul(work[2], V[first:stop].T, out=slope)  # (n, bins)
        slope /= size[first:stop]
        if stop - first > 1:
            xp.greater_equal(xf, left[first:stop], out=inside)
            inside[:, 0] = 1
            slope *= inside
            xp.less(xf, left[first + 1 : stop], out=inside[:, :-1])
            inside[:, -1] = 1
            slope *= inside
        slope.sum(axis=1, keepdims=True, out=out[:, f : f + 1])
    xp.copyto(out[:, k:], dy[:, k * width :])


def _encode(xp: Namespace, x: Array, left: Array, size: Array, *, work: Array) -> Array:
    """The encoding (n, bins) of x (n, 1), in work's memory."""
    e = _part(work, len(x), len(left))
    xp.subtract(x, left, out=e)
    e /= size
    if len(left) > 1:
        later, earlier = e[:, 1:], e[:, :-1]
        xp.maximum(later, 0.0, out=later)
        xp.minimum(earlier, 1.0, out=earlier)
    return e


def _part(work: Array, n: int, columns: int) -> Array:
    """The first of work's memory as a contiguous array (n, columns)."""
    return work.reshape(-1)[: n * columns].reshape(n, columns)
