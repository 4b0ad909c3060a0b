"""The checkpoint files in a folder: their names, and which of them to go on from."""

from __future__ import annotations

import re
import warnings
from contextlib import suppress
from pathlib import Path

from mlpx.errors import CheckpointError
from mlpx.network.saved import Saved, read
from mlpx.training.kept import run_of

NAME = re.compile(r"checkpoint-(\d{1,9})\.safetensors")
BEST = "best.safetensors"
"""The model of the best epoch so far."""


def name_of(number: int) -> str:
    """The name of the checkpoint that is written as the `number`-th."""
    return f"checkpoint-{number:06d}.safetensors"


def numbered(folder: Path) -> list[tuple[int, Path]]:
    """The checkpoints in `folder` with their numbers, the latest last."""
    found = [(NAME.fullmatch(path.name), path) for path in folder.glob("checkpoint-*.safetensors")]
    return sorted((int(match[1]), path) for match, path in found if match)


def latest(folder: Path) -> Saved | None:
    """The latest checkpoint in `folder`; None if there is none.

    One that cannot be read is passed over with a warning. Raises CheckpointError if none can be.
    """
    trouble = None
    found = [path for _, path in reversed(numbered(folder))]
    for path in found:
        try:
            return read(path)
        except CheckpointError as error:
            trouble = trouble or error
            if path is not found[-1]:
                told = f"{error}; the checkpoint before it is taken"
                warnings.warn(told, UserWarning, stacklevel=5)
    if trouble is not None:
        raise trouble
    return None


def progress(found: Saved) -> tuple[int, int]:
    """How many steps the run of a checkpoint has done, and of how many; all if it has ended.

    Raises CheckpointError if the file is none of a run.
    """
    kept = run_of(found)
    done, total = int(kept["steps_done"]), int(kept["total_steps"])
    # An epoch of which something is logged is not reported yet, though it may be the last.
    return done, total if kept["stopping"] is None or len(kept["log"]) else done


def remove_but(folder: Path, kept: list[Path]) -> None:
    """Remove the checkpoints in `folder` that are not among those `kept`."""
    for _, path in numbered(folder):
        if path not in kept:
            with suppress(OSError):
                path.unlink()
