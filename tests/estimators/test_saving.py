"""Estimators copied, pickled, and saved in run folders."""

from __future__ import annotations

import copy
import json
import math
import pickle
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from bundled import LABELS, SMALL, XR, YR, X, Y
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError

from mlpx import MLP, Callback, Dense, Dropout, History, MLPClassifier, MLPRegressor
from mlpx.errors import CheckpointError, InputError
from mlpx.optimizers import AdamW
from mlpx.training.run_folder import save_run

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.usefixtures("blank_pictures"),
]


TANH = Dense(6, activation="tanh")


@pytest.mark.parametrize("how", ["pickle", "joblib", "deepcopy"])
def test_copies_predict_and_go_on_alike(how: str, tmp_path: Path) -> None:
    fitted = MLPClassifier(**SMALL, warm_start=True).fit(X, LABELS)
    fitted.predict(X)  # leaves its caches
    if how == "pickle":
        other = pickle.loads(pickle.dumps(fitted))
    elif how == "deepcopy":
        other = copy.deepcopy(fitted)
    else:
        joblib.dump(fitted, tmp_path / "fitted.joblib")
        other = joblib.load(tmp_path / "fitted.joblib")
    assert np.array_equal(other.predict_proba(X), fitted.predict_proba(X))
    assert np.array_equal(other.fit(X, LABELS).model_.flat, fitted.fit(X, LABELS).model_.flat)


def test_a_model_of_a_gpu_unpickles_without_one(fake_cupy: Any) -> None:
    fitted = MLPClassifier(**SMALL, device="cuda").fit(X, LABELS)
    assert fitted.model_.device == "cuda:0"
    wanted = fitted.predict_proba(X)
    kept = pickle.dumps(fitted)
    assert pickle.loads(kept).model_.device == "cuda:0"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mlpx.network.network.get_backend", _without_gpu)
        other = pickle.loads(kept)
    assert other.model_.device == "cpu"
    other.device = None
    np.testing.assert_allclose(other.predict_proba(X), wanted, rtol=1e-6)


def _without_gpu(device: Any = None) -> Any:
    from mlpx.backend import get_backend
    from mlpx.errors import DeviceError

    if str(device).startswith("cuda"):
        raise DeviceError("no CUDA device here")
    return get_backend("cpu")


@pytest.mark.parametrize("y", [LABELS, Y, Y == 1, np.eye(3, dtype=int)[Y]])
def test_a_classifier_comes_back_from_its_folder(y: np.ndarray, tmp_path: Path) -> None:
    options = SMALL | {"warm_start": True, "dropout": 0.1, "solver": AdamW(1e-3)}
    fitted = MLPClassifier(**options).fit(X, y)
    fitted.save(tmp_path / "run")
    other = MLPClassifier.from_run(tmp_path / "run")
    assert other.get_params() == fitted.get_params()
    assert np.array_equal(other.predict(X), fitted.predict(X))
    assert other.predict(X).dtype == fitted.predict(X).dtype
    for name in ("loss_curve_", "n_iter_", "t_", "best_loss_", "classes_", "n_features_in_"):
        assert np.array_equal(getattr(other, name), getattr(fitted, name)), name
    assert np.array_equal(other.fit(X, y).model_.flat, fitted.fit(X, y).model_.flat)


def test_what_the_constructor_and_a_frame_gave_comes_back(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcd"))
    weights = {0: 2.0, 2: 0.5}
    fitted = MLPClassifier(**SMALL, dtype=np.float32, class_weight=weights).fit(frame, Y)
    fitted.save(tmp_path / "run")
    other = MLPClassifier.from_run(tmp_path / "run")
    assert (other.dtype, other.class_weight) == ("float32", weights)
    assert list(other.feature_names_in_) == list("abcd")
    assert np.array_equal(other.predict(frame), fitted.predict(frame))


@pytest.mark.parametrize(
    ("given", "y", "told"),
    [({"hidden_layer_sizes": range(8, 9)}, Y, r"range\(8, 9\) is a range, which a run folder"),
     ({}, np.datetime64("2020") + Y, r"classes are of \['date'\]; a run folder holds numbers")],
)  # fmt: skip
def test_what_no_folder_can_hold_is_named(
    given: dict[str, Any], y: np.ndarray, told: str, tmp_path: Path
) -> None:
    fitted = MLPClassifier(**SMALL | given).fit(X, y)
    with pytest.raises(InputError, match=told):
        fitted.save(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_regressor_comes_back_from_its_folder(tmp_path: Path) -> None:
    fitted = MLPRegressor("huber", **SMALL, early_stopping=True).fit(XR, YR)
    fitted.save(tmp_path)
    other = MLPRegressor.from_run(tmp_path)
    assert np.array_equal(other.predict(XR), fitted.predict(XR))
    assert other.validation_scores_ == fitted.validation_scores_
    with pytest.raises(CheckpointError, match=r"use MLPRegressor\.from_run"):
        MLPClassifier.from_run(tmp_path)


def test_the_command_line_reads_what_an_estimator_saved(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from mlpx.cli import app

    fitted = MLPClassifier(**SMALL).fit(X, Y)
    fitted.save(tmp_path / "run")
    np.save(tmp_path / "rows.npy", X)
    said = CliRunner().invoke(app, ["predict", str(tmp_path / "run"), str(tmp_path / "rows.npy")])
    assert said.exit_code == 0, said.output
    assert [int(line) for line in said.output.split()] == fitted.predict(X).tolist()


def test_an_estimator_reads_what_the_command_line_trained(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from mlpx.cli import app

    run = tmp_path / "run"
    told = CliRunner().invoke(
        app, ["train", "digits", "--epochs", "5", "--hidden", "30,20", "--out", str(run)]
    )
    assert told.exit_code == 0, told.output
    digits = load_digits()
    fitted = MLPClassifier.from_run(run)
    assert (fitted.hidden_layer_sizes, fitted.alpha) == ((30, 20), 0.0)
    assert fitted.score(digits.data, digits.target) > 0.8
    assert np.array_equal(
        fitted.predict(digits.data), MLP.load(run / "model.safetensors").predict(digits.data)
    )
    before = fitted.score(digits.data, digits.target)
    for _ in range(20):
        fitted.partial_fit(digits.data, digits.target)
    assert fitted.score(digits.data, digits.target) > before  # with the scaling it was trained with
    with pytest.raises(CheckpointError, match=r"use MLPClassifier\.from_run"):
        MLPRegressor.from_run(run)


def test_an_estimator_reads_a_run_that_was_stopped_in_its_first_epoch(tmp_path: Path) -> None:
    model = MLP([X.shape[1], 5, 3])
    model.save(tmp_path / "model.safetensors")
    save_run(tmp_path, model, history=History(stop_reason="interrupted"), config={})
    fitted = MLPClassifier.from_run(tmp_path)
    assert (fitted.n_iter_, fitted.loss_curve_, fitted.best_loss_) == (0, [], math.inf)
    assert np.array_equal(fitted.predict(X), model.predict(X))
    fitted.partial_fit(X, Y)
    assert fitted.n_iter_ == len(fitted.loss_curve_) == 1


@pytest.mark.parametrize(
    ("layers", "widths", "activation", "dropout"),
    [([], (), "relu", 0.0), ([5], (5,), "relu", 0.0), ([5, Dropout(0.2)], (5,), "relu", [0.2]),
     ([TANH, TANH], (6, 6), "tanh", 0.0), ([5, TANH], (5, 6), ["relu", "tanh"], 0.0),
     ([5, Dropout(0.2), 6, Dropout(0.5)], (5, 6), "relu", [0.2, 0.5]),
     ([5, 6, Dropout(0.2)], (5, 6), "relu", 0.0)],  # no parameter says that one of two has it
)  # fmt: skip
def test_the_layers_of_a_run_as_parameters(
    layers: list[Any], widths: Any, activation: Any, dropout: Any, tmp_path: Path
) -> None:
    model = MLP([4, *layers, 3], dtype="float64")
    save_run(tmp_path, model, history=History(), config={})
    found = MLPClassifier.from_run(tmp_path)
    assert (found.activation, found.dropout, found.dtype) == (activation, dropout, "float64")
    assert (found.hidden_layer_sizes, found.n_layers_) == (widths, len(widths) + 2)
    assert found.partial_fit(X, Y).model_.layers == model.layers


def test_a_run_as_parameters_and_attributes(tmp_path: Path) -> None:
    history = History(epochs=[{"loss": 2.0}, {"loss": 1.0}, {"loss": 1.5}], samples=450)
    config = {"optimizer": "sgd", "batch_size": 50, "seed": 7, "learning_rate": 0.25}
    for name, entries in (("run", config), ("bare", {})):
        (tmp_path / name).mkdir()
        save_run(tmp_path / name, MLP([4, 5, 3]), history=history, config=entries)
    found = MLPClassifier.from_run(tmp_path / "run")
    given = found.get_params()
    assert (given["solver"], given["batch_size"], given["random_state"]) == ("sgd", 50, 7)
    assert given["learning_rate_init"] == found.learning_rate_ == 0.25
    assert (found.loss_curve_, found.n_iter_) == ([2.0, 1.0, 1.5], 3)
    assert (found.best_loss_, found.loss_, found.t_) == (1.0, 1.5, 450)
    given = MLPClassifier.from_run(tmp_path / "bare").get_params()
    default = MLPClassifier().get_params()
    for name in ("solver", "batch_size", "random_state", "learning_rate_init"):
        assert given[name] == default[name]


@pytest.mark.parametrize("classes", [["no", "perhaps", "yes"], [-5, 0, 7], None])
def test_the_classes_of_a_run_keep_their_labels(classes: Any, tmp_path: Path) -> None:
    config = {} if classes is None else {"classes": classes}
    save_run(tmp_path, MLP([4, 5, 3]), history=History(), config=config)
    found = MLPClassifier.from_run(tmp_path)
    assert found.classes_.tolist() == (classes or [0, 1, 2])
    assert set(found.partial_fit(X, found.classes_[Y]).predict(X)) <= set(found.classes_)


def test_a_regressor_reads_a_run_of_values(tmp_path: Path) -> None:
    model = MLP([XR.shape[1], 5, 2], loss="mean_squared_error")
    model.save(tmp_path / "model.safetensors")
    save_run(tmp_path, model, history=History(), config={})
    with pytest.raises(CheckpointError, match=r"values: use MLPRegressor\.from_run"):
        MLPClassifier.from_run(tmp_path)
    fitted = MLPRegressor.from_run(tmp_path)
    assert np.array_equal(fitted.predict(XR), model.predict(XR))
    with pytest.raises(InputError, match="y has 1 columns; this model was fitted to 2"):
        fitted.partial_fit(XR, YR)
    assert fitted.partial_fit(XR, np.stack([YR, YR], axis=1)).n_iter_ == 1


def test_an_estimator_whose_fit_was_broken_off_is_saved_as_it_is(tmp_path: Path) -> None:
    class Broken(Callback):
        def on_epoch_begin(self, run: Any, epoch: int) -> None:
            raise RuntimeError("asked to")

    fitted = MLPClassifier(**SMALL, callbacks=[Broken()])
    with pytest.raises(RuntimeError, match="asked to"):
        fitted.fit(X, Y)
    fitted.save(tmp_path / "run")
    again = MLPClassifier.from_run(tmp_path / "run")
    assert np.array_equal(again.predict_proba(X), fitted.predict_proba(X))


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match=r"letter\.txt"):
        MLPClassifier(**SMALL).fit(X, Y).save(tmp_path)
    with pytest.raises(CheckpointError):
        MLPClassifier.from_run(tmp_path)
    with pytest.raises(NotFittedError):
        MLPClassifier().save(tmp_path / "new")


def test_a_broken_folder_is_named(tmp_path: Path) -> None:
    MLPClassifier(**SMALL).fit(X, Y).save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["estimator"]["draws"] = {"words": [1, 2]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="holds no MLPClassifier"):
        MLPClassifier.from_run(tmp_path)
