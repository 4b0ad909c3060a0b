"""Invalid input of `fit` and its kin: helpful errors, and nothing is changed."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlpx import MLP, SGD, CSVLog, EarlyStopping
from mlpx.errors import (
    EngineError,
    InputError,
    InputTypeError,
    MlpxError,
    UnknownNameError,
    UnknownOptionError,
)

N, D, K = 12, 4, 3
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, D)).astype(np.float32)
Y = np.arange(N) % K
T = RNG.normal(size=N)


def trained(loss: str = "softmax_cross_entropy", **options: Any) -> MLP:
    """A small trained model, so that a change of its training state would show."""
    k = K if loss == "softmax_cross_entropy" else 1
    model = MLP([D, 5, k], loss=loss, **options)
    model.fit(X, Y if k == K else T, epochs=1, optimizer="adam", verbose=0, batch_size=5)
    return model


def bits(model: MLP) -> bytes:
    state = model.training_state
    assert state is not None
    moments = {name: moment.tobytes() for name, moment in state.moments.items()}
    counts = (state.step, state.epoch, state.position, state.pace, state.optimizer)
    engine = (model.engine, model.engine_reason)
    return pickle.dumps((model.flat.tobytes(), moments, counts, engine))


def refused(model: MLP, kind: type[Exception], words: str, action: Callable[[], Any]) -> None:
    before = bits(model)
    with pytest.raises(kind, match=words) as caught:
        action()
    assert isinstance(caught.value, MlpxError)
    assert bits(model) == before


def with_value(array: np.ndarray, value: float, *where: int) -> np.ndarray:
    changed = array.copy()
    changed[where] = value
    return changed


class Sparse:
    """Like a SciPy sparse matrix: it has `nnz`."""

    nnz, shape, dtype = 3, (N, D), np.dtype("float64")

    def toarray(self) -> np.ndarray:
        return X


BIG = 3.4028e39
BAD_X: dict[str, tuple[Any, type[Exception], str]] = {
    "object": (X.astype(object), InputTypeError, r"x is not usable: .*object"),
    "strings": (X.astype(str), InputTypeError, r"x is not usable: .*string"),
    "list of strings": ([["a"] * D] * N, InputTypeError, "string"),
    "complex": (X.astype(complex), InputTypeError, "x has dtype complex128; wanted float16"),
    "longdouble": (X.astype(np.longdouble), InputTypeError, "x has dtype .*; wanted float16"),
    "dates": (np.zeros((N, D), "M8[s]"), InputTypeError, "date"),
    "sparse": (Sparse(), InputTypeError, r"Sparse is sparse; .*x.toarray\(\)"),
    "ragged list": ([[1, 2], [1]], InputError, "x is not usable: no array"),
    "none": (None, InputTypeError, "x is not usable: NoneType is not an array"),
    "string": ("x.npy", InputTypeError, "x is not usable: str is not an array"),
    "number": (3.0, InputTypeError, "x is not usable: float is not an array"),
    "width": (X[:, :3], InputError, r"x has 3 columns; .* built for 4 \(x.shape = \(12, 3\)\)"),
    "1-D": (X[0], InputError, r"x is one-dimensional, x.shape = \(4,\); wanted \(n, 4\): use x.r"),
    "0-D": (np.float32(1), InputError, r"x.shape = \(\); wanted \(n, 4\)"),
    "images": (X.reshape(N, 2, 2), InputError, r"\(12, 2, 2\); wanted .*x.reshape\(len\(x\), -1\)"),
    "masked": (
        np.ma.masked_array(X, mask=with_value(np.zeros((N, D), bool), True, 3, 1)), InputError,
        "x is a masked array and 1 of its 48 entries are masked, the first at row 3, column 1",
    ),
    "nan": (with_value(X, np.nan, 3, 1), InputError, "x has nan at row 3, column 1; wanted"),
    "inf": (with_value(X, -np.inf, 0, 2), InputError, "x has -inf at row 0, column 2"),
    "half nan": (with_value(X.astype("f2"), np.nan, 5, 0), InputError, "nan at row 5, column 0"),
    "half inf": (with_value(X.astype("f2"), np.inf, 5, 0), InputError, "inf at row 5, column 0"),
    "range": (
        with_value(X.astype(float), BIG, 2, 3), InputError,
        r"x has 3.4028e\+39 at row 2, column 3, beyond float32's range .*dtype float64",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_X)
class TestBadX:
    def test_fit(self, case: str) -> None:
        x, kind, words = BAD_X[case]
        model = trained()
        refused(model, kind, words, lambda: model.fit(x, Y, verbose=0))

    def test_validation(self, case: str) -> None:
        x, kind, words = BAD_X[case]
        model = trained()
        words = "validation x" if words.startswith("x") else words
        words = words.replace("x.reshape", "validation x.reshape").replace(
            r"\(x\)", r"\(valid.* x\)"
        )
        data = (x, Y)
        refused(model, kind, words, lambda: model.fit(X, Y, validation_data=data, verbose=0))

    @pytest.mark.parametrize("method", ["predict", "predict_proba", "predict_logits"])
    def test_predict(self, case: str, method: str) -> None:
        x, kind, words = BAD_X[case]
        model = trained()
        refused(model, kind, words, lambda: getattr(model, method)(x))

    def test_evaluate(self, case: str) -> None:
        x, kind, words = BAD_X[case]
        model = trained()
        refused(model, kind, words, lambda: model.evaluate(x, Y))


def test_no_rows_are_nothing_to_learn_from_or_to_score() -> None:
    model = trained()
    words = r"x is empty, x.shape = \(0, 4\)"
    refused(model, InputError, words, lambda: model.fit(X[:0], Y[:0], verbose=0))
    refused(model, InputError, words, lambda: model.evaluate(X[:0], Y[:0]))
    data, words = (X[:0], Y[:0]), r"validation x is empty"
    refused(model, InputError, words, lambda: model.fit(X, Y, validation_data=data, verbose=0))


def test_only_what_can_be_left_out_says_so() -> None:
    model, bad = trained(), with_value(X, np.nan, 3, 1)
    leave_out = r"row 3, column 1; .* \(check_finite=False skips this check\)$"
    refused(model, InputError, leave_out, lambda: model.fit(bad, Y, verbose=0))
    refused(model, InputError, "wanted finite numbers$", lambda: model.predict(bad))
    refused(model, InputError, "wanted finite numbers$", lambda: model.evaluate(bad, Y))
    w = with_value(np.ones(N), np.nan, 2)
    refused(
        model, InputError, "finite numbers$", lambda: model.fit(X, Y, sample_weight=w, verbose=0)
    )


def test_where_is_right_beyond_the_first_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlpx.inputs.arrays.CHUNK_ELEMENTS", 2 * D)
    for row in range(N):
        with pytest.raises(InputError, match=f"nan at row {row}, column 2;"):
            MLP([D, K]).fit(with_value(X, np.nan, row, 2), Y)


ONE_HOT = np.eye(K)[Y]
BAD_LABELS: dict[str, tuple[Any, type[Exception], str]] = {
    "too large": (with_value(Y, K, 4), InputError, r"y has label 3 at row 4; .*3 classes, .*\[0"),
    "negative": (with_value(Y, -1, 5), InputError, r"y has label -1 at row 5"),
    "fraction": (with_value(Y * 1.0, 0.5, 6), InputError, "y has 0.5 at row 6; .*whole numbers"),
    "nan": (with_value(Y * 1.0, np.nan, 7), InputError, "y has nan at row 7"),
    "inf": (with_value(Y * 1.0, np.inf, 7), InputError, "y has label inf at row 7"),
    "short": (Y[:-1], InputError, r"y.shape = \(11,\); wanted 12 rows"),
    "empty": (Y[:0], InputError, r"y.shape = \(0,\); wanted 12 rows"),
    "wide": (np.zeros((N, 5)), InputError, r"y.shape = \(12, 5\); wanted \(12,\) labels or \(12"),
    "deep": (np.zeros((N, K, 1)), InputError, r"y.shape = \(12, 3, 1\)"),
    "strings": (np.array(["cat"] * N), InputTypeError, "y is not usable: .*string"),
    "advice": (["cat"] * N, InputTypeError, r"numpy.unique\(y, .*classes\[.*MLPClassifier takes"),
    "huge": (np.full(N, 2**63, np.uint64), InputError, "y has label 9.22337e.18 at row 0; .* 3 cl"),
    "masked": (np.ma.masked_array(Y, mask=Y == 2), InputError, "y is a masked array and 4 of its"),
    "none": (None, InputTypeError, "y is not usable: NoneType"),
    "number": (1, InputTypeError, "y is not usable: int is not an array"),
    "complex": (Y + 0j, InputTypeError, "y has dtype complex128"),
    "soft sum": (ONE_HOT * 0.9, InputError, "y row 0 is .*sum to 1"),
    "soft negative": (with_value(with_value(ONE_HOT, -1, 0, 1), 2, 0, 0), InputError, "not be neg"),
    "soft nan": (with_value(ONE_HOT, np.nan, 2, 1), InputError, "y has nan at row 2, column 1"),
}  # fmt: skip
BAD_VALUES: dict[str, tuple[Any, type[Exception], str]] = {
    "nan": (with_value(T, np.nan, 3), InputError, "y has nan at row 3"),
    "inf": (with_value(T, np.inf, 3), InputError, "y has inf at row 3"),
    "range": (with_value(T, BIG, 3), InputError, "at row 3, .*beyond float32's range"),
    "short": (T[:-1], InputError, r"y.shape = \(11,\); wanted 12 rows"),
    "wide": (np.zeros((N, 2)), InputError, r"y.shape = \(12, 2\); wanted .*\(12, 1\)"),
    "row": (T[None, :], InputError, r"y.shape = \(1, 12\); wanted 12 rows"),
}
BAD_WEIGHTS: dict[str, tuple[Any, type[Exception], str]] = {
    "short": (np.ones(N - 1), InputError, r"sample_weight.shape = \(11,\); wanted \(12,\)"),
    "wide": (np.ones((N, 2)), InputError, r"sample_weight.shape = \(12, 2\)"),
    "nan": (with_value(np.ones(N), np.nan, 2), InputError, "sample_weight has nan at row 2"),
    "inf": (with_value(np.ones(N), np.inf, 2), InputError, "sample_weight has inf at row 2"),
    "negative": (with_value(np.ones(N), -2, 3), InputError, "sample_weight has -2 at row 3"),
    "zeros": (np.zeros(N), InputError, "sample_weight is zero for every row"),
    "strings": (["a"] * N, InputTypeError, "sample_weight is not usable"),
    "objects": ([None] * N, InputTypeError, "sample_weight is not usable"),
    "complex": (np.ones(N, complex), InputTypeError, "sample_weight has dtype complex128"),
    "one number": (2.0, InputTypeError, "sample_weight is not usable: float is not an array"),
    "masked": (
        np.ma.masked_array(np.ones(N), mask=Y == 2), InputError, "sample_weight is a masked array",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_LABELS)
def test_bad_labels(case: str) -> None:
    y, kind, words = BAD_LABELS[case]
    model = trained()
    refused(model, kind, words, lambda: model.fit(X, y, verbose=0))
    refused(model, kind, words, lambda: model.fit(X, Y, validation_data=(X, y), verbose=0))
    refused(model, kind, words, lambda: model.evaluate(X, y))


@pytest.mark.parametrize("case", BAD_VALUES)
def test_bad_values(case: str) -> None:
    y, kind, words = BAD_VALUES[case]
    model = trained("mean_squared_error")
    refused(model, kind, words, lambda: model.fit(X, y, verbose=0))
    refused(model, kind, words, lambda: model.evaluate(X, y))


@pytest.mark.parametrize("case", BAD_WEIGHTS)
def test_bad_weights(case: str) -> None:
    w, kind, words = BAD_WEIGHTS[case]
    model = trained()
    refused(model, kind, words, lambda: model.fit(X, Y, sample_weight=w, verbose=0))
    refused(model, kind, words, lambda: model.evaluate(X, Y, sample_weight=w))
    refused(
        model, kind, "validation " + words,
        lambda: model.fit(X, Y, validation_data=(X, Y, w), verbose=0),
    )  # fmt: skip


BAD_OPTIONS: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "batch 0": ({"batch_size": 0}, InputError, "batch_size = 0; it must be at least 1"),
    "batch -1": ({"batch_size": -1}, InputError, "batch_size = -1"),
    "batch 2.5": ({"batch_size": 2.5}, InputTypeError, "batch_size = 2.5 is a float"),
    "batch True": ({"batch_size": True}, InputTypeError, "batch_size = True is a bool"),
    "epochs -1": ({"epochs": -1}, InputError, "epochs = -1; it must be at least 0"),
    "epochs 1.5": ({"epochs": 1.5}, InputTypeError, "epochs = 1.5"),
    "steps 0": ({"steps": 0}, InputError, "steps = 0; it must be at least 1"),
    "both": ({"epochs": 2, "steps": 3}, InputError, "epochs = 2 and steps = 3; give one"),
    "optimizer": ({"optimizer": "adm"}, UnknownNameError, "'adm' .*optimizer; did you mean 'adam'"),
    "optimizer kind": ({"optimizer": 3}, InputTypeError, "optimizer is 3, a int"),
    "rate": ({"learning_rate": -0.1}, InputError, "learning_rate = -0.1; it must be in"),
    "rate nan": ({"learning_rate": float("nan")}, InputError, "learning_rate = nan"),
    "rate word": ({"learning_rate": "fast"}, InputTypeError, "learning_rate = 'fast' is a str"),
    "sampling": ({"sampling": "shufle"}, UnknownNameError, "did you mean 'shuffle'"),
    "metric": ({"metrics": ["acuracy"]}, UnknownNameError, "metric; did you mean 'accuracy'"),
    "engine": ({"engine": "interpretr"}, UnknownNameError, "engine; did you mean 'interpreter'"),
    "verbose": ({"verbose": 7}, InputError, "verbose = 7; it must be 0"),
    "callback": ({"callbacks": [3]}, InputTypeError, "callbacks holds 3, which is not a callback"),
    "callback class": ({"callbacks": [EarlyStopping]}, InputTypeError, "not a callback"),
    "callbacks": ({"callbacks": 3}, InputTypeError, "callbacks is 3; wanted a list"),
    "validation": ({"validation_data": X}, InputError, r"validation_data is ndarray; wanted \(x,"),
    "validation 1": ({"validation_data": (X,)}, InputError, "validation_data is tuple"),
    "split": ({"validation_split": 1.0}, InputError, r"validation_split = 1.0; .* in \[0, 1\)"),
    "split kind": ({"validation_split": True}, InputTypeError, "validation_split = True is a bool"),
    "split of none": ({"validation_split": 0.02}, InputError, "0.02 of 12 rows is 0; leave some"),
    "split of all": ({"validation_split": 0.98}, InputError, "0.98 of 12 rows is 12; leave some"),
    "two validations": (
        {"validation_split": 0.2, "validation_data": (X, Y)}, InputError,
        "validation_split = 0.2 and validation_data; give one of them",
    ),
    "split weights": (
        {"validation_split": 0.25, "sample_weight": np.eye(N)[0]}, InputError,
        "validation sample_weight is zero for every row",
    ),
    "shuffle": (
        {"shuffle": False, "sampling": "shuffle"}, InputError,
        "sampling = 'shuffle' and shuffle = False; give one of them",
    ),
    "shuffle kind": ({"shuffle": 1}, InputTypeError, "shuffle = 1 is a int"),
    "unknown": ({"epoch": 3}, UnknownOptionError, r"no option 'epoch'; did you mean epochs\? it"),
    "max_iter": ({"max_iter": 3}, UnknownOptionError, r"did you mean epochs\?"),
    "lr": ({"lr": 3}, UnknownOptionError, r"did you mean learning_rate\?"),
    "val_split": ({"val_split": 0.2}, UnknownOptionError, r"did you mean validation_split\?"),
    "eval_set": ({"eval_set": 0.2}, UnknownOptionError, r"did you mean validation_data\?"),
    "n_jobs": ({"n_jobs": 2}, UnknownOptionError, r"did you mean threads\?"),
    "misspelt": ({"batchsize": 2}, UnknownOptionError, r"did you mean batch_size\?"),
    "nonsense": ({"zzzz": 2}, UnknownOptionError, r"'zzzz'; it has: batch_size, callbacks, "),
    "monitor": ({"callbacks": [EarlyStopping()]}, InputError, "'val_loss'.*pass validation_data"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_OPTIONS)
def test_bad_options(case: str) -> None:
    options, kind, words = BAD_OPTIONS[case]
    model = trained()
    refused(model, kind, words, lambda: model.fit(X, Y, **{"verbose": 0} | options))


def test_unknown_keywords_elsewhere() -> None:
    model = trained()
    for action, told in (
        (lambda: MLP([D, K], random_state=1), r"MLP\(\) has .*'random_state'; did you mean seed\?"),
        (lambda: model.predict(X, batch=1), r"MLP.predict\(\) .*; did you mean batch_size\?"),
        (lambda: model.evaluate(X, Y, weights=Y), r"evaluate\(\) .* did you mean sample_weight\?"),
        (lambda: model.profile(X, Y, stepz=1), r"profile\(\) .*; did you mean steps\?"),
        (lambda: MLP.load("x", devise="cpu"), r"load\(\) .*'devise'; did you mean device\?"),
        (lambda: EarlyStopping(min_delta=1), r"EarlyStopping\(\) .* did you mean min_change\?"),
    ):
        refused(model, UnknownOptionError, told, action)
    assert str(inspect.signature(model.predict)).startswith("(x: 'Any', *, batch_size")


def test_files_of_other_callbacks_survive_a_refusal(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("precious")
    model = trained()
    watchers = [CSVLog(path), EarlyStopping("val_loss")]
    refused(model, InputError, "monitor", lambda: model.fit(X, Y, callbacks=watchers, verbose=0))
    assert path.read_text() == "precious"


def test_engine_that_refuses_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    from mlpx.engines import Interpreter, RefusedError

    def refuse(*_: Any) -> None:
        raise RefusedError("it is Sunday")

    monkeypatch.setattr(Interpreter, "_runner", refuse)
    model = MLP([D, K])
    with pytest.raises(EngineError, match="engine='interpreter' cannot run this: it is Sunday"):
        model.fit(X, Y, engine="interpreter", verbose=0)
    assert model.training_state is None


@pytest.mark.parametrize("size", [0, 2.5, True])
def test_bad_batch_of_predictions(size: Any) -> None:
    model = trained()
    for action in (model.predict, model.predict_proba, model.predict_logits):
        with pytest.raises((InputError, InputTypeError), match=f"batch_size = {size}"):
            action(X, batch_size=size)
    with pytest.raises((InputError, InputTypeError), match=f"batch_size = {size}"):
        model.evaluate(X, Y, batch_size=size)


def test_unknown_metric_of_evaluate() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'accuracy'"):
        trained().evaluate(X, Y, metrics=["acuracy"])


def test_probabilities_need_classes() -> None:
    with pytest.raises(InputError, match="this model's is 'mean_squ"):
        trained("mean_squared_error").predict_proba(X)


def test_optimizer_and_rate_may_both_be_given() -> None:
    model = MLP([D, K])
    model.fit(X, Y, epochs=1, optimizer=SGD(0.1), learning_rate=0.2, verbose=0)
    assert model.training_state is not None
    assert model.training_state.optimizer == SGD(0.2)
