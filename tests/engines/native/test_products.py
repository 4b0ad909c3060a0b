"""Our own matrix products against float64's, for every instruction set that this processor has.

Shapes end in the middle of tiles, panels and blocks, and threads divide them. Around every array is
memory that must neither be changed nor find its way into a result.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
import pytest

from mlpx.engines.lowering import Operation
from mlpx.engines.lowering.translator import DTYPES
from mlpx.engines.native.assembly import assemble
from mlpx.engines.native.barriers import Scheduled
from mlpx.engines.native.library import Op, instruction_sets, load

pytestmark = pytest.mark.skipif(load() is None, reason="the native library was not built")
REALS = ("float32", "float64")
GUARD, UNTOUCHED = 71, 12345.0
"""How many numbers are before and behind each array, and what those around an output are."""
POSITION = 1
"""The step in the epoch: gathers and rules find their rows in tables by it."""
RATE = 0.125


class Where(ctypes.Structure):
    """Where a thread is, as engine.h has it."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("position", "step")),
        *((name, ctypes.c_int32) for name in ("thread", "threads", "tile", "tiles")),
    )


KERNEL = ctypes.CFUNCTYPE(None, ctypes.POINTER(Op), ctypes.POINTER(Where))


@pytest.fixture(params=instruction_sets(), autouse=True)
def isa(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Kernels of one instruction set after the other."""
    monkeypatch.setenv("MLPX_ISA", request.param)
    return str(request.param)


def run(name: str, real: str, *, threads: int = 1, tiles: int = 1, **fields: Any) -> None:
    """An operation, one thread's share after the other: in falling order for an odd number of
    threads, so that one that writes beyond its own share is found on either side.
    """
    operation = Operation.of(name, touches=(), **fields)
    assembled = assemble([Scheduled(operation, wait=False)], np.dtype(real))
    kernel = KERNEL(assembled.ops[0].kernel)
    for thread in range(threads)[:: -1 if threads % 2 else 1]:
        for tile in range(tiles):
            kernel(assembled.ops, Where(POSITION, 0, thread, threads, tile, tiles))


def placed(values: Any, dtype: str, *, around: float = np.nan) -> np.ndarray:
    """The values in the middle of other numbers."""
    values = np.asarray(values)
    whole = np.full(values.size + 2 * GUARD, around, dtype)
    part = whole[GUARD:-GUARD].reshape(values.shape)
    part[...] = values
    return part


def output(values: Any, dtype: str) -> np.ndarray:
    """The same for what an operation writes; `close` looks at the numbers around it."""
    return placed(values, dtype, around=UNTOUCHED)


def alone(found: np.ndarray) -> bool:
    """Whether nothing around an output was written."""
    whole = found.base
    assert whole is not None
    return bool((whole[:GUARD] == UNTOUCHED).all() and (whole[-GUARD:] == UNTOUCHED).all())


def close(found: np.ndarray, wanted: Any, bound: Any) -> None:
    """Nothing is further off than its bound, and nothing around the output was written."""
    wrong = np.count_nonzero(~(np.abs(found - wanted) <= bound))
    assert wrong == 0
    assert alone(found)


class Exact:
    """Random factors of a layer's products, and these in float64 with the sums of their sizes."""

    def __init__(self, rows: int, d: int, k: int) -> None:
        rng = np.random.default_rng(rows + d + k)
        shapes = {"x": (rows, d), "W": (d, k), "dz": (rows, k), "bias": k, "more": (rows, d)}
        drawn = {name: rng.normal(size=shape) for name, shape in shapes.items()}
        # Numbers of both dtypes.
        self.factors = {name: a.astype("float32").astype(float) for name, a in drawn.items()}
        self.factors["kept"] = np.tanh(self.factors.pop("more")).astype("float32").astype(float)

    def __getattr__(self, name: str) -> np.ndarray:
        return self.factors[name]

    @cached_property
    def forward(self) -> tuple[np.ndarray, np.ndarray]:
        return self.x @ self.W, abs(self.x) @ abs(self.W)

    @cached_property
    def back(self) -> tuple[np.ndarray, np.ndarray]:
        return self.dz @ self.W.T, abs(self.dz) @ abs(self.W.T)

    @cached_property
    def gradient(self) -> tuple[np.ndarray, np.ndarray]:
        return self.x.T @ self.dz, abs(self.x.T) @ abs(self.dz)


exact = cache(Exact)


@dataclass
class Layer:
    """The products of one layer, whose operation gets its factors from here."""

    dtype: str
    rows: int
    d: int
    k: int

    def __post_init__(self) -> None:
        self.exact = exact(self.rows, self.d, self.k)
        self.given = {name: placed(a, self.dtype) for name, a in self.exact.factors.items()}
        self.eps = float(np.finfo(self.dtype).eps)

    def run(self, name: str, *factors: str, **fields: Any) -> None:
        sizes = {"rows": self.rows, "inputs": self.d, "outputs": self.k}
        run(name, self.dtype, **sizes, **{f: self.given[f] for f in factors}, **fields)

    def bound(self, depth: int, size: Any) -> Any:
        """The largest error of a sum of so many products: eps of the sum of their sizes for each."""
        return (depth + 8) * self.eps * size

    def blank(self, *shape: int) -> np.ndarray:
        return output(np.full(shape, np.nan), self.dtype)


def affine(of: Layer, threads: int) -> Iterator[Any]:
    out, (wanted, size) = of.blank(of.rows, of.k), of.exact.forward
    of.run("affine", "x", "W", out=out, threads=threads)
    yield out, wanted, of.bound(of.d, size)


def formula(name: str) -> int:
    library = load()
    assert library is not None
    return int(library.mlpx_activation(name.encode()))


def layer(of: Layer, threads: int, *, split: bool = False) -> Iterator[Any]:
    """With a bias, and z kept beside y."""
    z, y, (wanted, size) = of.blank(of.rows, of.k), of.blank(of.rows, of.k), of.exact.forward
    fields = {"z": z, "y": y, "formula": formula("tanh"), "gathered": False, "constants": ()}
    of.run("layer", "x", "W", "bias", **fields, split=split, threads=threads)
    yield z, wanted + of.exact.bias, of.bound(of.d, size + abs(of.exact.bias))
    yield y, np.tanh(z.astype(float)), 4 * of.eps


def layer_in_place(of: Layer, threads: int, *, split: bool = False) -> Iterator[Any]:
    """Without a bias, then with one; y is z."""
    for name, f in (("relu", lambda z: np.maximum(z, 0)), ("identity", lambda z: z)):
        biased, (wanted, size) = name == "identity", of.exact.forward
        z, bias = of.blank(of.rows, of.k), of.exact.bias if biased else np.zeros(of.k)
        fields = {"z": z, "y": z, "formula": formula(name), "gathered": False, "constants": ()}
        fields["bias"] = of.given["bias"] if biased else None
        of.run("layer", "x", "W", **fields, split=split, threads=threads)
        yield z, f(wanted + bias), of.bound(of.d, size + abs(bias))


def affine_dx(of: Layer, threads: int) -> Iterator[Any]:
    dx, (wanted, size) = of.blank(of.rows, of.d), of.exact.back
    of.run("affine_dx", "dz", "W", dx=dx, threads=threads)
    yield dx, wanted, of.bound(of.k, size)


def layer_back(of: Layer, threads: int, *, split: bool = False) -> Iterator[Any]:
    out, (wanted, size) = of.blank(of.rows, of.d), of.exact.back
    fields = {"out": out, "formula": formula("tanh"), "constants": (), "split": split}
    of.run("layer_back", "dz", "W", "kept", **fields, threads=threads)
    yield out, wanted * (1 - of.exact.kept**2), of.bound(of.k, size)


def affine_dW(of: Layer, threads: int) -> Iterator[Any]:
    dW, (wanted, size) = of.blank(of.d, of.k), of.exact.gradient
    of.run("affine_dW", "x", "dz", dW=dW, threads=threads)
    yield dW, wanted, of.bound(of.rows, size)


def affine_dW_part(of: Layer, threads: int) -> Iterator[Any]:
    """Each thread's rows in tiles, of which some have no row where there are few."""
    (wanted, size), count = of.exact.gradient, of.d * of.k
    for tiles in (1, 4):
        dW, others = of.blank(of.d, of.k), of.blank(threads - 1, count + 3)
        others[:, count:] = UNTOUCHED
        fields = {"others": others, "stride": count + 3, "gathered": False, "tiles": tiles}
        of.run("affine_dW_part", "x", "dz", dW=dW, threads=threads, **fields)
        others[:, :count].sum(axis=0, out=(total := np.zeros(count)))
        yield dW, wanted - total.reshape(dW.shape), of.bound(of.rows, size)
        yield others[:, count:], UNTOUCHED, 0


def affine_dW_descend(of: Layer, threads: int) -> Iterator[Any]:
    W, (gradient, size) = output(of.exact.W, of.dtype), of.exact.gradient
    fields = {"parameters": W, "table_columns": 1, "gathered": False}
    scalars = placed([np.nan, RATE], of.dtype)
    of.run("affine_dW_descend", "x", "dz", **fields, scalars=scalars, threads=threads)
    yield W, of.exact.W - RATE * gradient, of.bound(of.rows, RATE * size + abs(of.exact.W))


RULES: dict[str, tuple[int, tuple[float, ...]]] = {
    "momentum": (1, (0.9, 0.0)),
    "rmsprop": (1, (0.99, 1e-8, 0.0)),
    "adam": (2, (0.9, 0.999)),
    "amsgrad": (3, (0.9, 0.999)),
}
"""How many moments a rule has, and its constants."""


def affine_dW_update(of: Layer, threads: int) -> Iterator[Any]:
    """The rule, in float64, for the exact gradient."""
    gradient, size = of.exact.gradient
    start = [of.exact.W, *(0.75 + np.zeros((3, *gradient.shape)))]
    for name, (count, constants) in RULES.items():
        wanted, found = ([f(a, kind) for a in start] for f, kind in
                         ((placed, "float64"), (output, of.dtype)))  # fmt: skip
        for kind, arrays, given in (
            ("float64", wanted, None), (of.dtype, found, of.blank(of.d, of.k))
        ):  # fmt: skip
            table = np.array([[np.nan] * 3, [RATE, 0.5, 1e-8]], kind)
            moments = [*arrays[1 : 1 + count], *[None] * (4 - count)]
            fields = {"parameters": arrays[0], "moments": moments, "constants": constants,
                      "table_columns": 3, "scalars": table}  # fmt: skip
            if given is None:
                gradients = {"gradient": gradient, "elements": gradient.size}
                run(f"rule_{name}", "float64", **gradients, **fields)
            else:
                more = {"dW": given, "rule": f"rule_{name}", "gathered": False}
                of.run("affine_dW_update", "x", "dz", **more, **fields, threads=threads)
        bound = of.bound(of.rows, size) * (1 + abs(gradient)) + 8 * of.eps * abs(of.exact.W)
        for array, exactly in zip(found[: 1 + count], wanted, strict=False):
            yield array, exactly, bound + of.eps * abs(exactly)
        assert given is not None  # in which anything may be left of the gradient
        assert alone(given)


def split(operation: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    return lambda of, threads: operation(of, threads, split=True)


PRODUCTS: dict[str, Callable[[Layer, int], Iterator[Any]]] = {
    **{f.__name__: f for f in (affine, layer, layer_in_place, affine_dx, layer_back)},
    **{f"{f.__name__} by columns": split(f) for f in (layer, layer_in_place, layer_back)},
    **{f.__name__: f for f in (affine_dW, affine_dW_part, affine_dW_descend, affine_dW_update)},
}
SHAPES = [
    (1, 1, 1), (1, 50, 3), (1, 513, 130), (2, 10, 1), (3, 40, 7), (5, 33, 65), (13, 513, 10),
    (20, 20, 200), (49, 97, 33), (70, 130, 600), (97, 3, 129), (130, 64, 1), (520, 17, 3),
    (600, 40, 47), (1030, 30, 5),
]  # fmt: skip
"""Rows, inputs and outputs: around a vector, a tile, a panel, and a block of 48 rows or 512 steps."""
LARGE = [(530, 7, 1500), (20, 1030, 1100), (100, 1030, 1100)]
"""Those that are read or copied in another way, since they are too large for a cache."""


@pytest.mark.parametrize("shape", [*SHAPES, *LARGE], ids=str)
@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize("operation", PRODUCTS)
def test_products(operation: str, dtype: str, shape: tuple[int, int, int]) -> None:
    of = Layer(dtype, *shape)
    for threads in (1, 2, 3, 5) if shape in SHAPES else (2,):
        for found in PRODUCTS[operation](of, threads):
            close(*found)


GATHERED = {
    **{name: (name, False) for name in ("float16", "float32", "float64", "bool", "uint8", "int8")},
    **{name: (name, False) for name in ("uint16", "int16", "uint32", "int32", "uint64", "int64")},
    **{f"{name} swapped": (f">{name}", False) for name in ("f2", "f4", "f8", "i2", "u4", "i8")},
    "uint8 scaled": ("uint8", True),
    "float32 scaled": ("float32", True),
    "float64 scaled": ("float64", True),
    "float64 swapped and scaled": (">f8", True),
}
"""The dtype of x, and whether it is scaled."""
SCALE, OFFSET = 0.375, -11.0
MANY = 1100
"""The rows of x, of which a step takes some, in any order."""


@cache
def table(dtype: str, columns: int) -> np.ndarray:
    rng, kind = np.random.default_rng(columns), np.dtype(dtype)
    if kind.kind == "f":
        values = rng.normal(size=(MANY, columns)) * 30
    else:
        values = rng.integers(0, 2 if kind.kind == "b" else 120, size=(MANY, columns))
        values -= 60 * (kind.kind == "i")
    return values.astype(dtype)


class Gathered:
    """A gather of the second step's rows, and what it brings."""

    def __init__(self, of: Layer, dtype: str, *, scaled: bool, shuffled: bool) -> None:
        source = table(dtype, of.d)
        self.x = output(source, dtype) if source.dtype.kind == "f" else source
        order = np.random.default_rng(5).permutation(MANY) if shuffled else np.arange(MANY)
        self.indices = order if shuffled else None
        self.out = of.blank(of.rows, of.d)
        kind = source.dtype
        code = DTYPES[kind.newbyteorder("=").name]
        sizes = {"rows": of.rows, "columns": of.d, "dtype": code, "stride": of.rows}
        self.fields = sizes | {"swapped": not kind.isnative, "x": self.x, "indices": self.indices}
        rows = source[order[of.rows : 2 * of.rows]].astype(of.dtype).astype(float)
        self.rows, self.size = rows, abs(rows)
        if scaled:
            self.fields |= {"scaled": True, "scale": SCALE, "offset": OFFSET}
            self.rows, self.size = rows * SCALE + OFFSET, abs(rows) * SCALE + abs(OFFSET)
        self.operation = Operation.of("gather", touches=(), **self.fields, out=self.out)


@pytest.mark.parametrize("shape", [(1, 40, 70), (53, 600, 5), (530, 47, 20)], ids=str)
@pytest.mark.parametrize("dtype", REALS)
@pytest.mark.parametrize("given", GATHERED.values(), ids=GATHERED)
def test_gathered_rows(given: tuple[str, bool], dtype: str, shape: tuple[int, int, int]) -> None:
    """Products of rows that are read where they lie, in the order of the epoch."""
    of, (kind, scaled) = Layer(dtype, *shape), given
    for shuffled in (True, False):
        gather = Gathered(of, kind, scaled=scaled, shuffled=shuffled)
        run("gather", dtype, **gather.fields, out=gather.out, threads=2)
        close(gather.out, gather.rows, 2 * of.eps * gather.size)
        gather.out[...] = np.nan  # nothing reads it now
        x, threads = gather.operation, 3 if shuffled else 2
        z, bound = of.blank(of.rows, of.k), of.bound(of.d, gather.size @ abs(of.exact.W))
        of.run("affine", "W", x=x, out=z, gathered=True, threads=threads)
        close(z, gather.rows @ of.exact.W, bound)
        fields = {"gathered": True, "formula": formula("identity"), "constants": (), "bias": None}
        y = of.blank(of.rows, of.k)
        of.run("layer", "W", **fields, x=x, z=y, y=y, split=shuffled, threads=threads)
        close(y, gather.rows @ of.exact.W, bound)
        gradient, bound = gather.rows.T @ of.exact.dz, gather.size.T @ abs(of.exact.dz)
        bound = of.bound(of.rows, bound)
        dW, part = of.blank(of.d, of.k), of.blank(of.d, of.k)
        of.run("affine_dW", "dz", x=x, dW=dW, gathered=True, threads=threads)
        close(dW, gradient, bound)
        fields = {"dW": part, "others": None, "stride": 0, "gathered": True}
        of.run("affine_dW_part", "dz", x=x, **fields, tiles=3)
        close(part, gradient, bound)
        for name in ("affine_dW_descend", "affine_dW_update"):
            W, rate = output(of.exact.W, dtype), np.array([np.nan, RATE], dtype)
            fields = {"parameters": W, "scalars": rate, "table_columns": 1, "gathered": True}
            if name == "affine_dW_update":
                fields |= {"dW": dW, "rule": "rule_sgd", "moments": [None] * 4, "constants": ()}
            of.run(name, "dz", x=x, **fields, threads=threads)
            close(W, of.exact.W - RATE * gradient, bound + 2 * of.eps * abs(of.exact.W))


@pytest.mark.parametrize("turned_B", [False, True])
@pytest.mark.parametrize("turned_A", [False, True])
@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (1, 50, 784), (13, 33, 257), (24, 64, 20), (97, 130, 520), (600, 9, 33)]
)
@pytest.mark.parametrize("dtype", REALS)
def test_either_factor_may_be_turned(
    dtype: str, shape: tuple[int, int, int], turned_A: bool, turned_B: bool
) -> None:
    m, n, k = shape
    rng = np.random.default_rng(m + n + k)
    left, right, c = (rng.normal(size=size).astype(dtype) for size in ((m, k), (k, n), (m, n)))
    A, B = (placed(a.T if turned else a, dtype) for a, turned in ((left, turned_A), (right, turned_B)))
    left, right = left.astype(float), right.astype(float)
    bound = (k + 8) * np.finfo(dtype).eps * (abs(left) @ abs(right) + abs(c))
    sizes = {"rows": m, "columns": n, "inner": k, "turned_A": turned_A, "turned_B": turned_B}
    for threads in (1, 3):
        for alpha, beta in ((-0.5, 0.25), (1.0, 0.0)):
            out = output(c if beta else np.full((m, n), np.nan), dtype)
            factors = {"alpha": alpha, "beta": beta, "A": A, "B": B, "out": out}
            run("matrix_product", dtype, **sizes, **factors, threads=threads)
            close(out, alpha * (left @ right) + (beta * c if beta else 0), bound)


@pytest.mark.parametrize("rows", [1, 3, 100])
def test_nan_and_infinity_come_through(rows: int) -> None:
    """To the results that are made from them, and to no others."""
    x, W, dz = np.ones((rows, 7)), np.ones((7, 40)), np.ones((rows, 40))
    x[0, 2], W[5, 39], dz[rows - 1, 3] = np.nan, np.inf, np.nan
    z, dx, dW = (np.empty_like(a) for a in (dz, x, W))
    sizes = {"rows": rows, "inputs": 7, "outputs": 40}
    run("affine", "float64", **sizes, x=x, W=W, out=z)
    assert np.isnan(z[0]).all()
    assert np.isposinf(z[1:, 39]).all()
    assert (z[1:, :39] == 7).all()
    run("affine_dx", "float64", **sizes, dz=dz, W=W, dx=dx)
    assert np.isnan(dx[rows - 1]).all()
    assert np.isposinf(dx[: rows - 1, 5]).all()
    assert (np.delete(dx[: rows - 1], 5, axis=1) == 40).all()
    run("affine_dW", "float64", **sizes, x=x, dz=dz, dW=dW)
    assert np.isnan(dW[2]).all()
    assert np.isnan(dW[:, 3]).all()
    assert (np.delete(np.delete(dW, 2, axis=0), 3, axis=1) == rows).all()


@pytest.mark.parametrize("operation", PRODUCTS)
def test_the_same_bits_every_time(operation: str) -> None:
    found = []
    for _ in range(2):
        of = Layer("float32", 130, 70, 33)
        found.append([np.copy(array) for array, *_ in PRODUCTS[operation](of, 3)])
    for first, second in zip(*found, strict=True):
        assert first.tobytes() == second.tobytes()
