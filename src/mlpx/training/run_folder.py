"""Run folders: the model, history, settings and learning curves of a training run."""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

from mlpx.errors import CheckpointError, InputError, InputTypeError, MlpxError
from mlpx.files import allocate, parts, remove_if_empty, sweep, write_atomically
from mlpx.network.checkpoint import save
from mlpx.network.network import Network
from mlpx.network.saved import Saved, read
from mlpx.training.checkpoint_files import BEST, NAME, latest, numbered, progress
from mlpx.training.history import History
from mlpx.training.locks import OWNER, locked
from mlpx.training.plots import learning_curves
from mlpx.training.settings import SETTINGS, is_label
from mlpx.untrusted import brief, one_line, read_json

MODEL, HISTORY, CONFIG, CURVES = "model.safetensors", "history.json", "config.json", "curves.png"
FORMAT = "mlpx-run"
VERSION = 1
ROOT = Path("runs")
LAST = "checkpoint"
"""The setting that has the number of the last checkpoint from before the model, 0 if none stays."""


@contextmanager
def claimed(out: Path | None, *, name: str) -> Iterator[Path]:
    """A folder for a run, locked: `out`, or the first free one of runs/name, runs/name-2, ...

    A folder that is still empty at the end is removed. Raises InputError if `out` is in use or
    holds anything but a run, OSError if it is not writable.
    """
    folder = _first_free(name) if out is None else _checked(out)
    try:
        with locked(folder):
            with _unnamed(folder):
                pass  # finds an unwritable folder now, not after training
            sweep(folder)
            yield folder
    finally:
        remove_if_empty(folder)


@contextmanager
def room(folder: Path, size_bytes: int) -> Iterator[Callable[[], None]]:
    """Reserve disk space in `folder` until the yielded function is called, or until the end.

    Raises CheckpointError if there is not enough.
    """
    with _unnamed(folder) as file:
        try:
            allocate(file, size_bytes)
        except OSError as error:
            file.close()
            free_bytes = shutil.disk_usage(folder).free
            advice = "make room, or name a folder on another disk"
            if error.errno == errno.EFBIG:
                advice = "raise the limit on the size of a file (ulimit -f)"
            raise CheckpointError(
                f"{folder} has no room for the run ({error.strerror or error}): it needs "
                f"{size_bytes:,} bytes, {free_bytes:,} are free; {advice}"
            ) from None
        yield file.close


def _unnamed(folder: Path) -> IO[bytes]:
    """A new file in `folder` without a name, so that it leaves nothing behind.

    Raises OSError that names the folder.
    """
    try:
        return tempfile.TemporaryFile(dir=folder)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder)) from None


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
    if os.path.lexists(folder) and not folder.is_dir():
        what = "file" if folder.exists() else "link to nothing"
        raise InputError(f"{folder} is a {what}; wanted a folder for the run")
    folder.mkdir(parents=True, exist_ok=True)
    there = _written(folder)
    if there and not is_run(folder):
        few = one_line(", ".join(there[:3])) + (", ..." if len(there) > 3 else "")
        what = "of another version" if _is_of_another_version(folder) else "not a run"
        raise InputError(
            f"{folder} holds {few} and is {what} of mlpx, so it is left alone; "
            "name a new or an empty folder"
        )
    return folder


def _is_of_another_version(folder: Path) -> bool:
    try:
        return bool(_read_json(folder / CONFIG).get("format") == FORMAT)
    except CheckpointError:
        return False


def _written(folder: Path) -> list[str]:
    """What is in `folder`, without what a run leaves that is killed before its first file is whole.

    Raises OSError.
    """
    names = [MODEL, BEST, "checkpoint-*.safetensors"]
    left = {OWNER, *(part.name for name in names for part in parts(folder, of=name))}
    return sorted(entry.name for entry in folder.iterdir() if entry.name not in left)


def is_run(folder: Path) -> bool:
    """Whether `folder` has a run, or the checkpoints of one."""
    try:
        _read_format(folder)
    except CheckpointError:
        return bool(numbered(folder))
    return True


def save_run(
    folder: Path,
    model: Network,
    *,
    history: History,
    config: dict[str, Any],
    test: dict[str, float] | None = None,
) -> tuple[list[str], str | None]:
    """Write a run's files, each atomically; `test` holds the loss and metrics on test data.

    Returns the names of the files and, if there is no plot, why not. Raises CheckpointError.
    """
    save(model, folder / MODEL)
    written, why_no_picture = describe_run(folder, history=history, config=config, test=test)
    return [MODEL, *written], why_no_picture


def describe_run(
    folder: Path,
    *,
    history: History,
    config: dict[str, Any],
    test: dict[str, float] | None,
    checkpoints_stay: bool = True,
) -> tuple[list[str], str | None]:
    """As `save_run`, but without the model; if one file fails, the others are still written.

    The number of the last checkpoint that stays says which are newer than the model.
    """
    last = max((number for number, _ in numbered(folder)), default=0) if checkpoints_stay else 0
    contents = {
        CONFIG: json.dumps(described({**config, LAST: last}), indent=1) + "\n",
        HISTORY: history.to_json(test=test),
    }
    failures = []
    for name, text in contents.items():
        try:
            write_atomically(folder / name, text.encode())
        except CheckpointError as error:
            failures.append(str(error))
    why_no_picture = _draw(history, folder / CURVES)
    if failures:
        raise CheckpointError(f"{'; '.join(failures)}; the model is in {folder / MODEL}")
    return [HISTORY, CONFIG] + [CURVES] * (why_no_picture is None), why_no_picture


def described(config: dict[str, Any]) -> dict[str, Any]:
    """The settings of a run as its folder and its checkpoints hold them."""
    return {"format": FORMAT, "version": VERSION, **config}


def _draw(history: History, path: Path) -> str | None:
    """Draw the learning curves; returns why not if that fails, as it does for losses of 1e308."""
    try:
        learning_curves(history, path=path)
    except (MlpxError, OSError, MemoryError, ValueError, ArithmeticError, LookupError) as error:
        with suppress(OSError):
            path.unlink(missing_ok=True)  # a plot left there would show an earlier run
        return str(error) or "out of memory"
    return None


def read_history(folder: Path) -> History:
    """The history in a run folder; null becomes NaN.

    Raises CheckpointError.
    """
    try:
        return History.from_dict(_read_json(folder / HISTORY))
    except InputTypeError as error:
        raise CheckpointError(
            f"{folder / HISTORY} is not a history of mlpx: {brief(error)}"
        ) from error


def read_config(folder: Path) -> dict[str, Any]:
    """The settings in a run folder; entries unknown to this version are kept as they are.

    Raises CheckpointError if the folder is not a run or is of another version, or if a setting is
    invalid.
    """
    return _checked_settings(_read_format(folder), folder / CONFIG)


def config_beside(saved: Saved) -> dict[str, Any] | None:
    """The settings in a checkpoint of `mlpx train`; None in one of `fit`.

    Raises CheckpointError as `read_config`.
    """
    config = saved.beside.get("config") if isinstance(saved.beside, dict) else None
    if not isinstance(config, dict):
        return None
    try:
        json.dumps(config)
    except TypeError as error:
        raise CheckpointError(f"{saved.path} has settings that are no plain values") from error
    return _checked_settings(_checked_format(config, saved.path), saved.path)


def _checked_settings(config: dict[str, Any], file: Path) -> dict[str, Any]:
    for name, value in config.items():
        wanted = SETTINGS.get(name)
        if wanted is not None and not wanted.fits(value):
            told = brief(json.dumps(value))
            raise CheckpointError(f"{file} has {name} = {told}; wanted {wanted.text}")
    described = config.get("estimator")
    if described is not None:
        if not isinstance(described, dict):
            raise CheckpointError(f"{file} has an estimator that is no JSON object")
        if not isinstance(described.get("classes"), list | None):
            raise CheckpointError(f"{file} has an estimator with classes that are no list")
    return config


def _read_format(folder: Path) -> dict[str, Any]:
    return _checked_format(_read_json(folder / CONFIG), folder / CONFIG)


def _checked_format(config: dict[str, Any], file: Path) -> dict[str, Any]:
    version = config.get("format"), config.get("version")
    if version != (FORMAT, VERSION):
        raise CheckpointError(
            f"{file} has format {brief(version)}; this version reads {(FORMAT, VERSION)}"
        )
    return config


def class_labels(
    config: dict[str, Any] | None, *, model: Network | None = None
) -> list[int | str] | None:
    """The class labels of a run's data, in the order of the model's outputs; None if they are just
    0, 1, ...

    Raises CheckpointError if they are not a list of labels, or not as many as `model` has classes.
    """
    described = (config or {}).get("estimator") or config or {}
    classes = None if described.get("several") else described.get("classes")
    if classes is None:
        return None
    labels = [int(v) if isinstance(v, float) and v.is_integer() else v for v in classes]
    if not all(map(is_label, labels)) or len(set(labels)) < len(labels):
        raise CheckpointError(
            f"{CONFIG} has classes = {brief(classes)}; wanted a list of labels, each once"
        )
    if model is not None:
        check_classes(len(labels), model)
    return None if labels == list(range(len(labels))) else labels


def check_classes(count: int, model: Network) -> None:
    """Raises CheckpointError if `model` cannot have `count` classes."""
    if count not in (model.d_out, class_count(model)):  # one output may have learnt one class
        raise CheckpointError(
            f"{CONFIG} has {count} classes, and the model beside it {class_count(model)}; wanted a "
            "label for each, in the order of its outputs"
        )


def class_count(model: Network) -> int:
    """How many classes `model` distinguishes; for regression, how many values it predicts."""
    binary = model.d_out == 1 and model.loss.target_kind(1) == "binary"
    return 2 if binary else model.d_out


def label_array(labels: list[int | str]) -> np.ndarray:
    """Labels as an array (classes,): integers if all fit one dtype exactly, else text."""
    numbers = [label for label in labels if isinstance(label, int)]
    if len(numbers) == len(labels):
        for dtype in (np.int64, np.uint64):
            if all(np.iinfo(dtype).min <= number <= np.iinfo(dtype).max for number in numbers):
                return np.array(numbers, dtype=dtype)
    return np.array(list(map(str, labels)))


def locate(run: Path) -> tuple[Path, dict[str, Any] | None]:
    """The model file, and the settings if any, of `run`: a run folder or the model file itself.

    Of a run that was killed it is the latest checkpoint; a warning says so if there is a model from
    before. Raises CheckpointError if `run` does not exist or cannot be looked at.
    """
    path, config = _located(run)
    if run.is_dir() and path.name != MODEL and (run / MODEL).exists():
        told = f"the run in {run} was cut short: this is {path.name}, which is newer than {MODEL}"
        warnings.warn(told, UserWarning, stacklevel=3)
    return path, config


def _located(run: Path) -> tuple[Path, dict[str, Any] | None]:
    try:
        if run.is_dir():
            return _in_folder(run)
        if not run.exists():
            raise CheckpointError(f"{run} does not exist; wanted a run folder or a model file")
        if NAME.fullmatch(run.name) or run.name == BEST:
            return run, config_beside(read(run))
        beside = run.name == MODEL and is_run(run.parent)
        return run, read_config(run.parent) if beside else None
    except OSError as error:  # a name that is too long, a folder that may not be listed
        raise CheckpointError(f"{run} cannot be read: {error.strerror or error}") from error


def _in_folder(run: Path) -> tuple[Path, dict[str, Any] | None]:
    if (run / CONFIG).exists() and (run / MODEL).exists():
        config = read_config(run)
        return _newer_than_model(run, config) or (run / MODEL, config)
    cut_short = latest(run)
    if cut_short is not None:
        return cut_short.path, config_beside(cut_short)
    if any(run.iterdir()) and not _written(run):
        raise CheckpointError(
            f"{run} is not a run folder: the run in it has written nothing yet; if that was "
            "killed, begin it anew"
        )
    return run / MODEL, read_config(run)


def _newer_than_model(run: Path, config: dict[str, Any]) -> tuple[Path, dict[str, Any]] | None:
    """The checkpoint of a run that was cut short in a folder with a model from before."""
    last = config.get(LAST, math.inf)  # an earlier version did not say it
    newer = {path for number, path in numbered(run) if number > last}
    with suppress(CheckpointError):  # the model is whole
        found = latest(run) if newer else None
        if found is not None and found.path in newer and progress(found)[0]:
            settings = config_beside(found)
            return None if settings is None else (found.path, settings)
    return None


def run_folder(run: Path) -> Path:
    """The run folder of `run`: the folder itself, the model file in it or its newest checkpoint.

    Raises CheckpointError if it is not a run, or if `run` is another checkpoint.
    """
    path, config = _located(run)
    if config is None:
        raise CheckpointError(
            f"{run} is neither a run folder nor the {MODEL} in one; wanted a folder that "
            "`mlpx train` wrote"
        )
    newest = latest(path.parent) if NAME.fullmatch(run.name) and run.is_file() else None
    if newest is not None and newest.path.name != run.name:
        raise CheckpointError(
            f"{run} is not the newest checkpoint of its run, which goes on from {newest.path}; "
            "name the folder, or delete the newer ones to go back to that one"
        )
    return path.parent


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path)
    except FileNotFoundError:
        raise CheckpointError(f"{path.parent} is not a run folder: it has no {path.name}") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {brief(error)}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds no JSON object")
    return content
