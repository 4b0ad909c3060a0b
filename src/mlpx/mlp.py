"""The multi-layer perceptron: the front door. Each method hands over to the room that does it."""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike
from typing import Any, Self

from mlpx.backend import Backend
from mlpx.engines.predict import outputs, predictions, probabilities
from mlpx.engines.profile import Profile, profile
from mlpx.errors import known_options, refuse_unknown
from mlpx.network.checkpoint import load, save
from mlpx.network.network import Network
from mlpx.network.summary import summarise
from mlpx.training.fit import fit
from mlpx.training.history import History
from mlpx.training.scores import evaluate
from mlpx.types import Array


class MLP(Network):
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

    def summary(self) -> str:
        """A table of layers, output shapes and parameter counts."""
        return summarise(self)

    def fit(self, x: Any, y: Any, **options: Any) -> History:
        """Train on x (n, d_in) and y; `mlpx.training.fit.fit` lists the options."""
        refuse_unknown(options, fit)
        with self.backend.failing("training"):
            return fit(self, x, y, **options)

    def profile(self, x: Any, y: Any, **options: Any) -> Profile:
        """The time of each part of a step; `mlpx.engines.profile.profile` lists the options."""
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

        One yes-or-no output gives two columns, of no and yes. Raises InputError if the model's loss
        has no probabilities.
        """
        return probabilities(self, x, batch_size=batch_size)

    @known_options
    def predict(self, x: Any, *, batch_size: int = 1024) -> Array:
        """The likeliest class of each row of x (n,); for regression the values (n, d_out).

        One yes-or-no output gives 0 or 1 (n,), several labels 0 or 1 for each (n, d_out).
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
        """The mean loss, and metrics, of x (n, d_in) against y.

        `metrics` are names from `mlpx.metrics`; the default is accuracy for classes, none for
        values.
        """
        with self.backend.failing("evaluating"):
            return evaluate(
                self, x, y, sample_weight=sample_weight, metrics=metrics, batch_size=batch_size
            )

    @known_options
    def save(self, path: str | PathLike[str], *, training_state: bool = True) -> None:
        """Write the model to `path` as safetensors, atomically; see `mlpx.network.checkpoint`."""
        save(self, path, training_state=training_state)

    @classmethod
    @known_options
    def load(cls, path: str | PathLike[str], *, device: str | Backend | None = None) -> Self:
        """Read a model written by `save`.

        Raises CheckpointError for a truncated, foreign or inconsistent file.
        """
        return load(path, device=device, cls=cls)
