"""Measures one cell: contenders take turns in random order until every interval is
narrow.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import Any

from mlpx.benchmark import load
from mlpx.benchmark.processes import ContenderError, Process
from mlpx.benchmark.statistics import LEAST_ROUNDS, is_narrow, summarise

ABOVE_PEAK = 1.05
"""More than this many times the fused multiply-adds that the machine did in the same round: the
turn was mismeasured, or its work was not done.
"""
LEAST_KEPT = 3
"""Fewer turns than this and there is no figure."""
FAR_BEHIND = 2.0
"""Once the budget is spent, a contender that takes more than this many times the time of the
fastest has no turns beyond LEAST_KEPT.
"""


@dataclass(frozen=True)
class Rules:
    """How long and how carefully to measure."""

    warm_s: float = 0.3
    round_s: float = 0.2
    """About how long a contender's turn is."""
    budget_s: float = 12.0
    """For one cell, all contenders together."""
    precision: float = 0.02
    """Enough rounds are done once half the interval over the median is this small."""
    foreign_share: float = 0.05
    """A round is rejected if other processes took more than this share of the processors."""
    most_rounds: int = 50
    accept_noise: bool = False
    """Keep the rounds that others disturbed; the document says so."""
    seed: int = 0

    @classmethod
    def quick(cls) -> Rules:
        """Rules to see whether everything works; the figures are rough."""
        return cls(warm_s=0.05, round_s=0.03, budget_s=2.0, precision=0.1, most_rounds=7)


@dataclass
class Seat:
    """A contender at the table: its process, how long its turns are, and what they gave."""

    name: str
    process: Process
    steps: int
    overhead_s: float = 0.0
    """To subtract from each step: the cost of the floor's calls."""
    step_s: list[float] = field(default_factory=list)
    device_step_s: list[float] = field(default_factory=list)
    cpu_share: list[float] = field(default_factory=list)
    """CPU seconds per wall second of each round kept: how many processors it used."""
    compile_s: float | None = None
    """How much longer its first runs took than steps do, if they compiled."""
    busy: int = 0
    above_peak: int = 0
    disturbed: int = 0
    """Rounds kept despite other processes, because noise was accepted."""
    error: str = ""

    @property
    def is_floor(self) -> bool:
        return self.name.startswith("gemm/")


@dataclass
class Gauge:
    """The machine at the table: its turns measure what the processors can do at most."""

    process: Process
    dtype: str
    flops: int
    """Of a contender's step."""
    isa: str = ""
    rates: list[dict[str, float]] = field(default_factory=list)
    """Each turn's, by the names of `machine.RATES`."""
    disturbed: int = 0
    """Turns kept despite other processes, because noise was accepted."""
    error: str = ""

    def measure(self, threads: int, *, seconds: float) -> dict[str, Any]:
        """The answer of the machine's process to a turn of about so many seconds."""
        return self.process.ask("rates", threads=threads, dtype=self.dtype, seconds=seconds)

    @property
    def peak_gflops(self) -> float | None:
        """The median of its turns, if there are any."""
        found = [rates["fma_gflops"] for rates in self.rates]
        return summarise(found).median if found else None

    def least_s(self, answer: dict[str, Any]) -> float:
        """The least time of a step that a turn of the machine's allows for."""
        peak: float = answer["rates"]["fma_gflops"] * 1e9
        return self.flops / (peak * ABOVE_PEAK)


@dataclass(frozen=True)
class Turn:
    """What a turn answered, and how much of the processors others took meanwhile."""

    answer: dict[str, Any]
    foreign: float | None
    limit: float

    @property
    def is_quiet(self) -> bool:
        return self.foreign is None or self.foreign <= self.limit


Progress = Callable[[list[Seat], float | None], None]
"""Receives the seats after each round, and the machine's peak in GFLOP/s if it is known."""


class Table:
    """Measures the contenders of one cell against each other, and beside the machine if there is a
    gauge of it.
    """

    def __init__(
        self, seats: list[Seat], *, threads: int | None, rules: Rules, gauge: Gauge | None = None
    ) -> None:
        self.seats, self.rules, self.gauge = seats, rules, gauge
        self.processors = load.processors(threads)
        self.foreign: list[float] = []
        """The share of the processors that others took, turn by turn."""

    def measure(self, progress: Progress = lambda seats, peak: None) -> None:
        """Rounds until all intervals are narrow, the budget is spent or most_rounds are done."""
        order = random.Random(self.rules.seed)
        deadline_s = time.perf_counter() + self.rules.budget_s
        late = False
        for number in range(self.rules.most_rounds):
            self._round(order, [seat for seat in self.seats if self._plays(seat, late)])
            progress(self.seats, self.gauge.peak_gflops if self.gauge else None)
            enough = all(self._is_done(seat) for seat in self.seats)
            late = time.perf_counter() > deadline_s
            if enough or (late and number + 1 >= LEAST_ROUNDS):
                return

    def _is_done(self, seat: Seat) -> bool:
        return bool(seat.error) or is_narrow(seat.step_s, precision=self.rules.precision)

    def _plays(self, seat: Seat, late: bool) -> bool:
        """Whether a seat takes part in the next round."""
        if seat.error or not late or len(seat.step_s) < LEAST_KEPT:
            return not seat.error
        rivals = [other.step_s for other in self.seats if other.step_s and not other.is_floor]
        fastest_s = min((summarise(step_s).median for step_s in rivals), default=inf)
        return summarise(seat.step_s).median <= FAR_BEHIND * fastest_s

    def _round(self, order: random.Random, seats: list[Seat]) -> None:
        players: list[Seat | Gauge] = [*seats]
        if self.gauge is not None and not self.gauge.error:
            players.append(self.gauge)
        order.shuffle(players)
        turns: list[tuple[Seat, Turn]] = []
        least_s = 0.0
        for player in players:
            turn = self._turn(player)
            if turn is None:
                continue
            if isinstance(player, Seat):
                turns.append((player, turn))
            else:
                least_s = self._read(player, turn)
        for seat, turn in turns:
            self._keep(seat, turn, least_s)

    def _turn(self, player: Seat | Gauge) -> Turn | None:
        count, process = len(self.processors), player.process
        before = load.Busy.now(self.processors)
        ticks = process.cpu_ticks()
        try:
            answer = self._ask(player)
        except ContenderError as error:
            player.error = str(error)
            return None
        own_s = _own_seconds(process, ticks, answer["cpu_s"])
        after = load.Busy.now(self.processors)
        foreign = load.foreign_share(before, after, own_s=own_s, count=count)
        process.settle()
        if foreign is not None:
            self.foreign.append(foreign)
        limit = load.tolerance(after.at_s - before.at_s, count, share=self.rules.foreign_share)
        return Turn(answer, foreign, limit)

    def _ask(self, player: Seat | Gauge) -> dict[str, Any]:
        if isinstance(player, Seat):
            return player.process.ask("run", steps=player.steps)
        return player.measure(len(self.processors), seconds=self.rules.round_s)

    def _read(self, gauge: Gauge, turn: Turn) -> float:
        """Keep the machine's rates; returns the least time of a step, 0 if it was disturbed."""
        if not turn.is_quiet:
            if not self.rules.accept_noise:
                return 0.0
            gauge.disturbed += 1
        gauge.isa = turn.answer["isa"]
        gauge.rates.append(turn.answer["rates"])
        return gauge.least_s(turn.answer) if turn.is_quiet else 0.0

    def _keep(self, seat: Seat, turn: Turn, least_s: float) -> None:
        """Add the turn to its seat's results, or count why not."""
        if not turn.is_quiet:
            if not self.rules.accept_noise:
                seat.busy += 1
                return
            seat.disturbed += 1
        wall_s, device_s = turn.answer["wall_s"], turn.answer["device_s"]
        steps = turn.answer["steps"]
        step_s = max(wall_s / steps - seat.overhead_s, 0.02 * wall_s / steps)
        if step_s < least_s:
            seat.above_peak += 1
            return
        seat.step_s.append(step_s)
        seat.cpu_share.append(turn.answer["cpu_s"] / wall_s)
        if device_s is not None:
            seat.device_step_s.append(device_s / steps)


def _own_seconds(process: Process, ticks: int | None, cpu_s: float) -> float:
    """CPU seconds of a process over its turn, reset included."""
    now = process.cpu_ticks()
    if ticks is None or now is None:
        return cpu_s
    return max(cpu_s, (now - ticks) * load._tick_s())
