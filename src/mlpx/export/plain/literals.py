"""Values as Python text, on lines that are not too long."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

WIDTH = 100
"""Characters of a line."""


def assigned(name: str, values: tuple[Any, ...]) -> list[str]:
    """A tuple of numbers, or of tuples of numbers."""
    if not isinstance(values[0], tuple):
        return listed(f"{name} = (", values, ",)" if len(values) == 1 else ")")
    inner = [line for each in values for line in listed("(", each, "),", width=WIDTH - 4)]
    return [f"{name} = (", *(f"    {line}" for line in inner), ")"]


def listed(begin: str, values: Iterable[object], end: str, *, width: int = WIDTH) -> list[str]:
    """Values between brackets, on one line or on as many as they need."""
    items = [f"{literal(value)}," for value in values]
    line = f"{begin}{' '.join(items).removesuffix(',')}{end}"
    if len(line) <= width:
        return [line]
    rows = [""]
    for item in items:
        if rows[-1] and len(rows[-1]) + len(item) + 5 > width:
            rows.append("")
        rows[-1] = f"{rows[-1]} {item}".strip()
    return [begin, *(f"    {row}" for row in rows), end]


def literal(value: object) -> str:
    """A value as Python text; of text, what cannot be printed is escaped."""
    if not isinstance(value, str):
        return repr(value)
    text = repr(value) if value.isprintable() else ascii(value)
    return text if "'" in value or '"' in value else f'"{text[1:-1]}"'
