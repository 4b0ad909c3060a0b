"""A model of a table that leaves: as an ONNX file or as plain NumPy, from the table's own columns.

`nodes` and `scales` have a form in ONNX for every kind of column and every scaling, `code` the
calls of NumPy, of the functions in `functions`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from mlpx.export import onnx, plain
from mlpx.export.onnx import Behind
from mlpx.tables.exporting.code import finish_text, prepare_text
from mlpx.tables.exporting.nodes import form_in, matrix, restored
from mlpx.tables.target import Target

if TYPE_CHECKING:
    from mlpx.tables.saved import TableModel

OUTPUTS = {
    "classification": ("label", "probabilities", "scores"),
    "regression": ("value", "quantiles"),
}


def export_onnx(
    made: TableModel,
    path: str | os.PathLike[str],
    *,
    doc: str = "",
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write the model to `path` as ONNX, atomically; see `mlpx.export.onnx.export_onnx`.

    Each column that the model reads is an input of its name, (N, 1): text for categories, doubles
    for what else there is, dates as seconds since 1970. A column that is called like an output has
    "_in" behind its name. Outputs are "label" and "probabilities", or "value" (N, 1), a double, and
    "quantiles" (N, q) if the model has them. The file's metadata have "columns", what each input is
    called and takes, as JSON, and "target".

    Raises InputError for a column or a layer that has no form in ONNX, InputTypeError,
    MissingExtraError without onnx, CheckpointError.
    """
    encoder, target = made.encoder, made.target
    inputs = dict(input_names(encoder.columns, OUTPUTS[target.task]))
    behind = Behind(temperature=made.temperature)
    if not target.classes:
        behind = Behind(partial(restored, made=made), columns=1, dtype=np.float64)
    with made.model.backend.failing("exporting"):
        onnx.export_onnx(
            made.model, path, names=names_of(target), doc=doc,
            metadata={**_facts(made, inputs), **(metadata or {})},
            before=partial(matrix, encoder=encoder, inputs=inputs), after=behind,
        )  # fmt: skip


def export_numpy(made: TableModel, path: str | os.PathLike[str]) -> None:
    """Write the model as a module of plain NumPy at `path`, NAME.py, and its parameters in
    NAME.safetensors; see `mlpx.export.plain.export_numpy`.

    Its functions take the columns by name, in a dict or a data frame.

    Raises InputError for a column or a layer that has no form in NumPy, InputTypeError,
    CheckpointError.
    """
    after = None if made.target.classes else finish_text(made)
    with made.model.backend.failing("exporting"):
        plain.export_numpy(
            made.model, path, names=names_of(made.target), before=prepare_text(made.encoder),
            after=after, temperature=made.temperature,
        )  # fmt: skip


def names_of(target: Target) -> list[Any] | None:
    """What a file calls the classes: text or whole numbers; None for 0 and 1, false and true too.

    Numbers with fractions are text.
    """
    if not target.classes or isinstance(target.classes[0], bool):
        return None
    floats = [label for label in target.classes if isinstance(label, float)]
    if all(label.is_integer() for label in floats):
        return [int(label) if isinstance(label, float) else label for label in target.classes]
    return list(map(str, target.classes))


def input_names(columns: Mapping[str, Any], outputs: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Each column and what its input is called: no input may be called like an output, or ""."""
    taken = {"", *outputs}
    for name in columns:
        called = name
        while called in taken or (called != name and called in columns):
            called += "_in"
        taken.add(called)
        yield name, called


def _facts(made: TableModel, inputs: Mapping[str, str]) -> dict[str, str]:
    """What the file says of the columns and the target."""
    columns = [
        {"name": name, "input": inputs[name], "takes": form_in(name, column).takes}
        for name, column in made.encoder.columns.items()
    ]
    return {"columns": json.dumps(columns), "target": made.target.name}
