"""What is benchmarked: networks by name, and the data and starting weights that all contenders
share.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from mlpx.benchmark.report.units import widths_text
from mlpx.errors import InputError, UnknownNameError
from mlpx.training.sampling import SAMPLINGS

Phase = Literal["train", "forward", "backward", "update", "predict", "call", "start", "checkpoint"]
PHASES: tuple[Phase, ...] = (
    "train", "forward", "backward", "update", "predict", "call", "start", "checkpoint"
)  # fmt: skip
WHOLE_STEPS: tuple[Phase, ...] = ("train", "call", "start", "checkpoint")
"""The phases that do a whole training step; they differ in what surrounds it."""
BATCH_SIZES = (1, 8, 32, 128, 512, 2048, 8192)
CHECK_STEPS = 5
CHECK_FLOPS = 3e11
"""Of all steps of a check at most, but it has two: Adam's first step knows only signs."""
LEAST_ROWS = 8192
LONGEST_CALL = 1024
"""Steps that one call of a contender runs at most."""
CALL_FLOPS = 2e11
"""About a second's work: a call runs no more steps than that."""
GPU_HOST_THREADS = 8
ARITHMETIC: dict[str, tuple[str, str]] = {
    "float32": ("float32", "float32"),
    "float64": ("float64", "float32"),
    "tf32": ("float32", "tf32"),
    "bf16": ("float32", "bf16"),
}
"""A cell's arithmetic by name: the dtype of its arrays, and what products round float32 factors to.
Sums, weights and moments stay in the dtype.
"""


@dataclass(frozen=True)
class Workload:
    """A classifier of widths `layers`, trained with softmax cross-entropy."""

    name: str
    layers: tuple[int, ...]
    activation: Literal["sigmoid", "relu"]
    optimizer: Literal["sgd", "adam"]
    learning_rate: float
    batch_sizes: tuple[int, ...] = BATCH_SIZES

    @property
    def parameter_count(self) -> int:
        """Weights and biases."""
        return sum((d + 1) * k for d, k in self.shapes)

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """(d, k) of each weight matrix."""
        return list(zip(self.layers, self.layers[1:], strict=False))

    def gemms(self, rows: int, phase: Phase) -> list[tuple[int, int, int]]:
        """(m, k, n) of the products (m x k)(k x n) of one step; the first
        layer needs no dx.
        """
        products = []
        if phase != "update":
            products += [(rows, d, k) for d, k in self.shapes]
        if phase in (*WHOLE_STEPS, "backward"):
            products += [(d, rows, k) for d, k in self.shapes]
            products += [(rows, k, d) for d, k in self.shapes[1:]]
        return products

    def flops(self, rows: int, phase: Phase) -> int:
        """Floating-point operations of the matrix products of one step."""
        return sum(2 * m * k * n for m, k, n in self.gemms(rows, phase))


WORKLOADS: dict[str, Workload] = {
    w.name: w
    for w in (
        Workload("mnist", (784, 50, 10), "sigmoid", "sgd", 0.1),
        Workload("tabular", (20, 64, 64, 2), "relu", "adam", 1e-3),
        Workload("wide", (784, 512, 512, 10), "relu", "adam", 1e-3),
        Workload("deep", (1024, 4096, 4096, 1024), "relu", "adam", 1e-4, (32, 512, 2048)),
    )
}


def parse_workload(text: str) -> Workload:
    """A workload by name, or widths such as `784,50,10` (also `784-50-10`, and `20-16x300-2` for
    300 layers of 16): ReLU and Adam.

    Raises UnknownNameError for an unknown name, InputError for invalid widths.
    """
    name = text.strip().lower()
    if name in WORKLOADS:
        return WORKLOADS[name]
    if not name[:1].isdigit():
        raise UnknownNameError("workload", text, [*WORKLOADS, "784,50,10"])
    layers = _widths(name)
    if len(layers) < 2 or 0 in layers:
        raise InputError(
            f"layers = {text!r}; wanted widths above zero such as 784,50,10 or 20,16x300,2"
        )
    if layers[-1] < 2:
        raise InputError(f"layers = {text!r}; a classifier has at least two outputs")
    return Workload(widths_text(layers), layers, "relu", "adam", 1e-3)


def _widths(text: str) -> tuple[int, ...]:
    """The widths that `text` lists, () if it lists anything else."""
    widths: list[int] = []
    for part in re.split("[,-]", text):
        match = re.fullmatch(r"(\d+)(?:x([1-9]\d{0,3}))?", part.strip())
        if match is None:
            return ()
        widths += [int(match[1])] * int(match[2] or 1)
    return tuple(widths)


@dataclass(frozen=True)
class Task:
    """One cell of the benchmark: a workload at one batch size, phase, dtype, device and thread
    count.
    """

    workload: Workload
    batch_size: int
    phase: Phase = "train"
    dtype: str = "float32"
    device: str = "cpu"
    threads: int = 1
    seed: int = 0
    precision: str = "float32"
    """What products round float32 factors to, as in `fit`."""
    least_rows: int = LEAST_ROWS

    def to_json(self) -> dict[str, Any]:
        """Plain values; `from_json` is the inverse."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Task:
        """The task that `to_json` described."""
        workload = dict(values["workload"])
        workload["layers"] = tuple(workload["layers"])
        workload["batch_sizes"] = tuple(workload["batch_sizes"])
        return cls(**{**values, "workload": Workload(**workload)})

    @property
    def arithmetic(self) -> str:
        """The dtype, or what products round to if that is coarser; only cells of equal arithmetic
        are compared.
        """
        return self.dtype if self.precision == "float32" else self.precision

    @property
    def on_gpu(self) -> bool:
        """Whether a GPU does the work, and the host only sends it there."""
        return self.device.partition(":")[0] != "cpu"

    @property
    def host_threads(self) -> int:
        """Threads of every pool on the host. Beside a GPU at least 8, not pinned: they do no
        arithmetic there, but autograd has a thread of its own, and compilers have many.
        """
        return max(self.threads, GPU_HOST_THREADS) if self.on_gpu else self.threads

    @property
    def moves(self) -> bool:
        """Whether a step changes the parameters."""
        return self.phase in (*WHOLE_STEPS, "update")

    @property
    def check_steps(self) -> int:
        """Steps up to the comparison with the reference; each step of "start" is a first one."""
        if not self.moves or self.phase == "start":
            return 1
        return max(2, min(CHECK_STEPS, int(CHECK_FLOPS / max(self.step_flops, 1))))

    @property
    def step_flops(self) -> int:
        """Floating-point operations of the matrix products of a step."""
        return self.workload.flops(self.batch_size, self.phase)

    @property
    def steps_a_call(self) -> int:
        """Steps of one call, where a library runs many in one: an epoch, but no more than a turn
        has room for.
        """
        most = int(CALL_FLOPS / max(self.step_flops, 1))
        return max(1, min(self.steps_per_epoch, LONGEST_CALL, most))

    @property
    def rows(self) -> int:
        """Rows of the data set: whole batches, at least one for each step of the check."""
        return max(self.least_rows // self.batch_size, CHECK_STEPS) * self.batch_size

    @property
    def steps_per_epoch(self) -> int:
        """Batches in the data set."""
        return self.rows // self.batch_size


@dataclass(frozen=True, eq=False)
class Problem:
    """The numbers of a task: x (n, d), labels (n,), the rows of each step, and the first
    weights.
    """

    x: np.ndarray
    labels: np.ndarray
    order: np.ndarray
    """int64 (steps per epoch, batch size): which rows each step sees, epoch after epoch."""
    weights: list[np.ndarray]
    biases: list[np.ndarray]

    @cached_property
    def batch(self) -> tuple[np.ndarray, np.ndarray]:
        """x and labels of the first step, gathered once: contenders ask while they are timed."""
        rows = self.order[0]
        return self.x[rows], self.labels[rows]


def make_problem(task: Task) -> Problem:
    """The numbers of `task`, the same in every process: a fixed stream of its seed."""
    draw = np.random.Generator(np.random.Philox(task.seed))
    layers, dtype = task.workload.layers, np.dtype(task.dtype)
    x = draw.standard_normal((task.rows, layers[0]), dtype=np.float32).astype(dtype, copy=False)
    labels = draw.integers(0, layers[-1], task.rows)
    order = SAMPLINGS["shuffle"](task.seed, 0, task.rows, task.rows)  # what fit does first
    gain = 2.0 if task.workload.activation == "relu" else 1.0
    weights = [
        (draw.standard_normal((d, k)) * np.sqrt(gain / d)).astype(dtype)
        for d, k in task.workload.shapes
    ]
    biases = [np.full(k, 0.01, dtype) for _, k in task.workload.shapes]
    return Problem(x, labels, order.reshape(-1, task.batch_size), weights, biases)
