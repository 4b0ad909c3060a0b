"""Is the gradient right? Numerical gradients, and the check of backpropagation against them.

    >>> print(check_gradients(model, x, y))      # doctest: +SKIP

The truth is always computed in float64, on the model's own device; the model is not changed.
"""

from mlpx.gradcheck.check import check_gradients
from mlpx.gradcheck.numerical import FORMS, numerical_gradient
from mlpx.gradcheck.report import Report, Row, compare_gradients

__all__ = [
    "FORMS",
    "Report",
    "Row",
    "check_gradients",
    "compare_gradients",
    "numerical_gradient",
]
