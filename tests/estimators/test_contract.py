"""The estimators pass scikit-learn's own checks of an estimator."""

from __future__ import annotations

import re
import unittest
from typing import Any

import pytest
from sklearn.utils.estimator_checks import estimator_checks_generator

from mlpx import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


CONFIGURED = {
    "classifier": MLPClassifier(max_iter=20),
    "classifier, lbfgs": MLPClassifier(solver="lbfgs", alpha=0.1, max_iter=20),
    "classifier, sgd": MLPClassifier(solver="sgd", learning_rate_init=0.01, max_iter=20),
    "classifier, ours": MLPClassifier(
        (9, 8), ["tanh", "gelu"], solver="nadam", learning_rate_init=0.01, max_iter=20
    ),
    "regressor": MLPRegressor(max_iter=20),
    "regressor, lbfgs": MLPRegressor(solver="lbfgs", max_iter=20),
    "regressor, ours": MLPRegressor("huber", solver="adamax", max_iter=20),
}
NOT_OF_OURS = "SCIPY_ARRAY_API is not set|decision_function"
"""Why two checks skip themselves: they are of what neither ours nor scikit-learn's have."""


@pytest.mark.parametrize("configured", CONFIGURED.values(), ids=CONFIGURED)
@pytest.mark.filterwarnings("ignore")
def test_scikit_learns_contract(configured: Any) -> None:
    """Every check that scikit-learn yields, with no expected failures."""
    failed: list[Exception] = []
    for estimator, check in estimator_checks_generator(configured, legacy=True, mark=None):
        try:
            check(estimator)
        except Exception as error:
            if not re.search(NOT_OF_OURS, str(error)) or not isinstance(error, unittest.SkipTest):
                error.add_note(f"in {check}")
                failed.append(error)
    if failed:
        raise ExceptionGroup("failing checks", failed)
