"""Measures one cell: contenders take turns in random order until every interval is
narrow.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from mlpx.benchmark import load
from mlpx.benchmark.processes import ContenderError, Process
from mlpx.benchmark.statistics import LEAST_ROUNDS, is_narrow

BELOW_FLOOR = 0.9
"""A time below this share of the fastest floor in the same round was mismeasured."""


@dataclass(frozen=True)
class Rules:
    """How long and how carefully to measure."""

    warm_s: float = 0.5
    round_s: float = 0.2
    """About how long a contender's turn is."""
    budget_s: float = 60.0
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
    busy: int = 0
    below_floor: int = 0
    disturbed: int = 0
    """Rounds kept despite other processes, because noise was accepted."""
    error: str = ""

    @property
    def is_floor(self) -> bool:
        return self.name.startswith("gemm/")


@dataclass(frozen=True)
class Turn:
    """One contender's measurement in one round."""

    seat: Seat
    step_s: float
    device_step_s: float | None
    cpu_share: float
    foreign: float | None
    limit: float


Progress = Callable[[list[Seat]], None]


class Table:
    """Measures the contenders of one cell against each other.

    `bounded`: reject rounds that are faster than their floor. Not on a GPU: the floor's products
    are called one by one there, so a graph may be faster, and a library may round where the floor
    does not.
    """

    def __init__(
        self, seats: list[Seat], *, threads: int | None, rules: Rules, bounded: bool
    ) -> None:
        self.seats, self.rules, self.bounded = seats, rules, bounded
        self.processors = load.processors(threads)
        self.foreign: list[float] = []
        """The share of the processors that others took, turn by turn."""

    def measure(self, progress: Progress = lambda seats: None) -> None:
        """Rounds until all intervals are narrow, the budget is spent or most_rounds are done."""
        order = random.Random(self.rules.seed)
        deadline_s = time.perf_counter() + self.rules.budget_s
        for number in range(self.rules.most_rounds):
            self._round(order)
            progress(self.seats)
            enough = all(self._is_done(seat) for seat in self.seats)
            if enough or (time.perf_counter() > deadline_s and number + 1 >= LEAST_ROUNDS):
                return

    def _is_done(self, seat: Seat) -> bool:
        return bool(seat.error) or is_narrow(seat.step_s, precision=self.rules.precision)

    def _round(self, order: random.Random) -> None:
        seats = [seat for seat in self.seats if not seat.error]
        order.shuffle(seats)
        turns = [turn for seat in seats if (turn := self._turn(seat)) is not None]
        floor_s = min(
            (turn.step_s for turn in turns if turn.seat.is_floor and self._is_quiet(turn)),
            default=0.0,
        )
        for turn in turns:
            self._keep(turn, floor_s)

    def _turn(self, seat: Seat) -> Turn | None:
        count = len(self.processors)
        before = load.Busy.now(self.processors)
        ticks = seat.process.cpu_ticks()
        try:
            answer = seat.process.ask("run", steps=seat.steps)
        except ContenderError as error:
            seat.error = str(error)
            return None
        own_s = _own_seconds(seat, ticks, answer["cpu_s"])
        after = load.Busy.now(self.processors)
        foreign = load.foreign_share(before, after, own_s=own_s, count=count)
        seat.process.settle()
        if foreign is not None:
            self.foreign.append(foreign)
        wall_s, steps, device_s = answer["wall_s"], answer["steps"], answer["device_s"]
        return Turn(
            seat,
            max(wall_s / steps - seat.overhead_s, 0.02 * wall_s / steps),
            None if device_s is None else device_s / steps,
            answer["cpu_s"] / wall_s,
            foreign,
            load.tolerance(after.at_s - before.at_s, count, share=self.rules.foreign_share),
        )

    def _is_quiet(self, turn: Turn) -> bool:
        return turn.foreign is None or turn.foreign <= turn.limit

    def _keep(self, turn: Turn, floor_s: float) -> None:
        """Add the turn to its seat's results, or count why not."""
        seat = turn.seat
        if not self._is_quiet(turn):
            if not self.rules.accept_noise:
                seat.busy += 1
                return
            seat.disturbed += 1
        if self.bounded and not seat.is_floor and turn.step_s < BELOW_FLOOR * floor_s:
            seat.below_floor += 1
            return
        seat.step_s.append(turn.step_s)
        seat.cpu_share.append(turn.cpu_share)
        if turn.device_step_s is not None:
            seat.device_step_s.append(turn.device_step_s)


def _own_seconds(seat: Seat, ticks: int | None, cpu_s: float) -> float:
    """CPU seconds of the seat's process over the turn, reset included."""
    now = seat.process.cpu_ticks()
    if ticks is None or now is None:
        return cpu_s
    return max(cpu_s, (now - ticks) * load._tick_s())
