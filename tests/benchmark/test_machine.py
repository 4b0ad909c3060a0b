"""The machine's ceilings: that they are measured, at the same time, and by a worker."""

from __future__ import annotations

import io
import json
import os
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from mlpx.benchmark import machine, worker
from mlpx.benchmark.machine import RATES, Caches, Machine, blocks, together
from mlpx.engines.native.library import load
from mlpx.errors import EngineError

pytestmark = pytest.mark.xdist_group("alone")
SMALL = Caches(1 << 18, 1 << 20)
needs_library = pytest.mark.skipif(load() is None, reason="no GPU stack: no compiler was here")


@needs_library
def test_every_rate_is_one_that_a_processor_can_have():
    found = Machine(1, SMALL).rates("float32", seconds=0.05)
    assert tuple(found) == RATES
    assert 0 < found["fma_gflops"] < 2000  # of one thread
    for name in ("read_bytes_per_s", "triad_bytes_per_s", "l2_bytes_per_s"):
        assert 1e8 < found[name] < 5e12, name


@needs_library
def test_half_as_many_doubles_fit_a_vector():
    made = Machine(1, SMALL)
    single, double = (
        max(made.rates(dtype, seconds=0.02)["fma_gflops"] for _ in range(5))
        for dtype in ("float32", "float64")
    )
    assert 1.2 < single / double < 3.5


@needs_library
@pytest.mark.parametrize("is_double", [0, 1])
def test_a_blas_does_not_exceed_the_peak(is_double):
    """Its best product of 2 n^3 operations, on however many threads it takes."""
    dtype = np.float64 if is_double else np.float32
    a, library = np.ones((512, 512), dtype), machine.declared(load())
    best = 0.0
    for _ in range(10):
        start_s = time.perf_counter()
        a @ a
        best = max(best, 2 * 512**3 / (time.perf_counter() - start_s))
    now_s = time.monotonic()
    peak = max(library.mlpx_fma_rate(is_double, now_s, now_s + 0.02) for _ in range(3))
    assert best < 1.05 * peak * (os.cpu_count() or 1)


@needs_library
def test_the_triad_is_computed():
    """Of whole blocks, and only of these."""
    count = 2 * machine.BLOCK
    to, a, b = np.zeros(count + 1), np.full(count + 1, 2.0), np.full(count + 1, 6.0)
    now_s, library = time.monotonic(), machine.declared(load())
    pointers = [array.ctypes.data for array in (to, a, b)]
    assert library.mlpx_triad_rate(*pointers, count, now_s, now_s + 0.01) > 0
    assert (to[:count] == 5.0).all()
    assert to[count] == 0.0


@needs_library
def test_the_clock_of_the_rates_is_pythons():
    library = machine.declared(load())
    start_s = time.monotonic() + 0.02
    library.mlpx_fma_rate(0, start_s, start_s + 0.03)
    assert 0.05 <= time.monotonic() - start_s + 0.02 < 1.0


def test_threads_count_between_the_same_moments():
    seen = []

    def rate(thread, start_s, stop_s):
        seen.append((thread, start_s, stop_s, threading.get_ident()))
        return 10.0**thread

    assert together(rate, 3, 0.25) == 111.0
    threads, starts, stops, idents = map(set, zip(*seen, strict=True))
    assert threads == {0, 1, 2}
    assert len(starts) == len(stops) == 1
    assert stops.pop() - starts.pop() == pytest.approx(0.25)
    assert threading.get_ident() not in idents


def test_each_thread_has_a_processor(monkeypatch):
    moved = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {7, 3, 5}, raising=False)
    monkeypatch.setattr(os, "sched_setaffinity", lambda *given: moved.append(given), raising=False)
    for thread in range(4):
        machine.stay_on(thread)
    assert moved == [(0, [3]), (0, [5]), (0, [7]), (0, [3])]
    monkeypatch.delattr(os, "sched_setaffinity")
    machine.stay_on(0)


def test_caches_where_the_system_does_not_say(monkeypatch):
    monkeypatch.setattr(os, "sysconf", lambda name: 0)
    assert Caches.here() == Caches(1 << 20, 32 << 20)
    monkeypatch.setattr(os, "sysconf", {"SC_LEVEL2_CACHE_SIZE": 3, "SC_LEVEL3_CACHE_SIZE": 4}.get)
    assert Caches.here() == Caches(3, 4)
    monkeypatch.delattr(os, "sysconf")
    assert Caches.here() == Caches(1 << 20, 32 << 20)


@needs_library
def test_arrays_lie_beyond_the_caches_and_within_them():
    made = Machine(2, Caches(1 << 20, 64 << 20))
    assert len(made.arrays) == 2
    assert sum(array.nbytes for array in made.arrays) == pytest.approx(256 << 20, rel=0.01)
    assert made.l2_count * 8 == 1 << 19
    assert (blocks(1), blocks(machine.BLOCK * 3 - 1)) == (machine.BLOCK, 2 * machine.BLOCK)


def asked(*requests):
    out = io.StringIO()
    worker.serve(io.StringIO("\n".join(map(json.dumps, requests))), out)
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_worker_measures_the_machine_it_made_once(monkeypatch):
    made = []

    def make(threads):
        made.append(threads)
        return SimpleNamespace(isa="x", rates=lambda dtype, seconds: {dtype: seconds})

    monkeypatch.setattr(machine, "Machine", make)
    request = {"do": "rates", "threads": 2, "dtype": "float64", "seconds": 0.25}
    first, second = asked(request, request)
    assert made == [2]
    for answer in (first, second):
        assert (answer["isa"], answer["rates"]) == ("x", {"float64": 0.25})
        assert answer["cpu_s"] >= 0


def test_without_the_native_library_there_is_no_machine(monkeypatch):
    monkeypatch.setattr(machine, "load", lambda: None)
    with pytest.raises(EngineError, match="was not built"):
        Machine(1)
    request = {"do": "rates", "threads": 1, "dtype": "float32", "seconds": 0.01}
    assert asked(request) == [{"ok": True, "refused": "the native library was not built"}]
