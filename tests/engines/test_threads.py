"""Thread counts are as requested and restored; one program at a time uses a pool."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from mlpx import MLP
from mlpx.engines import threads as engine_threads
from mlpx.engines.native.library import load
from mlpx.engines.threads import blas_threads, controllers
from mlpx.errors import MlpxError

pytestmark = pytest.mark.xdist_group("alone")

RNG = np.random.default_rng(1)
X, Y = RNG.normal(size=(400, 30)), RNG.integers(0, 5, size=400)


def counts() -> list[int]:
    return [controller.num_threads for controller in controllers()]


def trained(threads: int | None, engine: str) -> MLP:
    model = MLP([30, 40, 5], dtype="float64")
    model.fit(X, Y, epochs=2, batch_size=64, threads=threads, engine=engine, verbose=0)
    return model


def engines() -> list[str]:
    return ["interpreter", "native"] if load() else ["interpreter"]


@pytest.mark.parametrize("engine", engines())
def test_thread_counts_agree_and_repeat(engine: str) -> None:
    one, two, again = (trained(count, engine) for count in (1, 2, 2))
    np.testing.assert_allclose(two.flat, one.flat, rtol=1e-12, atol=1e-14)
    assert np.array_equal(two.flat, again.flat)


def test_a_signal_on_the_way_in_leaves_the_blas_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    before, put = counts(), engine_threads._set

    def interrupted(count: int) -> None:
        put(count)
        raise KeyboardInterrupt

    monkeypatch.setattr(engine_threads, "_set", interrupted)
    with pytest.raises(KeyboardInterrupt), blas_threads(1):
        pass
    assert (counts(), engine_threads._users) == (before, 0)


class BrokenOnce:
    """A lock whose first use is interrupted."""

    uses = 0

    def __enter__(self) -> None:
        self.uses += 1
        if self.uses == 1:
            raise KeyboardInterrupt

    def __exit__(self, *_: object) -> None:
        """Nothing to release."""


def test_a_signal_before_anything_is_set_leaves_nobody_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither a user that never joined, nor a library that was not changed yet."""
    before = counts()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    for place, broken in (("_lock", BrokenOnce()), ("_set", interrupted)):
        with monkeypatch.context() as patch:
            patch.setattr(engine_threads, place, broken)
            with pytest.raises(KeyboardInterrupt), blas_threads(1):
                pass
        assert (counts(), engine_threads._users, engine_threads._before) == (before, 0, {})


@pytest.mark.parametrize("engine", engines())
def test_the_blas_gets_its_threads_back(engine: str) -> None:
    before = counts()
    trained(1, engine)
    assert counts() == before
    with pytest.raises(MlpxError):
        MLP([30, 5]).fit(X, Y, threads=1, engine=engine, callbacks=["no callback"], verbose=0)
    assert counts() == before


def test_the_setting_holds_until_the_last_one_leaves() -> None:
    with blas_threads(2):
        wide = counts()
        with blas_threads(1):
            assert set(counts()) == {1}
        assert set(counts()) == {1}
    assert engine_threads._users == 0
    with blas_threads(2):
        assert counts() == wide


@pytest.mark.parametrize("threads", [0, -1, 1.5, True, "two", 2**16, 10**18])
def test_impossible_counts_are_refused(threads: object) -> None:
    with pytest.raises(MlpxError, match="threads"):
        MLP([30, 5]).fit(X, Y, threads=threads, verbose=0)  # type: ignore[arg-type]


@pytest.mark.parametrize("engine", engines())
def test_models_train_side_by_side(engine: str) -> None:
    """Two Python threads, each with a program for two threads: the same bits as alone."""
    alone = trained(2, engine)
    found: list[MLP] = []
    workers = [threading.Thread(target=lambda: found.append(trained(2, engine))) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=60)
    assert len(found) == 4
    assert all(np.array_equal(model.flat, alone.flat) for model in found)
