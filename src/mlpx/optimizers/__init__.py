"""Optimizers: one record each. `Optimizer.table` maps the names to them."""

from mlpx.optimizers.adam import Adam
from mlpx.optimizers.base import Optimizer
from mlpx.optimizers.sgd import SGD

__all__ = ["SGD", "Adam", "Optimizer"]
