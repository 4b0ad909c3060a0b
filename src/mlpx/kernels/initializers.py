"""Initial weights: one record for each rule, drawn on the host so that all devices start alike.

`fan_in` and `fan_out` are the rows and columns of a (d_in, d_out) matrix. A rule returns float64;
the model casts it to its own dtype. Normals are not truncated at two deviations,
unlike those of Keras.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod, sqrt

import numpy as np
from numpy.typing import NDArray

from mlpx.errors import InputError
from mlpx.random import Words, normal, uniform
from mlpx.records import Record, require

Draw = Callable[[int], Words]
"""Returns the first `count` raw words of the parameter's own stream."""


class Initializer(Record, kind="initializer"):
    """A rule for the starting values of one parameter."""

    def sample(self, shape: tuple[int, ...], draw: Draw) -> NDArray[np.float64]:
        """Starting values of `shape`, float64. `draw(count)` gives raw random words."""
        raise NotImplementedError


def _normal(shape: tuple[int, ...], draw: Draw) -> NDArray[np.float64]:
    size = prod(shape)
    return normal(draw(size + size % 2))[:size].reshape(shape)


def _uniform(shape: tuple[int, ...], draw: Draw) -> NDArray[np.float64]:
    return 2.0 * uniform(draw(prod(shape))).reshape(shape) - 1.0  # in [-1, 1)


def _fans(shape: tuple[int, ...]) -> tuple[int, int]:
    return shape[0], shape[-1]


@dataclass(frozen=True)
class Zeros(Initializer, name="zeros"):
    """All zero, as biases usually start."""

    def sample(self, shape: tuple[int, ...], draw: Draw) -> NDArray[np.float64]:
        return np.zeros(shape)


@dataclass(frozen=True)
class Constant(Initializer, name="constant"):
    """All `value`."""

    value: float = 0.0

    def __post_init__(self) -> None:
        require("value", self.value)

    def sample(self, shape: tuple[int, ...], draw: Draw) -> NDArray[np.float64]:
        return np.full(shape, float(self.value))


@dataclass(frozen=True)
class Normal(Initializer, name="normal"):
    """N(mean, std**2). The tutorials' `0.01 * randn` is `Normal(0.01)`."""

    std: float = 0.01
    mean: float = 0.0

    def __post_init__(self) -> None:
        require("std", self.std, least=0)
        require("mean", self.mean)

    def sample(self, shape: tuple[int, ...], draw: Draw) -> NDArray[np.float64]:
        return self.mean + self.std * _normal(shape, draw)


@dataclass(frozen=True)
class Uniform(Initializer, name="uniform"):
    """U(low, high), without high itself."""

    low: float = -0.05
    high: float = 0.05

    def __post_init__(self) -> None:
        require("low", self.low)
        require("high", self.high)
        if not self.low < self.high:
            raise InputError(f"low = {self.low!r}, high = {self.high!r}; low must be below high")

    def sample(self, shape: tuple[int, ...], draw: Draw) -> NDArray[np.float64]:
        drawn = uniform(draw(prod(shape))).reshape(shape)
        inside: NDArray[np.float64] = self.low * (1.0 - drawn) + self.high * drawn
        return inside


@dataclass(frozen=True)
class GlorotUniform(Initializer, name="glorot_uniform"):
    """U(-a, a) with a = sqrt(6 / (fan_in + fan_out)); for sigmoid and tanh.

    Source: Glorot and Bengio, "Understanding the difficulty of training deep feedforward networks",
    2010.
    """

    def sample(self, shape: tuple[int, ...], draw: Draw) -> NDArray[np.float64]:
        return sqrt(6.0 / sum(_fans(shape))) * _uniform(shape, draw)


@dataclass(frozen=True)
class GlorotNormal(Initializer, name="glorot_normal"):
    """N(0, 2 / (fan_in + fan_out)); for sigmoid and tanh. Source: as for `GlorotUniform`."""

    def sample(self, shape: tuple[int, ...], draw: Draw) -> NDArray[np.float64]:
        return sqrt(2.0 / sum(_fans(shape))) * _normal(shape, draw)


@dataclass(frozen=True)
class HeUniform(Initializer, name="he_uniform"):
    """U(-a, a) with a = sqrt(6 / fan_in); for ReLU and its relatives. Source: as for `HeNormal`."""

    def sample(self, shape: tuple[int, ...], draw: Draw) -> NDArray[np.float64]:
        return sqrt(6.0 / _fans(shape)[0]) * _uniform(shape, draw)


@dataclass(frozen=True)
class HeNormal(Initializer, name="he_normal"):
    """N(0, 2 / fan_in); for ReLU and its relatives.

    Source: He et al., "Delving deep into rectifiers", 2015.
    """

    def sample(self, shape: tuple[int, ...], draw: Draw) -> NDArray[np.float64]:
        return sqrt(2.0 / _fans(shape)[0]) * _normal(shape, draw)


@dataclass(frozen=True)
class LeCunUniform(Initializer, name="lecun_uniform"):
    """U(-a, a) with a = sqrt(3 / fan_in). Source: as for `LeCunNormal`."""

    def sample(self, shape: tuple[int, ...], draw: Draw) -> NDArray[np.float64]:
        return sqrt(3.0 / _fans(shape)[0]) * _uniform(shape, draw)


@dataclass(frozen=True)
class LeCunNormal(Initializer, name="lecun_normal"):
    """N(0, 1 / fan_in); for SELU.

    Source: LeCun et al., "Efficient BackProp", 1998.
    """

    def sample(self, shape: tuple[int, ...], draw: Draw) -> NDArray[np.float64]:
        return sqrt(1.0 / _fans(shape)[0]) * _normal(shape, draw)


@dataclass(frozen=True)
class Orthogonal(Initializer, name="orthogonal"):
    """`gain` times a random matrix with orthonormal columns, or rows if it is wider than high.

    Its factorisation is LAPACK's: the same seed gives the same weights on one machine, and the same
    up to rounding on another. Source: Saxe, McClelland and Ganguli, "Exact solutions to the
    nonlinear dynamics of learning in deep linear neural networks", 2014.
    """

    gain: float = 1.0

    def __post_init__(self) -> None:
        require("gain", self.gain, above=0)

    def sample(self, shape: tuple[int, ...], draw: Draw) -> NDArray[np.float64]:
        d_in, d_out = shape[0], prod(shape[1:])
        drawn = _normal((max(d_in, d_out), min(d_in, d_out)), draw)
        Q, R = np.linalg.qr(drawn)
        Q *= np.where(np.diag(R) < 0, -1.0, 1.0)  # makes the signs evenly distributed
        oriented: NDArray[np.float64] = Q if d_in >= d_out else Q.T
        return self.gain * oriented.reshape(shape)
