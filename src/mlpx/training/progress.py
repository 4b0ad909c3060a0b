"""Progress on standard output: a live bar on a terminal, occasional lines elsewhere."""

from __future__ import annotations

import math
import sys
import time
import warnings
from typing import IO, Any, cast

from mlpx.errors import InputError
from mlpx.training.run import Callback, Logs, Run

REFRESH_S = 0.2
"""How often the bar may ask the device for the current loss."""
MIN_BAR = 6
"""The least width of the bar itself, in columns, however narrow the terminal."""
FEW = 10
"""About how many lines are written when the output is not a terminal."""


class Outlet:
    """Standard output that may fail (a closed pipe, a full disk) without ending a training.

    Text that cannot be written is dropped, with a single warning.
    """

    def __init__(self, stream: IO[str] | None) -> None:
        self.stream = stream  # None if there is none, or once it has failed
        self.encoding = getattr(stream, "encoding", "utf-8")

    def write(self, text: str) -> int:
        """Write `text`; returns its length, even if it was dropped."""
        if not isinstance(text, str):
            raise TypeError(f"text is a {type(text).__name__}; wanted a str")  # click tries bytes
        if self.stream is not None:
            try:
                self._put(self.stream, text)
            except (OSError, ValueError) as error:  # ValueError: the stream is closed
                self._die(error)
        return len(text)

    def _put(self, stream: IO[str], text: str) -> None:
        """Write `text`, with ? for characters that the stream's encoding lacks."""
        try:
            stream.write(text)
        except UnicodeEncodeError:
            stream.write(text.encode(self.encoding, "replace").decode(self.encoding))

    def flush(self) -> None:
        """Flush the stream."""
        if self.stream is not None:
            try:
                self.stream.flush()
            except (OSError, ValueError) as error:
                self._die(error)

    def isatty(self) -> bool:
        """Whether the stream is a terminal."""
        return self.stream is not None and self.stream.isatty()

    def fileno(self) -> int:
        """The stream's file descriptor."""
        if self.stream is None:
            raise OSError("there is no stream")
        return self.stream.fileno()

    def _die(self, error: Exception) -> None:
        self.stream = None
        reason = getattr(error, "strerror", None) or error
        warnings.warn(
            f"standard output cannot be written any more ({reason}); training goes on",
            RuntimeWarning,
            stacklevel=3,
        )


class Lines(Callback):
    """For logs and pipes: a line per epoch, or about `few` in all, with the first and the last."""

    def __init__(self, few: int | None = None) -> None:
        self.few = few

    def on_train_begin(self, run: Run) -> None:
        self.out = Outlet(sys.stdout)
        self.before = self.told = len(run.history)  # of a run that goes on
        self.last_s, self.last_samples = time.perf_counter(), run.samples_done
        planned = run.last_epoch - run.history.first_epoch - self.before
        self.every = 1 if self.few is None else max(1, math.ceil(planned / self.few))

    def on_epoch_end(self, run: Run, epoch: int, logs: Logs) -> None:
        done = len(run.history) - self.before
        if done == 1 or done % self.every == 0:
            self._tell(run)

    def on_train_end(self, run: Run) -> None:
        if len(run.history) > self.told:
            self._tell(run)

    def _tell(self, run: Run) -> None:
        now, samples = time.perf_counter(), run.history.samples
        rate = (samples - self.last_samples) / max(now - self.last_s, 1e-9)
        self.last_s, self.last_samples, self.told = now, samples, len(run.history)
        number, logs = run.history.first_epoch + self.told, run.history.epochs[-1]
        self.out.write(f"epoch {number}/{run.last_epoch}  {show(logs)}  {rate:,.0f} samples/s\n")
        self.out.flush()


class Bar(Callback):
    """A live progress bar that stays on one line, however narrow the terminal."""

    def on_train_begin(self, run: Run) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self.bar: Any = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None, complete_style="cyan", finished_style="green"),
            TextColumn("{task.fields[tail]}", markup=False),
            console=Console(file=cast(IO[str], Outlet(sys.stdout))),
            auto_refresh=False,  # by a thread that would draw what it has drawn already
            expand=True,
        )
        self.started_s = self.shown_s = time.perf_counter()
        self.before = run.steps_done, run.samples_done  # of a run that goes on
        self.logs: Logs = {}
        self.unseen = False
        self.task = self.bar.add_task("", total=max(run.total_steps, 1), tail="")
        self.bar.start()

    def on_steps(self, run: Run) -> None:
        if self._is_due():
            self._show(run, {**self.logs, "loss": run.recent_loss()})
            self.bar.refresh()

    def on_epoch_end(self, run: Run, epoch: int, logs: Logs) -> None:
        self.logs, self.unseen = logs, True
        if self._is_due():
            self._show(run, logs)
            self.bar.refresh()
            self.unseen = False

    def _is_due(self) -> bool:
        """Whether what the bar shows is old; from then on it is not."""
        now = time.perf_counter()
        due = now - self.shown_s >= REFRESH_S
        if due:
            self.shown_s = now
        return due

    def _show(self, run: Run, logs: dict[str, float]) -> None:
        seconds = max(time.perf_counter() - self.started_s, 1e-9)
        left = run.total_steps - run.steps_done
        done, samples = run.steps_done - self.before[0], run.samples_done - self.before[1]
        head = f"epoch {min(run.state.epoch + 1, run.last_epoch)}/{run.last_epoch}"
        clock = (
            f"{duration(seconds * left / max(1, done))} left" if left else f"in {duration(seconds)}"
        )
        room = self.bar.console.width - len(head) - MIN_BAR - 2  # a space on each side of the bar
        self.bar.update(
            self.task,
            completed=run.steps_done,
            description=head,
            tail=tail(room, logs, rate=samples / seconds, clock=clock),
        )

    def on_train_end(self, run: Run) -> None:
        if self.unseen:
            self._show(run, self.logs)
        self.bar.stop()  # draws it a last time


def tail(room: int, logs: dict[str, float], *, rate: float, clock: str) -> str:
    """The text after the bar: what fits into `room` columns; clock and loss are dropped last."""
    brief = [name for name in logs if name != "val_loss" or not _scores(logs)]
    fewest = [name for name in brief if name == "loss"]
    long_rate, short_rate = f"{rate:,.0f} samples/s", f"{shortened(rate)} samples/s"
    variants = (
        [show(logs), long_rate, clock],
        [show({name: logs[name] for name in brief}), long_rate, clock],
        [_terse(logs, brief), short_rate, clock],
        [_terse(logs, brief), f"{shortened(rate)}/s", clock],
        [_terse(logs, [*fewest, *brief[-1:]][: len(brief)]), clock],
        [_terse(logs, fewest), clock],
    )
    for gap, parts in zip(("  ", "  ", " ", " ", " ", " "), variants, strict=True):
        text = gap.join(filter(None, parts))
        if len(text) <= room:
            return text
    return clock if len(clock) <= room else ""


def _scores(logs: dict[str, float]) -> list[str]:
    """The validation metrics other than the loss; they say more than it does."""
    return [name for name in logs if name.startswith("val_") and name != "val_loss"]


def _terse(logs: dict[str, float], names: list[str]) -> str:
    return " ".join(
        f"{name.replace('accuracy', 'acc')} {logs[name]:.{4 if 'loss' in name else 3}f}"
        for name in names
    )


def shortened(count: float) -> str:
    """A count in three or four characters: 950, 41k, 1.2M."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if count >= 0.9995 * size:
            scaled = count / size
            return f"{scaled:.1f}{unit}" if scaled < 9.95 else f"{scaled:.0f}{unit}"
    return f"{count:.0f}"


def duration(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def show(logs: dict[str, float]) -> str:
    """An epoch's losses and metrics as text."""
    return "  ".join(f"{name} {value:.4f}" for name, value in logs.items())


def display(verbose: int | None) -> list[Callback]:
    """The callbacks that `verbose` stands for: 0 none, 1 a bar, 2 a line per epoch; None a bar on
    a terminal and about ten lines elsewhere.

    Raises InputError for anything else.
    """
    if verbose is None:
        return [Bar() if Outlet(sys.stdout).isatty() else Lines(FEW)]
    shown = int(verbose) if isinstance(verbose, int) else -1
    if shown not in (0, 1, 2):
        raise InputError(
            f"verbose = {verbose!r}; it must be 0 (silent), 1 (bar), 2 (lines) or None"
        )
    callbacks: tuple[list[Callback], ...] = ([], [Bar()], [Lines()])
    return callbacks[shown]
