"""Times of training as `fit` does it: of a step on CPU and GPU, of an epoch, in each precision."""

from __future__ import annotations

from functools import lru_cache
from statistics import median
from typing import Any

import numpy as np

import mlpx
from mlpx.random import Purpose, normal, words
from mlpx.training import PRECISIONS

Result = dict[str, Any]


@lru_cache(maxsize=2)
def images(n: int) -> tuple[np.ndarray, np.ndarray]:
    """MNIST-shaped bytes (n, 784) and labels (n,): ten blurred prototypes with noise."""
    prototypes = normal(words(1, Purpose.SPLIT, count=7840)).reshape(10, 784)
    labels = (words(2, Purpose.SPLIT, count=n) % np.uint64(10)).astype(np.int64)
    noise = normal(words(3, Purpose.SPLIT, count=n * 784)).reshape(n, 784)
    return np.clip(128 + 32 * (prototypes[labels] + noise), 0, 255).astype(np.uint8), labels


def network(hidden: tuple[int, ...], activation: str, device: str, dtype: str) -> mlpx.MLP:
    return mlpx.MLP(
        [784, mlpx.Rescale(1 / 255), *hidden, 10], activation=activation, device=device, dtype=dtype
    )


def time_epoch(device: str, *, quick: bool) -> Result:
    """Milliseconds of an epoch of 784-50-10 on 60,000 images at batch 100, shuffled, with metrics,
    by engine; and the engine's own words.
    """
    x, y = images(600 if quick else 60_000)
    found: Result = {"target_ms": 15}
    for engine in ("auto", "interpreter"):
        model = network((50,), "relu", device, "float32")
        once = {"batch_size": 100, "optimizer": "sgd", "engine": engine, "verbose": 0}
        model.fit(x, y, epochs=1, **once)
        seconds = [
            (model.fit(x, y, epochs=4, **once).seconds - model.fit(x, y, epochs=1, **once).seconds)
            / 3
            for _ in range(3)
        ]
        found[model.engine or engine] = {
            "epoch_ms": 1e3 * median(seconds), "reason": model.engine_reason,
        }  # fmt: skip
    return found


def step_s(model: mlpx.MLP, x: Any, y: Any, steps: int, **options: Any) -> float:
    """Seconds of a step by about `steps` of them, without what a fit does once: it plans, compiles
    and captures.
    """
    few = max(1, steps // 6)
    short, long = (
        model.fit(x, y, steps=count, verbose=0, **options).seconds for count in (few, 5 * few)
    )
    return max((long - short) / (4 * few), 1e-9)


def time_precisions(
    device: str, hidden: tuple[int, ...], batch_size: int, *, quick: bool
) -> Result:
    """Microseconds of a step in float32 and with tf32, and how far the losses are apart: exactly
    equal ones say that nothing was rounded.
    """
    x, y = images(600 if quick else batch_size * 2)
    steps = 3 if quick else 100
    found: Result = {"network": [784, *hidden, 10], "batch_size": batch_size}
    losses = []
    for precision in PRECISIONS:
        model = network(hidden, "relu", device, "float32")
        options: Result = {"batch_size": min(batch_size, len(x)), "precision": precision}
        try:
            losses.append(model.fit(x, y, steps=steps, verbose=0, **options).step_loss)
        except mlpx.errors.MlpxError as error:
            found[precision] = str(error)
            continue
        found[precision] = {
            "largest_difference": float(np.max(np.abs(losses[-1] - losses[0]))),
            "step_us": 1e6 * step_s(model, x, y, steps, **options),
            "engine": model.engine,
        }
    return found


def crossover(times: list[Result]) -> int | None:
    """The smallest batch size measured at which the GPU's step is the shorter one."""
    faster = [t["batch_size"] for t in times if min(t["step_us"], key=t["step_us"].get) != "cpu"]
    return min(faster, default=None)


def time_step(
    devices: list[str], hidden: tuple[int, ...], optimizer: str, batch_size: int, *, quick: bool
) -> Result:
    """Microseconds of a training step as `fit` does it, devices in turn, the median of the
    rounds.
    """
    x, y = images(600 if quick else max(8192, batch_size))
    steps = 3 if quick else max(20, min(400, 400_000 // batch_size))
    models = {device: network(hidden, "relu", device, "float32") for device in devices}

    options: Result = {"batch_size": batch_size, "optimizer": optimizer}
    for device in devices:  # compiles kernels and warms the caches
        models[device].fit(x, y, steps=3, verbose=0, **options)
    rounds = [
        {device: step_s(models[device], x, y, steps, **options) for device in devices}
        for _ in range(3)
    ]
    return {
        "network": [784, *hidden, 10],
        "optimizer": optimizer,
        "batch_size": batch_size,
        "steps_a_round": steps,
        "step_us": {device: 1e6 * median(times[device] for times in rounds) for device in devices},
    }
