"""Values, probabilities and rankings at the edges of what metrics measure."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sklearn

from mlpx import metrics
from mlpx.metrics import scoring


@pytest.mark.parametrize("off", [0.0, 1e-6, 0.5, 2.0])
@pytest.mark.parametrize("w", [None, np.array([1.0, 2.0])])
def test_what_is_constant_is_met_exactly_or_not_at_all(off: float, w: np.ndarray | None) -> None:
    truth, found = [2.0, 2.0], [2.0, 2.0 + off]
    score = metrics.r2_score(truth, found, sample_weight=w)
    assert score == sklearn.r2_score(truth, found, sample_weight=w) == float(off == 0)


def test_no_numbers_score_nothing_in_their_column_alone() -> None:
    truth = np.array([[1.0, 2.0, 5.0], [1.0, 4.0, 5.0]])
    values = np.array([[np.nan, 2.0, 5.0], [1.0, 3.0, 5.5]])
    np.testing.assert_array_equal(scoring.r2(np, truth, values, None), [np.nan, 0.5, 0.0])
