"""device="auto": a model trains where a step of its batch size is estimated to be faster.

A CUDA device does 200 times as much in a second as a few cores, but needs some 2 us for every
kernel, so small nets with small batches are faster on the CPU. The numbers are rough; `mlpx bench
--advise` measures.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from mlpx.backend import BACKENDS, choose_device, get_backend
from mlpx.backend.cpu import usable_cores
from mlpx.engines import NativeEngine
from mlpx.network.network import Network

KERNELS, KERNELS_BY_LAYER = 7, 4
"""A step gathers x and y, takes the loss and its mean, updates and counts; and a layer is an affine
map, an activation, and both backward."""


class Speed(NamedTuple):
    """What a device does in a microsecond, in single precision, and what a kernel costs it."""

    kernel_us: float
    operations: float
    bytes: float


CUDA = Speed(kernel_us=2.2, operations=4.5e7, bytes=1e6)
"""These fit the steps of `fit` measured on an H200 in float32 to within a tenth: 784-50-10 with SGD
at a batch of 100 (43 us), 784-512-512-10 with Adam at 128 (89 us) and at 8192 (989 us); see
`bench/results/gpu-h200-2026-11-28.md`."""
CORE = Speed(kernel_us=0.3, operations=1e5, bytes=1e4)
"""One core with the native engine."""
INTERPRETED_KERNEL_US = 3.0
"""What a kernel called from Python costs."""


def cpu_speed() -> Speed:
    """The speed of all the cores that may be used."""
    cores = usable_cores()
    kernel_us = INTERPRETED_KERNEL_US if NativeEngine().missing() else CORE.kernel_us
    return Speed(kernel_us, CORE.operations * cores, CORE.bytes * cores)


def step_us(model: Network, rows: int, speed: Speed) -> float:
    """The estimated time of a training step, in microseconds."""
    products = 6 * rows * model.parameter_count
    moved = model.dtype.itemsize * (6 * model.parameter_count + 4 * rows * sum(model.widths))
    kernels = KERNELS + KERNELS_BY_LAYER * len(model.widths)
    doubled = model.dtype.itemsize // 4
    return kernels * speed.kernel_us + doubled * products / speed.operations + moved / speed.bytes


def place(model: Network, x: Any, rows: int) -> str | None:
    """Move a model with device="auto" to the device on which it should train faster; returns why,
    None if there is only one device. The model goes where x is if that is on a CUDA device.
    """
    choice = choose_device()
    if choice.device == "cpu":
        return None
    holder = BACKENDS["cuda"].owner(x)
    if holder is not None:
        model.move(get_backend(holder))
        return f"device='auto': {holder}, where x is"
    here, there = step_us(model, rows, cpu_speed()), step_us(model, rows, CUDA)
    device = "cpu" if here <= there else choice.device
    model.move(get_backend(device))
    return (
        f"device='auto': {device}; a step of {rows} rows is estimated at {here:.3g} us on the CPU "
        f"and {there:.3g} us on {choice.device}"
    )
