"""One training run: its options, its progress, and a clean stop at any moment."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import numpy as np

from mlpx import engines
from mlpx.backend.cpu import usable_cores
from mlpx.engines import Engine
from mlpx.errors import InputError
from mlpx.metrics import Metric
from mlpx.network.network import Network
from mlpx.network.saved import Saved
from mlpx.optimizers import Optimizer
from mlpx.program.data import TrainingData, split_batches
from mlpx.program.gradients import Backpropagation, GradientRule
from mlpx.program.program import LOSS, TrainingProgram
from mlpx.records import require_count
from mlpx.training.divergence import Watch
from mlpx.training.epoch_log import EpochLog
from mlpx.training.history import History
from mlpx.training.interrupts import held_interrupt
from mlpx.training.prepared import Prepared, kinds, leave, program_of, take, trained
from mlpx.training.recorded import callback_states, go_on, restore, restored_arrays
from mlpx.training.resuming import begin_schedules, check_watched, resume
from mlpx.training.sampling import Feed, Sampled, rows_per_epoch

Logs = dict[str, float]
EPOCHS = 10
"""How many epochs are trained by default."""


@dataclass(frozen=True, eq=False, kw_only=True)
class RunOptions:
    """How a run trains: the arguments of `fit`, checked."""

    optimizer: Optimizer
    batch_size: int
    """Rows of a step: the optimizer may accumulate several mini-batches in one."""
    part_rows: int
    """Rows of a mini-batch, which `fit` calls batch_size."""
    sampling: str = "shuffle"
    epochs: int | None = None
    steps: int | None = None
    metrics: tuple[Metric, ...] = ()
    callbacks: tuple[Callback, ...] = ()
    display: tuple[Callback, ...] = ()
    """Callbacks that show progress: their training begins last and ends first."""
    gradient_rule: GradientRule = field(default_factory=Backpropagation)
    gradient_norms: bool = False
    engine: str = "auto"
    threads: int | None = None
    precision: str = "float32"
    on_divergence: str = "stop"


class Loop(Protocol):
    """A training loop: how the steps of a run follow each other."""

    def check(self, run: Run) -> None:
        """Raise InputError for a run that this loop cannot train."""

    def program_options(self, run: Run) -> dict[str, Any]:
        """Arguments of the program that differ from the run's options."""

    def state(self) -> dict[str, Any] | None:
        """What a checkpoint keeps of this loop between two steps, as `Callback.state`."""

    def restore(self, run: Run, state: dict[str, Any]) -> None:
        """Go on from what `state` returned, before anything else is done with the run.

        Raises an exception for what it cannot have returned.
        """

    def train(self, run: Run, interrupted: list[int]) -> None:
        """Train until the run ends or is stopped, or `interrupted` holds a signal."""


class Callback:
    """Does nothing; override what you need. An exception raised here ends the training."""

    def on_check(self, run: Run) -> None:
        """Before anything is changed: raise here if this callback cannot work with the run.

        `run.columns` names what each epoch will report.
        """

    def on_train_begin(self, run: Run) -> None:
        """Before the first step."""

    def on_epoch_begin(self, run: Run, epoch: int) -> None:
        """Before an epoch; `epoch` counts from 0 over all calls of `fit`."""

    def on_steps(self, run: Run) -> None:
        """After every 0.05 s or so of steps; `run.steps_done` counts the steps so far.

        With an optimizer that averages, the model holds the trained parameters here, not their
        average: do not save it.
        """

    def on_epoch_end(self, run: Run, epoch: int, logs: Logs) -> None:
        """After an epoch, with its loss and metrics."""

    def on_train_end(self, run: Run) -> None:
        """After the last step, even if the run was interrupted or failed; last callback first."""

    def state(self) -> dict[str, Any] | None:
        """What a checkpoint keeps of this callback; None if it has nothing to keep.

        Plain values, lists, dicts with text as keys, and NumPy arrays, which may change afterwards.
        """
        return None

    def restore(self, run: Run, state: dict[str, Any]) -> None:
        """Called instead of `on_train_begin` when a run goes on from a checkpoint: `state` is what
        `state` returned there, with lists for tuples. Called in between as well, when a run that
        diverged goes back to an earlier state.
        """
        self.on_train_begin(run)


EVENTS = ("on_check", "on_train_begin", "on_epoch_begin", "on_epoch_end", "on_train_end")
"""Methods every callback must have; `on_steps`, `state` and `restore` are optional."""


class Run:
    """One call of `fit`, as callbacks see it."""

    checkpoint: Saved | None
    """What the run goes on from, if it does."""
    program: TrainingProgram
    epoch_log: EpochLog
    steps_done = samples_done = 0
    stretch = 1
    """How many steps one call of the engine runs: few at first, then about 0.05 s of them."""
    stopping: str | None = None
    """Why the run ends, once it is to end."""
    failed = diverged = False
    seconds_before = 0.0
    """How long the run had trained before it was cut short."""

    def __init__(
        self,
        model: Network,
        data: TrainingData,
        held_out: TrainingData | None,
        options: RunOptions,
        *,
        loop: Loop,
        feed: Feed | None = None,
        notes: list[str] | None = None,
        checkpoint: Saved | None = None,
    ) -> None:
        self.model, self.data, self.held_out, self.options = model, data, held_out, options
        self.loop, self.callbacks, self.checkpoint = loop, list(options.callbacks), checkpoint
        self.watch = Watch(options.on_divergence)
        self.all_losses: list[np.ndarray] = []
        """The step losses of each part that ran."""
        self.batch_size = options.batch_size
        self.rows = rows_per_epoch(options.sampling, len(data), self.batch_size)
        self.feed = feed or Sampled(model, options.sampling, n=len(data), rows=self.rows)
        full, last = split_batches(model.layers, self.rows, self.batch_size)
        self.steps_per_epoch = full + bool(last)
        pace = (options.sampling, len(data), self.batch_size)
        if checkpoint is None:
            self.state = resume(model, options.optimizer, pace, self.steps_per_epoch)
        else:
            self.state = checkpoint.state_on(model)
        self.begun = self.state.epoch, self.state.position
        """The epoch, and the step of it, at which the run began."""
        self.reported = self.state.position
        """How many steps of the present epoch belong to a part that was reported."""
        self.history = History(
            device=f"{model.device} ({model.backend.name})",
            first_epoch=self.state.epoch,
            notes=[] if notes is None else notes,
        )
        self.step_losses = np.zeros(0)
        """The step losses of the last epoch, or of the part of it that ran."""
        if checkpoint is not None:
            go_on(self, checkpoint)
        self.total_steps = self._length(options.epochs, options.steps)

    def _length(self, epochs: int | None, steps: int | None) -> int:
        """How many steps to train; an epoch that was begun earlier is completed first."""
        if epochs is not None and steps is not None:
            raise InputError(f"epochs = {epochs} and steps = {steps}; give one of them")
        if steps is not None:
            require_count("steps", steps)
            return int(steps)
        epochs = EPOCHS if epochs is None else epochs
        require_count("epochs", epochs, least=0)
        return max(0, int(epochs) * self.steps_per_epoch - self.begun[1])

    @property
    def columns(self) -> tuple[str, ...]:
        """What each epoch reports."""
        trained = ("loss", "accuracy") if self.model.loss.targets != "values" else ("loss",)
        if self.held_out is None:
            return trained
        return (*trained, "val_loss", *(f"val_{metric.name}" for metric in self.options.metrics))

    @property
    def last_epoch(self) -> int:
        """The number of the run's last epoch, counted over all fits."""
        begun = self.state.epoch * self.steps_per_epoch + self.state.position
        return -(-(begun + self.total_steps - self.steps_done) // self.steps_per_epoch)

    @property
    def over(self) -> bool:
        """Whether all steps are done or a stop was requested."""
        return self.stopping is not None or self.steps_done >= self.total_steps

    def stop(self, reason: str) -> None:
        """End the training after this epoch."""
        self.stopping = reason

    def recent_loss(self) -> float:
        """The loss of the last step that ran; waits for the device."""
        return float(self.model.backend.to_numpy(self.program.log[self.state.position - 1, LOSS]))

    def train(self) -> History:
        """Run to the end, a stop, or Ctrl-C."""
        self._started_s = time.perf_counter()
        prepared = self._prepared()
        engine, reason = prepared.engine, prepared.reason
        self.program, self.execute = prepared.program, prepared.execute
        self.stretch = prepared.stretch
        self.epoch_log = EpochLog(self.model, self.program, self.held_out, self.options.metrics)
        self.tell("on_check")
        model, history = self.model, self.history
        with closing(self.feed), held_interrupt() as interrupted, ExitStack() as ends:
            if self.checkpoint is not None:
                ends.enter_context(restored_arrays(self, self.checkpoint))
            for callback, begin in self._begins():
                begin(self)
                ends.callback(callback.on_train_end, self)
            model.training_state = self.state
            self._record_engine(engine, reason)
            try:
                self.loop.train(self, interrupted)
            except BaseException as error:
                self.stopping, self.failed = f"{type(error).__name__}: {error}", True
                raise
            finally:
                self._record_engine(engine, reason)
                history.seconds = self.seconds
                history.step_loss = np.concatenate([np.zeros(0), *self.all_losses])
                history.stop_reason = self.stopping or "completed"
            if not (self.state.optimizer.open or self._open_layers):
                # otherwise the next fit has other rates
                prepared.stretch = self.stretch
                leave(model, prepared)
        return history

    def _begins(self) -> list[tuple[Callback, Callable[[Run], None]]]:
        """How each callback begins: afresh, or with what a checkpoint kept of it."""
        callbacks, states = (*self.callbacks, *self.options.display), callback_states(self)
        return [
            (each, partial(restore, each, state=states[id(each)]))
            if id(each) in states
            else (each, each.on_train_begin)
            for each in callbacks
        ]

    @property
    def seconds(self) -> float:
        """How long the run has trained so far."""
        return self.seconds_before + time.perf_counter() - self._started_s

    def _record_engine(self, engine: Engine, reason: str) -> None:
        """Record on model and history which engine runs, why, and what it fell back from."""
        model, history = self.model, self.history
        model.engine = history.engine = engine.name
        notes = "; ".join([reason, *engine.notes(self.execute)])
        model.engine_reason = history.engine_reason = notes

    def _prepared(self) -> Prepared:
        """What an earlier run of the same kind left, or else a new one."""
        self.loop.check(self)
        check_watched(self.state.optimizer, self.columns)
        model, moments, given = self.model, self.state.moments, self.options
        optimizer = begin_schedules(
            self.state, model.layers, self.total_steps - self.steps_done, self.history.notes
        )
        options = self._program_options(optimizer)
        wanted = (given.engine, given.threads, usable_cores())
        network = (model.layers, model.loss, model.seed)
        kind, arrays = (kinds(self.data), options, wanted, network), trained(model.flat, moments)
        kept = take(model, kind, arrays)
        if kept is not None:
            kept.feed(self.data)
            return kept
        program = program_of(model, self.data, moments, options)
        chosen = engines.choose(given.engine, program, threads=given.threads)
        return Prepared(kind, arrays, program, *chosen)

    @property
    def _open_layers(self) -> bool:
        """Whether a layer follows a schedule that spans the run."""
        return any(layer.open for layer in self.model.layers)

    def _program_options(self, optimizer: Optimizer) -> dict[str, Any]:
        """The program's arguments other than the data and the moments."""
        given = self.options
        return {
            "optimizer": optimizer,
            "batch_size": given.batch_size,
            "rows": self.rows,
            "gradient_rule": given.gradient_rule,
            "gradient_norms": given.gradient_norms,
            "part_rows": given.part_rows,
            "precision": given.precision,
            "span": (self.state.begin, self.state.total) if self._open_layers else None,
        } | self.loop.program_options(self)

    def count(self, steps: int, rows: int) -> None:
        """Count `steps` more steps of the epoch, run on `rows` rows in all."""
        state = self.state
        self.steps_done += steps
        self.samples_done += rows
        state.step += steps
        state.drawn += steps
        state.position += steps

    def finish(self, first: int, end: int) -> None:
        """End an epoch, or its part from step `first`: read its log, validate, notify callbacks.

        An epoch in which the run diverged is not reported, unless it goes on all the same.
        """
        state, done = self.state, self.state.position
        log, norms, scores = self.epoch_log.read(first, done, scored=done >= end)
        self.step_losses = log[:, LOSS].copy()
        self.all_losses.append(self.step_losses)
        self.epoch_log.add_norms(norms, self.history.gradient_norms)
        self.history.samples = self.samples_done
        logs = self.epoch_log.summary(log, scores) if done >= end else None
        if logs is None or not math.isfinite(logs["loss"]):
            self.watch.look_at(self, first, self.step_losses)
            self.watch.note(self)
        epoch = state.epoch
        if done == self.steps_per_epoch:
            state.epoch, state.position = epoch + 1, 0
        if logs is None or self.watch.stops:
            return
        self.reported = state.position
        for note in self.epoch_log.undefined(logs):
            if note not in self.history.notes:
                self.history.notes.append(note)
                warnings.warn(note, UserWarning, stacklevel=7)
        for schedule in state.optimizer.schedules:
            state.schedule = schedule.after_epoch(state.schedule, logs)
        self.history.epochs.append(logs)
        self.tell("on_epoch_end", epoch, logs)

    def tell_steps(self) -> None:
        """Call the callbacks' `on_steps`, where they have it."""
        for callback in (*self.options.display, *self.callbacks):
            if hasattr(callback, "on_steps"):
                callback.on_steps(self)

    def tell(self, event: str, *details: Any) -> None:
        """Call the callbacks' method of that name."""
        for callback in (*self.options.display, *self.callbacks):
            getattr(callback, event)(self, *details)
