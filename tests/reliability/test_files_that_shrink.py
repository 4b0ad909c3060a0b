"""Data files that shrink or disappear while they are read."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import shrinking
from commanding import mlpx as run
from commanding import same_weights, train

from mlpx import MLP, Callback
from mlpx.engines.native import mapped
from mlpx.engines.native.library import load
from mlpx.engines.native.mapped import mapped_files, watched

pytestmark = pytest.mark.usefixtures("elsewhere", "blank_pictures")
needs_library = pytest.mark.skipif(load() is None, reason="the native library was not built")


@needs_library
def test_a_mapped_file_that_shrinks_is_an_error_and_no_crash():
    """In a process of its own: the system ends it if the library does not help."""
    done = subprocess.run(
        [sys.executable, shrinking.__file__], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr


@needs_library
def test_rows_that_shrink_are_one_line(table, monkeypatch):
    train(table, "--epochs", 1, "--out", "run", "--quiet")
    np.save("rows.npy", np.zeros((3000, 3), np.float32))
    predict = MLP.predict

    def late(model, x, **options):
        os.truncate("rows.npy", 5000)
        return predict(model, x, **options)

    monkeypatch.setattr(MLP, "predict", late)
    found = run("predict", "run", "rows.npy")
    assert (found.exit_code, found.stdout) == (1, "")
    assert "rows.npy shrank from 36,128 to 5,000 bytes while it was read" in found.stderr


@pytest.mark.parametrize("go", [lambda file: os.truncate(file, 10), os.remove])
def test_the_file_of_a_data_set_is_not_needed_once_it_is_read(table, go, monkeypatch):
    class Goes(Callback):
        def on_epoch_end(self, run, epoch, logs):
            if epoch == 0:
                go(table)

    train(table, "--epochs", 3, "--out", "whole", "--quiet")
    monkeypatch.setattr("mlpx.cli.train.setup.StopOnPlateau", Goes)
    train(table, "--epochs", 3, "--out", "run", "--quiet", "--stop-on-plateau")
    assert same_weights("run", "whole")
    again = run("train", "--resume", "run", "--epochs", 1)
    assert again.exit_code == 1
    assert again.stderr.startswith(f"error: {table}")


def test_arrays_are_found_to_be_mapped_however_they_are_viewed(tmp_path):
    np.save("x.npy", np.zeros((4, 3)))
    x = np.load("x.npy", mmap_mode="r")
    views = [x, x[1:], np.asarray(x), x.T, np.frombuffer(memoryview(x._mmap), np.uint8)]
    found = list(mapped_files([*views, np.zeros(3), None, [1, 2], (x, np.zeros(2))]))
    assert [file.content for file in found] == [x._mmap] * 6
    assert found[0].name == found[2].name == str(tmp_path / "x.npy")
    assert found[4].name == "a memory-mapped file"


def test_without_the_library_nothing_is_watched(monkeypatch):
    np.save("x.npy", np.zeros((4, 3)))
    monkeypatch.setattr(mapped, "load", lambda: None)
    with watched(np.load("x.npy", mmap_mode="r")) as files:
        assert files is None


@needs_library
def test_more_files_than_can_be_watched_do_no_harm():
    np.save("x.npy", np.zeros((4, 3)))
    x = np.load("x.npy", mmap_mode="r")
    with watched(*[x] * 100) as files:
        assert len(files._numbers) == 64
    with watched(x) as files:
        assert len(files._numbers) == 1
