"""What a section of the check is given, and what it yields."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf
from typing import Any, NamedTuple

Row = dict[str, Any]
"""One finding, ready for JSON; ``"passed": False`` fails the section, ``"why"`` says why."""


class Setup(NamedTuple):
    """Where a section runs."""

    device: str = "cuda"
    quick: bool = False
    """Tiny sizes: does it run at all? So it is rehearsed on the doubles, where nothing is fast."""
    limit_s: float = inf
    """After so many seconds the section is stopped, whatever it does."""


Run = Callable[[Setup], Iterator[Row]]
"""A section: each row is on disk before the next is begun, so a hang costs what is behind it."""
