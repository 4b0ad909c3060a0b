"""Which tests a mutant is tried with: those that execute its statement, the nearest first."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from pathlib import Path

from mutation.baseline import Baseline
from mutation.mutants import Mutant

NEAR = 3
"""Files of tests for a module where not all are run."""


def nearness(file: str, test: str) -> int:
    """How many words the paths of a test file and of a module share."""
    found, path = (_words(name) for name in (test.split("::")[0], file))
    return len(found & path)


def _words(path: str) -> set[str]:
    """The words in a path, singular; what all paths have is none."""
    words = {word.rstrip("s") for word in re.findall(r"[a-z]+", path.removesuffix(".py"))}
    return words - {"test", "src", "mlpx"}


def near_files(root: Path, file: str) -> list[str]:
    """The few test files that are named most like a module or its package or import one of them."""
    ranked = []
    for path in sorted((root / "tests").rglob("test_*.py")):
        rank = _rank(file, str(path.relative_to(root)), path.read_text(encoding="utf-8"))
        if rank:
            ranked.append((-rank, str(path.relative_to(root))))
    return [name for _, name in sorted(ranked)[:NEAR]]


def _rank(file: str, name: str, text: str) -> int:
    module = file.removeprefix("src/").removesuffix(".py").removesuffix("/__init__")
    dotted = module.replace("/", ".")
    package, _, own = dotted.rpartition(".")
    lines = rf"(from|import) {re.escape(dotted)}\b|from {re.escape(package)} import .*\b{own}\b"
    if re.search(lines, text):
        return 3 * nearness(file, name) + 2
    inside = "." in package and re.search(rf"(from|import) {re.escape(package)}\b", text)
    return 3 * nearness(file, name) + bool(inside)


def in_turns(lists: Iterable[list[str]]) -> list[str]:
    """The first of each list, then the second of each, and so on, each once."""
    turns = itertools.zip_longest(*lists)
    return list(dict.fromkeys(name for turn in turns for name in turn if name is not None))


class Choice:
    """Chooses the tests of mutants, for at most `limit_s` seconds each."""

    def __init__(self, baseline: Baseline, *, limit_s: float) -> None:
        self.baseline, self.limit_s = baseline, limit_s

    def choose(self, mutants: Iterable[Mutant]) -> dict[Mutant, list[list[str]] | None]:
        """The tests of each, nearest first, in lists for one run each; None: not executed."""
        found: dict[Mutant, list[list[str]] | None] = {}
        for file, group in itertools.groupby(mutants, key=lambda mutant: mutant.file):
            lines = self.baseline.lines(file)
            for mutant in group:
                names = executing(mutant, lines)
                if names is not None and (not names or not mutant.where.body):
                    names |= self._near(file)  # of a constant that other modules import
                found[mutant] = None if names is None else self._stages(file, names)
        return found

    def _near(self, file: str) -> set[str]:
        tests = self.baseline.tests
        return {name for name in tests if nearness(file, name)} or set(tests)

    def _stages(self, file: str, names: set[str]) -> list[list[str]]:
        seconds = self.baseline.tests
        ranked = sorted(names, key=lambda name: (-nearness(file, name), seconds[name], name))
        near = [name for name in ranked if nearness(file, name)]
        chosen = within(near, seconds, self.limit_s / 2)
        far = [name for name in ranked if name not in set(chosen)]
        left = self.limit_s - sum(seconds[name] for name in chosen)
        chosen += within(far, seconds, left)
        if ranked and not chosen:
            chosen = [min(ranked, key=lambda name: seconds[name])]
        chosen.sort(key=ranked.index)
        stages = itertools.groupby(chosen, key=lambda name: nearness(file, name))
        return [list(stage) for _, stage in stages]


def within(names: Iterable[str], seconds: dict[str, float], limit_s: float) -> list[str]:
    """Of these tests, in their order, those that still fit into the time."""
    chosen = []
    for name in names:
        if seconds[name] <= limit_s:
            chosen.append(name)
            limit_s -= seconds[name]
    return chosen


def is_called(mutant: Mutant) -> bool:
    """Whether a call of the function around it executes the statement, not an import."""
    body = mutant.where.body
    return body is not None and mutant.lines[0] >= body[0]


def executing(mutant: Mutant, lines: dict[int, set[str]]) -> set[str] | None:
    """The tests that execute the mutant's statement; None if nothing does.

    What an import executes counts for the tests of the function around it, else of the file.
    """
    first, last = mutant.lines
    if not any(first <= line <= last for line in lines):
        return None
    body = mutant.where.body
    found = _union(lines, mutant.lines)
    if "" in found or not body:
        found |= (body and _union(lines, body)) or _union(lines, (0, max(lines)))
    return found - {""}


def _union(lines: dict[int, set[str]], span: tuple[int, int]) -> set[str]:
    return set().union(*(names for line, names in lines.items() if span[0] <= line <= span[1]))
