"""Quantities for people: three figures and a unit."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from math import isfinite, log10


def figures(value: float, count: int = 3) -> str:
    """`value` to `count` significant figures, without an exponent."""
    if not isfinite(value) or value == 0:
        return f"{value:.0f}"
    places = max(0, count - 1 - int(log10(abs(value)) // 1))
    return f"{value:,.{places}f}"


def duration(seconds: float) -> str:
    """Such as `12.3 µs`."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{figures(seconds / size)} {unit}"
    return f"{figures(seconds * 1e9)} ns"


def waiting(seconds: float | None) -> str:
    """Such as `1.2 s`, without more places; a dash if unknown."""
    return "–" if seconds is None else f"{seconds:.1f} s"


def rate(per_second: float) -> str:
    """Such as `1.23 M`."""
    for unit, size in ((" G", 1e9), (" M", 1e6), (" k", 1e3)):
        if per_second >= size:
            return f"{figures(per_second / size)}{unit}"
    return figures(per_second)


def gigaflops(gflops: float | None) -> str:
    """Three figures; a dash if unknown."""
    return "–" if gflops is None else figures(gflops)


def megabytes(count: float | None) -> str:
    """Such as `68.4 MB`; a dash if unknown."""
    return "–" if count is None else f"{figures(count / 1e6)} MB"


def widths_text(widths: Iterable[int]) -> str:
    """Such as `784-50-10`; a run of more than four is counted, as in `20-16x300-2`."""
    alike = [(width, len(list(group))) for width, group in groupby(widths)]
    return "-".join(
        f"{width}x{count}" if count > 4 else "-".join([str(width)] * count)
        for width, count in alike
    )


def counted(count: int, noun: str) -> str:
    """Such as `1 round` and `2 rounds`."""
    return f"{count} {noun}{'s' if count != 1 else ''}"


def thread_text(count: int) -> str:
    """Such as `1 thread`."""
    return counted(count, "thread")


def percent(share: float | None) -> str:
    """Such as `93 %`; a dash if unknown."""
    return "–" if share is None else f"{100 * share:.0f} %"
