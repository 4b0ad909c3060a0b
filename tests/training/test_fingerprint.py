"""A checkpoint recognises the data of its run, whatever form the same data comes in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlpx import MLP
from mlpx.estimators.feeding import open_window
from mlpx.estimators.rows import as_data
from mlpx.program.data import prepare_data
from mlpx.training import fingerprint as prints
from mlpx.training.fingerprint import changes, fingerprint

N, D = 50, 4
rng = np.random.default_rng(3)
X, Y = rng.normal(size=(N, D)), rng.integers(0, 3, size=N)


def taken(x: Any = X, y: Any = Y, weights: Any = None, *, device: str = "cpu") -> Any:
    return fingerprint(prepare_data(MLP([D, 3], device=device), x, y, weights))


def read_only(x: np.ndarray) -> np.ndarray:
    x = x.copy()
    x.flags.writeable = False
    return x


SAME: dict[str, Any] = {
    "a copy": lambda x: x.copy(),
    "columns first": np.asfortranarray,
    "every second row": lambda x: np.repeat(x, 2, axis=0)[::2],
    "read-only": read_only,
    "other byte order": lambda x: x.astype(x.dtype.newbyteorder()),
}


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
@pytest.mark.parametrize("name", SAME)
def test_the_same_data(name: str, dtype: str) -> None:
    x = (X * 50 + 128).astype(dtype)
    assert taken(SAME[name](x)) == taken(x)


def test_lists() -> None:
    assert taken(X.tolist(), Y.tolist()) == taken()


def test_labels_of_any_integer_type() -> None:
    for dtype in (np.int8, np.uint16, np.int32, np.int64):
        assert taken(y=Y.astype(dtype)) == taken()


def test_on_any_device(fake_cupy: Any) -> None:
    assert taken(weights=np.ones(N), device="cuda") == taken(weights=np.ones(N))


def test_a_file_mapped_into_memory(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", X)
    assert taken(np.load(tmp_path / "x.npy", mmap_mode="r")) == taken()


def test_sparse_rows() -> None:
    """They come through a window, which holds only some of them at a time."""

    def window(x: np.ndarray) -> Any:
        data = as_data(csr_matrix(x), Y, None, model=model)
        return fingerprint(open_window(model, data, batch_size=8))

    csr_matrix = pytest.importorskip("scipy.sparse").csr_matrix
    model, x = MLP([D, 3], dtype="float64"), np.where(X > 0.5, X, 0)
    before = window(x)
    assert before == window(x)
    x[40, 2] += 1
    assert changes(window(x), before, name="") == ["x has other values"]


@pytest.mark.parametrize("row", [0, 1, N // 2, N - 1])
@pytest.mark.parametrize("column", [0, D - 1])
def test_any_value_that_changed(row: int, column: int) -> None:
    x = X.copy()
    x[row, column] = np.nextafter(x[row, column], np.inf)
    assert changes(taken(x), taken(), name="") == ["x has other values"]


def test_large_data_is_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Evenly, with the first and the last row: the time does not grow with their number."""
    monkeypatch.setattr(prints, "SAMPLE_BYTES", 10 * D * 8)
    seen = []
    for row in range(N):
        x = X.copy()
        x[row] += 1
        if taken(x) != taken():
            seen.append(row)
    assert len(seen) == 10
    assert (seen[0], seen[-1]) == (0, N - 1)
    assert max(np.diff(seen)) - min(np.diff(seen)) <= 1
    assert changes(taken(X[:-1], Y[:-1]), taken(), name="")[0].startswith("x.shape = (49, 4), it")


def test_one_row_larger_than_the_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prints, "SAMPLE_BYTES", 1)
    assert taken(X[:1], Y[:1]) == taken(X[:1], Y[:1])


def test_what_differs_in_words() -> None:
    weights = np.ones(N)
    assert changes(taken(), taken(), name="") == []
    assert changes(None, None, name="") == []
    assert changes(None, taken(), name="validation ") == ["there is no validation data"]
    assert changes(taken(), None, name="validation ") == ["there is now validation data"]
    assert changes(taken(), taken(weights=weights), name="") == ["there is no sample_weight"]
    assert changes(taken(weights=weights), taken(), name="") == ["there is now sample_weight"]
    assert changes(taken(weights=weights), taken(weights=weights + 1), name="validation ") == [
        "validation sample_weight has other values"
    ]
    assert changes(taken(X.astype("f4"), Y[::-1]), taken(), name="") == [
        "x is float32, it was float64", "y has other values",
    ]  # fmt: skip
