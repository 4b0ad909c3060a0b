"""Predictions as text and as files, with the names of classes that have names."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import typer

from mlpx.types import Array
from mlpx.untrusted import one_line

if TYPE_CHECKING:
    from mlpx.mlp import MLP


@dataclass(frozen=True)
class Answers:
    """What a model said of n rows.

    `predictions`: classes (n,), their probabilities (n, k), or values (n, k). `labels` are the
    classes as the data set stores them, `names` as people call them; None if they are just numbers.
    """

    predictions: Array
    labels: Array | None
    names: Sequence[str] | None

    @classmethod
    def of(cls, predictions: Array, config: dict[str, Any] | None, *, model: MLP) -> Answers:
        """Named as a run's settings name the classes of `model`, if they do.

        Raises CheckpointError for labels that are not those of `model`.
        """
        from mlpx.training.run_folder import class_count, class_labels, label_array

        labels = class_labels(config, model=model)
        names = (config or {}).get("class_names") or labels
        if names is None or len(names) != class_count(model):
            return cls(predictions, None, None)
        return cls(
            predictions, None if labels is None else label_array(labels), list(map(str, names))
        )

    @property
    def are_classes(self) -> bool:
        """Whether each row's answer is one class."""
        return bool(self.predictions.ndim == 1)

    def lines(self) -> str:
        """One line per row, numbers separated by blanks."""
        if self.are_classes and self.names is not None:
            names = [one_line(name) for name in self.names]
            return "".join(f"{names[i]}\n" for i in self.predictions)
        text = io.StringIO()
        np.savetxt(
            text, self.predictions, fmt="%d" if self.predictions.dtype.kind in "iu" else "%.6g"
        )
        return text.getvalue()

    def write(self, path: Path) -> None:
        """Write a file by its ending: .npy with labels as the data set stores them, .csv with
        names.

        Raises CheckpointError.
        """
        from mlpx.files import write_atomically

        as_csv = path.suffix.lower() == ".csv"
        write_atomically(path, self._csv().encode() if as_csv else self._npy())
        shape = "" if as_csv else f", shape {self.predictions.shape}, {self._array().dtype}"
        typer.echo(f"{path}: {len(self.predictions):,} rows{shape}", err=True)

    def _array(self) -> Array:
        if self.are_classes and self.labels is not None:
            return self.labels[self.predictions]
        return self.predictions

    def _npy(self) -> bytes:
        content = io.BytesIO()
        np.save(content, self._array(), allow_pickle=False)
        return content.getvalue()

    def _csv(self) -> str:
        text = io.StringIO()
        lines = csv.writer(text, lineterminator="\n")
        lines.writerow(self._header())
        if self.are_classes and self.names is not None:
            lines.writerows([self.names[i]] for i in self.predictions)
        else:
            lines.writerows(self.predictions.reshape(len(self.predictions), -1).astype(str))
        return text.getvalue()

    def _header(self) -> Sequence[str]:
        if self.are_classes:
            return ["class"]
        k = self.predictions.shape[1]
        if self.names is not None and len(self.names) == k:
            return self.names
        return ["prediction"] if k == 1 else [str(i) for i in range(k)]
