"""Values, probabilities and rankings at the edges of what metrics measure."""

from __future__ import annotations

from typing import Any

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


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_certainty_is_kept_from_both_ends_by_what_its_dtype_can_tell(dtype: Any) -> None:
    eps = np.finfo(dtype).eps
    for truth, kept in (([0, 1], 1 - eps), ([1, 0], eps)):
        found = metrics.log_loss(truth, np.eye(2, dtype=dtype))
        assert found == pytest.approx(-np.log(float(kept)), rel=1e-6, abs=0)


def test_probabilities_are_scaled_to_sum_to_one() -> None:
    found = metrics.log_loss([0, 1], [[0.2, 0.2], [0.3, 0.1]])
    assert found == pytest.approx(-np.log(0.5 * 0.25) / 2)


def test_of_two_columns_the_last_says_how_positive_a_row_is() -> None:
    truth, p = [0, 1, 1, 0], np.array([0.2, 0.6, 0.7, 0.65])
    wanted = sklearn.roc_auc_score(truth, p)
    assert metrics.roc_auc_score(truth, p) == wanted == 0.75
    assert metrics.roc_auc_score(truth, np.stack([1 - p, p], axis=1)) == wanted
