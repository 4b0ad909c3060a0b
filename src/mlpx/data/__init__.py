"""Data sets: IDX files, the built-in names, and a user's own ``.npz``."""

from __future__ import annotations

from mlpx.data.datasets import DATASETS, load_dataset
from mlpx.data.idx import read_idx, write_idx
from mlpx.data.record import Dataset

__all__ = ["DATASETS", "Dataset", "load_dataset", "read_idx", "write_idx"]
