"""Model files: safetensors, written atomically, with the architecture in the header.

The file holds one tensor per parameter under its own name ("0.W") and, unless left out, the
optimizer's moments ("moment/m/0.W") with step, epoch and position in the epoch, so that training
continues exactly where it stopped. A checkpoint of a run is a model file with more beside these
("beside/0"). A checksum over all of it finds what a disk or a copy has changed.

No file is trusted: names, shapes and dtypes are compared with the architecture before anything is
allocated for it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from mlpx.backend import Backend, get_backend
from mlpx.errors import CheckpointError, DeviceMemoryError, InputTypeError, MlpxError
from mlpx.files import write_atomically
from mlpx.network.network import Network
from mlpx.network.state import TrainingState
from mlpx.optimizers import Optimizer
from mlpx.records import require, require_count
from mlpx.untrusted import brief, irregular, parse_json

FORMAT = "mlpx-model"
VERSION = 2
"""Files of version 1 have neither a checksum nor anything beside the model."""
BESIDE = "beside/"
CHECKSUM = "sha256"
WRONG_HEADER = (
    *(AttributeError, LookupError, TypeError, ValueError, ArithmeticError),
    RecursionError,
)
MOST_LAYERS, MANY_LAYERS = 100, 10_000
"""How many layers a file may describe per array that it holds, and in any case."""
MOST_HEADER_BYTES, MOST_OBJECTS = 8 << 20, 400_000
MOST_STEPS = 2**53
NAMED = 10
"""How many names a message lists, and how many missing ones end the comparison."""
LINE_BYTES = 160
"""Bytes of the header per array, besides the array's name, and for the training position."""
ROOM_BYTES = 2 << 20
"""Memory for a file's header, and for small things."""
Tensors = dict[str, np.ndarray]
N = TypeVar("N", bound=Network)


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

        header = json.loads(json.dumps(self.header))  # as it will be read
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
        return made


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


def _with_arrays(value: Any, tensors: Tensors) -> Any:
    """The inverse of `_without_arrays`, with lists for tuples."""
    if isinstance(value, dict):
        name = value.get("array") if len(value) == 1 else None
        if isinstance(name, str) and name.startswith(BESIDE):
            return tensors[name]
        return {key: _with_arrays(entry, tensors) for key, entry in value.items()}
    if isinstance(value, list):
        return [_with_arrays(entry, tensors) for entry in value]
    return value


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
    described = 2 * len(json.dumps([model.config(), optimizer.config()])) + LINE_BYTES
    return copies * (numbers + lines) + described


def load(path: str | os.PathLike[str], *, device: str | Backend | None = None, cls: type[N]) -> N:
    """The network in the file at `path`, as a `cls`.

    Raises CheckpointError if the file is missing, truncated, inconsistent or not a model of mlpx.
    """
    backend = get_backend(device)
    with backend.failing("loading"):
        saved = read(path)
    with _telling(saved.path, "describes a model that cannot be built"):
        model = cls.from_config(saved.config, device=backend, drawn=False)
    saved.restore(model)
    return model


@dataclass(frozen=True)
class Saved:
    """A model file that was read and found to be consistent."""

    path: Path
    config: dict[str, Any]
    parameters: Tensors
    state: TrainingState | None
    """Without its moments."""
    moments: dict[str, Tensors]
    beside: Any
    """What the file has beside the model, None if nothing."""

    def restore(self, model: Network) -> None:
        """Give `model`, which is of this architecture, the parameters and the training state."""
        model.set_parameters(self.parameters)
        if self.state is not None:
            model.training_state = self.state_on(model)

    def state_on(self, model: Network) -> TrainingState:
        """The training state, with its moments on the model's device."""
        assert self.state is not None
        moments = {}
        for moment, tensors in self.moments.items():
            moments[moment] = model.backend.zeros(model.layout.size, model.dtype)
            with model.backend.failing("loading"):
                for name, view in model.layout.views(moments[moment]).items():
                    view[...] = model.backend.asarray(tensors[name])
        return replace(self.state, moments=moments, schedule=dict(self.state.schedule))


def read(path: str | os.PathLike[str]) -> Saved:
    """The file at `path`.

    Raises CheckpointError if it is missing, truncated, inconsistent or not a model of mlpx.
    """
    path = Path(path)
    header, tensors = _read(path)
    config, optimizer = header["model"], _optimizer(path, header)
    moments = tuple(optimizer.arrays) if optimizer else ()
    inside = {name: tensor for name, tensor in tensors.items() if not name.startswith(BESIDE)}
    expected = _expected(path, config, inside)
    prefixes = ["", *(f"moment/{moment}/" for moment in moments)]
    shapes = {prefix + name: shape for prefix in prefixes for name, shape in expected.items()}
    _compare(path, inside, shapes, config["dtype"])
    state = None if optimizer is None else _training(path, optimizer, header["training"])
    with _telling(path, "has entries beside the model that cannot be read"):
        beside = _with_arrays(header.get("beside"), tensors)
    return Saved(
        path,
        config,
        {name: tensors[name] for name in expected},
        state,
        {m: {name: tensors[f"moment/{m}/{name}"] for name in expected} for m in moments},
        beside,
    )


@contextmanager
def _telling(path: Path, trouble: str) -> Iterator[None]:
    """Turn any error that an invalid header causes into a CheckpointError."""
    try:
        yield
    except DeviceMemoryError:
        raise
    except (MlpxError, *WRONG_HEADER) as error:
        told = f"no {error}" if isinstance(error, KeyError) else error
        raise CheckpointError(f"{path} {trouble}: {brief(told)}") from error


def _read(path: Path) -> tuple[dict[str, Any], Tensors]:
    """The header and all tensors of a file whose header is ours."""
    from safetensors import SafetensorError, safe_open

    try:
        _check_container(path)
        with safe_open(path, framework="numpy") as file:
            header = _header(path, file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist; wanted a model written by save") from None
    except CheckpointError:
        raise
    except (SafetensorError, OSError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is not a whole safetensors file: {brief(error)}") from error
    if header["version"] > 1 and header.get(CHECKSUM) != checksum(header, tensors):
        raise CheckpointError(f"{path} is damaged: its content does not match its checksum")
    return header, tensors


def _check_container(path: Path) -> None:
    """Raise ValueError for what the library that reads the file next lets pass: a pipe, a header
    out of proportion, and a name that the header has twice.
    """
    trouble = irregular(path)
    if trouble is not None:
        raise ValueError(f"it {trouble}")
    with open(path, "rb") as file:
        size_bytes = int.from_bytes(file.read(8), "little")
        if size_bytes > min(MOST_HEADER_BYTES, path.stat().st_size):
            raise ValueError(f"it claims a header of {size_bytes:,} bytes")
        parse_json(file.read(size_bytes).decode(), most=MOST_OBJECTS)


def _header(path: Path, metadata: dict[str, str]) -> dict[str, Any]:
    try:
        header: dict[str, Any] = parse_json(metadata["mlpx"], most=MOST_OBJECTS)
        kind, version = header["format"], header["version"]
        header["model"]
    except (LookupError, TypeError, ValueError) as error:
        why = f" ({brief(error)})" if isinstance(error, ValueError) else ""
        raise CheckpointError(
            f"{path} is a safetensors file but not a model of mlpx: "
            f"its header has no valid 'mlpx' entry{why}"
        ) from None
    if kind != FORMAT or type(version) is not int or version < 1:
        raise CheckpointError(
            f"{path} has format {brief((kind, version))}; this version reads {FORMAT!r}, 1 to "
            f"{VERSION}"
        )
    if version > VERSION:
        raise CheckpointError(
            f"{path} was written by a newer mlpx, in version {version} of the format; this one "
            f"reads versions 1 to {VERSION}: update mlpx"
        )
    return header


def _expected(path: Path, config: Any, tensors: Tensors) -> dict[str, tuple[int, ...]]:
    """The names and shapes of the parameters that `config` describes.

    A description of far more layers than the file holds is refused before it is read in full.
    """
    shapes, missing = {}, []
    with _telling(path, "describes a model that cannot be built"):
        layers = _count_layers(config["layers"])
        if layers > max(MANY_LAYERS, MOST_LAYERS * len(tensors)):
            raise CheckpointError(f"{layers:,} layers, and only {len(tensors):,} arrays")
        for name, shape in Network.shapes(config):
            shapes[name] = shape
            missing += [name] * (name not in tensors)
            if len(missing) > NAMED:
                break
    if len(missing) > NAMED:
        raise CheckpointError(
            f"{path} does not match its own architecture: missing {brief(missing[:NAMED])} and more"
        )
    return shapes


def _count_layers(described: Any) -> int:
    """How many layers a list describes, nested ones and other list entries included."""
    count, left = 0, [described]
    while left:
        entry = left.pop()
        if isinstance(entry, list):
            parts = [part for part in entry if isinstance(part, dict | list | str)]
            count += len(parts)
        else:
            parts = list(entry.values()) if isinstance(entry, dict) else []
        left += parts
    return count


def _few(names: set[str]) -> str:
    """The first few of the names, as text."""
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return brief(f"{sorted(names)[:NAMED]}{more}")


def _compare(path: Path, tensors: Tensors, shapes: dict[str, tuple[int, ...]], dtype: str) -> None:
    """Raise CheckpointError if the tensors do not match the architecture."""
    if set(tensors) != set(shapes):
        missing, extra = _few(set(shapes) - set(tensors)), _few(set(tensors) - set(shapes))
        raise CheckpointError(
            f"{path} does not match its own architecture: missing {missing}, unexpected {extra}"
        )
    for name, tensor in tensors.items():
        if tensor.shape != shapes[name] or tensor.dtype != np.dtype(dtype):
            raise CheckpointError(
                f"{path}: {brief(name)} is {tensor.dtype} {tensor.shape}; its architecture says "
                f"{dtype} {shapes[name]}"
            )


def _optimizer(path: Path, header: dict[str, Any]) -> Optimizer | None:
    """The optimizer of the file's training state, if there is one."""
    if "training" not in header:
        return None
    with _telling(path, "has a training state that cannot be read"):
        return Optimizer.resolve(Optimizer.from_config(header["training"]["optimizer"]))


def check_count(name: str, value: Any) -> int:
    """`value`, checked to be a count with which float64 and int64 still count on exactly."""
    require_count(name, value, least=0)
    require(name, value, below=MOST_STEPS)
    return int(value)


def _training(path: Path, optimizer: Optimizer, described: dict[str, Any]) -> TrainingState:
    """The training state that a header describes, without its moments."""
    with _telling(path, "has a training state that cannot be read"):
        names = ("step", "epoch", "drawn", "position")
        step, epoch, drawn, position = (check_count(name, described[name]) for name in names)
        sampling, rows, batch_size = described.get("pace", ("", 0, 0))
        if not isinstance(sampling, str):
            raise InputTypeError(f"sampling = {sampling!r}; wanted text")
        rows, batch_size = check_count("rows", rows), check_count("batch_size", batch_size)
        begin, total = (check_count(name, described.get(name, 0)) for name in ("begin", "total"))
        schedule = {name: float(v) for name, v in described.get("schedule", {}).items()}
        require("scale", schedule.get("scale", 1.0), least=0)
    pace = (sampling, rows, batch_size)
    return TrainingState(optimizer, {}, step, epoch, position, pace, begin, total, schedule, drawn)
