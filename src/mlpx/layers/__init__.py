"""Layers: one record each. `Layer.table` maps the names to them."""

from mlpx.layers.base import Layer
from mlpx.layers.dense import Dense, Rescale

__all__ = ["Dense", "Layer", "Rescale"]
