"""mlpx: multi-layer perceptrons on NumPy and CUDA from one set of kernels.

Public names are loaded when first used, so that `import mlpx` itself costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mlpx import errors

if TYPE_CHECKING:
    from mlpx.backend import Backend, array_backend, get_backend
    from mlpx.estimators import MLPClassifier, MLPRegressor
    from mlpx.kernels.penalties import L1, L2, ElasticNet, Penalty
    from mlpx.layers import (
        ActivationLayer,
        AlphaDropout,
        BatchNorm,
        Dense,
        Dropout,
        GaussianNoise,
        Layer,
        LayerNorm,
        Rescale,
        Residual,
        RMSNorm,
    )
    from mlpx.mlp import MLP
    from mlpx.optimizers import (
        EMA,
        LAMB,
        LBFGS,
        SGD,
        SWA,
        AdaDelta,
        AdaGrad,
        Adam,
        Adamax,
        AdamW,
        AMSGrad,
        Lion,
        Momentum,
        Muon,
        NAdam,
        Nesterov,
        Optimizer,
        RAdam,
        RMSProp,
    )
    from mlpx.schedules import Schedule
    from mlpx.training.callbacks import BestWeights, Callback, CSVLog, EarlyStopping, StopOnPlateau
    from mlpx.training.history import History
    from mlpx.training.rate_finder import find_learning_rate

_NAMES = {
    "backend": ["Backend", "array_backend", "get_backend"],
    "training.callbacks": ["BestWeights", "CSVLog", "Callback", "EarlyStopping", "StopOnPlateau"],
    "estimators": ["MLPClassifier", "MLPRegressor"],
    "training.history": ["History"],
    "kernels.penalties": ["L1", "L2", "ElasticNet", "Penalty"],
    "layers": [
        "ActivationLayer",
        "AlphaDropout",
        "BatchNorm",
        "Dense",
        "Dropout",
        "GaussianNoise",
        "Layer",
        "LayerNorm",
        "RMSNorm",
        "Rescale",
        "Residual",
    ],
    "mlp": ["MLP"],
    "optimizers": [
        "AMSGrad",
        "AdaDelta",
        "AdaGrad",
        "Adam",
        "AdamW",
        "Adamax",
        "EMA",
        "LAMB",
        "LBFGS",
        "Lion",
        "Momentum",
        "Muon",
        "NAdam",
        "Nesterov",
        "Optimizer",
        "RAdam",
        "RMSProp",
        "SGD",
        "SWA",
    ],
    "training.rate_finder": ["find_learning_rate"],
    "schedules": ["Schedule"],
}
"""Module to the public names it brings; the imports above say the same to type checkers."""
_HOME = {name: module for module, names in _NAMES.items() for name in names}

__all__ = [
    "EMA",
    "L1",
    "L2",
    "LAMB",
    "LBFGS",
    "MLP",
    "SGD",
    "SWA",
    "AMSGrad",
    "ActivationLayer",
    "AdaDelta",
    "AdaGrad",
    "Adam",
    "AdamW",
    "Adamax",
    "AlphaDropout",
    "Backend",
    "BatchNorm",
    "BestWeights",
    "CSVLog",
    "Callback",
    "Dense",
    "Dropout",
    "EarlyStopping",
    "ElasticNet",
    "GaussianNoise",
    "History",
    "Layer",
    "LayerNorm",
    "Lion",
    "MLPClassifier",
    "MLPRegressor",
    "Momentum",
    "Muon",
    "NAdam",
    "Nesterov",
    "Optimizer",
    "Penalty",
    "RAdam",
    "RMSNorm",
    "RMSProp",
    "Rescale",
    "Residual",
    "Schedule",
    "StopOnPlateau",
    "array_backend",
    "errors",
    "find_learning_rate",
    "get_backend",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("mlpx")
        except PackageNotFoundError:  # run from a source tree that was never installed
            return "0+source"
    if name in _HOME:
        value = getattr(import_module(f"mlpx.{_HOME[name]}"), name)
        globals()[name] = value
        return value
    return _submodule(name)


def _submodule(name: str) -> Any:
    """`mlpx.data` and its like, which `import mlpx` did not load."""
    module = f"mlpx.{name}"
    if not name.startswith("_"):
        try:
            return import_module(module)
        except ModuleNotFoundError as error:
            if error.name != module:
                raise
    raise AttributeError(f"module 'mlpx' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
