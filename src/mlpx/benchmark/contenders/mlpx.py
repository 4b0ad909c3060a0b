"""mlpx: every engine in the table, bare, through `fit` and with checkpoints; `predict`; calls."""

from __future__ import annotations

from mlpx.benchmark.contenders.base import Contender
from mlpx.benchmark.contenders.calls import FitABatch, PartialFit
from mlpx.benchmark.contenders.kept import Kept
from mlpx.benchmark.contenders.ours import Bare, Fitted, Interpreted, Predicted
from mlpx.engines import Engine


def contenders() -> list[type[Contender]]:
    """For each engine its training program alone, `fit`, and `fit` with checkpoints; `predict`; and
    single calls.
    """
    kinds: list[type[Contender]] = [Predicted, FitABatch, PartialFit]
    for name, engine in Engine.table.items():
        base = Interpreted if name == "interpreter" else Bare
        of = {
            "engine": name,
            "devices": engine.devices,
            "precisions": engine.precisions,
            "compiles": name == "cuda",
            "floors": () if name == "native" else ("gemm/numpy",),  # the others call its BLAS
        }
        kinds.append(type(f"Bare_{name}", (base,), {**of, "mode": name}))
        kinds.append(type(f"Fit_{name}", (Fitted,), {**of, "mode": f"{name} fit"}))
        kinds.append(type(f"Kept_{name}", (Kept,), {**of, "mode": f"{name} fit, kept"}))
    return kinds
