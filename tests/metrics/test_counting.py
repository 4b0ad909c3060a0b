"""How metrics count classes: part by part, each row once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlpx.metrics.counting import Counts, balanced_accuracy, count

TRUTH, PREDICTED = np.array([0, 2, 2, 1, 0, 2, 0]), np.array([0, 2, 1, 1, 2, 2, 0])
COUNTS = [[2, 1, 2], [2, 2, 3], [3, 1, 3]]


class Watched(np.ndarray[Any, Any]):
    """Notes how many of its rows are asked for at a time."""

    asked: list[int]

    def __getitem__(self, at: Any) -> Any:
        found = self.view(np.ndarray)[at]
        self.asked.append(len(found))
        return found


@pytest.mark.parametrize(
    ("elements", "rows"),
    [(None, [7]), (21, [7]), (20, [7]), (9, [3, 3, 1]), (7, [3, 3, 1]), (1, [1] * 7)],
)
def test_classes_are_counted_some_rows_at_a_time(
    elements: int | None, rows: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    if elements is not None:
        monkeypatch.setattr("mlpx.metrics.counting.CHUNK_ELEMENTS", elements)
    truth = TRUTH.view(Watched)
    truth.asked = []
    found = count(np, truth, PREDICTED, None, classes=3)
    assert [sums.tolist() for sums in found] == COUNTS
    assert truth.asked == rows
    doubled = count(np, TRUTH, PREDICTED, np.full(7, 2.0), classes=3)
    assert [(sums / 2).tolist() for sums in doubled] == COUNTS


def test_a_class_is_present_however_little_it_weighs() -> None:
    none, little = np.zeros(4), np.array([0.0, 0.25, 0.0, 1.0])
    assert Counts(none, little, none).present.tolist() == [0, 1, 0, 1]
    assert Counts(none, none, little).present.tolist() == [0, 1, 0, 1]
    assert balanced_accuracy(np, Counts(little / 2, none, little)) == 0.5
