"""How a column of numbers is brought to the size that a network likes, fitted on training rows."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist
from typing import Self

import numpy as np

from mlpx.errors import InputError
from mlpx.records import Record, require
from mlpx.tables.columns.values import LARGEST

FAR = 1e9
"""Beyond it a scaled number says nothing more; its square is still finite."""
TINY = 1e-100
"""A spread below it is none: its inverse would not be finite."""
NEGLIGIBLE = 1e-80
"""Numbers of this size, and none of another, may lie nearer to each other than TINY."""
CLIP = 3.0
QUANTILES = 255
OUTERMOST = 5.0


class Scaling(Record, kind="scaling"):
    """Base of the scalings: numbers z (n,), float64 and without NaN, to numbers near 0."""

    @classmethod
    def fit(cls, z: np.ndarray) -> Self:
        """The scaling for numbers like z, n >= 1."""
        raise NotImplementedError

    def apply(self, z: np.ndarray) -> np.ndarray:
        """z (n,) scaled, float64; z is overwritten."""
        raise NotImplementedError

    def says(self) -> str:
        """What is done, in words."""
        raise NotImplementedError


@dataclass(frozen=True)
class Plain(Scaling, name="plain"):
    """z itself."""

    @classmethod
    def fit(cls, z: np.ndarray) -> Self:
        return cls()

    def apply(self, z: np.ndarray) -> np.ndarray:
        return z

    def says(self) -> str:
        return "as it is"


@dataclass(frozen=True)
class Robust(Scaling, name="robust"):
    """u = (z - center) * factor, then u / sqrt(1 + (u / 3)**2), which is within (-3, 3).

    center: the median; factor: 1 / (q75 - q25), or 2 / (max - min) if the quartiles are equal, or 0
    if all are.

    Source: Holzmüller, Grinsztajn and Steinwart, "Better by default: strong pre-tuned MLPs and
    boosted trees on tabular data", 2024, section 3.
    """

    center: float = 0.0
    factor: float = 1.0

    def __post_init__(self) -> None:
        require("center", self.center, least=-LARGEST, most=LARGEST)
        require("factor", self.factor, least=0.0, most=1.0 / TINY)

    @classmethod
    def fit(cls, z: np.ndarray) -> Self:
        low, center, high = np.quantile(z, [0.25, 0.5, 0.75])
        spread = high - low
        if spread < TINY:
            spread = 0.5 * (z.max() - z.min())
        return cls(float(center), float(1.0 / spread) if spread >= TINY else 0.0)

    def apply(self, z: np.ndarray) -> np.ndarray:
        z = _moved(z, self.center, self.factor)
        root = z * (1.0 / CLIP)
        np.multiply(root, root, out=root)
        root += 1.0
        np.sqrt(root, out=root)
        z /= root
        return z

    def says(self) -> str:
        return "scaled by its quartiles"


@dataclass(frozen=True)
class Standard(Scaling, name="standard"):
    """(z - center) * factor: mean 0 and standard deviation 1 over the training rows."""

    center: float = 0.0
    factor: float = 1.0

    def __post_init__(self) -> None:
        require("center", self.center, least=-LARGEST, most=LARGEST)
        require("factor", self.factor, least=0.0, most=1.0 / TINY)

    @classmethod
    def fit(cls, z: np.ndarray) -> Self:
        spread = z.std()
        return cls(float(z.mean()), float(1.0 / spread) if spread >= TINY else 0.0)

    def apply(self, z: np.ndarray) -> np.ndarray:
        return _moved(z, self.center, self.factor)

    def says(self) -> str:
        return "scaled to mean 0 and standard deviation 1"


@dataclass(frozen=True)
class Quantile(Scaling, name="quantile"):
    """The normal distribution's quantile of the share of training rows below z.

    edges: quantiles of the training rows, increasing; scores: the normal's at the same shares,
    at most 5 from 0. Linear between them, and constant beyond the outermost.
    """

    edges: tuple[float, ...] = (0.0,)
    scores: tuple[float, ...] = (0.0,)

    def __post_init__(self) -> None:
        for name, given in (("edges", self.edges), ("scores", self.scores)):
            if not isinstance(given, tuple) or not given:
                raise InputError(f"{name} = {given!r}; it must be a tuple of numbers")
            for value in given:
                require(name, value, least=-LARGEST, most=LARGEST)
            if any(b - a < TINY for a, b in pairwise(given)):
                raise InputError(f"{name} do not increase")
        if len(self.edges) != len(self.scores):
            raise InputError(f"{len(self.edges)} edges and {len(self.scores)} scores")

    @classmethod
    def fit(cls, z: np.ndarray) -> Self:
        shares = np.linspace(0.0, 1.0, min(QUANTILES, len(z)))
        values = np.quantile(z, shares)
        values[np.abs(values) < NEGLIGIBLE] = 0.0
        edges, first, counts = np.unique(values, return_index=True, return_counts=True)
        middle = shares[first] + 0.5 * (counts - 1) * (shares[1] if len(shares) > 1 else 0.0)
        if len(edges) == 1:
            return cls((float(edges[0]),), (0.0,))
        normal, least = NormalDist(), NormalDist().cdf(-OUTERMOST)
        scores = [normal.inv_cdf(min(max(share, least), 1.0 - least)) for share in middle.tolist()]
        return cls(tuple(edges.tolist()), tuple(scores))

    def apply(self, z: np.ndarray) -> np.ndarray:
        scored: np.ndarray = np.interp(z, self.edges, self.scores)
        return scored

    def says(self) -> str:
        return "by its quantiles, to a normal distribution"


def _moved(z: np.ndarray, center: float, factor: float) -> np.ndarray:
    z -= center
    z *= factor
    np.clip(z, -FAR, FAR, out=z)
    return z
