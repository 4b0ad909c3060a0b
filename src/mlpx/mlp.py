"""`MLP`, the front door: each method delegates to the package that does the work."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from os import PathLike
from typing import Any

from mlpx.backend import Backend
from mlpx.engines.native.mapped import watched
from mlpx.engines.predict import outputs, predictions, probabilities
from mlpx.engines.profile import Profile, profile
from mlpx.errors import known_options, refuse_unknown
from mlpx.export.onnx import Graph, export_onnx
from mlpx.export.plain import export_numpy
from mlpx.network.checkpoint import save
from mlpx.network.network import Network
from mlpx.network.saved import load
from mlpx.network.summary import summarise
from mlpx.training.callbacks import check_callbacks
from mlpx.training.fit import fit
from mlpx.training.history import History
from mlpx.training.scores import evaluate
from mlpx.training.whole_files import WholeFiles
from mlpx.types import Array


class MLP(Network):
    """A multi-layer perceptron.

    `layers` lists the widths, input first: `MLP([784, 50, 10])`. Entries after the first may be
    layers (`Dense(50, activation="sigmoid")`, `Rescale(1 / 255)`), activations, or the name of
    either. A number means a Dense layer with `activation`; the last one has none, so the network
    outputs logits (values for regression). A normalisation goes between a Dense layer and its
    activation like this: `[20, Dense(64), BatchNorm(), "relu", 2]`.

    `loss` is what training minimises and decides what the outputs mean. If the loss applies the
    softmax (or the sigmoid) itself, that activation is dropped from the last layer:
    `predict_logits` returns the logits before it, `predict_proba` the probabilities. `initializer`
    overrides the activation's default for weights. `penalty` ("l2", `L1(1e-5)`) is added to the
    training loss for the weights of every layer without a penalty of its own; `evaluate` leaves it
    out. `seed` fixes weights, batch order and dropout; None draws a fresh one. `device` is "cpu",
    "cuda", "cuda:1" or "auto": CUDA if there is a usable device, and each `fit` runs on whichever
    is estimated to be faster for its batch size, as `history.notes` say. The default is the
    environment variable MLPX_DEVICE, or else the CPU.

    Raises InputError, InputTypeError, UnknownNameError or DeviceError.
    """

    def summary(self) -> str:
        """A table of layers, output shapes and parameter counts."""
        return summarise(self)

    def fit(self, x: Any, y: Any, **options: Any) -> History:
        """Train on x (n, d_in) and y; `mlpx.training.fit.fit` lists the options.

        Raises DataError if a memory-mapped file that it reads shrinks meanwhile.
        """
        refuse_unknown(options, fit)
        read = x, y, options.get("validation_data")
        with self.backend.failing("training"), watched(*read) as files:
            if files is not None:
                given = check_callbacks(options.get("callbacks", ()))
                options["callbacks"] = [*given, WholeFiles(files)]
            return fit(self, x, y, **options)

    def profile(self, x: Any, y: Any, **options: Any) -> Profile:
        """The time each part of a step takes; `mlpx.engines.profile.profile` lists the options."""
        refuse_unknown(options, profile)
        with self.backend.failing("profiling"):
            return profile(self, x, y, **options)

    @known_options
    def predict_logits(self, x: Any, *, batch_size: int = 1024) -> Array:
        """The network's raw outputs for x (n, d_in): (n, d_out), on the model's device."""
        return outputs(self, x, batch_size=batch_size)

    @known_options
    def predict_proba(self, x: Any, *, batch_size: int = 1024) -> Array:
        """The probability of each class, or label, for x (n, d_in): (n, d_out).

        A single binary output gives two columns, no and yes. Raises InputError if the model's loss
        has no probabilities.
        """
        return probabilities(self, x, batch_size=batch_size)

    @known_options
    def predict(self, x: Any, *, batch_size: int = 1024) -> Array:
        """The most likely class of each row of x (n,); for regression the values (n, d_out).

        A single binary output gives 0 or 1 (n,); several labels give 0 or 1 for each (n, d_out).
        """
        return predictions(self, x, batch_size=batch_size)

    @known_options
    def evaluate(
        self,
        x: Any,
        y: Any,
        *,
        sample_weight: Any = None,
        metrics: Iterable[str] | None = None,
        batch_size: int = 1024,
    ) -> dict[str, float]:
        """The mean loss and the metrics on x (n, d_in) and y.

        `metrics` are names from `mlpx.metrics`; the default is accuracy for classes and none for
        values.
        """
        with self.backend.failing("evaluating"), watched(x, y):
            return evaluate(
                self, x, y, sample_weight=sample_weight, metrics=metrics, batch_size=batch_size
            )

    @known_options
    def save(self, path: str | PathLike[str], *, training_state: bool = True) -> None:
        """Write the model to `path` as safetensors, atomically; see `mlpx.network.checkpoint`."""
        save(self, path, training_state=training_state)

    @classmethod
    @known_options
    def load(cls, path: str | PathLike[str], *, device: str | Backend | None = None) -> MLP:
        """Read a model written by `save`.

        Raises CheckpointError if the file is truncated, inconsistent or not a model of mlpx.
        """
        return load(path, device=device, cls=MLP)

    @known_options
    def export_onnx(
        self,
        path: str | PathLike[str],
        *,
        names: Iterable[Any] | None = None,
        doc: str = "",
        metadata: Mapping[str, str] | None = None,
        before: Callable[[Graph], str] | None = None,
        after: Callable[[Graph, str], str] | None = None,
    ) -> None:
        """Write the model to `path` as ONNX, atomically; see `mlpx.export.onnx.export_onnx`.

        Of the model of a table this is the network alone, which reads the matrix that its encoder
        makes: `TableClassifier.export_onnx` and `mlpx export` write what takes the columns.

        Raises InputError for a layer that has no form in ONNX and for names that do not fit,
        InputTypeError, MissingExtraError without onnx, CheckpointError.
        """
        with self.backend.failing("exporting"):
            export_onnx(
                self, path, names=names, doc=doc, metadata=metadata, before=before, after=after
            )

    @known_options
    def export_numpy(
        self,
        path: str | PathLike[str],
        *,
        names: Iterable[Any] | None = None,
        before: str | None = None,
        after: str | None = None,
    ) -> None:
        """Write the model as a module of plain NumPy at `path`, NAME.py, and its parameters in
        NAME.safetensors; see `mlpx.export.plain.export_numpy`. Of the model of a table this is the
        network alone, as in `export_onnx`.

        Raises InputError, InputTypeError, CheckpointError.
        """
        with self.backend.failing("exporting"):
            export_numpy(self, path, names=names, before=before, after=after)
