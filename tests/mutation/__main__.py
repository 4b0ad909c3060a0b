"""How many changes to the mathematics the tests notice: `python tests/mutation --help`.

Every mutant (mutants.py) of a module is run against the tests of its table row that call the
function it is in, until one fails. Survivors listed in equivalent.toml, each with
its reason, change nothing that can be seen. The exit status is 1 if any other survives.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
import tomllib
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from mutants import Mutant, find_mutants
from trial import Calls, Chosen, Trial, become_nobody, copy_tree, warm_up

ROOT = Path(__file__).resolve().parents[2]
UNDER = ("src/mlpx/kernels", "src/mlpx/optimizers", "src/mlpx/schedules")
WHOLE = ("training", "program", "layers", "gradients")
TESTS = {
    "kernels/activations": ("activations", "numerics", "layers", "gradients", "model"),
    "kernels/special": ("special", "activations", "numerics"),
    "kernels/affine": WHOLE,
    "kernels/batches": (
        "batches",
        "training",
        "program",
        "callbacks",
        "metrics",
        "history",
        "gradients",
    ),
    "kernels/dropout": ("dropout", "layers"),
    "kernels/normalization": ("normalization", *WHOLE),
    "kernels/penalties": ("penalties", "layers", "gradients"),
    "kernels/philox": ("philox", "random", "dropout"),
    "kernels/scaling": ("scaling", *WHOLE),
    "kernels/skip": WHOLE,
    "kernels/updates": ("updates", "optimizers", "training", "callbacks", "resume"),
    "kernels/losses": ("losses", "targets", "model", "metrics", "gradients", "program"),
    "optimizers": (
        "optimizers",
        "updates",
        "schedules",
        "training",
        "resume",
        "callbacks",
        "search",
    ),
    "schedules": ("schedules", "optimizers"),
}
"""The tests of each module or folder of src/mlpx; first those written for it."""


def tests_of(file: str) -> list[str]:
    """The test files for a module."""
    row = next(row for place, row in TESTS.items() if file.startswith(f"src/mlpx/{place}"))
    names = dict.fromkeys(f"tests/test_{name}.py" for name in row)
    return [name for name in names if (ROOT / name).exists()]


def choose(calls: dict[str, Any], mutant: Mutant) -> list[str]:
    """The tests to run, fastest first; outside of functions all, those that call the file first."""
    own = tuple(tests_of(mutant.file))
    key = [mutant.file, mutant.function]
    ranked = []
    for name, test in calls.items():
        if not name.startswith(own) or (mutant.function and key not in test["calls"]):
            continue
        nearby = any(file == mutant.file for file, _ in test["calls"])
        ranked.append((not nearby, test["s"], name))
    return [name for *_, name in sorted(ranked)]


def baseline(folder: Path, files: list[str]) -> dict[str, Any]:
    """What each test calls and how long it takes, unless one fails."""
    trial = Trial(folder, Calls(folder, UNDER), files, limit_s=1200)
    while (result := trial.result()) is None:
        time.sleep(0.05)
    if result != "survived":
        sys.exit(f"the tests do not pass as they are ({result}):\n{(folder / 'log').read_text()}")
    calls: dict[str, Any] = json.loads((folder / "calls.json").read_text(encoding="utf-8"))
    return calls


class Attempt:
    """A mutant in the copy `folder`, tried with the first test file of its row, then the others."""

    def __init__(self, mutant: Mutant, folder: Path, calls: dict[str, Any]) -> None:
        self.mutant, self.folder, self.calls = mutant, folder, calls
        names, first = choose(calls, mutant), tests_of(mutant.file)[0]
        near = [name for name in names if name.startswith(first)]
        self.stages = [near, [name for name in names if name not in set(near)]]
        path = folder / mutant.file
        self.original = path.read_bytes()
        path.write_text(mutant.source, encoding="utf-8")
        for compiled in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
            compiled.unlink()
        self.trial: Trial | None = None

    def result(self) -> str | None:
        """How it ended; None while it goes on."""
        result = self.trial.result() if self.trial else "survived"
        while result == "survived" and self.stages:
            names = self.stages.pop(0)
            if names:
                files = dict.fromkeys(name.split("::")[0] for name in names)
                limit_s = 30 + 5 * sum(self.calls[name]["s"] for name in names)
                self.trial = Trial(self.folder, Chosen(names), files, limit_s=limit_s)
                return None
        if result:
            (self.folder / self.mutant.file).write_bytes(self.original)
        return result


def run(mutants: list[Mutant], folders: list[Path], calls: dict[str, Any]) -> dict[Mutant, str]:
    """The result of each mutant, as many at a time as there are copies."""
    waiting, running, results = mutants[::-1], {}, {}
    while waiting or running:
        for folder in folders:
            if folder not in running and waiting:
                running[folder] = Attempt(waiting.pop(), folder, calls)
            if folder in running and (result := running[folder].result()):
                mutant = running.pop(folder).mutant
                results[mutant] = result
                if len(results) % 100 == 0:
                    say(f"{len(results)} of {len(mutants)}")
                if result != "killed":
                    say(f"{result}: {mutant}")
        time.sleep(0.01)
    return results


def explained(mutant: Mutant) -> bool:
    """Whether equivalent.toml says why the mutant cannot be noticed."""
    return any(mutant.key in entry["mutants"] for entry in EQUIVALENT.get(mutant.file, ()))


EQUIVALENT: dict[str, list[dict[str, Any]]] = tomllib.loads(
    Path(__file__).with_name("equivalent.toml").read_text(encoding="utf-8")
)


def say(text: str) -> None:
    """A line on the screen at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def select(arguments: argparse.Namespace) -> list[Mutant]:
    """The mutants asked for, file by file."""
    files = [path for place in UNDER for path in sorted((ROOT / place).rglob("*.py"))]
    names = [str(path.relative_to(ROOT)) for path in files]
    again = arguments.again.read_text(encoding="utf-8") if arguments.again else ""
    found = []
    for name in names:
        if arguments.file and not any(part in name for part in arguments.file):
            continue
        mutants = [m for m in find_mutants(ROOT, name) if not again or f": {m}\n" in again]
        if arguments.sample and len(mutants) > arguments.sample:
            mutants = random.Random(arguments.seed).sample(mutants, arguments.sample)
        found += sorted(mutants, key=lambda mutant: mutant.line)
    return found


def table(mutants: list[Mutant], results: dict[Mutant, str]) -> str:
    """Killed, equivalent, surviving and all mutants of each file."""
    lines = ["| file | mutants | killed | equivalent | survive |", "| --- |" + " ---: |" * 4]
    for name in [*dict.fromkeys(mutant.file for mutant in mutants), ""]:
        own = [mutant for mutant in mutants if mutant.file.startswith(name)]
        same = sum(explained(mutant) for mutant in own)
        alive = sum(results.get(mutant) == "survived" for mutant in own)
        label = name.removeprefix("src/mlpx/") or "all"
        lines.append(f"| {label} | {len(own)} | {len(own) - same - alive} | {same} | {alive} |")
    return "\n".join(lines) + "\n"


def reasons(mutants: list[Mutant]) -> str:
    """The mutants that equivalent.toml explains, in the groups it has them in."""
    lines = ["| file | mutations | why nothing changes |", "| --- | --- | --- |"]
    for name in dict.fromkeys(mutant.file for mutant in mutants):
        label = name.removeprefix("src/mlpx/")
        for entry in EQUIVALENT.get(name, ()):
            cells = "<br>".join(f"`{key.replace('|', '&#124;')}`" for key in entry["mutants"])
            lines.append(f"| {label} | {cells} | {entry['why']} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run the mutants; print survivors and the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--file", action="append", help="only modules with this in their path")
    parser.add_argument("--sample", type=int, help="at most so many mutants of a file")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--jobs", type=int, default=1, help="mutants at a time")
    parser.add_argument("--again", type=Path, help="only those that survived in this output")
    parser.add_argument("--list", action="store_true", help="only print the mutants")
    parser.add_argument("--check", action="store_true", help="run equivalent ones as well")
    arguments = parser.parse_args()
    mutants = select(arguments)
    if arguments.list:
        for mutant in mutants:
            say(str(mutant))
        return 0
    become_nobody(sys.argv)
    warm_up()
    with tempfile.TemporaryDirectory(prefix="mutation-") as temporary:
        folders = [Path(temporary) / str(i) for i in range(arguments.jobs)]
        for folder in folders:
            folder.mkdir()
            copy_tree(ROOT, folder)
        wanted = dict.fromkeys(name for m in mutants for name in tests_of(m.file))
        calls = baseline(folders[0], list(wanted))
        say(f"{len(mutants)} mutants, {len(calls)} tests")
        tried = [m for m in mutants if arguments.check or not explained(m)]
        results = run(tried, folders, calls)
    say(f"{table(mutants, results)}\n{reasons(mutants)}")
    return int("survived" in results.values())


if __name__ == "__main__":
    sys.exit(main())
