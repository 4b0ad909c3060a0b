"""The plain preset: what most people would build."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from mlpx.layers import Dense, Dropout, Embedding, Layer
from mlpx.optimizers import AdamW
from mlpx.records import require, require_count
from mlpx.schedules import Cosine
from mlpx.tables.encoder import Encoder
from mlpx.tables.presets.base import FEW_ROWS, Preset
from mlpx.tables.target import Target
from mlpx.training.callbacks import EarlyStopping

RATE = 5e-3
EPOCHS, FEWEST_EPOCHS = 100, 15
ROWS_SEEN = 2_000_000
"""Rows of all epochs together, as far as there are neither too many epochs nor too few."""
STEPS = 128
"""Steps of an epoch: with more of them, batches are larger."""
LEAST_PATIENCE = 10


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
            learning_rate=self.learning_rate or RATE,
            epochs=self.epochs or min(max(ROWS_SEEN // rows, FEWEST_EPOCHS), EPOCHS),
            batch_size=min(self.batch_size or _batch_rows(rows), rows),
            dropout=0.0 if rows < FEW_ROWS else self.dropout,
        )

    def layers(self, encoder: Encoder, target: Target) -> list[Layer]:
        made: list[Layer] = []
        if encoder.sizes:
            made.append(Embedding(encoder.sizes, width=self.embedding))
        for width in self.hidden_layer_sizes:
            made.append(Dense(width, activation="relu"))
            made += [Dropout(self.dropout)] if self.dropout else []
        return made

    def options(
        self, layers: Sequence[Layer], *, target: Target, validated: bool
    ) -> dict[str, Any]:
        rule = AdamW(Cosine(self.learning_rate or RATE), weight_decay=self.weight_decay)
        options: dict[str, Any] = {
            "optimizer": rule,
            "epochs": self.epochs,
            "batch_size": self.batch_size,
        }
        if validated:
            column = "val_accuracy" if target.classes else "val_loss"
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
