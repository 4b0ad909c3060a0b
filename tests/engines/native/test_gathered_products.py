"""Products of rows that are read where they lie against float64's, for every instruction set."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from native_kernels import Layer, close, formula, operation, output, run

from mlpx.engines.lowering.translator import DTYPES
from mlpx.engines.native.library import load

pytestmark = [
    pytest.mark.skipif(load() is None, reason="the native library was not built"),
    pytest.mark.usefixtures("isa"),
]
RATE = 0.125
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
    elif kind.kind == "b":
        values = rng.integers(0, 2, size=(MANY, columns))
    else:
        info, own = np.iinfo(kind), kind.newbyteorder("=")
        values = rng.integers(info.min, info.max, size=(MANY, columns), dtype=own, endpoint=True)
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
        self.operation = operation("gather", **self.fields, out=self.out)


each_shape = pytest.mark.parametrize("shape", [(1, 40, 70), (53, 600, 5), (530, 47, 20)], ids=str)
each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])
each_source = pytest.mark.parametrize("source", GATHERED.values(), ids=GATHERED)


@each_shape
@each_dtype
@each_source
def test_layers(source: tuple[str, bool], dtype: str, shape: tuple[int, int, int]) -> None:
    """The rows are those that the gather brings, and the products read them without it."""
    of, (kind, scaled) = Layer(dtype, *shape), source
    for shuffled, threads in ((True, 3), (False, 2)):
        gather = Gathered(of, kind, scaled=scaled, shuffled=shuffled)
        run("gather", dtype, **gather.fields, out=gather.out, threads=2)
        close(gather.out, gather.rows, 2 * of.eps * gather.size)
        gather.out[...] = np.nan  # nothing reads it now
        wanted, bound = gather.rows @ of.exact.W, of.bound(of.d, gather.size @ abs(of.exact.W))
        fields = {"x": gather.operation, "gathered": True, "threads": threads}
        z, y = of.blank(of.rows, of.k), of.blank(of.rows, of.k)
        of.run("affine", "W", **fields, out=z)
        close(z, wanted, bound)
        fields |= {"formula": formula("identity"), "constants": (), "bias": None}
        of.run("layer", "W", **fields, z=y, y=y, split=shuffled)
        close(y, wanted, bound)


@each_shape
@each_dtype
@each_source
def test_gradients(source: tuple[str, bool], dtype: str, shape: tuple[int, int, int]) -> None:
    of, (kind, scaled) = Layer(dtype, *shape), source
    for shuffled, threads in ((True, 3), (False, 2)):
        gather = Gathered(of, kind, scaled=scaled, shuffled=shuffled)
        gather.out[...] = np.nan
        wanted = gather.rows.T @ of.exact.dz
        bound = of.bound(of.rows, gather.size.T @ abs(of.exact.dz))
        fields = {"x": gather.operation, "gathered": True}
        dW, part = of.blank(of.d, of.k), of.blank(of.d, of.k)
        of.run("affine_dW", "dz", **fields, dW=dW, threads=threads)
        close(dW, wanted, bound)
        of.run("affine_dW_part", "dz", **fields, dW=part, others=None, stride=0, tiles=3)
        close(part, wanted, bound)
        table = {"scalars": np.array([np.nan, RATE], dtype), "table_columns": 1}
        down, updated = output(of.exact.W, dtype), output(of.exact.W, dtype)
        of.run("affine_dW_descend", "dz", **fields, **table, parameters=down, threads=threads)
        arrays = {"parameters": updated, "gradient": dW, "moments": [None] * 4}
        rule = operation("rule_sgd", elements=dW.size, constants=(), **table, **arrays)
        steps = {"dW": dW, "updates": (rule,), "steps": 1}
        of.run("affine_dW_update", "dz", **fields, **steps, threads=threads)
        for W in (down, updated):
            close(W, of.exact.W - RATE * wanted, bound + 2 * of.eps * abs(of.exact.W))


def test_rows_that_are_cast_for_large_weights() -> None:
    """Weights that are copied part by part; of the rows, as many are cast as there is room for."""
    of = Layer("float32", 100, 1030, 1100)
    gather = Gathered(of, "uint8", scaled=False, shuffled=True)
    z = of.blank(of.rows, of.k)
    of.run("affine", "W", x=gather.operation, out=z, gathered=True)
    close(z, gather.rows @ of.exact.W, of.bound(of.d, gather.size @ abs(of.exact.W)))


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_half_is_what_it_is(dtype: str, swapped: bool) -> None:
    """Those below the normal ones, infinities and NaN too."""
    halves = np.arange(2**16, dtype=np.uint16).reshape(64, 1024).view(np.float16)
    x, out = halves.astype(">f2" if swapped else "f2"), np.zeros((64, 1024), dtype)
    sizes = {"rows": 64, "columns": 1024, "dtype": DTYPES["float16"], "stride": 0}
    run("gather", dtype, **sizes, swapped=swapped, x=x, indices=None, out=out)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(out, halves.astype(dtype))
