"""mlpx itself: an engine bare, and through `fit` and `predict` as a user calls it."""

from __future__ import annotations

import os
from contextlib import redirect_stderr, redirect_stdout
from typing import Any, ClassVar

import numpy as np

from mlpx.benchmark.contenders.base import Contender
from mlpx.benchmark.contenders.clocks import CupyClock, DeviceClock
from mlpx.benchmark.reference import Arrays
from mlpx.benchmark.workloads import Problem, Task
from mlpx.engines import choose
from mlpx.layers import Dense
from mlpx.mlp import MLP
from mlpx.network.passes import plan_backward, plan_forward
from mlpx.network.state import TrainingState
from mlpx.optimizers import Optimizer
from mlpx.plan.plan import Buffers, Call, Plan
from mlpx.program.data import TrainingData
from mlpx.program.objective import plan_loss, plan_targets
from mlpx.program.program import TrainingProgram
from mlpx.types import Array


class Ours(Contender):
    """A model with the task's weights on the task's device."""

    library = "mlpx"
    devices = ("cpu", "cuda")
    floors = ()
    engine: ClassVar[str]

    def __init__(self, task: Task, problem: Problem) -> None:
        super().__init__(task, problem)
        self.model = make_model(task)
        self.backend = self.model.backend
        self.optimizer = make_optimizer(task)
        self.layers = len(task.workload.shapes)
        self.moments = {
            name: self.backend.zeros(self.model.layout.size, self.model.dtype)
            for name in self.optimizer.moments
        }
        self.step = 0

    def reset(self) -> None:
        set_weights(self.model, self.problem)
        moments, state = [*self.moments.values()], self.model.training_state
        if state is not None:  # fit keeps its arrays and with them its program, as others do
            self.model.training_state = TrainingState(state.optimizer, state.moments)
            moments += state.moments.values()
        for moment in moments:
            moment[...] = 0
        self.step = 0

    def make_program(self) -> TrainingProgram:
        """The program of one epoch."""
        data = TrainingData(
            self.backend.asarray(self.problem.x), self.backend.asarray(self.problem.labels), None
        )
        return TrainingProgram(
            self.model,
            data,
            optimizer=self.optimizer,
            moments=self.moments,
            batch_size=self.task.batch_size,
            rows=self.task.rows,
            precision=self.task.precision,
        )

    def parameters(self) -> Arrays:
        return self.on_host(self.model.parameters)

    def on_host(self, named: dict[str, Array]) -> Arrays:
        """W1, b1, W2, b2, ... as NumPy arrays."""
        return [
            np.array(self.backend.to_numpy(named[f"{i}.{name}"]))
            for i in range(self.layers)
            for name in "Wb"
        ]

    def synchronize(self) -> None:
        self.backend.synchronize()

    def device_clock(self) -> DeviceClock | None:
        return CupyClock(self.backend.xp) if self.backend.kind == "cuda" else None

    def device_peak_bytes(self) -> int | None:
        if self.backend.kind != "cuda":
            return None
        return int(self.backend.xp.get_default_memory_pool().total_bytes())


class Bare(Ours):
    """The training program run by the engine: gathering, metrics and log, but no `fit`."""

    note = "training program, no fit loop around it"

    def __init__(self, task: Task, problem: Problem) -> None:
        super().__init__(task, problem)
        self.rows_of_steps = problem.order.ravel()
        if task.phase == "train":
            self.program = self.make_program()
            self.execute = choose(self.engine, self.program).runner

    def train(self, steps: int) -> None:
        """Epoch after epoch, the last one cut short; filling the epoch's tables is timed."""
        while steps:
            self.program.start_epoch(self.rows_of_steps, step=self.step)
            count = min(steps, self.program.full_steps)
            assert self.program.full is not None
            self.execute(self.program.full, count)
            self.step += count
            steps -= count


class Interpreted(Bare):
    """The interpreter, whose steps can run in parts."""

    def outputs(self) -> Arrays:
        return [np.array(self.backend.to_numpy(self.output))]

    def __init__(self, task: Task, problem: Problem) -> None:
        super().__init__(task, problem)
        self.reset()
        prepare = {
            "forward": self._prepare_forward,
            "backward": self._prepare_backward,
            "update": self._prepare_update,
        }
        if task.phase in prepare:
            calls = prepare[task.phase]()
            self.calls = [call.bind(self.backend.xp) for call in calls]

    def _plan(self) -> tuple[Plan, Array]:
        """An empty plan for one batch, and the batch's x."""
        model, rows = self.model, self.task.batch_size
        self.gradient = self.backend.zeros(model.layout.size, model.dtype)
        plan = Plan(
            Buffers(self.backend, rows, model.dtype),
            rows,
            parameters=model.layout.views(model.flat),
            gradients=model.layout.views(self.gradient),
            training=True,
        )
        return plan, self.backend.asarray(self.problem.batch[0])

    def _prepare_forward(self) -> list[Call]:
        plan, x = self._plan()
        self.output, _ = plan_forward(plan, self.model, x)
        return plan.calls

    def _prepare_backward(self) -> list[Call]:
        plan, x = self._plan()
        z, sites = plan_forward(plan, self.model, x)
        t = plan_targets(plan, self.model, self.backend.asarray(self.problem.batch[1]))
        r = self.backend.asarray(np.full((plan.rows, 1), 1 / plan.rows, self.model.dtype))
        _, dz = plan_loss(plan, self.model, z, t, r)
        plan_backward(self.model, sites, dz)
        return plan.calls

    def _prepare_update(self) -> list[Call]:
        """The training plan's calls after the gradients, which one backward pass computes first."""
        for call in self._prepare_backward():
            call.bind(self.backend.xp)()
        self.program = self.make_program()
        plan = self.program.full
        assert plan is not None
        return plan.calls[plan.gradient_stop :]

    def _repeat(self, steps: int) -> None:
        calls = self.calls
        with np.errstate(all="ignore"):
            for _ in range(steps):
                for call in calls:
                    call()

    forward = backward = _repeat

    def update(self, steps: int) -> None:
        """The optimizer on the same gradients, and the step's entry in the log."""
        while steps:
            self.program.start_epoch(self.rows_of_steps, step=self.step)
            self.program.gradient[...] = self.gradient  # starting an epoch may write there
            count = min(steps, self.program.full_steps)
            self._repeat(count)
            self.step += count
            steps -= count

    def gradients(self) -> Arrays:
        return self.on_host(self.model.layout.views(self.gradient))


class Predicted(Ours):
    """`model.predict`, which chooses its engine itself."""

    mode = "predict"
    note = "model.predict on host rows"

    def predict(self, steps: int) -> None:
        """Classes of one batch of host rows, as a user calls it."""
        x = self.problem.batch[0]
        for _ in range(steps):
            self.output = self.model.predict(x, batch_size=self.task.batch_size)

    def outputs(self) -> Arrays:
        return [np.array(self.backend.to_numpy(self.output))]


class Fitted(Ours):
    """`model.fit` with shuffling, metrics and the progress bar on."""

    note = "model.fit: shuffling, metrics and progress bar included"
    environment: ClassVar[dict[str, str]] = {
        "TTY_COMPATIBLE": "1",  # without these rich draws no bar
        "TTY_INTERACTIVE": "1",
    }

    def __init__(self, task: Task, problem: Problem) -> None:
        super().__init__(task, problem)
        choose(self.engine, self.make_program())  # raises here what fit would raise

    def train(self, steps: int) -> None:
        """One call of fit, its bar drawn into nothing."""
        with open(os.devnull, "w") as nowhere, redirect_stderr(nowhere), redirect_stdout(nowhere):
            self.model.fit(
                self.problem.x,
                self.problem.labels,
                steps=steps,
                batch_size=self.task.batch_size,
                optimizer=self.optimizer,
                engine=self.engine,
                precision=self.task.precision,
                check_finite=False,
                verbose=1,
                **self.options(),
            )

    checkpoint = train

    def options(self) -> dict[str, Any]:
        """More arguments of `fit`."""
        return {}


def make_model(task: Task) -> MLP:
    """The workload's network; its weights are set by `reset`."""
    d_in, *widths = task.workload.layers
    hidden = [Dense(width, activation=task.workload.activation) for width in widths[:-1]]
    return MLP([d_in, *hidden, widths[-1]], dtype=task.dtype, device=task.device, seed=task.seed)


def set_weights(model: MLP, problem: Problem) -> None:
    """Give a model the problem's first weights."""
    pairs = enumerate(zip(problem.weights, problem.biases, strict=True))
    model.set_parameters(
        {f"{i}.{name}": a for i, pair in pairs for name, a in zip("Wb", pair, strict=True)}
    )


def make_optimizer(task: Task) -> Optimizer:
    """The workload's optimizer at its learning rate."""
    kind = Optimizer.table[task.workload.optimizer]
    made: Optimizer = kind(learning_rate=task.workload.learning_rate)
    return made
