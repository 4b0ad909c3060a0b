"""Fuzz one reader of files: `python tests/fuzz/target.py FORMAT [CORPUS] [libFuzzer options]`.

FORMAT is a name in `hostile.formats.FORMATS`. The corpus folder is made, and begun with valid
files, if it is absent. A finding ends the run, and its input is written to ./crash-...; after a fix
`python tests/fuzz/target.py FORMAT crash-...` tries it again.
"""

from __future__ import annotations

import importlib
import itertools
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random

import atheris

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
with atheris.instrument_imports(include=["mlpx", "json", "zipfile", "numpy.lib._format_impl"]):
    for name in ("cli.task", "data.npz", "estimators", "training.run_folder"):
        importlib.import_module(f"mlpx.{name}")
from hostile import Format, examine, prepare
from hostile.formats import FORMATS
from hostile.mutations import spoilt

SECONDS = 5.0
"""The instruments slow the reader down."""
OPTIONS = ("-max_len=16384", "-rss_limit_mb=4096", "-timeout=30")
WEIGHED = 10
"""The memory of each tenth input is measured: it takes as long as the rest."""


def main(arguments: list[str]) -> None:
    """Fuzz until libFuzzer's options say to end."""
    format = FORMATS[arguments[0]]
    corpus = [Path(entry) for entry in arguments[1:] if not entry.startswith("-")]
    for folder in corpus:
        if not folder.exists():
            folder.mkdir(parents=True)
            for i, content in enumerate(format.inputs()):
                (folder / f"seed-{i}").write_bytes(content)
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder_name:
        path = prepare(format, Path(folder_name))
        atheris.Setup(
            [__file__, *OPTIONS, *arguments[1:]],
            one_input(format, path),
            custom_mutator=mutator(format),
        )
        atheris.Fuzz()


def one_input(format: Format, path: Path) -> Callable[[bytes], None]:
    """What libFuzzer calls with each input."""
    numbers = itertools.count()

    def run(data: bytes) -> None:
        weigh = next(numbers) % WEIGHED == 0
        examine(format, format.file_of(data), path, seconds=SECONDS, weigh=weigh)

    return run


def mutator(format: Format) -> Callable[[bytes, int, int], bytes]:
    """libFuzzer's own mutations or, as often, those that keep JSON valid."""

    def mutate(data: bytes, longest: int, seed: int) -> bytes:
        rng = Random(seed)
        made = spoilt(format, data, rng) if rng.random() < 0.5 else atheris.Mutate(data, longest)
        return made[:longest]

    return mutate


if __name__ == "__main__":
    main(sys.argv[1:])
