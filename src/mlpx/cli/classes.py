"""Labels of a data set, whatever they are, as the network's outputs 0, 1, ..., and back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mlpx.errors import DataFormatError
from mlpx.types import Array
from mlpx.untrusted import one_line

if TYPE_CHECKING:
    from mlpx.data import Dataset
    from mlpx.mlp import MLP

Label = int | str
TEXT = "US"
LISTED = 10


@dataclass(frozen=True)
class Classes:
    """The labels of a data set, in the order of the network's outputs.

    `labels` is None if they are the numbers of the outputs.
    """

    count: int
    labels: tuple[Label, ...] | None = None

    @classmethod
    def of(cls, data: Dataset) -> Classes:
        """The labels of the training rows, sorted; those of the test rows count too if all together
        are 0, 1, ..., k - 1.

        Raises DataFormatError for what is not a label, and for text beside numbers.
        """
        train, test = labels_of(data.name, "y_train", data.y_train), set[Label]()
        if data.y_test is not None and len(data.y_test):
            test = labels_of(data.name, "y_test", data.y_test)
            if holds_text(data.y_test) != holds_text(data.y_train):
                raise DataFormatError(
                    f"{data.name}: y_train has dtype {data.y_train.dtype} and y_test "
                    f"{data.y_test.dtype}; wanted text or numbers in both"
                )
        outputs = tuple(range(len(train | test)))
        if (train | test) == set(outputs):
            return cls(max(1, len(outputs)))
        labels = tuple(sorted(train))
        return cls(len(labels), None if labels == tuple(range(len(labels))) else labels)

    @classmethod
    def kept(cls, config: dict[str, Any] | None, *, model: MLP) -> Classes | None:
        """The classes that the settings of a run name, None if they name none.

        Raises CheckpointError unless they are a list of labels, one for each class of `model`.
        """
        from mlpx.training.run_folder import class_labels

        labels = class_labels(config, model=model)
        return None if labels is None else cls(len(labels), tuple(labels))

    def encoded(self, data: Dataset) -> Dataset:
        """`data` with its labels as numbers of outputs.

        Raises DataFormatError for an unknown label.
        """
        test = None if data.y_test is None else self.encode(data.name, "y_test", data.y_test)
        return replace(data, y_train=self.encode(data.name, "y_train", data.y_train), y_test=test)

    def encode(self, file: str, name: str, y: Array) -> Array:
        """The numbers of the outputs (n,) for labels y, (n,) or (n, 1); other y unchanged.

        Raises DataFormatError for an unknown label.
        """
        if self.labels is None and holds_text(y):
            raise DataFormatError(
                f"{file}: {name} holds text; wanted numbers, as this model was trained on"
            )
        if self.labels is None or not holds_labels(y):
            return y
        numbers = {label: i for i, label in enumerate(self.labels)}
        distinct, at = np.unique(y, return_inverse=True)
        codes = np.array([numbers.get(label, -1) for label in _plain(distinct)], np.int64)
        outputs: Array = codes[at.reshape(len(y))]
        unknown = np.flatnonzero(outputs < 0)
        if len(unknown):
            (label,) = _plain(y.reshape(len(y))[unknown[:1]])
            raise DataFormatError(
                f"{file}: {name} has label {label!r} at row {unknown[0]}; the classes are {self}"
            )
        return outputs

    def __str__(self) -> str:
        labels = [one_line(str(label)) for label in self.labels or range(self.count)]
        if len(labels) <= LISTED:
            return ", ".join(labels)
        return f"{', '.join(labels[:LISTED])}, ... {labels[-1]} ({len(labels):,} in all)"


def holds_text(y: Array) -> bool:
    """Whether labels are text."""
    return y.dtype.kind in TEXT


def holds_labels(y: Array) -> bool:
    """Whether y is one label a row, (n,) or (n, 1): text, or whole numbers."""
    single = y.ndim == 1 or (y.ndim == 2 and y.shape[1] == 1)
    return single and (holds_text(y) or holds_whole(y))


def holds_whole(y: Array) -> bool:
    """Whether all numbers of y are whole."""
    return y.dtype.kind in "iub" or (
        y.dtype.kind == "f" and bool((np.isfinite(y) & (y == np.floor(y))).all())
    )


def labels_of(file: str, name: str, y: Array) -> set[Label]:
    """The distinct labels in y.

    Raises DataFormatError for what is not a label.
    """
    if not holds_labels(y):
        where = ""
        if y.dtype.kind == "f" and y.ndim == 1:
            row = int(np.flatnonzero(~(np.isfinite(y) & (y == np.floor(y))))[0])
            where = f" and {y[row]} at row {row}"
        raise DataFormatError(
            f"{file}: {name} has dtype {y.dtype}{where}; wanted a label a row, text or whole "
            "numbers"
        )
    return set(_plain(np.unique(y)))


def _plain(labels: Array) -> list[Label]:
    """Labels as Python values: 1.0 becomes 1, nothing is rounded."""
    if labels.dtype.kind == "S":
        labels = np.char.decode(labels, "utf-8", "replace")
    values: list[Label] = labels.tolist()
    return [int(label) for label in values] if labels.dtype.kind in "fb" else values
