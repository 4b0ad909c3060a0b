"""`MLPClassifier` and `MLPRegressor`, drop-in replacements for scikit-learn's.

They need scikit-learn: `pip install 'mlpx[sklearn]'`.
"""

from __future__ import annotations

from mlpx.errors import MissingExtraError

try:
    import sklearn  # noqa: F401
except ImportError as error:
    raise MissingExtraError("scikit-learn", "sklearn", "mlpx.estimators", error) from error

from mlpx.estimators.classifier import MLPClassifier
from mlpx.estimators.regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
