"""What a training step does around the network: fetch the batch, log the results, advance the
counters.

`state` is int64 (2,): the position in this epoch's tables, and the total number of steps taken.
"""

from __future__ import annotations

from typing import Any

from mlpx.types import Array, Namespace


def select_row(xp: Namespace, take: Any, table: Array, state: Array, *, out: Array) -> None:
    """out = the row of `table` (steps, m) at the step's position; out (1, m)."""
    take(table, state[:1], out=out)


def select_row_in_turn(
    xp: Namespace, take: Any, table: Array, state: Array, *, at: Array, out: Array
) -> None:
    """`select_row` of a table (m, columns) whose rows begin anew after the last; at (1,)."""
    xp.remainder(state[:1], len(table), out=at)
    take(table, at, out=out)


def gather(xp: Namespace, take: Any, x: Array, rows: Array, *, raw: Array, out: Array) -> None:
    """out = x[rows], cast to out's dtype through `raw`, which has x's; raw may be out itself."""
    take(x, rows, out=raw)
    if raw is not out:
        xp.copyto(out, raw)


def copy(xp: Namespace, x: Array, *, out: Array) -> None:
    """out = x, whatever their memory layouts."""
    xp.copyto(out, x)


def normalise_weights(xp: Namespace, w: Array, *, total: Array, out: Array) -> None:
    """total = sum(w) and out = w / total, zeros if all weights are zero; w, out (n, 1), total (1,
    1).
    """
    w.sum(axis=0, keepdims=True, out=total)
    total += float(xp.finfo(w.dtype).tiny)  # changes only a sum of zeros
    xp.divide(w, total, out=out)


def weighted_mean(xp: Namespace, r: Array, rows: Array, *, out: Array) -> None:
    """out = sum_i r_i rows_i; r, rows (n, 1), out (1, 1)."""
    xp.matmul(r.T, rows, out=out)


def likeliest(xp: Namespace, t: Array, *, out: Array) -> None:
    """out_i = the position of the largest of t_i; t (n, k), out (n,) of int64."""
    t.argmax(axis=1, out=out)


def correct(xp: Namespace, z: Array, labels: Array, *, predicted: Array, out: Array) -> None:
    """out_i = 1 if the largest of z_i is at labels_i, else 0; z (n, k), labels, predicted (n,),
    out (n, 1).
    """
    z.argmax(axis=1, out=predicted)
    xp.equal(predicted, labels, out=out[:, 0])


def norms(xp: Namespace, arrays: tuple[Array, ...], *, out: Array) -> None:
    """out_j = the Euclidean norm of the flat array j; out (1, m) for m arrays."""
    for j, a in enumerate(arrays):
        xp.matmul(a[None, :], a[:, None], out=out[:, j : j + 1])
    xp.sqrt(out, out=out)


def sum_rows(xp: Namespace, lines: Array, *, out: Array) -> None:
    """out = the sum of the rows of lines (n, m); out (1, m)."""
    lines.sum(axis=0, keepdims=True, out=out)


def all_correct(
    xp: Namespace, z: Array, t: Array, *, work: tuple[Array, Array], out: Array
) -> None:
    """out_i = 1 if z_ij > 0 exactly where t_ij > 1/2, for every j, else 0; z, t, work (n, k), out
    (n, 1).
    """
    predicted, wanted = work
    xp.greater(z, 0, out=predicted)
    xp.greater(t, 0.5, out=wanted)
    xp.equal(predicted, wanted, out=predicted)
    predicted.min(axis=1, keepdims=True, out=out)


def record(xp: Namespace, log: Array, state: Array, values: Array) -> None:
    """log[position] = values; log (steps, m), values (1, m)."""
    log[state[:1]] = values


def advance(xp: Namespace, state: Array) -> None:
    """Advance the position in the epoch and the total count by one step."""
    state += 1
