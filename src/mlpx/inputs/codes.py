"""The check of columns that hold codes."""

from __future__ import annotations

from functools import partial

import numpy as np

from mlpx.backend import array_backend
from mlpx.errors import InputError
from mlpx.inputs.arrays import CHUNK_ELEMENTS, Checks, together
from mlpx.types import Array

FEW = 64


def check_codes(
    x: Array, sizes: tuple[int, ...], *, name: str, checks: Checks | None = None
) -> None:
    """Check that the last columns of x (n, d) hold whole numbers from 0 to each size - 1.

    One pass in chunks; on a device, read when `checks` are settled. Raises InputError with the
    first other number and its position.
    """
    if not sizes or len(x) == 0 or _are_few_and_fine(x, sizes):
        return
    first, rows = x.shape[1] - len(sizes), max(1, CHUNK_ELEMENTS // len(sizes))
    counts = array_backend(x).asarray(np.array(sizes, np.float64))
    with together(checks) as asked:
        for start in range(0, len(x), rows):
            part = x[start : start + rows, first:].astype(np.float64)
            with np.errstate(invalid="ignore"):
                fine = ((part >= 0) & (part < counts) & (part % 1 == 0)).all()
            asked.require(fine, partial(_refuse, part, sizes, start, first, name))


def _are_few_and_fine(x: Array, sizes: tuple[int, ...]) -> bool:
    """Whether they are so few that Python is done before NumPy has begun, and all of them codes."""
    if not isinstance(x, np.ndarray) or len(x) * len(sizes) > FEW:
        return False
    rows = x[:, x.shape[1] - len(sizes) :].tolist()
    return all(
        0 <= code < size and code % 1 == 0
        for row in rows
        for code, size in zip(row, sizes, strict=True)
    )


def _refuse(part: Array, sizes: tuple[int, ...], start: int, first: int, name: str) -> None:
    host = np.asarray(array_backend(part).to_numpy(part))
    with np.errstate(invalid="ignore"):
        bad = ~((host >= 0) & (host < np.array(sizes)) & (host % 1 == 0))
    row, column = (int(i) for i in np.argwhere(bad)[0])
    raise InputError(
        f"{name} has {host[row, column]:g} at row {start + row}, column {first + column}, which "
        f"holds codes; wanted whole numbers from 0 to {sizes[column] - 1}"
    )
