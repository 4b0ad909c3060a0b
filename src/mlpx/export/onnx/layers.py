"""Each layer as ONNX operators, as it is in prediction: dropout and noise are not there."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mlpx.export.onnx.activations import ACTIVATIONS
from mlpx.export.onnx.embeddings import embedding, periodic_embedding, piecewise_embedding
from mlpx.export.onnx.graph import Graph
from mlpx.export.sites import Site, form_of

Form = Callable[[Graph, Site, str], str]
"""Adds a layer to a graph and returns the name of its output, given the name of its input."""


def dense(graph: Graph, site: Site, x: str) -> str:
    """f(x W + b)."""
    W = parameter(graph, site, "W")
    if "b" in site:
        z = graph.add("Gemm", [x, W, parameter(graph, site, "b")])
    else:
        z = graph.add("MatMul", [x, W])
    return activation(graph, site, z)


def activation(graph: Graph, site: Site, z: str) -> str:
    """f(z)."""
    f = site.activation
    form = form_of(f, ACTIVATIONS, where="mlpx.export.onnx.activations.ACTIVATIONS", into="ONNX")
    learnt = {name: parameter(graph, site, name) for name in f.parameters()}
    return form(graph, f, z, learnt)


def rescale(graph: Graph, site: Site, x: str) -> str:
    """x scale + offset."""
    y = graph.add("Mul", [x, graph.number(site.layer.scale)])
    return graph.add("Add", [y, graph.number(site.layer.offset)]) if site.layer.offset else y


def absent(graph: Graph, site: Site, x: str) -> str:
    """x: a layer that acts in training only."""
    return x


def batch_norm(graph: Graph, site: Site, x: str) -> str:
    """(x - mean) gamma / sqrt(variance + epsilon) + beta, with the running moments."""
    root = np.sqrt(site.value("variance") + site.layer.epsilon)
    scale = graph.constant(1 / root * site.value("gamma"), name=site.key("scale"))
    centred = graph.add("Sub", [x, parameter(graph, site, "mean")])
    return graph.add("Add", [graph.add("Mul", [centred, scale]), parameter(graph, site, "beta")])


def layer_norm(graph: Graph, site: Site, x: str) -> str:
    """gamma (x - mean) / sqrt(variance + epsilon) + beta, the moments of each row."""
    centred = graph.add("Sub", [x, _row_mean(graph, x)])
    centred = graph.add("Sub", [centred, _row_mean(graph, centred)])  # the mean's rounding error
    xhat = _to_unit(graph, centred, site.layer.epsilon)
    return _affine(graph, site, xhat)


def rms_norm(graph: Graph, site: Site, x: str) -> str:
    """gamma x / sqrt(mean x**2 + epsilon), the mean of each row."""
    return _affine(graph, site, _to_unit(graph, x, site.layer.epsilon))


def scale(graph: Graph, site: Site, x: str) -> str:
    """x s."""
    return graph.add("Mul", [x, parameter(graph, site, "s")])


def parametric_activation(graph: Graph, site: Site, x: str) -> str:
    """a f(x) + (1 - a) x."""
    a = parameter(graph, site, "a")
    share = graph.add("Mul", [activation(graph, site, x), a])
    rest = graph.constant(1 - site.value("a"), name=site.key("1 - a"))
    return graph.add("Add", [share, graph.add("Mul", [x, rest])])


def residual(graph: Graph, site: Site, x: str) -> str:
    """x + layers(x)."""
    y = x
    for inner in site.inner:
        y = add_layer(graph, inner, y)
    return graph.add("Add", [x, y])


def add_layer(graph: Graph, site: Site, x: str) -> str:
    """Add the layer of `site` after `x`; returns the name of its output.

    Raises InputError for a layer or activation that has no form.
    """
    form = form_of(site.layer, LAYERS, where="mlpx.export.onnx.layers.LAYERS", into="ONNX")
    with graph.within(f"{site.name}_{site.layer.name}"):
        return form(graph, site, x)


def parameter(graph: Graph, site: Site, name: str) -> str:
    """A parameter as a constant that is called as in the model: "0.W"."""
    return graph.constant(site.value(name), name=site.key(name))


def _row_mean(graph: Graph, x: str) -> str:
    return graph.add("ReduceMean", [x], axes=[1], keepdims=1)


def _to_unit(graph: Graph, x: str, epsilon: float) -> str:
    """x / sqrt(mean x**2 + epsilon)."""
    square = _row_mean(graph, graph.add("Mul", [x, x]))
    root = graph.add("Sqrt", [graph.add("Add", [square, graph.number(epsilon)])])
    return graph.add("Div", [x, root])


def _affine(graph: Graph, site: Site, xhat: str) -> str:
    y = graph.add("Mul", [xhat, parameter(graph, site, "gamma")])
    return graph.add("Add", [y, parameter(graph, site, "beta")]) if "beta" in site else y


LAYERS: dict[str, Form] = {
    "activation": activation, "alpha_dropout": absent, "batch_norm": batch_norm, "dense": dense,
    "dropout": absent, "embedding": embedding, "gaussian_noise": absent, "layer_norm": layer_norm,
    "parametric_activation": parametric_activation, "periodic_embedding": periodic_embedding,
    "piecewise_embedding": piecewise_embedding, "rescale": rescale, "residual": residual,
    "rms_norm": rms_norm, "scale": scale,
}  # fmt: skip
"""The form of each layer, by its name in `Layer.table`."""
