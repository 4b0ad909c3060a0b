"""mlpx: multi-layer perceptrons on NumPy and CUDA from one set of kernels."""

from __future__ import annotations

from typing import Any

from mlpx import errors
from mlpx.backend import Backend, array_backend, get_backend
from mlpx.callbacks import BestWeights, Callback, CSVLog, EarlyStopping, StopOnPlateau
from mlpx.history import History
from mlpx.layers import Dense, Layer, Rescale
from mlpx.model import MLP
from mlpx.optimizers import SGD, Adam, Optimizer

__all__ = [
    "MLP",
    "SGD",
    "Adam",
    "Backend",
    "BestWeights",
    "CSVLog",
    "Callback",
    "Dense",
    "EarlyStopping",
    "History",
    "Layer",
    "Optimizer",
    "Rescale",
    "StopOnPlateau",
    "array_backend",
    "errors",
    "get_backend",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("mlpx")
    raise AttributeError(f"module 'mlpx' has no attribute {name!r}")
