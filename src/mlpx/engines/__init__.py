"""Engines: who runs a program. One record each in `Engine.table`; `choose` picks one."""

from __future__ import annotations

from mlpx.engines.base import Engine, Predictor, Runner
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
    "CudaEngine",
    "Engine",
    "Interpreter",
    "NativeEngine",
    "Predictor",
    "Runner",
    "choose",
    "predictor",
    "refusal",
]


def choose(wanted: str, program: TrainingProgram) -> tuple[Engine, str]:
    """The engine called `wanted`, or for `"auto"` the fastest that can run `program`, and why.

    Raises UnknownNameError for a name in no table, EngineError if the engine asked for cannot run
    it.
    """
    if wanted != "auto":
        if wanted not in Engine.table:
            raise UnknownNameError("engine", wanted, [*Engine.table, "auto"])
        engine: Engine = Engine.table[wanted]()
        reason = refusal(engine, program)
        if reason:
            raise EngineError(f"engine={wanted!r} cannot run this: {reason}")
        return engine, "asked for"
    refusals: list[str] = []
    kind = program.network.backend.kind
    for candidate in (each for each in PREFERENCE if kind in each.devices):
        engine = candidate()
        reason = refusal(engine, program)
        if not reason:
            return engine, "; ".join(refusals) or "the fastest there is for this device"
        refusals.append(f"{engine.name}: {reason}")
    raise EngineError("no engine can run this: " + "; ".join(refusals))


def predictor(network: Network) -> Predictor | None:
    """What the fastest engine that can predict for `network` does it with, None for none."""
    made = (candidate().predictor(network) for candidate in PREFERENCE)
    return next((found for found in made if found is not None), None)


def refusal(engine: Engine, program: TrainingProgram) -> str | None:
    """Why an engine cannot run `program`, or None if it can."""
    if program.interpreted and not isinstance(engine, Interpreter):
        return f"{program.interpreted} is done by the interpreter only"
    if program.precision not in engine.precisions:
        return f"precision={program.precision!r} is none of its own"
    return engine.refuses(program)
