"""Run as a program: what mlpx does while it may have only so much more memory, as JSON."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import safetensors.numpy  # noqa: F401 - loaded while there is memory
from children import Ended, allow, allow_all, forked

from mlpx import MLP
from mlpx.errors import MlpxError

STEPS_MIB = (1, 2, 5, 9, 14, 20, 27, 35, 44, 60, 80, 110, 150, 260)
X = np.random.default_rng(0).normal(size=(600, 300)).astype(np.float32)
Y = np.arange(600) % 10


def net() -> MLP:
    return MLP([300, 1000, 800, 10])


def fit(model: MLP, engine: str, **options: Any) -> None:
    model.fit(X, Y, engine=engine, epochs=1, batch_size=200, verbose=0, **options)


def doings(model: MLP, native: bool) -> dict[str, Callable[[], object]]:
    model.save("model.safetensors")
    found: dict[str, Callable[[], object]] = {
        "build": net,
        "fit": partial(fit, model, "interpreter"),
        "predict": partial(model.predict, X),
        "save": partial(model.save, "again.safetensors"),
        "load": partial(MLP.load, "model.safetensors"),
    }
    if native:
        found["fit native"] = partial(fit, model, "native")
        found["fit threads"] = partial(fit, model, "native", threads=8)
    return found


def deep(levels: int) -> int:
    """Calls itself by way of C, so that the stack has grown before memory is limited."""
    return sum(map(deep, [levels - 1])) if levels else 0


def threads_are_left() -> bool:
    """One that has been joined may be listed for a moment."""
    until_s = time.monotonic() + 5
    while len(os.listdir("/proc/self/task")) > 1:
        if time.monotonic() > until_s:
            return True
        time.sleep(0.01)
    return False


def limited(act: Callable[[], object], mebibytes: float) -> None:
    """Exits with 7 for an error of ours, with 8 for a MemoryError of another, and with 9 for
    threads that were left over.
    """
    allow(mebibytes)
    try:
        act()
    except MlpxError as error:
        sys.stdout.write(str(error))
        sys.exit(9 if "cannot start" in str(error) and threads_are_left() else 7)
    except MemoryError as error:
        sys.stdout.write(repr(error))
        sys.exit(8)


def until_it_works(act: Callable[[], object]) -> list[Ended]:
    ends: list[Ended] = []
    for mebibytes in STEPS_MIB:
        ends.append(forked(partial(limited, act, mebibytes)))
        if ends[-1].code == 0:
            break
    return ends


def none_the_worse(model: MLP) -> tuple[bool, bool]:
    """Whether a fit that fails leaves the model as it was, and the next is as ever."""
    before, other = model.flat.tobytes(), net()
    allow(1)
    try:
        fit(model, "interpreter")
    except MemoryError:
        failed = True
    else:
        failed = False
    allow_all()
    kept = failed and model.flat.tobytes() == before and model.training_state is None
    fit(model, "interpreter")
    fit(other, "interpreter")
    return kept, model.flat.tobytes() == other.flat.tobytes()


def main() -> None:
    deep(300)
    model = net()
    ends = {name: until_it_works(act) for name, act in doings(model, "native" in sys.argv).items()}
    json.dump([ends, *none_the_worse(model)], sys.stdout)


if __name__ == "__main__":
    main()
