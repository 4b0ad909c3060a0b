"""A model as an ONNX file: `pip install 'mlpx[onnx]'`.

One function a layer or activation, in `layers.LAYERS` and `activations.ACTIVATIONS`, adds nodes to
a `Graph`. Whoever prepares a model's columns adds its own nodes in front.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from mlpx.errors import InputError, InputTypeError
from mlpx.export.answers import Answers
from mlpx.export.onnx.graph import Graph
from mlpx.export.onnx.layers import add_layer
from mlpx.export.onnx.outputs import ROWS, Behind, add_outputs
from mlpx.export.sites import sites
from mlpx.files import write_atomically
from mlpx.network.network import Network
from mlpx.untrusted import brief

__all__ = ["Behind", "Graph", "export_onnx"]


def export_onnx(
    model: Network,
    path: str | os.PathLike[str],
    *,
    names: Iterable[Any] | None = None,
    doc: str = "",
    metadata: Mapping[str, str] | None = None,
    before: Callable[[Graph], str] | None = None,
    after: Callable[[Graph, str], str] | Behind | None = None,
) -> None:
    """Write `model` to `path` as ONNX (opset 15, IR version 8), atomically.

    The input is "x" (N, d_in), of the model's dtype, for any N. A classifier's outputs are "label"
    (N,), int64 or what `names` calls the classes, whole numbers or text; and "probabilities"
    (N, classes), two for one yes-or-no output, or "scores" (N, k) if the loss has none. Several
    labels are "labels" (N, k), 0 or 1, and "probabilities" (N, k); the output of a regression is
    "value" (N, k).

    `doc` and `metadata` are kept in the file, beside "mlpx_version", "created_by", "architecture"
    (JSON), "loss" and "classes" (JSON). `before(graph)` stands in place of the input "x": it
    declares inputs of its own, adds nodes that make the columns (N, d_in) of them, and returns the
    name of these. `after(graph, value)` may change the values of a regression; `Behind` says more.

    Raises InputError for a layer that has no form in ONNX, for names or nodes that do not fit and
    for a model beyond 2 GiB, InputTypeError, MissingExtraError without onnx, CheckpointError if
    `path` cannot be written.
    """
    from mlpx import __version__

    behind = after if isinstance(after, Behind) else Behind(after)
    answers = Answers.of(model, names)
    graph = Graph(model.dtype)
    z = graph.input("x", (ROWS, model.d_in)) if before is None else before(graph)
    for site in sites(model):
        z = add_layer(graph, site, z)
    add_outputs(graph, answers, z, model.d_out, behind)
    kept = {**described(model, answers, __version__), **_checked(metadata)}
    made = graph.to_model(doc=doc, metadata=kept, version=__version__)
    if before is not None or after is not None:
        _check_nodes(made)
    write_atomically(Path(path), made.SerializeToString())


def _check_nodes(made: Any) -> None:
    """Raises InputError if the nodes of others make no valid graph with the model's."""
    from onnx import checker, shape_inference

    try:
        checker.check_model(made, full_check=True)
    except (checker.ValidationError, shape_inference.InferenceError) as error:
        raise InputError(
            f"the nodes that before or after added make no valid graph: {brief(error)}"
        ) from error


def described(model: Network, answers: Answers, version: str) -> dict[str, str]:
    """What a file says of the model in it."""
    facts = {
        "mlpx_version": version,
        "created_by": f"mlpx {version}",
        "architecture": json.dumps(model.config()),
        "loss": model.loss.name,
    }
    if answers.names is not None:
        facts["classes"] = json.dumps(answers.names.tolist())
    return facts


def _checked(metadata: Mapping[str, str] | None) -> dict[str, str]:
    for name, value in (metadata or {}).items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise InputTypeError(f"metadata has {name!r}: {value!r}; wanted text for both")
    return dict(metadata or {})
