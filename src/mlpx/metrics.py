"""Metrics, computed on the device: one record each. Names and values are scikit-learn's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mlpx.records import Record
from mlpx.types import Array, Namespace


class Metric(Record, kind="metric"):
    """A number that says how well outputs z (n, k) match targets y."""

    higher_is_better: ClassVar[bool] = True

    def compute(self, xp: Namespace, z: Array, y: Array, w: Array | None) -> Array:
        """The metric as a device scalar; z (n, k) outputs, y labels (n,) or (n, k), w (n, 1) or None."""
        raise NotImplementedError

    @classmethod
    def all(cls, names: Iterable[object]) -> tuple[Metric, ...]:
        """The metrics that names or instances mean; one name alone counts as a list of one."""
        given = [names] if isinstance(names, str | Metric) else names
        return tuple(cls.resolve(name) for name in given)


@dataclass(frozen=True)
class Accuracy(Metric, name="accuracy"):
    """The share of rows whose largest output is at the label."""

    def compute(self, xp: Namespace, z: Array, y: Array, w: Array | None) -> Array:
        labels = y if y.ndim == 1 else y.argmax(axis=1)
        hits = (z.argmax(axis=1) == labels).astype(np.float64)
        if w is None:
            return hits.mean()
        w = w[:, 0].astype(np.float64)
        return (hits * w).sum() / w.sum()


def default_metrics(targets: str) -> tuple[Metric, ...]:
    """What is reported unless the user says otherwise."""
    return (Accuracy(),) if targets == "classes" else ()
