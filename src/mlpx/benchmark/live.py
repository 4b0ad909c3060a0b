"""The live table: what is measured and what is known so far; a line a cell without a terminal."""

from __future__ import annotations

from math import inf
from types import TracebackType
from typing import Any, Self

from mlpx.benchmark.report.text import ASCII, aligned
from mlpx.benchmark.report.units import counted, duration, percent, rate, thread_text, widths_text
from mlpx.benchmark.rounds import Seat
from mlpx.benchmark.statistics import summarise
from mlpx.benchmark.workloads import Task

WIDE = 80
"""Columns of a terminal that has room for the counts of rounds too."""


class Live:
    """Shows one table per cell on a console."""

    def __init__(self, console: Any) -> None:
        self.console = console
        self.display: Any = None
        self.texts: dict[str, str] = {}
        self.told: set[tuple[str, str]] = set()
        self.seats: dict[str, Seat] = {}
        self.peak_gflops: float | None = None

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            from rich.live import Live as RichLive

            # refreshed between turns only: no thread runs beside the clock
            self.display = RichLive(console=self.console, auto_refresh=False)
            self.display.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.display is not None:
            self.display.stop()

    def cell(self, task: Task, names: list[str]) -> None:
        """A cell begins: the previous table stays above."""
        self._leave()
        self.task = task
        self.texts = dict.fromkeys(names, "waiting")
        self.seats = {}
        if self.display is None:
            self._print(title(task))

    def says(self, task: Task, name: str, text: str) -> None:
        """A contender's state changed."""
        if text == "building":
            self.texts[name] = text
        else:  # a line instead of a row, once for all cells
            self.texts.pop(name, None)
            if (name, text) not in self.told:
                self.told.add((name, text))
                self._print(f"  {name}: {text}")
        self._show()

    def rounds(self, task: Task, seats: list[Seat], peak_gflops: float | None = None) -> None:
        """A round is done."""
        self.peak_gflops = peak_gflops
        self.seats = {seat.name: seat for seat in seats}
        for seat in seats:
            if seat.error and seat.name in self.texts:
                self.says(task, seat.name, f"failed: {seat.error}")
        self._show()

    def _show(self) -> None:
        if self.display is not None:
            self.display.update(self.table(), refresh=True)

    def _leave(self) -> None:
        """Print the finished cell's table for good."""
        if self.seats and self.display is not None:
            self.display.update("", refresh=True)
            self.console.print(self.table())
        elif self.seats:
            self._print(f"  {self.line()}".translate(ASCII))

    def finish(self) -> None:
        """The last cell is done."""
        self._leave()
        self.seats = {}

    def _print(self, line: str) -> None:
        self.console.print(line, markup=False, highlight=False, soft_wrap=self.display is None)

    def table(self) -> Any:
        """The cell so far, the fastest first."""
        from rich.text import Text

        headings = ["contender", "a step", "95 %", "samples/s", "peak", "rounds", "rejected"]
        rows = [headings, *(self._row(name) for name in sorted(self.texts, key=self._order))]
        hidden = {"rounds", "rejected"} if self.console.width < WIDE else set()
        hidden |= set() if self.peak_gflops else {"peak"}
        shown = [i for i, heading in enumerate(headings) if heading not in hidden]
        head, *lines = aligned([[row[i] for i in shown] for row in rows], left={0})
        made = Text(f"{title(self.task)}\n", style="bold")
        made.append(f"{head}\n", style="not bold underline")
        return made.append("\n".join(lines), style="not bold")

    def line(self) -> str:
        """The finished cell: our fastest, the fastest of the peers, and how much was measured."""
        seats = [seat for name, seat in self.seats.items() if name in self.texts]
        medians = [(summarise(seat.step_s).median, seat.name) for seat in seats if seat.step_s]
        ours = [found for found in medians if found[1].startswith("mlpx/")]
        theirs = [found for found in medians if not found[1].startswith(("mlpx/", "gemm/"))]
        fastest = [min(found) for found in (ours, theirs) if found]
        rounds = max(map(_turns, seats), default=0)
        told = [f"{name} {duration(step_s)}" for step_s, name in fastest]
        return ", ".join([*told, counted(len(seats), "contender"), counted(rounds, "round")])

    def _order(self, name: str) -> tuple[bool, float]:
        seat = self.seats.get(name)
        known = seat is not None and seat.step_s
        return not known, summarise(seat.step_s).median if seat and known else 0.0

    def _row(self, name: str) -> list[str]:
        seat = self.seats.get(name)
        if seat is None or not seat.step_s:
            rejected = str(seat.busy + seat.above_peak) if seat else ""
            return [name, "" if seat else self.texts[name], "", "", "", "", rejected]
        step = summarise(seat.step_s)
        return [
            name,
            duration(step.median),
            f"±{100 * step.relative_width:.1f} %",
            rate(self.task.batch_size / step.median),
            percent(self.task.step_flops / step.median / 1e9 / (self.peak_gflops or inf)),
            str(step.rounds),
            str(seat.busy + seat.above_peak),
        ]


def _turns(seat: Seat) -> int:
    return len(seat.step_s) + seat.busy + seat.above_peak


def title(task: Task) -> str:
    """What the cell measures, in one line."""
    layers = widths_text(task.workload.layers)
    named = "" if task.workload.name == layers else f"{task.workload.name} "
    return (
        f"{named}{layers}, {task.phase}, batch {task.batch_size}, {task.dtype}, "
        f"{task.device}, {thread_text(task.threads)}"
    )
