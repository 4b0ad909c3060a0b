"""Threads, forks and spawned processes that train: the same bits as one that trains alone."""

from __future__ import annotations

import os
import subprocess
import sys

import forks
import numpy as np
import pytest

from mlpx import MLP
from mlpx.backend import diagnose, get_backend
from mlpx.backend.diagnosis import CUDA_NOT_INITIALIZED
from mlpx.engines.native.library import load
from mlpx.errors import DeviceError

pytestmark = pytest.mark.xdist_group("alone")


@pytest.mark.parametrize("engine", ["interpreter", *["native"] * (load() is not None)])
def test_threads_forks_and_spawned_processes_train_to_the_same_bits(engine):
    """In a process of its own: here other tests have loaded libraries that forbid a fork."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", forks.__file__, engine],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_a_fork_after_cuda_is_refused_with_advice(fake_cupy, monkeypatch):
    model, here = MLP([3, 2], device="cuda"), os.getpid()
    x, y = np.ones((4, 3), np.float32), np.array([0, 1, 0, 1])
    model.fit(x, y, verbose=0)
    monkeypatch.setattr(os, "getpid", lambda: here + 1)
    backend = model.backend

    def fails():
        with backend.failing("something"):
            """Nothing is done."""

    for use in (
        fails,
        lambda: get_backend("cuda"),
        lambda: get_backend("cuda:0"),
        lambda: backend.asarray(x),
        lambda: model.fit(x, y, verbose=0),
        lambda: model.predict(x),
        lambda: model.evaluate(x, y),
        lambda: MLP([3, 2], device="cuda"),
        lambda: backend.zeros(3),
        lambda: model.to("cpu"),
        backend.synchronize,
    ):
        with pytest.raises(DeviceError, match=rf"opened by process {here}, .*'spawn'.*'cpu'"):
            use()
    MLP([3, 2], device="cpu").fit(x, y, verbose=0)
    monkeypatch.undo()
    model.fit(x, y, verbose=0)


def test_what_cuda_says_in_a_fork_is_explained(fake_cupy, monkeypatch):
    def fails():
        raise fake_cupy.cuda.runtime.CUDARuntimeError(
            CUDA_NOT_INITIALIZED, "cudaErrorInitializationError: initialization error"
        )

    monkeypatch.setattr(fake_cupy.cuda.runtime, "getDeviceCount", fails)
    found = diagnose()
    assert found.status == "failed"
    assert "cudaErrorInitializationError" in found.message
    assert "forked" in found.remedy
    assert "'spawn'" in found.remedy
