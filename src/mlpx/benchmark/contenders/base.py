"""A contender in a benchmark, one library in one of its modes, and the table of all of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import ClassVar

import numpy as np

from mlpx.benchmark.contenders.clocks import DeviceClock
from mlpx.benchmark.reference import Arrays, Epsilon
from mlpx.benchmark.workloads import PHASES, Phase, Problem, Task
from mlpx.errors import UnknownNameError

LIBRARIES: dict[str, str] = {
    "mlpx": "mlpx.benchmark.contenders.mlpx",
    "gemm": "mlpx.benchmark.contenders.floor",
    "torch": "mlpx.benchmark.contenders.torch",
    "jax": "mlpx.benchmark.contenders.jax",
    "keras": "mlpx.benchmark.contenders.keras",
    "sklearn": "mlpx.benchmark.contenders.sklearn",
    "thinc": "mlpx.benchmark.contenders.thinc",
    "onnxruntime": "mlpx.benchmark.contenders.onnxruntime",
}
"""Library to the module with its modes. Importing the module does not import the library."""
PEERS = tuple(name for name in LIBRARIES if name not in ("mlpx", "gemm"))


class Contender(ABC):
    """One library in one mode, built for one task.

    It supports the phases it has methods for: `train(steps)`, `forward(steps)`, `backward(steps)`
    (forward, loss and all gradients), `update(steps)` (the optimizer alone, on fixed gradients),
    `predict(steps)`, `call(steps)` (the library's own training function, called with one batch of
    new rows), `start(steps)` (a new model each time, built, given the weights and the first
    batch) and `checkpoint(steps)` (the library's own training function, with checkpoints or, to
    compare with, without).
    """

    library: ClassVar[str]
    mode: ClassVar[str]
    note: ClassVar[str]
    """What the mode is, for the report."""
    requires: ClassVar[tuple[str, ...]] = ()
    """Modules that must be importable, and the distributions whose versions are recorded."""
    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    precisions: ClassVar[tuple[str, ...]] = ("float32",)
    """What its products can round float32 factors to."""
    epsilon: ClassVar[Epsilon] = "outside"
    floors: ClassVar[tuple[str, ...]] = ("gemm/numpy",)
    """The contenders that run the same matrix products alone with the same BLAS; the fastest
    counts.
    """
    compiles: ClassVar[bool] = False
    """Whether its first runs compile; what they take longer is reported."""
    environment: ClassVar[dict[str, str]] = {}
    """Environment variables of its process."""

    def __init__(self, task: Task, problem: Problem) -> None:
        self.task, self.problem = task, problem
        self.chunk = 1
        """Steps that one call runs; timed runs ask for multiples of it."""

    @classmethod
    def name(cls) -> str:
        """`library/mode`."""
        return f"{cls.library}/{cls.mode}"

    @classmethod
    def phases(cls) -> tuple[Phase, ...]:
        """The phases it can be timed in."""
        return tuple(phase for phase in PHASES if getattr(cls, phase, None) is not None)

    @classmethod
    def runs_on(cls, device: str) -> bool:
        """Whether it is for this kind of device at all."""
        return device.partition(":")[0] in cls.devices

    @classmethod
    def refuses(cls, task: Task) -> str | None:
        """Why it does not take part in this task, or None. Imports nothing heavy."""
        absent = [module for module in cls.requires if find_spec(module) is None]
        if absent:
            return f"{', '.join(absent)} not installed"
        if task.phase not in cls.phases():
            return f"has no phase {task.phase!r}"
        if not cls.runs_on(task.device):
            return f"does not run on {task.device}"
        return cls._refuses_precision(task)

    @classmethod
    def _refuses_precision(cls, task: Task) -> str | None:
        rounded = task.precision
        if rounded == "float32":
            return None
        if rounded not in cls.precisions:
            return f"does not multiply in {rounded}"
        if rounded == "tf32" and not task.on_gpu:
            return f"there is no tf32 on {task.device}"
        return None if task.phase == "train" else f"{rounded} is for training steps"

    @property
    def leaves_garbage(self) -> bool:
        """Whether garbage collection is timed: a call makes objects and drops them."""
        return self.task.phase in ("call", "start")

    @classmethod
    def versions(cls) -> dict[str, str]:
        """The versions of the packages it needs."""
        return {module: _version(module) for module in cls.requires}

    @abstractmethod
    def reset(self) -> None:
        """Back to the first weights and a fresh optimizer; never timed."""

    def run(self, steps: int) -> None:
        """`steps` steps of the task's phase."""
        getattr(self, self.task.phase)(steps)

    def run_checked(self, steps: int) -> None:
        """`run` for the comparison with the reference: the problem's batches in its order."""
        self.run(steps)

    def outcome(self) -> Arrays:
        """What the phase left, on the host, in the order W1, b1, W2, b2, ..."""
        if self.task.moves:
            return self.parameters()
        return self.gradients() if self.task.phase == "backward" else self.outputs()

    def parameters(self) -> Arrays:
        """The parameters now."""
        raise NotImplementedError

    def gradients(self) -> Arrays:
        """The gradients of the last `backward`."""
        raise NotImplementedError

    def outputs(self) -> Arrays:
        """[logits] of the last `forward`, or [classes] of the last `predict`."""
        raise NotImplementedError

    def synchronize(self) -> None:
        """Wait until the device has done everything."""
        return

    def device_clock(self) -> DeviceClock | None:
        """Events on the device, or None if there is only host time."""
        return None

    def facts(self) -> dict[str, float]:
        """Numbers to record once per cell."""
        return {}

    def device_peak_bytes(self) -> int | None:
        """The most device memory used, or None on the host."""
        return None


def _version(module: str) -> str:
    distribution = {"sklearn": "scikit-learn"}.get(module, module)
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "unknown"


def modes(library: str) -> list[type[Contender]]:
    """The modes of a library.

    Raises UnknownNameError for an unknown library.
    """
    if library not in LIBRARIES:
        raise UnknownNameError("peer", library, PEERS)
    kinds: list[type[Contender]] = import_module(LIBRARIES[library]).contenders()
    return kinds


def contender(name: str) -> type[Contender]:
    """The contender called `library/mode`.

    Raises UnknownNameError.
    """
    by_name = {each.name(): each for each in modes(name.partition("/")[0])}
    if name not in by_name:
        raise UnknownNameError("contender", name, by_name)
    return by_name[name]


def interleaved(weights: list[np.ndarray], biases: list[np.ndarray]) -> Arrays:
    """W1, b1, W2, b2, ... from two lists."""
    return [a for pair in zip(weights, biases, strict=True) for a in pair]
