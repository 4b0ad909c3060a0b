"""Medians with an interval, and how many rounds are enough."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

CONFIDENCE = 0.95
LEAST_ROUNDS = 6
"""With six rounds the smallest and the largest bracket the true median with probability 97 %; with
five, with less than 95 %.
"""


@dataclass(frozen=True)
class Summary:
    """A median, an interval that holds the true median with probability `coverage`, and the
    count.
    """

    median: float
    low: float
    high: float
    coverage: float
    rounds: int

    @property
    def relative_width(self) -> float:
        """Half the interval over the median."""
        return (self.high - self.low) / 2 / self.median if self.median else math.inf

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def summarise(values: Sequence[float]) -> Summary:
    """The median and its interval between two order statistics: no assumption about the
    distribution.

    The number of values below the true median is binomial(n, 1/2); the interval leaves out as many
    on each side as keeps its coverage at CONFIDENCE. Below LEAST_ROUNDS it is the whole range, and
    `coverage` says less. Source: David and Nagaraja, "Order Statistics", 2003, section 7.1.
    """
    ordered = sorted(values)
    n = len(ordered)
    cut = 0
    while 2 * (cut + 2) <= n and _coverage(n, cut + 1) >= CONFIDENCE:
        cut += 1
    middle = (ordered[(n - 1) // 2] + ordered[n // 2]) / 2
    return Summary(middle, ordered[cut], ordered[n - 1 - cut], _coverage(n, cut), n)


def _coverage(n: int, cut: int) -> float:
    """P(the true median lies between the order statistics cut + 1 and n - cut)."""
    outside = sum(math.comb(n, i) for i in range(cut + 1)) / 2**n
    return float(1 - 2 * outside)


def is_narrow(values: Sequence[float], *, precision: float) -> bool:
    """Whether the interval's half width is within `precision` of the median."""
    return len(values) >= LEAST_ROUNDS and summarise(values).relative_width <= precision


def ratio(a: Summary, b: Summary) -> tuple[float, float, float]:
    """a / b with an interval: the relative half widths on a log scale, added in squares."""
    middle = a.median / b.median
    up = math.hypot(math.log(a.high / a.median), math.log(b.median / b.low))
    down = math.hypot(math.log(a.median / a.low), math.log(b.high / b.median))
    return middle, middle * math.exp(-down), middle * math.exp(up)


def geometric_mean(values: Sequence[float]) -> float:
    """Of positive values; NaN of none."""
    return math.exp(sum(map(math.log, values)) / len(values)) if values else math.nan
