"""How weights start: one record for each rule, drawn on the host so that every device starts alike.

`fan_in` and `fan_out` are the rows and columns of a (d_in, d_out) matrix. A rule returns float64; the model
casts it to its own dtype.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlpx.random import Words, normal, uniform
from mlpx.records import Record, require

Draw = Callable[[int], Words]
"""Gives the next `count` raw words of the parameter's own stream."""


class Initializer(Record, kind="initializer"):
    """A rule for the starting values of one parameter."""

    def sample(self, shape: tuple[int, ...], draw: Draw) -> NDArray[np.float64]:
        """Starting values of `shape`, float64. `draw(count)` gives raw random words."""
        raise NotImplementedError


def _normal(shape: tuple[int, ...], draw: Draw) -> NDArray[np.float64]:
    size = int(np.prod(shape))
    return normal(draw(size + size % 2))[:size].reshape(shape)


def _uniform(shape: tuple[int, ...], draw: Draw) -> NDArray[np.float64]:
    return 2.0 * uniform(draw(int(np.prod(shape)))).reshape(shape) - 1.0  # in [-1, 1)


def _fans(shape: tuple[int, ...]) -> tuple[int, int]:
    return shape[0], shape[-1]


@dataclass(frozen=True)
class Zeros(Initializer, name="zeros"):
    """All zero: the usual start of biases."""

    def sample(self, shape: tuple[int, ...], draw: Draw) -> NDArray[np.float64]:
        return np.zeros(shape)


@dataclass(frozen=True)
class Normal(Initializer, name="normal"):
    """N(0, std**2). The tutorials' `0.01 * randn` is `Normal(0.01)`."""

    std: float = 0.01

    def __post_init__(self) -> None:
        require("std", self.std, least=0)

    def sample(self, shape: tuple[int, ...], draw: Draw) -> NDArray[np.float64]:
        return self.std * _normal(shape, draw)


@dataclass(frozen=True)
class GlorotUniform(Initializer, name="glorot_uniform"):
    """U(-a, a) with a = sqrt(6 / (fan_in + fan_out)); for sigmoid and tanh.

    Source: Glorot and Bengio, "Understanding the difficulty of training deep feedforward networks", 2010.
    """

    def sample(self, shape: tuple[int, ...], draw: Draw) -> NDArray[np.float64]:
        fan_in, fan_out = _fans(shape)
        return np.sqrt(6.0 / (fan_in + fan_out)) * _uniform(shape, draw)


@dataclass(frozen=True)
class HeNormal(Initializer, name="he_normal"):
    """N(0, 2 / fan_in); for ReLU and its kin.

    Source: He et al., "Delving deep into rectifiers", 2015.
    """

    def sample(self, shape: tuple[int, ...], draw: Draw) -> NDArray[np.float64]:
        return np.sqrt(2.0 / _fans(shape)[0]) * _normal(shape, draw)
