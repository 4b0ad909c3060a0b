"""Metrics as records, for `fit(metrics=[...])` and `evaluate(metrics=[...])`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np

from mlpx.errors import InputError
from mlpx.kernels.losses import Loss, predictions, probabilities
from mlpx.metrics import counting, scoring
from mlpx.metrics.undefined import too_few, without_rows
from mlpx.records import Record, require_count
from mlpx.types import Array, Namespace


class Results:
    """A network's outputs and targets for some rows, in the forms that metrics need, made lazily.

    z (n, k) outputs, y labels (n,) or (n, columns), w (n, 1) or None.
    """

    def __init__(self, xp: Namespace, loss: Loss, z: Array, y: Array, w: Array | None) -> None:
        self.xp, self.loss, self.z, self.y = xp, loss, z, y
        self.kind = loss.target_kind(z.shape[1])
        self.w = None if w is None else w[:, 0].astype(np.float64)

    @cached_property
    def classes(self) -> int:
        """The number of classes or labels."""
        k = int(self.z.shape[1])
        return 2 if self.kind == "binary" and k == 1 else k

    @property
    def several_labels(self) -> bool:
        """Whether each row has several yes-or-no answers."""
        return self.kind == "binary" and self.z.shape[1] > 1

    @cached_property
    def truth(self) -> Array:
        """Class indices (n,), 0 and 1 (n, k) for several labels, or values (n, k) in float64."""
        if self.kind == "values":
            return self.y.astype(np.float64)
        if self.kind == "binary":
            yes = (self.y > 0.5).astype(np.int64)
            return yes if self.several_labels else yes[:, 0]
        labels = self.y if self.y.ndim == 1 else self.y.argmax(axis=1)
        ignored = self.loss.ignored_label()
        return labels if ignored is None else self.xp.where(labels == ignored, 0, labels)

    @cached_property
    def predicted(self) -> Array:
        """What the outputs predict, like `truth`."""
        if self.kind != "values":
            return predictions(self.xp, self.loss, self.z)
        return predictions(self.xp, self.loss, self.z.astype(np.float64))

    @cached_property
    def probabilities(self) -> Array:
        """The probability of each class (n, classes), in float64."""
        return probabilities(self.xp, self.loss, self.z.astype(np.float64))

    @cached_property
    def counts(self) -> counting.Counts:
        """How often each class is true, predicted, and both."""
        return counting.count(self.xp, self.truth, self.predicted, self.w, classes=self.classes)


class Metric(Record, kind="metric"):
    """A number that says how well a network's outputs match the targets."""

    higher_is_better: ClassVar[bool] = True
    needs: ClassVar[Literal["classes", "probabilities", "values"]] = "classes"

    def compute(self, results: Results) -> Array:
        """The metric as a device scalar."""
        raise NotImplementedError

    def lacks(self, results: Results) -> str | None:
        """Why these targets leave it undefined, that is NaN; None if it is defined."""
        return None

    def check(self, loss: Loss, k: int) -> None:
        """Raises InputError if a network of this loss and k outputs has no such metric."""
        kind = loss.target_kind(k)
        if (kind == "values") != (self.needs == "values"):
            self.refuse(f"needs {self.needs}; this model's loss is {loss.name!r}, over {kind}")
        if self.needs == "probabilities" and loss.link not in ("softmax", "sigmoid"):
            self.refuse(f"needs probabilities, which loss {loss.name!r} does not have")
        if kind == "values" and loss.target_columns(k) != k:
            self.refuse(f"needs one output for each target; loss {loss.name!r} has several")

    def refuse(self, why: str) -> None:
        """Raises InputError."""
        raise InputError(f"metric {self.name!r} {why}")

    @classmethod
    def all(cls, names: Iterable[object]) -> tuple[Metric, ...]:
        """The metrics that names or instances mean; one name alone counts as a list of one."""
        given = [names] if isinstance(names, str | Metric) else names
        return tuple(cls.resolve(name) for name in given)


def default_metrics(targets: str) -> tuple[Metric, ...]:
    """The metrics reported by default."""
    return () if targets == "values" else (Accuracy(),)


def choose_metrics(names: Iterable[object] | None, loss: Loss, k: int) -> tuple[Metric, ...]:
    """The metrics by these names, for a network of this loss and k outputs; None means the default.

    Raises UnknownNameError, InputTypeError, or InputError for a metric that does not suit the loss.
    """
    chosen = default_metrics(loss.target_kind(k)) if names is None else Metric.all(names)
    for metric in chosen:
        metric.check(loss, k)
    return chosen


@dataclass(frozen=True)
class Accuracy(Metric, name="accuracy"):
    """The share of rows predicted right; with several labels per row, all of them."""

    def compute(self, results: Results) -> Array:
        return counting.accuracy(results.truth, results.predicted, results.w)


class OneClassMetric(Metric):
    """A metric of rows with one class each."""

    def check(self, loss: Loss, k: int) -> None:
        super().check(loss, k)
        if loss.target_kind(k) == "binary" and k > 1:
            self.refuse("needs one class a row; this model has several labels a row")


@dataclass(frozen=True)
class BalancedAccuracy(OneClassMetric, name="balanced_accuracy"):
    """The mean recall of the classes that occur."""

    def compute(self, results: Results) -> Array:
        return counting.balanced_accuracy(results.xp, results.counts)


@dataclass(frozen=True)
class TopKAccuracy(OneClassMetric, name="top_k_accuracy"):
    """The share of rows whose class is among the k largest outputs; ties go to the later class."""

    k: int = 2

    def __post_init__(self) -> None:
        require_count("k", self.k)

    def check(self, loss: Loss, k: int) -> None:
        super().check(loss, k)
        if loss.target_kind(k) == "binary":
            self.refuse("needs an output for each class; this model has one output")

    def compute(self, results: Results) -> Array:
        return counting.top_k(results.xp, results.truth, results.z, results.w, k=self.k)


class ProbabilityMetric(OneClassMetric):
    """A metric of class probabilities."""

    needs = "probabilities"
    higher_is_better = False


@dataclass(frozen=True)
class LogLoss(ProbabilityMetric, name="log_loss"):
    """The mean of -log of the true class's probability."""

    def compute(self, results: Results) -> Array:
        return scoring.log_loss(results.xp, results.truth, results.probabilities, results.w)


@dataclass(frozen=True)
class BrierScore(ProbabilityMetric, name="brier_score"):
    """The mean squared distance of the probabilities from the true class, halved for two
    classes.
    """

    def compute(self, results: Results) -> Array:
        return scoring.brier(results.xp, results.truth, results.probabilities, results.w)


@dataclass(frozen=True)
class ROCAUC(Metric, name="roc_auc"):
    """The area under the ROC curve; of several classes each against the rest, or of several labels,
    the mean.

    NaN, with a warning, if a class has no rows or all of them.
    """

    needs = "probabilities"

    def compute(self, results: Results) -> Array:
        xp, truth, p, w = results.xp, results.truth, results.probabilities, results.w
        if truth.ndim == 1 and results.classes == 2:
            return scoring.roc_auc(xp, truth, p[:, 1], w)
        if truth.ndim == 1:
            truth = (truth[:, None] == xp.arange(results.classes)).astype(np.int64)
        return scoring.roc_auc_over_columns(xp, truth, p, w)

    def lacks(self, results: Results) -> str | None:
        return without_rows(results.xp, results.truth, results.w, classes=results.classes)


class ValueMetric(Metric):
    """A metric of real values; the mean over the columns."""

    needs = "values"
    higher_is_better = False


@dataclass(frozen=True)
class MeanSquaredErrorMetric(ValueMetric, name="mean_squared_error"):
    """The mean squared error."""

    def compute(self, results: Results) -> Array:
        args = results.xp, results.truth, results.predicted, results.w
        return scoring.mean_squared_error(*args).mean()


@dataclass(frozen=True)
class RootMeanSquaredErrorMetric(ValueMetric, name="root_mean_squared_error"):
    """The root of the mean squared error of each column."""

    def compute(self, results: Results) -> Array:
        args = results.xp, results.truth, results.predicted, results.w
        return results.xp.sqrt(scoring.mean_squared_error(*args)).mean()


@dataclass(frozen=True)
class MeanAbsoluteErrorMetric(ValueMetric, name="mean_absolute_error"):
    """The mean absolute error."""

    def compute(self, results: Results) -> Array:
        args = results.xp, results.truth, results.predicted, results.w
        return scoring.mean_absolute_error(*args).mean()


@dataclass(frozen=True)
class R2(ValueMetric, name="r2"):
    """The share of the targets' variance that the outputs explain."""

    higher_is_better = True

    def compute(self, results: Results) -> Array:
        args = results.xp, results.truth, results.predicted, results.w
        return scoring.r2(*args).mean()

    def lacks(self, results: Results) -> str | None:
        return too_few(results.truth)
