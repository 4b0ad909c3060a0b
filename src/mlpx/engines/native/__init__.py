"""The native engine: many steps in one call of a small C library."""

from __future__ import annotations

from dataclasses import dataclass

from mlpx.backend.cpu import usable_cores
from mlpx.engines.base import Engine, Predictor, RefusedError, Runner
from mlpx.engines.lowering import UntranslatableError
from mlpx.engines.native.library import instruction_set, load, rounds_to_bf16
from mlpx.engines.native.prediction import NativePredictor
from mlpx.engines.native.runner import NativeRunner, worthwhile_threads
from mlpx.network.network import Network
from mlpx.program.program import TrainingProgram

__all__ = ["NativeEngine"]

MISSING = (
    "the native library was not built: install a C compiler and reinstall mlpx "
    "(pip install --force-reinstall --no-cache-dir mlpx)"
)


@dataclass(frozen=True)
class NativeEngine(Engine, name="native"):
    """Runs on the CPU whatever its library has an operation for."""

    devices = ("cpu",)
    precisions = ("float32", "bf16")

    def missing(self) -> str | None:
        return MISSING if load() is None else None

    def describe(self) -> str:
        cores = usable_cores()
        return f"{instruction_set()}, {cores} thread{'s' if cores > 1 else ''}"

    def _runner(self, program: TrainingProgram, threads: int | None) -> Runner:
        if program.network.backend.kind != "cpu":
            raise RefusedError("it runs on the CPU only")
        missing = self.missing()
        if missing:
            raise RefusedError(missing)
        if program.precision == "bf16" and not rounds_to_bf16():
            raise RefusedError("precision='bf16' needs a processor with AVX512_BF16")
        return NativeRunner(program, threads or worthwhile_threads(program))

    def predictor(self, network: Network) -> Predictor | None:
        if network.backend.kind != "cpu" or self.missing():
            return None
        try:
            return NativePredictor(network)
        except UntranslatableError:
            return None
