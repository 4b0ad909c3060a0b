"""Layers: one record each. `Layer.table` maps the names to them.

The last line of each docstring names the other files that know this layer, below `mlpx/`: the
translation of its kernel calls, and every file that treats it differently from the others.
Besides, each has forms in `export/onnx/layers.py` and `export/plain/layers.py`.
"""

from mlpx.layers.activation import ActivationLayer
from mlpx.layers.base import Layer
from mlpx.layers.dense import Dense, Rescale
from mlpx.layers.dropout import AlphaDropout, Dropout, GaussianNoise
from mlpx.layers.elementwise import ParametricActivation, Scale
from mlpx.layers.embedding import Embedding
from mlpx.layers.normalization import BatchNorm, LayerNorm, RMSNorm
from mlpx.layers.number_embedding import PeriodicEmbedding, PiecewiseLinearEmbedding
from mlpx.layers.residual import Residual, as_layer

__all__ = [
    "ActivationLayer",
    "AlphaDropout",
    "BatchNorm",
    "Dense",
    "Dropout",
    "Embedding",
    "GaussianNoise",
    "Layer",
    "LayerNorm",
    "ParametricActivation",
    "PeriodicEmbedding",
    "PiecewiseLinearEmbedding",
    "RMSNorm",
    "Rescale",
    "Residual",
    "Scale",
    "as_layer",
]
