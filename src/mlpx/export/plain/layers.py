"""Each layer and activation as lines of NumPy, as it is in prediction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlpx.export.plain.code import Code, parameter
from mlpx.export.sites import Site, form_of
from mlpx.kernels.activations import Activation

Form = Callable[[Code, Site, str], None]
"""Appends the lines that make a layer's output of the variable x, under the same name."""
Call = Callable[[Code, Site, Any, str], str]
"""The expression of f(z), given that of z."""


def dense(code: Code, site: Site, x: str) -> None:
    """f(x W + b)."""
    b = f" + {parameter(site, 'b')}" if "b" in site else ""
    code.assign(x, _activated(code, site, f"{x} @ {parameter(site, 'W')}{b}"))


def activation(code: Code, site: Site, x: str) -> None:
    """f(x)."""
    value = _activated(code, site, x)
    if value != x:
        code.assign(x, value)


def rescale(code: Code, site: Site, x: str) -> None:
    """x scale + offset."""
    offset = f" + {site.layer.offset!r}" if site.layer.offset else ""
    code.assign(x, f"{x} * {site.layer.scale!r}{offset}")


def absent(code: Code, site: Site, x: str) -> None:
    """Nothing: the layer acts in training only."""


def norm(code: Code, site: Site, x: str) -> None:
    """A call of the function that is called like the layer, with all of its parameters."""
    names = [name for name in ("mean", "variance", "gamma", "beta") if name in site]
    given = [parameter(site, name) for name in names]
    code.assign(x, code.call(site.layer.name, x, *given, epsilon=site.layer.epsilon))


def scale(code: Code, site: Site, x: str) -> None:
    """x s."""
    code.assign(x, f"{x} * {parameter(site, 's')}")


def parametric_activation(code: Code, site: Site, x: str) -> None:
    """a f(x) + (1 - a) x."""
    a = parameter(site, "a")
    code.assign(x, f"{a} * {_activated(code, site, x)} + (1 - {a}) * {x}")


def embedding(code: Code, site: Site, x: str) -> None:
    """A call with the table of all codes, and how many codes each column has."""
    sizes = code.constant(site, "SIZES", site.layer.sizes)
    code.assign(x, code.call("embedding", x, parameter(site, "E"), sizes))


def periodic_embedding(code: Code, site: Site, x: str) -> None:
    """A call with all parameters."""
    given = [parameter(site, name) for name in ("w", "b", "V", "c")]
    code.assign(x, code.call("periodic_embedding", x, *given))


def piecewise_embedding(code: Code, site: Site, x: str) -> None:
    """A call with all parameters, and the edges of the bins."""
    edges = code.constant(site, "EDGES", site.layer.edges)
    given = [parameter(site, name) for name in ("V", "c")]
    code.assign(x, code.call("piecewise_embedding", x, *given, edges))


def residual(code: Code, site: Site, x: str) -> None:
    """x + layers(x)."""
    code.depth += 1
    y = f"x{code.depth}"
    code.assign(y, x)
    for inner in site.inner:
        add_layer(code, inner, y)
    code.assign(x, f"{x} + {y}")
    code.depth -= 1


def add_layer(code: Code, site: Site, x: str) -> None:
    """Append the lines of the layer of `site`.

    Raises InputError for a layer or activation that has no form.
    """
    where = "mlpx.export.plain.layers.LAYERS"
    form = form_of(site.layer, LAYERS, where=where, into="plain NumPy")
    before = len(code.lines)
    form(code, site, x)
    code.remark(before, f"{site.name} {site.layer.name}")


def _activated(code: Code, site: Site, z: str) -> str:
    where = "mlpx.export.plain.layers.ACTIVATIONS"
    return form_of(site.activation, ACTIVATIONS, where=where, into="plain NumPy")(
        code, site, site.activation, z
    )


def _identity(code: Code, site: Site, f: Activation, z: str) -> str:
    return z


def _tanh(code: Code, site: Site, f: Activation, z: str) -> str:
    return f"np.tanh({z})"


def _leaky_relu(code: Code, site: Site, f: Any, z: str) -> str:
    """Without a slope it is the ReLU: 0 times minus infinity is no number."""
    return code.call("leaky_relu", z, slope=f.slope) if f.slope else code.call("relu", z)


def _named(code: Code, site: Site, f: Activation, z: str) -> str:
    """A call of the function that is called like the activation, with what it has and learnt."""
    if f.parameters():
        return code.call(f.name, z, *(parameter(site, name) for name in f.parameters()))
    options = {name: value for name, value in f.config().items() if name not in ("kind", "name")}
    return code.call(f.name, z, **options)


ACTIVATIONS: dict[str, Call] = {
    "celu": _named, "elu": _named, "gelu": _named, "gelu_tanh": _named, "hard_sigmoid": _named,
    "identity": _identity, "leaky_relu": _leaky_relu, "mish": _named, "prelu": _named,
    "relu": _named, "relu6": _named, "selu": _named, "sigmoid": _named, "silu": _named,
    "softmax": _named, "softplus": _named, "softsign": _named, "tanh": _tanh,
}  # fmt: skip
"""The form of each activation, by its name in `Activation.table`."""
LAYERS: dict[str, Form] = {
    "activation": activation, "alpha_dropout": absent, "batch_norm": norm, "dense": dense,
    "dropout": absent, "embedding": embedding, "gaussian_noise": absent, "layer_norm": norm,
    "parametric_activation": parametric_activation, "periodic_embedding": periodic_embedding,
    "piecewise_embedding": piecewise_embedding, "rescale": rescale, "residual": residual,
    "rms_norm": norm, "scale": scale,
}  # fmt: skip
"""The form of each layer, by its name in `Layer.table`."""
