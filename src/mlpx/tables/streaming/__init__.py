"""Tables larger than memory: their rows come from Parquet files, some at a time."""

from __future__ import annotations
