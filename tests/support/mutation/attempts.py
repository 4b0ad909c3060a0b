"""Tries mutants, each in a copy of the tree, against the tests chosen for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable
from pathlib import Path

from mutation.mutants import Mutant
from mutation.trial import Trial

Stages = list[list[str]]
Steps = Generator[None, None, str]
"""Goes on until the trial under way ends; returns a result."""


class Copy:
    """A copy of the tree in which one mutant at a time is tried.

    A test kills a mutant only if it passes with the same file unchanged: one that fails in the copy
    (as an ordinary user, without what the tree's surroundings hold) is left out from then on.
    """

    def __init__(self, folder: Path, seconds: dict[str, float], unfit: set[str]) -> None:
        self.folder, self.seconds, self.unfit = folder, seconds, unfit
        self.fit: set[tuple[str, str]] = set()

    def attempt(self, mutant: Mutant, stages: Stages) -> Steps:
        """Whether the mutant is "killed", "survived" or ended by the "timeout"."""
        path = self.folder / mutant.file
        original = path.read_bytes()
        try:
            return (yield from self._attempt(mutant, stages))
        finally:
            path.write_bytes(original)

    def _attempt(self, mutant: Mutant, stages: Stages) -> Steps:
        for stage in stages:
            files = list(dict.fromkeys(name.split("::")[0] for name in stage))
            while names := [name for name in stage if name not in self.unfit]:
                self._write(mutant.file, mutant.source)
                result, failed = yield from self._run(names, files)
                if result == "survived":
                    break
                if result == "timeout" or (yield from self._holds(mutant, failed, files)):
                    return result
                self.unfit.update([failed] if failed else names)
        return "survived"

    def _holds(self, mutant: Mutant, failed: str, files: list[str]) -> Generator[None, None, bool]:
        """Whether the test that failed passes with the module unchanged."""
        if (mutant.file, failed) in self.fit:
            return True
        self._write(mutant.file, mutant.original)
        result, _ = yield from self._run([failed] if failed else [], files)
        if result == "survived" and failed:
            self.fit.add((mutant.file, failed))
        return result == "survived"

    def _run(self, names: list[str], files: list[str]) -> Generator[None, None, tuple[str, str]]:
        limit_s = 10 + 2 * sum(self.seconds[name] for name in names)
        trial = Trial(self.folder, names, files, limit_s=limit_s)
        while (result := trial.result()) is None:
            yield
        return result, trial.failed()

    def _write(self, file: str, source: str) -> None:
        path = self.folder / file
        path.write_text(source, encoding="utf-8")
        for compiled in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
            compiled.unlink()


def attempt_all(
    mutants: Iterable[Mutant],
    chosen: dict[Mutant, Stages | None],
    copies: Iterable[Copy],
    ended: Callable[[Mutant, str], None],
) -> dict[Mutant, str]:
    """The result of each mutant, as many at a time as there are copies."""
    waiting, results = list(mutants), {}
    running: dict[Copy, tuple[Mutant, Steps]] = {}

    def end(mutant: Mutant, result: str) -> None:
        results[mutant] = result
        ended(mutant, result)

    while waiting or running:
        for copy in copies:
            while copy not in running and waiting:
                mutant = waiting.pop(0)
                if (stages := chosen[mutant]) is None:
                    end(mutant, "not executed")
                else:
                    running[copy] = mutant, copy.attempt(mutant, stages)
            if copy in running and (result := _step(running[copy][1])):
                end(running.pop(copy)[0], result)
        time.sleep(0.01)
    return results


def _step(steps: Steps) -> str | None:
    """The result, if this step is the last."""
    try:
        next(steps)
    except StopIteration as end:
        return str(end.value)
    return None
