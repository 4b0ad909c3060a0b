"""`MLPClassifier`."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import unique_labels

from mlpx.backend.base import check_unmasked
from mlpx.errors import InputError, known_options
from mlpx.estimators.base import BaseMLP
from mlpx.estimators.labels import Labels, host_labels
from mlpx.estimators.rows import handed_back, is_foreign
from mlpx.estimators.settings import full_batch, loss_of
from mlpx.kernels import losses
from mlpx.kernels.losses import BinaryCrossEntropy, Loss, SoftmaxCrossEntropy
from mlpx.types import Array, Namespace

YES_OR_NO, ONE_OF_SEVERAL = BinaryCrossEntropy(reduction="sum"), SoftmaxCrossEntropy()
"""What scikit-learn calls log_loss: for each output, or over all classes."""


def learns_in_parts(estimator: Any) -> bool:
    """True if the estimator has `partial_fit`.

    Raises AttributeError if its solver needs all rows at once.
    """
    if full_batch(estimator):
        raise AttributeError(
            f"solver = {estimator.solver!r} needs all rows at once, so there is no partial_fit"
        )
    return True


class MLPClassifier(ClassifierMixin, BaseMLP):  # type: ignore[misc]
    """Multi-layer perceptron classifier, a drop-in replacement for scikit-learn's.

    Every parameter of scikit-learn's has the same meaning and default; the same `random_state`
    draws the same weights and batches. Additions, all keyword-only:

    activation, dropout: one value for all hidden layers, or a list with one for each; any
    activation of `mlpx`, and schedules of dropout. solver: "adam", "sgd", "lbfgs", or any optimizer
    of `mlpx`, by name (with `learning_rate_init`) or as an instance. learning_rate: also a schedule
    of `mlpx`. loss: "log_loss" or any loss of `mlpx` over classes.
    class_weight: {class: weight}, or "balanced"; multiplied by `sample_weight`.
    early_stopping_metric: what early stopping monitors: a metric of `mlpx` by name, "loss", or None
    for accuracy. restore_best: whether to restore the best epoch at the end; None means if
    `early_stopping`. callbacks: a list of `mlpx.Callback`.
    device: "cpu", "cuda", "auto". dtype: "float32" or "float64"; None means that of X, float64 for
    integers. n_threads: None picks as many as suit, in a joblib worker as many as it is allotted.
    verbose: True prints a line per epoch, "bar" draws a progress bar.

    The attributes are scikit-learn's, plus `validation_loss_curve_`, `learning_rate_`, `history_`
    (of the last fit) and `model_`, the network.
    """

    _classifies = True
    _labels: Labels
    classes_: np.ndarray

    @known_options
    def __init__(
        self, hidden_layer_sizes: Any = (100,), activation: Any = "relu", *, solver: Any = "adam",
        alpha: float = 0.0001, batch_size: Any = "auto", learning_rate: Any = "constant",
        learning_rate_init: float = 0.001, power_t: float = 0.5, max_iter: int = 200,
        shuffle: bool = True, random_state: Any = None, tol: float = 1e-4, verbose: Any = False,
        warm_start: bool = False, momentum: float = 0.9, nesterovs_momentum: bool = True,
        early_stopping: bool = False, validation_fraction: float = 0.1, beta_1: float = 0.9,
        beta_2: float = 0.999, epsilon: float = 1e-8, n_iter_no_change: float = 10,
        max_fun: int = 15000, loss: Any = "log_loss", class_weight: Any = None,
        dropout: Any = 0.0, early_stopping_metric: Any = None, restore_best: bool | None = None,
        callbacks: Any = None, device: Any = None, dtype: Any = None, n_threads: int | None = None,
    ) -> None:  # fmt: skip
        self.__dict__.update({k: v for k, v in locals().items() if k not in ("self", "__class__")})

    @known_options
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, *, X_val: Any = None, y_val: Any = None,
        sample_weight_val: Any = None, checkpoint: Any = None, every: Any = None,
        resume: bool = False,
    ) -> Self:  # fmt: skip
        """Train on X (n, columns) and labels y (n,), or 0 and 1 (n, labels).

        `X_val` and `y_val` are evaluated after every epoch, and early stopping uses them instead of
        a part of X. `checkpoint` names a folder in which the training is kept every 30 seconds, or
        as `every` says; with `resume` a training that was killed is finished, as in `MLP.fit`.
        Raises ValueError or TypeError for invalid data.
        """
        return self._fit(X, y, sample_weight, held_out=(X_val, y_val, sample_weight_val),
                         kept=(checkpoint, every, resume))  # fmt: skip

    @available_if(learns_in_parts)  # type: ignore[untyped-decorator]
    @known_options
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Self:
        """Train for one epoch on X and y; the first call must list all `classes`."""
        known = hasattr(self, "classes_")
        if classes is None and not known:
            raise InputError("classes is missing; the first call of partial_fit names them all")
        if classes is not None:
            named = np.asarray(unique_labels(classes))
            if known and not np.array_equal(named, self.classes_):
                raise InputError(
                    f"classes = {classes!r}; the first call of partial_fit had {self.classes_!r}"
                )
        with self._unless_refused():
            if not known:
                several = host_labels(y).ndim == 2
                self._labels = Labels.of(host_labels(y)) if several else Labels(named)
                self.classes_ = self._labels.classes
            return self._fit(X, y, sample_weight, partial=True)

    def _targets(self, y: Any, *, first: bool, whole: bool) -> np.ndarray:
        y = host_labels(y, known=not (first or whole))
        if first and whole:
            self._labels = Labels.of(y)
            self.classes_ = self._labels.classes
        elif self.warm_start and whole and y.ndim == 1:
            classes = unique_labels(y)
            if set(classes) != set(self.classes_):
                raise InputError(
                    "warm_start can only be used where `y` has the same classes as in the previous "
                    f"call to fit. Previously got {self.classes_}, `y` has {classes}"
                )
        return self._labels.encode(y)

    def _described(self) -> dict[str, Any]:
        from mlpx.estimators.saving import labels_to_json

        return labels_to_json(self._labels)

    def _restore(self, described: dict[str, Any]) -> None:
        from mlpx.estimators.saving import labels_from_json, labels_of_model

        model, known = described.get("model"), described.get("labels")
        self._labels = labels_of_model(model, known) if model else labels_from_json(described)
        self.classes_ = self._labels.classes

    def _loss_and_outputs(self) -> tuple[Loss, int]:
        labels = self._labels
        log_loss = ONE_OF_SEVERAL if labels.kind == "multiclass" else YES_OR_NO
        loss = loss_of(self.loss, {"log_loss": log_loss})
        outputs = len(labels.classes) if loss.targets == "classes" else labels.outputs
        kind = loss.target_kind(outputs)
        if kind == "values" or (labels.several and kind == "classes"):
            wanted = "several labels a row" if labels.several else "classes"
            raise InputError(f"loss = {self.loss!r} is over {kind}; wanted one over {wanted}")
        return loss, outputs

    def _for_model(self, y: np.ndarray) -> np.ndarray:
        k, dtype, loss = self._model.d_out, self._model.dtype, self._model.loss
        if loss.target_kind(k) == "classes":
            ignored = loss.ignored_label()
            if ignored is not None and (y == ignored).all():
                raise InputError(f"y has ignore_label = {ignored} in every row; nothing is left")
            return y
        if y.ndim == 1 and k > 1:
            return np.asarray(np.eye(k, dtype=dtype)[y])  # each class against the rest
        return y.reshape(-1, k).astype(dtype)

    def _class_factors(self, y: np.ndarray, w: np.ndarray | None) -> np.ndarray | None:
        if self.class_weight is None:
            return w
        w = np.ones(len(y)) if w is None else w
        weights: np.ndarray = w * self._labels.factors(self.class_weight, y, w)
        if not weights.max() > 0:
            raise InputError("sample_weight and class_weight leave every weight at zero")
        return weights

    def _strata(self, y: np.ndarray) -> np.ndarray | None:
        return y.astype(bool)[:, None] if self._labels.kind in ("single", "binary") else None

    def predict(self, X: Any) -> Any:
        """The most likely class of each row (n,), as in y; 0 or 1 (n, k) for several labels."""
        z, model, labels = self._outputs(X), self._model, self._labels
        predicted = losses.predictions(model.backend.xp, model.loss, z)
        if predicted.ndim == 2 and not labels.several:  # each class against the rest
            predicted = z.argmax(axis=1)
        if labels.kind == "single":
            predicted[...] = 0
        if labels.several:
            return handed_back(predicted, X)
        if is_foreign(X) and labels.classes.dtype.kind in "iufb":
            return handed_back(model.backend.asarray(labels.classes)[predicted], X)
        return labels.decode(model.backend.to_numpy(predicted))

    def predict_proba(self, X: Any) -> Any:
        """The probability of each class (n, classes), in the order of `classes_`."""
        z, model = self._outputs(X), self._model
        losses.require_probabilities(model.loss)
        if self._labels.kind == "single":
            return handed_back(model.backend.xp.ones((len(z), 1), model.dtype), X)
        return handed_back(losses.probabilities(model.backend.xp, model.loss, z), X)

    def predict_log_proba(self, X: Any) -> Any:
        """The logarithm of `predict_proba`, finite even where that rounds to 0."""
        z, model = self._outputs(X), self._model
        losses.require_probabilities(model.loss)
        if self._labels.kind == "single":
            return handed_back(model.backend.xp.zeros((len(z), 1), model.dtype), X)
        xp = model.backend.xp
        p, logs = (
            losses.probabilities(xp, model.loss, z), log_probabilities(xp, z, link=model.loss.link)
        )  # fmt: skip
        # Above 1/2 the logarithm of p is just as exact, and ties stay ties.
        return handed_back(xp.where(p > 0.5, xp.log(xp.maximum(p, 0.5)), logs), X)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The accuracy; with several labels per row, all of them must be right."""
        check_unmasked(y, "y")
        check_unmasked(sample_weight, "sample_weight")
        predicted = self.predict(X)
        if is_foreign(predicted):
            predicted, y = host_labels(predicted), host_labels(y)
        return float(accuracy_score(y, predicted, sample_weight=sample_weight))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


def log_probabilities(xp: Namespace, z: Array, *, link: str | None) -> Array:
    """The log-probabilities of outputs z (n, k); (n, 2) for k = 1."""
    if link == "softmax":
        z = z - z.max(axis=1, keepdims=True)
        return z - xp.log(xp.exp(z).sum(axis=1, keepdims=True))
    yes = -xp.logaddexp(xp.zeros_like(z), -z)
    return yes if z.shape[1] > 1 else xp.concatenate((yes - z, yes), axis=1)
