"""What an exported ONNX file answers, in ONNX Runtime and in the evaluator of onnx."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from leaving_models import same

from mlpx import MLP

CLOSE = {
    "float32": {"relative": 1e-4, "absolute": 1e-5},
    "float64": {"relative": 1e-10, "absolute": 1e-12},
}


def session(path: Path) -> Any:
    import onnxruntime

    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def answer(
    path: Path, model: MLP, inputs: Any, *, evaluator: bool = True, **options: Any
) -> dict[str, np.ndarray]:
    """What ONNX Runtime answers for a model, by output, after the checker passed the file, and the
    evaluator agreed unless it is left out.
    """
    import onnx
    from onnx.reference import ReferenceEvaluator

    model.export_onnx(path, **options)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    inputs = inputs if isinstance(inputs, dict) else {"x": inputs}
    opened = session(path)
    names = [end.name for end in opened.get_outputs()]
    found = dict(zip(names, opened.run(None, inputs), strict=True))
    for name in names if evaluator else ():
        (other,) = ReferenceEvaluator(onnx.load(path)).run([name], inputs)
        if found[name].dtype.kind == "f":
            same(other, found[name], **CLOSE[model.dtype.name])
        else:
            assert (np.asarray(other) == found[name]).all()
    return found
