"""Presets: the layers of a network for a table, and how it is trained."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from mlpx.errors import InputTypeError
from mlpx.layers import Dense, Dropout, Embedding, Layer
from mlpx.optimizers import AdamW
from mlpx.records import Record, is_whole, require, require_count
from mlpx.schedules import Cosine
from mlpx.tables.encoder import Encoder
from mlpx.training.callbacks import EarlyStopping

AUTO = "plain"
"""What "auto" means."""
FEW_ROWS = 100
"""Of fewer rows all are needed: none are held out, and each step sees all of them."""
EPOCHS, FEWEST_EPOCHS = 100, 15
ROWS_SEEN = 2_000_000
"""Rows of all epochs together, as far as there are neither too many epochs nor too few."""
STEPS = 128
"""Steps of an epoch: with more of them, batches are larger."""
LEAST_PATIENCE = 10


@dataclass(frozen=True)
class Preset(Record, kind="preset"):
    """Base of the presets. Of epochs and batch_size None means as suits the number of rows.

    `clamp`: values are predicted within the range of the training rows.
    """

    clamp: ClassVar[bool] = True
    hidden_layer_sizes: tuple[int, ...] = (256, 256)
    learning_rate: float = 5e-3
    epochs: int | None = None
    batch_size: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden_layer_sizes", _widths(self.hidden_layer_sizes))
        require("learning_rate", self.learning_rate, above=0)
        for name in ("epochs", "batch_size"):
            if getattr(self, name) is not None:
                require_count(name, getattr(self, name))

    def for_rows(self, rows: int) -> Self:
        """The preset with its choices made for so many training rows."""
        raise NotImplementedError

    def layers(self, encoder: Encoder, outputs: int) -> list[Layer]:
        """The layers of a network that reads the encoder's matrix."""
        raise NotImplementedError

    def options(self, *, validated: bool, classes: bool) -> dict[str, Any]:
        """Arguments of `MLP.fit`, once the choices are made; `validated`: rows are held out."""
        raise NotImplementedError


@dataclass(frozen=True)
class Plain(Preset, name="plain"):
    """Hidden layers of ReLU with dropout, AdamW, and a rate that falls to 0 along a cosine.

    The best epoch on the validation rows is kept: by accuracy for classes, by
    the squared error for values; training ends early if it is long past. Fewer than 100 rows are
    trained without dropout, all in each step.
    """

    dropout: float = 0.15
    weight_decay: float = 0.03
    embedding: int = 8
    """Numbers that each category of a coded column becomes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require("dropout", self.dropout, least=0, below=1)
        require("weight_decay", self.weight_decay, least=0)
        require_count("embedding", self.embedding)

    def for_rows(self, rows: int) -> Plain:
        return replace(
            self,
            epochs=self.epochs or min(max(ROWS_SEEN // rows, FEWEST_EPOCHS), EPOCHS),
            batch_size=min(self.batch_size or _batch_rows(rows), rows),
            dropout=0.0 if rows < FEW_ROWS else self.dropout,
        )

    def layers(self, encoder: Encoder, outputs: int) -> list[Layer]:
        made: list[Layer] = []
        if encoder.sizes:
            made.append(Embedding(encoder.sizes, width=self.embedding))
        for width in self.hidden_layer_sizes:
            made.append(Dense(width, activation="relu"))
            made += [Dropout(self.dropout)] if self.dropout else []
        return [*made, Dense(outputs)]

    def options(self, *, validated: bool, classes: bool) -> dict[str, Any]:
        rule = AdamW(Cosine(self.learning_rate), weight_decay=self.weight_decay)
        options: dict[str, Any] = {
            "optimizer": rule,
            "epochs": self.epochs,
            "batch_size": self.batch_size,
        }
        if validated:
            column = "val_accuracy" if classes else "val_loss"
            patience = max(LEAST_PATIENCE, (self.epochs or 0) // 3)
            options["callbacks"] = [EarlyStopping(column, patience=patience)]
        return options


def _batch_rows(rows: int) -> int:
    """How many of so many rows a step sees: the more there are, the larger a step pays."""
    if rows < FEW_ROWS:
        return rows
    size = 32
    while size < 1024 and rows > STEPS * size:
        size *= 2
    return size


def preset_of(given: Any) -> Preset:
    """The preset meant by "auto", by a name or an instance. Raises UnknownNameError."""
    return Preset.resolve(AUTO if isinstance(given, str) and given == "auto" else given)


def _widths(given: Any) -> tuple[int, ...]:
    """Widths of hidden layers, one number or several; none for a linear model."""
    widths = given if isinstance(given, tuple | list) else (given,)
    for width in widths:
        if not is_whole(width):
            raise InputTypeError(f"hidden_layer_sizes = {given!r}; wanted whole numbers")
        require_count("hidden_layer_sizes", width)
    return tuple(map(int, widths))
