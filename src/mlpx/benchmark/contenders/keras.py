"""Keras on JAX, its fastest backend on a CPU: `fit`, plain and with many steps in one execution."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from mlpx.benchmark.contenders.base import Contender, interleaved
from mlpx.benchmark.reference import EPSILON, Arrays
from mlpx.benchmark.workloads import Problem, Task


class Keras(Contender):
    """`fit` on arrays, shuffled by Keras itself; only the check keeps the given order."""

    library = "keras"
    requires = ("keras", "jax")
    devices = ("cpu", "cuda")
    environment: ClassVar[dict[str, str]] = {"KERAS_BACKEND": "jax"}
    epsilon = "inside"
    floors = ("gemm/numpy", "gemm/torch")
    compiles = True
    steps_per_execution: ClassVar[int] = 1

    @classmethod
    def refuses(cls, task: Task) -> str | None:
        if task.dtype != "float32":
            return "is measured in float32 only"
        return super().refuses(task)

    def __init__(self, task: Task, problem: Problem) -> None:
        super().__init__(task, problem)
        import jax
        import keras

        jax.devices(task.device.partition(":")[0])  # fails if Keras would take another device
        self.keras: Any = keras
        self.chunk = task.steps_a_call if task.phase == "train" else 1
        self.model = self._model()
        rows = problem.order[: max(task.steps_a_call, task.check_steps)].ravel()
        self.x, self.labels = problem.x[rows], problem.labels[rows]

    def _model(self) -> Any:
        keras, workload = self.keras, self.task.workload
        d_in, *hidden, d_out = workload.layers
        layers = [keras.layers.Dense(units, activation=workload.activation) for units in hidden]
        model = keras.Sequential([keras.Input((d_in,)), *layers, keras.layers.Dense(d_out)])
        rate = workload.learning_rate
        model.compile(
            optimizer=keras.optimizers.SGD(rate)
            if workload.optimizer == "sgd"
            else keras.optimizers.Adam(rate, epsilon=EPSILON),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            steps_per_execution=self.steps_per_execution,
            jit_compile=True,
        )
        return model

    def reset(self) -> None:
        self.model.set_weights(interleaved(self.problem.weights, self.problem.biases))
        for variable in self.model.optimizer.variables:
            if "learning_rate" not in variable.path:
                variable.assign(np.zeros(variable.shape, variable.dtype))

    def train(self, steps: int) -> None:
        """Epochs of `chunk` steps."""
        count = min(steps, self.chunk)
        self._fit(count, epochs=steps // count, shuffle=True)

    def run_checked(self, steps: int) -> None:
        if self.task.phase == "train":
            self._fit(steps, epochs=1, shuffle=False)
        else:
            self.run(steps)

    def _fit(self, steps: int, *, epochs: int, shuffle: bool) -> None:
        rows = steps * self.task.batch_size
        self.model.fit(
            self.x[:rows],
            self.labels[:rows],
            batch_size=self.task.batch_size,
            epochs=epochs,
            shuffle=shuffle,
            verbose=0,
        )

    def predict(self, steps: int) -> None:
        """Classes of one batch of host rows."""
        x = self.x[: self.task.batch_size]
        for _ in range(steps):
            self.output = np.asarray(self.model.predict_on_batch(x)).argmax(axis=1)

    def parameters(self) -> Arrays:
        return [np.asarray(a) for a in self.model.get_weights()]

    def outputs(self) -> Arrays:
        return [self.output]


class Fit(Keras):
    """As most people call it."""

    mode = "fit"
    note = "fit on the JAX backend; a single batch with train_on_batch"

    def reset(self) -> None:
        super().reset()
        self.position = 0

    def call(self, steps: int) -> None:
        """Gather and `train_on_batch`."""
        order, x, labels = self.problem.order, self.problem.x, self.problem.labels
        for _ in range(steps):
            rows = order[self.position % len(order)]
            self.model.train_on_batch(x[rows], labels[rows])
            self.position += 1

    def start(self, steps: int) -> None:
        """A new compiled model and its first `train_on_batch`."""
        for _ in range(steps):
            self.model = self._model()
            self.reset()
            self.call(1)


class FitMany(Keras):
    """The documented way to lower the cost of small steps."""

    mode = "fit many"
    note = "fit on the JAX backend, steps_per_execution=32"
    steps_per_execution = 32


def contenders() -> list[type[Contender]]:
    """Every mode."""
    return [Fit, FitMany]
