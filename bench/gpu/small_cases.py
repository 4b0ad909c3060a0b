"""A layer's small products on data by chance: our launches, cublasLt's, and what both must give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpu.small_products import POSITION, Rows, Shape, Small, Tile
from mlpx.engines.cuda import graphs
from mlpx.engines.cuda.cublaslt import EPILOGUE_BGRADA
from mlpx.engines.cuda.epilogues import ENDS, Epilogue, fused
from mlpx.engines.lowering import Operation, address
from mlpx.engines.lowering.formulas import codes
from mlpx.engines.lowering.operations import access

RATE, SCALE, BETAS, EPSILON = 0.5, 1 / 255, (0.9, 0.99), 1e-3
BYTES = 2
"""The engine's number of bytes among the dtypes of a gather."""
FORMULAS = codes("activation")
WAYS = ("gradient", "sgd", "adam")
"""As gpu_small.cu numbers what is done with a gradient."""


class Case:
    """One product on data by chance: launches of it, and whether its outputs are right."""

    def __init__(self, small: Small, shape: Shape, *, lane: int = 0) -> None:
        self.small, self.shape, self.lane = small, shape, lane
        self.rng = np.random.default_rng(shape)
        self.begun: dict[str, np.ndarray] = {}
        self.arrays: dict[str, Any] = {}
        self.wanted: dict[str, np.ndarray] = {}

    def normal(self, name: str, *size: int, scale: float = 1.0) -> np.ndarray:
        """Numbers by chance that begin as they are; in float64."""
        return self.put(name, (scale * self.rng.standard_normal(size)).astype(np.float32))

    def put(self, name: str, value: np.ndarray) -> np.ndarray:
        self.begun[name], self.arrays[name] = value, self.small.xp.asarray(value)
        return value.astype(np.float64)

    def room(self, name: str, *size: int) -> None:
        """Something to be written."""
        self.put(name, np.full(size, np.nan, np.float32))

    def reset(self) -> None:
        """Everything as it began, and what is written poisoned."""
        for name, value in self.begun.items():
            self.arrays[name][...] = self.small.xp.asarray(value)

    def operation(
        self, name: str, n: tuple[int, ...], p: Sequence[str | None], c: tuple[float, ...] = (),
        writes: Sequence[str] = (),
    ) -> Operation:  # fmt: skip
        """An operation on arrays by name."""
        given = tuple(self.arrays[key] if key else None for key in p)
        touched = tuple(access(self.arrays[key], writes=key in writes) for key in p if key)
        return Operation(name, n, c, given, touched, lane=self.lane)

    def engine(
        self, name: str, n: tuple[int, ...], p: Sequence[str | None], c: tuple[float, ...] = ()
    ) -> graphs.Launch:
        """The launch of a kernel of the engine."""
        made = self.operation(name, n, p, c)
        return made, self.small.engine(made)

    def product(self, operation: Operation) -> graphs.Launch:
        """cublasLt's launch.

        Raises LookupError where it has no plan.
        """
        put = self.small.theirs(operation)
        if put is None:
            raise LookupError(f"cublasLt has no plan for {operation.name}")
        return operation, put

    def error(self, launches: Sequence[graphs.Launch]) -> float:
        """The largest error of what they leave, by the largest change wanted of the array; NaN if
        something was not written.
        """
        self.reset()
        self.small.once(launches)
        found = []
        for name, wanted in self.wanted.items():
            before = np.nan_to_num(self.begun[name].astype(np.float64))
            off = np.abs(self.arrays[name].get() - wanted).max()
            found.append(off / np.abs(wanted - before).max())
        return float(np.max(found))


class Affine(Case):
    """z = f(x W + b); of bytes, the rows of x are those of a step in the epoch's order."""

    def __init__(
        self, small: Small, shape: Shape, end: str, *, of_bytes: bool = False, lane: int = 0
    ) -> None:
        super().__init__(small, shape, lane=lane)
        n, d, k = shape
        self.code, self.of_bytes = FORMULAS.get(end, -1), of_bytes
        if of_bytes:
            images = self.rng.integers(0, 256, (3 * n, d), np.uint8)
            order = self.rng.permutation(3 * n)
            self.put("images", images), self.put("order", order)
            self.room("x", n, d)
            x = SCALE * images[order[n * POSITION :][:n]].astype(np.float64)
            self.wanted["x"] = x
        else:
            x = self.normal("x", n, d)
        W, b = self.normal("W", d, k, scale=d**-0.5), self.normal("b", k)
        self.room("z", n, k)
        z = x @ W + (b if self.code >= 0 else 0)
        ends = {"relu": lambda: np.maximum(z, 0), "sigmoid": lambda: 1 / (1 + np.exp(-z))}
        self.wanted["z"] = ends.get(end, lambda: z)()

    def ours(self, how: Rows) -> list[graphs.Launch]:
        name = f"affine_bytes_{how.name}" if self.of_bytes else f"affine_{how.name}"
        p = ("x", "W", "z", "b" if self.code >= 0 else None)
        if self.of_bytes:
            p = ("images", *p[1:], "order", "x")
        n = (*self.shape, self.code, self.shape[0])
        made = self.operation(name, n, p, (SCALE, 0.0), writes=("z", "x"))
        return [(made, self.small.ours(made, how.launch(self.shape)))]

    def theirs(self) -> list[graphs.Launch]:
        """The gather, the product with the end that cublasLt has, or else that end behind it.

        Raises LookupError where cublasLt has no plan.
        """
        n, d, k = self.shape
        found, product = list[graphs.Launch](), self.operation("affine", (n, d, k), ("x", "W", "z"))
        if self.of_bytes:
            gather = (n, d, BYTES, n, 0, 0, 0, 1)
            found.append(self.engine("gather", gather, ("images", "order", "x"), (SCALE, 0.0)))
        if self.code in ENDS:
            product = fused(Epilogue(ENDS[self.code], address(self.arrays["b"]) or 0), product)
        found.append(self.product(product))
        if self.code >= 0 and self.code not in ENDS:
            found.append(self.engine("activation", (n, k, self.code, 1), ("z", "z", "b")))
        return found


class Gradient(Case):
    """dW = x' dz and db, or weights and bias moved by them."""

    def __init__(self, small: Small, shape: Shape, way: str, *, lane: int = 0) -> None:
        super().__init__(small, shape, lane=lane)
        n, d, k = shape
        self.way, self.c = way, BETAS if way == "adam" else (0.0, 0.0)
        x, dz = self.normal("x", n, d), self.normal("dz", n, k, scale=n**-0.5)
        g = np.concatenate([(x.T @ dz).ravel(), dz.sum(0)])
        self.room("gradient", g.size)
        p, m0 = self.normal("p", g.size), self.normal("m0", g.size)
        m1 = self.put("m1", self.rng.random(g.size, np.float32) + np.float32(0.1))
        table = [[np.nan, np.nan]] * POSITION + [[RATE, EPSILON]]
        self.put("table", np.array(table, np.float32))
        for name, whole in (("W", "p"), ("dW", "gradient"), ("m0 W", "m0"), ("m1 W", "m1")):
            self.arrays[name] = self.arrays[whole][: d * k]
        for name, whole in (("b", "p"), ("db", "gradient"), ("m0 b", "m0"), ("m1 b", "m1")):
            self.arrays[name] = self.arrays[whole][d * k :]
        if way == "gradient":
            self.wanted = {"gradient": g}
        elif way == "sgd":
            self.wanted = {"p": p - RATE * g}
        else:
            m0, m1 = (
                b * m + (1 - b) * v for b, m, v in zip(BETAS, (m0, m1), (g, g * g), strict=True)
            )
            self.wanted = {"m0": m0, "m1": m1, "p": p - RATE * m0 / (np.sqrt(m1) + EPSILON)}

    def ours(self, how: Tile) -> list[graphs.Launch]:
        p = ("x", "dz", "W", "b", "m0 W", "m0 b", "m1 W", "m1 b", "dW", "db", "table")
        if self.way != "gradient":  # nothing must be written there
            p = (*p[:8], None, None, p[10])
        n = (*self.shape, WAYS.index(self.way), self.begun["table"].shape[1])
        made = self.operation(f"dW_{how.name}", n, p, self.c, writes=p[2:10])
        return [(made, self.small.ours(made, how.launch(self.shape)))]

    def theirs(self) -> list[graphs.Launch]:
        """The product with the sum as its end, then the rule.

        Raises LookupError where cublasLt has no plan.
        """
        product = self.operation("affine_dW", self.shape, ("x", "dz", "dW"))
        end = Epilogue(EPILOGUE_BGRADA, address(self.arrays["db"]) or 0)
        found = [self.product(fused(end, product))]
        if self.way != "gradient":
            sizes = (self.begun["p"].size, self.begun["table"].shape[1])
            p = ("p", "gradient", "m0", "m1", None, None, "table")
            found.append(self.engine(f"rule_{self.way}", sizes, p, self.c))
        return found
