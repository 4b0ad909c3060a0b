"""The base of every preset: the layers of a network for a table, and how it is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from mlpx.errors import InputTypeError
from mlpx.kernels.losses import BinaryCrossEntropy, Loss, MeanSquaredError, SoftmaxCrossEntropy
from mlpx.layers import Dense, Layer
from mlpx.mlp import MLP
from mlpx.records import Record, is_whole, require, require_count
from mlpx.tables.columns.category import ONE_HOT
from mlpx.tables.encoder import Encoder
from mlpx.tables.target import Target

FEW_ROWS = 100
"""Of fewer rows all are needed: none are held out, and each step sees all of them."""


@dataclass(frozen=True)
class Preset(Record, kind="preset"):
    """Base of the presets. Of learning_rate, epochs and batch_size None means as suits the table.

    `clamp`: values are predicted within the range of the training rows.
    """

    clamp: ClassVar[bool] = True
    one_hot: ClassVar[int] = ONE_HOT
    """Up to so many categories have a column each; more are embedded."""
    hidden_layer_sizes: tuple[int, ...] = (256, 256)
    learning_rate: float | None = None
    epochs: int | None = None
    batch_size: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden_layer_sizes", _widths(self.hidden_layer_sizes))
        if self.learning_rate is not None:
            require("learning_rate", self.learning_rate, above=0)
        for name in ("epochs", "batch_size"):
            if getattr(self, name) is not None:
                require_count(name, getattr(self, name))

    def for_rows(self, rows: int) -> Self:
        """The preset with its choices made for so many training rows."""
        raise NotImplementedError

    def loss(self, target: Target) -> Loss:
        """What training minimises."""
        if not target.classes:
            return MeanSquaredError()
        return BinaryCrossEntropy() if len(target.classes) == 2 else SoftmaxCrossEntropy()

    def layers(self, encoder: Encoder, target: Target) -> list[Layer]:
        """The layers of a network that reads the encoder's matrix, but for the last, Dense one."""
        raise NotImplementedError

    def last(self, width: int, outputs: int) -> list[Layer]:
        """The last layers, after `width` columns."""
        return [Dense(outputs)]

    def initialise(self, model: MLP, x: np.ndarray) -> None:
        """Give the new `model` other parameters than its layers' own: by the training rows x."""

    def options(
        self, layers: Sequence[Layer], *, target: Target, validated: bool
    ) -> dict[str, Any]:
        """Arguments of `MLP.fit` for a network of these layers, once the choices are made;
        `validated`: rows are held out.
        """
        raise NotImplementedError


def _widths(given: Any) -> tuple[int, ...]:
    """Widths of hidden layers, one number or several; none for a linear model."""
    widths = given if isinstance(given, tuple | list) else (given,)
    for width in widths:
        if not is_whole(width):
            raise InputTypeError(f"hidden_layer_sizes = {given!r}; wanted whole numbers")
        require_count("hidden_layer_sizes", width)
    return tuple(map(int, widths))
