"""Model files, read: no file is trusted.

safetensors writes them, and does not read them: where memory is short it ends the process. Here
each tensor is read into its array, after its name, shape and dtype were compared with the
architecture.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from operator import itemgetter
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
    MOST_OBJECTS,
    VERSION,
    Tensors,
    checksum,
)
from mlpx.network.network import Network
from mlpx.network.state import TrainingState
from mlpx.optimizers import Optimizer
from mlpx.records import require, require_count
from mlpx.untrusted import brief, open_regular, parse_json

METADATA = "__metadata__"
"""Of safetensors: the name in a file's description of itself that is no tensor's."""
WRONG_HEADER = (
    *(AttributeError, LookupError, TypeError, ValueError, ArithmeticError),
    RecursionError,
)
MOST_LAYERS, MANY_LAYERS = 100, 10_000
"""How many layers a file may describe per array that it holds, and in any case."""
MOST_STEPS = 2**53
MOST_DIMENSIONS = 32
TYPES = {
    "BOOL": "?", "U8": "u1", "U16": "<u2", "U32": "<u4", "U64": "<u8", "I8": "i1", "I16": "<i2",
    "I32": "<i4", "I64": "<i8", "F16": "<f2", "F32": "<f4", "F64": "<f8", "C64": "<c8",
}  # fmt: skip
"""The dtypes of safetensors that NumPy has too."""
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
    model.about = saved.about
    return model


@dataclass(frozen=True)
class Place:
    """A tensor in a file, and the byte at which it begins."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    at: int = 0

    @property
    def size_bytes(self) -> int:
        """How many bytes it takes."""
        return math.prod(self.shape) * self.dtype.itemsize


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
    about: dict[str, Any] | None = None

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
    with ExitStack() as held:
        with _telling_of_the_file(path):
            file = held.enter_context(open_regular(path))
            described, places = _container(file)
        header = _header(path, described)
        config, optimizer = header["model"], _optimizer(path, header)
        moments = tuple(optimizer.arrays) if optimizer else ()
        inside = {name: place for name, place in places.items() if not name.startswith(BESIDE)}
        expected = _expected(path, config, inside)
        prefixes = ["", *(f"moment/{moment}/" for moment in moments)]
        shapes = {prefix + name: shape for prefix in prefixes for name, shape in expected.items()}
        _compare(path, inside, shapes, config["dtype"])
        with _telling_of_the_file(path):
            tensors = {name: _array(file, name, place) for name, place in places.items()}
    if header["version"] > 1 and header.get(CHECKSUM) != checksum(header, tensors):
        raise CheckpointError(f"{path} is damaged: its content does not match its checksum")
    state = None if optimizer is None else _training(path, optimizer, header["training"])
    with _telling(path, "has entries beside the model that cannot be read"):
        beside, about = _with_arrays(header.get("beside"), tensors), header.get("about")
        if not isinstance(about, dict | None):
            raise InputTypeError(f"about is {brief(about)}; wanted a JSON object")
    return Saved(
        path,
        config,
        {name: tensors[name] for name in expected},
        state,
        {m: {name: tensors[f"moment/{m}/{name}"] for name in expected} for m in moments},
        beside,
        about,
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


@contextmanager
def _telling_of_the_file(path: Path) -> Iterator[None]:
    """Turn what is wrong with a file, whatever it describes, into a CheckpointError."""
    try:
        yield
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist; wanted a model written by save") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
    except WRONG_HEADER as error:
        raise CheckpointError(f"{path} is not a whole safetensors file: {brief(error)}") from error


def _container(file: io.BufferedReader[Any]) -> tuple[dict[str, Any], dict[str, Place]]:
    """A file's description of itself, and where its tensors are.

    Raises ValueError.
    """
    size_bytes = os.fstat(file.fileno()).st_size
    start = file.read(8)
    if len(start) < 8:
        raise ValueError(f"it has {size_bytes} bytes")
    header_bytes = int.from_bytes(start, "little")
    if header_bytes > min(MOST_HEADER_BYTES, size_bytes):
        raise ValueError(f"it claims a header of {header_bytes:,} bytes")
    described = parse_json(file.read(header_bytes).decode(), most=MOST_OBJECTS)
    if not isinstance(described, dict):
        raise ValueError("its header is no object")
    found = [_place(name, entry) for name, entry in described.items() if name != METADATA]
    at, places = len(start) + header_bytes, {}
    first = at
    for begin, end, name, place in sorted(found, key=itemgetter(0, 1)):
        if (first + begin, end - begin) != (at, place.size_bytes):
            raise ValueError(
                f"{name!r} is at {begin:,} to {end:,} of its data; wanted {place.size_bytes:,} "
                f"bytes from {at - first:,}"
            )
        places[name], at = replace(place, at=at), first + end
    if at != size_bytes:
        raise ValueError(f"it has {size_bytes:,} bytes; its header describes {at:,}")
    return described, places


def _place(name: str, entry: Any) -> tuple[int, int, str, Place]:
    """Where a header's entry says that a tensor begins and ends. Raises ValueError."""
    try:
        dtype, (begin, end), shape = entry["dtype"], entry["data_offsets"], tuple(entry["shape"])
        counts = all(type(n) is int and 0 <= n < 2**63 for n in (begin, end, *shape))
    except (LookupError, TypeError, ValueError):
        counts = False
    if not counts:
        raise ValueError(f"{name!r} has no dtype, shape and two data_offsets")
    if len(shape) > MOST_DIMENSIONS:
        raise ValueError(f"{name!r} has {len(shape):,} dimensions; wanted {MOST_DIMENSIONS}")
    if not isinstance(dtype, str) or dtype not in TYPES:
        raise ValueError(f"{name!r} has dtype {brief(dtype)}; wanted one of {', '.join(TYPES)}")
    return begin, end, name, Place(shape, np.dtype(TYPES[dtype]))


def _array(file: io.BufferedReader[Any], name: str, place: Place) -> np.ndarray:
    """The tensor there. Raises ValueError."""
    array = np.empty(place.shape, place.dtype)
    content = array.reshape(-1).view(np.uint8)
    file.seek(place.at)
    if file.readinto(memoryview(content)) != place.size_bytes:
        raise ValueError("it changes while it is read")
    if place.dtype == bool and (content > 1).any():
        raise ValueError(f"{name!r} has truth values other than 0 and 1")
    return array


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


def _expected(path: Path, config: Any, tensors: dict[str, Place]) -> dict[str, tuple[int, ...]]:
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


def _compare(
    path: Path, tensors: dict[str, Place], shapes: dict[str, tuple[int, ...]], dtype: str
) -> None:
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
