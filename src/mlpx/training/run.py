"""One training run: epochs, validation, callbacks, and a clean stop at any moment."""

from __future__ import annotations

import math
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any
from weakref import proxy

import numpy as np

from mlpx import engines
from mlpx.backend.cpu import usable_cores
from mlpx.engines import Engine
from mlpx.errors import DeviceMemoryError, InputError
from mlpx.metrics import Metric
from mlpx.network.network import Network
from mlpx.network.state import resume, swap
from mlpx.optimizers import Optimizer
from mlpx.program.data import TrainingData, split_batches
from mlpx.program.footprint import too_large
from mlpx.program.gradients import Backpropagation, GradientRule
from mlpx.program.program import HITS, LOSS, WEIGHT, TrainingProgram
from mlpx.records import require_count
from mlpx.training.callbacks import Callback
from mlpx.training.epoch_log import Report
from mlpx.training.history import History
from mlpx.training.interrupts import held_interrupt
from mlpx.training.prepared import Prepared, kinds, leave, take, trained
from mlpx.training.progress import Silent
from mlpx.training.sampling import SAMPLINGS, rows_per_epoch
from mlpx.training.scores import Scores

ANEW = (
    "the learning rate's schedule begins anew, as its steps are None: the length of each call of "
    "fit; a number of steps, of all calls together, makes it span them"
)
RUN_S = 0.05
"""How long an engine is left alone: the bar and Ctrl-C wait no longer than this."""


class Run:
    """One call of `fit`, as callbacks see it."""

    gradient_rule: GradientRule = Backpropagation()

    def __init__(
        self,
        model: Network,
        data: TrainingData,
        held_out: TrainingData | None,
        optimizer: Optimizer,
        metrics: tuple[Metric, ...],
        callbacks: list[Callback],
        *,
        batch_size: int,
        part_rows: int,
        sampling: str,
        engine: str,
        notes: list[str],
    ) -> None:
        self.model, self.data, self.held_out = model, data, held_out
        self.metrics, self.callbacks, self.sampling = metrics, callbacks, sampling
        self.batch_size, self.part_rows, self.wanted_engine = batch_size, part_rows, engine
        self.rows = rows_per_epoch(sampling, len(data), batch_size)
        full, last = split_batches(model.layers, self.rows, batch_size)
        self.steps_per_epoch = full + bool(last)
        pace = (sampling, len(data), batch_size)
        self.state = resume(model, optimizer, pace, self.steps_per_epoch)
        self.history = History(
            device=f"{model.device} ({model.backend.name})",
            first_epoch=self.state.epoch,
            notes=notes,
        )
        self.total_steps = self.steps_done = self.samples_done = 0
        self.stretch = 1
        """How many steps one call of the engine runs: few at first, then about RUN_S's worth."""
        self.stopping: str | None = None
        self.wants_norms = False
        self.threads: int | None = None
        self.precision = "float32"
        self.display = Silent()
        self._step_losses: list[np.ndarray] = []
        self._drawn: tuple[tuple[int, int], np.ndarray] | None = None
        """The seed and the number of the next epoch, and its order, once that is drawn."""

    @property
    def columns(self) -> tuple[str, ...]:
        """What each epoch reports."""
        trained = ("loss", "accuracy") if self.model.loss.targets != "values" else ("loss",)
        if self.held_out is None:
            return trained
        return (*trained, "val_loss", *(f"val_{metric.name}" for metric in self.metrics))

    @property
    def last_epoch(self) -> int:
        """The number of the epoch that will be the last, counted over the model's life."""
        begun = self.state.epoch * self.steps_per_epoch + self.state.position
        return -(-(begun + self.total_steps - self.steps_done) // self.steps_per_epoch)

    def plan_length(self, epochs: int | None, steps: int | None) -> None:
        """How long to train: `epochs`, or `steps`, or 10 epochs; one begun earlier counts."""
        if epochs is not None and steps is not None:
            raise InputError(f"epochs = {epochs} and steps = {steps}; give one of them")
        if steps is not None:
            require_count("steps", steps)
            self.total_steps = int(steps)
            return
        epochs = 10 if epochs is None else epochs
        require_count("epochs", epochs, least=0)
        self.total_steps = max(0, int(epochs) * self.steps_per_epoch - self.state.position)

    def stop(self, reason: str) -> None:
        """End the training after this epoch."""
        self.stopping = reason

    def recent_loss(self) -> float:
        """The loss of the last step run; asks the device."""
        return float(self.model.backend.to_numpy(self.program.log[self.state.position - 1, LOSS]))

    def train(self) -> History:
        """Run to the end, a stop, or Ctrl-C."""
        started_s = time.perf_counter()
        prepared = self._prepared()
        engine, reason = prepared.engine, prepared.reason
        self.program, self.execute = prepared.program, prepared.execute
        self.stretch = prepared.stretch
        self._prepare_report()
        self._tell("on_check")
        model, history = self.model, self.history
        with held_interrupt() as interrupted, ExitStack() as ends:
            for callback in self.callbacks:
                callback.on_train_begin(self)
                ends.callback(callback.on_train_end, self)
            model.training_state = self.state
            self._record_engine(engine, reason)
            self.display.begin(self)
            try:
                self._epochs(interrupted)
            except BaseException as error:
                self.stopping = f"{type(error).__name__}: {error}"
                raise
            finally:
                self.display.end(self)
                self._record_engine(engine, reason)
                history.seconds = time.perf_counter() - started_s
                history.step_loss = np.concatenate([np.zeros(0), *self._step_losses])
                history.stop_reason = self.stopping or "completed"
            if not self.state.optimizer.open:  # else the next fit has other rates
                prepared.stretch = self.stretch
                leave(model, prepared)
        return history

    def _record_engine(self, engine: Engine, reason: str) -> None:
        """Say on model and history who runs the training, why, and what it fell back from."""
        model, history = self.model, self.history
        model.engine = history.engine = engine.name
        notes = "; ".join([reason, *engine.notes(self.execute)])
        model.engine_reason = history.engine_reason = notes

    def _prepared(self) -> Prepared:
        """What an earlier run of the same kind left, or what is made now."""
        self._check()
        model, settings, moments = self.model, self._settings(), self.state.moments
        wanted = (
            self.wanted_engine,
            self.threads,
            usable_cores(),
            model.layers,
            model.loss,
            model.seed,
        )
        kind, arrays = (kinds(self.data), settings, wanted), trained(model.flat, moments)
        found = take(model, kind, arrays)
        if found is not None:
            found.feed(self.data)
            return found
        program = self._program(settings)
        chosen = engines.choose(self.wanted_engine, program, threads=self.threads)
        return Prepared(kind, arrays, program, *chosen)

    def _settings(self) -> dict[str, Any]:
        """What the program is told, beside the data and the moments."""
        return {
            "optimizer": self._rule(),
            "batch_size": self.batch_size,
            "rows": self.rows,
            "gradient_rule": self.gradient_rule,
            "gradient_norms": self.wants_norms,
            "part_rows": self.part_rows,
            "precision": self.precision,
        }

    def _program(self, settings: dict[str, Any]) -> TrainingProgram:
        model, moments = self.model, self.state.moments
        try:
            return TrainingProgram(proxy(model), self.data, moments=moments, **settings)
        except DeviceMemoryError as error:
            traceback.clear_frames(error.__traceback__)  # what was allocated is free again
            rule, rows = settings["optimizer"], min(self.part_rows, self.rows)
            left = model.backend.memory().free_bytes
            raise too_large(model, self.data, rule, rows=rows, free_bytes=left) from error

    def _check(self) -> None:
        """Raise InputError for what cannot be run."""
        self._check_schedules()

    def _check_schedules(self) -> None:
        watched = [n for schedule in self.state.optimizer.schedules for n in schedule.watched()]
        for name in watched:
            if name not in self.columns:
                raise InputError(
                    f"a schedule watches {name!r}; this run reports {list(self.columns)}"
                )

    def _rule(self) -> Optimizer:
        """The optimizer, its schedules fitted to the run or to an earlier one not yet over."""
        state = self.state
        if not state.optimizer.open:
            return state.optimizer
        if state.step >= state.begin + state.total:
            if state.step and any(schedule.open for schedule in state.optimizer.schedules):
                self.history.notes.append(ANEW)
            state.begin, state.total = state.step, self.total_steps
        return state.optimizer.resolved(state.begin, state.total)

    def _epochs(self, interrupted: list[int]) -> None:
        while self.steps_done < self.total_steps and self.stopping is None:
            self._epoch(interrupted)
            if interrupted:
                self.stopping = "interrupted"

    def _epoch(self, interrupted: list[int]) -> None:
        state, program = self.state, self.program
        self._tell("on_epoch_begin", state.epoch)
        first = state.position
        scale = state.schedule.get("scale", 1.0)
        before = {"step": state.step - first, "drawn": state.drawn - first}
        program.start_epoch(self._order(), **before, position=first, rate_scale=scale)
        end = min(program.steps, first + self.total_steps - self.steps_done)
        with self._trained_parameters() if "average" in state.moments else nullcontext():
            for _ in self._stretches(end):
                if interrupted:
                    break
        if not interrupted:
            self._draw_ahead()
        self._finish(first, end)

    def _order(self) -> np.ndarray:
        """The rows of the epoch that begins, or goes on."""
        key = self.model.seed, self.state.epoch
        drawn, self._drawn = self._drawn, None
        return drawn[1] if drawn and drawn[0] == key else self._draw(*key)

    def _draw(self, seed: int, epoch: int) -> np.ndarray:
        return SAMPLINGS[self.sampling](seed, epoch, len(self.data), self.rows)

    def _draw_ahead(self) -> None:
        """Draw the next epoch's order while the device is at work on this one's last steps.

        It is of the seed and the epoch's number alone: if it is not used after all, it is as if it
        had not been drawn.
        """
        over = self.stopping is not None or self.steps_done >= self.total_steps
        if self.model.backend.kind == "cuda" and not over:
            key = self.model.seed, self.state.epoch + 1
            self._drawn = key, self._draw(*key)

    def _ready(self, position: int, end: int) -> int:
        """Up to which step before `end` there are data, from step `position` on."""
        return end

    @contextmanager
    def _trained_parameters(self) -> Iterator[None]:
        """Put the parameters that training moves in the place of their average."""
        average = self.state.moments["average"]
        swap(self.model.flat, average, work=self.program.gradient)
        try:
            yield
        finally:
            swap(self.model.flat, average, work=self.program.gradient)

    def _stretches(self, end: int) -> Iterator[None]:
        """Run the steps up to the epoch's `end` in stretches of about RUN_S, pausing after each."""
        program, state = self.program, self.state
        while state.position < end:
            started_s = time.perf_counter()
            if program.full is not None and state.position < program.full_steps:
                stop = min(self._ready(state.position, end), program.full_steps)
                count = min(self.stretch, stop - state.position)
                self.execute(program.full, count)
                rows = count * self.batch_size
            else:
                assert program.last is not None
                self._ready(state.position, end)
                count, rows = 1, program.last_rows
                self.execute(program.last, 1)
            self.steps_done += count
            self.samples_done += rows
            state.step += count
            state.drawn += count
            state.position += count
            self.display.step(self)
            step_s = (time.perf_counter() - started_s) / count
            self.stretch = max(1, min(2 * self.stretch, int(RUN_S / max(step_s, 1e-9))))
            yield

    def _finish(self, first: int, end: int) -> None:
        """Close an epoch, or what ran of it from step `first`: read its log, validate, tell."""
        state, done = self.state, self.state.position
        log, norms, scores = self._read(first, done, scored=done >= end)
        self._step_losses.append(log[:, LOSS].copy())
        self._log_norms(norms)
        self.history.samples = self.samples_done
        epoch = state.epoch
        if done == self.program.steps:
            state.epoch, state.position = epoch + 1, 0
        if done < end:
            return  # interrupted
        logs = self._logs(log, scores)
        for note in self._undefined(logs):
            self.history.notes.append(note)
            warnings.warn(note, UserWarning, stacklevel=7)
        for schedule in state.optimizer.schedules:
            state.schedule = schedule.after_epoch(state.schedule, logs)
        self.history.epochs.append(logs)
        self.display.epoch(self, logs)
        self._tell("on_epoch_end", epoch, logs)
        if not math.isfinite(logs["loss"]) and self.stopping is None:
            self._diverge(log[:, LOSS])

    def _diverge(self, losses: np.ndarray) -> None:
        """Stop if one of the epoch's step losses is not finite; their mean may be too large."""
        bad = np.flatnonzero(~np.isfinite(losses))
        if not len(bad):
            return
        step = self.state.step - len(losses) + int(bad[0]) + 1
        self.stop(
            f"diverged: the loss is {losses[bad[0]]} at step {step}; lower the learning rate or "
            "scale x"
        )
        warnings.warn(str(self.stopping), RuntimeWarning, stacklevel=8)

    def _prepare_report(self) -> None:
        """Allocate what the end of an epoch needs."""
        self.scores: Scores | None = None
        size = self.program.log.size
        size += 0 if self.program.norms is None else self.program.norms.size
        held_out = self.held_out
        if held_out is not None:
            self.scores = Scores(
                self.model, held_out.x, held_out.y, held_out.weights,
                metrics=self.metrics, batch_size=1024,
            )  # fmt: skip
            size += self.scores.found.size
        self.report = Report(self.model.backend, size)

    def _read(
        self, first: int, done: int, *, scored: bool
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The log and the norms of the steps from `first`, and the validation's scores.

        One transfer. What is not recorded, or not `scored`, is empty.
        """
        program = self.program
        norms = None if program.norms is None else program.norms[first:done]
        scores = self.scores.run() if self.scores is not None and scored else None
        log, all_norms, found = self.report.read(program.log[first:done], norms, scores)
        return log, all_norms, found

    def _log_norms(self, norms: np.ndarray) -> None:
        """Keep the norms of this epoch's gradients, if they are recorded."""
        if self.program.norms is None:
            return
        found = self.history.gradient_norms
        for name, column in zip(self.program.norm_names, norms.T, strict=True):
            found[name] = np.concatenate([found.get(name, np.zeros(0)), column])

    def _logs(self, log: np.ndarray, scores: np.ndarray) -> dict[str, float]:
        """What an epoch reports, from the lines of its steps and the validation's scores."""
        weight = log[:, WEIGHT]
        total = weight.sum()
        logs = {"loss": float(log[:, LOSS] @ weight / total)}
        if self.model.loss.targets != "values":
            logs["accuracy"] = float(log[:, HITS] @ weight / total)
        if self.scores is not None:
            logs |= {f"val_{name}": value for name, value in self.scores.named(scores).items()}
        return logs

    def _undefined(self, logs: dict[str, float]) -> list[str]:
        """What was not said before of the metrics that the validation leaves undefined."""
        if self.scores is None:
            return []
        named = {name: logs[f"val_{name}"] for name in self.scores.names}
        said = (f"val_{note}" for note in self.scores.undefined(named))
        return [note for note in said if note not in self.history.notes]

    def _tell(self, event: str, *details: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, event)(self, *details)
