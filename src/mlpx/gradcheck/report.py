"""The comparison of two gradients, parameter by parameter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlpx.backend import array_backend
from mlpx.errors import InputError

TOLERANCE = 1e-7
"""For float64 gradients against central differences of a smooth loss."""


@dataclass(frozen=True)
class Row:
    """The worst element of one parameter, or its worst direction."""

    name: str
    index: tuple[int, ...]
    """Where in the parameter it is; empty for a direction."""
    error: float
    """|analytic - numerical| over the largest magnitude in either gradient of this parameter."""
    analytic: float
    numerical: float
    checked: int
    """Elements, or directions, that were compared."""
    kinks: int
    """Those left out because the step crosses a point without a derivative, such as ReLU's 0."""
    passed: bool


@dataclass(frozen=True)
class Report:
    """The outcome of a gradient check; `print` it for a table."""

    rows: tuple[Row, ...]
    tolerance: float
    method: str = "elements"

    @property
    def passed(self) -> bool:
        """Whether every parameter is within the tolerance."""
        return all(row.passed for row in self.rows)

    @property
    def worst(self) -> Row:
        """The parameter with the largest error; NaN and nothing to check count as largest."""
        return max(self.rows, key=lambda row: float(np.nan_to_num(row.error, nan=np.inf)))

    @property
    def kinks(self) -> int:
        """How many elements or directions were left out."""
        return sum(row.kinks for row in self.rows)

    def __str__(self) -> str:
        head = ("parameter", "worst at", "analytic", "numerical", "error", "checked", "kinks", "")
        lines = [head, *(_cells(row) for row in self.rows)]
        widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
        table = [
            "  ".join(
                cell.ljust(width) if i in (0, 1, 7) else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ]
        failed = sum(not row.passed for row in self.rows)
        verdict = "passed" if self.passed else f"{failed} of {len(self.rows)} parameters FAILED"
        return "\n".join([*table, f"{verdict}: {self.method}, tolerance {self.tolerance:.1e}"])


def _cells(row: Row) -> tuple[str, ...]:
    place = str(list(row.index)) if row.index else "(direction)"
    counts = str(row.checked), str(row.kinks)
    if not row.checked:
        return row.name, "nothing to check", "", "", "", *counts, "FAILED"
    values = f"{row.analytic:+.9e}", f"{row.numerical:+.9e}", f"{row.error:.1e}"
    return row.name, place, *values, *counts, "" if row.passed else "FAILED"


def compare_gradients(
    analytic: Mapping[str, Any],
    numerical: Mapping[str, Any],
    *,
    tolerance: float = TOLERANCE,
    noise: float = 0.0,
) -> Report:
    """A Report on two gradients, each a mapping of a parameter's name to an array.

    The error of a parameter is max|a - b| / max(|a|_inf, |b|_inf), with a denominator of at least
    noise / tolerance: a difference of `noise` is never an error. Arrays may be on any device.

    Raises InputError if names or shapes differ.
    """
    ours, theirs = _host(analytic), _host(numerical)
    if ours.keys() != theirs.keys():
        raise InputError(f"analytic has {sorted(ours)} and numerical has {sorted(theirs)}")
    return Report(
        tuple(
            compare(name, ours[name], theirs[name], tolerance=tolerance, noise=noise)
            for name in ours
        ),
        tolerance,
    )


def _host(gradients: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {
        name: np.asarray(array_backend(g).to_numpy(g), dtype=np.float64)
        for name, g in sorted(gradients.items())
    }


def compare(
    name: str,
    analytic: np.ndarray,
    numerical: np.ndarray,
    *,
    tolerance: float,
    noise: float = 0.0,
    scale: float = 0.0,
    crossed: np.ndarray | None = None,
    directions: bool = False,
) -> Row:
    """The row of one parameter; `crossed` marks what is left out, `scale` is the least denominator.

    Raises InputError if the shapes differ.
    """
    if analytic.shape != numerical.shape:
        raise InputError(f"{name}: shapes {analytic.shape} and {numerical.shape} differ")
    used = np.ones(analytic.shape, bool) if crossed is None else ~crossed
    checked, kinks = int(used.sum()), int((~used).sum())
    if not checked:
        return Row(name, (), np.nan, np.nan, np.nan, 0, kinks, passed=False)
    difference = np.where(used, np.abs(analytic - numerical), -1.0)
    largest = max(np.abs(analytic[used]).max(), np.abs(numerical[used]).max())
    scale = max(largest, scale, noise / tolerance, np.finfo(np.float64).tiny)
    spot = np.unravel_index(int(difference.argmax()), difference.shape)  # NaN counts as largest
    error = float(difference[spot] / scale)
    index = () if directions else tuple(int(i) for i in spot)
    values = float(analytic[spot]), float(numerical[spot])
    return Row(name, index, error, *values, checked, kinks, passed=error <= tolerance)
