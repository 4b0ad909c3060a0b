"""Where the time of a training step goes: each part timed by the clock of its device."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from mlpx import engines
from mlpx.engines import Engine, RefusedError
from mlpx.errors import EngineError
from mlpx.network.network import Network
from mlpx.optimizers import Optimizer
from mlpx.program.data import DEFAULT_BATCH, prepare_data
from mlpx.program.program import TrainingProgram
from mlpx.records import require_count

Part = tuple[str, Callable[[], Any]]


@dataclass(frozen=True)
class Timed:
    """A part of a step: its name, and the median of its times in microseconds."""

    name: str
    us: float


@dataclass(frozen=True)
class Profile:
    """The parts of a step in their order, one after the other; `str()` is a table.

    An engine that runs parts side by side, or as one graph, takes less than their sum.
    """

    engine: str
    device: str
    batch_size: int
    parts: tuple[Timed, ...]

    @property
    def step_us(self) -> float:
        """The sum of all parts, in microseconds."""
        return sum(part.us for part in self.parts)

    def __str__(self) -> str:
        width = max(len(part.name) for part in self.parts)
        total = self.step_us
        lines = [
            f"{part.name.ljust(width)}  {part.us:10.1f} us  {part.us / total:6.1%}"
            for part in self.parts
        ]
        head = f"{self.engine} on {self.device}, batches of {self.batch_size}"
        return "\n".join([head, *lines, f"{'all'.ljust(width)}  {total:10.1f} us"])


def profile(
    model: Network,
    x: Any,
    y: Any,
    *,
    batch_size: int | None = None,
    optimizer: str | Optimizer = "adam",
    engine: str = "auto",
    precision: str = "float32",
    steps: int = 20,
    nvtx: bool = False,
) -> Profile:
    """The time of each part of a training step of a copy of `model` on x (n, d_in) and y.

    The median of `steps` steps, after one that is not counted; on CUDA by events, and with `nvtx`
    each part is a range that NVIDIA's profilers show. "auto" is the fastest engine that runs a step
    in parts, which the native engine does not.

    Raises InputError, InputTypeError, UnknownNameError or EngineError, as `fit` does.
    """
    require_count("steps", steps)
    program = _program(model, x, y, batch_size, Optimizer.resolve(optimizer), precision)
    chosen, parts = _parts(engine, program)
    backend: Any = model.backend
    on_cuda = backend.kind == "cuda"
    label = _ranges(backend) if nvtx and on_cuda else lambda name: nullcontext()
    clock = _by_events if on_cuda else _by_clock
    with backend.stream(), np.errstate(all="ignore"):
        rounds = [_step(program, parts, clock, backend, label) for _ in range(steps + 1)]
    times = np.median(np.array(rounds[1:]), axis=0)
    timed = tuple(Timed(name, 1e6 * s) for (name, _), s in zip(parts, times, strict=True))
    return Profile(chosen.name, backend.device, program.batch_size, timed)


def _program(
    model: Network, x: Any, y: Any, batch_size: int | None, rule: Optimizer, precision: str
) -> TrainingProgram:
    """One step's program of a copy of the model."""
    copy = model.copy()
    data = prepare_data(copy, x, y)
    rows = min(batch_size or DEFAULT_BATCH, len(data))
    require_count("batch_size", rows)
    moments = {name: copy.backend.zeros(copy.layout.size, copy.dtype) for name in rule.arrays}
    return TrainingProgram(
        copy,
        data,
        optimizer=rule.resolved(0, 1) if rule.open else rule,
        moments=moments,
        batch_size=rows,
        rows=rows,
        precision=precision,
    )


def _parts(wanted: str, program: TrainingProgram) -> tuple[Engine, list[Part]]:
    """The engine, and the parts into which it divides a step."""
    if wanted != "auto":
        engine, _, runner = engines.choose(wanted, program)
        parts = engine.parts(program, runner)
        if parts is None:
            raise EngineError(f"engine={wanted!r} runs a step as one; profile another")
        return engine, parts
    kind = program.network.backend.kind
    for candidate in (each() for each in engines.PREFERENCE if kind in each.devices):
        with suppress(RefusedError):
            parts = candidate.parts(program, candidate.prepare(program))
            if parts is not None:
                return candidate, parts
    raise EngineError("no engine runs this in parts")


def _step(
    program: TrainingProgram, parts: list[Part], clock: Any, backend: Any, label: Any
) -> list[float]:
    """Seconds of each part of one step."""
    program.start_epoch(np.arange(program.rows), step=0)
    backend.synchronize()
    seconds: list[float] = clock(backend, [_within(label, *part) for part in parts])
    return seconds


def _within(label: Any, name: str, call: Callable[[], Any]) -> Callable[[], None]:
    def labelled() -> None:
        with label(name):
            call()

    return labelled


def _by_clock(backend: Any, calls: list[Callable[[], None]]) -> list[float]:
    seconds = []
    for call in calls:
        started_s = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started_s)
    return seconds


def _by_events(backend: Any, calls: list[Callable[[], None]]) -> list[float]:
    cuda = backend.xp.cuda
    events = [cuda.Event() for _ in range(len(calls) + 1)]
    events[0].record()
    for call, done in zip(calls, events[1:], strict=True):
        call()
        done.record()
    events[-1].synchronize()
    return [cuda.get_elapsed_time(*pair) / 1e3 for pair in pairwise(events)]  # it says milliseconds


def _ranges(backend: Any) -> Callable[[str], Any]:
    nvtx = backend.xp.cuda.nvtx

    @contextmanager
    def range_of(name: str) -> Iterator[None]:
        nvtx.RangePush(name)
        try:
            yield
        finally:
            nvtx.RangePop()

    return range_of
