"""`TableClassifier`."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import ClassifierMixin

from mlpx.errors import InputError, known_options
from mlpx.estimators.labels import Labels, host_labels
from mlpx.tables.base import BaseTable
from mlpx.tables.given import as_host
from mlpx.tables.rows import Rows
from mlpx.tables.saved import TableModel
from mlpx.tables.target import Target


class TableClassifier(ClassifierMixin, BaseTable):  # type: ignore[misc]
    """A classifier for tables as they are: numbers, categories, dates, with missing values.

    X may be a pandas or polars DataFrame, a pyarrow.Table, a dict of columns, or an array. Columns
    have names and may come in any order; those that were not there in `fit` are ignored.

    preset: "auto", the name of a preset, or an instance of `mlpx.tables.presets`. epochs,
    batch_size, learning_rate, hidden_layer_sizes: None means those of the preset.
    early_stopping: hold out `validation_fraction` of the rows, and keep the epoch with the best
    accuracy on them; of fewer than 100 rows none are. scaling: of numbers, "robust", "quantile" or
    "standard". kinds: {column: "number", "boolean", "category" or "date"} where it must not be
    guessed. class_weight: {class: weight}, or "balanced"; multiplied by `sample_weight`.
    calibrated: divide logits by the temperature that suits the validation rows, so that
    probabilities are neither too sure nor too unsure; the classes predicted are the same.
    random_state: a whole number gives the same model each time. device: "cpu", "cuda", "auto".
    n_threads: None picks as many as suit. verbose: True prints lines, "bar" draws a progress bar.

    Attributes: `classes_`, `n_features_in_`, `feature_names_in_` (if columns have names),
    `n_iter_`, `history_`; `encoder_`, `target_`, `preset_`, and `model_`, the network.
    """

    _task, _asks = "classification", "calibrated"
    _labels: Labels
    classes_: np.ndarray

    @known_options
    def __init__(
        self, preset: Any = "auto", *, epochs: int | None = None, batch_size: int | None = None,
        learning_rate: float | None = None, hidden_layer_sizes: Any = None,
        early_stopping: bool = True, validation_fraction: float = 0.15, scaling: str = "robust",
        kinds: Any = None, class_weight: Any = None, calibrated: bool = False,
        random_state: Any = None, device: Any = None, n_threads: int | None = None,
        verbose: Any = False,
    ) -> None:  # fmt: skip
        self.__dict__.update({k: v for k, v in locals().items() if k not in ("self", "__class__")})

    @known_options
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, X_val: Any = None, y_val: Any = None
    ) -> Self:
        """Learn from the rows of X and their labels y (n,).

        `X_val` and `y_val` are the rows that tell which epoch is the best, instead of a part of X.
        A weight of 0 leaves a row out. Ctrl-C ends the training and keeps what was learnt. Raises
        ValueError or TypeError for invalid data.
        """
        return self._fit(X, y, sample_weight, X_val, y_val)

    def _given(self, y: Any) -> np.ndarray:
        labels = host_labels(as_host(y))
        if labels.ndim != 1:
            raise InputError(f"y.shape = {labels.shape}; wanted (n,), one class a row")
        return labels

    def _learn_targets(self, y: Any) -> tuple[np.ndarray, dict[str, Any]]:
        given = self._given(y)
        labels = Labels.of(given)
        _require_two(labels.classes)
        return labels.encode(given), {"_labels": labels, "classes_": labels.classes}

    def _known_targets(self, y: Any, learnt: dict[str, Any]) -> np.ndarray:
        labels: Labels = learnt["_labels"]
        return labels.encode(self._given(y))

    def _weighted(self, y: np.ndarray, w: np.ndarray | None, learnt: dict[str, Any]) -> Any:
        labels: Labels = learnt["_labels"]
        if w is not None:
            _require_two(labels.classes[np.unique(y[w > 0])])
        if self.class_weight is None:
            return w
        w = np.ones(len(y)) if w is None else w
        w = w * labels.factors(self.class_weight, y, w)
        if not w.max() > 0:
            raise InputError("sample_weight and class_weight leave every weight at zero")
        return w

    def _target(self, rows: Rows, name: str, learnt: dict[str, Any]) -> Target:
        classes = tuple(learnt["classes_"].tolist())
        return Target("classification", name, classes)

    def _surer(self, made: TableModel, x: np.ndarray, held: Rows) -> TableModel:
        return made.with_temperature(x, held.y, held.w)

    def predict(self, X: Any) -> np.ndarray:
        """The most likely class of each row (n,), as in y."""
        p = self.predict_proba(X)
        found: np.ndarray = self.classes_[p.argmax(axis=1)]
        return found

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each class (n, classes), in the order of `classes_`."""
        table = self._rows(X)
        return self._table.predict_proba(table)


def _require_two(classes: np.ndarray) -> None:
    if len(classes) < 2:
        raise InputError(
            f"y has one class only, {classes.tolist()[0]!r}, in all rows that count; wanted two "
            "classes or more"
        )
