"""State machines over the public surface: random sequences of calls on one object.

A machine keeps, beside the object under test, the truth: what a fresh object needs to answer like
it. A step that changes something is taken by the object and by a fresh twin; after every step both
are the same, bit for bit. So what one call leaves behind for the next (a cache, a buffer, a lock, a
setting) is seen wherever it shows, without a test that names it.

`Machine` counts the steps, `run` runs a machine and says how to have a failure again.
"""

from __future__ import annotations

import functools
import os
import random
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import hypothesis
from hypothesis import HealthCheck, Phase
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

SEED = "MLPX_MACHINE_SEED"
"""The environment variable that repeats the random sequences of a long run."""


_STEPS: set[str] = set()


class Machine(RuleBasedStateMachine):
    """Counts what it did, and has a folder."""

    taken: ClassVar[Counter[str]] = Counter()
    """How often each rule ran, over all sequences."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory(prefix="mlpx-machine-")
        self.folder = Path(self._folder.name)

    def teardown(self) -> None:
        self._folder.cleanup()


def names(machine: type[Machine]) -> set[str]:
    """The names of everything a machine does."""
    return {name for each in machine.__mro__ for name in vars(each) if name in _STEPS}


def step(**drawn: Any) -> Callable[[Any], Any]:
    """A rule that is counted."""
    return lambda function: rule(**drawn)(_counted(function))


def beginning(**drawn: Any) -> Callable[[Any], Any]:
    """The first step, counted."""
    return lambda function: initialize(**drawn)(_counted(function))


def _counted(function: Any) -> Any:
    _STEPS.add(function.__name__)

    @functools.wraps(function)
    def counted(self: Machine, *arguments: Any, **named: Any) -> Any:
        self.taken[function.__name__] += 1
        return function(self, *arguments, **named)

    return counted


def run(machine: type[Machine], *, sequences: int, steps: int, anew: bool = False) -> Counter[str]:
    """Run `sequences` random sequences of `steps` steps; returns how often each rule was taken.

    The same sequences every time, or with `anew` others, by a seed that a failure tells; in CI
    always by the same, so that chance decides no change.
    """
    made: Any = type(machine.__name__, (machine,), {"taken": Counter()})
    in_ci = os.environ.get("CI", "").lower() not in ("", "0", "false")
    chosen = os.environ.get(SEED) or ("0" if in_ci else None)
    seed = random.SystemRandom().getrandbits(32) if chosen is None else int(chosen)
    if anew:
        hypothesis.seed(seed)(made)
    settings = hypothesis.settings(
        max_examples=sequences,
        stateful_step_count=steps,
        derandomize=not anew,
        database=None,  # nothing is written into the tree
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
        print_blob=False,
        report_multiple_bugs=False,
    )
    try:
        run_state_machine_as_test(made, settings=settings)
    except BaseException as error:
        if anew:
            error.add_note(f"to have the same sequences again: {SEED}={seed}")
        raise
    return made.taken
