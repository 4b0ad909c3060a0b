"""The estimators' additional parameters, and invalid values."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
from bundled import BOTH, LABELS, SMALL, XR, YR, X, Y
from sklearn.exceptions import ConvergenceWarning, NotFittedError

from mlpx import Callback, Dense, Dropout, MLPClassifier, MLPRegressor
from mlpx.errors import InputError
from mlpx.estimators import settings
from mlpx.kernels.losses import BinaryCrossEntropy, Focal, Quantile
from mlpx.optimizers import LBFGS, AdamW
from mlpx.schedules import Schedule

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def test_training_runs_on_the_fastest_engine() -> None:
    fitted = MLPClassifier(**SMALL).fit(X, Y)
    assert fitted.history_.engine == fitted.model_.engine
    assert fitted.history_.engine in ("native", "interpreter")
    if fitted.history_.engine == "interpreter":
        assert "not built" in fitted.history_.engine_reason


@pytest.mark.parametrize("solver", ["adam", "sgd", "lamb"])
@pytest.mark.parametrize("extra", [{}, {"dropout": 0.3}, {"learning_rate": "cosine"}])
def test_warm_start_is_exact(solver: str, extra: dict[str, Any]) -> None:
    """5 and 5 epochs are 10, bit for bit."""
    options = {"hidden_layer_sizes": (9,), "solver": solver, "random_state": 3, "tol": 0.0, **extra}
    if extra.get("learning_rate") == "cosine":
        options["learning_rate"] = Schedule.table["cosine"](1e-3, steps=50)
    whole = MLPClassifier(max_iter=10, **options).fit(X, Y)
    parts = MLPClassifier(max_iter=5, warm_start=True, **options).fit(X, Y).fit(X, Y)
    assert np.array_equal(whole.model_.flat, parts.model_.flat)
    assert whole.loss_curve_ == parts.loss_curve_


def test_partial_fit_is_one_epoch() -> None:
    one = MLPClassifier(**SMALL | {"shuffle": False, "batch_size": 150})
    for _ in range(5):
        one.partial_fit(X, Y, classes=np.arange(3))
    other = MLPClassifier(**SMALL | {"shuffle": False, "batch_size": 150}).fit(X, Y)
    np.testing.assert_allclose(one.model_.flat, other.model_.flat)
    assert not hasattr(MLPClassifier(solver="lbfgs"), "partial_fit")


def test_the_first_part_names_the_classes_and_those_after_it_no_others() -> None:
    model = MLPClassifier(**SMALL)
    with pytest.raises(InputError, match="classes is missing; the first call"):
        model.partial_fit(X, Y)
    model.partial_fit(X, Y, classes=[0, 1, 2]).partial_fit(X, Y)
    assert model.t_ == 2 * len(X)
    with pytest.raises(InputError, match=r"classes = \[0, 1\]; the first call .* had array"):
        model.partial_fit(X, Y, classes=[0, 1])


def test_a_loss_is_over_what_is_learnt() -> None:
    with pytest.raises(InputError, match="is over classes; wanted one over several labels a row"):
        MLPClassifier(**SMALL, loss="softmax_cross_entropy").fit(X, BOTH)
    with pytest.raises(InputError, match="loss = 'focal' is over classes; wanted one over values"):
        MLPRegressor("focal").fit(XR, YR)


def test_yes_or_no_of_each_class_is_each_class_against_the_rest() -> None:
    loss = BinaryCrossEntropy(reduction="sum")  # that of several labels
    one = MLPClassifier(**SMALL, loss=loss).fit(X, LABELS)
    other = MLPClassifier(**SMALL).fit(X, np.eye(3, dtype=int)[Y])
    assert np.array_equal(one.model_.flat, other.model_.flat)
    assert np.array_equal(one.predict(X), one.classes_[other.predict_proba(X).argmax(axis=1)])
    assert one.score(X, LABELS) == np.mean(one.predict(X) == LABELS)


def test_our_parts() -> None:
    fitted = MLPClassifier(
        (12, 9), ["gelu", "tanh"], dropout=[0.2, 0.0], solver=AdamW(3e-3, weight_decay=0.1),
        loss=Focal(gamma=1.0), learning_rate=Schedule.table["cosine"](0.02), max_iter=100,
        random_state=0,
    ).fit(X, Y)  # fmt: skip
    kinds = [type(layer) for layer in fitted.model_.layers]
    assert kinds == [Dense, Dropout, Dense, Dense]
    assert fitted.model_.loss == Focal(gamma=1.0)
    assert fitted.score(X, Y) > 0.9
    both = Quantile((0.1, 0.9))
    quantiles = MLPRegressor(both, max_iter=200, random_state=0).fit(XR, YR)
    low, high = quantiles.predict(XR).T
    assert 0.6 < np.mean((low < YR) & (high > YR)) <= 1
    assert MLPClassifier(solver=LBFGS(), **{**SMALL, "max_iter": 50}).fit(X, Y).score(X, Y) > 0.9


@pytest.mark.parametrize(
    ("given", "told"),
    [({"solver": "adma"}, "adma"), ({"activation": "rlu"}, "rlu"), ({"loss": "mse2"}, "mse2"),
     ({"early_stopping_metric": "acc", "early_stopping": True}, "acc"),
     ({"dropout": [0.1, 0.2]}, "2 entries for 1 hidden"), ({"dropout": 1.5}, "rate = 1.5"),
     ({"device": "gpu7"}, "gpu7"), ({"dtype": "int8"}, "int8"), ({"n_threads": 0}, "n_threads"),
     ({"n_threads": 10**18}, "n_threads"),
     ({"class_weight": "even"}, "class_weight = 'even'"), ({"alpha": -1}, "alpha = -1"),
     ({"batch_size": "all"}, "batch_size = 'all'"),
     ({"hidden_layer_sizes": ""}, "hidden_layer_sizes = ''"),
     ({"hidden_layer_sizes": (8, 0)}, r"hidden_layer_sizes = \(8, 0\); wanted .* from 1"),
     ({"loss": "huber"}, "loss = 'huber' is over values; wanted one over classes")],
)  # fmt: skip
def test_parameters_that_mean_nothing_are_named(given: dict[str, Any], told: str) -> None:
    with pytest.raises((ValueError, TypeError), match=told):
        MLPClassifier(**SMALL | given).fit(X, Y)


@pytest.mark.parametrize("name", settings.RANGES)
def test_ranges_have_the_ends_that_they_say(name: str) -> None:
    *ends, brackets = settings.RANGES[name]
    for end, bracket in zip(ends, brackets, strict=True):
        with nullcontext() if bracket in "[]" else pytest.raises(InputError, match=name):
            settings.check(MLPClassifier(**{name: end}))


def test_a_batch_of_more_rows_than_there_are_is_clipped() -> None:
    options = SMALL | {"hidden_layer_sizes": 8}
    whole = MLPClassifier(**options, batch_size=len(X)).fit(X, Y)
    with pytest.warns(UserWarning, match="batch_size = 151 is larger than the 150 rows") as said:
        more = MLPClassifier(**options, batch_size=len(X) + 1).fit(X, Y)
    assert more.loss_curve_ == whole.loss_curve_
    assert [warning.category for warning in said] == [UserWarning, ConvergenceWarning]
    assert [warning.filename for warning in said] == [__file__, __file__]
    assert MLPClassifier(**options).fit(X[:50], Y[:50]).n_iter_ == 5  # "auto" says nothing


def test_a_keyword_that_means_something_elsewhere() -> None:
    for action, told in (
        (lambda: MLPRegressor(epochs=3), r"MLPRegressor\(\) has .*; did you mean max_iter\?"),
        (lambda: MLPClassifier(lr=1), r"did you mean learning_rate_init\?"),
        (lambda: MLPClassifier().fit(X, Y, weights=Y), r"did you mean sample_weight\?"),
        (lambda: MLPRegressor().partial_fit(X, Y, weight=Y), r"did you mean sample_weight\?"),
        (lambda: MLPClassifier().fit(X, Y, validation_data=(X, Y)), r"did you mean X_val\?"),
        (lambda: MLPRegressor((16,)).fit(X, Y), r"did you mean hidden_layer_sizes=\(16,\)\?"),
        (lambda: MLPRegressor(16).fit(X, Y), r"did you mean hidden_layer_sizes=16\?"),
    ):
        with pytest.raises(TypeError, match=told):
            action()


def test_own_validation_data_and_metric() -> None:
    options = {"max_iter": 40, "random_state": 0, "n_iter_no_change": 5}
    held = np.arange(len(Y)) % 3 == 0
    fitted = MLPClassifier(
        **options, early_stopping=True, early_stopping_metric="f1_macro", learning_rate_init=0.01
    ).fit(X[~held], LABELS[~held], X_val=X[held], y_val=LABELS[held])
    assert len(fitted.validation_loss_curve_) == fitted.n_iter_ == len(fitted.validation_scores_)
    assert fitted.best_validation_score_ == max(fitted.validation_scores_)
    from sklearn.metrics import f1_score

    again = f1_score(LABELS[held], fitted.predict(X[held]), average="macro")
    assert again == pytest.approx(fitted.best_validation_score_)  # the best epoch was put back
    watched = MLPClassifier(**options).fit(X[~held], Y[~held], X_val=X[held], y_val=Y[held])
    assert len(watched.validation_loss_curve_) == 40  # watched, not obeyed
    followed = MLPClassifier(**options, early_stopping=True, early_stopping_metric="loss")
    followed.fit(X[~held], Y[~held], X_val=X[held], y_val=Y[held])
    assert followed.validation_scores_ == [-loss for loss in followed.validation_loss_curve_]
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        MLPClassifier(**options).fit(X, Y, X_val=X[:5], y_val=Y[:4])
    with pytest.raises(ValueError, match="X_val and y_val belong together"):
        MLPClassifier().fit(X, Y, X_val=X)


def test_callbacks_and_progress(capsys: pytest.CaptureFixture[str]) -> None:
    class Stop(Callback):
        def on_epoch_end(self, run: Any, epoch: int, logs: Any) -> None:
            if epoch == 2:
                run.stop("enough")

    fitted = MLPClassifier(**SMALL | {"callbacks": [Stop()], "verbose": True}).fit(X, Y)
    assert fitted.n_iter_ == 3
    assert "Iteration 3, loss = " in capsys.readouterr().out


def test_before_fit_everything_says_so() -> None:
    for call in ("predict", "predict_proba", "predict_log_proba"):
        with pytest.raises(NotFittedError):
            getattr(MLPClassifier(), call)(X)
    with pytest.raises(AttributeError, match="before fit"):
        _ = MLPClassifier().coefs_


def test_divergence_is_refused() -> None:
    wild = MLPRegressor(solver="sgd", learning_rate_init=1e10, max_iter=50)
    with pytest.raises(ValueError, match="non-finite"), pytest.warns(RuntimeWarning):
        wild.fit(XR * 1e150, YR)


@pytest.mark.parametrize(
    ("name", "fine", "alike"),
    [("beta_1", 0.0, False), ("max_iter", 1, True), ("max_iter", 1, 1.0), ("shuffle", True, 1),
     ("hidden_layer_sizes", (1,), (True,)), ("hidden_layer_sizes", (1,), (1.0,))],
)  # fmt: skip
def test_what_equals_a_parameter_that_was_fine_is_refused(name: str, fine: Any, alike: Any) -> None:
    MLPClassifier(**{**SMALL, name: fine}).fit(X, Y)
    with pytest.raises(TypeError, match=name):
        MLPClassifier(**{**SMALL, name: alike}).fit(X, Y)


@pytest.mark.parametrize("name", ["hidden_layer_sizes", "activation", "dropout"])
def test_a_parameter_that_is_changed_in_place_is_seen(name: str) -> None:
    values: dict[str, Any] = {
        "hidden_layer_sizes": [8], "activation": ["relu"], "dropout": [0.0]
    }  # fmt: skip
    model = MLPClassifier(**values, max_iter=1, random_state=0).fit(X, Y)
    other = {"hidden_layer_sizes": 9, "activation": "tanh", "dropout": 0.5}[name]
    values[name][0] = other
    wanted = MLPClassifier(**values, max_iter=1, random_state=0).fit(X, Y)
    assert model.fit(X, Y).model_.layers == wanted.model_.layers
    np.testing.assert_array_equal(model.predict_proba(X), wanted.predict_proba(X))
