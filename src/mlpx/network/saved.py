"""Model files, read: no file is trusted.

Names, shapes and dtypes are compared with the architecture before anything is allocated for it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from mlpx.backend import Backend, get_backend
from mlpx.errors import CheckpointError, DeviceMemoryError, InputTypeError, MlpxError
from mlpx.network.checkpoint import (
    BESIDE,
    CHECKSUM,
    FORMAT,
    MOST_HEADER_BYTES,
    VERSION,
    Tensors,
    checksum,
)
from mlpx.network.network import Network
from mlpx.network.state import TrainingState
from mlpx.optimizers import Optimizer
from mlpx.records import require, require_count
from mlpx.untrusted import brief, irregular, parse_json

METADATA = "__metadata__"
"""Of safetensors: the name in a file's description of itself that is no tensor's."""
WRONG_HEADER = (
    *(AttributeError, LookupError, TypeError, ValueError, ArithmeticError),
    RecursionError,
)
MOST_LAYERS, MANY_LAYERS = 100, 10_000
"""How many layers a file may describe per array that it holds, and in any case."""
MOST_OBJECTS = 400_000
MOST_STEPS = 2**53
ROOM_PER_HEADER_BYTE, ROOM_BYTES = 8, 512 << 10
NAMED = 10
"""How many names a message lists, and how many missing ones end the comparison."""
N = TypeVar("N", bound=Network)


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
    from safetensors import SafetensorError
    from safetensors.numpy import load as from_bytes

    try:
        content, described = _container(path)
        header = _header(path, described)
        tensors = from_bytes(content)
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist; wanted a model written by save") from None
    except CheckpointError:
        raise
    except (SafetensorError, OSError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is not a whole safetensors file: {brief(error)}") from error
    if header["version"] > 1 and header.get(CHECKSUM) != checksum(header, tensors):
        raise CheckpointError(f"{path} is damaged: its content does not match its checksum")
    return header, tensors


def _container(path: Path) -> tuple[bytes, Any]:
    """The bytes of the file, not mapped because another process may cut it short, and its
    description of itself.

    Raises ValueError for what safetensors lets pass, or should not be given to read: a pipe, a
    header out of proportion, a name that the header has twice, and another size than it claims.
    """
    trouble = irregular(path)
    if trouble is not None:
        raise ValueError(f"it {trouble}")
    with open(path, "rb") as file:
        size_bytes = os.fstat(file.fileno()).st_size
        start = file.read(8)
        header_bytes = int.from_bytes(start, "little")
        if header_bytes > min(MOST_HEADER_BYTES, size_bytes):
            raise ValueError(f"it claims a header of {header_bytes:,} bytes")
        text = file.read(header_bytes)
        described = parse_json(text.decode(), most=MOST_OBJECTS)
        ends = (d["data_offsets"][1] for name, d in described.items() if name != METADATA)
        claimed = len(start) + header_bytes + max(ends, default=0)
        if claimed != size_bytes:
            raise ValueError(f"it has {size_bytes:,} bytes; its header describes {claimed:,}")
        file.seek(0)
        content = file.read()
    if content[: len(start) + header_bytes] != start + text or len(content) != size_bytes:
        raise ValueError("it changes while it is read")
    # Where safetensors has no memory for the tensors and their names, it ends the process.
    np.empty(size_bytes + ROOM_PER_HEADER_BYTE * header_bytes + ROOM_BYTES, np.uint8)
    return content, described


def _header(path: Path, described: Any) -> dict[str, Any]:
    try:
        text = described[METADATA]["mlpx"]
        if not isinstance(text, str):
            raise TypeError
        header: dict[str, Any] = parse_json(text, most=MOST_OBJECTS)
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
