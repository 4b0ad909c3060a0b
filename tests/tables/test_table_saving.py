"""Estimators of tables in run folders: they come back, and what nobody vouches for is refused."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_tables import LABELS, NUMBERS, SMALL, TABLE, VALUES

from mlpx import MLP, MLPClassifier
from mlpx.errors import CheckpointError, InputError
from mlpx.kernels.losses import Quantile
from mlpx.tables import TableClassifier, TableRegressor
from mlpx.tables.calibration import Conformal
from mlpx.tables.presets import Plain
from mlpx.tables.saved import TableModel
from mlpx.training.run_folder import CONFIG, save_run

pytestmark = pytest.mark.usefixtures("blank_pictures")


@pytest.fixture(scope="module")
def classifier() -> TableClassifier:
    return TableClassifier(**SMALL, class_weight={"yes": 2.0}, kinds={"member": "category"}).fit(
        TABLE, LABELS
    )


@pytest.fixture(scope="module")
def regressor() -> TableRegressor:
    return TableRegressor(**SMALL).fit(TABLE, VALUES)


def test_a_classifier_comes_back_from_its_folder(
    classifier: TableClassifier, tmp_path: Path
) -> None:
    classifier.save(tmp_path / "run")
    other = TableClassifier.from_run(tmp_path / "run")
    assert other.get_params() == classifier.get_params()
    assert np.array_equal(other.predict_proba(TABLE), classifier.predict_proba(TABLE))
    assert np.array_equal(other.predict(TABLE), classifier.predict(TABLE))
    assert other.classes_.dtype == classifier.classes_.dtype
    assert (other.encoder_, other.target_) == (classifier.encoder_, classifier.target_)
    assert list(other.feature_names_in_) == list(TABLE)
    assert (other.n_features_in_, other.n_iter_) == (5, 3)
    assert other.report() == classifier.report()
    assert np.array_equal(other.fit(TABLE, LABELS).model_.flat, classifier.model_.flat)


@pytest.mark.parametrize(
    "y", [LABELS == "yes", (LABELS == "yes") + 3, np.where(LABELS == "yes", 2.0, 1.0)]
)
def test_labels_of_any_kind_come_back(y: np.ndarray, tmp_path: Path) -> None:
    fitted = TableClassifier(**SMALL).fit(NUMBERS, y)
    fitted.save(tmp_path)
    other = TableClassifier.from_run(tmp_path)
    assert other.predict(NUMBERS).dtype == y.dtype
    assert np.array_equal(other.predict(NUMBERS), fitted.predict(NUMBERS))
    assert not hasattr(other, "feature_names_in_")


def test_a_regressor_comes_back_from_its_folder(regressor: TableRegressor, tmp_path: Path) -> None:
    regressor.save(tmp_path)
    other = TableRegressor.from_run(tmp_path)
    assert np.array_equal(other.predict(TABLE), regressor.predict(TABLE))
    with pytest.raises(CheckpointError, match=r"holds a TableRegressor: use TableRegressor\.from"):
        TableClassifier.from_run(tmp_path)


def test_a_preset_of_ones_own_and_a_generator(tmp_path: Path) -> None:
    preset = Plain(dropout=0.3, epochs=2)
    fitted = TableRegressor(preset, random_state=np.random.RandomState(0)).fit(NUMBERS, VALUES)
    fitted.save(tmp_path)
    assert TableRegressor.from_run(tmp_path).get_params()["preset"] == preset
    assert TableRegressor.from_run(tmp_path).get_params()["random_state"] is None


def test_the_file_of_the_model_is_all_that_is_needed(
    classifier: TableClassifier, regressor: TableRegressor, tmp_path: Path
) -> None:
    for fitted in (classifier, regressor):
        fitted.model_.save(tmp_path / "model.safetensors")
        made = TableModel.of(MLP.load(tmp_path / "model.safetensors"))
        assert np.array_equal(made.predict(TABLE), fitted.predict(TABLE))
        if fitted is classifier:
            assert np.array_equal(made.predict_proba(TABLE), fitted.predict_proba(TABLE))
    with pytest.raises(InputError, match="predicts values, which have no probabilities"):
        made.predict_proba(TABLE)


def test_a_run_of_the_command_line_is_an_estimator_too(
    classifier: TableClassifier, regressor: TableRegressor, tmp_path: Path
) -> None:
    for fitted, name in ((classifier, "c"), (regressor, "r")):
        config = {"seed": 5, "optimizer": "adamw"}
        (tmp_path / name).mkdir()
        save_run(tmp_path / name, fitted.model_, history=fitted.history_, config=config)
        other = type(fitted).from_run(tmp_path / name)
        assert np.array_equal(other.predict(TABLE), fitted.predict(TABLE))
        assert other.random_state == 5
        assert other.preset_ == fitted.preset_
    with pytest.raises(
        CheckpointError, match="the model of a table: use from_run of TableClassifier"
    ):
        MLPClassifier.from_run(tmp_path / "c")


def test_another_estimators_run(classifier: TableClassifier, tmp_path: Path) -> None:
    MLPClassifier().partial_fit(NUMBERS, LABELS, classes=["no", "yes"]).save(tmp_path)
    with pytest.raises(CheckpointError, match="not trained on a table of named columns"):
        TableClassifier.from_run(tmp_path)


MODEL = TableClassifier(**SMALL).fit(TABLE, LABELS).model_
ABOUT: dict[str, Any] = copy.deepcopy(MODEL.about)  # type: ignore[arg-type]
VALUED: dict[str, Any] = TableRegressor(**SMALL).fit(TABLE, VALUES).model_.about  # type: ignore


def changed(part: str, **values: Any) -> dict[str, Any]:
    about = copy.deepcopy(ABOUT)
    about["table"][part] |= values
    return about


DAMAGED: list[tuple[Any, str]] = [
    (None, "not trained on a table"),
    ({"table": []}, "not trained on a table"),
    ({"table": {}}, "of no encoder"),
    ({"table": {**ABOUT["table"], "preset": "plain"}}, "preset is 'plain'"),
    (changed("preset", name="royal"), "preset is damaged"),
    (changed("preset", learning_rate=-1), "learning_rate = -1"),
    (changed("preset", layers=3), "preset is damaged"),
    (changed("target", classes=["a", "b", "c"]), "target has 3 classes, and the model .* 2"),
    ({"table": {**ABOUT["table"], "target": VALUED["table"]["target"]}},
     "target is for regression, and the model beside it predicts classes"),
    (changed("encoder", columns=ABOUT["table"]["encoder"]["columns"][:2]), "encoder"),
    (changed("encoder", version=99), "encoder"),
    (changed("target", std=0.0), "target"),
    *(
        ({"table": {**ABOUT["table"], "temperature": given}}, "temperature is damaged: .*must be")
        for given in (0, -1.5, 1e4, 1e-9, float("nan"), "warm", True, None, [2.0])
    ),
    ({"table": {**ABOUT["table"], "conformal": {}}}, "has a conformal, .* is for classification"),
]  # fmt: skip


@pytest.mark.parametrize(("about", "told"), DAMAGED)
def test_what_nobody_vouches_for_is_refused(about: Any, told: str) -> None:
    model = copy.deepcopy(MODEL)
    model.about = about
    with pytest.raises(CheckpointError, match=told):
        TableModel.of(model)


CONFORMAL = {"rows": 2, "scores": [0.5, 1.5], "ranks": [1, 2]}
WITHOUT = {"rows": 2, "scores": [0.5, 1.5]}


@pytest.mark.parametrize(
    "told",
    [None, [], "wide", {}, WITHOUT, CONFORMAL | {"rows": 3}, CONFORMAL | {"scores": [1.5, 0.5]},
     CONFORMAL | {"scores": [0.5, 10**400]}, CONFORMAL | {"scores": [0.5, {}]},
     CONFORMAL | {"ranks": 2}, CONFORMAL | {"rows": 10**60, "ranks": [1, 10**60]}],
)  # fmt: skip
def test_intervals_that_nobody_vouches_for_are_refused(
    told: Any, regressor: TableRegressor
) -> None:
    model = copy.deepcopy(regressor.model_)
    about: dict[str, Any] = model.about  # type: ignore[assignment]
    model.about = {"table": about["table"] | {"conformal": CONFORMAL}}
    assert TableModel.of(model).conformal == Conformal(2, (0.5, 1.5), (1, 2))
    model.about = {"table": about["table"] | {"conformal": told}}
    with pytest.raises(CheckpointError, match="the table's conformal is damaged"):
        TableModel.of(model)
    model.about = {"table": about["table"] | {"temperature": 2.0}}
    with pytest.raises(CheckpointError, match="has a temperature, and its target is for regress"):
        TableModel.of(model)


@pytest.mark.parametrize(
    ("loss", "outputs", "told"),
    [(Quantile((0.9, 0.1)), 2, r"model's quantiles = \(0.9, 0.1\); wanted each larger"),
     (Quantile((0.5, 0.5)), 2, "wanted each larger"),
     (Quantile((0.1, 0.9)), 4, "target has 1 values, and the model beside it 2"),
     ("mean_squared_error", 2, "target has 1 values, and the model beside it 2")],
)  # fmt: skip
def test_quantiles_that_nobody_vouches_for_are_refused(
    loss: Any, outputs: int, told: str, regressor: TableRegressor
) -> None:
    model = MLP([regressor.model_.d_in, outputs], loss=loss, seed=0)
    model.about = regressor.model_.about
    with pytest.raises(CheckpointError, match=told):
        TableModel.of(model)


def test_an_encoder_of_another_width_is_refused() -> None:
    model = MLP([MODEL.d_in + 1, 1], loss="binary_cross_entropy", seed=0)
    model.about = ABOUT
    with pytest.raises(CheckpointError, match=f"makes {MODEL.d_in} columns, and the model"):
        TableModel.of(model)


SETTINGS: list[tuple[dict[str, Any], str]] = [
    ({"parameters": {"preset": "royal", "depth": 3}}, "no option 'depth'"),
    ({"columns": ["age"]}, "not those that the encoder reads"),
    ({"columns": [1]}, "no list of texts"),
    ({"columns": [*TABLE, "age"]}, "not named once each"),
    ({"named": 1}, "not named once each"),
    ({"classes": ["maybe", "no"]}, "not those of the table's target"),
    ({"several": True}, "not those of the table's target"),
]


@pytest.mark.parametrize(("changes", "told"), SETTINGS)
def test_settings_that_are_not_an_estimators(
    changes: dict[str, Any], told: str, classifier: TableClassifier, tmp_path: Path
) -> None:
    classifier.save(tmp_path)
    config = json.loads((tmp_path / CONFIG).read_text())
    config["estimator"] |= changes
    (tmp_path / CONFIG).write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=told):
        TableClassifier.from_run(tmp_path)


def test_settings_that_are_lacking(classifier: TableClassifier, tmp_path: Path) -> None:
    classifier.save(tmp_path)
    config = json.loads((tmp_path / CONFIG).read_text())
    for name in ("columns", "named", "parameters", "dtype"):
        lacking = copy.deepcopy(config)
        del lacking["estimator"][name]
        (tmp_path / CONFIG).write_text(json.dumps(lacking))
        with pytest.raises(CheckpointError, match=f"holds no TableClassifier: no '{name}'"):
            TableClassifier.from_run(tmp_path)
