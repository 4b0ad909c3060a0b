"""Which .cu file holds the kernel of an operation, and how large its launch is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import NamedTuple

from mlpx.engines.lowering.formulas import codes

THREADS = 256
"""Of every block, as operation.cuh has it."""
WARP, COLUMNS, TILE, DEPTH, DRAWN = 32, 8, 64, 16, 8
"""As sums.cuh, products.cu and layers.cu have them."""
WIDEST = 8
"""Bytes of the largest number that blocks add up."""
MOST_BLOCKS = 2048
"""16 for each multiprocessor of the largest devices; more would only wait for each other."""
MOST_SUMMING = 128
"""The most blocks that add up one sum: they saturate the memory; one block adds up their sums."""
FEWEST_ROWS = 256
"""The fewest rows for one block that adds up columns."""
ROOM_BYTES = 4096 + 2 * MOST_SUMMING * COLUMNS * WIDEST
"""The bytes that the blocks of one launch need to add up their sums: tickets, and from each block
two sums a column.
"""


class GridSize(NamedTuple):
    """Blocks, threads in a block, and bytes of dynamic shared memory of one launch."""

    grid: int
    block: int
    shared_bytes: int


def elements(n: Sequence[int], *, sizes: int = 2, each: int = 1) -> GridSize:
    """A thread for every `each` elements of an array, whose shape is the first `sizes` of n."""
    threads = -(-prod(n[:sizes]) // each)
    return GridSize(max(1, min(MOST_BLOCKS, -(-threads // THREADS))), THREADS, 0)


def vector(n: Sequence[int]) -> GridSize:
    """A thread for each of n[0] elements."""
    return elements(n, sizes=1)


def rows(n: Sequence[int]) -> GridSize:
    """A warp for each row."""
    return GridSize(max(1, min(MOST_BLOCKS, -(-n[0] * WARP // THREADS))), THREADS, 0)


def whole_columns(n: Sequence[int]) -> GridSize:
    """A block for every few columns."""
    return GridSize(max(1, -(-n[1] // COLUMNS)), THREADS, THREADS * WIDEST)


def column_sums(n: Sequence[int]) -> GridSize:
    """Blocks for every few columns, more than one where there are few columns and many rows."""
    groups = max(1, -(-n[1] // COLUMNS))
    chunks = max(1, min(MOST_SUMMING // groups, n[0] // FEWEST_ROWS))
    return GridSize(groups * chunks, THREADS, THREADS * WIDEST)


def one_block(n: Sequence[int]) -> GridSize:
    """One block."""
    return GridSize(1, THREADS, THREADS // WARP * WIDEST)


def total(n: Sequence[int]) -> GridSize:
    """Blocks that add up one sum."""
    blocks = -(-n[0] // (THREADS * COLUMNS))
    return one_block(n)._replace(grid=max(1, min(MOST_SUMMING, blocks)))


def rows_summing(n: Sequence[int]) -> GridSize:
    """A warp for each row; the last block adds up the sums of all, with a thread for each."""
    return one_block(n)._replace(grid=max(1, min(THREADS, -(-n[0] * WARP // THREADS))))


def tiles(m: int, n: int) -> GridSize:
    """A block for each tile of a product."""
    return GridSize(-(-m // TILE) * -(-n // TILE), THREADS, 2 * TILE * DEPTH * WIDEST)


Size = Callable[[Sequence[int]], GridSize]
FILES: dict[str, dict[str, Size]] = {
    "gather.cu": {
        "gather": elements,
    },
    "batches.cu": {
        "copy": elements,
        "scale": elements,
        "to_bf16": elements,
        "to_fp16": elements,
        "scale_of": total,
        "weigh": one_block,
        "weighted_mean": total,
        "sum_lines": column_sums,
        "record": vector,
        "advance": one_block,
    },
    "activations.cu": {
        "activation": elements,
        "activation_back": elements,
        "prelu": elements,
        "prelu_back": elements,
        "prelu_slope": column_sums,
        "softmax": rows,
        "softmax_back": rows,
    },
    "parametric.cu": {
        "parametric": elements,
        "parametric_back": column_sums,
    },
    "losses.cu": {
        "targets": elements,
        "repeat": lambda n: elements(n, sizes=3),
        "correct": rows,
        "likeliest": rows,
        "all_correct": rows,
        "softmax_loss": rows,
        "column_loss": rows,
        "kl_loss": rows,
        "focal_loss": rows,
    },
    "heads.cu": {
        "softmax_head": rows_summing,
    },
    "layers.cu": {
        "sum": elements,
        "product": elements,
        "alpha_dropout": elements,
        "mask": lambda n: elements(n, each=DRAWN),
        "mask_by": lambda n: elements(n, each=DRAWN),
        "normals": lambda n: elements(n, each=DRAWN),
        "standardise_rows": rows,
        "unit_rows": rows,
        "standardise_rows_back": rows,
        "standardise_columns": whole_columns,
        "standardise_columns_back": whole_columns,
        "scale_shift": elements,
        "scale_shift_sums": column_sums,
        "track": vector,
        "apply_running": elements,
    },
    "embedding.cu": {
        "look_up": elements,
        "look_up_sums": rows,
        "look_up_dx": elements,
        "waves": elements,
        "waves_sums": whole_columns,
        "waves_dx": elements,
        "pieces": elements,
        "pieces_sums": rows,
        "pieces_dx": elements,
    },
    "updates.cu": {
        **{f"rule_{name}": vector for name in codes("rule")},
        "clip_values": vector,
        "sum_squares": total,
        "norm_factor": one_block,
        "scale_by": vector,
        "add_decay": vector,
        "add": vector,
        "blend": vector,
        "penalty": total,
        "penalty_gradient": elements,
        "limit_norms": whole_columns,
        "norm": total,
        "lamb_direction": vector,
        "trust_ratio": total,
        "descend": vector,
        "muon_direction": vector,
        "shrink": vector,
    },
    "products.cu": {
        "affine": lambda n: tiles(n[0], n[2]),
        "affine_dx": lambda n: tiles(n[0], n[1]),
        "affine_dW": lambda n: tiles(n[1], n[2]),
        "matrix_product": lambda n: tiles(n[0], n[1]),
        "column_sum": column_sums,
    },
}
"""The kernels of each .cu file, and the size of each launch from n of its operation."""
SOURCES = {name: file for file, kernels in FILES.items() for name in kernels}
"""Operation -> the file in this folder with its kernel."""


def launch(name: str, n: Sequence[int]) -> GridSize:
    """The launch of the operation called `name` of sizes n."""
    return FILES[SOURCES[name]][name](n)
