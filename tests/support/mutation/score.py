"""What the tests noticed of a sample of mutants, as a share and as a table."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mutation.mutants import Mutant

ALIVE = ("survived", "not executed")
EQUIVALENT: dict[str, list[dict[str, Any]]] = tomllib.loads(
    Path(__file__).with_name("equivalent.toml").read_text(encoding="utf-8")
)


def explained(mutant: Mutant) -> bool:
    """Whether equivalent.toml says why the mutant cannot be noticed."""
    return any(mutant.key in entry["mutants"] for entry in EQUIVALENT.get(mutant.file, ()))


class Score:
    """Of the mutants `mutants`; one without a result was not tried, as an equivalent one."""

    def __init__(self, mutants: Iterable[Mutant], results: dict[Mutant, str]) -> None:
        self.mutants = list(mutants)
        self.equivalent = sum(explained(mutant) for mutant in self.mutants)
        found = [results.get(mutant) for mutant in self.mutants if not explained(mutant)]
        self.survived, self.not_executed = (found.count(kind) for kind in ALIVE)
        self.killed = len(found) - self.survived - self.not_executed

    @property
    def share(self) -> float:
        """Killed of all that are not equivalent."""
        all_ = len(self.mutants) - self.equivalent
        return self.killed / all_ if all_ else 1.0

    def row(self, label: str) -> str:
        """A line of the table."""
        counts = (len(self.mutants), self.killed, self.survived, self.not_executed, self.equivalent)
        return f"| {label} | {' | '.join(map(str, counts))} | {self.share:.1%} |"


def package(file: str) -> str:
    """The folder below the package itself that a module is in; of those in none, the package."""
    _, own, *below = Path(file).parts
    return below[0] if len(below) > 1 else own


def table(mutants: list[Mutant], results: dict[Mutant, str]) -> str:
    """The counts and the score of each package and of all."""
    lines = [
        "| package | mutants | killed | survived | not executed | equivalent | score |",
        "| --- |" + " ---: |" * 6,
    ]
    for name in sorted({package(mutant.file) for mutant in mutants}):
        own = [mutant for mutant in mutants if package(mutant.file) == name]
        lines.append(Score(own, results).row(name))
    return "\n".join([*lines, Score(mutants, results).row("all")])
