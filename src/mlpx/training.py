"""The training loop: epochs, batch order, validation, callbacks, and a clean stop at any moment."""

from __future__ import annotations

import dataclasses
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mlpx import engines
from mlpx.backend import Backend
from mlpx.callbacks import Callback
from mlpx.errors import InputError, UnknownNameError
from mlpx.history import History
from mlpx.inference import score
from mlpx.metrics import Metric, default_metrics
from mlpx.optimizers import Optimizer
from mlpx.progress import display
from mlpx.random import Purpose, integers, permutation, words
from mlpx.records import require_count
from mlpx.step import HITS, LOSS, WEIGHT, Group, TrainingData, TrainingProgram
from mlpx.types import Array
from mlpx.validation import check_finite as require_finite
from mlpx.validation import check_weights, check_x, check_y

if TYPE_CHECKING:
    from mlpx.model import MLP

DEFAULT_BATCH = 32
RUN_S = 0.05
"""How long an engine is left alone: the bar and Ctrl-C wait no longer than this."""


@dataclass
class TrainingState:
    """What a model needs besides its parameters to go on exactly where it stopped."""

    optimizer: Optimizer
    moments: dict[str, Array]
    step: int = 0
    epoch: int = 0

    def move(self, source: Backend, target: Backend) -> None:
        """Bring the moments to another device."""
        self.moments = {
            name: target.asarray(source.to_numpy(moment)) for name, moment in self.moments.items()
        }


def _shuffle(seed: int, epoch: int, n: int, rows: int) -> np.ndarray:
    return permutation(words(seed, Purpose.ORDER, count=n, epoch=epoch))


def _with_replacement(seed: int, epoch: int, n: int, rows: int) -> np.ndarray:
    return integers(words(seed, Purpose.ORDER, count=rows, epoch=epoch), n)


def _sequential(seed: int, epoch: int, n: int, rows: int) -> np.ndarray:
    return np.arange(n)


SAMPLINGS: dict[str, Callable[[int, int, int, int], np.ndarray]] = {
    "shuffle": _shuffle,
    "with_replacement": _with_replacement,
    "sequential": _sequential,
}
"""Which rows an epoch sees, in which order: (seed, epoch, n, rows) -> int64 (rows,)."""


def fit(
    model: MLP,
    x: Any,
    y: Any,
    *,
    epochs: int | None = None,
    steps: int | None = None,
    batch_size: int | None = None,
    optimizer: str | Optimizer = "adam",
    learning_rate: float | None = None,
    validation_data: tuple[Any, ...] | None = None,
    sample_weight: Any = None,
    sampling: str = "shuffle",
    metrics: Iterable[str] | None = None,
    callbacks: Iterable[Callback] = (),
    engine: str = "auto",
    check_finite: bool = True,
    verbose: int | None = None,
) -> History:
    """Train `model` on x (n, d_in) and y, labels (n,) or targets (n, d_out).

    epochs: passes over the data (default 10), or steps: how many batches in all.
    batch_size: rows a step (default 32, or all rows where there are fewer).
    optimizer: a name or an instance; `learning_rate` overrides its own.
    validation_data: (x, y) or (x, y, sample_weight), evaluated after every epoch.
    sampling: "shuffle" a new order every epoch; "with_replacement" draws each row anew; "sequential".
    metrics: names from `mlpx.metrics`, for the validation data; the default is accuracy for classes.
    engine: "auto", or the name of one. verbose: 0 silent, 1 bar, 2 lines, None what suits the output.

    A second call goes on where the first stopped: epoch count, batch order and, with an equal optimizer,
    its moments. Ctrl-C stops after the current steps, with the model whole, and raises KeyboardInterrupt.
    x may be memory-mapped; it is cast batch by batch.

    Raises InputError, InputTypeError or UnknownNameError before anything is changed.
    """
    rule = Optimizer.resolve(optimizer)
    if learning_rate is not None:
        rule = dataclasses.replace(rule, learning_rate=learning_rate)
    if sampling not in SAMPLINGS:
        raise UnknownNameError("sampling", sampling, SAMPLINGS)
    data = _prepare(model, x, y, sample_weight, check_finite, "")
    chosen = default_metrics(model.loss.targets) if metrics is None else Metric.all(metrics)
    held_out = None
    if validation_data is not None:
        held_out = _prepare_validation(model, validation_data, check_finite)
    notes: list[str] = []
    batch_size = _batch_size(batch_size, len(data), notes)
    run = Run(
        model, data, held_out, rule, chosen, list(callbacks),
        batch_size=batch_size, sampling=sampling, engine=engine, notes=notes,
    )  # fmt: skip
    run.plan_length(epochs, steps)
    run.display = display(verbose)
    return run.train()


def _prepare(
    model: MLP, x: Any, y: Any, weights: Any, finite: bool, prefix: str
) -> TrainingData:
    """Checked data on the model's device."""
    backend = model.backend
    x = check_x(x, columns=model.d_in, backend=backend, name=f"{prefix}x")
    if finite:
        require_finite(x, dtype=model.dtype, name=f"{prefix}x")
    y = check_y(
        y, n=len(x), d_out=model.d_out, targets=model.loss.targets, dtype=model.dtype,
        backend=backend, name=f"{prefix}y", finite=finite,
    )  # fmt: skip
    w = check_weights(weights, n=len(x), dtype=model.dtype, backend=backend)
    return TrainingData(
        backend.asarray(x), backend.asarray(y), None if w is None else backend.asarray(w)
    )


def _prepare_validation(model: MLP, given: Any, finite: bool) -> TrainingData:
    if not isinstance(given, tuple | list) or len(given) not in (2, 3):
        raise InputError(
            f"validation_data is {type(given).__name__}; wanted (x, y) or (x, y, sample_weight)"
        )
    return _prepare(model, given[0], given[1], given[2] if len(given) == 3 else None, finite, "validation ")


def _batch_size(batch_size: int | None, n: int, notes: list[str]) -> int:
    if batch_size is None:
        return min(DEFAULT_BATCH, n)
    require_count("batch_size", batch_size)
    if batch_size > n:
        notes.append(f"batch_size = {batch_size} is larger than the data; trained with {n}")
        warnings.warn(notes[-1], UserWarning, stacklevel=4)
    return min(int(batch_size), n)


class Run:
    """One call of `fit`, as callbacks see it."""

    def __init__(
        self,
        model: MLP,
        data: TrainingData,
        held_out: TrainingData | None,
        optimizer: Optimizer,
        metrics: tuple[Metric, ...],
        callbacks: list[Callback],
        *,
        batch_size: int,
        sampling: str,
        engine: str,
        notes: list[str],
    ) -> None:
        self.model, self.data, self.held_out = model, data, held_out
        self.metrics, self.callbacks, self.sampling = metrics, callbacks, sampling
        self.batch_size, self.wanted_engine = batch_size, engine
        n = len(data)
        per_epoch = -(-n // batch_size)
        # Drawing with replacement has no ragged batch: an epoch is as many whole batches.
        self.rows = per_epoch * batch_size if sampling == "with_replacement" else n
        self.steps_per_epoch = per_epoch
        self.state = _resume(model, optimizer)
        self.history = History(
            device=f"{model.device} ({model.backend.name})", first_epoch=self.state.epoch, notes=notes
        )
        self.total_steps = self.steps_done = self.samples_done = 0
        self.stopping: str | None = None
        self.display = display(0)
        self._step_losses: list[np.ndarray] = []

    @property
    def columns(self) -> tuple[str, ...]:
        """What each epoch reports."""
        trained = ("loss", "accuracy") if self.model.loss.targets == "classes" else ("loss",)
        if self.held_out is None:
            return trained
        return (*trained, "val_loss", *(f"val_{metric.name}" for metric in self.metrics))

    @property
    def last_epoch(self) -> int:
        """The number of the epoch that will be the last, counted over the model's life."""
        return self.history.first_epoch + -(-self.total_steps // self.steps_per_epoch)

    def plan_length(self, epochs: int | None, steps: int | None) -> None:
        """How long to train: `epochs`, or `steps`, or 10 epochs."""
        if epochs is not None and steps is not None:
            raise InputError(f"epochs = {epochs} and steps = {steps}; give one of them")
        if steps is not None:
            require_count("steps", steps)
            self.total_steps = int(steps)
        else:
            require_count("epochs", 10 if epochs is None else epochs, least=0)
            self.total_steps = int(10 if epochs is None else epochs) * self.steps_per_epoch

    def stop(self, reason: str) -> None:
        """End the training after this epoch."""
        self.stopping = reason

    def recent_loss(self) -> float:
        """The loss of the last step run; asks the device."""
        position = (self.steps_done - 1) % self.steps_per_epoch
        return float(self.model.backend.to_numpy(self.program.log[position, LOSS]))

    def train(self) -> History:
        """Run to the end, a stop, or Ctrl-C."""
        started_s = time.perf_counter()
        self.program = self._program()
        engine, reason = engines.choose(self.wanted_engine, self.program)
        self.execute = engine.prepare(self.program)
        model, history = self.model, self.history
        model.engine, model.engine_reason = history.engine, history.engine_reason = engine.name, reason
        self._tell("on_train_begin")
        model.training_state = self.state
        self.display.begin(self)
        try:
            with _held_interrupt() as interrupted:
                while self.steps_done < self.total_steps and self.stopping is None:
                    self._epoch(interrupted)
        finally:
            self.display.end(self)
            history.seconds = time.perf_counter() - started_s
            history.step_loss = np.concatenate([np.zeros(0), *self._step_losses])
            history.stop_reason = self.stopping or "completed"
            self._tell("on_train_end")
        if interrupted.is_set():
            raise KeyboardInterrupt
        return history

    def _program(self) -> TrainingProgram:
        whole = slice(0, self.model.layout.size)
        return TrainingProgram(
            self.model,
            self.data,
            groups=[Group(self.state.optimizer, whole)],
            moments=self.state.moments,
            batch_size=self.batch_size,
            rows=self.rows,
        )

    def _epoch(self, interrupted: threading.Event) -> None:
        epoch, program = self.state.epoch, self.program
        self._tell("on_epoch_begin", epoch)
        draw = SAMPLINGS[self.sampling]
        order = draw(self.model.seed, epoch, len(self.data), self.rows)
        program.start_epoch(order, step=self.state.step)
        steps = min(program.steps, self.total_steps - self.steps_done)
        done = 0
        for done in self._stretches(steps):
            if interrupted.is_set():
                self.stopping = "interrupted"
                break
        self._finish(epoch, done, whole=done == steps)

    def _stretches(self, steps: int) -> Iterator[int]:
        """Run `steps` steps in stretches of about RUN_S; yields how many are done after each."""
        program, done, stretch = self.program, 0, 1
        while done < steps:
            started_s = time.perf_counter()
            if done < program.full_steps:
                count = min(stretch, steps - done, program.full_steps - done)
                self.execute(program.full, count)
                rows = count * self.batch_size
            else:
                count, rows = 1, program.last_rows
                self.execute(program.last, 1)
            done += count
            self.steps_done += count
            self.samples_done += rows
            self.state.step += count
            self.display.step(self)
            step_s = (time.perf_counter() - started_s) / count
            stretch = max(1, min(2 * stretch, int(RUN_S / max(step_s, 1e-9))))
            yield done

    def _finish(self, epoch: int, done: int, *, whole: bool) -> None:
        """Close an epoch of `done` steps: read its log, validate, tell everyone."""
        log = self.model.backend.to_numpy(self.program.log[:done]).astype(np.float64)
        self._step_losses.append(log[:, LOSS].copy())
        self.history.samples = self.samples_done
        if not whole:
            return
        weight = log[:, WEIGHT]
        logs = {"loss": float(log[:, LOSS] @ weight / weight.sum())}
        if self.model.loss.targets == "classes":
            logs["accuracy"] = float(log[:, HITS] @ weight / weight.sum())
        if self.held_out is not None:
            logs |= self._validate(self.held_out)
        self.state.epoch += 1
        self.history.epochs.append(logs)
        self.display.epoch(self, logs)
        self._tell("on_epoch_end", epoch, logs)
        bad = np.flatnonzero(~np.isfinite(log[:, LOSS]))
        if len(bad) and self.stopping is None:
            self.stop(
                f"diverged: the loss is {log[bad[0], LOSS]} at step "
                f"{self.state.step - done + int(bad[0]) + 1}; lower the learning rate or scale x"
            )
            warnings.warn(str(self.stopping), RuntimeWarning, stacklevel=6)

    def _validate(self, held_out: TrainingData) -> dict[str, float]:
        found = score(
            self.model, held_out.x, held_out.y, held_out.weights, metrics=self.metrics, batch_size=1024
        )
        return {f"val_{name}": value for name, value in found.items()}

    def _tell(self, event: str, *details: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, event)(self, *details)


def _resume(model: MLP, optimizer: Optimizer) -> TrainingState:
    """The model's training state if it fits `optimizer`, else a fresh one that keeps the epoch count."""
    before = model.training_state
    if before is not None and before.optimizer == optimizer:
        return before
    moments = {
        name: model.backend.zeros(model.layout.size, model.dtype) for name in optimizer.moments
    }
    return TrainingState(optimizer, moments, step=0, epoch=before.epoch if before else 0)


@contextmanager
def _held_interrupt() -> Iterator[threading.Event]:
    """Hold Ctrl-C back: it sets the event yielded, so that no step is torn in two."""
    interrupted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield interrupted  # only the main thread receives signals
        return
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:
        yield interrupted  # the application handles Ctrl-C itself
        return
    signal.signal(signal.SIGINT, lambda *_: interrupted.set())
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)
