"""Names for the types that annotations use everywhere."""

from __future__ import annotations

from typing import Any, TypeAlias

Array: TypeAlias = Any
"""An array of whichever backend is in use: numpy.ndarray or cupy.ndarray."""

Namespace: TypeAlias = Any
"""The module that works on such arrays (``xp``): numpy or cupy."""
