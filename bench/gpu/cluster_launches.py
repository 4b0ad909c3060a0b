"""Launches of the kernels of gpu_cluster.cu, and their times."""

from __future__ import annotations

import ctypes
import re
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gpu.cluster_reference import Floats, held
from gpu.section import Row

HERE = Path(__file__).parents[1]
THREADS, SHARED_BYTES, PORTABLE = 512, 200 << 10, 8
NON_PORTABLE_ALLOWED = 14  # CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED
CLUSTER_DIMENSION = 4  # CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION
FEW, MANY, TIMES = 200, 2200, 3


def source() -> str:
    """gpu_cluster.cu with its headers in their places: CuPy's cache knows a text, not headers."""
    text = (HERE / "gpu_cluster.cu").read_text()
    for name in re.findall(r'#include "(.*)"', text):
        header = (HERE / name).read_text().replace("#pragma once\n", "")
        text = text.replace(f'#include "{name}"', header)
    return text


class Attribute(ctypes.Structure):
    """CUlaunchAttribute."""

    _fields_ = [("id", ctypes.c_int), ("pad", ctypes.c_int), ("value", ctypes.c_uint * 16)]


class LaunchConfig(ctypes.Structure):
    """CUlaunchConfig."""

    _fields_ = [
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("shared_bytes", ctypes.c_uint),
        ("stream", ctypes.c_void_p),
        ("attributes", ctypes.POINTER(Attribute)),
        ("count", ctypes.c_uint),
    ]


class Cluster:
    """The kernels on a device."""

    def __init__(self, xp: Any) -> None:
        self.xp, self.cuda = xp, xp.cuda
        self.module = xp.RawModule(code=source(), options=("-std=c++17",))
        self.kernels: dict[str, Any] = {}

    def kernel(self, name: str) -> Any:
        """A kernel that may have 200 KB a block, and 16 blocks a cluster."""
        if name not in self.kernels:
            made = self.module.get_function(name)
            made.max_dynamic_shared_size_bytes = SHARED_BYTES
            if int(name.rpartition("_")[2]) > PORTABLE and not name.startswith("share"):
                self.cuda.driver.funcSetAttribute(made.kernel.ptr, NON_PORTABLE_ALLOWED, 1)
            self.kernels[name] = made
        return self.kernels[name]

    def launch(self, name: str, blocks: int, *arguments: Any) -> None:
        self.kernel(name)((blocks,), (THREADS,), arguments, shared_mem=SHARED_BYTES)

    def seconds(self, call: Callable[[], None]) -> float:
        """The least time of a call, by events."""
        found = []
        for _ in range(TIMES):
            start, stop = self.cuda.Event(), self.cuda.Event()
            start.record()
            call()
            stop.record()
            stop.synchronize()
            found.append(float(self.cuda.get_elapsed_time(start, stop)) / 1e3)
        return min(found)

    def active(self, name: str, blocks: int) -> int | str:
        """How many such clusters the device holds at a time; or why that is not known."""
        try:
            driver = ctypes.CDLL("libcuda.so.1")
            attribute = Attribute(CLUSTER_DIMENSION, 0, (blocks, 1, 1))
            launch = LaunchConfig((blocks, 1, 1), (THREADS, 1, 1), SHARED_BYTES, None,
                            ctypes.pointer(attribute), 1)  # fmt: skip
            count, kernel = ctypes.c_int(-1), ctypes.c_void_p(self.kernel(name).kernel.ptr)
            status = driver.cuOccupancyMaxActiveClusters(
                ctypes.byref(count), kernel, ctypes.byref(launch)
            )
        except (OSError, AttributeError) as error:
            return f"{type(error).__name__}: {error}"
        return count.value if status == 0 else f"CUDA error {status}"

    def repeated(
        self, name: str, blocks: int, count: int, shape: tuple[int, ...], *given: Any
    ) -> tuple[Floats, int]:
        """What a kernel wrote that repeats something `count` times; and what was wrong meanwhile.

        None among its arguments stands for the count; what it writes comes after them.
        """
        out = self.xp.zeros(shape, np.float32)
        clocks, flags = self.xp.zeros(blocks, np.int64), self.xp.zeros(blocks, np.int32)
        arguments = [np.int32(count) if value is None else value for value in given]
        self.launch(name, blocks, *arguments, out, clocks, flags)
        return out.get(), int(flags.get().max())

    def time(self, name: str, blocks: int, shape: tuple[int, ...], *given: Any) -> Row:
        """The time of one repetition, by events and by the multiprocessor's clock; and a digest of
        what many of them left.
        """
        out = self.xp.zeros(shape, np.float32)
        clocks, flags = self.xp.zeros(blocks, np.int64), self.xp.zeros(blocks, np.int32)
        taken = {}
        for count in (FEW, FEW, MANY):  # the first warms up
            arguments = [np.int32(count) if value is None else value for value in given]
            launch = partial(self.launch, name, blocks, *arguments, out, clocks, flags)
            taken[count] = self.seconds(launch)
        cycles = int(clocks.get().max()) / MANY
        us = (taken[MANY] - taken[FEW]) / (MANY - FEW) * 1e6
        digest = zlib.crc32(out.get().tobytes())
        return {"us": us, "cycles": cycles, "wrong": int(flags.get().max()), "crc32": digest}

    def holds(self, blocks: int) -> Row:
        """Whether a cluster starts with 200 KB a block, and the time of a launch."""
        name, out, times = f"hold_{blocks}", self.xp.zeros(blocks, np.float32), 50
        self.launch(name, blocks, out)
        right = bool((out.get() == held(blocks)).all())

        def launches() -> None:
            for _ in range(times):
                self.launch(name, blocks, out)

        return {
            "passed": right,
            "launch_us": self.seconds(launches) / times * 1e6,
            "active_clusters": self.active(name, blocks),
        }
