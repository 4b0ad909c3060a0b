"""The estimators of tables pass scikit-learn's own checks of an estimator."""

from __future__ import annotations

import unittest
from typing import Any

import pytest
from sklearn.utils.estimator_checks import estimator_checks_generator

from mlpx.tables import TableClassifier, TableRegressor

ESTIMATORS = [TableClassifier(epochs=20), TableRegressor(epochs=20)]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=["classifier", "regressor"])
@pytest.mark.filterwarnings("ignore")
def test_scikit_learns_contract(estimator: Any) -> None:
    """Every check that scikit-learn yields, with no expected failures."""
    failed: list[Exception] = []
    for each, check in estimator_checks_generator(estimator, legacy=True, mark=None):
        try:
            check(each)
        except unittest.SkipTest as skipped:
            if "SCIPY_ARRAY_API is not set" not in str(skipped):
                raise
        except Exception as error:
            error.add_note(f"in {check}")
            failed.append(error)
    if failed:
        raise ExceptionGroup("failing checks", failed)
