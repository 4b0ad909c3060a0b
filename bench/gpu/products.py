"""cublasLt: every product with every end, in every precision, planned and launched by the engine.

The operations go through the engine's own planning: what it fuses, pads, casts and hints at is what
is tried. A product that is not planned is a finding, not a failure: the engine has something else.
"""

from __future__ import annotations

import ctypes
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from gpu import product_data
from gpu.faults import lost, said
from gpu.product_data import Built, Data
from gpu.section import Row, Setup
from mlpx.backend import get_backend
from mlpx.engines.cuda import cublaslt, planner, runner
from mlpx.engines.cuda.epilogues import Fused
from mlpx.engines.cuda.products import FACTORS, PlannedProduct, workspace

SHAPES = (
    (100, 784, 50), (100, 50, 10), (128, 512, 512), (128, 512, 10), (96, 785, 33),
    (8192, 512, 512),
)  # fmt: skip
"""Rows, inputs and outputs of a layer."""
QUICK = ((12, 16, 8), (6, 9, 5))
BOUNDS = {"float32": 1e-5, "tf32": 2e-3, "bf16": 2e-2, "fp16": 2e-3, "float64": 1e-13}
"""How far off a result may be, ‖out - wanted‖ / ‖wanted‖."""


class End(NamedTuple):
    """What builds a product with an end, and cublasLt's number of that end; 0 for none."""

    build: Callable[[Built, str], None]
    kind: int = 0


ENDS: dict[str, dict[str, End]] = {
    "affine": {
        "none": End(product_data.affine),
        "bias": End(product_data.affine, cublaslt.EPILOGUE_BIAS),
        "relu_bias": End(product_data.affine, cublaslt.EPILOGUE_RELU_BIAS),
        "relu_aux_bias": End(product_data.affine, cublaslt.EPILOGUE_RELU_AUX_BIAS),
        "gelu_aux_bias": End(product_data.affine, cublaslt.EPILOGUE_GELU_AUX_BIAS),
    },
    "affine_dx": {
        "none": End(product_data.affine_dx),
        "drelu": End(product_data.affine_dx, cublaslt.EPILOGUE_DRELU),
        "drelu_bgrad": End(product_data.affine_dx, cublaslt.EPILOGUE_DRELU_BGRAD),
        "dgelu": End(product_data.affine_dx, cublaslt.EPILOGUE_DGELU),
    },
    "affine_dW": {
        "none": End(product_data.affine_dW),
        "bgrada": End(product_data.affine_dW, cublaslt.EPILOGUE_BGRADA),
    },
    "matrix_product": {
        name: End(product_data.matrix_product) for name in ("NN", "NT", "TN", "TT", "NN + C")
    },
}
"""The products of the engine, and what can follow each."""


def run(setup: Setup) -> Iterator[Row]:
    backend: Any = get_backend(setup.device)
    yield version(backend)
    started_s = time.perf_counter()
    data = {shape: Data(shape) for shape in (QUICK if setup.quick else SHAPES)}
    for precision in BOUNDS:
        for operation, ends in ENDS.items():
            if operation == "matrix_product" and precision in ("bf16", "fp16"):
                continue  # the engine multiplies those in float32
            for name, end in ends.items():
                row = combination(backend, data, operation, name, end, precision)
                yield row
                if not row["passed"] and (why := lost(backend)):
                    place = f"{operation} {name} {precision}"
                    why = f"the device is lost since {place}: {why}"
                    yield {"check": "products", "passed": False, "why": why}
                    return
    yield {"check": "products", "passed": True, "seconds": time.perf_counter() - started_s}


def version(backend: Any) -> Row:
    """Which cublasLt it is."""
    row: Row = {"check": "cublasLt"}
    try:
        with backend.xp.cuda.Device(backend.index):
            cublaslt.opened(backend)
            library = cublaslt.find(backend.xp)
            library.cublasLtGetVersion.restype = ctypes.c_size_t
            row |= {"passed": True, "version": int(library.cublasLtGetVersion())}
            row["workspace_bytes"] = workspace(backend).nbytes
    except Exception as error:
        row |= {"passed": False, "why": said(error)}
    return row


def combination(
    backend: Any, data: dict[Any, Data], operation: str, name: str, end: End, precision: str
) -> Row:
    """The row of a product with an end in a precision, over all shapes."""
    found: list[Row] = []
    for shape in data:
        try:
            row = tried(backend, data[shape], name, end, precision)
        except Exception as error:  # one shape must not cost the others
            row = {"planned": True, "passed": False, "why": said(error)}
        found.append({"shape": list(shape), **row})
        if not row["passed"] and lost(backend):
            break
    wrong = [each for each in found if not each["passed"]]
    row = {
        "check": "product", "operation": operation, "epilogue": name, "precision": precision,
        "passed": not wrong, "planned": sum(each["planned"] for each in found),
        "of": len(data), "bound": BOUNDS[precision], "shapes": found,
    }  # fmt: skip
    worst = [e for each in found for e in each.get("errors", {}).values() if e is not None]
    row["worst_error"] = max(worst, default=None)
    if wrong:
        row["why"] = f"{wrong[0]['shape']}: {wrong[0].get('why')}"
    return row


def tried(backend: Any, data: Data, name: str, end: End, precision: str) -> Row:
    """One product: planned, run, and compared."""
    dtype = np.dtype("float64" if precision == "float64" else "float32")
    with backend.xp.cuda.Device(backend.index) as device:
        made = Built(backend, data, dtype)
        end.build(made, name)
        with recorded() as products:
            engine = planned(backend, made, dtype, precision)
        (launches,) = engine.replayer.launches.values()
        mine = [each for each in products if kind(each.operation) == end.kind and each.algorithm]
        kept = [op for op, _ in launches if op.name in FACTORS and kind(op) == end.kind]
        row: Row = {"planned": bool(mine and kept), "passed": True}
        if engine.notes:
            row["notes"] = engine.notes
        if not row["planned"]:
            row["why"] = "; ".join(engine.notes) or "the engine does not fuse it"
            return row
        row["workspace_bytes"] = max(int(each.algorithm.workspace_size) for each in mine)
        row["waves"] = round(float(mine[-1].algorithm.waves_count), 3)
        device.synchronize()  # its own stream does not wait for what filled the arrays
        with engine.stream:
            for _, put in launches:
                put()
        device.synchronize()
        row["errors"] = {key: off(made.outputs[key].get(), of()) for key, of in made.wanted.items()}
        bad = [k for k, e in row["errors"].items() if e is None or e > BOUNDS[precision]]
        if bad:
            row |= {"passed": False, "why": f"wrong: {bad}, {row['errors']}"}
        return row


def off(out: np.ndarray, wanted: np.ndarray) -> float | None:
    """‖out - wanted‖ / ‖wanted‖; None where something is not finite."""
    with np.errstate(all="ignore"):
        size = float(np.linalg.norm(wanted)) or 1.0
        found = float(np.linalg.norm(out - wanted)) / size
    return found if math.isfinite(found) else None


def kind(operation: Any) -> int:
    """cublasLt's number of an operation's end, 0 for none."""
    return operation.epilogue.kind if isinstance(operation, Fused) else 0


def planned(backend: Any, made: Built, dtype: np.dtype, precision: str) -> Any:
    """The engine's runner of a program whose only plan is these operations."""
    plan = SimpleNamespace(reads=(), calls=[])
    program = SimpleNamespace(
        network=SimpleNamespace(backend=backend, dtype=dtype),
        precision="float32" if precision == "float64" else precision,
        plans=[plan], full=plan, full_steps=1, state=backend.zeros(2, np.int64),
        data=SimpleNamespace(x=None, resident=True),
    )  # fmt: skip
    return runner.CudaRunner(program, [made.operations])  # type: ignore[arg-type]


@contextmanager
def recorded() -> Iterator[list[Any]]:
    """The products that the engine asks cublasLt for meanwhile."""
    found: list[Any] = []

    class Recorded(PlannedProduct):
        def __init__(self, library: Any, room: Any, operation: Any, *rest: Any, **how: Any) -> None:
            super().__init__(library, room, operation, *rest, **how)
            self.operation = operation
            found.append(self)

    names = vars(planner)
    kept, names["PlannedProduct"] = names["PlannedProduct"], Recorded
    try:
        yield found
    finally:
        names["PlannedProduct"] = kept
