"""What gpu_check.sh runs: see there."""

from __future__ import annotations

import argparse
import os
import sys
import tarfile
import tempfile
import time
from pathlib import Path

from gpu import report
from gpu.harness import Line, run_part
from gpu.parts import PARTS, REHEARSED, Part
from gpu.section import Setup

ROOT = Path(__file__).resolve().parents[2]
CACHE = "kernel-cache.tar.gz"


def main(arguments: list[str] | None = None) -> int:
    given = parse(arguments)
    if given.merge:
        print(report.write(report.load(given.merge), given.out))
        return 0
    setup = Setup(given.device, given.quick or given.rehearse)
    env, kernels = surroundings(given.cache)
    verdicts = list[Line]()
    for name in given.part or list(PARTS):
        part = chosen(name, given.section, rehearse=given.rehearse)
        lines = given.out / f"gpu-check-{name}.jsonl"
        lines.unlink(missing_ok=True)
        started = time.monotonic()
        verdicts += run_part(name, part, setup, lines=lines, double=given.rehearse, env=env)
        print(f"part {name}: {time.monotonic() - started:.0f} of {part.limit_s:.0f} s")
        pack(kernels, given.out / CACHE)
    paths = sorted(given.out.glob("gpu-check-*.jsonl"))
    print(f"written to {report.write(report.load(paths), given.out)}")
    print(report.table(verdicts))
    wrong = [line for line in verdicts if line["verdict"] != expected(line["section"])]
    return 1 if wrong else 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=PARTS, action="append")
    parser.add_argument("--section", action="append", help="only this section of its part")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results")
    parser.add_argument("--cache", type=Path, help=f"a {CACHE} of an earlier run")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does it run at all?")
    parser.add_argument("--rehearse", action="store_true", help="on the tests' double of a GPU")
    parser.add_argument("--merge", type=Path, nargs="+", help="only make one file of these")
    return parser.parse_args(arguments)


def chosen(name: str, wanted: list[str] | None, *, rehearse: bool) -> Part:
    """A part with the sections that are wanted; of a rehearsal, with two that fail amid them."""
    part = PARTS[name]
    sections = [s for s in part.sections if not wanted or s.name in wanted]
    if rehearse:
        sections[1:1] = REHEARSED
    limit_s = part.limit_s * (20 if rehearse else 1)
    return Part(limit_s, tuple(sections))


def expected(section: str) -> str:
    """The verdict that is no failure of the check."""
    return {"crashing": "crashed", "hanging": "timed out"}.get(section, "passed")


def surroundings(cache: Path | None) -> tuple[dict[str, str], Path]:
    """The environment of the sections, and the folder where CuPy keeps what it compiled."""
    kernels = Path(os.environ.get("CUPY_CACHE_DIR") or tempfile.mkdtemp(prefix="mlpx-kernels-"))
    kernels.mkdir(parents=True, exist_ok=True)
    if cache is not None and cache.exists():
        with tarfile.open(cache) as archive:
            archive.extractall(kernels, filter="data")
    paths = [str(ROOT / "src"), str(ROOT / "bench"), *filter(None, [os.environ.get("PYTHONPATH")])]
    env = os.environ | {
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONUNBUFFERED": "1",
        "CUPY_CACHE_DIR": str(kernels),
    }
    env.pop("MLPX_DEVICE", None)
    return env, kernels


def pack(folder: Path, archive: Path) -> None:
    """What was compiled, as one file that travels."""
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(folder, arcname=".")


if __name__ == "__main__":
    sys.exit(main())
