"""Four threads train nets by the native engine, while two predict with a net that they share.

Run as a program, for a sanitizer of threads to watch.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np

from mlpx import MLP, BatchNorm, Dense, Dropout, LayerNorm, Residual
from mlpx.engines.native import library

D, K = 16, 3
SIZES = (1, 2, 7, 60, 100)
"""Rows of a prediction: divided by columns, by chunks, and not at all."""
SMALL = [D, Dense(24), BatchNorm(), "relu", Dropout(0.2), Dense(20, activation="tanh"), K]
TRAINED = (
    # Of the first two, threads exchange the gradients of their rows; of the others, the factors.
    (SMALL, 100, "adam"),
    ([D, Residual([LayerNorm(), Dense(D, activation="gelu")]), K], 150, "momentum"),
    ([D, Dense(48), Dense(48, activation="sigmoid"), K], 20, "lamb"),
    ([D, Dense(32), K], 9, "muon"),
)


def train(number: int) -> None:
    """Two fits of one net, by two threads or by three, and a prediction."""
    layers, batch_size, optimizer = TRAINED[number]
    rng = np.random.default_rng(number)
    x, y = rng.normal(size=(300, D)).astype(np.float32), rng.integers(0, K, size=300)
    model, threads = MLP(layers, seed=number), 2 + number % 2
    for _ in range(2):
        model.fit(
            x, y, epochs=2, batch_size=batch_size, optimizer=optimizer, engine="native",
            threads=threads, verbose=0,
        )  # fmt: skip
        model.flat.copy(), model.predict(x).copy()  # what another thread wrote, read in this one


def serve(model: MLP) -> None:
    """Predictions of all sizes."""
    x = np.random.default_rng(9).normal(size=(max(SIZES), D)).astype(np.float32)
    for _ in range(3):
        for n in SIZES:
            model.predict_logits(x[:n]).copy()


def main() -> None:
    shared = MLP([D, Dense(520), Dense(520), K])
    wrong, works = list[BaseException](), list[Callable[[], None]]()
    works += [lambda i=i: train(i) for i in range(len(TRAINED))]  # type: ignore[misc]
    works += [lambda: serve(shared)] * 2

    def kept(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            wrong.append(error)

    running = [threading.Thread(target=kept, args=(work,)) for work in works]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    if wrong:
        raise wrong[0]
    loaded = library.load()
    assert loaded is not None
    print(loaded._name, library.instruction_set())  # noqa: T201


if __name__ == "__main__":
    main()
