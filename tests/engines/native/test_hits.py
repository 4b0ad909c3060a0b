"""Whether a row's largest output is at its label: as NumPy has it, ties and NaN included."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from native_kernels import alone, output, placed, run

from mlpx.engines.native.library import load

pytestmark = pytest.mark.skipif(load() is None, reason="the native library was not built")
VALUES = [np.nan, -np.inf, np.inf, 0.0, 1.0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("k", [1, 2, 3, 9, 16, 35])
def test_hits(k: int, dtype: str, isa: str) -> None:
    if k <= 3:
        z = np.array(list(product(VALUES, repeat=k)))
    else:
        z = np.random.default_rng(k).choice([*VALUES[1:], -1.0, -2.0], (400, k))
        z[::9, k // 2] = np.nan
    for label in range(-1, k + 1):  # -1 and k: labels of no class
        labels, out = placed(np.full(len(z), label), "int64", around=0), output(z[:, 0], dtype)
        run(
            "correct", dtype, threads=3, rows=len(z), outputs=k,
            z=placed(z, dtype), labels=labels, out=out,
        )  # fmt: skip
        assert np.array_equal(out, z.argmax(axis=1) == label)
        assert alone(out)
