"""JAX: one jitted step with donated state, and `lax.scan` over many steps."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from mlpx.benchmark.contenders.base import Contender, interleaved
from mlpx.benchmark.reference import EPSILON, Arrays
from mlpx.benchmark.workloads import Problem, Task

State = tuple[Any, Any, Any, Any]
"""Parameters, m, v (lists of arrays) and t."""


class Jax(Contender):
    """Pure functions of (parameters, m, v, t), jitted with donation."""

    library = "jax"
    requires = ("jax",)
    devices = ("cpu", "cuda")
    precisions = ("float32", "tf32", "bf16")
    floors = ("gemm/numpy", "gemm/torch")
    compiles = True

    def __init__(self, task: Task, problem: Problem) -> None:
        super().__init__(task, problem)
        import jax

        jax.config.update("jax_enable_x64", task.dtype == "float64")
        platform, _, index = task.device.partition(":")
        self.jax: Any = jax
        self.device = jax.devices(platform)[int(index or 0)]
        self.x, self.labels, self.order = map(
            self.put, (problem.x, problem.labels.astype(np.int32), problem.order.astype(np.int32))
        )
        self.batch = self.x[self.order[0]], self.labels[self.order[0]]
        self.host_batch = problem.batch[0]
        self.product = product(jax, task)
        self.functions()
        self.reset()

    def put(self, array: np.ndarray) -> Any:
        """The array on the task's device."""
        return self.jax.device_put(array, self.device)

    def functions(self) -> None:
        """Wrap what the phases call, to be compiled at its first call."""
        jit = self.jax.jit
        self.step = jit(self._step, donate_argnums=0)
        self.gradient = jit(self.jax.grad(self._loss))
        self.move = jit(self._move, donate_argnums=0)
        self.logits = jit(self._logits)
        self.classes = jit(lambda p, x: self._logits(p, x).argmax(axis=1))

    def _logits(self, p: Any, x: Any) -> Any:
        nn, workload = self.jax.nn, self.task.workload
        activate = {"relu": nn.relu, "sigmoid": nn.sigmoid}[workload.activation]
        for i in range(0, len(p) - 2, 2):
            x = activate(self.product(x, p[i]) + p[i + 1])
        return self.product(x, p[-2]) + p[-1]

    def _loss(self, p: Any, x: Any, labels: Any) -> Any:
        logs = self.jax.nn.log_softmax(self._logits(p, x))
        return -self.jax.numpy.take_along_axis(logs, labels[:, None], axis=1).mean()

    def _move(self, state: State, g: Any) -> State:
        jnp, tree, rate = self.jax.numpy, self.jax.tree.map, self.task.workload.learning_rate
        p, m, v, t = state
        if self.task.workload.optimizer == "sgd":
            return tree(lambda p, g: p - rate * g, p, g), m, v, t
        t = t + 1
        m = tree(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = tree(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        unbias_m, unbias_v = -jnp.expm1(t * np.log(0.9)), -jnp.expm1(t * np.log(0.999))
        change = tree(lambda m, v: m / unbias_m / (jnp.sqrt(v / unbias_v) + EPSILON), m, v)
        return tree(lambda p, c: p - rate * c, p, change), m, v, t

    def _step(self, state: State, x: Any, labels: Any, rows: Any) -> State:
        return self._move(state, self.jax.grad(self._loss)(state[0], x[rows], labels[rows]))

    def reset(self) -> None:
        # copied: what is donated is overwritten
        p = [self.put(a.copy()) for a in interleaved(self.problem.weights, self.problem.biases)]
        adam = self.task.workload.optimizer == "adam"
        m, v = ([self.jax.numpy.zeros_like(a) for a in p] if adam else [] for _ in range(2))
        self.state: State = p, m, v, self.put(np.zeros((), self.task.dtype))
        self.position = 0
        if self.task.phase == "update":
            self.backward(1)
        self.synchronize()

    def backward(self, steps: int) -> None:
        """Gradients of one batch."""
        for _ in range(steps):
            self.grads = self.gradient(self.state[0], *self.batch)

    def forward(self, steps: int) -> None:
        """Logits of one batch."""
        for _ in range(steps):
            self.output = self.logits(self.state[0], self.batch[0])

    def update(self, steps: int) -> None:
        """The optimizer alone."""
        for _ in range(steps):
            self.state = self.move(self.state, self.grads)

    def predict(self, steps: int) -> None:
        """Classes of one batch of host rows, back on the host."""
        for _ in range(steps):
            self.output = np.asarray(self.classes(self.state[0], self.put(self.host_batch)))

    def parameters(self) -> Arrays:
        return [np.asarray(a) for a in self.state[0]]

    def gradients(self) -> Arrays:
        return [np.asarray(a) for a in self.grads]

    def outputs(self) -> Arrays:
        return [np.asarray(self.output)]

    def synchronize(self) -> None:
        pending = self.state, getattr(self, "grads", None), getattr(self, "output", None)
        self.jax.block_until_ready(pending)

    def device_peak_bytes(self) -> int | None:
        stats = self.device.memory_stats()
        return None if not stats else int(stats["peak_bytes_in_use"])


class Jit(Jax):
    """One compiled call a step."""

    mode = "jit"
    note = "jit of one step, state donated"

    def train(self, steps: int) -> None:
        """Gather, forward, backward, optimizer."""
        for _ in range(steps):
            rows = self.order[self.position % len(self.order)]
            self.state = self.step(self.state, self.x, self.labels, rows)
            self.position += 1

    call = train


class Scan(Jax):
    """One compiled call for a whole stretch of steps."""

    mode = "scan"
    note = "jit of lax.scan over an epoch of steps, or a second's, state donated"
    forward = backward = update = predict = None  # type: ignore[assignment]

    def __init__(self, task: Task, problem: Problem) -> None:
        super().__init__(task, problem)
        self.chunk = task.steps_a_call

    def functions(self) -> None:
        super().functions()
        self.scan = self.jax.jit(self._scan, donate_argnums=0)

    def _scan(self, state: State, x: Any, labels: Any, order: Any) -> State:
        def body(state: State, rows: Any) -> tuple[State, None]:
            return self._step(state, x, labels, rows), None

        final: State = self.jax.lax.scan(body, state, order)[0]
        return final

    def train(self, steps: int) -> None:
        """Stretches of `chunk` steps."""
        while steps:
            count = min(steps, self.chunk)
            self.run_checked(count)
            steps -= count

    def run_checked(self, steps: int) -> None:
        order = self.order if steps == len(self.order) else self.order[:steps]
        self.state = self.scan(self.state, self.x, self.labels, order)


def product(jax: Any, task: Task) -> Any:
    """The matrix product, in gradients too. On CUDA JAX rounds float32 factors to TF32 unless told
    otherwise.
    """
    if task.precision == "bf16":
        return rounded_product(jax)
    named = "tensorfloat32" if task.precision == "tf32" else "highest"
    return partial(jax.numpy.matmul, precision=named if task.on_gpu else None)


def rounded_product(jax: Any) -> Any:
    """x W whose factors are cast to bfloat16, in its two gradients too, and summed in float32."""
    jnp = jax.numpy

    def multiply(a: Any, b: Any) -> Any:
        a, b = a.astype(jnp.bfloat16), b.astype(jnp.bfloat16)
        return jnp.matmul(a, b, preferred_element_type=jnp.float32)

    def forward(x: Any, W: Any) -> Any:
        return multiply(x, W), (x, W)

    def backward(factors: Any, dz: Any) -> Any:
        x, W = factors
        return multiply(dz, W.T), multiply(x.T, dz)

    differentiable = jax.custom_vjp(multiply)
    differentiable.defvjp(forward, backward)
    return differentiable


def contenders() -> list[type[Contender]]:
    """Every mode."""
    return [Jit, Scan]
