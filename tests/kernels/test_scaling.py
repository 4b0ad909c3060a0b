"""Fixed numbers on the way in: y = x scale + offset."""

from __future__ import annotations

import numpy as np
import pytest

from mlpx.kernels import scaling


@pytest.mark.parametrize("offset", [0.0, -3.0])
def test_scale_and_offset(offset: float) -> None:
    x, out = np.array([[1.0, -2.0, 0.5]]), np.full((1, 3), 77.0)
    scaling.forward(np, x, scale=4.0, offset=offset, out=out)
    np.testing.assert_array_equal(out, 4.0 * x + offset)
    scaling.backward(np, out, scale=0.5, out=out)
    np.testing.assert_array_equal(out, 2.0 * x + offset / 2)
