"""Model files: safetensors, written atomically, with the architecture in the header.

The file holds one tensor per parameter under its own name ("0.W") and, unless left out, the
optimizer's moments ("moment/m/0.W") with step, epoch and position in the epoch, so that training
continues exactly where it stopped. A checkpoint of a run is a model file with more beside these
("beside/0"). A checksum over all of it finds what a disk or a copy has changed. `saved` reads them.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlpx.errors import CheckpointError
from mlpx.files import write_atomically
from mlpx.network.network import Network
from mlpx.network.state import TrainingState
from mlpx.optimizers import Optimizer
from mlpx.untrusted import parse_json

FORMAT = "mlpx-model"
VERSION = 2
"""Files of version 1 have neither a checksum nor anything beside the model."""
BESIDE = "beside/"
CHECKSUM = "sha256"
MOST_HEADER_BYTES, MOST_OBJECTS = 8 << 20, 200_000
"""The size of a header, and the objects and lists in it: what a reader takes."""
LINE_BYTES = 160
"""Bytes of the header per array, besides the array's name, and for the training position."""
ROOM_BYTES = 2 << 20
"""Memory for a file's header, and for small things."""
Tensors = dict[str, np.ndarray]


@dataclass(frozen=True)
class Content:
    """What a model file holds, in host memory."""

    header: dict[str, Any]
    tensors: Tensors

    def to_bytes(self) -> bytes:
        """The file, with its checksum.

        Raises CheckpointError for a header that no reader would take.
        """
        from safetensors.numpy import save as to_bytes

        header = _as_read(json.dumps(self.header))
        header[CHECKSUM] = checksum(header, self.tensors)
        # Without memory for two copies, safetensors would end the process.
        np.empty(2 * sum(tensor.nbytes for tensor in self.tensors.values()) + ROOM_BYTES, np.uint8)
        made = to_bytes(self.tensors, metadata={"mlpx": json.dumps(header)})
        size_bytes = int.from_bytes(made[:8], "little")
        if size_bytes > MOST_HEADER_BYTES:
            raise CheckpointError(
                f"the description of the model and its training would take {size_bytes:,} bytes; "
                f"a file may have {MOST_HEADER_BYTES:,}"
            )
        _as_read(made[8 : 8 + size_bytes].decode())
        return made


def _as_read(text: str) -> dict[str, Any]:
    """What a reader makes of the JSON text that is to be written.

    Raises CheckpointError if no reader would take it.
    """
    try:
        found: dict[str, Any] = parse_json(text, most=MOST_OBJECTS)
    except ValueError as error:
        raise CheckpointError(
            f"the description of the model and its training cannot be read again: {error}"
        ) from error
    return found


def checksum(header: dict[str, Any], tensors: Tensors) -> str:
    """The SHA-256 of the header without its checksum and of all tensors, in hexadecimal."""
    described = {name: value for name, value in header.items() if name != CHECKSUM}
    found = hashlib.sha256(json.dumps(described, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        found.update(f"{name} {tensor.dtype} {tensor.shape}".encode())
        found.update(tensor.reshape(-1).view(np.uint8))
    return found.hexdigest()


def content(
    model: Network, flat: np.ndarray, state: TrainingState | None, *, beside: Any = None
) -> Content:
    """The content of a file for `model` with the parameters `flat` and the training state `state`,
    both in host memory; the tensors are views of these.

    beside: plain values, lists and dicts with text as keys, and arrays, for whoever reads them.
    """
    tensors = {name: np.ascontiguousarray(p) for name, p in model.layout.views(flat).items()}
    header: dict[str, Any] = {"format": FORMAT, "version": VERSION, "model": model.config()}
    if state is not None:
        header["training"] = {
            "optimizer": state.optimizer.config(),
            "step": state.step,
            "epoch": state.epoch,
            "drawn": state.drawn,
            "position": state.position,
            "pace": list(state.pace),
            "begin": state.begin,
            "total": state.total,
            "schedule": state.schedule,
        }
        for moment, values in state.moments.items():
            for name, view in model.layout.views(values).items():
                tensors[f"moment/{moment}/{name}"] = np.ascontiguousarray(view)
    if model.about is not None:
        header["about"] = model.about
    if beside is not None:
        header["beside"] = _without_arrays(beside, tensors)
    return Content(header, tensors)


def _without_arrays(value: Any, tensors: Tensors) -> Any:
    """`value` with each array replaced by the name under which it is put into `tensors`."""
    if isinstance(value, np.ndarray):
        name = f"{BESIDE}{sum(name.startswith(BESIDE) for name in tensors)}"
        tensors[name] = np.asarray(value, order="C")  # ascontiguousarray has no scalars
        return {"array": name}
    if isinstance(value, dict):
        return {key: _without_arrays(entry, tensors) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_without_arrays(entry, tensors) for entry in value]
    return value.item() if isinstance(value, np.generic) else value


def save(model: Network, path: str | os.PathLike[str], *, training_state: bool = True) -> None:
    """Write `model` to `path` atomically.

    Raises CheckpointError with the path and the reason if it cannot be written.
    """
    to_numpy = model.backend.to_numpy
    state = model.training_state if training_state else None
    with model.backend.failing("saving"):
        if state is not None:
            state = state.copied(to_numpy)
        file = content(model, to_numpy(model.flat), state).to_bytes()
    write_atomically(Path(path), file)


def size_bytes(model: Network, optimizer: Optimizer) -> int:
    """An upper bound on the file size of `model`, once `optimizer` has trained it."""
    shapes = {name: place.parameter for name, place in model.layout.places.items()}
    copies = 1 + len(optimizer.arrays)
    numbers = sum(parameter.size for parameter in shapes.values()) * model.dtype.itemsize
    lines = sum(len(name) for name in shapes) + LINE_BYTES * len(shapes)
    described = [model.config(), optimizer.config(), model.about]
    return copies * (numbers + lines) + 2 * len(json.dumps(described)) + LINE_BYTES
