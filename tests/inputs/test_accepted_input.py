"""Valid input of `fit` and its kin: every form of the data trains to the same bits."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from accepted_input import DTYPES, FORMS, D, K, N, X, Y, with_value

from mlpx import MLP, Callback


class TestAccepted:
    @pytest.mark.parametrize("form", FORMS)
    def test_forms_of_x_train_to_the_same_bits(self, form: str) -> None:
        x, plain, other = FORMS[form](X), MLP([D, 5, K]), MLP([D, 5, K])
        plain.fit(X, Y, epochs=2, batch_size=5, validation_data=(X, Y), verbose=0)
        other.fit(x, Y, epochs=2, batch_size=5, validation_data=(x, Y), verbose=0)
        assert plain.flat.tobytes() == other.flat.tobytes()
        assert plain.predict_logits(X).tobytes() == other.predict_logits(x).tobytes()
        assert plain.evaluate(X, Y) == other.evaluate(x, Y)

    @pytest.mark.parametrize("form", FORMS)
    def test_rows_can_be_taken_without_copying_all_in_every_step(self, form: str) -> None:
        """NumPy's take copies the whole array first if it is not contiguous or not aligned."""
        taken = []

        class Look(Callback):
            def on_check(self, run: Any) -> None:
                taken.append(run.data.x)

        MLP([D, K]).fit(FORMS[form](X), Y, epochs=1, callbacks=[Look()], verbose=0)
        assert taken[0].flags.c_contiguous
        assert taken[0].flags.aligned

    @pytest.mark.parametrize("dtype", DTYPES)
    def test_dtypes_of_x_train_as_their_floats(self, dtype: str) -> None:
        x = (np.abs(X) * 3).astype(dtype)
        plain, other = MLP([D, 5, K]), MLP([D, 5, K])
        plain.fit(x.astype(np.float32), Y, epochs=2, batch_size=5, verbose=0)
        other.fit(x, Y, epochs=2, batch_size=5, verbose=0)
        assert plain.flat.tobytes() == other.flat.tobytes()
        assert np.array_equal(plain.predict(x.astype(np.float32)), other.predict(x))

    @pytest.mark.parametrize("dtype", ["i1", "i4", "i8", "u1", "u8", "f2", "f4", "f8", ">i4"])
    def test_dtypes_of_labels(self, dtype: str) -> None:
        plain, other = MLP([D, 5, K]), MLP([D, 5, K])
        plain.fit(X, Y, epochs=1, verbose=0)
        other.fit(X, Y.astype(dtype), epochs=1, verbose=0)
        assert plain.flat.tobytes() == other.flat.tobytes()

    def test_labels_as_list_column_or_bool(self) -> None:
        plain, other = MLP([D, 5, K]), MLP([D, 5, K])
        plain.fit(X, Y % 2, epochs=1, verbose=0)
        other.fit(X, (Y % 2).astype(bool)[:, None], epochs=1, verbose=0)
        other.fit(X, (Y % 2).tolist(), epochs=1, verbose=0)
        plain.fit(X, Y % 2, epochs=1, verbose=0)
        assert plain.flat.tobytes() == other.flat.tobytes()

    @pytest.mark.parametrize("dtype", ["u1", "f4", "f8"])
    def test_memory_mapped_x_is_never_copied_as_a_whole(self, dtype: str, tmp_path: Path) -> None:
        n, d = 20_000, 300
        path = tmp_path / "x.dat"
        x = np.memmap(path, dtype=dtype, mode="w+", shape=(n, d))
        x[...] = np.random.default_rng(0).integers(0, 100, size=(n, d))
        x.flush()
        del x
        x = np.memmap(path, dtype=dtype, mode="r", shape=(n, d))
        y = np.arange(n) % K
        model = MLP([d, 5, K])
        model.fit(x[:64], y[:64], epochs=1, verbose=0)
        tracemalloc.start()
        model.fit(x, y, epochs=1, batch_size=100, validation_data=(x, y), verbose=0)
        model.predict(x)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < n * 150  # labels, order, logits, a chunk; x has at least 300 bytes a row

    def test_numbers_beyond_float32_are_fine_in_float64(self) -> None:
        x = X.astype(np.float64)
        x[0, 0] = 1e39
        assert np.isfinite(MLP([D, K], dtype="float64").predict_logits(x)).all()

    def test_check_finite_can_be_left_out(self) -> None:
        with pytest.warns(RuntimeWarning, match="diverged"):
            MLP([D, K]).fit(with_value(X, np.nan, 3, 1), Y, check_finite=False, verbose=0)

    def test_batch_larger_than_the_data_trains_with_all_and_says_so(self) -> None:
        model, other = MLP([D, K]), MLP([D, K])
        with pytest.warns(
            UserWarning, match="batch_size = 100 is larger .*trained with 12"
        ) as said:
            history = model.fit(X, Y, epochs=2, batch_size=100, verbose=0)
        assert said[0].filename == __file__
        assert history.notes == [str(said[0].message)]
        other.fit(X, Y, epochs=2, batch_size=N, verbose=0)
        assert model.flat.tobytes() == other.flat.tobytes()
        assert other.fit(X, Y, epochs=1, batch_size=N, verbose=0).notes == []

    def test_default_batch_is_silent_on_little_data(self) -> None:
        assert MLP([D, K]).fit(X, Y, epochs=1, verbose=0).notes == []
