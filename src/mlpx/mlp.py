"""The multi-layer perceptron: layers, and one flat vector of parameters with named views."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from mlpx.backend import Backend, get_backend, leaves_choice
from mlpx.errors import (
    DeviceError,
    DeviceMemoryError,
    InputError,
    known_options,
    refuse_unknown,
)
from mlpx.kernels.activations import Activation
from mlpx.kernels.initializers import Initializer
from mlpx.kernels.losses import Loss
from mlpx.kernels.penalties import Penalty
from mlpx.layers import Layer
from mlpx.network.architecture import check_dtype, lay_out, leave_to_loss, specify
from mlpx.plan.layout import aligned_zeros
from mlpx.random import Purpose, check_seed, words
from mlpx.types import Array

if TYPE_CHECKING:
    from mlpx.engines.profile import Profile
    from mlpx.network.state import TrainingState
    from mlpx.training.history import History
    from mlpx.training.prepared import Prepared
    from mlpx.training.scores import Kept


class MLP:
    """A multi-layer perceptron.

    `layers` lists the widths, input first: `MLP([784, 50, 10])`. Entries after the first may be
    layers (`Dense(50, activation="sigmoid")`, `Rescale(1 / 255)`), activations, or the name of
    either; a number means a Dense layer of `activation`, the last one of none, so that the network
    puts out logits (values for regression). Between a Dense layer and its activation a
    normalisation stands like this: `[20, Dense(64), BatchNorm(), "relu", 2]`.

    `loss` says what training lowers and what the outputs mean. Where it takes the softmax (or the
    sigmoid) of the outputs itself, a last layer with that activation leaves it to the loss:
    `predict_logits` are the logits before, `predict_proba` the probabilities. `initializer`
    overrides the activation's own rule for weights. `penalty` ("l2", `L1(1e-5)`) is added to the
    training loss for the weights of every layer that has none of its own; `evaluate` leaves it out.
    `seed` fixes weights, batch order and dropout; None draws a fresh one. `device` is "cpu",
    "cuda", "cuda:1" or "auto": CUDA if there is a usable device, and each `fit` on whichever is
    estimated to be the faster for its batch size, as `history.notes` say; without it the
    environment variable MLPX_DEVICE, or the CPU.

    Raises InputError, InputTypeError, UnknownNameError or DeviceError.
    """

    @known_options
    def __init__(
        self,
        layers: Sequence[int | str | Layer | Activation],
        *,
        activation: str | Activation = "relu",
        loss: str | Loss = "softmax_cross_entropy",
        initializer: str | Initializer | None = None,
        penalty: str | Penalty | None = None,
        dtype: Any = "float32",
        seed: int | None = 0,
        device: str | Backend | None = None,
    ) -> None:
        self.loss = Loss.resolve(loss)
        self.d_in, given = specify(layers, activation, initializer)
        self.layers = leave_to_loss(given, self.loss)
        if penalty is not None:
            self.layers = tuple(f.penalised(Penalty.resolve(penalty)) for f in self.layers)
        self.dtype = check_dtype(dtype)
        self.seed = check_seed(seed)
        self.backend = get_backend(device)
        self.places_itself = leaves_choice(device)
        """Whether `fit` chooses the device: device="auto"."""
        self.layout, self.widths = lay_out(self.d_in, self.layers, self.dtype)
        self.d_out = self.widths[-1]
        self.loss.check_outputs(self.d_out)
        self.flat = self.backend.asarray(self._draw())
        self.training_state: TrainingState | None = None
        self.engine: str | None = None
        """The engine that ran the last `fit`, and `engine_reason` why."""
        self.engine_reason: str | None = None
        self.kept: Kept | None = None
        """What predictions leave for the next one."""
        self.prepared: list[Prepared] = []
        """What fits leave for the next one."""

    def _draw(self) -> np.ndarray:
        """Starting values of the flat vector, on the host; each parameter has its own stream."""
        flat = self._reserve()
        views = self.layout.views(flat)
        for item, (name, place) in enumerate(sorted(self.layout.places.items())):
            parameter = place.parameter
            views[name][...] = parameter.initializer.sample(
                parameter.shape,
                lambda count, item=item: words(  # type: ignore[misc]
                    self.seed, Purpose.WEIGHTS, count=count, item=item
                ),
            )
        return flat

    def _reserve(self) -> np.ndarray:
        try:
            return aligned_zeros(self.layout.size, self.dtype)
        except (MemoryError, ValueError, OverflowError) as error:
            raise DeviceMemoryError(
                f"layers of widths {self.widths} have {self.parameter_count:,} parameters of "
                f"{self.dtype}, more than this machine can hold"
            ) from error

    @property
    def device(self) -> str:
        """Where the parameters are: "cpu", "cuda:0", ..."""
        return self.backend.device

    @property
    def parameters(self) -> dict[str, Array]:
        """Each parameter by name, as a view: `model.parameters["0.W"]` is layer 0's weights."""
        views = self.layout.views(self.flat)
        return {name: views[name] for name in sorted(views)}

    @property
    def parameter_count(self) -> int:
        """How many numbers training adjusts."""
        return len(self.layout)

    def set_parameters(self, values: dict[str, Any]) -> None:
        """Overwrite parameters by name; other names keep their values.

        Raises InputError for an unknown name or a wrong shape, InputTypeError for what is no array
        of numbers, before anything is changed.
        """
        views, ready = self.parameters, {}
        for name, value in values.items():
            if name not in views:
                raise InputError(f"{name!r} is no parameter of this model; it has {list(views)}")
            ready[name] = self.backend.asarray(value, dtype=self.dtype)
            if ready[name].shape != views[name].shape:
                raise InputError(
                    f"{name}.shape = {ready[name].shape}; this model's is {views[name].shape}"
                )
        with self.backend.failing("setting parameters"):
            for name, value in ready.items():
                views[name][...] = value

    def to(self, device: str | Backend) -> Self:
        """Move the parameters and the training state to `device`; returns the model itself."""
        self.move(get_backend(device))
        self.places_itself = leaves_choice(device)
        return self

    def move(self, backend: Backend) -> None:
        """As `to`; a model with device="auto" keeps choosing."""
        if backend is not self.backend:
            host = aligned_zeros(self.layout.size, self.dtype)
            host[...] = self.backend.to_numpy(self.flat)
            moved = backend.asarray(host)
            if self.training_state is not None:
                self.training_state.move(self.backend, backend)
            self.flat, self.backend = moved, backend
            self.kept, self.prepared = None, []

    def summary(self) -> str:
        """A table of layers, output shapes and parameter counts."""
        from mlpx.network.summary import summarise

        return summarise(self)

    def fit(self, x: Any, y: Any, **options: Any) -> History:
        """Train on x (n, d_in) and y; `mlpx.training.fit.fit` lists the options."""
        from mlpx.training.fit import fit

        refuse_unknown(options, fit)
        with self.backend.failing("training"):
            return fit(self, x, y, **options)

    def profile(self, x: Any, y: Any, **options: Any) -> Profile:
        """The time of each part of a step; `mlpx.engines.profile.profile` lists the options."""
        from mlpx.engines.profile import profile

        refuse_unknown(options, profile)
        with self.backend.failing("profiling"):
            return profile(self, x, y, **options)

    @known_options
    def predict_logits(self, x: Any, *, batch_size: int = 1024) -> Array:
        """The network's raw outputs for x (n, d_in): (n, d_out), on the model's device."""
        from mlpx.training.scores import outputs

        return outputs(self, x, batch_size=batch_size)

    @known_options
    def predict_proba(self, x: Any, *, batch_size: int = 1024) -> Array:
        """The probability of each class, or label, for x (n, d_in): (n, d_out).

        One yes-or-no output gives two columns, of no and yes. Raises InputError if the model's loss
        has no probabilities.
        """
        from mlpx.training.scores import probabilities

        return probabilities(self, x, batch_size=batch_size)

    @known_options
    def predict(self, x: Any, *, batch_size: int = 1024) -> Array:
        """The likeliest class of each row of x (n,); for regression the values (n, d_out).

        One yes-or-no output gives 0 or 1 (n,), several labels 0 or 1 for each (n, d_out).
        """
        from mlpx.training.scores import predictions

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
        """The mean loss, and metrics, of x (n, d_in) against y.

        `metrics` are names from `mlpx.metrics`; the default is accuracy for classes, none for
        values.
        """
        from mlpx.training.scores import evaluate

        with self.backend.failing("evaluating"):
            return evaluate(
                self, x, y, sample_weight=sample_weight, metrics=metrics, batch_size=batch_size
            )

    @known_options
    def save(self, path: str | PathLike[str], *, training_state: bool = True) -> None:
        """Write the model to `path` as safetensors, atomically; see `mlpx.network.checkpoint`."""
        from mlpx.network.checkpoint import save

        save(self, path, training_state=training_state)

    @classmethod
    @known_options
    def load(cls, path: str | PathLike[str], *, device: str | Backend | None = None) -> MLP:
        """Read a model written by `save`.

        Raises CheckpointError for a truncated, foreign or inconsistent file.
        """
        from mlpx.network.checkpoint import load

        return load(path, device=device)

    def config(self) -> dict[str, Any]:
        """The architecture as plain JSON values; `from_config` is the inverse."""
        return {
            "layers": [self.d_in, *(layer.config() for layer in self.layers)],
            "loss": self.loss.config(),
            "dtype": self.dtype.name,
            "seed": self.seed,
        }

    @staticmethod
    def shapes(config: dict[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Name and shape of the parameters of the model that `config` describes, layer by layer;
        builds nothing.
        """
        check_dtype(config["dtype"])
        width, *described = config["layers"]
        if not described:
            specify([width], "identity", None)  # refuses it
        for i, entry in enumerate(described):
            width, (layer,) = specify([width, Layer.from_config(entry)], "identity", None)
            for parameter in layer.parameters(width):
                yield f"{i}.{parameter.name}", parameter.shape
            width = layer.width(width)

    @classmethod
    def from_config(cls, config: dict[str, Any], *, device: str | Backend | None = None) -> MLP:
        """An untrained model of the architecture `config` describes."""
        d_in, *layers = config["layers"]
        return cls(
            [d_in, *(Layer.from_config(layer) for layer in layers)],
            loss=Loss.from_config(config["loss"]),
            dtype=config["dtype"],
            seed=config["seed"],
            device=device,
        )

    def __getstate__(self) -> dict[str, Any]:
        """What pickle keeps: host arrays, and the name of the device."""
        training = self.training_state
        if training is not None:
            training = training.copied(self.backend.to_numpy)
        state = {"flat": self.backend.to_numpy(self.flat), "training_state": training}
        return {**vars(self), **state, "backend": self.device, "kept": None, "prepared": []}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """On the device the model was on, or on the CPU where there is no such device."""
        try:
            backend = get_backend(state["backend"])
        except DeviceError:
            backend = get_backend("cpu")
        vars(self).update(state, backend=backend)
        host = aligned_zeros(self.layout.size, self.dtype)
        host[...] = state["flat"]
        self.flat = backend.asarray(host)
        if self.training_state is not None:
            self.training_state = self.training_state.copied(lambda m: backend.asarray(m.copy()))

    def __repr__(self) -> str:
        widths = "-".join(map(str, self.widths))
        return f"<MLP {widths}, {self.parameter_count} parameters, {self.dtype}, {self.device}>"
