"""How much more memory is in use after many steps than after as many before, and after many models
than after a few.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gpu.data import forced, images, network
from gpu.faults import said
from gpu.section import Row, Setup
from mlpx.backend import get_backend

EPOCHS, STEPS_AN_EPOCH, BATCH_SIZE = 334, 60, 100
MODELS, FEW_MODELS = 12, 4
DRIVER_BYTES = 4 << 20
"""The driver takes memory by 2 MiB, for what it likes; a leak of a block a step is 10 MiB."""
MODEL_BYTES = 16 << 20
"""Less than what a step of one model works in: it has 32 MiB for products on each lane."""


def run(setup: Setup) -> Iterator[Row]:
    for what, measure in {"a long run": steps, "models that come and go": models}.items():
        row: Row = {"what": what}
        try:
            yield row | measure(setup)
        except Exception as error:  # the other may work
            yield row | {"passed": False, "why": said(error)}


def steps(setup: Setup) -> Row:
    """After a short run, a long one, and as long a one again."""
    epochs, per_epoch = (3, 2) if setup.quick else (EPOCHS, STEPS_AN_EPOCH)
    batch_size = 10 if setup.quick else BATCH_SIZE
    x, y = images(per_epoch * batch_size)
    model, used = network((50,), "relu", setup.device, "float32"), []
    for count in (1, epochs, epochs):
        model.fit(x, y, epochs=count, batch_size=batch_size, engine="cuda", verbose=0)
        used.append(in_use(setup.device))
    row: Row = {"steps": epochs * per_epoch, **columns(used)} | forced(model)
    return judged(row, used[1], used[2], DRIVER_BYTES)


def models(setup: Setup) -> Row:
    """After some models that were trained and let go, and after more."""
    x, y = images(40 if setup.quick else 1000)
    few, many = (1, 2) if setup.quick else (FEW_MODELS, MODELS)
    row, used = Row(), list[dict[str, int]]()
    for i in range(many):
        model = network((50,), "relu", setup.device, "float32")
        model.fit(x, y, epochs=2, batch_size=20, engine="cuda", verbose=0)
        row = forced(model)
        del model
        if i + 1 in (few, many):
            used.append(in_use(setup.device))
    row |= {"models": [few, many], **columns(used)}
    return judged(row, used[0], used[1], MODEL_BYTES)


def judged(row: Row, before: dict[str, int], after: dict[str, int], room: int) -> Row:
    """Whether nothing grew: CuPy's arrays not by a byte, the device by no more than `room`."""
    grown = {name: after[name] - before[name] for name in before}
    row["grown_bytes"] = grown
    if row["passed"] and (grown["arrays"] > 0 or grown["device"] > room):
        row |= {"passed": False, "why": f"grown by {grown}"}
    return row


def columns(used: list[dict[str, int]]) -> Row:
    return {f"{name}_bytes": [each[name] for each in used] for name in used[0]}


def in_use(device: str) -> dict[str, int]:
    """Bytes of the device in all, of CuPy's arrays, and of this process on the host."""
    gc.collect()
    backend: Any = get_backend(device)
    backend.synchronize()
    with backend.xp.cuda.Device(backend.index):
        arrays = int(backend.xp.get_default_memory_pool().used_bytes())
    return {"device": int(backend.memory().used_bytes), "arrays": arrays, "host": resident()}


def resident() -> int:
    """Bytes of this process in memory; 0 where the system does not say."""
    statm = Path("/proc/self/statm")
    pages = int(statm.read_text().split()[1]) if statm.exists() else 0
    return pages * os.sysconf("SC_PAGE_SIZE")
