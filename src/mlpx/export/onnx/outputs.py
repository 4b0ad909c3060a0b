"""The end of an ONNX graph: labels, probabilities or values from the last layer's outputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlpx.export.answers import Answers
from mlpx.export.onnx.activations import logistic
from mlpx.export.onnx.graph import INT64, Graph

ROWS = "N"
"""What the number of rows is called in shapes."""


@dataclass(frozen=True)
class Behind:
    """What is done behind the network: `after` may change its values (N, k) to `columns` values of
    `dtype`, None for as many and the same; logits are divided by `temperature` before they become
    probabilities.
    """

    after: Callable[[Graph, str], str] | None = None
    columns: int | None = None
    dtype: Any = None
    temperature: float = 1.0


def add_outputs(graph: Graph, answers: Answers, z: str, k: int, behind: Behind) -> None:
    """Add and declare the outputs for the last layer's `z` (N, k)."""
    if answers.kind == "values":
        value = graph.add("Exp", [z]) if answers.link == "exp" else z
        value = value if behind.after is None else behind.after(graph, value)
        _named(graph, "value", value)
        others, graph.outputs = graph.outputs, {}  # what `after` declared comes behind the values
        graph.output("value", (ROWS, behind.columns or k), behind.dtype)
        graph.outputs |= others
        return
    _add_labels(graph, answers, z, k)
    if answers.has_probabilities:
        columns = 2 if answers.kind == "yes or no" else k
        if behind.temperature != 1.0:
            z = graph.add("Div", [z, graph.number(behind.temperature)])
        _named(graph, "probabilities", _probabilities(graph, answers, z))
        graph.output("probabilities", (ROWS, columns))
    else:
        _named(graph, "scores", z)
        graph.output("scores", (ROWS, k))


def _add_labels(graph: Graph, answers: Answers, z: str, k: int) -> None:
    if answers.kind == "classes":
        index = graph.add("ArgMax", [z], axis=1, keepdims=0)
    else:
        positive = graph.add("Greater", [z, graph.number(0)])
        index = graph.add("Cast", [positive], to=INT64)
    if answers.kind == "labels":
        _named(graph, "labels", index)
        graph.output("labels", (ROWS, k), np.int64)
        return
    if answers.kind == "yes or no":
        index = graph.add("Reshape", [index, graph.constant(np.array([-1], np.int64))])
    if answers.names is not None:
        index = graph.add("Gather", [graph.constant(answers.names, name="classes"), index])
    _named(graph, "label", index)
    graph.output("label", (ROWS,), np.int64 if answers.names is None else answers.names.dtype)


def _probabilities(graph: Graph, answers: Answers, z: str) -> str:
    if answers.link == "softmax":
        return graph.add("Softmax", [z], axis=1)
    yes = logistic(graph, z, graph.add("Abs", [z]))
    if answers.kind == "labels":
        return yes
    other = graph.add("Neg", [z])  # 1 - yes would lose the tail
    no = logistic(graph, other, graph.add("Abs", [z]))
    return graph.add("Concat", [no, yes], axis=1)


def _named(graph: Graph, name: str, value: str) -> None:
    """Call `value` by the name of an output."""
    graph.add("Identity", [value], name=name)
