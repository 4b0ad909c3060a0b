"""The training loop over epochs, for every optimizer but full-batch ones."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from mlpx.training.run import Run
from mlpx.types import Array

RUN_S = 0.025
"""How long one call of the engine may run by the time of the last: the bar, Ctrl-C and whoever
looks for a loss that is not finite wait for its end, and `fit` promises 50 ms.
"""


class Epochs:
    """The loop that trains epoch after epoch, each in stretches of steps."""

    def check(self, run: Run) -> None:
        """Nothing to check beyond what `fit` has checked."""

    def program_options(self, run: Run) -> dict[str, Any]:
        """Nothing to override."""
        return {}

    def state(self) -> None:
        """Nothing to keep: the run and its training state have it all."""

    def restore(self, run: Run, state: dict[str, Any]) -> None:
        """Nothing to restore."""

    def train(self, run: Run, interrupted: list[int]) -> None:
        """Train epochs until the run is over; one that a checkpoint cut short ends in any case."""
        while not interrupted and (not run.over or run.state.position > run.reported):
            self._epoch(run, interrupted)
            run.watch.act(run)
            if run.diverged:
                return
        if interrupted:
            run.stopping = "interrupted"

    def _epoch(self, run: Run, interrupted: list[int]) -> None:
        state, program, first = run.state, run.program, run.state.position
        end = min(program.steps, first + run.total_steps - run.steps_done)
        run.watch.begin(run)
        run.tell("on_epoch_begin", state.epoch)
        program.start_epoch(
            run.feed.order(state.epoch, first),
            step=state.step - first,
            drawn=state.drawn - first,
            position=first,
            rate_scale=state.schedule.get("scale", 1.0),
        )
        with trained_parameters(run) if "average" in state.moments else nullcontext():
            for _ in stretches(run, end):
                if interrupted or run.watch.stops:
                    break
        if not (interrupted or run.watch.stops or run.over) and run.model.backend.kind == "cuda":
            run.feed.draw_ahead(state.epoch + 1)
        run.finish(run.reported, end)


@contextmanager
def trained_parameters(run: Run) -> Iterator[None]:
    """Inside, the model holds the parameters that training updates instead of their average."""
    flat, average = run.model.flat, run.state.moments["average"]
    swap(flat, average, work=run.program.gradient)
    try:
        yield
    finally:
        swap(flat, average, work=run.program.gradient)


def stretches(run: Run, end: int) -> Iterator[None]:
    """Run the steps up to `end` in stretches of about RUN_S; yields after each."""
    program, state = run.program, run.state
    while state.position < end:
        started_s = time.perf_counter()
        if program.full is not None and state.position < program.full_steps:
            stop = min(run.feed.ready(state.position, end), program.full_steps)
            count = min(run.stretch, stop - state.position)
            run.execute(program.full, count)
            rows = count * run.batch_size
        else:
            assert program.last is not None
            run.feed.ready(state.position, end)
            count, rows = 1, program.last_rows
            run.execute(program.last, 1)
        step_s = (time.perf_counter() - started_s) / count
        run.count(count, rows)
        run.watch.look(run, end)
        if not run.watch.stops:
            run.tell_steps()
        run.stretch = max(1, min(2 * run.stretch, int(RUN_S / max(step_s, 1e-9))))
        yield


def swap(a: Array, b: Array, *, work: Array) -> None:
    """Exchange the contents of two arrays in place, as programs hold views; zeroes `work`."""
    work[...] = a
    a[...] = b
    b[...] = work
    work.fill(0)
