"""Rows and labels of every kind, as the estimators take and return them."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from bundled import BOTH, LABELS, SMALL, XR, YR, X, Y
from sklearn import config_context
from sklearn.base import clone

from mlpx import MLP, MLPClassifier, MLPRegressor
from mlpx.errors import InputError, MlpxError
from mlpx.estimators.feeding import open_window
from mlpx.estimators.rows import SparseRows
from mlpx.kernels.losses import SoftmaxCrossEntropy
from mlpx.program.data import TrainingData

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def test_one_class() -> None:
    fitted = MLPClassifier(**SMALL).fit(X, np.full(len(Y), "only"))
    assert np.array_equal(fitted.predict_proba(X), np.ones((len(Y), 1)))
    assert set(fitted.predict(X)) == {"only"}
    assert not fitted.predict_log_proba(X).any()


@pytest.mark.parametrize(
    "y",
    [LABELS, LABELS.astype(object), Y == 1, Y * 10 - 5, Y.astype(float), LABELS.astype("U20")],
    ids=["text", "object", "bool", "numbers", "floats", "wide text"],
)
def test_labels_come_back_as_they_were_given(y: np.ndarray) -> None:
    fitted = MLPClassifier(**SMALL | {"max_iter": 150, "learning_rate_init": 0.02}).fit(X, y)
    found = fitted.predict(X)
    assert found.dtype == y.dtype
    assert np.mean(found == y) > 0.9
    assert np.array_equal(fitted.classes_, np.unique(y))
    assert fitted.predict_proba(X).shape == (len(y), len(fitted.classes_))


def test_several_labels_and_several_values() -> None:
    labels = np.stack([Y == 0, Y != 1], axis=1).astype(int)
    fitted = MLPClassifier(max_iter=150, random_state=0).fit(X, labels)
    assert np.mean(fitted.predict(X) == labels) > 0.9
    assert fitted.predict_proba(X).shape == labels.shape
    sparse = MLPClassifier(max_iter=150, random_state=0).fit(X, scipy.sparse.csr_array(labels))
    assert np.array_equal(sparse.predict(X), fitted.predict(X))
    values = np.stack([YR, -YR, 2 * YR], axis=1)
    several = MLPRegressor(max_iter=300, random_state=0).fit(XR, values)
    assert several.predict(XR).shape == values.shape
    assert several.score(XR, values) > 0.3


@pytest.mark.parametrize(
    "elements",
    [1 << 21, 240, 80],
    ids=["one window", "three windows", "a batch each"],
)
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_sparse_rows_are_as_dense_ones(
    solver: str, elements: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlpx.estimators.feeding.WINDOW_ELEMENTS", elements)
    x, options = X * (np.abs(X) > 0.5), SMALL | {"solver": solver, "batch_size": 20}
    fits = []
    for given in (x, scipy.sparse.csr_matrix(x), scipy.sparse.csr_array(x)):
        fits.append(MLPClassifier(**options).fit(given, Y))
    for other in fits[1:]:
        np.testing.assert_allclose(other.model_.flat, fits[0].model_.flat, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(other.predict_proba(x), fits[0].predict_proba(x))
        np.testing.assert_allclose(other.loss_curve_, fits[0].loss_curve_, rtol=1e-9)
    np.testing.assert_allclose(
        fits[1].predict_proba(scipy.sparse.csc_array(x)), fits[0].predict_proba(x), rtol=1e-6
    )


def test_a_window_has_whole_batches_and_no_more_than_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = SparseRows(scipy.sparse.csr_array(X), np.dtype(np.float32))
    source = TrainingData(rows, np.asarray(Y, np.int64), None)
    for elements, wanted in ((1 << 21, 160), (250, 60), (1, 20)):  # 150 rows of four columns
        monkeypatch.setattr("mlpx.estimators.feeding.WINDOW_ELEMENTS", elements)
        assert open_window(MLP([4, 3]), source, 20).room == wanted


@pytest.mark.parametrize("n", [60, 1500])
@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_sparse_rows_are_validated_as_dense_ones(kind: Any, n: int) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(n, 5)), np.arange(n) % 2
    fits = []
    for given in (x, scipy.sparse.csr_matrix(x)):
        stopping = kind(**{**SMALL, "early_stopping": True}).fit(given, y)
        validated = clone(stopping).set_params(early_stopping=False)
        validated.fit(given, y, X_val=given[: n - 7], y_val=y[: n - 7])
        fits.append((stopping, validated))
    for dense, sparse in zip(*fits, strict=True):
        np.testing.assert_allclose(sparse.model_.flat, dense.model_.flat, rtol=1e-12)
        np.testing.assert_allclose(
            sparse.validation_scores_, dense.validation_scores_, rtol=1e-12, atol=1e-12
        )


def test_sparse_rows_are_never_all_dense() -> None:
    n, d = 4000, 5000
    places = np.random.default_rng(0).integers(0, (n, d), (20_000, 2)).T
    x = scipy.sparse.csr_array((np.ones(20_000, np.float32), places), shape=(n, d))
    y = np.arange(n) % 2
    fitted = MLPClassifier((4,), max_iter=1, dtype="float32", random_state=0)
    tracemalloc.start()
    try:
        fitted.fit(x, y).predict(x)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 0.7 * 4 * n * d  # dense it would be 80 MB, and a copy as much again


def test_frames_have_names_that_are_checked() -> None:
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    names = ["a", "b", "c", "d"]
    for library in (pandas, polars):
        frame = library.DataFrame({name: X[:, i] for i, name in enumerate(names)})
        fitted = MLPClassifier(**SMALL).fit(frame, library.Series(LABELS.tolist()))
        assert list(fitted.feature_names_in_) == names
        fitted.predict(frame)
        with pytest.raises(ValueError, match="feature names"):
            fitted.predict(frame[["b", "a", "c", "d"]])
        with pytest.warns(UserWarning, match="valid feature names"):
            fitted.predict(X)


def test_arrays_of_a_device_stay_there(fake_cupy: Any) -> None:
    """Also if some rows are held out, and rows of weight zero are left out."""
    x, w = fake_cupy.asarray(X), (np.arange(len(Y)) % 5 == 0) * 1.0
    options = SMALL | {"early_stopping": True, "batch_size": 3, "max_iter": 2}
    given = fake_cupy.asarray(Y), fake_cupy.asarray(w)
    fitted = MLPClassifier(**options, device="cuda").fit(x, *given)
    found = fitted.predict_proba(x)
    assert type(found) is type(x)
    assert type(fitted.predict(x)) is type(x)
    assert fitted.score(x, fake_cupy.asarray(Y)) == np.mean(fitted.predict(x).get() == Y)
    wanted = MLPClassifier(**options).fit(X, Y, w)
    np.testing.assert_allclose(found.get(), wanted.predict_proba(X), rtol=1e-6)
    np.testing.assert_allclose(fitted.loss_curve_, wanted.loss_curve_, rtol=1e-6)


@pytest.mark.parametrize("y", [Y, Y == 1, Y * 2.0, Y.astype("uint8"), LABELS])
def test_classes_of_a_device_are_named_there_if_it_can(y: np.ndarray, fake_cupy: Any) -> None:
    x = fake_cupy.asarray(X)
    fitted = MLPClassifier((), max_iter=1, random_state=0, device="cuda").fit(x, y)
    found, wanted = fitted.predict(x), fitted.predict(X)
    assert (type(found), type(wanted)) == (type(x) if y is not LABELS else np.ndarray, np.ndarray)
    assert found.dtype == wanted.dtype == y.dtype
    assert found.tolist() == wanted.tolist()
    assert set(wanted) <= set(y)


def test_values_of_a_device_are_learnt_and_scored(fake_cupy: Any) -> None:
    x, y = fake_cupy.asarray(XR), fake_cupy.asarray(YR)
    found = MLPRegressor(**SMALL, device="cuda").fit(x, y)
    wanted = MLPRegressor(**SMALL).fit(XR, YR)
    np.testing.assert_allclose(found.loss_curve_, wanted.loss_curve_, rtol=1e-12)
    assert found.score(x, y) == pytest.approx(wanted.score(XR, YR), rel=1e-12)


def test_arrays_of_a_device_of_another_shape_are_refused(fake_cupy: Any) -> None:
    x, y = fake_cupy.asarray(X), fake_cupy.asarray(Y)
    fitted = MLPClassifier(**SMALL, device="cuda").fit(x, y)
    with pytest.raises(ValueError, match=r"X.shape = \(4,\); wanted \(n, columns\): reshape"):
        fitted.predict(x[0])
    with pytest.raises(ValueError, match="X has 3 features, but MLPClassifier is expecting 4"):
        fitted.predict(x[:, :3])


@pytest.mark.xdist_group("peers")
def test_tensors_come_back_as_tensors() -> None:
    torch = pytest.importorskip("torch", reason="no GPU stack: PyTorch is not installed")
    fitted = MLPClassifier(**SMALL).fit(torch.from_numpy(X), torch.from_numpy(Y))
    assert isinstance(fitted.predict_proba(torch.from_numpy(X)), torch.Tensor)


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize("form", [np.asarray, scipy.sparse.csr_matrix])
def test_nan_that_scikit_learn_assumes_away_undoes_no_training(kind: Any, form: Any) -> None:
    model = kind(**SMALL).fit(X, Y)
    before, bad = model.model_.flat.copy(), X.copy()
    bad[3, 1] = np.nan
    with config_context(assume_finite=True):
        for learn in (model.partial_fit, clone(model).fit):
            with pytest.raises(ValueError, match="X has nan at row"):
                learn(form(bad), Y)
    np.testing.assert_array_equal(model.model_.flat, before)


def test_rows_of_the_ignored_label_alone_are_refused() -> None:
    loss = SoftmaxCrossEntropy(ignore_label=1)
    model = MLPClassifier(**SMALL, loss=loss).partial_fit(X, Y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="ignore_label = 1 in every row"):
        model.partial_fit(X[Y == 1], Y[Y == 1])


def test_labels_beyond_the_known_are_refused_by_partial_fit() -> None:
    model = MLPClassifier(**SMALL).partial_fit(X, Y, classes=[0, 1, 2])
    for unknown in (-1, 3):
        with pytest.raises(ValueError, match=r"the classes that were learnt are \[0 1 2\]"):
            model.partial_fit(X, np.where(Y == 1, unknown, Y))
    assert model.t_ == len(X)
    several = MLPClassifier(**SMALL).partial_fit(X, BOTH, classes=[0, 1])
    for y in (np.hstack([BOTH, BOTH]), BOTH[:, 0]):
        with pytest.raises(ValueError, match=r"y.shape = .*; wanted \(n, 2\) labels"):
            several.partial_fit(X, y)
    with pytest.raises(ValueError, match=r"y.shape = \(150, 2\); this model has one class a row"):
        model.partial_fit(X, BOTH)


@pytest.mark.parametrize(
    ("y", "told"),
    [(np.stack([Y, 2 - Y], axis=1), "several columns of more than two classes"),
     (np.array(["a", 1] * 75, object), "labels that cannot be sorted: '<' not .* make all of them"),
     (np.array([b"a", b"b"] * 75), "labels that cannot be sorted: .*bytes")],
    ids=["several columns", "mixed", "bytes"],
)  # fmt: skip
def test_labels_that_are_none_are_refused(y: np.ndarray, told: str) -> None:
    with pytest.raises(MlpxError, match=f"^y .*{told}"):
        MLPClassifier(**SMALL).fit(X, y)


def test_values_are_a_column_or_several_as_many_as_were_learnt() -> None:
    model = MLPRegressor(**SMALL).fit(XR, YR)
    with pytest.raises(InputError, match=r"y.shape = \(\); wanted \(n,\) or \(n, columns\)"):
        model.fit(XR, 3.0)
    with pytest.raises(InputError, match="y has 2 columns; this model was fitted to 1"):
        model.partial_fit(XR, np.stack([YR, YR], axis=1))
