"""How many changes to the sources the tests notice: `python tests/support/mutation --help`.

A sample of the mutants (mutants.py) of src is tried, each against the tests that execute its
statement (baseline.py, choice.py), until one fails. Mutants listed in equivalent.toml, each with
its reason, change nothing that can be seen. The score is the share of the others that is killed;
below `--at-least` the exit status is 1.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mutation.attempts import Copy, Stages, attempt_all
from mutation.baseline import Baseline, digest, measure, report
from mutation.choice import Choice, in_turns, is_called, near_files
from mutation.mutants import Mutant, distinct, find_mutants
from mutation.score import ALIVE, Score, explained, table
from mutation.trial import become_nobody, copy_tree, warm_up

HERE = Path(__file__).resolve().parents[3]
Chosen = dict[Mutant, Stages | None]


def say(text: str) -> None:
    """A line on the screen at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def options() -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--file", action="append", help="only modules with this in their path")
    parser.add_argument("--sample", type=int, help="at most so many mutants")
    parser.add_argument("--seed", default="0", help="of the sample")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes at a time")
    parser.add_argument("--limit", type=float, default=90, help="seconds of tests for a mutant")
    parser.add_argument("--at-least", type=float, default=0.9, help="the score to reach")
    parser.add_argument("--again", type=Path, help="only those that survived in this output")
    parser.add_argument("--list", action="store_true", help="only print the mutants")
    parser.add_argument("--check", action="store_true", help="try equivalent ones as well")
    parser.add_argument("--coverage", action="store_true", help="only print what is not executed")
    parser.add_argument("--near", type=int, help="in so many modules, with the tests near them")
    parser.add_argument("--near-limit", type=float, default=40, help="seconds of these tests")
    parser.add_argument("--root", type=Path, default=HERE, help="the tree")
    parser.add_argument("--kept", type=Path, help="folder of the baseline [.baseline of the tree]")
    asked = parser.parse_args()
    asked.kept = asked.kept or asked.root / ".baseline" / ("near" if asked.near else "")
    return asked


def shuffled(asked: argparse.Namespace) -> list[Mutant]:
    """The mutants that may be tried, in the order of the seed."""
    again = asked.again.read_text(encoding="utf-8") if asked.again else ""
    found: list[Mutant] = []
    for path in sorted((asked.root / "src").rglob("*.py")):
        name = str(path.relative_to(asked.root))
        if not asked.file or any(part in name for part in asked.file):
            found += find_mutants(asked.root, name)
    random.Random(asked.seed).shuffle(found)
    return [mutant for mutant in found if not again or f": {mutant}\n" in again]


def in_order(mutants: Iterator[Mutant]) -> list[Mutant]:
    """File by file, as they stand there."""
    return sorted(mutants, key=lambda mutant: (mutant.file, mutant.lines))


def drawn(asked: argparse.Namespace, mutants: list[Mutant]) -> list[str]:
    """The first modules that have tests near them, as many as are asked for."""
    files = dict.fromkeys(mutant.file for mutant in mutants)
    return list(islice((file for file in files if near_files(asked.root, file)), asked.near))


def baseline_of(asked: argparse.Namespace, modules: list[str]) -> Baseline:
    """The one that is kept, if nothing changed since, else a new one."""
    found = Baseline(asked.root, asked.kept)
    if found.digest != digest(asked.root):
        near = in_turns(near_files(asked.root, file) for file in modules) if asked.near else []
        limit_s = asked.near_limit if asked.near else None
        found = measure(asked.root, asked.kept, jobs=asked.jobs, files=near, limit_s=limit_s)
    return found


def near(asked: argparse.Namespace, mutants: list[Mutant], choice: Choice) -> Chosen:
    """As many of each module, of those that a call in a test near executes: others see more."""
    chosen: Chosen = {}
    called = [m for m in distinct(mutants) if is_called(m) and not explained(m)]
    for file in dict.fromkeys(mutant.file for mutant in called):
        own = choice.choose(mutant for mutant in called if mutant.file == file)
        executed = {mutant: stages for mutant, stages in own.items() if stages}
        chosen |= dict(islice(executed.items(), asked.sample // asked.near))
    return chosen


def attempts(asked: argparse.Namespace, chosen: Chosen, baseline: Baseline) -> dict[Mutant, str]:
    """The result of each mutant that is not explained; prints those alive."""
    tried = [mutant for mutant in chosen if asked.check or not explained(mutant)]
    unfit: set[str] = set()

    def ended(mutant: Mutant, result: str) -> None:
        if result in ALIVE:
            say(f"{result}: {mutant}")

    beside = asked.root.parent / "shared" / "data"  # where tests/conftest.py looks
    if beside.is_dir():
        os.environ.setdefault("MLPX_DATA", str(beside))
    with tempfile.TemporaryDirectory(prefix="mutation-") as temporary:
        folders = [Path(temporary) / str(i) for i in range(asked.jobs)]
        for folder in folders:
            copy_tree(asked.root, folder)
        copies = [Copy(f, baseline.tests, unfit) for f in folders]
        results = attempt_all(tried, chosen, copies, ended)
    for name in sorted(unfit):
        say(f"fails in a copy of the tree, so it was left out: {name}")
    return results


def main() -> int:
    """Try the mutants; print those alive, the table and the score."""
    asked = options()
    mutants = shuffled(asked)
    modules = drawn(asked, mutants)
    if asked.list:
        for mutant in in_order(islice(distinct(mutants), asked.sample)):
            say(str(mutant))
        return 0
    baseline = baseline_of(asked, modules)
    if asked.coverage:
        say(report(baseline))
        return int(bool(baseline.failed))
    become_nobody()
    warm_up()
    choice = Choice(baseline, limit_s=asked.limit)
    if asked.near:
        chosen = near(asked, [mutant for mutant in mutants if mutant.file in modules], choice)
    else:
        chosen = choice.choose(in_order(islice(distinct(mutants), asked.sample)))
    for name in baseline.failed:
        say(f"fails without a mutant, so it is left out: {name}")
    say(f"{len(chosen)} mutants, {len(baseline.tests)} tests")
    if not chosen:
        return 1
    results = attempts(asked, chosen, baseline)
    score = Score(chosen, results)
    say(f"{table(list(chosen), results)}\nscore: {score.share:.1%}; wanted: {asked.at_least:.0%}")
    return int(score.share < asked.at_least)


if __name__ == "__main__":
    sys.exit(main())
