"""Tables of every kind of column, untrained models of them, and how an ONNX file is fed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from leaving_models import shuffled
from onnx_answers import session

from mlpx.export.onnx import Graph
from mlpx.tables.encoder import Encoder
from mlpx.tables.exporting.nodes import matrix
from mlpx.tables.presets import preset_of
from mlpx.tables.saved import TableModel
from mlpx.tables.table import as_table
from mlpx.tables.target import Target

EPOCH = pd.Timestamp(0)


def table(n: int = 300, seed: int = 0) -> pd.DataFrame:
    """Columns of every kind and size, most with missing values."""
    rng = np.random.default_rng(seed)

    def texts(count: int, lacking: float = 0.1) -> np.ndarray:
        known = np.array([*(f"ü {i}" for i in range(count)), None], object)
        share = [(1 - lacking) / count] * count
        return known[rng.choice(count + 1, n, p=[*share, lacking])]

    def times(unit: str) -> pd.Series:
        ticks = pd.to_timedelta(rng.integers(-(10**9), 2 * 10**9, n), unit="s")
        return pd.Series((EPOCH + ticks).floor(unit))

    made = pd.DataFrame(
        {
            "age": rng.normal(40, 12, n),
            "id": 1.6e12 + rng.integers(0, 900, n),
            "count": rng.poisson(2, n),
            "smoker": rng.random(n) < 0.4,
            "paid": rng.choice(np.array([True, False, None], object), n),
            "colour": texts(3),
            "sex": texts(2),
            "kept": texts(1, 0.4),
            "city": texts(14),
            "day": times("D"),
            "moment": times("us"),
            "zip": rng.integers(0, 6, n),
        }
    )
    made.loc[rng.random(n) < 0.2, "age"] = np.nan
    made.loc[rng.random(n) < 0.2, "moment"] = pd.NaT
    return made


def encoded(frame: Any, **options: Any) -> Encoder:
    rows = as_table(frame)
    kinds = {"zip": "category"} if "zip" in rows.column_names else None
    return Encoder.fit(rows, kinds=kinds, **options)


def model_of(
    frame: Any,
    y: Any,
    *,
    preset: str = "plain",
    task: str = "auto",
    loss: Any = None,
    **options: Any,
) -> TableModel:
    """An untrained model, with parameters as if it was trained."""
    rows, chosen = as_table(frame), preset_of(preset)
    target = Target.fit(as_table({"y": y})["y"], name="y", task=task)
    encoder = encoded(frame, one_hot=chosen.one_hot, **options)
    chosen = chosen.for_rows(len(rows))
    made = TableModel.new(encoder, target, chosen, x=encoder.encode(rows), seed=0, loss=loss)
    shuffled(made.model)
    last = [*made.model.parameters.values()][-2]
    last *= 0.02  # no class is certain, as after a training
    return made


def fed(encoder: Encoder, frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """The inputs of an ONNX file: a column (n, 1) each."""
    return {name: _fed(column, frame[[name]]) for name, column in encoder.columns.items()}


def _fed(column: Any, values: pd.DataFrame) -> np.ndarray:
    if column.name == "category":
        text = values.astype(object).where(values.notna(), "").map(str)
        return text.to_numpy(object)
    if column.name == "date":
        return ((values - EPOCH) / pd.Timedelta("1s")).to_numpy(np.float64)
    return values.astype(object).where(values.notna(), np.nan).to_numpy(np.float64)


class Matrix:
    """The matrix that the nodes of an encoder make, by ONNX Runtime and by onnx's evaluator."""

    def __init__(self, encoder: Encoder, path: Path, dtype: str = "float32") -> None:
        import onnx
        from onnx.reference import ReferenceEvaluator

        graph = Graph(np.dtype(dtype))
        x = matrix(graph, encoder=encoder, inputs={name: name for name in encoder.columns})
        graph.add("Identity", [x], name="the matrix")
        graph.output("the matrix", ("N", encoder.width))
        made = graph.to_model(doc="", metadata={}, version="")
        onnx.checker.check_model(made, full_check=True)
        path.write_bytes(made.SerializeToString())
        self._sessions = (session(path), ReferenceEvaluator(made))

    def __call__(self, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        return [each.run(None, inputs)[0] for each in self._sessions]
