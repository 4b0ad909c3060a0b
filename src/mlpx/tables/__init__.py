"""Tables of named columns, CSV and Parquet: read, described, and turned into numbers for an MLP.

They need pyarrow and scikit-learn: `pip install 'mlpx[tables]'`.
"""

from __future__ import annotations

from mlpx.errors import MissingExtraError

try:
    import pyarrow  # noqa: F401
except ImportError as error:
    raise MissingExtraError("pyarrow", "tables", "mlpx.tables", error) from error
try:
    import sklearn  # noqa: F401
except ImportError as error:
    raise MissingExtraError("scikit-learn", "tables", "mlpx.tables", error) from error

from mlpx.tables.classifier import TableClassifier
from mlpx.tables.fitting import fit
from mlpx.tables.regressor import TableRegressor

__all__ = ["TableClassifier", "TableRegressor", "fit"]
