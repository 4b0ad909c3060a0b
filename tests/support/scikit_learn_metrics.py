"""scikit-learn's metrics, without their warnings."""

from __future__ import annotations

import warnings
from typing import Any

from sklearn import metrics as sklearn


def theirs(name: str, *args: Any, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(sklearn, name)(*args, **options)
