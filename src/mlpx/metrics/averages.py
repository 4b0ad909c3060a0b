"""Precision, recall and F1 as records: of the positive class, or averaged over the classes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from mlpx.kernels.losses import Loss
from mlpx.metrics import counting
from mlpx.metrics.counting import Average
from mlpx.metrics.table import Metric, Results
from mlpx.records import require
from mlpx.types import Array


@dataclass(frozen=True)
class ClassScore(Metric):
    """The classes' scores as one number, combined by `average`; `zero_division` stands for
    0 / 0.
    """

    zero_division: float = 0.0

    def __post_init__(self) -> None:
        given = self.zero_division
        if not (isinstance(given, float) and math.isnan(given)):  # NaN may stand for 0 / 0
            require("zero_division", given, least=0, most=1)

    average: ClassVar[Average] = "binary"
    score: ClassVar[counting.ClassScoring]

    def check(self, loss: Loss, k: int) -> None:
        super().check(loss, k)
        binary = (loss.target_kind(k), k) in (("binary", 1), ("classes", 2))
        if self.average == "binary" and not binary:
            others = [f"'{self.name}_{average}'" for average in ("macro", "micro", "weighted")]
            self.refuse(f"is of two classes; this model has {k} outputs: use {' or '.join(others)}")

    def compute(self, results: Results) -> Array:
        counts = results.counts
        present = counts.present
        if results.several_labels:
            present = results.xp.ones_like(present)
        return counting.class_score(
            results.xp,
            type(self).score,
            counts,
            average=self.average,
            zero_division=self.zero_division,
            present=present,
        )


@dataclass(frozen=True)
class Precision(ClassScore, name="precision"):
    """Of the rows predicted positive, the share that are."""

    score = counting.precision


class PrecisionMacro(Precision, name="precision_macro"):
    """The mean precision of the classes."""

    average = "macro"


class PrecisionMicro(Precision, name="precision_micro"):
    """The precision over the pooled counts of all classes."""

    average = "micro"


class PrecisionWeighted(Precision, name="precision_weighted"):
    """The mean precision of the classes, weighted by how many rows each has."""

    average = "weighted"


@dataclass(frozen=True)
class Recall(ClassScore, name="recall"):
    """Of the positive rows, the share predicted so."""

    score = counting.recall


class RecallMacro(Recall, name="recall_macro"):
    """The mean recall of the classes."""

    average = "macro"


class RecallMicro(Recall, name="recall_micro"):
    """The recall over the pooled counts of all classes."""

    average = "micro"


class RecallWeighted(Recall, name="recall_weighted"):
    """The mean recall of the classes, weighted by how many rows each has."""

    average = "weighted"


@dataclass(frozen=True)
class F1(ClassScore, name="f1"):
    """The harmonic mean of precision and recall of the positive class."""

    score = counting.f1


class F1Macro(F1, name="f1_macro"):
    """The mean F1 of the classes."""

    average = "macro"


class F1Micro(F1, name="f1_micro"):
    """The F1 over the pooled counts of all classes."""

    average = "micro"


class F1Weighted(F1, name="f1_weighted"):
    """The mean F1 of the classes, weighted by how many rows each has."""

    average = "weighted"
