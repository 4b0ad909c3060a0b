"""Engines: who runs a program. One record each in `Engine.table`; `choose` picks one."""

from __future__ import annotations

from typing import NamedTuple

from mlpx.engines.base import Engine, Predictor, RefusedError, Runner
from mlpx.engines.cuda import CudaEngine
from mlpx.engines.interpreter import Interpreter
from mlpx.engines.native import NativeEngine
from mlpx.errors import EngineError, UnknownNameError
from mlpx.network.network import Network
from mlpx.program.program import TrainingProgram

PREFERENCE: tuple[type[Engine], ...] = (CudaEngine, NativeEngine, Interpreter)
"""Fastest first; the first that accepts a program runs it."""

__all__ = [
    "PREFERENCE",
    "Chosen",
    "CudaEngine",
    "Engine",
    "Interpreter",
    "NativeEngine",
    "Predictor",
    "RefusedError",
    "Runner",
    "choose",
    "predictor",
]


class Chosen(NamedTuple):
    """The engine for a program, why it is that one, and what it prepared to run the program."""

    engine: Engine
    reason: str
    runner: Runner


def choose(wanted: str, program: TrainingProgram, *, threads: int | None = None) -> Chosen:
    """The engine called `wanted`, or for `"auto"` the fastest that can run `program`, prepared to
    run it on so many threads, or on as many as suit the program.

    Raises UnknownNameError for a name in no table, EngineError if the engine asked for cannot run
    the program.
    """
    if wanted != "auto":
        if wanted not in Engine.table:
            raise UnknownNameError("engine", wanted, [*Engine.table, "auto"])
        engine: Engine = Engine.table[wanted]()
        try:
            return Chosen(engine, "asked for", engine.prepare(program, threads=threads))
        except RefusedError as error:
            raise EngineError(f"engine={wanted!r} cannot run this: {error}") from error
    refusals: list[str] = []
    kind = program.network.backend.kind
    for candidate in (each for each in PREFERENCE if kind in each.devices):
        engine = candidate()
        try:
            runner = engine.prepare(program, threads=threads)
        except RefusedError as error:
            refusals.append(f"{engine.name}: {error}")
        else:
            reason = "; ".join(refusals) or "the fastest there is for this device"
            return Chosen(engine, reason, runner)
    raise EngineError("no engine can run this: " + "; ".join(refusals))


def predictor(network: Network) -> Predictor | None:
    """The predictor of the fastest engine that has one for `network`; None if none has."""
    predictors = (engine().predictor(network) for engine in PREFERENCE)
    return next((predictor for predictor in predictors if predictor is not None), None)
