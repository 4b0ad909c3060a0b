"""Initial weights and biases of Dense layers that depend on the data the network will see."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlpx.backend import array_backend, get_backend
from mlpx.inputs.arrays import check_finite, check_x
from mlpx.inputs.codes import check_codes
from mlpx.layers import Dense, Layer
from mlpx.network.network import Network
from mlpx.plan.layout import aligned_zeros
from mlpx.plan.plan import Buffers, Plan
from mlpx.random import Purpose, check_seed, integers, normal, permutation, uniform, words
from mlpx.records import require_count, require_flag
from mlpx.types import Array

ROWS = 10_000
"""The most rows that are looked at by default: a deviation from so many is known within 1%."""
POINTS = 5
"""From so many rows a bias takes its point."""
WEIGHTS, CHOSEN, SHARES, SAMPLE = range(4)
"""What is drawn for a layer: a step of its stream each; the sample is drawn for the first one."""


def initialise_by_data(
    network: Network, x: Any, *, rows: int = ROWS, biases: bool = True, seed: int | None = None
) -> None:
    """Overwrite W and b of every Dense layer by values that suit the inputs x (n, d_in).

    Each column of W is N(0, 1), divided by the standard deviation of x W over the rows: before its
    bias every unit has a deviation of 1. Each bias is minus a random convex combination of what x W
    is in 5 random rows, so that the unit's bend lies among the data ("he+5"); without `biases`, b
    is left as it is. A unit that is the same in all rows keeps its N(0, 1) weights.

    One layer follows the other: each sees the outputs of those in front, as in prediction, for at
    most `rows` rows, a random sample of x. `seed` is the network's unless given. All is computed on
    the host, so that networks on all devices start alike; what was trained is not otherwise
    changed.

    Raises InputError or InputTypeError before anything is changed. Source: Holzmueller, Grinsztajn
    and Steinwart, "Better by default: strong pre-tuned MLPs and boosted trees on tabular data",
    2024; Steinwart, "A sober look at neural network initializations", 2019.
    """
    require_count("rows", rows)
    require_flag("biases", biases)
    x = check_x(x, columns=network.d_in, backend=network.backend)
    check_finite(x, dtype=network.dtype, name="x")
    check_codes(x, network.codes, name="x")
    start = Start(network, network.seed if seed is None else check_seed(seed), biases=biases)
    start.all_layers(start.sample(x, int(rows)))
    network.set_parameters(start.values)


class Start:
    """Draws the values for a network on a copy of it on the host; `values` are those it drew."""

    def __init__(self, network: Network, seed: int, *, biases: bool) -> None:
        flat = aligned_zeros(network.layout.size, network.dtype)
        flat[...] = network.backend.to_numpy(network.flat)
        self.twin = network.with_parameters(flat, get_backend("cpu"))
        self.seed, self.biases = seed, biases
        self.views = self.twin.layout.views(flat)
        self.values: dict[str, Array] = {}
        self.layers_done = 0

    def sample(self, x: Array, rows: int) -> NDArray[Any]:
        """At most `rows` rows of x, in their order, in the network's dtype on the host."""
        if len(x) > rows:
            order = permutation(self._words(SAMPLE, len(x)))
            x = x[array_backend(x).asarray(np.sort(order[:rows]))]
        return array_backend(x).to_numpy(x).astype(self.twin.dtype)

    def all_layers(self, x: Array) -> None:
        """Draw for each layer in turn; x goes into the first."""
        for i, layer in enumerate(self.twin.layers):
            x = self._through(layer, str(i), x)

    def _through(self, layer: Layer, name: str, x: Array) -> Array:
        """Draw for the layer and for those inside it; returns its output for x."""
        if isinstance(layer, Dense):
            self._draw(name, x.astype(np.float64))
        y = x
        for i, inner in enumerate(layer.inner):
            y = self._through(inner, f"{name}.{i}", y)
        return self._forward(layer, name, x)

    def _draw(self, name: str, x: NDArray[np.float64]) -> None:
        """Draw W and b of the Dense layer called `name`, whose inputs are x (n, d)."""
        W = self.views[f"{name}.W"]
        drawn = self._normal(W.shape)
        z = x @ drawn
        scale = 1.0 / self._spread(z)
        self._set(f"{name}.W", drawn * scale)
        if self.biases and f"{name}.b" in self.views:
            self._set(f"{name}.b", -self._points(z * scale))
        self.layers_done += 1

    def _spread(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        """The standard deviation of each column (d,), and 1 where it is but rounding."""
        spread = z.std(axis=0)
        rounding = 8 * float(np.finfo(self.twin.dtype).eps) * abs(z).max(axis=0)
        return np.where(spread > rounding, spread, 1.0)

    def _points(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        """A random convex combination of POINTS numbers of each column (d,)."""
        d = z.shape[1]
        chosen = integers(self._words(CHOSEN, POINTS * d), len(z)).reshape(POINTS, d)
        shares = -np.log1p(-uniform(self._words(SHARES, POINTS * d))).reshape(POINTS, d)
        shares /= shares.sum(axis=0)
        points: NDArray[np.float64] = (np.take_along_axis(z, chosen, axis=0) * shares).sum(axis=0)
        return points

    def _set(self, name: str, value: NDArray[np.float64]) -> None:
        self.views[name][...] = value
        self.values[name] = self.views[name]

    def _normal(self, shape: tuple[int, ...]) -> NDArray[np.float64]:
        size = int(np.prod(shape))
        return normal(self._words(WEIGHTS, size + size % 2))[:size].reshape(shape)

    def _words(self, step: int, count: int) -> NDArray[np.uint64]:
        item = self.layers_done
        return words(self.seed, Purpose.START, count=count, step=step, item=item)

    def _forward(self, layer: Layer, name: str, x: Array) -> Array:
        """The layer's output for x (n, d), as in prediction."""
        backend, dtype = self.twin.backend, self.twin.dtype
        plan = Plan(Buffers(backend, len(x), dtype), len(x), parameters=self.views)
        y = layer.forward(plan.at(name), x)
        with np.errstate(all="ignore"):
            for call in plan.calls:
                call.bind(backend.xp)()
        return y
