"""Saving estimators in run folders: files as `mlpx train` writes them, plus fitted attributes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from mlpx.errors import CheckpointError, InputError
from mlpx.estimators.labels import Labels
from mlpx.estimators.saved import (
    FOUND,
    check_found,
    column_names,
    generator_state,
    label_classes,
    permutation,
)
from mlpx.kernels.activations import Activation
from mlpx.layers import Dense, Dropout
from mlpx.mlp import MLP
from mlpx.records import Record, require_flag
from mlpx.training.history import History
from mlpx.training.run_folder import (
    CONFIG,
    MODEL,
    check_classes,
    claimed,
    class_labels,
    label_array,
    read_config,
    read_history,
    save_run,
)
from mlpx.untrusted import brief

KEY = "estimator"


def save(estimator: Any, folder: Path) -> None:
    """Write the run folder.

    Raises InputError for a value that a file cannot hold, CheckpointError.
    """
    described = {
        "kind": type(estimator).__name__,
        "parameters": _parameters(estimator),
        "found": found(estimator),
        "names": [str(name) for name in getattr(estimator, "feature_names_in_", [])],
        "draws": draws(estimator),
        **estimator._described(),
    }
    config = {"loss": estimator.model_.loss.name, KEY: described}
    with claimed(folder, name=folder.name) as out:
        history = getattr(estimator, "history_", History())  # there is none if the fit was aborted
        save_run(out, estimator.model_, history=history, config=plain(config))


def _parameters(estimator: Any) -> dict[str, Any]:
    """The constructor parameters as plain values."""
    given: dict[str, Any] = estimator.get_params(deep=False)
    given["callbacks"] = None  # code is not saved
    if not isinstance(given["random_state"], int | np.integer):
        given["random_state"] = None
    if given["dtype"] is not None:
        given["dtype"] = np.dtype(given["dtype"]).name
    if isinstance(given.get("class_weight"), dict):
        given["class_weight"] = {"pairs": [list(pair) for pair in given["class_weight"].items()]}
    return given


def found(estimator: Any) -> dict[str, Any]:
    """What a fitted estimator has found out, as plain values."""
    return {name: getattr(estimator, name) for name in FOUND if hasattr(estimator, name)}


def draws(estimator: Any) -> dict[str, Any]:
    """The state of the random draws, so that training resumes exactly."""
    _, words, position, *_ = estimator._random_state.get_state()
    return {"words": words, "position": position, "order": estimator._order}


def set_draws(estimator: Any, described: dict[str, Any]) -> None:
    """The inverse of `draws`. Raises CheckpointError."""
    estimator._random_state = np.random.RandomState()
    estimator._random_state.set_state(generator_state(described["words"], described["position"]))
    estimator._order = permutation(described["order"])


def plain(value: Any) -> Any:
    """`value` in a form that JSON can hold; infinity and NaN by name.

    Raises InputError for a value of another type.
    """
    if isinstance(value, dict):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, tuple):
        return {"tuple": [plain(entry) for entry in value]}
    if isinstance(value, list | np.ndarray):
        return [plain(entry) for entry in value]
    if isinstance(value, Record):
        return {"record": value.kind, **value.config()}
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return {"number": str(value)}
    if value is None or isinstance(value, str | int | float):
        return value
    raise InputError(f"{value!r} is a {type(value).__name__}, which a run folder cannot hold")


def from_plain(value: Any) -> Any:
    """The inverse of `plain`, except that arrays become lists."""
    if isinstance(value, list):
        return [from_plain(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"tuple"}:
        return tuple(from_plain(entry) for entry in value["tuple"])
    if set(value) == {"number"}:
        return float(value["number"])
    if set(value) == {"pairs"}:
        return {from_plain(label): from_plain(weight) for label, weight in value["pairs"]}
    if "record" in value:
        return Record.from_config({k: v for k, v in value.items() if k != "record"})
    return {key: from_plain(entry) for key, entry in value.items()}


def load(cls: Any, folder: Path, device: str | None) -> Any:
    """The estimator in a run folder that `save` or `mlpx train` wrote.

    Raises CheckpointError.
    """
    config = read_config(folder)
    model, history = MLP.load(folder / MODEL, device=device), read_history(folder)
    described = config.get(KEY)
    kind = brief((described or {}).get("kind", cls.__name__))
    if kind != cls.__name__:
        raise CheckpointError(f"{folder / CONFIG} holds a {kind}: use {kind}.from_run")
    if "table" in (model.about or {}):
        raise CheckpointError(
            f"{folder / MODEL} is the model of a table: use from_run of TableClassifier or "
            "TableRegressor in mlpx.tables"
        )
    try:
        if described is None:
            estimator = _of_command(cls, config, model, history)
        else:
            if described.get("classes") is not None:
                check_classes(len(described["classes"]), model)
            estimator = _of_estimator(cls, described, model)
            estimator.set_params(device=device)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        told = f"no {error}" if isinstance(error, KeyError) else error
        raise CheckpointError(
            f"{folder / CONFIG} holds no {cls.__name__}: {brief(told)}"
        ) from error
    estimator.history_ = history
    estimator._adopt(model)
    return estimator


def _of_estimator(cls: Any, described: dict[str, Any], model: MLP) -> Any:
    estimator = cls(**from_plain(described["parameters"]))
    estimator._begin()
    attributes = from_plain(described["found"])
    check_found(attributes, model)
    vars(estimator).update(attributes)
    if described["names"]:
        estimator.feature_names_in_ = column_names(described["names"], model)
    set_draws(estimator, described["draws"])
    estimator._restore(described)
    return estimator


def _of_command(cls: Any, config: dict[str, Any], model: MLP, history: History) -> Any:
    """An estimator around a model of `mlpx train`, whose layers are kept as they are."""
    hidden = [layer for layer in model.layers if isinstance(layer, Dense)][:-1]
    functions = [_name(Activation.resolve(layer.activation)) for layer in hidden]
    rates = [layer.rate for layer in model.layers if isinstance(layer, Dropout)]
    estimator = cls(
        hidden_layer_sizes=tuple(layer.units for layer in hidden),
        activation=functions[0] if len(set(functions)) == 1 else functions or "relu",
        solver=config.get("optimizer", "adam"),
        alpha=0.0,
        dropout=rates if len(rates) == len(hidden) and rates else 0.0,
        batch_size=config.get("batch_size") or "auto",
        random_state=config.get("seed"),
        dtype=model.dtype.name,
        loss=model.loss,
        **({"learning_rate_init": rate} if (rate := config.get("learning_rate")) else {}),
    )
    estimator._begin()
    labels = class_labels(config, model=model)
    estimator._restore({"model": model, "labels": None if labels is None else label_array(labels)})
    curve = [float(epoch["loss"]) for epoch in history.epochs]
    estimator.loss_curve_, estimator.n_iter_ = curve, len(curve)
    estimator.best_loss_ = min(curve, default=math.inf)
    if curve:  # empty if the run was stopped in its first epoch
        estimator.loss_ = curve[-1]
    estimator.t_, estimator.n_features_in_ = history.samples, model.d_in
    estimator.n_layers_ = len(hidden) + 2
    estimator.learning_rate_ = estimator.learning_rate_init
    estimator._given_layers = True
    return estimator


def _name(f: Activation) -> Any:
    return f.name if f == Activation.resolve(f.name) else f


def labels_to_json(labels: Labels) -> dict[str, Any]:
    """Class labels as plain values.

    Raises InputError for labels that are neither numbers, booleans nor text.
    """
    kinds = sorted({type(label).__name__ for label in labels.classes.tolist()})
    if not set(kinds) <= {"bool", "int", "float", "str"}:
        raise InputError(f"classes are of {kinds}; a run folder holds numbers, booleans and text")
    dtype = labels.classes.dtype.str
    return {"classes": labels.classes, "dtype": dtype, "several": labels.several}


def labels_from_json(described: dict[str, Any]) -> Labels:
    """The inverse of `labels_to_json`."""
    classes = label_classes(from_plain(described["classes"]), described["dtype"])
    require_flag("several", described["several"])
    return Labels(classes, several=described["several"])


def labels_of_model(model: MLP, classes: np.ndarray | None) -> Labels:
    """The classes that a model distinguishes: `classes`, or else 0, 1, ...

    Raises CheckpointError for a regression model.
    """
    kind = model.loss.target_kind(model.d_out)
    if kind == "values":
        raise CheckpointError("the model predicts values: use MLPRegressor.from_run")
    if classes is not None:
        return Labels(classes)
    several = kind == "binary" and model.d_out > 1
    return Labels(np.arange(max(2, model.d_out)), several=several)
