"""Rows and targets of any number, dtype, order and layout."""

from __future__ import annotations

import dataclasses
import tempfile
from typing import Any

import numpy as np
from accepted_input import DTYPES
from accepted_input import FORMS as OTHER_FORMS
from hypothesis import strategies as st

from mlpx.kernels.losses import Loss

POOL = 97
"""How many different rows there are; more repeat them."""
SLOW_FORMS_ROWS = 64
"""Of more rows no Python list is made."""


def mapped(x: np.ndarray) -> np.ndarray:
    """A read-only map of a file."""
    with tempfile.TemporaryFile() as file:
        file.write(x.tobytes())
        file.flush()
        return np.memmap(file, dtype=x.dtype, mode="r", shape=x.shape)


FORMS = OTHER_FORMS | {
    "plain": lambda x: x,
    "mirrored": lambda x: np.ascontiguousarray(x[::-1, ::-1])[::-1, ::-1],
    "mapped": mapped,
}


@dataclasses.dataclass(frozen=True)
class Rows:
    """What was drawn of rows; the numbers come when the net is known. "own" is its dtype."""

    n: int
    dtype: str = "own"
    form: str = "plain"
    seed: int = 0

    def x(self, d: int, own: Any = "f4") -> Any:
        """(n, d)"""
        pool = np.random.default_rng(self.seed).normal(size=(POOL, d))
        whole = pool[np.arange(self.n) % POOL]
        dtype = np.dtype(own if self.dtype == "own" else self.dtype)
        if dtype.kind != "f":
            whole = np.abs(whole) * 3
        plain = whole.astype(dtype)
        form = self.form
        lists = form in ("list", "tuple of rows") and self.n > SLOW_FORMS_ROWS
        if lists or (form == "unaligned" and plain.itemsize == 1):
            form = "fortran"
        return FORMS[form](plain)

    def y(self, loss: Loss, k: int) -> np.ndarray:
        """Targets (n,) or (n, columns) for a net of k outputs."""
        rng = np.random.default_rng(self.seed + 1)
        kind, columns = loss.target_kind(k), loss.target_columns(k)
        if kind == "classes":
            labels = rng.integers(0, k, size=self.n)
            return np.eye(k)[labels] if self.seed % 3 == 2 else labels
        if kind == "binary":
            return rng.integers(0, 2, size=(self.n, columns))
        return rng.random((self.n, columns))

    def weights(self) -> np.ndarray:
        """(n,), some zero, not all."""
        w = np.random.default_rng(self.seed + 2).integers(0, 4, size=self.n).astype("f4")
        w[0] = 1
        return w


FEW = (1, 2, 5, 17, 33)
MANY = (2000, 1000, 1025, 2900, 1024, 412, 163)


def rows(*counts: int) -> st.SearchStrategy[Rows]:
    """Any rows, of one of these counts."""
    plain = st.builds(Rows, n=st.sampled_from(counts), seed=st.integers(0, 5))
    other = st.builds(
        Rows,
        n=st.sampled_from(counts),
        dtype=st.sampled_from(("own", *DTYPES)),
        form=st.sampled_from(sorted(FORMS)),
        seed=st.integers(0, 5),
    )
    return st.one_of(plain, plain, other)
