"""The last layer with its loss and the way back to the layer before."""

from __future__ import annotations

from typing import Any

import numpy as np

from cudasim.cases.given import POSITION, TABLE, Case, Given, case, wide
from cudasim.cases.losses import log_softmax
from mlpx.engines.cuda.heads import MOST_OUTPUTS
from mlpx.engines.lowering.formulas import codes
from mlpx.kernels.activations import Activation


class Head:
    """The arrays of a head of k outputs on h (n, d), and what they become in float64."""

    def __init__(self, given: Given, k: int) -> None:
        self.given, self.n, self.d, self.k = given, given.n, given.d, k
        self.W, self.bias = given.normal(self.d, k) / np.sqrt(self.d), given.normal(k)
        self.W = self.W.astype(given.dtype)
        self.labels = given.rng.integers(-1, k + 1, size=self.n)
        self.r = given.between(0.1, 1, self.n)
        self.line, self.log = given.normal(3), given.empty(TABLE, 3)

    def case(
        self, h: np.ndarray, start: list[Any], n: tuple[int, ...], wanted: dict[int, Any], *,
        slope: np.ndarray | None, bias: bool = True, log: bool = True,
        log_p: np.ndarray | None = None,
    ) -> Case:  # fmt: skip
        """The case of z, h and b in `start`, with h in float64 and the slope there; `log_p` is that
        of each class, if it is not to be computed.
        """
        z = wide(h) @ wide(self.W) + (wide(self.bias) if bias else 0)
        log_p = log_softmax(z) if log_p is None else log_p
        known = (self.labels >= 0) & (self.labels < self.k)
        t = np.where(known[:, None], np.arange(self.k) == self.labels[:, None], 0.0)
        dz = (np.exp(log_p) * known[:, None] - t) * wide(self.r)[:, None]
        loss = (wide(self.r) * -(t * log_p).sum(axis=1)).sum()
        hits = (wide(self.r) * (z.argmax(axis=1) == self.labels)).sum()
        line = np.array([loss, hits, self.line[2]])
        lines = np.full((TABLE, 3), np.nan)
        lines[POSITION] = line
        dh = self.given.empty(self.n, self.d) if slope is not None else None
        p = [
            *start, self.W, self.bias if bias else None, self.labels, self.r,
            self.given.empty(self.n, self.k), dh, self.line, self.log if log else None,
        ]  # fmt: skip
        wanted = wanted | {7: dz, 9: line} | ({10: lines} if log else {})
        if slope is not None:
            wanted[8] = dz @ wide(self.W).T * slope
        return Case((self.n, self.d, self.k, *n), (), p, wanted)


def kernel_of(name: str, method: str, *arrays: np.ndarray) -> np.ndarray:
    f: Any = Activation.resolve(name)
    out = np.empty_like(arrays[0])
    work = tuple(np.empty_like(out) for _ in range(f.scratch))
    getattr(f, method)(np, *(a.copy() for a in arrays), out=out, work=work)
    return out


@case("softmax_head")
def after_a_relu_that_was_taken(given: Given) -> Case:
    head, code = Head(given, 3), codes("activation")["relu"]
    h = np.maximum(given.normal(given.n, given.d), 0).astype(given.dtype)
    return head.case(h, [None, h, None], (-1, code, 0), {}, slope=(wide(h) > 0) * 1.0)


@case("softmax_head")
def after_a_sigmoid(given: Given) -> Case:
    """In place: the sum of z and b is not kept."""
    head, code = Head(given, 12), codes("activation")["sigmoid"]
    z, b = given.normal(given.n, given.d), given.normal(given.d)
    h = kernel_of("sigmoid", "forward", (z + b).astype(np.float64))
    slope = kernel_of("sigmoid", "backward", np.ones_like(h), h)
    return head.case(h, [z, z, b], (code, code, 0), {1: h}, slope=slope)


@case("softmax_head")
def after_a_softplus(given: Given) -> Case:
    """The slope is that of the sum, which is kept; the most outputs that there may be."""
    head, code = Head(given, MOST_OUTPUTS[given.dtype.itemsize]), codes("activation")["softplus"]
    z, b = given.normal(given.n, given.d), given.normal(given.d)
    total = (z + b).astype(np.float64)
    h = kernel_of("softplus", "forward", total)
    slope = kernel_of("softplus", "backward", np.ones_like(h), total)
    start = [z, given.empty(*z.shape), b]
    return head.case(h, start, (code, code, 1), {0: total, 1: h}, slope=slope, log=False)


@case("softmax_head")
def before_a_mask(given: Given) -> Case:
    """No slope here: something else comes between."""
    head, h = Head(given, 8), given.normal(given.n, given.d)
    return head.case(h, [None, h, None], (-1, -1, 0), {}, slope=np.ones(h.shape), bias=False)


@case("softmax_head")
def alone(given: Given) -> Case:
    """Of one layer: nothing before learns."""
    head, x = Head(given, MOST_OUTPUTS[given.dtype.itemsize] - 1), given.normal(given.n, given.d)
    return head.case(x, [None, x, None], (-1, -1, 0), {}, slope=None)


@case("softmax_head")
def of_extremes(given: Given) -> Case:
    """Outputs up to what the dtype holds: the gradient is right and nothing is NaN."""
    head, x = Head(given, 4), np.zeros((given.n, given.d), given.dtype)
    most = float(np.finfo(given.dtype).max)
    head.bias[:] = most * 0.4, -most, most * 0.4, -most
    head.labels[:] = np.arange(given.n) % 2 * 2
    log_p = np.log(0.5) * np.array([1, 5000, 1, 5000]) * np.ones((given.n, 1))
    return head.case(x, [None, x, None], (-1, -1, 0), {}, slope=None, log_p=log_p)


@case("softmax_head")
def of_nan(given: Given) -> Case:
    """It counts as the largest output; the loss and the gradient are no numbers either."""
    head, x = Head(given, 4), np.zeros((given.n, given.d), given.dtype)
    head.bias[:] = 1, 3, np.nan, 2
    head.labels[:] = 1 + np.arange(given.n) % 2
    return head.case(x, [None, x, None], (-1, -1, 0), {}, slope=None)


@case("softmax_head")
def of_one_class(given: Given) -> Case:
    """Whose probability is 1, however large its output."""
    head, x = Head(given, 1), np.zeros((given.n, given.d), given.dtype)
    head.bias[:] = float(np.finfo(given.dtype).max) * 0.9
    log_p = np.zeros((given.n, 1))
    return head.case(x, [None, x, None], (-1, -1, 0), {}, slope=None, log_p=log_p)
