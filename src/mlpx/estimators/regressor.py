"""`MLPRegressor`."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils import check_array, column_or_1d
from sklearn.utils.metaestimators import available_if

from mlpx.backend import array_backend
from mlpx.backend.base import check_unmasked
from mlpx.errors import CheckpointError, InputError, InputTypeError, known_options
from mlpx.estimators.base import BaseMLP
from mlpx.estimators.classifier import learns_in_parts
from mlpx.estimators.rows import handed_back, is_foreign, is_plain
from mlpx.estimators.settings import loss_of
from mlpx.inputs.targets import check_y
from mlpx.kernels import losses
from mlpx.kernels.losses import HalfSquaredError, Loss, Poisson, Quantile
from mlpx.records import is_whole

LOSSES: dict[str, Loss] = {
    "squared_error": HalfSquaredError(reduction="sum"),
    "poisson": Poisson(reduction="sum"),
}
"""scikit-learn's names for losses."""


class MLPRegressor(RegressorMixin, BaseMLP):  # type: ignore[misc]
    """Multi-layer perceptron regressor, a drop-in replacement for scikit-learn's.

    Its parameters are those of scikit-learn's and, keyword-only, the additions of `MLPClassifier`
    except `class_weight`. loss: "squared_error" (halved), "poisson", or any loss of `mlpx` over
    values. early_stopping_metric: None means R2.
    """

    @known_options
    def __init__(
        self, loss: Any = "squared_error", hidden_layer_sizes: Any = (100,),
        activation: Any = "relu", *, solver: Any = "adam", alpha: float = 0.0001,
        batch_size: Any = "auto", learning_rate: Any = "constant",
        learning_rate_init: float = 0.001, power_t: float = 0.5, max_iter: int = 200,
        shuffle: bool = True, random_state: Any = None, tol: float = 1e-4, verbose: Any = False,
        warm_start: bool = False, momentum: float = 0.9, nesterovs_momentum: bool = True,
        early_stopping: bool = False, validation_fraction: float = 0.1, beta_1: float = 0.9,
        beta_2: float = 0.999, epsilon: float = 1e-8, n_iter_no_change: float = 10,
        max_fun: int = 15000, dropout: Any = 0.0, early_stopping_metric: Any = None,
        restore_best: bool | None = None, callbacks: Any = None, device: Any = None,
        dtype: Any = None, n_threads: int | None = None,
    ) -> None:  # fmt: skip
        self.__dict__.update({k: v for k, v in locals().items() if k not in ("self", "__class__")})

    @known_options
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, X_val: Any = None, y_val: Any = None,
        sample_weight_val: Any = None, checkpoint: Any = None, every: Any = None,
        resume: bool = False,
    ) -> Self:  # fmt: skip
        """Train on X (n, columns) and values y (n,) or (n, outputs).

        `X_val` and `y_val` are evaluated after every epoch, and early stopping uses them instead of
        a part of X. `checkpoint` names a folder in which the training is kept every 30 seconds, or
        as `every` says; with `resume` a training that was killed is finished, as in `MLP.fit`.
        Raises ValueError or TypeError for invalid data.
        """
        return self._fit(X, y, sample_weight, held_out=(X_val, y_val, sample_weight_val),
                         kept=(checkpoint, every, resume))  # fmt: skip

    @available_if(learns_in_parts)  # type: ignore[untyped-decorator]
    @known_options
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train for one epoch on X and y."""
        return self._fit(X, y, sample_weight, partial=True)

    def _targets(self, y: Any, *, first: bool, whole: bool) -> np.ndarray:
        values = host_values(y)
        columns = values.shape[1]
        if first:
            self._columns = columns
        elif columns != self._columns:
            raise InputError(f"y has {columns} columns; this model was fitted to {self._columns}")
        return values

    def _for_model(self, y: np.ndarray) -> np.ndarray:
        model, n = self._model, len(y)
        dtype, backend = model.dtype, model.backend
        checked: np.ndarray = check_y(
            y, n=n, d_out=model.d_out, loss=model.loss, dtype=dtype, backend=backend
        )
        return checked

    def _described(self) -> dict[str, Any]:
        return {"columns": self._columns}

    def _restore(self, described: dict[str, Any]) -> None:
        model = described.get("model")
        if model is None:
            self._columns = int(described["columns"])
        elif model.loss.targets != "values":
            raise CheckpointError("the model predicts classes: use MLPClassifier.from_run")
        else:
            self._columns = model.loss.target_columns(model.d_out)

    def _loss_and_outputs(self) -> tuple[Loss, int]:
        if looks_like_widths(self.loss):
            raise InputTypeError(
                f"loss = {self.loss!r}; the first argument of MLPRegressor is the loss, as in "
                f"scikit-learn: did you mean hidden_layer_sizes={self.loss!r}?"
            )
        loss = loss_of(self.loss, LOSSES)
        if loss.targets != "values":
            raise InputError(f"loss = {self.loss!r} is over classes; wanted one over values")
        several = np.size(loss.quantiles) if isinstance(loss, Quantile) else 1
        return loss, self._columns * several

    def _loss_constants(self, y: np.ndarray) -> np.ndarray | None:
        if not (isinstance(self.loss, str) and self.loss == "poisson"):
            return None
        from scipy.special import xlogy

        constants: np.ndarray = (xlogy(y, y) - y).sum(axis=1)
        return constants

    def predict(self, X: Any) -> Any:
        """The predicted values: (n,), or (n, outputs) for several outputs."""
        z, model = self._outputs(X), self._model
        predicted = losses.predictions(model.backend.xp, model.loss, z)
        return handed_back(predicted[:, 0] if predicted.shape[1] == 1 else predicted, X)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R2, the share of the variance of y that is explained."""
        check_unmasked(y, "y")
        check_unmasked(sample_weight, "sample_weight")
        predicted = self.predict(X)
        if is_foreign(predicted):
            predicted, y = host_values(predicted), host_values(y)
        return float(r2_score(y, predicted, sample_weight=sample_weight))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def looks_like_widths(given: Any) -> bool:
    """Whether it is a whole number or a sequence of them."""
    given = given if isinstance(given, list | tuple | np.ndarray) else [given]
    return all(is_whole(width) for width in given)


def host_values(y: Any) -> np.ndarray:
    """y as values (n, columns) on the host.

    Raises ValueError if they are not finite numbers.
    """
    values = y
    if not is_plain(y) or y.ndim != 1:  # otherwise it would pass the checks
        check_unmasked(y, "y")
        if is_foreign(y):
            y = array_backend(y).to_numpy(y)
        values = check_array(
            y, ensure_2d=False, dtype="numeric", input_name="y", ensure_min_samples=0
        )
    if values.ndim == 2 and values.shape[1] == 1:
        values = column_or_1d(values, warn=True)
    if values.ndim not in (1, 2):
        raise InputError(f"y.shape = {values.shape}; wanted (n,) or (n, columns)")
    reshaped: np.ndarray = values.reshape(len(values), -1)
    return reshaped
