"""Model files: safetensors, written atomically, with the architecture in the header.

The file holds one tensor per parameter under its own name ("0.W") and, unless left out, the
optimizer's moments ("moment/m/0.W") with step, epoch and position in the epoch, so that training
continues exactly where it stopped. No file is trusted: names, shapes and dtypes are compared with
the architecture before anything is allocated for it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from mlpx.backend import Backend, get_backend
from mlpx.errors import CheckpointError, DeviceMemoryError, MlpxError
from mlpx.files import write_atomically
from mlpx.network.network import Network
from mlpx.network.state import TrainingState
from mlpx.optimizers import Optimizer
from mlpx.records import require_count

FORMAT = "mlpx-model"
VERSION = 1
WRONG_HEADER = (
    *(AttributeError, LookupError, TypeError, ValueError, ArithmeticError),
    RecursionError,
)
MOST_LAYERS, MANY_LAYERS = 100, 10_000
"""How many layers a file may describe per array that it holds, and in any case."""
NAMED = 10
"""How many names a message lists, and how many missing ones end the comparison."""
LINE_BYTES = 160
"""Bytes of the header per array, besides the array's name, and for the training position."""
ROOM_BYTES = 2 << 20
"""Memory for a file's header, and for small things."""
Tensors = dict[str, np.ndarray]
N = TypeVar("N", bound=Network)


def save(model: Network, path: str | os.PathLike[str], *, training_state: bool = True) -> None:
    """Write `model` to `path` atomically.

    Raises CheckpointError with the path and the reason if it cannot be written.
    """
    with model.backend.failing("saving"):
        content = _content(model, training_state)
    write_atomically(Path(path), content)


def _content(model: Network, training_state: bool) -> bytes:
    """The content of a file of `model`."""
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
            "drawn": state.drawn,
            "position": state.position,
            "pace": list(state.pace),
            "begin": state.begin,
            "total": state.total,
            "schedule": state.schedule,
        }
        for moment, flat in state.moments.items():
            for name, view in model.layout.views(to_numpy(flat)).items():
                tensors[f"moment/{moment}/{name}"] = np.ascontiguousarray(view)
    # Without memory for two copies, safetensors would end the process.
    np.empty(2 * sum(tensor.nbytes for tensor in tensors.values()) + ROOM_BYTES, np.uint8)
    return to_bytes(tensors, metadata={"mlpx": json.dumps(header)})


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
    path, backend = Path(path), get_backend(device)
    with backend.failing("loading"):
        header, tensors = _read(path)
    config, optimizer = header["model"], _optimizer(path, header)
    moments = {f"moment/{moment}/": moment for moment in (optimizer.arrays if optimizer else ())}
    expected = _expected(path, config, tensors)
    shapes = {prefix + name: shape for prefix in ("", *moments) for name, shape in expected.items()}
    _compare(path, tensors, shapes, config["dtype"])
    with _telling(path, "describes a model that cannot be built"):
        model = cls.from_config(config, device=backend)
    model.set_parameters({name: tensors[name] for name in expected})
    if optimizer is not None:
        _restore_training(path, model, optimizer, header["training"], tensors, moments)
    return model


@contextmanager
def _telling(path: Path, trouble: str) -> Iterator[None]:
    """Turn any error that an invalid header causes into a CheckpointError."""
    try:
        yield
    except DeviceMemoryError:
        raise
    except (MlpxError, *WRONG_HEADER) as error:
        told = f"no {error}" if isinstance(error, KeyError) else error
        raise CheckpointError(f"{path} {trouble}: {told}") from error


def _read(path: Path) -> tuple[dict[str, Any], Tensors]:
    """The header and all tensors of a file whose header is ours."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            header = _header(path, file.metadata() or {})
            return header, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist; wanted a model written by save") from None
    except CheckpointError:
        raise
    except (SafetensorError, OSError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is not a whole safetensors file: {error}") from error


def _header(path: Path, metadata: dict[str, str]) -> dict[str, Any]:
    try:
        header: dict[str, Any] = json.loads(metadata["mlpx"])
        version = header["format"], header["version"]
        header["model"]
    except (LookupError, TypeError, ValueError, RecursionError):
        raise CheckpointError(
            f"{path} is a safetensors file but not a model of mlpx: "
            "its header has no valid 'mlpx' entry"
        ) from None
    if version != (FORMAT, VERSION):
        raise CheckpointError(
            f"{path} has format {version}; this version reads {(FORMAT, VERSION)}"
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
            f"{path} does not match its own architecture: missing {missing[:NAMED]} and more"
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
    return f"{sorted(names)[:NAMED]}{more}"


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
                f"{path}: {name} is {tensor.dtype} {tensor.shape}; its architecture says "
                f"{dtype} {shapes[name]}"
            )


def _optimizer(path: Path, header: dict[str, Any]) -> Optimizer | None:
    """The optimizer of the file's training state, if there is one."""
    if "training" not in header:
        return None
    with _telling(path, "has a training state that cannot be read"):
        return Optimizer.resolve(Optimizer.from_config(header["training"]["optimizer"]))


def _restore_training(
    path: Path,
    model: Network,
    optimizer: Optimizer,
    described: dict[str, Any],
    tensors: Tensors,
    prefixes: dict[str, str],
) -> None:
    with _telling(path, "has a training state that cannot be read"):
        names = ("step", "epoch", "drawn", "position")
        step, epoch, drawn, position = (described[name] for name in names)
        for name in names:
            require_count(name, described[name], least=0)
        sampling, rows, batch_size = described.get("pace", ("", 0, 0))
        begin, total = int(described.get("begin", 0)), int(described.get("total", 0))
        schedule = {str(name): float(v) for name, v in described.get("schedule", {}).items()}
    moments = {}
    for prefix, moment in prefixes.items():
        moments[moment] = model.backend.zeros(model.layout.size, model.dtype)
        with model.backend.failing("loading"):
            for name, view in model.layout.views(moments[moment]).items():
                view[...] = model.backend.asarray(tensors[prefix + name])
    pace = (sampling, rows, batch_size)
    model.training_state = TrainingState(
        optimizer, moments, step, epoch, position, pace, begin, total, schedule, drawn
    )
