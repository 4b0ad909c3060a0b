"""An ONNX graph that grows node by node."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from mlpx.errors import InputError, MissingExtraError

OPSETS = {"": 15, "ai.onnx.ml": 2}
"""The versions of the operators: those of ONNX 1.10."""
IR_VERSION = 8
MOST_BYTES = (1 << 31) - (1 << 20)
"""A file is one message of Protocol Buffers, which ends at 2 GiB; the nodes need some of it."""
FLOAT, INT64, DOUBLE = 1, 7, 11
"""As ONNX numbers its types, for Cast."""
SHARED = 8
"""Constants of up to so many numbers are kept once."""


Ends = dict[str, tuple[np.dtype, Sequence[int | str]]]
"""Inputs or outputs: the dtype and the shape of each, with names for sizes that are not fixed."""


class Graph:
    """Nodes, constants, inputs and outputs; what they are called are the names of arrays.

    `dtype` is the model's. Operators are those of opset 15, and of version 2 of ai.onnx.ml with
    `domain="ai.onnx.ml"`::

        z = graph.add("MatMul", [x, graph.constant(W)])
    """

    def __init__(self, dtype: np.dtype) -> None:
        self.dtype = np.dtype(dtype)
        self.constants: dict[str, np.ndarray] = {}
        self.inputs: Ends = {}
        self.outputs: Ends = {}
        self.nodes: list[dict[str, Any]] = []
        self._counts: dict[str, int] = {}
        self._taken: set[str] = set()
        self._shared: dict[tuple[Any, ...], str] = {}
        self._prefix = ""

    @contextmanager
    def within(self, part: str) -> Iterator[None]:
        """Begin the names of what is added with `part/`."""
        before, self._prefix = self._prefix, f"{self._prefix}{part}/"
        yield
        self._prefix = before

    def add(
        self, op: str, inputs: Sequence[str], *, domain: str = "", name: str = "",
        unused: int = 0, **attributes: Any,
    ) -> str:  # fmt: skip
        """Append a node; returns the name of its first output, which is `name` if given. After it
        come `unused` ones.

        The other names that are made up differ from those of the inputs declared so far.
        """
        made = name or self._free(f"{self._prefix}{op}")
        outputs = [made, *(self._free(f"{made}/unused") for _ in range(unused))]
        self.nodes.append(
            {
                "op": op, "inputs": list(inputs), "outputs": outputs, "domain": domain,
                "has": attributes,
            }
        )  # fmt: skip
        return made

    def constant(self, array: Any, *, name: str = "") -> str:
        """The name of a constant: numbers or text. Small ones are kept once."""
        value = np.asarray(array)
        if name or value.size > SHARED:
            return self._kept(name or f"{self._prefix}constant", value)
        key = (value.dtype.str, value.shape, value.tobytes())
        if key not in self._shared:
            self._shared[key] = self._kept(f"{self._prefix}constant", value)
        return self._shared[key]

    def _kept(self, name: str, value: np.ndarray) -> str:
        made = self._free(name)
        self.constants[made] = value
        return made

    def number(self, value: float) -> str:
        """The name of a constant number () in the graph's dtype."""
        return self.constant(np.array(value, self.dtype))

    def input(self, name: str, shape: Sequence[int | str], dtype: Any = None) -> str:
        """Declare an input; `dtype` is the graph's, or any other, `str` for text."""
        self._taken.add(name)
        self.inputs[name] = self.dtype if dtype is None else np.dtype(dtype), shape
        return name

    def output(self, name: str, shape: Sequence[int | str], dtype: Any = None) -> None:
        """Declare that `name` is an output."""
        self.outputs[name] = self.dtype if dtype is None else np.dtype(dtype), shape

    def _free(self, stem: str) -> str:
        """A name that nothing has; inputs may be called like anything."""
        while True:
            self._counts[stem] = self._counts.get(stem, 0) + 1
            count = self._counts[stem]
            made = stem if count == 1 else f"{stem}_{count}"
            if made not in self._taken:
                self._taken.add(made)
                return made

    def to_model(self, *, doc: str, metadata: Mapping[str, str], version: str) -> Any:
        """The graph as an `onnx.ModelProto`.

        Raises MissingExtraError without onnx, InputError for more numbers than a file holds.
        """
        self._check_size()
        try:
            from onnx import helper, numpy_helper
        except ImportError as error:
            raise MissingExtraError("onnx", "onnx", "an ONNX file", error) from error
        nodes = [
            helper.make_node(
                node["op"], node["inputs"], node["outputs"], name=node["outputs"][0],
                domain=node["domain"], **node["has"],
            )
            for node in self.nodes
        ]  # fmt: skip
        values = [
            numpy_helper.from_array(_for_file(array), name)
            for name, array in self.constants.items()
        ]
        ends = [
            [helper.make_tensor_value_info(n, _type(d), list(s)) for n, (d, s) in part.items()]
            for part in (self.inputs, self.outputs)
        ]
        made = helper.make_graph(nodes, "mlpx", *ends, values)
        used = {"", *(node["domain"] for node in self.nodes)}
        opsets = [helper.make_opsetid(domain, OPSETS[domain]) for domain in sorted(used)]
        model = helper.make_model(
            made, opset_imports=opsets, ir_version=IR_VERSION, doc_string=doc,
            producer_name="mlpx", producer_version=version,
        )  # fmt: skip
        helper.set_model_props(model, dict(metadata))
        return model

    def _check_size(self) -> None:
        size_bytes = sum(array.nbytes for array in self.constants.values())
        if size_bytes > MOST_BYTES:
            raise InputError(
                f"the model has {size_bytes:,} bytes of parameters; an ONNX file holds at most "
                f"{MOST_BYTES:,}; export_numpy has no such limit"
            )


def _for_file(array: np.ndarray) -> np.ndarray:
    """Text as objects, as onnx wants it; numbers as they are."""
    return array.astype(object) if array.dtype.kind == "U" else np.asarray(array, order="C")


def _type(dtype: np.dtype) -> int:
    from onnx import TensorProto, helper

    if dtype.kind == "U":
        return int(TensorProto.STRING)
    return int(helper.np_dtype_to_tensor_dtype(dtype))
