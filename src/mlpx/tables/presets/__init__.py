"""Presets: how a network for a table is built and trained. `Preset.table` maps names to them."""

from __future__ import annotations

from typing import Any

from mlpx.tables.presets.base import FEW_ROWS, Preset
from mlpx.tables.presets.plain import Plain
from mlpx.tables.presets.realmlp import RealMLP, RealMLPS

__all__ = ["FEW_ROWS", "Plain", "Preset", "RealMLP", "RealMLPS", "preset_of"]

AUTO = "plain"
"""What "auto" means."""


def preset_of(given: Any) -> Preset:
    """The preset meant by "auto", by a name or an instance. Raises UnknownNameError."""
    return Preset.resolve(AUTO if isinstance(given, str) and given == "auto" else given)
