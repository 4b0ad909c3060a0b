"""What a person sees while a model trains: one bar on a terminal, one line an epoch elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from mlpx.errors import InputError

if TYPE_CHECKING:
    from mlpx.run import Run

REFRESH_S = 0.2
"""How often the bar may ask the device for the current loss."""
MIN_BAR = 6
"""Columns that the bar itself keeps in a narrow terminal."""


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
        sys.stdout.write(f"epoch {number}/{run.last_epoch}  {show(logs)}  {rate:,.0f} samples/s\n")
        sys.stdout.flush()


class Bar(Silent):
    """A live progress bar of one line, however narrow the terminal."""

    def begin(self, run: Run) -> None:
        from rich.progress import BarColumn, Progress, TextColumn

        self.bar: Any = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None, complete_style="cyan", finished_style="green"),
            TextColumn("{task.fields[tail]}"),
            refresh_per_second=5,
            expand=True,
        )
        self.started_s = self.shown_s = time.perf_counter()
        self.logs: dict[str, float] = {}
        self.task = self.bar.add_task("", total=max(run.total_steps, 1), tail="")
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
        left = run.total_steps - run.steps_done
        head = f"epoch {min(run.state.epoch + 1, run.last_epoch)}/{run.last_epoch}"
        clock = (
            f"{duration(seconds * left / run.steps_done)} left"
            if left
            else f"in {duration(seconds)}"
        )
        room = self.bar.console.width - len(head) - MIN_BAR - 2  # a space on each side of the bar
        self.bar.update(
            self.task,
            completed=run.steps_done,
            description=head,
            tail=tail(room, logs, rate=run.samples_done / seconds, clock=clock),
        )

    def end(self, run: Run) -> None:
        self.bar.stop()


def tail(room: int, logs: dict[str, float], *, rate: float, clock: str) -> str:
    """What stands behind the bar: as much as fits into `room` columns, the clock and loss first."""
    brief = [name for name in logs if name != "val_loss" or not _scores(logs)]
    fewest = [name for name in brief if name == "loss"]
    spoken, terse = f"{rate:,.0f} samples/s", f"{shortened(rate)} samples/s"
    variants = (
        [show(logs), spoken, clock],
        [show({name: logs[name] for name in brief}), spoken, clock],
        [_terse(logs, brief), terse, clock],
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
    """The validation metrics that say more than the validation loss."""
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
    """The log of an epoch as text."""
    return "  ".join(f"{name} {value:.4f}" for name, value in logs.items())


def display(verbose: int | None) -> Silent:
    """What `verbose` means: 0 silent, 1 bar, 2 lines, None a bar on a terminal, lines elsewhere.

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
