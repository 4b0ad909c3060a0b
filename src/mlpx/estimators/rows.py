"""Rows of X of any kind: NumPy, sparse, a data frame, or on a device."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
from sklearn import get_config
from sklearn.utils import check_array as as_array
from sklearn.utils.validation import validate_data

from mlpx.backend import Backend, array_backend
from mlpx.backend.base import check_unmasked
from mlpx.engines.predict import chunks
from mlpx.errors import InputError, InputTypeError
from mlpx.inputs.arrays import check_array, check_finite, check_in_range, in_range
from mlpx.inputs.frames import array_of, columns_of
from mlpx.mlp import MLP
from mlpx.program.data import TrainingData, on_device
from mlpx.program.objective import divides_by_weight
from mlpx.types import Array

CHUNK_ROWS = 1024


class SparseRows:
    """A CSR matrix; indexing returns dense rows, in `dtype`."""

    def __init__(self, matrix: Any, dtype: np.dtype) -> None:
        self.matrix, self.dtype, self.shape = matrix, dtype, matrix.shape

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, rows: Any) -> np.ndarray:
        dense: np.ndarray = self.matrix[rows].toarray().astype(self.dtype, copy=False)
        return dense


def is_sparse(X: Any) -> bool:
    """Whether X is a SciPy sparse matrix or array."""
    return hasattr(X, "nnz") and hasattr(X, "toarray")


def is_foreign(X: Any) -> bool:
    """Whether X is an array of another library; such arrays stay on their device."""
    exchangeable = hasattr(X, "__dlpack_device__") or hasattr(X, "__cuda_array_interface__")
    return exchangeable and not isinstance(X, np.ndarray)


def check_rows(estimator: Any, X: Any, *, reset: bool, backend: Backend) -> Any:
    """X as a 2-D array of finite numbers, sparse or dense.

    `reset` records its column count and names on the estimator. Raises ValueError or TypeError as
    scikit-learn does.
    """
    if not reset and _is_as_before(estimator, X):
        return X
    check_unmasked(X, "X")
    if not is_foreign(X):
        return _check_host_rows(estimator, X, reset=reset)
    array = check_array("X", X, backend)
    if array.ndim != 2 or 0 in array.shape:
        raise InputError(f"X.shape = {array.shape}; wanted (n, columns): reshape your data")
    if reset:
        estimator.n_features_in_ = int(array.shape[1])
        estimator.__dict__.pop("feature_names_in_", None)
    elif array.shape[1] != estimator.n_features_in_:
        raise InputError(
            f"X has {array.shape[1]} features, but {type(estimator).__name__} is expecting "
            f"{estimator.n_features_in_} features as input"
        )
    check_finite(array, dtype=array.dtype, name="X")
    return array


def _check_host_rows(estimator: Any, X: Any, *, reset: bool) -> Any:
    if any(np.asarray(column).dtype.kind in "mM" for _, column in columns_of(X) or ()):
        refuse_columns(X)  # some libraries convert dates to numbers
    try:
        array = validate_data(estimator, X, accept_sparse="csr", dtype="numeric", reset=reset)
    except (ValueError, TypeError):
        refuse_columns(X)
        raise
    if array.dtype.kind not in "fiub":
        refuse_columns(X)
    if get_config()["assume_finite"]:  # a single NaN would destroy the whole model
        _check_finite(array, array.dtype)
    return array


def _is_as_before(estimator: Any, X: Any) -> bool:
    """Whether `validate_data` would return X unchanged.

    That is: finite floats, as many columns as before, and no names on either side.
    """
    if not is_plain(X) or X.ndim != 2 or hasattr(estimator, "feature_names_in_"):
        return False
    return bool(len(X) and X.shape[1] == getattr(estimator, "n_features_in_", None))


def is_plain(array: Any) -> bool:
    """Whether it is a NumPy array of finite floats with a finite sum."""
    if type(array) is not np.ndarray or array.dtype.char not in "fd":
        return False
    with np.errstate(all="ignore"):
        return math.isfinite(array.sum())


def refuse_columns(X: Any) -> None:
    """Raises InputError if X is a table with a column of non-numbers or with missing values."""
    columns = columns_of(X)
    if columns is not None:
        try:
            array_of("X", X, columns)
        except InputTypeError as error:
            raise InputError(str(error)) from None


def check_weights(given: Any, n: int) -> np.ndarray | None:
    """The row weights (n,) in float64, None if all count the same.

    Raises ValueError for a wrong length, NaN, infinite or negative weights, or if none is positive.
    """
    if given is None:
        return None
    check_unmasked(given, "sample_weight")
    if is_foreign(given):
        given = array_backend(given).to_numpy(given)
    if isinstance(given, int | float):
        given = np.full(n, given)
    w: np.ndarray = as_array(
        given, ensure_2d=False, dtype=np.float64, input_name="sample_weight", ensure_min_samples=0
    )
    if w.shape != (n,):
        raise InputError(f"sample_weight.shape = {w.shape}; wanted ({n},), one for each row of X")
    if w.min() < 0:
        raise InputError(f"Negative values in sample_weight: {w.min():g} at row {w.argmin()}")
    if not w.max() > 0:
        raise InputError("sample_weight is zero for every row; at least one must be positive")
    return w


def in_model_range(w: np.ndarray | None, model: MLP) -> np.ndarray | None:
    """Checked weights (n,) in the model's dtype, scaled if it cannot hold them.

    Raises InputError if all are zero, or if they need scaling but their sum matters.
    """
    if w is None:
        return None
    if not w.any():
        raise InputError(
            f"sample_weight is zero for all {len(w)} rows of a part, to train or to validate on; "
            "at least one must be positive"
        )
    whole = divides_by_weight(model)
    weights: np.ndarray = (
        check_in_range(w, model.dtype, "sample_weight") if whole else in_range(w, model.dtype)
    )
    return weights


def as_data(X: Any, y: np.ndarray, w: np.ndarray | None, *, model: MLP) -> TrainingData:
    """Checked rows, y and weights in the form that `model` takes.

    Raises InputError for numbers beyond the range of its dtype.
    """
    dtype = model.dtype
    if X.dtype.itemsize > dtype.itemsize:  # otherwise what is finite in one is in the other
        _check_finite(X, dtype)
    w = in_model_range(w, model)
    sparse = is_sparse(X)
    x = SparseRows(X, dtype) if sparse else X
    checked = x, y, None if w is None else w[:, None]
    return on_device(model, checked, moves_x=not sparse)


def _check_finite(X: Any, dtype: np.dtype) -> None:
    check_finite(X.data if is_sparse(X) else X, dtype=dtype, name="X")


def take(X: Any, rows: np.ndarray) -> Any:
    """The rows of X at the indices, or the mask, `rows`; of the same kind as X."""
    return X[rows if is_sparse(X) else array_backend(X).asarray(rows)]


def outputs(model: MLP, X: Any) -> Array:
    """The network's outputs (n, d_out) for checked X, on the model's device."""
    if not is_sparse(X):
        return model.predict_logits(X)
    rows = SparseRows(X, model.dtype)
    parts = [model.predict_logits(rows[part]) for part in chunks(len(rows), CHUNK_ROWS)]
    return model.backend.xp.concatenate(parts)


def handed_back(result: Array, X: Any) -> Any:
    """`result` as an array of X's library on X's device, or of NumPy if X is of no such library."""
    if not is_foreign(X):
        return array_backend(result).to_numpy(result)
    result = array_backend(X).asarray(result)
    namespace = getattr(X, "__array_namespace__", None)
    library = namespace() if namespace else sys.modules.get(type(X).__module__.partition(".")[0])
    convert = getattr(library, "from_dlpack", None)
    return result if convert is None or isinstance(result, type(X)) else convert(result)
