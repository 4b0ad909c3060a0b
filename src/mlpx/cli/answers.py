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

from mlpx.errors import MissingExtraError
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
        """Write a file by its ending: .npy with labels as the data set stores them, .csv and
        .parquet with names.

        Raises CheckpointError, MissingExtraError.
        """
        from mlpx.files import write_atomically

        forms = {".csv": self._csv, ".parquet": self._parquet}
        form = forms.get(path.suffix.lower(), self._npy)
        write_atomically(path, form())
        as_table = path.suffix.lower() in forms
        shape = "" if as_table else f", shape {self.predictions.shape}, {self._array().dtype}"
        typer.echo(f"{path}: {len(self.predictions):,} rows{shape}", err=True)

    def _array(self) -> Array:
        if self.are_classes and self.labels is not None:
            return self.labels[self.predictions]
        return self.predictions

    def _npy(self) -> bytes:
        content = io.BytesIO()
        np.save(content, self._array(), allow_pickle=False)
        return content.getvalue()

    def _parquet(self) -> bytes:
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError as error:
            raise MissingExtraError("pyarrow", "tables", "a Parquet file", error) from error
        values = self._array()
        columns = [values] if self.are_classes else list(values.T)
        content = io.BytesIO()
        table = pyarrow.table(dict(zip(self._header(), columns, strict=True)))
        pyarrow.parquet.write_table(table, content)
        return content.getvalue()

    def _csv(self) -> bytes:
        text = io.StringIO()
        lines = csv.writer(text, lineterminator="\n")
        lines.writerow(self._header())
        if self.are_classes and self.names is not None:
            lines.writerows([self.names[i]] for i in self.predictions)
        else:
            lines.writerows(self.predictions.reshape(len(self.predictions), -1).astype(str))
        return text.getvalue().encode()

    def _header(self) -> Sequence[str]:
        if self.are_classes:
            return ["class"]
        k = self.predictions.shape[1]
        if self.names is not None and len(self.names) == k:
            return self.names
        return ["prediction"] if k == 1 else [str(i) for i in range(k)]
