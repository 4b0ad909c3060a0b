"""ONNX Runtime: prediction only, on a graph written node by node."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlpx.benchmark.contenders.base import Contender
from mlpx.benchmark.reference import Arrays
from mlpx.benchmark.workloads import Problem, Task

OPSET = 17
IR_VERSION = 9


class Session(Contender):
    """`InferenceSession.run` on host arrays."""

    library = "onnxruntime"
    mode = "session"
    note = "InferenceSession.run, CPU execution provider"
    requires = ("onnxruntime", "onnx")

    def __init__(self, task: Task, problem: Problem) -> None:
        super().__init__(task, problem)
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = task.threads
        options.inter_op_num_threads = 1
        self.session: Any = onnxruntime.InferenceSession(
            graph(task, problem), options, providers=["CPUExecutionProvider"]
        )
        self.x = problem.batch[0]

    def reset(self) -> None:
        return

    def predict(self, steps: int) -> None:
        """Classes of one batch."""
        feed = {"x": self.x}
        for _ in range(steps):
            self.output = self.session.run(None, feed)[0]

    def outputs(self) -> Arrays:
        return [np.asarray(self.output)]


def graph(task: Task, problem: Problem) -> bytes:
    """The network as a model file: Gemm and activation by layer, ArgMax at the end."""
    import onnx
    from onnx import helper, numpy_helper

    activation = {"relu": "Relu", "sigmoid": "Sigmoid"}[task.workload.activation]
    nodes, constants, last = [], [], "x"
    count = len(problem.weights)
    for i, (W, b) in enumerate(zip(problem.weights, problem.biases, strict=True)):
        constants += [numpy_helper.from_array(W, f"W{i}"), numpy_helper.from_array(b, f"b{i}")]
        nodes.append(helper.make_node("Gemm", [last, f"W{i}", f"b{i}"], [f"z{i}"]))
        last = f"z{i}"
        if i < count - 1:
            nodes.append(helper.make_node(activation, [last], [f"y{i}"]))
            last = f"y{i}"
    nodes.append(helper.make_node("ArgMax", [last], ["classes"], axis=1, keepdims=0))
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(task.dtype))
    x = helper.make_tensor_value_info("x", kind, [None, task.workload.layers[0]])
    classes = helper.make_tensor_value_info("classes", onnx.TensorProto.INT64, [None])
    model = helper.make_model(
        helper.make_graph(nodes, "mlp", [x], [classes], constants),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    content: bytes = model.SerializeToString()
    return content


def contenders() -> list[type[Contender]]:
    """The one mode."""
    return [Session]
