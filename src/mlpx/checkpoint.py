"""Model files: safetensors, written atomically, with the architecture in the header.

The file holds one tensor a parameter under its own name ("0.W"), and, unless left out, the optimizer's
moments ("moment/m/0.W") with step and epoch, so that training goes on exactly where it stopped.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlpx.errors import CheckpointError, MlpxError

if TYPE_CHECKING:
    from mlpx.backend import Backend
    from mlpx.model import MLP
    from mlpx.parameters import Layout

FORMAT = "mlpx-model"
VERSION = 1
MAX_PARAMETERS = 1 << 40


def save(model: MLP, path: str | os.PathLike[str], *, training_state: bool = True) -> None:
    """Write `model` to `path`; the file appears whole or not at all.

    Raises CheckpointError if it cannot be written, naming the path and the reason.
    """
    from safetensors.numpy import save as to_bytes

    to_numpy = model.backend.to_numpy
    tensors = {name: np.ascontiguousarray(to_numpy(p)) for name, p in model.parameters.items()}
    header: dict[str, Any] = {"format": FORMAT, "version": VERSION, "model": model.config()}
    state = model.training_state
    if training_state and state is not None:
        header["training"] = {
            "optimizer": state.optimizer.config(),
            "step": state.step,
            "epoch": state.epoch,
        }
        for moment, flat in state.moments.items():
            for name, view in model.layout.views(to_numpy(flat)).items():
                tensors[f"moment/{moment}/{name}"] = np.ascontiguousarray(view)
    write_atomically(Path(path), to_bytes(tensors, metadata={"mlpx": json.dumps(header)}))


def write_atomically(path: Path, content: bytes) -> None:
    """Put `content` at `path`: on the disk first, then under its name.

    Raises CheckpointError.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise CheckpointError(f"cannot write {path}: {error.strerror or error}") from error


def load(path: str | os.PathLike[str], *, device: str | Backend | None = None) -> MLP:
    """The model in the file at `path`.

    Raises CheckpointError for a file that is missing, truncated, foreign or inconsistent.
    """
    from mlpx.model import MLP

    path = Path(path)
    header, tensors = _read(path)
    try:
        config = header["model"]
        model = MLP.from_config(config, device=device)
    except (MlpxError, KeyError, TypeError, ValueError) as error:
        if type(error).__name__.startswith("Device"):
            raise
        raise CheckpointError(f"{path} describes a model that cannot be built: {error}") from error
    values = {name: value for name, value in tensors.items() if not name.startswith("moment/")}
    _fill(path, model.layout, model.flat, values, model)
    if "training" in header:
        _load_training(path, model, header["training"], tensors)
    return model


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist; wanted a model written by save") from None
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path} is not a whole safetensors file: {error}") from error
    try:
        header = json.loads(metadata["mlpx"])
        found = header["format"], header["version"]
    except (KeyError, TypeError, ValueError):
        raise CheckpointError(
            f"{path} is a safetensors file but not a model of mlpx: its header has no valid 'mlpx' entry"
        ) from None
    if found != (FORMAT, VERSION):
        raise CheckpointError(f"{path} has format {found}; this version reads {(FORMAT, VERSION)}")
    return header, tensors


def _fill(
    path: Path, layout: Layout, flat: Any, values: dict[str, np.ndarray], model: MLP, prefix: str = ""
) -> None:
    """Copy tensors into the views of `flat`, after all of them were checked."""
    views = layout.views(flat)
    if set(values) != set(views):
        missing, extra = sorted(set(views) - set(values)), sorted(set(values) - set(views))
        raise CheckpointError(
            f"{path} does not fit its own architecture: missing {missing}, unexpected {extra}"
        )
    for name, value in values.items():
        if value.shape != views[name].shape or value.dtype != model.dtype:
            raise CheckpointError(
                f"{path}: {prefix}{name} is {value.dtype} {value.shape}; its architecture says "
                f"{model.dtype} {views[name].shape}"
            )
    for name, value in values.items():
        views[name][...] = model.backend.asarray(value)


def _load_training(
    path: Path, model: MLP, described: dict[str, Any], tensors: dict[str, np.ndarray]
) -> None:
    from mlpx.optimizers import Optimizer
    from mlpx.training import TrainingState

    try:
        optimizer = Optimizer.from_config(described["optimizer"])
        step, epoch = int(described["step"]), int(described["epoch"])
    except (MlpxError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} has a training state that cannot be read: {error}") from error
    moments = {}
    for moment in optimizer.moments:
        prefix = f"moment/{moment}/"
        moments[moment] = model.backend.zeros(model.layout.size, model.dtype)
        values = {
            name.removeprefix(prefix): value
            for name, value in tensors.items()
            if name.startswith(prefix)
        }
        _fill(path, model.layout, moments[moment], values, model, prefix)
    model.training_state = TrainingState(optimizer, moments, step=step, epoch=epoch)
