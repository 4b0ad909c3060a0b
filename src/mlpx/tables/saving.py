"""Saving estimators of tables in run folders, and reading those of `mlpx train`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mlpx.errors import CheckpointError
from mlpx.estimators.labels import Labels
from mlpx.estimators.saving import KEY as ESTIMATOR
from mlpx.estimators.saving import from_plain, labels_from_json, labels_to_json, plain
from mlpx.mlp import MLP
from mlpx.tables.saved import TableModel
from mlpx.training.run_folder import CONFIG, MODEL, claimed, read_config, read_history, save_run
from mlpx.untrusted import brief

KINDS = {"classification": "TableClassifier", "regression": "TableRegressor"}


def save(estimator: Any, folder: Path) -> None:
    """Write the run folder.

    Raises InputError for a value that a file cannot hold, CheckpointError.
    """
    described = {
        "kind": type(estimator).__name__,
        "parameters": _parameters(estimator),
        "columns": list(estimator._columns),
        "named": hasattr(estimator, "feature_names_in_"),
    }
    if hasattr(estimator, "classes_"):
        described |= labels_to_json(estimator._labels)
    model = estimator.model_
    config = {"loss": model.loss.name, ESTIMATOR: plain(described)}
    with claimed(folder, name=folder.name) as out:
        save_run(out, model, history=estimator.history_, config=config)


def _parameters(estimator: Any) -> dict[str, Any]:
    """The constructor's parameters; a random state that is no number is not kept."""
    given: dict[str, Any] = estimator.get_params(deep=False)
    if not isinstance(given["random_state"], int | np.integer):
        given["random_state"] = None
    if isinstance(given.get("class_weight"), dict):
        given["class_weight"] = {"pairs": [list(pair) for pair in given["class_weight"].items()]}
    if given["kinds"] is not None:
        given["kinds"] = {"pairs": [list(pair) for pair in dict(given["kinds"]).items()]}
    return given


def load(cls: Any, folder: Path, device: str | None) -> Any:
    """The estimator in a run folder. Raises CheckpointError."""
    config = read_config(folder)
    model, history = MLP.load(folder / MODEL, device=device), read_history(folder)
    made = TableModel.of(model)
    kind = KINDS[made.target.task]
    if kind != cls.__name__:
        raise CheckpointError(f"{folder / CONFIG} holds a {kind}: use {kind}.from_run")
    try:
        estimator, columns, named = _described(cls, config, made)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        told = f"no {error}" if isinstance(error, KeyError) else error
        raise CheckpointError(f"{folder / CONFIG} holds no {kind}: {brief(told)}") from error
    estimator.set_params(device=device)
    estimator._adopt(made, history, columns, named=named)
    return estimator


def _described(
    cls: Any, config: dict[str, Any], made: TableModel
) -> tuple[Any, tuple[str, ...], bool]:
    """The estimator, the names of the columns, and whether they were given."""
    described = config.get(ESTIMATOR)
    if described is None:  # of `mlpx train`
        estimator = cls(preset=made.preset, random_state=config.get("seed"), **_sureness(made))
        if made.target.task == "classification":
            _adopt_labels(estimator, Labels(made.target.labels), made)
        return estimator, made.encoder.feature_names, True
    estimator = cls(**from_plain(described["parameters"]))
    if made.target.task == "classification":
        _adopt_labels(estimator, labels_from_json(described), made)
    columns, named = described["columns"], described["named"]
    if not isinstance(columns, list) or not all(isinstance(name, str) for name in columns):
        raise CheckpointError("columns are no list of texts")
    if not isinstance(named, bool) or len(set(columns)) < len(columns):
        raise CheckpointError("columns are not named once each")
    if not set(made.encoder.feature_names) <= set(columns):
        raise CheckpointError("columns are not those that the encoder reads")
    return estimator, tuple(columns), named


def _sureness(made: TableModel) -> dict[str, Any]:
    """The parameters of an estimator that make a model as sure of itself."""
    if made.target.task == "classification":
        return {"calibrated": made.temperature != 1.0}
    return {"quantiles": made.quantiles or None, "intervals": made.conformal is not None}


def _adopt_labels(estimator: Any, labels: Labels, made: TableModel) -> None:
    if labels.several or labels.classes.tolist() != list(made.target.classes):
        raise CheckpointError("its classes are not those of the table's target")
    estimator._labels, estimator.classes_ = labels, labels.classes
