"""A small data set with any labels, a run on it, and the run's predictions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from commanding import mlpx

from mlpx.data import load_dataset

N = 60
RNG = np.random.default_rng(0)
Y = np.arange(N) % 3
X = (RNG.normal(size=(N, 3)) + 6 * np.eye(3)[Y]).astype(np.float32)
ANIMALS = np.array(["cat", "dog", "fox"])
HUGE = np.array([2**63 - 1, 2**63, 2**64 - 1], np.uint64)


def saved(y, x=X, **test):
    arrays = {name: value for name, value in test.items() if value is not None}
    np.savez("data.npz", x_train=x, y_train=y, **arrays)


def data_set(y, x=X):
    saved(y, x)
    return load_dataset("data.npz")


def trained(y, *options, epochs=3, **test):
    """What training on data.npz says; the run is in run."""
    saved(y, **test)
    usual = ("--epochs", epochs, "--lr", 0.1, "--hidden", 8, "--out", "run")
    found = mlpx("train", "data.npz", *usual, *options)
    assert found.exit_code == 0, found.output
    return found


def refused(y, *options, code=1, **test):
    saved(y, **test)
    found = mlpx("train", "data.npz", *options)
    assert (found.exit_code, found.stdout) == (code, ""), found.output
    assert not Path("runs").exists()
    return " ".join(found.stderr.replace("│", " ").split())


def answers(*options):
    np.save("x.npy", X[:6])
    found = mlpx("predict", "run", "x.npy", *options)
    assert found.exit_code == 0, found.output
    return found.stdout.split()
