"""What the products of the check multiply, and what they must make of it in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mlpx.engines.lowering import Operation
from mlpx.engines.lowering.formulas import codes
from mlpx.engines.lowering.operations import access

INNER = 16
"""Rows of the products that only make or read relu's bits."""
SLOPE = float(np.sqrt(2 / np.pi))
CUBE = 0.044715
Wanted = dict[str, Callable[[], np.ndarray]]
"""Array -> what it must hold afterwards."""


def gelu(z: np.ndarray) -> np.ndarray:
    """GELU by tanh."""
    return np.asarray(0.5 * z * (1 + np.tanh(SLOPE * (z + CUBE * z * z * z))))


def gelu_slope(z: np.ndarray) -> np.ndarray:
    """Its derivative."""
    t = np.tanh(SLOPE * (z + CUBE * z * z * z))
    return np.asarray(0.5 * (1 + t) + 0.5 * z * (1 - t * t) * SLOPE * (1 + 3 * CUBE * z * z))


class Data:
    """Numbers by chance for a layer of (rows, d, k), exact in float32, and their products."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        n, d, k = self.shape = shape
        rng = np.random.default_rng(shape)

        def normal(*size: int, scale: float = 1.0) -> np.ndarray:
            return (rng.standard_normal(size, np.float32) * np.float32(scale)).astype(np.float32)

        self.given = {
            "x": normal(n, d), "W": normal(d, k, scale=d**-0.5), "b": normal(k),
            "dz": normal(n, k), "kept": normal(n, d), "C": normal(n, k),
            # the layer before, for relu's bits, and the one behind
            "u": normal(n, INNER), "V": normal(INNER, d, scale=0.25), "c": normal(d),
            "dz2": normal(n, INNER), "W2": normal(k, INNER, scale=0.25),
        }  # fmt: skip
        self.made: dict[str, np.ndarray] = {}
        self.sent: dict[tuple[str, str], Any] = {}

    def product(self, a: str, b: str) -> np.ndarray:
        """In float64, made once; an apostrophe is a transpose."""
        return self.once(f"{a} {b}", lambda: self.factor(a) @ self.factor(b))

    def once(self, key: str, make: Callable[[], np.ndarray]) -> np.ndarray:
        """What is the same in every precision is made once: it takes longer than the product."""
        if key not in self.made:
            self.made[key] = make()
        return self.made[key]

    def factor(self, name: str) -> np.ndarray:
        found = self.given[name.rstrip("'")].astype(np.float64)
        return found.T if name.endswith("'") else found

    def device(self, backend: Any, name: str, dtype: np.dtype) -> Any:
        """An array on the device, brought there once; it is only read. With an apostrophe it lies
        there as its transpose.
        """
        key = name, dtype.name
        if key not in self.sent:
            a = self.given[name.rstrip("'")]
            a = np.ascontiguousarray(a.T if name.endswith("'") else a, dtype)
            self.sent[key] = backend.xp.asarray(a)
        return self.sent[key]


WRITTEN = {
    "affine": 2, "affine_dx": 2, "affine_dW": 2, "activation": 1, "activation_back": 2,
    "column_sum": 1, "matrix_product": 2,
}  # fmt: skip
"""Which of its arrays an operation writes."""


def operation(
    name: str, n: tuple[int, ...], *p: Any, c: tuple[float, ...] = (), late: bool = False
) -> Operation:
    """An operation as the lowering would make it."""
    written = WRITTEN[name]
    touches = tuple(access(a, writes=i == written) for i, a in enumerate(p))
    if name == "matrix_product" and c[1]:
        touches = (*touches, access(p[written]))
    return Operation(name, n, c, p, touches, late=late)


class Built:
    """The operations of one combination on fresh outputs full of NaN, and what they must make."""

    def __init__(self, backend: Any, data: Data, dtype: np.dtype) -> None:
        self.backend, self.data, self.dtype = backend, data, dtype
        self.operations: list[Operation] = []
        self.outputs: dict[str, Any] = {}
        self.wanted: Wanted = {}

    def at(self, name: str) -> Any:
        return self.data.device(self.backend, name, self.dtype)

    def out(self, name: str, *shape: int) -> Any:
        """Memory for a result."""
        self.outputs[name] = self.backend.empty(shape, self.dtype)
        self.outputs[name].fill(np.nan)
        return self.outputs[name]

    def put(self, name: str, n: tuple[int, ...], *p: Any, **how: Any) -> None:
        self.operations.append(operation(name, n, *p, **how))

    def activate(self, name: str, z: Any, y: Any, bias: Any) -> None:
        self.put("activation", (*z.shape, codes("activation")[name], 1), z, y, bias)

    def slope(self, name: str, dx: Any, kept: Any) -> None:
        self.put("activation_back", (*dx.shape, codes("activation")[name]), dx, kept, dx)

    def positive(self, name: str) -> np.ndarray:
        """Where relu let a number through, by what it put out on the device."""
        return np.asarray(self.outputs[name].get() > 0)


def affine(made: Built, end: str) -> None:
    """z = x W, and what follows it."""
    data, (n, d, k) = made.data, made.data.shape
    z = made.out("z", n, k)
    made.put("affine", (n, d, k), made.at("x"), made.at("W"), z)

    def total() -> np.ndarray:
        product = data.product("x", "W")
        return product if end == "none" else data.once("z", lambda: product + data.factor("b"))

    def positive() -> np.ndarray:
        return data.once("relu", lambda: np.maximum(total(), 0))

    made.wanted["z"] = positive if end.startswith("relu") else total
    if end == "gelu_aux_bias":
        y = made.out("y", n, k)
        made.activate("gelu_tanh", z, y, made.at("b"))
        made.wanted["y"] = lambda: data.once("gelu", lambda: gelu(total()))
    elif end != "none":
        made.activate("identity" if end == "bias" else "relu", z, z, made.at("b"))
    if end == "relu_aux_bias":  # what the bits are shows when they are used
        dx = made.out("by bits", n, k)
        made.put("affine_dx", (n, k, INNER), made.at("dz2"), made.at("W2"), dx)
        made.slope("relu", dx, z)
        made.wanted["by bits"] = lambda: data.product("dz2", "W2'") * made.positive("z")


def affine_dx(made: Built, end: str) -> None:
    """dx = dz W', and what follows it."""
    data, (n, d, k) = made.data, made.data.shape
    dx = made.out("dx", n, d)
    if end.startswith("drelu"):
        h = made.out("h", n, d)
        made.put("affine", (n, INNER, d), made.at("u"), made.at("V"), h)
        made.activate("relu", h, h, made.at("c"))
    made.put("affine_dx", (n, d, k), made.at("dz"), made.at("W"), dx)
    if end.startswith("drelu"):
        made.slope("relu", dx, h)
    if end == "dgelu":
        made.slope("gelu_tanh", dx, made.at("kept"))

    def wanted() -> np.ndarray:
        found = data.product("dz", "W'")
        if end.startswith("drelu"):
            return np.asarray(found * made.positive("h"))
        if end == "dgelu":
            return data.once(end, lambda: np.asarray(found * gelu_slope(data.factor("kept"))))
        return found

    made.wanted["dx"] = wanted
    if end == "drelu_bgrad":
        db = made.out("db", d)
        made.put("column_sum", (n, d), dx, db, late=True)
        made.wanted["db"] = lambda: wanted().sum(axis=0)


def affine_dW(made: Built, end: str) -> None:  # noqa: N802
    """dW = x' dz, and the sum of dz."""
    data, (n, d, k) = made.data, made.data.shape
    dW = made.out("dW", d, k)
    made.put("affine_dW", (n, d, k), made.at("x"), made.at("dz"), dW, late=True)
    made.wanted["dW"] = lambda: data.product("x'", "dz")
    if end == "bgrada":
        db = made.out("db", k)
        made.put("column_sum", (n, k), made.at("dz"), db, late=True)
        made.wanted["db"] = lambda: data.factor("dz").sum(axis=0)


def matrix_product(made: Built, end: str) -> None:
    """C = alpha A B + beta C; `end` says which of them lie transposed, and whether C counts."""
    data, (n, d, k) = made.data, made.data.shape
    left, right, beta = end[0] == "T", end[1] == "T", -1.25 * end.endswith("C")
    C = made.out("C", n, k)
    if beta:
        C.set(data.given["C"].astype(made.dtype))
    A, B = made.at("x'" if left else "x"), made.at("W'" if right else "W")
    made.put("matrix_product", (n, k, d, int(left), int(right)), A, B, C, c=(0.75, beta))
    made.wanted["C"] = lambda: 0.75 * data.product("x", "W") + beta * data.factor("C")
