"""What gpu_check.sh runs: see there."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from gpu import cache, document, readme, report
from gpu.harness import Course, Line, Stop, lines_of, run_part, running
from gpu.parts import PARTS, Part, chosen
from gpu.section import Setup

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "bench" / "results"
REHEARSALS = ROOT / "runs" / "gpu-rehearsal"


def main(arguments: list[str] | None = None) -> int:
    parser = arguments_of()
    given = parser.parse_args(arguments)
    if given.readme:
        print(readme.rewrite())
        return 0
    out: Path = (given.out or (REHEARSALS if given.rehearse else RESULTS)).resolve()
    try:
        prepare(out)
        if given.merge:
            print(report.write(document.load(given.merge), out))
            return 0
        parts = chosen(given.part, given.section, rehearse=given.rehearse)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    lines = list(run(parts, out, given))
    paths = sorted(out.glob("gpu-check-*.jsonl"))
    print(f"written to {report.write(document.load(paths), out)}")
    print(report.table(lines), flush=True)
    if given.stop.number:
        return 128 + int(given.stop.number)
    return 1 if any(line["verdict"] != expected(line["section"]) for line in lines) else 0


def arguments_of() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gpu_check.sh", description=__doc__)
    parser.add_argument("--part", choices=PARTS, action="append")
    parser.add_argument("--section", action="append", help="only this section of its part")
    parser.add_argument("--device", default="cuda")
    parser.add_argument(
        "--out", type=Path, help="bench/results, or of a rehearsal a folder of runs/"
    )
    parser.add_argument("--cache", type=Path, help=f"a {cache.ARCHIVE} of an earlier run")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does it run at all?")
    parser.add_argument("--rehearse", action="store_true", help="on the tests' double of a GPU")
    parser.add_argument("--merge", type=Path, nargs="+", help="only make one document of these")
    parser.add_argument("--readme", action="store_true", help="only rewrite the README's GPU table")
    parser.set_defaults(stop=Stop())
    return parser


def prepare(out: Path) -> None:
    """Fail now if nothing can be written there, and not after the first section."""
    out.mkdir(parents=True, exist_ok=True)
    probe = out / ".writable"
    probe.touch()
    probe.unlink()


def run(parts: dict[str, Part], out: Path, given: argparse.Namespace) -> Iterator[Line]:
    """The lines of all parts; a signal stops the section that runs and leaves out the rest."""
    given.stop.listen()
    setup = Setup(given.device, given.quick or given.rehearse)
    commit = document.commit()
    with cache.kernels(given.cache, out) as kernels:
        course = Course(
            setup, out, cache.environment(kernels.folder), commit, given.rehearse, given.stop
        )
        for name, part in parts.items():
            if not given.section:  # else the others' lines are kept
                forget(out, name)
            started = time.monotonic()
            for line in run_part(name, part, course):
                print(report.table([line]), flush=True)
                kernels.pack()
                yield line
            print(f"part {name}: {time.monotonic() - started:.0f} of {part.limit_s:.0f} s\n")


def forget(out: Path, part: str) -> None:
    """Remove what an earlier run of a part left."""
    for path in (lines_of(out, part), *out.glob(running(out, part, "*").name)):
        path.unlink(missing_ok=True)


def expected(section: str) -> str:
    """The verdict that is no failure of the check."""
    return {"crashing": "crashed", "hanging": "timed out"}.get(section, "passed")


if __name__ == "__main__":
    sys.exit(main())
