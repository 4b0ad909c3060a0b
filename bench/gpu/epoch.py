"""A shuffled epoch of 784-50-10 on 60,000 images at batch 100 with metrics: the time of one more,
of a whole `fit`, and of what the host does for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median
from typing import Any

import numpy as np

import mlpx
from gpu.data import forced, images, network
from gpu.faults import lost, said
from gpu.section import Row, Setup
from mlpx.backend import get_backend
from mlpx.training.sampling import SAMPLINGS

TARGET_MS = 15.0
EPOCHS = 10
DISTINCT = 6000
"""The images are so many, again and again: what they show costs no time."""


def run(setup: Setup) -> Iterator[Row]:
    bench = Bench(setup)
    for what, measure in bench.findings().items():
        row: Row = {"what": what}
        try:
            yield row | measure()
        except Exception as error:  # the others may work
            yield row | {"passed": False, "why": said(error)}
        gone = lost(get_backend(setup.device))
        if gone:
            yield {"what": "the rest", "passed": False, "why": f"the device is lost: {gone}"}
            return


class Bench:
    """The data, a model, and its times."""

    def __init__(self, setup: Setup) -> None:
        self.device = setup.device
        self.rows, self.held_out = (40, 20) if setup.quick else (60_000, 10_000)
        self.batch_size = 10 if setup.quick else 100
        self.more = 1 if setup.quick else EPOCHS - 1
        self.rounds, self.warm = (1, 1) if setup.quick else (5, 2)
        """Graphs of the last steps of an epoch are captured in a second run."""
        x, y = images(20 if setup.quick else DISTINCT)
        times = -(-self.rows // len(x))
        self.x, self.y = np.tile(x, (times, 1))[: self.rows], np.tile(y, times)[: self.rows]
        self.model = self.network()

    def findings(self) -> dict[str, Callable[[], Row]]:
        """What is measured, in this order."""
        return {
            "a fit of 10 epochs": self.fits,
            "an epoch": self.epochs,
            "an epoch with validation": self.validated,
            "the next epoch's order": self.shuffles,
            "an epoch by the interpreter": self.interpreted,
        }

    def network(self) -> mlpx.MLP:
        return network((50,), "sigmoid", self.device, "float32")

    def fit(self, model: mlpx.MLP, epochs: int, engine: str = "cuda", **options: Any) -> Any:
        return model.fit(
            self.x, self.y, epochs=epochs, batch_size=self.batch_size, optimizer="sgd",
            engine=engine, verbose=0, **options,
        )  # fmt: skip

    def fits(self) -> Row:
        """All of a fit, by the clock; the first plans and captures."""
        found = [self.clock(partial(self.fit, self.model, 1 + self.more)) for _ in range(3)]
        row: Row = {"epochs": 1 + self.more, "first_ms": found[0], "again_ms": min(found[1:])}
        return row | forced(self.model)

    def epochs(self) -> Row:
        """Of the training data alone."""
        return self.one_more() | {"images": self.rows, "batch_size": self.batch_size}

    def validated(self) -> Row:
        """And 10,000 images evaluated after it."""
        part = self.x[: self.held_out], self.y[: self.held_out]
        return self.one_more(validation_data=part) | {"images_held_out": self.held_out}

    def one_more(self, **options: Any) -> Row:
        """The time of an epoch: of a fit of several without that of a fit of one."""
        for epochs in (1, 1 + self.more) * self.warm:
            self.fit(self.model, epochs, **options)
        found = []
        for _ in range(self.rounds):
            one, many = (self.fit(self.model, n, **options) for n in (1, 1 + self.more))
            found.append(1e3 * (many.seconds - one.seconds) / self.more)
        epoch_ms = median(found)
        row = {"epoch_ms": epoch_ms, "rounds_ms": found, "target_ms": TARGET_MS}
        return row | {"reached": epoch_ms <= TARGET_MS} | forced(self.model)

    def shuffles(self) -> Row:
        """Of the host, which draws it while the device is at work."""
        found = [self.clock(partial(self.order, i)) for i in range(1 + self.rounds)]
        return {"order_ms": median(found[1:]), "images": self.rows}

    def order(self, epoch: int) -> np.ndarray:
        return SAMPLINGS["shuffle"](0, epoch, self.rows, self.rows)

    def interpreted(self) -> Row:
        """On the same device; once."""
        self.network().fit(self.x, self.y, steps=3, batch_size=self.batch_size, optimizer="sgd",
                           engine="interpreter", verbose=0)  # fmt: skip
        model = self.network()
        row: Row = {"epoch_ms": 1e3 * self.fit(model, 1, "interpreter").seconds}
        return row | forced(model, "interpreter")

    def clock(self, call: Callable[[], Any]) -> float:
        """Milliseconds of a call."""
        started_s = time.perf_counter()
        call()
        return 1e3 * (time.perf_counter() - started_s)
