"""Run as a program: training in threads, forks and spawned processes, the same bits as alone."""

from __future__ import annotations

import multiprocessing
import sys
import threading
from collections.abc import Callable
from functools import partial

import numpy as np
from children import forked

from mlpx import MLP, Callback
from mlpx.engines import threads as blas

N, D, K = 400, 30, 5
RNG = np.random.default_rng(1)
X, Y = RNG.normal(size=(N, D)), RNG.integers(0, K, size=N)


def trained(seed: int, engine: str, *callbacks: Callback) -> bytes:
    """The bits of a model that was trained on two threads, and of what it predicts."""
    model = MLP([D, 40, K], dtype="float64", seed=seed)
    model.fit(X, Y, epochs=2, batch_size=64, threads=2, engine=engine, verbose=0,
              callbacks=callbacks)  # fmt: skip
    return bytes(model.flat.tobytes() + model.predict_logits(X).tobytes())


def together(seeds: range, engine: str) -> list[bytes]:
    """One thread for each seed, all at once."""
    found: dict[int, bytes] = {}

    def put(seed: int) -> None:
        found[seed] = trained(seed, engine)

    threads = [threading.Thread(target=put, args=(seed,)) for seed in seeds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [found[seed] for seed in seeds]


def check(named: str, found: object, wanted: object) -> None:
    if found != wanted:
        sys.exit(f"{named}: not the same bits")


class ForkWithin(Callback):
    """Forks while a training is under way, which the child leaves alone to train another."""

    def __init__(self, act: Callable[[], object]) -> None:
        self.act, self.codes = act, list[int]()

    def on_epoch_end(self, run, epoch, logs) -> None:
        self.codes.append(forked(self.act).code)


def beside(act: Callable[[], object]) -> list[int]:
    """The exit codes of forks that are made while another thread trains."""
    stop = threading.Event()

    def busy() -> None:
        while not stop.is_set():
            trained(7, "native")

    thread = threading.Thread(target=busy)
    thread.start()
    codes = [forked(act).code for _ in range(10)]
    stop.set()
    thread.join()
    return codes


def main() -> None:
    for engine in sys.argv[1:]:
        alone = [trained(seed, engine) for seed in range(8)]
        check(f"{engine} in 8 threads", together(range(8), engine), alone)

        act = partial(lambda engine, wanted: check("fork", trained(0, engine), wanted), engine,
                      alone[0])  # fmt: skip
        check(f"{engine} in a fork", forked(act).code, 0)
        check(f"{engine} after a fork", trained(0, engine), alone[0])

        if engine == "native":  # a BLAS that computes may be in no state to be forked
            check("native in forks beside a training", beside(act), [0] * 10)

        with blas._lock:  # as another thread may, at the moment of a fork
            code = forked(act).code
        check(f"{engine} in a fork that finds a lock held", code, 0)

        within = ForkWithin(act)
        check(f"{engine} around forks", trained(0, engine, within), alone[0])
        check(f"{engine} in forks within a training", within.codes, [0, 0])

        for method in ("fork", "spawn"):
            context = multiprocessing.get_context(method)
            with context.Pool(1) as pool:
                check(f"{engine} by {method}", pool.apply(trained, (0, engine)), alone[0])


if __name__ == "__main__":
    main()
