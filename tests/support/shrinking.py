"""Run as a program: what is computed from memory-mapped files that shrink, or are deleted."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from children import forked

from mlpx import MLP, Callback
from mlpx.errors import DataError

N, D, K = 4000, 32, 5
X = np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)
Y = np.arange(N) % K
NAME = "x.npy"


def mapped(name: str) -> np.ndarray:
    """A mapped file of X."""
    np.save(name, X)
    return np.load(name, mmap_mode="r")


class After(Callback):
    """Does something after the first epoch."""

    def __init__(self, act: Callable[[], object]) -> None:
        self.act = act

    def on_epoch_end(self, run: Any, epoch: int, logs: Any) -> None:
        if epoch == 0:
            self.act()
        if epoch == 20:
            sys.exit("the training went on")


def fitted(x: np.ndarray, act: Callable[[], object], *, epochs: int = 30, **options: Any) -> MLP:
    model = MLP([D, 16, K], seed=1)
    model.fit(x, Y, epochs=epochs, verbose=0, callbacks=[After(act)], **options)
    return model


def told(act: Callable[[np.ndarray], object], *, before: bool = False) -> None:
    """Exits unless `act`, with a mapped file that shrinks, says so; before: it has shrunk."""
    x = mapped(NAME)
    if before:
        shrink()
    try:
        act(x)
    except DataError as error:
        words = f"{NAME} shrank from {N * D * 4 + 128:,} to 5,000 bytes"
        if words not in str(error):
            sys.exit(f"{error}")
    else:
        sys.exit(f"nothing was said by {act}")


def shrink() -> None:
    os.truncate(NAME, 5000)


def fail(x: np.ndarray) -> None:
    """Fails because of what is read."""
    shrink()
    raise ValueError(f"the sum is {x.sum()}")


def main() -> None:
    model = MLP([D, 16, K])
    for engine in ("native", "interpreter"):
        fit = partial(fitted, engine=engine)
        told(lambda x, fit=fit: fit(x, shrink))
        told(lambda x, fit=fit: fit(np.asarray(x)[:, :], shrink))
        told(lambda x, fit=fit: fit(x, partial(fail, x)))
        told(lambda x, fit=fit: fit(X, shrink, validation_data=(x, Y)))
    told(model.predict, before=True)
    told(model.predict_proba, before=True)
    told(lambda x: model.evaluate(x, Y), before=True)

    x = mapped(NAME)
    deleted = fitted(x, lambda: os.remove(NAME), epochs=3).flat
    if not np.array_equal(deleted, fitted(X, int, epochs=3).flat):
        sys.exit("a file that was deleted: not the same bits")

    # What nobody watches ends a process as ever, also within a training that watches another file.
    x, other = mapped(NAME), mapped("other.npy")
    os.truncate("other.npy", 5000)
    for code in (forked(other.sum).code, forked(lambda: fitted(x, other.sum)).code):
        if code != -7:
            sys.exit(f"another's file: {code}")


if __name__ == "__main__":
    main()
