"""RealMLP: an MLP for tables whose defaults were tuned on many of them, to be used as they are.

Source: Holzmueller, Grinsztajn and Steinwart, "Better by default: strong pre-tuned MLPs and boosted
trees on tabular data", 2024 (arXiv 2407.04491).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from mlpx.kernels.initializers import Normal, Zeros
from mlpx.kernels.losses import Loss, MeanSquaredError, SoftmaxCrossEntropy
from mlpx.layers import (
    Dense,
    Dropout,
    Embedding,
    Layer,
    ParametricActivation,
    PeriodicEmbedding,
    Rescale,
    Scale,
)
from mlpx.mlp import MLP
from mlpx.network.from_data import initialise_by_data
from mlpx.optimizers import AdamW, Optimizer
from mlpx.schedules import CosLog, FlatCosine, Schedule
from mlpx.tables.encoder import Encoder
from mlpx.tables.presets.base import Preset
from mlpx.tables.target import Target
from mlpx.training.callbacks import BestWeights

EPOCHS, BATCH_ROWS = 256, 256
SMOOTHING, DROPOUT, BETA2 = 0.1, 0.15, 0.95
EMBEDDING = 8
"""Numbers that each category of a coded column becomes."""
BIAS, FRONT, SLOW = 0.1, 6.0, 0.1
"""Factors on the rate: of biases, of the factors in front, and of what learns shapes."""


@dataclass(frozen=True)
class _RealMLP(Preset):
    """What the presets have in common.

    The inputs of each Dense layer are divided by the square root of their number ("NTK
    parametrisation"), biases learn at a tenth of the rate and a factor on each column in front at
    six times the rate, which goes up and down in four waves, each twice as long as the one before.
    The epoch with the best validation score is kept.
    """

    hidden_layer_sizes: tuple[int, ...] = (256, 256, 256)
    rates: ClassVar[tuple[float, float]]
    """The highest learning rates, for classes and for values."""
    decay: ClassVar[float | Schedule]

    def loss(self, target: Target) -> Loss:
        smoothed = SoftmaxCrossEntropy(label_smoothing=SMOOTHING)
        return smoothed if target.classes else MeanSquaredError()

    def for_rows(self, rows: int) -> Any:
        return replace(
            self,
            epochs=self.epochs or EPOCHS,
            batch_size=min(self.batch_size or BATCH_ROWS, rows),
        )

    def front(self, encoder: Encoder) -> list[Layer]:
        """The layers that make numbers of the encoder's columns."""
        return [Embedding(encoder.sizes, width=EMBEDDING)] if encoder.sizes else []

    def hidden(self, width: int, target: Target) -> list[Layer]:
        """A hidden layer of `width` units."""
        raise NotImplementedError

    def layers(self, encoder: Encoder, target: Target) -> list[Layer]:
        made = [*self.front(encoder), Scale()]
        width = encoder.width
        for layer in made:
            width = layer.outputs(width)
        for units in self.hidden_layer_sizes:
            made += [Rescale(1 / math.sqrt(width)), *self.hidden(units, target)]
            width = units
        return made

    def last(self, width: int, outputs: int) -> list[Layer]:
        return [Rescale(1 / math.sqrt(width)), Dense(outputs)]

    def options(
        self, layers: Sequence[Layer], *, target: Target, validated: bool
    ) -> dict[str, Any]:
        options: dict[str, Any] = {
            "optimizer": self._optimizer(layers, target),
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "sampling": "whole_batches",
        }
        if validated:
            column = "val_accuracy" if target.classes else "val_loss"
            options["callbacks"] = [BestWeights(column, latest=True)]
        return options

    def _optimizer(self, layers: Sequence[Layer], target: Target) -> Optimizer:
        rate = self.learning_rate or (self.rates[0] if target.classes else self.rates[1])
        return AdamW(
            CosLog(rate), beta2=BETA2, weight_decay=self.decay, decay_all=True,
            rate_multipliers=dict(_factors(layers, bias=BIAS)),
            decay_multipliers=dict(_factors(layers, bias=0.0)),
        )  # fmt: skip


@dataclass(frozen=True)
class RealMLP(_RealMLP, name="realmlp"):
    """RealMLP-TD: numbers and categories are embedded, activations are parametric, weights start by
    the data; with dropout and weight decay that fade out in the second half.

    SELU and label smoothing for classes; Mish for values, which are predicted within the range of
    the training rows. The rate is at most 0.04 for classes and 0.2 for values.
    """

    rates: ClassVar[tuple[float, float]] = (0.04, 0.2)
    decay: ClassVar[float | Schedule] = FlatCosine(0.02)

    def front(self, encoder: Encoder) -> list[Layer]:
        waves: list[Layer] = [PeriodicEmbedding(encoder.continuous)] if encoder.continuous else []
        return waves + super().front(encoder)

    def hidden(self, width: int, target: Target) -> list[Layer]:
        f = "selu" if target.classes else "mish"
        return [Dense(width), ParametricActivation(f), Dropout(FlatCosine(DROPOUT))]

    def initialise(self, model: MLP, x: np.ndarray) -> None:
        initialise_by_data(model, x)


@dataclass(frozen=True)
class RealMLPS(_RealMLP, name="realmlp_s"):
    """RealMLP-TD-S, the simple one: without embeddings, parametric activations, dropout and decay.

    Weights and biases start as N(0, 1), those of the last layer at 0. The rate is at most 0.04 for
    classes and 0.07 for values. Categories of up to 255 values have a column each.
    """

    clamp = False
    one_hot = 255
    rates: ClassVar[tuple[float, float]] = (0.04, 0.07)
    decay: ClassVar[float | Schedule] = 0.0

    def hidden(self, width: int, target: Target) -> list[Layer]:
        f = "selu" if target.classes else "mish"
        return [Dense(width, f, Normal(1.0), bias_initializer=Normal(1.0))]

    def last(self, width: int, outputs: int) -> list[Layer]:
        *front, _ = super().last(width, outputs)
        return [*front, Dense(outputs, initializer=Zeros())]


def _factors(layers: Sequence[Layer], *, bias: float) -> Iterator[tuple[str, float]]:
    """Factors on the rate of layers, and on that of the biases of Dense layers."""
    for i, layer in enumerate(layers):
        if isinstance(layer, Dense):
            yield f"{i}.b", bias
        elif isinstance(layer, Scale):
            yield f"{i}", FRONT
        elif isinstance(layer, ParametricActivation | PeriodicEmbedding):
            yield f"{i}", SLOW
