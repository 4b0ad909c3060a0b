"""A model's list of layers, made into layers and the layout of their parameters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from mlpx.errors import InputError, InputTypeError
from mlpx.kernels.activations import Activation
from mlpx.kernels.initializers import Initializer
from mlpx.kernels.losses import Loss
from mlpx.layers import ActivationLayer, Dense, Layer, as_layer
from mlpx.plan.layout import Layout, Parameter

DTYPES = ("float32", "float64")


def lay_out(d_in: int, layers: Iterable[Layer], dtype: np.dtype) -> tuple[Layout, list[int]]:
    """The layout of the parameters, and the widths: of the input, then of each layer's output."""
    parameters: dict[str, Parameter] = {}
    widths = [d_in]
    for i, layer in enumerate(layers):
        for parameter in layer.parameters(widths[-1]):
            name = f"{i}.{parameter.name}"
            parameters[name] = replace(parameter, name=name)
        widths.append(layer.outputs(widths[-1]))
    return Layout(parameters, dtype.itemsize), widths


def codes_of(d_in: int, layers: Iterable[Layer]) -> tuple[int, ...]:
    """How many codes there are for each of the last columns of x; () if they hold no codes.

    They do if a layer that takes codes comes first, or behind layers that pass them on.
    """
    width = unchanged = d_in
    for layer in layers:
        if layer.codes:
            return layer.codes[-unchanged:]
        unchanged = min(unchanged, layer.passed_on(width))
        if unchanged < 1:
            break
        width = layer.outputs(width)
    return ()


def specify(
    layers: Sequence[int | str | Layer | Activation],
    activation: str | Activation,
    initializer: str | Initializer | None,
) -> tuple[int, tuple[Layer, ...]]:
    """The input width and the layers that the constructor's list stands for."""
    entries = list(layers) if isinstance(layers, Iterable) else []
    if len(entries) < 2 or isinstance(entries[0], str | Layer | Activation | type):
        raise InputError(
            f"layers = {layers!r}; wanted the input's columns first and then at least one layer, "
            "for example [784, 50, 10]"
        )
    f = Activation.resolve(activation)
    rule = None if initializer is None else Initializer.resolve(initializer)
    d_in, *widths = [_entry(entry) for entry in entries]
    made = [
        entry
        if isinstance(entry, Layer)
        else Dense(entry, activation="identity" if i == len(widths) - 1 else f, initializer=rule)
        for i, entry in enumerate(widths)
    ]
    return int(d_in), tuple(made)  # type: ignore[arg-type]


def _entry(given: Any) -> int | Layer:
    """An entry of the constructor's list as a width or a layer."""
    if isinstance(given, str | Layer | Activation | type):
        return as_layer(given)
    if isinstance(given, bool) or not hasattr(given, "__index__"):
        raise InputTypeError(f"layers holds {given!r}; wanted whole numbers or layers")
    if given < 1:
        raise InputError(f"layers holds {given!r}; widths are at least 1")
    return int(given)


def leave_to_loss(layers: tuple[Layer, ...], loss: Loss) -> tuple[Layer, ...]:
    """The layers, without a last activation that the loss applies itself (more exactly)."""
    last = layers[-1]
    link = getattr(loss, "link", "softmax" if loss.targets == "classes" else None)
    if isinstance(last, Dense | ActivationLayer) and last.nonlinearity.name == link:
        return (*layers[:-1], replace(last, activation="identity"))
    return layers


def check_dtype(dtype: Any) -> np.dtype:
    """A model's dtype. Raises InputError for any other."""
    with suppress(TypeError, ValueError):
        checked: np.dtype = np.dtype(dtype)
        if checked.name in DTYPES:
            return checked
    raise InputError(f"dtype = {dtype!r}; wanted {' or '.join(DTYPES)}")
