"""Run folders: a training run's model, history, settings and picture of its curves."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlpx.checkpoint import write_atomically
from mlpx.errors import CheckpointError, InputError, MissingExtraError
from mlpx.history import History, finite

if TYPE_CHECKING:
    from mlpx.model import MLP

MODEL, HISTORY, CONFIG, CURVES = "model.safetensors", "history.json", "config.json", "curves.png"
FORMAT = "mlpx-run"
VERSION = 1
ROOT = Path("runs")


@contextmanager
def claimed(out: Path | None, *, name: str) -> Iterator[Path]:
    """A folder that can be written: `out`, or the first free one of runs/name, runs/name-2, ...

    A folder that is still empty at the end is removed. Raises InputError for an `out` that holds
    anything but a run, OSError where nothing can be written.
    """
    folder = _first_free(name) if out is None else _checked(out)
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass  # an unwritable folder is found now, not after the training
        yield folder
    finally:
        with suppress(OSError):
            folder.rmdir()  # refuses a folder that holds something


def _first_free(name: str) -> Path:
    ROOT.mkdir(exist_ok=True)
    number = 1
    while True:
        folder = ROOT / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
        else:
            return folder


def _checked(folder: Path) -> Path:
    if folder.is_file():
        raise InputError(f"{folder} is a file; wanted a folder for the run")
    folder.mkdir(parents=True, exist_ok=True)
    there = sorted(entry.name for entry in folder.iterdir())
    if there and not is_run(folder):
        few = ", ".join(there[:3]) + (", ..." if len(there) > 3 else "")
        raise InputError(
            f"{folder} holds {few} and is not a run of mlpx, so it is left alone; "
            "name a new or an empty folder"
        )
    return folder


def is_run(folder: Path) -> bool:
    """Whether `folder` was written by `save_run`."""
    try:
        read_config(folder)
    except CheckpointError:
        return False
    return True


def save_run(
    folder: Path,
    model: MLP,
    *,
    history: History,
    config: dict[str, Any],
    test: dict[str, float] | None = None,
) -> tuple[list[str], str | None]:
    """Write a run's files, each whole or not at all; `test` is what the test data said.

    Returns the names of the files and, if there is no picture, why. Raises CheckpointError.
    """
    from mlpx.plots import learning_curves

    model.save(folder / MODEL)
    write_atomically(folder / HISTORY, _history_text(history, test).encode())
    described = {"format": FORMAT, "version": VERSION, **config}
    write_atomically(folder / CONFIG, (json.dumps(described, indent=1) + "\n").encode())
    try:
        learning_curves(history, path=folder / CURVES)
    except MissingExtraError as error:
        (folder / CURVES).unlink(missing_ok=True)  # it would show an earlier run
        return [MODEL, HISTORY, CONFIG], str(error)
    return [MODEL, HISTORY, CONFIG, CURVES], None


def _history_text(history: History, test: dict[str, float] | None) -> str:
    """JSON, with the steps' losses on one line."""
    content = finite({**history.to_dict(), "test": test})
    losses = json.dumps(finite([float(f"{value:.9g}") for value in history.step_loss]))
    return json.dumps(content, indent=1).removesuffix("\n}") + f',\n "step_loss": {losses}\n}}\n'


def read_history(folder: Path) -> History:
    """The history in a run folder; null is NaN.

    Raises CheckpointError.
    """
    content = _read_json(folder / HISTORY)
    try:
        return History(
            **{
                name: content[name] for name in ("engine", "engine_reason", "device", "first_epoch")
            },
            **{name: content[name] for name in ("seconds", "samples", "stop_reason", "notes")},
            epochs=[{k: _number(v) for k, v in epoch.items()} for epoch in content["epochs"]],
            step_loss=np.array([_number(v) for v in content["step_loss"]], dtype=np.float64),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{folder / HISTORY} is not a history of mlpx: {error!r}") from error


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def joined(before: History, after: History) -> History:
    """One history of two runs of `fit`, the second of which went on where the first stopped."""
    return History(
        engine=after.engine,
        engine_reason=after.engine_reason,
        device=after.device,
        first_epoch=before.first_epoch,
        epochs=before.epochs + after.epochs,
        step_loss=np.concatenate([before.step_loss, after.step_loss]),
        seconds=before.seconds + after.seconds,
        samples=before.samples + after.samples,
        stop_reason=after.stop_reason,
        notes=list(dict.fromkeys(before.notes + after.notes)),
    )


def read_config(folder: Path) -> dict[str, Any]:
    """The settings in a run folder.

    Raises CheckpointError for a folder that is no run, or is of another version.
    """
    config = _read_json(folder / CONFIG)
    found = config.get("format"), config.get("version")
    if found != (FORMAT, VERSION):
        raise CheckpointError(
            f"{folder / CONFIG} has format {found}; this version reads {(FORMAT, VERSION)}"
        )
    return config


def locate(run: Path) -> tuple[Path, dict[str, Any] | None]:
    """The model file that `run`, a run folder or the file itself, means, and its settings if any.

    Raises CheckpointError if there is neither.
    """
    if run.is_dir():
        return run / MODEL, read_config(run)
    if not run.exists():
        raise CheckpointError(f"{run} does not exist; wanted a run folder or a model file")
    beside = run.name == MODEL and is_run(run.parent)
    return run, read_config(run.parent) if beside else None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path.parent} is not a run folder: it has no {path.name}") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds no JSON object")
    return content
