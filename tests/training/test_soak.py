"""What a process holds after many trainings is what it held after a few; bench/soak.py goes on for
an hour.
"""

from __future__ import annotations

import gc
import os
import runpy
import shutil
import sys
import time
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest
from small_training import N, data, net, quiet, same

from mlpx import EMA, MLP, Adam, Callback, Checkpoints

PARTS, CYCLES = 3, 8
"""How often memory is measured, and after how many cycles more."""
MOST_BYTES = 2000
"""By how much a cycle may grow the memory that Python traces: by less than one of its nets takes.
It is some hundred bytes, of caches of Python's and NumPy's that are not full yet.
"""
OPTIMIZERS: tuple[Any, ...] = ("sgd", Adam(average=EMA(0.9)))
ENGINES: tuple[dict[str, Any], ...] = (
    {"engine": "native", "threads": 2},
    {"engine": "interpreter"},
)

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="what a process holds is read from /proc"
)


class BrokenOffError(Exception):
    """Raised to break off a run."""


class BreakOff(Callback):
    def on_epoch_end(self, run: Any, epoch: int, logs: Any) -> None:
        if epoch == 1:
            raise BrokenOffError


class AtOnce(Callback):
    def on_epoch_begin(self, run: Any, epoch: int) -> None:
        raise BrokenOffError


def cycle(folder: Path, number: int) -> None:
    """Train with checkpoints, break off, resume, save, load, predict."""
    x, y = data(number)
    options = {
        "optimizer": OPTIMIZERS[number % 2], **ENGINES[number // 2 % 2], "epochs": 3,
        "validation_split": 0.2, "checkpoint": folder, "every": 5,
    }  # fmt: skip
    with pytest.raises(BrokenOffError):
        quiet(net(), x, y, callbacks=[BreakOff()], **options)
    resumed, whole = net(), net()
    quiet(resumed, x, y, resume=True, **options)
    quiet(whole, x, y, **options | {"checkpoint": None, "every": None})
    assert same(resumed, whole)
    resumed.save(folder / "model.safetensors")
    loaded = MLP.load(folder / "model.safetensors")
    for rows in (1, 1 + number % N):
        assert np.array_equal(loaded.predict(x[:rows]), whole.predict(x[:rows]))
    assert {path.suffix for path in folder.iterdir()} == {".safetensors"}
    shutil.rmtree(folder)


def descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def threads() -> set[str]:
    return set(os.listdir("/proc/self/task"))


def traced() -> int:
    """The bytes that Python has in use."""
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


@pytest.mark.parametrize("workers", [1, 4])
def test_cycles_leave_nothing_behind(workers: int, tmp_path: Path) -> None:
    def cycles(count: int) -> None:
        with ThreadPoolExecutor(workers) as running:
            list(running.map(lambda i: cycle(tmp_path / str(i), i), range(count)))

    cycles(4 * workers)
    open_before, running_before = descriptors(), threads()
    tracemalloc.start()
    try:
        cycles(2 * CYCLES)  # caches that are not full yet grow less and less
        sizes = [traced()]
        for _ in range(PARTS):
            cycles(CYCLES)
            sizes.append(traced())
    finally:
        tracemalloc.stop()
    # A leak is in every part; Python's table of names grows now and then, by 2 MB at once.
    growth = median(b - a for a, b in pairwise(sizes))
    assert growth < MOST_BYTES * CYCLES, sizes
    assert descriptors() == open_before
    until_s = time.monotonic() + 5  # a thread that has been joined may be listed for a moment
    while threads() - running_before and time.monotonic() < until_s:
        time.sleep(0.01)
    assert threads() <= running_before
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_had_no_time_to_remove_is_removed(tmp_path: Path) -> None:
    """Also if its last checkpoint was the end of the run, so that none is written any more."""
    x, y = data()
    quiet(net(), x, y, checkpoint=tmp_path, every=3)
    names = [tmp_path / f"checkpoint-00000{i}.safetensors" for i in (7, 8, 9)]
    for before, name in zip(sorted(tmp_path.iterdir()), names[1:], strict=True):
        before.rename(name)
    shutil.copy(names[1], names[0])
    quiet(net(), x, y, checkpoint=tmp_path, every=3, resume=True)
    assert sorted(tmp_path.iterdir()) == names[1:]


def test_a_whole_checkpoint_is_kept_until_a_later_one_is_whole(tmp_path: Path) -> None:
    x, y = data()
    options = {"checkpoint": Checkpoints(tmp_path, every=3, keep=1), "epochs": 3}
    with pytest.raises(BrokenOffError):
        quiet(net(), x, y, callbacks=[BreakOff()], **options)
    (whole,) = tmp_path.iterdir()
    (tmp_path / "checkpoint-000099.safetensors").write_bytes(whole.read_bytes()[:-9])
    with pytest.warns(UserWarning, match="checkpoint before it"), pytest.raises(BrokenOffError):
        quiet(net(), x, y, resume=True, callbacks=[AtOnce()], **options)
    assert whole.exists()


def test_no_checkpoint_is_made_between_the_last_step_and_the_end(tmp_path: Path) -> None:
    """A run that went on from it would have nothing to do, and lack its last epoch."""
    keeper, made = Checkpoints(tmp_path, every=1), list[int]()

    class Watched(Checkpoints):
        def _snapshot(self, run: Any, *, inside: bool) -> None:
            if inside:
                made.append(run.total_steps - run.steps_done)

    keeper.__class__ = Watched
    quiet(net(), *data(), checkpoint=keeper, epochs=3)
    assert 0 not in made


def sampled(soak: dict[str, Any], **changes: Callable[[int], float]) -> list[Any]:
    """An hour of samples in which nothing changes but what `changes` says, by the minute."""
    held = dict.fromkeys(soak["COLUMNS"], 0) | {"resident_mib": 240.0, "threads": 4}
    return [
        soak["Sample"](
            **held
            | {"minute": minute, "cycles": 10 * minute}
            | {name: of(minute) for name, of in changes.items()}
        )
        for minute in range(1, 61)
    ]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, []),
        ({"resident_mib": lambda m: 240 + m % 7}, []),
        ({"threads": lambda m: min(m, 9)}, []),  # in the first quarter
        ({"malloc_kib": lambda m: 190 * m + m % 3}, []),
        ({"malloc_kib": lambda m: 2000 * (m > 30)}, []),  # once
        ({"malloc_kib": lambda m: 210 * m + m % 3}, ["KiB of malloc grows by 20.5 a cycle"]),
        ({"malloc_kib": lambda m: 3000 * (m // 10)}, ["KiB of malloc grows by 26.7 a cycle"]),
        ({"python_blocks": lambda m: 1040 * m}, ["Python blocks grows by 101.7 a cycle"]),
        ({"resident_mib": lambda m: 240 + 2 * m}, ["resident memory grew 1.33 times"]),
        ({"descriptors": lambda m: m // 50}, ["descriptors changed between 0 and 1"]),
        ({"files_left": lambda m: int(m == 40)}, ["files left changed between 0 and 1"]),
    ],
)
def test_the_soak_says_what_grew(
    changes: dict[str, Callable[[int], float]], told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")  # which the program sets, and this puts back
    soak = runpy.run_path(str(Path(__file__).parents[2] / "bench" / "soak.py"))
    _, wrong = soak["verdict"](sampled(soak, **changes), [])
    assert [each.partition(", beyond")[0] for each in wrong] == told
    assert soak["verdict"](sampled(soak), ["other bits"])[1] == ["other bits"]
