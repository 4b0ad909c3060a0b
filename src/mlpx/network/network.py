"""A network: layers, and one flat vector of parameters with named views, on a device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Self

import numpy as np

from mlpx.backend import Backend, get_backend, leaves_choice
from mlpx.errors import DeviceError, DeviceMemoryError, InputError, known_options
from mlpx.kernels.activations import Activation
from mlpx.kernels.initializers import Initializer
from mlpx.kernels.losses import Loss
from mlpx.kernels.penalties import Penalty
from mlpx.layers import Layer
from mlpx.network.architecture import DTYPES, check_dtype, codes_of, lay_out, leave_to_loss, specify
from mlpx.network.state import TrainingState
from mlpx.plan.layout import aligned_zeros
from mlpx.random import Purpose, check_seed, words
from mlpx.records import require_one_of
from mlpx.types import Array


class Network:
    """Layers, a loss, and the parameters of the layers in one flat vector on a device.

    `MLP` documents the arguments; it adds training, prediction and saving.
    """

    about: dict[str, Any] | None = None
    """Plain values that a file keeps beside the parameters, such as how a table becomes rows of x.
    """
    codes: tuple[int, ...] = ()
    """How many codes there are for each of the last columns of x; () if they hold no codes."""

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
        d_in, given = specify(layers, activation, initializer)
        loss = Loss.resolve(loss)
        given = leave_to_loss(given, loss)
        if penalty is not None:
            given = tuple(f.penalised(Penalty.resolve(penalty)) for f in given)
        self._lay_out(d_in, given, loss, dtype, seed, device)
        self.flat = self.backend.asarray(self._draw())

    def _lay_out(
        self,
        d_in: int,
        layers: tuple[Layer, ...],
        loss: Loss,
        dtype: Any,
        seed: int | None,
        device: str | Backend | None,
    ) -> None:
        """Set every attribute but `flat`."""
        self.d_in, self.layers, self.loss = d_in, layers, loss
        self.dtype = check_dtype(dtype)
        self.seed = check_seed(seed)
        self.backend = get_backend(device)
        self.places_itself = leaves_choice(device)
        """Whether `fit` chooses the device: device="auto"."""
        self.layout, self.widths = lay_out(self.d_in, self.layers, self.dtype)
        self.d_out = self.widths[-1]
        self.codes = codes_of(d_in, layers)  # once: a prediction of one row takes 3 us
        self.loss.check_outputs(self.d_out)
        self.training_state: TrainingState | None = None
        self.engine: str | None = None
        """The engine that ran the last `fit`, and `engine_reason` why."""
        self.engine_reason: str | None = None
        self.kept: Any = None
        """What a prediction keeps for the next; see `engines.predict`."""
        self.prepared: list[Any] = []
        """What a fit keeps for the next; see `training.prepared`."""

    def _draw(self) -> np.ndarray:
        """Initial values of the flat vector, on the host; each parameter has its own stream."""
        flat = self._reserve()
        views = self.layout.views(flat)
        try:
            for item, (name, place) in enumerate(sorted(self.layout.places.items())):
                parameter = place.parameter
                views[name][...] = parameter.initializer.sample(
                    parameter.shape,
                    lambda count, item=item: words(  # type: ignore[misc]
                        self.seed, Purpose.WEIGHTS, count=count, item=item
                    ),
                )
        except MemoryError as error:
            raise self._too_large() from error
        return flat

    def _reserve(self) -> np.ndarray:
        try:
            return aligned_zeros(self.layout.size, self.dtype)
        except (MemoryError, ValueError, OverflowError) as error:
            raise self._too_large() from error

    def _too_large(self) -> DeviceMemoryError:
        return DeviceMemoryError(
            f"layers of widths {self.widths} have {self.parameter_count:,} parameters of "
            f"{self.dtype}, more than this machine can hold"
        )

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
        """How many trainable numbers there are."""
        return len(self.layout)

    def set_parameters(self, values: dict[str, Any]) -> None:
        """Overwrite parameters by name; the others keep their values.

        Raises InputError for an unknown name or a wrong shape, InputTypeError for a value that is
        not an array of numbers, before anything is changed.
        """
        views, ready = self.parameters, {}
        for name, value in values.items():
            if name not in views:
                raise InputError(f"{name!r} is not a parameter of this model; it has {list(views)}")
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
        """As `to`, but a model with device="auto" keeps choosing its device."""
        if backend is not self.backend:
            host = aligned_zeros(self.layout.size, self.dtype)
            host[...] = self.backend.to_numpy(self.flat)
            moved = backend.asarray(host)
            if self.training_state is not None:
                self.training_state.move(self.backend, backend)
            self.flat, self.backend = moved, backend
            self.kept, self.prepared = None, []

    def copy(self) -> Self:
        """The same network with a copy of the parameters, but without a training state."""
        flat = self.backend.asarray(aligned_zeros(self.layout.size, self.dtype))
        flat[...] = self.flat
        return self.with_parameters(flat, self.backend)

    def with_parameters(self, flat: Array, backend: Backend) -> Self:
        """The same network on a vector (layout.size,) on `backend`, without a training state."""
        made = object.__new__(type(self))
        vars(made).update(vars(self), flat=flat, backend=backend)
        made.training_state = made.engine = made.engine_reason = made.kept = None
        made.prepared, made.places_itself = [], False
        return made

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
        """Names and shapes of the parameters that `config` describes, without building a model."""
        require_one_of("dtype", config["dtype"], DTYPES)
        check_seed(config["seed"])
        width, *described = config["layers"]
        if not described:
            specify([width], "identity", None)  # raises
        for i, entry in enumerate(described):
            width, (layer,) = specify([width, Layer.from_config(entry)], "identity", None)
            for parameter in layer.parameters(width):
                yield f"{i}.{parameter.name}", parameter.shape
            width = layer.outputs(width)

    @classmethod
    def from_config(
        cls, config: dict[str, Any], *, device: str | Backend | None = None, drawn: bool = True
    ) -> Self:
        """An untrained model of the architecture that `config` describes.

        `drawn=False` leaves its parameters zero, for a file that brings them: to draw orthogonal
        ones can take longer than to read the file.
        """
        d_in, *described = config["layers"]
        entries = [d_in, *(Layer.from_config(layer) for layer in described)]
        width, layers = specify(entries, "identity", None)
        loss = Loss.resolve(Loss.from_config(config["loss"]))
        made = cls.__new__(cls)
        layers = leave_to_loss(layers, loss)
        made._lay_out(width, layers, loss, config["dtype"], config["seed"], device)
        made.flat = made.backend.asarray(made._draw() if drawn else made._reserve())
        return made

    def __getstate__(self) -> dict[str, Any]:
        """The state to pickle: host arrays, and the name of the device."""
        training = self.training_state
        if training is not None:
            training = training.copied(self.backend.to_numpy)
        state = {"flat": self.backend.to_numpy(self.flat), "training_state": training}
        return {**vars(self), **state, "backend": self.device, "kept": None, "prepared": []}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore on the device the model was on, or on the CPU if there is no such device."""
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
        name = type(self).__name__
        return f"<{name} {widths}, {self.parameter_count} parameters, {self.dtype}, {self.device}>"
