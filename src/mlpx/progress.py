"""What a person sees while a model trains: one bar on a terminal, one line an epoch elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from mlpx.errors import InputError

if TYPE_CHECKING:
    from mlpx.training import Run

REFRESH_S = 0.2
"""How often the bar may ask the device for the current loss."""


class Silent:
    """verbose=0."""

    def begin(self, run: Run) -> None:
        """Training starts."""

    def step(self, run: Run) -> None:
        """Some steps were run."""

    def epoch(self, run: Run, logs: dict[str, float]) -> None:
        """An epoch ended."""

    def end(self, run: Run) -> None:
        """Training ended, for whatever reason."""


class Lines(Silent):
    """One line an epoch, for logs and pipes."""

    def begin(self, run: Run) -> None:
        self.last_s, self.last_samples = time.perf_counter(), 0

    def epoch(self, run: Run, logs: dict[str, float]) -> None:
        now, samples = time.perf_counter(), run.history.samples
        rate = (samples - self.last_samples) / max(now - self.last_s, 1e-9)
        self.last_s, self.last_samples = now, samples
        number = run.history.first_epoch + len(run.history)
        print(f"epoch {number}/{run.last_epoch}  {show(logs)}  {rate:,.0f} samples/s", flush=True)


class Bar(Silent):
    """A live progress bar."""

    def begin(self, run: Run) -> None:
        from rich.progress import (
            BarColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self.bar: Any = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[logs]}"),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            refresh_per_second=5,
            expand=True,
        )
        self.started_s = self.shown_s = time.perf_counter()
        self.logs: dict[str, float] = {}
        self.task = self.bar.add_task("", total=run.total_steps, logs="", rate="")
        self.bar.start()

    def step(self, run: Run) -> None:
        now = time.perf_counter()
        if now - self.shown_s < REFRESH_S:
            return
        self.shown_s = now
        self._show(run, {**self.logs, "loss": run.recent_loss()})

    def epoch(self, run: Run, logs: dict[str, float]) -> None:
        self.logs = logs
        self._show(run, logs)

    def _show(self, run: Run, logs: dict[str, float]) -> None:
        seconds = max(time.perf_counter() - self.started_s, 1e-9)
        number = min(run.history.first_epoch + len(run.history) + 1, run.last_epoch)
        self.bar.update(
            self.task,
            completed=run.steps_done,
            description=f"epoch {number}/{run.last_epoch}",
            logs=show(logs),
            rate=f"{run.samples_done / seconds:,.0f} samples/s",
        )

    def end(self, run: Run) -> None:
        self.bar.stop()


def show(logs: dict[str, float]) -> str:
    """The log of an epoch as text."""
    return "  ".join(f"{name} {value:.4f}" for name, value in logs.items())


def display(verbose: int | None) -> Silent:
    """What `verbose` means: 0 silent, 1 a bar, 2 lines, None a bar on a terminal and lines elsewhere.

    Raises InputError for anything else.
    """
    if verbose is None:
        return Bar() if sys.stdout.isatty() else Lines()
    shown = {0: Silent, 1: Bar, 2: Lines}.get(int(verbose)) if isinstance(verbose, int) else None
    if shown is None:
        raise InputError(
            f"verbose = {verbose!r}; it must be 0 (silent), 1 (bar), 2 (lines) or None"
        )
    return shown()
