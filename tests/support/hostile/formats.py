"""The kinds of files, each with valid ones to start from."""

from __future__ import annotations

import gzip
import io
import json
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import typer
from safetensors.numpy import load as tensors_of

from hostile import Envelope, Format
from mlpx import (
    EMA,
    MLP,
    SGD,
    Adam,
    BatchNorm,
    BestWeights,
    Checkpoints,
    Dense,
    Dropout,
    EarlyStopping,
    MLPClassifier,
    Residual,
)
from mlpx.cli.task import understand
from mlpx.data import load_dataset, read_idx, write_idx
from mlpx.errors import CheckpointError, InputError
from mlpx.network import checkpoint
from mlpx.schedules import OneCycle, ReduceOnPlateau
from mlpx.training.checkpoint_files import name_of, numbered
from mlpx.training.history import History
from mlpx.training.run import Run
from mlpx.training.run_folder import (
    CONFIG,
    HISTORY,
    MODEL,
    class_labels,
    label_array,
    read_config,
    read_history,
    save_run,
)  # fmt: skip

SMALL = 10_000
"""Columns up to which a model is run; a layer without parameters may have any number."""
JSON_MULTIPLE = 64
"""An object in an object takes 232 bytes of memory and 5 of a file."""
PACKED_MULTIPLE = 1100
"""Zeros deflate to a 1032th."""
X, Y = np.random.default_rng(0).random((12, 4)), np.arange(12) % 3


def _written(write: Callable[[Path], object]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "file")
        return (Path(folder) / "file").read_bytes()


def _same(content: bytes) -> bytes:
    return content


# Models.


def _model(layers: list[Any], optimizer: Any, **options: Any) -> bytes:
    model = MLP(layers, seed=1, **options)
    if optimizer is not None:
        model.fit(X, Y, optimizer=optimizer, steps=3, batch_size=5, verbose=0)
    return _written(model.save)


def _with_more_beside() -> bytes:
    model = MLP([4, 3])
    beside = {"order": np.arange(12), "losses": [1.5, None, {"nested": np.zeros((0, 2))}], "a": "b"}
    return checkpoint.content(model, np.asarray(model.flat), None, beside=beside).to_bytes()


def _models() -> list[Envelope]:
    many = [4, Dense(3, "prelu"), BatchNorm(), Residual([Dense(3, "tanh"), Dropout(0.1)]), 3]
    schedule = ReduceOnPlateau(0.1)
    files = [
        _model([4, 3, 3], Adam(OneCycle(0.01), average=EMA())),
        _model(many, SGD(schedule, momentum=0.9), dtype="float64"),
        _model([4, 3], None),
        _with_more_beside(),
    ]
    return _opened(tuple(files))


def _opened(files: tuple[bytes, ...]) -> list[Envelope]:
    """Model files whole, and such that their headers or their descriptions can be spoilt alone."""
    envelopes = [Envelope(_same, files)]
    for file in files:
        outer, data = parted(file)
        header, inner = json.loads(outer), json.loads(json.loads(outer)["__metadata__"]["mlpx"])
        old = {name: value for name, value in inner.items() if name != checkpoint.CHECKSUM}
        texts = (json.dumps(old).encode(), json.dumps(old | {"version": 1}).encode())
        envelopes += [
            Envelope(lambda text, data=data: sealed(text, data), (outer,), is_json=True),
            Envelope(describing(header, data, tensors_of(file)), texts, is_json=True),
        ]
    return envelopes


def parted(file: bytes) -> tuple[bytes, bytes]:
    size = int.from_bytes(file[:8], "little")
    return file[8 : 8 + size], file[8 + size :]


def sealed(header: bytes, data: bytes) -> bytes:
    return len(header).to_bytes(8, "little") + header + data


def describing(header: Any, data: bytes, tensors: Any) -> Callable[[bytes], bytes]:
    """Puts the text that describes a model into its file, with the right checksum."""

    def seal(content: bytes) -> bytes:
        text = content.decode(errors="replace")
        with suppress(ValueError, AttributeError, RecursionError):
            described = json.loads(text)
            if described.get("version") != 1:
                sum = checkpoint.checksum(described, tensors)
                text = json.dumps(described | {checkpoint.CHECKSUM: sum})
        outer = header | {"__metadata__": {"mlpx": text}}
        return sealed(json.dumps(outer, ensure_ascii=False).encode(errors="replace"), data)

    return seal


def _use_model(model: MLP) -> None:
    json.dumps(model.config()), repr(model)
    if max(model.widths) > SMALL:
        return
    x = np.zeros((4, model.d_in))
    model.predict(x)
    state = model.training_state
    if state is not None and not state.optimizer.full_batch:
        y = {"classes": np.zeros(4, int)}.get(model.loss.targets, np.zeros((4, model.d_out)))
        model.fit(x, y, optimizer=state.optimizer, steps=1, batch_size=2, verbose=0)


# Checkpoints.


class _Waits(Checkpoints):
    """Has each checkpoint on the disk before the next step."""

    def on_steps(self, run: Run) -> None:
        super().on_steps(run)
        self._writer.wait()


def _fit_on(keeper: Checkpoints, steps: int) -> MLP:
    model = MLP([4, 3, 3], seed=1)
    callbacks = [EarlyStopping("val_loss"), BestWeights("loss")]
    options = {"optimizer": Adam(0.01), "callbacks": callbacks, "validation_data": (X, Y)}
    model.fit(X, Y, steps=steps, batch_size=2, verbose=0, threads=1, record_gradient_norms=True,
              checkpoint=keeper, resume=True, **options)  # fmt: skip
    return model


def _checkpoints() -> list[Envelope]:
    with tempfile.TemporaryDirectory() as folder:
        _fit_on(_Waits(folder, every=2, keep=3), 9)  # of six an epoch
        files = tuple(path.read_bytes() for _, path in numbered(Path(folder)))
    return _opened(files)


def _read_checkpoint(path: Path) -> MLP:
    """What a run becomes that goes on from the file, in a folder of its own."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        (Path(folder) / path.name).write_bytes(path.read_bytes())
        return _fit_on(Checkpoints(folder, every=None), 13)


# Run folders.


@cache
def run_files(estimator: bool) -> dict[str, bytes]:
    """The files of a run, of an estimator or of the command line."""
    history = History(epochs=[{"loss": 1.0, "val_loss": 2.5}], samples=12, notes=["a"])
    history.step_loss, history.seconds = np.array([1.5, np.nan]), 0.5
    names = np.array(["no", "perhaps", "yes"])
    with tempfile.TemporaryDirectory() as folder:
        if estimator:
            options = {"hidden_layer_sizes": (3,), "random_state": 0, "solver": Adam(0.01)}
            fitted = MLPClassifier(**options, class_weight={"no": 2.0})
            fitted.partial_fit(X, names[Y], classes=names)
            fitted.save(Path(folder))
        else:
            config = {"dataset": "a.npz", "classes": names.tolist(), "class_names": ["a", "b", "c"],
                      "optimizer": "adam", "learning_rate": 0.1, "layers": [4, 3, 3], "seed": 0,
                      "validation": 0.5, "epochs": None, "dtype": "float32"}  # fmt: skip
            save_run(Path(folder), MLP([4, 3, 3]), history=history, config=config)
        return {name: (Path(folder) / name).read_bytes() for name in (MODEL, HISTORY, CONFIG)}


def _place_run(folder: Path) -> None:
    for name, content in run_files(True).items():
        (folder / name).write_bytes(content)


def _configs() -> list[Envelope]:
    return [Envelope(_same, (run_files(True)[CONFIG], run_files(False)[CONFIG]), is_json=True)]


def _read_run(path: Path) -> Any:
    config, model = read_config(path.parent), MLP.load(path.parent / MODEL)
    labels = class_labels(config, model=model)
    return labels, MLPClassifier.from_run(path.parent)


def _use_run(read: Any) -> None:
    labels, estimator = read
    if labels is not None:
        "".join(map(str, label_array(labels))).encode()
    estimator.predict(X), estimator.predict_proba(X), estimator.get_params()
    estimator._next_order(12, anew=True)


def _histories() -> list[Envelope]:
    return [Envelope(_same, (run_files(False)[HISTORY], run_files(True)[HISTORY]), is_json=True)]


def _use_history(history: History) -> None:
    repr(history), history.joined(history).to_json(), history.samples_per_s
    with suppress(KeyError):  # callbacks may add a column in the middle
        history.best()
        history["loss"]


# Data.


def npy(array: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


def zipped(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as archive:
        for name, member in members.items():
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member, compression)
    return content.getvalue()


def _archives() -> list[Envelope]:
    x, y, text = X.astype(np.float32), Y.astype(np.int64), np.array(["a", "bc", "d"])[Y]
    whole = {"x_train": npy(x), "y_train": npy(y)}
    files = (
        zipped(whole | {"x_test": npy(x[:2]), "y_test": npy(y[:2])}, zipfile.ZIP_DEFLATED),
        zipped({"x_train": npy(np.asfortranarray(X)), "y_train": npy(text)}),
        zipped({"x_train": npy(np.zeros((12, 2, 3), np.uint8)), "y_train": npy(X[:, :1])}),
    )
    return [
        Envelope(_same, files),
        Envelope(lambda x: zipped(whole | {"x_train": x}), (npy(X), npy(X > 0.5))),
        Envelope(lambda y: zipped(whole | {"y_train": y}), (npy(y), npy(text))),
    ]


def _use_data(data: Any) -> None:
    with suppress(typer.BadParameter):
        understand(data, loss=None, layers=None)
    model = MLP([data.x_train.shape[1], 2], loss="mean_squared_error")
    model.predict(data.x_train[:2])


def _tables() -> list[Envelope]:
    arrays = [np.arange(24, dtype=np.uint8).reshape(2, 3, 4), X, np.arange(5, dtype=np.int16)]
    files = tuple(_written(lambda path, a=a: write_idx(path, a)) for a in arrays)
    packed = tuple(gzip.compress(file, mtime=0) for file in files)
    return [
        Envelope(_same, files + packed),
        Envelope(lambda content: gzip.compress(content, mtime=0), files),
    ]


def _use_table(array: np.ndarray) -> None:
    assert array.dtype.isnative
    assert array.flags.writeable
    array.sum()


FORMATS = {
    format.name: format
    for format in (
        Format("checkpoint", name_of(1), _checkpoints, _read_checkpoint, _use_model, JSON_MULTIPLE,
               refusals=(CheckpointError, InputError), room_bytes=checkpoint.ROOM_BYTES),
        Format("model", MODEL, _models, MLP.load, _use_model, JSON_MULTIPLE),
        Format("config", CONFIG, _configs, _read_run, _use_run, JSON_MULTIPLE, place=_place_run),
        Format("history", HISTORY, _histories, lambda path: read_history(path.parent),
               _use_history, JSON_MULTIPLE, place=_place_run),
        Format("npz", "data.npz", _archives, load_dataset, _use_data, PACKED_MULTIPLE),
        Format("idx", "data.idx", _tables, read_idx, _use_table, PACKED_MULTIPLE),
    )
}  # fmt: skip
"""Each kind of file by name."""
