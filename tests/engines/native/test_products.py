"""Our own matrix products against float64's, for every instruction set that this processor has.

Shapes end in the middle of tiles, panels and blocks, and threads divide them. Around every array is
memory that must neither be changed nor find its way into a result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from native_kernels import (
    UNTOUCHED,
    Layer,
    alone,
    close,
    formula,
    operation,
    output,
    perform,
    placed,
    run,
)

from mlpx.engines.lowering import Operation
from mlpx.engines.native.library import load

pytestmark = [
    pytest.mark.skipif(load() is None, reason="the native library was not built"),
    pytest.mark.usefixtures("isa"),
]
RATE = 0.125


def plain_product(of: Layer, threads: int) -> Iterator[Any]:
    out, (wanted, size) = of.blank(of.rows, of.k), of.exact.forward
    of.run("affine", "x", "W", out=out, threads=threads)
    yield out, wanted, of.bound(of.d, size)


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


def gradient_of_rows(of: Layer, threads: int) -> Iterator[Any]:
    dx, (wanted, size) = of.blank(of.rows, of.d), of.exact.back
    of.run("affine_dx", "dz", "W", dx=dx, threads=threads)
    yield dx, wanted, of.bound(of.k, size)


def layer_back(of: Layer, threads: int, *, split: bool = False) -> Iterator[Any]:
    out, (wanted, size) = of.blank(of.rows, of.d), of.exact.back
    fields = {"out": out, "formula": formula("tanh"), "constants": (), "split": split}
    of.run("layer_back", "dz", "W", "kept", **fields, threads=threads)
    yield out, wanted * (1 - of.exact.kept**2), of.bound(of.k, size)


def gradient_of_weights(of: Layer, threads: int) -> Iterator[Any]:
    dW, (wanted, size) = of.blank(of.d, of.k), of.exact.gradient
    of.run("affine_dW", "x", "dz", dW=dW, threads=threads)
    yield dW, wanted, of.bound(of.rows, size)


def gradient_by_part(of: Layer, threads: int) -> Iterator[Any]:
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


def descent(of: Layer, threads: int) -> Iterator[Any]:
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


def updates(
    rule: str, W: np.ndarray, moments: list[np.ndarray], gradient: np.ndarray, *, all_of_them: bool
) -> tuple[Operation, ...]:
    """The rule, with all that a step may do with each number of a gradient before."""
    count, constants = RULES[rule]
    table = placed([[np.nan] * 3, [RATE, 0.5, 1e-8]], W.dtype.name)
    sizes, of = {"elements": W.size}, {"parameters": W, "gradient": gradient}
    arrays = of | {"moments": [*moments[:count], *[None] * (4 - count)], "scalars": table}
    made = [operation(f"rule_{rule}", **sizes, table_columns=3, constants=constants, **arrays)]
    if all_of_them:
        numbers = {"inputs": len(W), "outputs": W.shape[1], "l1": 0.5, "twice_l2": 0.25}
        made = [
            operation("penalty_gradient", **numbers, W=W, dW=gradient, weight=None),
            operation("add_decay", **sizes, decay=0.125, **of),
            operation("clip_values", **sizes, limit=3.0, gradient=gradient),
            operation("scale_by", **sizes, table_columns=3, a=W, factor=table[0, 1:]),
            *made,
        ]
    return tuple(made)


def followed_by_updates(of: Layer, threads: int) -> Iterator[Any]:
    """Against the same updates, one after the other in float64, of the exact gradient."""
    gradient, size = of.exact.gradient
    moments = 0.75 + np.zeros((3, *gradient.shape))
    for rule in RULES if gradient.size < 1e6 else ["adam"]:
        for all_of_them in (False, True) if rule == "adam" else (False,):
            exactly, *rest = wanted = [placed(a, "float64") for a in (of.exact.W, *moments)]
            g = gradient.copy()
            for update in updates(rule, exactly, rest, g, all_of_them=all_of_them):
                perform(update, "float64")
            W, *rest = found = [output(a, of.dtype) for a in (of.exact.W, *moments)]
            dW = of.blank(of.d, of.k)
            steps = updates(rule, W, rest, dW, all_of_them=all_of_them)
            fields = {"dW": dW, "updates": steps, "steps": len(steps), "gathered": False}
            of.run("affine_dW_update", "x", "dz", **fields, threads=threads)
            scale = 1 + abs(gradient) + abs(of.exact.W)
            bound = (of.bound(of.rows, size) + 8 * of.eps * scale) * scale
            for array, exact in zip(found, wanted, strict=True):
                yield array, exact, bound + of.eps * abs(exact)
            assert alone(dW)  # in which anything may be left of the gradient


def split(product: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    return lambda of, threads: product(of, threads, split=True)


PRODUCTS: dict[str, Callable[[Layer, int], Iterator[Any]]] = {
    "affine": plain_product,
    "layer": layer,
    "layer in place": layer_in_place,
    "layer by columns": split(layer),
    "layer in place by columns": split(layer_in_place),
    "affine_dx": gradient_of_rows,
    "layer_back": layer_back,
    "layer_back by columns": split(layer_back),
    "affine_dW": gradient_of_weights,
    "affine_dW_part": gradient_by_part,
    "affine_dW_descend": descent,
    "affine_dW_update": followed_by_updates,
}
SHAPES = [
    (1, 1, 1), (1, 50, 3), (1, 513, 130), (1, 1030, 601), (2, 10, 1), (3, 40, 7), (5, 33, 65),
    (13, 513, 10), (20, 20, 200), (49, 97, 33), (70, 130, 600), (97, 3, 129), (130, 64, 1),
    (520, 17, 3), (600, 100, 47), (1030, 30, 5),
]  # fmt: skip
"""Rows, inputs and outputs: around a vector, a tile, a panel, a block of 48 rows or 512 steps."""
LARGE = [(530, 7, 1500), (20, 1030, 1100), (100, 1030, 1100), (520, 200, 700)]
"""Those that are read or copied in another way, since they are too large for a cache."""
LONG = (5600, 100, 260), (12, 10, 34_000)
"""With sums of more terms than are copied together, over rows and over outputs."""


@pytest.mark.parametrize("shape", [*SHAPES, *LARGE], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", PRODUCTS)
def test_products(name: str, dtype: str, shape: tuple[int, int, int]) -> None:
    of = Layer(dtype, *shape)
    for threads in (1, 2, 3, 5) if shape in SHAPES else (2,):
        for found in PRODUCTS[name](of, threads):
            close(*found)


@pytest.mark.parametrize(
    ("name", "shape"),
    [("affine_dW", LONG[0]), ("affine_dW_update", LONG[0]), ("layer_back", LONG[1])],
)
def test_long_sums(name: str, shape: tuple[int, int, int]) -> None:
    for found in PRODUCTS[name](Layer("float32", *shape), 1):
        close(*found)


@pytest.mark.parametrize("split", [False, True])
def test_threads_share_the_rows_or_the_columns(split: bool) -> None:
    """Each writes all of its own share, and nothing else."""
    of = Layer("float32", 20, 190, 200)
    found = list[np.ndarray]()
    for thread in range(3):
        y, out = of.blank(20, 200), of.blank(20, 190)
        fields = {"formula": formula("tanh"), "constants": (), "split": split}
        more = {"z": y, "y": y, "bias": None, "gathered": False}
        of.run("layer", "x", "W", **more, **fields, threads=3, only=thread)
        of.run("layer_back", "dz", "W", "kept", out=out, **fields, threads=3, only=thread)
        written = [~np.isnan(array).T if split else ~np.isnan(array) for array in (y, out)]
        assert all((mask == mask[:, :1]).all() for mask in written)
        found.append(np.concatenate([mask[:, 0] for mask in written]))
    assert (np.sum(found, axis=0) == 1).all()
    assert all(share.any() for share in found)


@pytest.mark.parametrize(
    "shape", [(1, 513, 601), (1, 70, 83), (3, 600, 258), (40, 70, 205)], ids=str
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_column_is_the_same_however_threads_divide_them(
    dtype: str, shape: tuple[int, int, int]
) -> None:
    """So that a prediction may be made by as many as are awake."""
    found = [
        [array.copy() for array, *_ in layer(Layer(dtype, *shape), threads, split=True)]
        for threads in (1, 2, 3)
    ]
    for divided in found[1:]:
        assert all(a.tobytes() == b.tobytes() for a, b in zip(found[0], divided, strict=True))


@pytest.mark.parametrize("turned_B", [False, True])
@pytest.mark.parametrize("turned_A", [False, True])
@pytest.mark.parametrize(
    "shape",
    [
        (1, 1, 1),
        (1, 50, 784),
        (13, 33, 257),
        (24, 64, 20),
        (97, 130, 520),
        (600, 9, 33),
        (200, 600, 530),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_either_factor_may_be_turned(
    dtype: str, shape: tuple[int, int, int], turned_A: bool, turned_B: bool
) -> None:
    m, n, k = shape
    rng = np.random.default_rng(m + n + k)
    left, right, c = (rng.normal(size=size).astype(dtype) for size in ((m, k), (k, n), (m, n)))
    A = placed(left.T if turned_A else left, dtype)
    B = placed(right.T if turned_B else right, dtype)
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


@pytest.mark.parametrize("rows", [1, 5, 100])
@pytest.mark.parametrize("name", ["identity", "tanh", "relu"])
def test_sums_that_are_not_finite_are_told(name: str, rows: int) -> None:
    """Wherever they are, and if the activation is finite; not the numbers around the arrays."""
    of = Layer("float32", rows, 7, 33)
    fields = {"formula": formula(name), "constants": (), "gathered": False}
    for i, j, value, told in (
        (0, 0, 1.0, 0), (0, 0, np.nan, 1), (rows - 1, 6, -np.inf, 1), (rows // 2, 3, 1e38, 0),
        (rows // 2, 3, 3e38, 1),  # whose products overflow
    ):  # fmt: skip
        flag, y = np.zeros(1, np.int64), of.blank(rows, 33)
        x = placed(of.exact.x, "float32")
        x[i, j] = value
        of.run("layer", "W", "bias", x=x, z=y, y=y, flag=flag, **fields, threads=2)
        assert flag == told


@pytest.mark.parametrize("name", PRODUCTS)
def test_the_same_bits_every_time(name: str) -> None:
    found = []
    for _ in range(2):
        of = Layer("float32", 130, 70, 33)
        found.append([np.copy(array) for array, *_ in PRODUCTS[name](of, 3)])
    for first, second in zip(*found, strict=True):
        assert first.tobytes() == second.tobytes()
