"""PyTorch: eager, with the fused optimizer, compiled in parts, and the whole step as one compiled
graph.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from mlpx.benchmark.contenders.base import Contender
from mlpx.benchmark.contenders.clocks import DeviceClock
from mlpx.benchmark.reference import EPSILON, Arrays
from mlpx.benchmark.workloads import Problem, Task


class TorchClock:
    """CUDA events."""

    def __init__(self, torch: Any) -> None:
        self.events = [torch.cuda.Event(enable_timing=True) for _ in range(2)]

    def start(self) -> None:
        self.events[0].record()

    def stop(self) -> None:
        self.events[1].record()

    def elapsed_s(self) -> float:
        self.events[1].synchronize()
        return float(self.events[0].elapsed_time(self.events[1])) / 1e3


class Torch(Contender):
    """`nn.Sequential`, the data on the device, batches gathered by index."""

    library = "torch"
    requires = ("torch",)
    devices: ClassVar[tuple[str, ...]] = ("cpu", "cuda")
    precisions = ("float32", "tf32", "bf16")
    floors = ("gemm/torch",)
    fused: ClassVar[bool] = False

    def __init__(self, task: Task, problem: Problem) -> None:
        super().__init__(task, problem)
        import torch

        torch.set_num_threads(task.host_threads)
        torch.set_float32_matmul_precision("high" if task.precision == "tf32" else "highest")
        self.torch: Any = torch
        self.x = torch.from_numpy(problem.x).to(task.device)
        self.labels = torch.from_numpy(problem.labels).to(task.device)
        self.order = torch.from_numpy(problem.order).to(task.device)
        self.batch = self.x[self.order[0]], self.labels[self.order[0]]
        self.host_batch = problem.batch[0]
        self.model = self._model()
        self.optimizer = self._optimizer()
        self.loss = self._loss
        self.step = self.optimizer.step
        self.position = 0

    def _model(self) -> Any:
        nn, workload = self.torch.nn, self.task.workload
        activation = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid}[workload.activation]
        layers: list[Any] = []
        for d, k in workload.shapes:
            layers += [nn.Linear(d, k), activation()]
        model = nn.Sequential(*layers[:-1])
        return model.to(self.task.device, getattr(self.torch, self.task.dtype))

    def _optimizer(self) -> Any:
        optim, workload = self.torch.optim, self.task.workload
        fused = True if self.fused else None
        if workload.optimizer == "sgd":
            return optim.SGD(self.model.parameters(), lr=workload.learning_rate, fused=fused)
        return optim.Adam(
            self.model.parameters(), lr=workload.learning_rate, eps=EPSILON, fused=fused
        )

    def _loss(self, x: Any, labels: Any) -> Any:
        return self._rounded_loss(self.model, x, labels)

    def _rounded_loss(self, logits: Any, x: Any, labels: Any) -> Any:
        """The mean loss of `logits(x)`; in bf16 by autocast, whose products also leave bf16."""
        cross_entropy = self.torch.nn.functional.cross_entropy
        if self.task.precision != "bf16":
            return cross_entropy(logits(x), labels)
        kind = self.task.device.partition(":")[0]
        with self.torch.autocast(kind, dtype=self.torch.bfloat16, cache_enabled=False):
            return cross_entropy(logits(x), labels)

    def _set_weights(self) -> None:
        linear = [layer for layer in self.model if hasattr(layer, "weight")]
        with self.torch.no_grad():
            for layer, W, b in zip(linear, self.problem.weights, self.problem.biases, strict=True):
                layer.weight.copy_(self.torch.from_numpy(W.T))
                layer.bias.copy_(self.torch.from_numpy(b))

    def reset(self) -> None:
        self._set_weights()
        with self.torch.no_grad():
            for state in self.optimizer.state.values():
                for value in state.values():
                    if self.torch.is_tensor(value):
                        value.zero_()
        self.position = 0
        if self.task.phase == "update":
            self.backward(1)

    def train(self, steps: int) -> None:
        """Gather, forward, backward, optimizer."""
        for rows in self.next_rows(steps):
            self.optimizer.zero_grad(set_to_none=True)
            self.loss(self.x[rows], self.labels[rows]).backward()
            self.step()

    def next_rows(self, steps: int) -> Any:
        """The rows of each of the next steps."""
        for _ in range(steps):
            yield self.order[self.position % len(self.order)]
            self.position += 1

    def forward(self, steps: int) -> None:
        """Logits of one batch, with the graph for a backward pass."""
        for _ in range(steps):
            self.output = self.model(self.batch[0])

    def backward(self, steps: int) -> None:
        """Forward, loss, gradients of one batch."""
        for _ in range(steps):
            self.optimizer.zero_grad(set_to_none=True)
            self.loss(*self.batch).backward()

    def update(self, steps: int) -> None:
        """The optimizer alone."""
        for _ in range(steps):
            self.step()

    def predict(self, steps: int) -> None:
        """Classes of one batch of host rows, back on the host."""
        with self.torch.inference_mode():
            for _ in range(steps):
                x = self.torch.from_numpy(self.host_batch).to(self.task.device)
                self.output = self.model(x).argmax(dim=1).cpu()

    def parameters(self) -> Arrays:
        return [on_host(p).T if p.ndim == 2 else on_host(p) for p in self.model.parameters()]

    def gradients(self) -> Arrays:
        grads = [on_host(p.grad) for p in self.model.parameters()]
        return [g.T if g.ndim == 2 else g for g in grads]

    def outputs(self) -> Arrays:
        return [on_host(self.output)]

    def synchronize(self) -> None:
        if self.task.device != "cpu":
            self.torch.cuda.synchronize()

    def device_clock(self) -> DeviceClock | None:
        return None if self.task.device == "cpu" else TorchClock(self.torch)

    def device_peak_bytes(self) -> int | None:
        if self.task.device == "cpu":
            return None
        return int(self.torch.cuda.max_memory_allocated())


class Eager(Torch):
    """As most people write it."""

    mode = "eager"
    note = "eager, default optimizer"
    call = Torch.train

    def start(self, steps: int) -> None:
        """A new model and optimizer, and their first step."""
        for _ in range(steps):
            self.model = self._model()
            self.optimizer = self._optimizer()
            self.step = self.optimizer.step
            self.reset()
            self.train(1)


class Fused(Torch):
    """The optimizer in one kernel."""

    mode = "fused"
    note = "eager, fused=True in the optimizer"
    fused = True
    call = Torch.train


class Compiled(Torch):
    """Loss with its backward, and the optimizer, each compiled."""

    mode = "compiled"
    note = "torch.compile of the loss and of the optimizer's step"
    compiles = True

    def __init__(self, task: Task, problem: Problem) -> None:
        super().__init__(task, problem)
        self.torch.compiler.reset()  # earlier cells' shapes count towards its limit
        self.loss = compiled(self.torch, self._loss, task)
        self.step = compiled(self.torch, self.optimizer.step, task)
        self.model = self.model if task.phase == "train" else self._compiled_model()

    def _compiled_model(self) -> Any:
        self.model.compile(dynamic=False, **mode_of(self.task))
        return self.model


class Whole(Torch):
    """Gathering, forward, backward and the optimizer written as one function and compiled as one
    graph.
    """

    mode = "whole"
    note = "the whole step, gathering and optimizer included, as one compiled graph"
    compiles = True
    forward = backward = update = predict = None  # type: ignore[assignment]

    def __init__(self, task: Task, problem: Problem) -> None:
        super().__init__(task, problem)
        self.torch.compiler.reset()
        self.named = {name: p.detach() for name, p in self.model.named_parameters()}
        zeros = self.torch.zeros_like
        self.m = {name: zeros(p) for name, p in self.named.items()}
        self.v = {name: zeros(p) for name, p in self.named.items()}
        self.t = self.torch.zeros((), dtype=self.x.dtype, device=task.device)
        if task.on_gpu:
            self._stay()
        self.whole = compiled(self.torch, self._step, task)

    def _stay(self) -> None:
        """Tell the compiler that no array moves. Otherwise it copies them all before each replay,
        the data set too, and leaves what is written to out of the graph.
        """
        states = (self.named, self.m, self.v)
        stay = [array for named in states for array in named.values()]
        for array in [*stay, self.t, self.x, self.labels]:
            self.torch._dynamo.mark_static_address(array)

    def _step(self, rows: Any) -> None:
        func = self.torch.func
        x, labels = self.x[rows], self.labels[rows]

        def loss(named: dict[str, Any]) -> Any:
            def logits(x: Any) -> Any:
                return func.functional_call(self.model, named, (x,))

            return self._rounded_loss(logits, x, labels)

        gradients = func.grad(loss)(self.named)
        self.t.add_(1)
        for name, p in self.named.items():
            self._move(p, gradients[name], self.m[name], self.v[name])

    def _move(self, p: Any, g: Any, m: Any, v: Any) -> None:
        torch, rate = self.torch, self.task.workload.learning_rate
        if self.task.workload.optimizer == "sgd":
            p.sub_(rate * g)
            return
        m.mul_(0.9).add_(0.1 * g)
        v.mul_(0.999).add_(0.001 * g * g)
        size = (v / (1 - 0.999**self.t)).sqrt() + EPSILON
        p.sub_(rate / (1 - torch.pow(0.9, self.t)) * m / size)

    def reset(self) -> None:
        super().reset()
        for array in [*self.m.values(), *self.v.values(), self.t]:
            array.zero_()

    def train(self, steps: int) -> None:
        with self.torch.no_grad():
            for rows in self.next_rows(steps):
                self.whole(rows)


class Graphed(Torch):
    """The eager step, captured once and replayed; its position in the data is on the device."""

    mode = "graph"
    note = "the whole step, gathering included, as one torch.cuda.CUDAGraph; fused optimizer"
    devices = ("cuda",)
    fused = True
    forward = backward = update = predict = None  # type: ignore[assignment]

    def __init__(self, task: Task, problem: Problem) -> None:
        super().__init__(task, problem)
        cuda = self.torch.cuda
        self.at = self.torch.zeros(1, dtype=self.torch.int64, device=task.device)
        side = cuda.Stream()
        side.wait_stream(cuda.current_stream())
        with cuda.stream(side):
            for _ in range(3):  # first calls allocate and choose algorithms, before the capture
                self._once()
        cuda.current_stream().wait_stream(side)
        self.optimizer.zero_grad(set_to_none=True)
        self.graph = cuda.CUDAGraph()
        # thread_local: other threads may use CUDA meanwhile
        with cuda.graph(self.graph, capture_error_mode="thread_local"):
            self._once()

    def _optimizer(self) -> Any:
        optimizer = super()._optimizer()
        for group in optimizer.param_groups:
            if "capturable" in group:
                group["capturable"] = True
        return optimizer

    def _once(self) -> None:
        rows = self.order.index_select(0, self.at)[0]
        self.optimizer.zero_grad(set_to_none=True)
        self.loss(self.x[rows], self.labels[rows]).backward()
        self.optimizer.step()
        self.at.add_(1).remainder_(len(self.order))

    def reset(self) -> None:
        super().reset()
        self.at.zero_()

    def train(self, steps: int) -> None:
        for _ in range(steps):
            self.graph.replay()


def mode_of(task: Task) -> dict[str, str]:
    """The compiler's documented mode for small steps: CUDA graphs on CUDA."""
    return {} if task.device == "cpu" else {"mode": "reduce-overhead"}


def compiled(torch: Any, function: Any, task: Task) -> Any:
    """`function` compiled for the one shape it is called with."""
    return torch.compile(function, dynamic=False, **mode_of(task))


def on_host(tensor: Any) -> np.ndarray:
    """A NumPy copy."""
    return np.array(tensor.detach().cpu().numpy())


def contenders() -> list[type[Contender]]:
    """Every mode."""
    return [Eager, Fused, Compiled, Whole, Graphed]
