"""The machine's ceilings: fused multiply-adds and bytes a second of the processors that contenders
are pinned to, measured by the native library between their turns.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlpx.engines.native.library import load
from mlpx.errors import EngineError

RATES = (
    "fma_gflops", "fma_gflops_one_thread", "read_bytes_per_s", "triad_bytes_per_s",
    "l2_bytes_per_s",
)  # fmt: skip
"""What `Machine.rates` measures, each in the same share of a turn."""
BLOCK = 8192
"""Numbers between two looks at the clock, as machine.c has it."""
LEAD_S = 1e-3
"""From starting the threads to the moment from which they all count."""
ONE_CORE = 1.35
"""Two processors whose rate is below this many times that of one are threads of one core."""

Rate = Callable[[int, float, float], float]
"""Of a thread by its number, between two moments on the monotonic clock."""


@dataclass(frozen=True)
class Caches:
    """Bytes of the second-level cache of a core, and of the last cache of all."""

    l2_bytes: int
    last_bytes: int

    @classmethod
    def here(cls) -> Caches:
        """Of this machine; a guess where the system does not say."""
        return cls(
            _configured("SC_LEVEL2_CACHE_SIZE", 1 << 20),
            _configured("SC_LEVEL3_CACHE_SIZE", 32 << 20),
        )


class Machine:
    """Measures the processors that this process may use, a thread on each.

    Raises EngineError if the native library was not built.
    """

    def __init__(self, threads: int, caches: Caches | None = None) -> None:
        library = load()
        if library is None:
            raise EngineError("the native library was not built")
        self.library, self.threads = declared(library), threads
        self.isa: str = self.library.mlpx_machine_isa().decode()
        caches = caches or Caches.here()
        beyond_caches = min(max(4 * caches.last_bytes, 128 << 20), 512 << 20)
        self.count = blocks(beyond_caches // 8 // 3 // threads)
        self.l2_count = blocks(caches.l2_bytes // 8 // 2)
        self.arrays = [np.ones((3, self.count)) for _ in range(threads)]

    def rates(self, dtype: str, *, seconds: float) -> dict[str, float]:
        """A rate for each name of RATES, in about `seconds` all together."""
        share_s, library = seconds / len(RATES), self.library
        is_double = int(dtype == "float64")

        def fused(thread: int, start_s: float, stop_s: float) -> float:
            return float(library.mlpx_fma_rate(is_double, start_s, stop_s)) / 1e9

        def read(count: int) -> Rate:
            def rate(thread: int, start_s: float, stop_s: float) -> float:
                at = self.arrays[thread].ctypes.data
                return float(library.mlpx_read_rate(at, count, start_s, stop_s))

            return rate

        def triad(thread: int, start_s: float, stop_s: float) -> float:
            to, a, b = (row.ctypes.data for row in self.arrays[thread])
            return float(library.mlpx_triad_rate(to, a, b, self.count, start_s, stop_s))

        everyone = self.threads
        measured = (
            together(fused, everyone, share_s),
            together(fused, 1, share_s),
            together(read(3 * self.count), everyone, share_s),
            together(triad, everyone, share_s),
            together(read(self.l2_count), everyone, share_s),
        )
        return dict(zip(RATES, measured, strict=True))


def declared(library: ctypes.CDLL) -> Any:
    """The library, told what the functions of machine.c take and return."""
    real, whole, pointer = ctypes.c_double, ctypes.c_int64, ctypes.c_void_p
    library.mlpx_machine_isa.restype = ctypes.c_char_p
    library.mlpx_fma_rate.argtypes = [ctypes.c_int32, real, real]
    library.mlpx_read_rate.argtypes = [pointer, whole, real, real]
    library.mlpx_triad_rate.argtypes = [pointer, pointer, pointer, whole, real, real]
    for name in ("fma", "read", "triad"):
        getattr(library, f"mlpx_{name}_rate").restype = real
    return library


def together(rate: Rate, threads: int, seconds: float) -> float:
    """The sum of the rates of so many threads at the same time, a processor for each."""
    start_s = time.monotonic() + LEAD_S
    found = [0.0] * threads

    def work(thread: int) -> None:
        stay_on(thread)
        found[thread] = rate(thread, start_s, start_s + seconds)

    workers = [threading.Thread(target=work, args=(thread,)) for thread in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(found)


def stay_on(thread: int) -> None:
    """Keep the calling thread on the processor of that place among those it may use."""
    if hasattr(os, "sched_setaffinity"):
        usable = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, usable[thread % len(usable) :][:1])


def blocks(numbers: int) -> int:
    """As many numbers in whole blocks, at least one."""
    return max(numbers // BLOCK, 1) * BLOCK


def _configured(name: str, default_bytes: int) -> int:
    try:
        return os.sysconf(name) or default_bytes
    except (AttributeError, ValueError, OSError):
        return default_bytes
