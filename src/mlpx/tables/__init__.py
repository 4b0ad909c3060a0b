"""Tables of named columns, CSV and Parquet: read, described, and turned into numbers for an MLP.

They need pyarrow and scikit-learn: `pip install 'mlpx[tables]'`.
"""

from __future__ import annotations

from mlpx.errors import MissingExtraError

try:
    import pyarrow  # noqa: F401
except ImportError as error:
    raise MissingExtraError("pyarrow", "tables", "mlpx.tables", error) from error
