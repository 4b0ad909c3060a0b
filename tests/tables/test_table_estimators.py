"""`TableClassifier` and `TableRegressor` learn from tables as they are."""

from __future__ import annotations

import copy
import datetime
import functools
import pickle
import warnings
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from small_tables import LABELS, NUMBERS, ROWS, SMALL, TABLE, VALUES

from mlpx import Callback
from mlpx.errors import InputError, InputTypeError, UnknownNameError, UnknownOptionError
from mlpx.tables import TableClassifier, TableRegressor, base
from mlpx.tables.presets import Plain
from mlpx.training.fit import fit

OTHERS = {
    "pandas": TABLE,
    "polars": pl.from_pandas(TABLE),
    "pyarrow": pa.Table.from_pandas(TABLE),
    "batch": pa.RecordBatch.from_pandas(TABLE),
    "dict": {name: TABLE[name].to_numpy() for name in TABLE},
}


@pytest.fixture(scope="module")
def classifier() -> TableClassifier:
    return TableClassifier(**SMALL).fit(TABLE, LABELS)


@pytest.fixture(scope="module")
def regressor() -> TableRegressor:
    return TableRegressor(**SMALL).fit(TABLE, VALUES)


def test_what_there_is_to_learn_is_learnt() -> None:
    classifier = TableClassifier(random_state=0, epochs=40).fit(TABLE, LABELS)
    assert classifier.score(TABLE, LABELS) > 0.95
    regressor = TableRegressor(random_state=0, epochs=60).fit(TABLE, VALUES)
    assert regressor.score(TABLE, VALUES) > 0.9


@pytest.mark.parametrize("kind", OTHERS)
def test_a_table_of_any_kind_is_the_same_table(kind: str, classifier: TableClassifier) -> None:
    other = TableClassifier(**SMALL).fit(OTHERS[kind], pa.array(LABELS))
    assert np.array_equal(other.model_.flat, classifier.model_.flat)
    wanted = classifier.predict_proba(TABLE)
    assert np.array_equal(classifier.predict_proba(OTHERS[kind]), wanted)
    assert list(other.feature_names_in_) == list(TABLE)
    assert other.n_features_in_ == 5


def test_columns_are_found_by_name(classifier: TableClassifier) -> None:
    wanted = classifier.predict_proba(TABLE)
    assert np.array_equal(classifier.predict_proba(TABLE[list(TABLE)[::-1]]), wanted)
    with pytest.warns(UserWarning, match="not there in fit and are ignored: 'more'"):
        found = classifier.predict_proba(TABLE.assign(more=1))
    assert np.array_equal(found, wanted)
    with pytest.raises(InputError, match="no column 'colour'"):
        classifier.predict(TABLE.drop(columns="colour"))


def test_columns_without_names_are_found_by_place() -> None:
    fitted = TableRegressor(**SMALL).fit(NUMBERS, VALUES)
    assert not hasattr(fitted, "feature_names_in_")
    wanted = fitted.predict(NUMBERS)
    assert np.array_equal(fitted.predict(NUMBERS.tolist()), wanted)
    assert np.array_equal(fitted.predict(pd.DataFrame(NUMBERS)), wanted)
    with pytest.warns(UserWarning, match="X has feature names, but TableRegressor was fitted with"):
        found = fitted.predict(pd.DataFrame(NUMBERS, columns=["b", "a", "c"]))
    assert np.array_equal(found, wanted)
    with pytest.raises(InputError, match="X has 2 features, but TableRegressor is expecting 3"):
        fitted.predict(NUMBERS[:, :2])


def test_names_may_be_missing_where_there_were_some() -> None:
    named = pd.DataFrame(NUMBERS, columns=["b", "a", "c"])
    fitted = TableRegressor(**SMALL).fit(named, VALUES)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        found = fitted.predict(NUMBERS)
    assert np.array_equal(found, fitted.predict(named))
    again = fitted.fit(NUMBERS, VALUES)
    assert not hasattr(again, "feature_names_in_")


def test_a_list_of_rows_may_hold_text() -> None:
    rows = TABLE[["colour", "width"]].to_numpy().tolist()
    fitted = TableClassifier(**SMALL).fit(rows, LABELS)
    assert [kind for _, kind, _ in fitted.encoder_.report()] == ["category", "number"]


def test_missing_and_unknown_values_are_predicted_too(classifier: TableClassifier) -> None:
    odd = TABLE[:3].assign(age=np.nan, colour=["mauve", None, "red"], city="elsewhere")
    assert np.isfinite(classifier.predict_proba(odd)).all()


@pytest.mark.parametrize(
    "y",
    [LABELS, LABELS == "yes", (LABELS == "yes") * 5 - 2, np.where(LABELS == "yes", 2.0, 1.0),
     np.array(["a", "b", "c"], object)[np.arange(ROWS) % 3]],
    ids=["text", "bool", "int", "float", "three"],
)  # fmt: skip
def test_labels_come_back_as_they_were(y: np.ndarray) -> None:
    fitted = TableClassifier(**SMALL).fit(TABLE, y)
    assert np.array_equal(fitted.classes_, np.unique(y))
    assert fitted.classes_.dtype == fitted.predict(TABLE).dtype == y.dtype
    p = fitted.predict_proba(TABLE)
    assert p.shape == (ROWS, len(np.unique(y)))
    np.testing.assert_allclose(p.sum(axis=1), 1.0)
    assert np.array_equal(fitted.predict(TABLE), fitted.classes_[p.argmax(axis=1)])


def test_values_are_predicted_within_the_range_of_training(regressor: TableRegressor) -> None:
    target = regressor.target_
    assert VALUES.min() <= target.low < target.high <= VALUES.max()
    other = copy.deepcopy(regressor)
    (last,) = [name for name in other.model_.parameters if name.endswith("b")][-1:]
    for far, end in ((1e3, target.high), (-1e3, target.low)):
        other.model_.parameters[last][...] = far
        np.testing.assert_allclose(other.predict(TABLE), end)


def test_a_part_of_the_rows_says_which_epoch_is_the_best(classifier: TableClassifier) -> None:
    history = classifier.history_
    assert {"val_loss", "val_accuracy"} <= set(history.epochs[0])
    assert history.samples == 3 * 136  # 24 of 160 are held out
    assert classifier.n_iter_ == 3
    whole = TableClassifier(**SMALL, early_stopping=False).fit(TABLE, LABELS).history_
    assert "val_loss" not in whole
    assert whole.samples == 3 * 160
    half = TableClassifier(**SMALL, validation_fraction=0.5).fit(TABLE, LABELS).history_
    assert half.samples == 3 * 80


def test_other_rows_may_say_it() -> None:
    y = LABELS.copy()
    y[80:] = np.where(LABELS[80:] == "yes", "no", "yes")  # the longer trained, the worse
    options = SMALL | {"epochs": 30, "learning_rate": 0.02}
    fitted = TableClassifier(**options).fit(TABLE[:80], y[:80], X_val=TABLE[80:], y_val=y[80:])
    history = fitted.history_
    assert history.samples == 80 * len(history)
    best = history.best("val_accuracy")
    assert best["epoch"] < len(history)
    assert fitted.score(TABLE[80:], y[80:]) == pytest.approx(best["val_accuracy"])
    with pytest.raises(InputError, match="X_val and y_val belong together"):
        fitted.fit(TABLE, y, X_val=TABLE)
    with pytest.raises(InputError, match="the classes that were learnt are"):
        fitted.fit(TABLE, y, X_val=TABLE, y_val=np.full(ROWS, "maybe"))


def test_few_rows_are_all_needed_and_exact() -> None:
    fitted = TableClassifier(**SMALL).fit(TABLE[:99], LABELS[:99])
    assert "val_loss" not in fitted.history_
    assert len(fitted.history_.step_loss) == 3  # a step has all of them
    assert fitted.model_.dtype == np.float64
    assert TableClassifier(**SMALL).fit(TABLE, LABELS).model_.dtype == np.float32


def test_rows_of_no_weight_are_not_there() -> None:
    w = np.ones(ROWS)
    w[100:] = 0
    odd = TABLE.copy()
    odd.loc[100:, "width"] = 1e9
    odd.loc[100:, "colour"] = "unseen"
    fitted = TableRegressor(**SMALL).fit(odd, VALUES, w)
    wanted = TableRegressor(**SMALL).fit(TABLE[:100], VALUES[:100])
    assert fitted.encoder_ == wanted.encoder_
    assert fitted.target_ == wanted.target_
    assert np.array_equal(fitted.model_.flat, wanted.model_.flat)


def test_a_weight_of_two_is_the_row_twice() -> None:
    w = np.arange(60) % 3
    rows = np.repeat(np.arange(60), w)
    weighted = TableRegressor(**SMALL).fit(TABLE[:60], VALUES[:60], w)
    repeated = TableRegressor(**SMALL).fit(TABLE.iloc[rows], VALUES[rows])
    np.testing.assert_allclose(weighted.predict(TABLE), repeated.predict(TABLE), rtol=1e-9)


def test_of_many_rows_the_columns_are_described_as_they_are(classifier: TableClassifier) -> None:
    weighted = TableClassifier(**SMALL).fit(TABLE, LABELS, np.full(ROWS, 3))
    assert weighted.encoder_ == classifier.encoder_


def test_classes_may_have_weights() -> None:
    options = SMALL | {"epochs": 15}
    fitted = TableClassifier(**options, class_weight={"yes": 1000, "no": 0.001})
    assert (fitted.fit(TABLE, LABELS).predict(TABLE) == "yes").mean() > 0.9
    assert (LABELS == "yes").mean() < 0.5
    few = np.where(np.arange(ROWS) % 7, "no", LABELS)
    sums = [
        TableClassifier(**options, class_weight=given).fit(TABLE, few).predict_proba(TABLE)[:, 1]
        for given in (None, "balanced")
    ]
    assert sums[0].mean() + 0.1 < sums[1].mean()
    with pytest.raises(InputError, match="class_weight has 'maybe', which is not a class"):
        TableClassifier(class_weight={"maybe": 2}).fit(TABLE, LABELS)


def test_a_seed_gives_the_same_model(classifier: TableClassifier) -> None:
    again = TableClassifier(**SMALL).fit(TABLE, LABELS)
    assert np.array_equal(again.model_.flat, classifier.model_.flat)
    other = TableClassifier(**SMALL | {"random_state": 2}).fit(TABLE, LABELS)
    assert not np.array_equal(other.model_.flat, classifier.model_.flat)
    drawn = [
        TableClassifier(**SMALL | {"random_state": np.random.RandomState(3)}).fit(TABLE, LABELS)
        for _ in range(2)
    ]
    assert np.array_equal(drawn[0].model_.flat, drawn[1].model_.flat)


def test_a_preset_may_be_changed_by_parameters() -> None:
    fitted = TableClassifier(
        Plain(dropout=0.0), epochs=2, batch_size=40, learning_rate=0.1, hidden_layer_sizes=[5, 4],
        random_state=0,
    ).fit(TABLE, LABELS)  # fmt: skip
    preset = fitted.preset_
    assert preset == Plain(
        dropout=0.0, epochs=2, batch_size=40, learning_rate=0.1, hidden_layer_sizes=(5, 4)
    )
    assert fitted.model_.widths[-3:] == [5, 4, 1]
    assert len(fitted.history_.step_loss) == 2 * 4


REFUSED: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"preset": "plian"}, UnknownNameError, "did you mean 'plain'"),
    ({"epochs": 0}, InputError, "epochs = 0"),
    ({"batch_size": 2.5}, InputTypeError, "batch_size = 2.5"),
    ({"learning_rate": -1.0}, InputError, "learning_rate = -1.0"),
    ({"hidden_layer_sizes": "wide"}, InputTypeError, "hidden_layer_sizes = 'wide'"),
    ({"hidden_layer_sizes": (8, 0)}, InputError, "hidden_layer_sizes = 0"),
    ({"early_stopping": 1}, InputTypeError, "early_stopping = 1"),
    ({"validation_fraction": 1.0}, InputError, "validation_fraction = 1.0"),
    ({"scaling": "none"}, InputError, "scaling = 'none'"),
    ({"kinds": {"colour": "number"}}, InputError, "'colour'"),
    ({"kinds": {"color": "number"}}, InputError, "did you mean 'colour'"),
    ({"n_threads": 0}, InputError, "n_threads = 0"),
    ({"verbose": "loud"}, InputError, "verbose = 'loud'"),
    ({"random_state": -1}, InputError, "seed = -1"),
]


@pytest.mark.parametrize(("given", "error", "told"), REFUSED)
def test_a_refused_fit_leaves_the_estimator_as_it_was(
    given: dict[str, Any], error: type[Exception], told: str, classifier: TableClassifier
) -> None:
    estimator = copy.deepcopy(classifier).set_params(**given)
    before = dict(vars(estimator))
    with pytest.raises(error, match=told):
        estimator.fit(TABLE[::-1], LABELS)
    assert vars(estimator) == before
    assert np.array_equal(estimator.predict(TABLE), classifier.predict(TABLE))


@pytest.mark.parametrize(
    ("X", "y", "told"),
    [
        (TABLE, np.full(ROWS, "yes"), "y has one class only, 'yes'"),
        (TABLE[:1], LABELS[:1], "one class only"),
        (TABLE, LABELS[1:], "inconsistent numbers of samples"),
        (TABLE[:0], LABELS[:0], "0 sample"),
        (TABLE[[]], LABELS, r"0 (sample|feature)\(s\)"),
        (
            TABLE.assign(width=TABLE["width"].replace(TABLE["width"].max(), np.inf)),
            LABELS,
            "'width'",
        ),
        (TABLE, np.stack([LABELS == "yes"] * 2, axis=1), "one class a row"),
        (TABLE, None, "requires y to be passed"),
    ],
)
def test_data_that_cannot_be_learnt_from(X: Any, y: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        TableClassifier(**SMALL).fit(X, y)


def test_values_that_cannot_be_learnt_from() -> None:
    with pytest.raises(ValueError, match="nothing to learn"):
        TableRegressor(**SMALL).fit(TABLE, np.ones(ROWS))
    with pytest.raises(ValueError, match="y contains NaN"):
        TableRegressor(**SMALL).fit(TABLE, np.full(ROWS, np.nan))
    with pytest.raises(UnknownOptionError, match="no option 'class_weight'"):
        TableRegressor(class_weight="balanced")
    with pytest.raises(InputTypeError, match="X has a set in column 'x1' at row 0"):
        TableRegressor().fit(np.array([[1, set()], [2, 3]], object), [1, 2])


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The options of the last call of the network's `fit`."""
    options: dict[str, Any] = {}

    @functools.wraps(fit)
    def watched(*args: Any, **given: Any) -> Any:
        options.update(given)
        return fit(*args, **given)

    monkeypatch.setattr("mlpx.mlp.fit", watched)
    return options


def test_threads_and_lines_are_as_asked_for(
    asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    TableClassifier(**SMALL).fit(TABLE, LABELS)
    assert (asked["threads"], asked["verbose"]) == (None, 0)
    assert capsys.readouterr().out == ""
    TableClassifier(**SMALL, n_threads=2, verbose=True).fit(TABLE, LABELS)
    assert (asked["threads"], asked["verbose"]) == (2, 2)
    assert "epoch 3/3" in capsys.readouterr().out
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as joblib's workers have it
    TableClassifier(**SMALL).fit(TABLE, LABELS)
    assert asked["threads"] == 1


def test_classes_count_in_training_and_in_validation(asked: dict[str, Any]) -> None:
    weights = {"yes": 3.0, "no": 1.0}
    estimator = TableClassifier(**SMALL, class_weight=weights)
    estimator.fit(TABLE[:100], LABELS[:100], X_val=TABLE[100:], y_val=LABELS[100:])
    assert asked["validation_data"][2].tolist() == [weights[label] for label in LABELS[100:]]
    given = 1.0 + np.arange(ROWS) % 3
    estimator.fit(TABLE[:99], LABELS[:99], given[:99])
    both = given[:99] * [weights[label] for label in LABELS[:99]]
    assert asked["sample_weight"].tolist() == both.tolist()
    estimator.fit(TABLE, LABELS)
    _, y, w = asked["validation_data"]
    assert w.tolist() == [3.0 if each else 1.0 for each in y]


def test_an_array_of_objects_may_hold_numbers_text_dates_and_nothing() -> None:
    X = np.empty((ROWS, 4), object)
    X[:, 0], X[:, 1] = TABLE["colour"], TABLE["width"]
    X[:, 2] = [datetime.date(2020, 1 + i % 12, 1) for i in range(ROWS)]
    X[:, 3] = TABLE["age"]
    X[0] = [pd.NA, None, pd.NaT, 5]
    fitted = TableClassifier(**SMALL).fit(X, LABELS)
    kinds = [kind for _, kind, _ in fitted.encoder_.report()]
    assert kinds == ["category", "number", "date", "number"]
    assert np.isfinite(fitted.predict_proba(X)).all()


class _Interrupt(Callback):
    def on_epoch_end(self, run: Any, epoch: int, logs: dict[str, float]) -> None:
        if epoch == 1:
            raise KeyboardInterrupt


def test_an_interrupt_keeps_what_was_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    options = Plain.options
    monkeypatch.setattr(
        Plain, "options",
        lambda self, *a, **given: options(self, *a, **given) | {"callbacks": [_Interrupt()]},
    )  # fmt: skip
    with pytest.warns(UserWarning, match="interrupted; what was learnt is kept") as told:
        fitted = TableClassifier(**SMALL | {"epochs": 50}).fit(TABLE, LABELS)
    assert told[0].filename == __file__
    assert len(fitted.history_.step_loss) == 2 * 5
    assert fitted.predict(TABLE).shape == (ROWS,)
    monkeypatch.setattr(base, "_standard", _raise_interrupt)
    before = dict(vars(fitted))
    with pytest.raises(KeyboardInterrupt):  # nothing has been learnt yet
        fitted.fit(TABLE, LABELS)
    assert vars(fitted) == before


def _raise_interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.filterwarnings("ignore:the loss of step")
def test_a_training_that_diverges_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    options = Plain.options
    monkeypatch.setattr(
        Plain, "options",
        lambda self, *a, **given: options(self, *a, **given) | {"on_divergence": "continue"},
    )  # fmt: skip
    estimator = TableRegressor(**SMALL | {"learning_rate": 1e30, "epochs": 20})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(InputError, match="diverged: try a smaller learning_rate"):
            estimator.fit(TABLE, VALUES)
    assert not hasattr(estimator, "history_")


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))])
def test_copies_predict_alike(copied: Any, classifier: TableClassifier) -> None:
    other = copied(classifier)
    assert np.array_equal(other.predict_proba(TABLE), classifier.predict_proba(TABLE))
    assert other.report() == classifier.report()


def test_it_is_an_estimator_among_others() -> None:
    estimator = TableClassifier(**SMALL, kinds={"member": "category"})
    assert clone(estimator).get_params() == estimator.get_params()
    search = GridSearchCV(estimator, {"hidden_layer_sizes": [(4,), (8,)]}, cv=2).fit(TABLE, LABELS)
    assert search.best_params_["hidden_layer_sizes"] in [(4,), (8,)]


def test_it_trains_on_another_device(fake_cupy: Any, classifier: TableClassifier) -> None:
    fitted = TableClassifier(**SMALL, device="cuda").fit(TABLE, LABELS)
    assert fitted.model_.device == "cuda:0"
    found = fitted.predict_proba(TABLE)
    assert type(found) is np.ndarray
    np.testing.assert_allclose(found, classifier.predict_proba(TABLE), atol=1e-4)


def test_what_it_tells_of_itself(classifier: TableClassifier) -> None:
    lines = classifier.report().splitlines()
    assert [line.split()[:2] for line in lines[:6]] == [
        ["age", "number"], ["colour", "category"], ["city", "category"], ["member", "boolean"],
        ["width", "number"], ["y", "target"],
    ]  # fmt: skip
    assert lines[7].startswith(f"preset plain: {classifier.model_.d_in}-8-1, ")
    assert lines[8].startswith("trained for 3 epochs in ")
    best = classifier.history_.best("val_accuracy")
    assert lines[9] == f"best epoch {best['epoch']}: val_accuracy {best['val_accuracy']:.4g}"
    named = TableRegressor(**SMALL).fit(TABLE, pd.Series(VALUES, name="price")).report()
    assert "price   target" in named
    assert "best epoch" in named
    assert "val_loss" in named


def test_scores_of_rows_not_trained_on(
    classifier: TableClassifier, regressor: TableRegressor
) -> None:
    found = classifier.evaluate(TABLE, LABELS)
    assert found["accuracy"].value == classifier.score(TABLE, LABELS)
    assert regressor.evaluate(TABLE, VALUES)["r2"].value == pytest.approx(
        regressor.score(TABLE, VALUES)
    )


def test_the_columns_that_count() -> None:
    fitted = TableRegressor(random_state=0, epochs=30).fit(TABLE, VALUES)
    found = fitted.importances(TABLE, VALUES)
    assert {each.column for each in found} == set(TABLE)
    assert {each.column for each in found[:2]} == {"width", "colour"}
    assert found[0].rise > 1.0


@pytest.mark.parametrize("name", ["encoder_", "model_", "preset_", "target_"])
def test_there_is_nothing_before_fit(name: str) -> None:
    with pytest.raises(AttributeError, match=f"TableClassifier has no {name} before fit"):
        getattr(TableClassifier(), name)
