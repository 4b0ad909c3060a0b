"""Launches of the kernels of gpu_small.cu and of cublasLt's products, and their times in graphs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from gpu.timing import replay_us
from mlpx.engines.cuda import cublaslt, graphs
from mlpx.engines.cuda.kernels import Launcher, StepPositions, launcher, module, packed
from mlpx.engines.cuda.launches import ROOM_BYTES, THREADS, WARP, GridSize
from mlpx.engines.cuda.planner import multiply
from mlpx.engines.cuda.products import PlannedProduct, workspace
from mlpx.engines.lowering import Operation

SOURCE = Path(__file__).parents[1] / "gpu_small.cu"
FLOAT = np.dtype(np.float32)
POSITION = 1
"""The step of the epoch that launches are told they are of."""
MOST_ROWS = 128
"""Of a batch whose dW is taken at once, as gpu_small.cu has it."""
Shape = tuple[int, int, int]


class Rows(NamedTuple):
    """How z is divided: rows a block takes, groups of a warp's lanes, warps; see gpu_small.cu."""

    rows: int
    groups: int
    warps: int

    @property
    def name(self) -> str:
        return "_".join(map(str, self))

    def launch(self, shape: Sequence[int]) -> GridSize:
        n, _, k = shape
        blocks = -(-n // self.rows) * -(-k // WARP)
        return GridSize(blocks, WARP * self.warps, 4 * self.warps * self.rows * WARP)


class Tile(NamedTuple):
    """How dW is divided: 16 rows and 32 columns so many times a block, and parts of the batch."""

    down: int
    across: int
    parts: int

    @property
    def name(self) -> str:
        return "_".join(map(str, self))

    def launch(self, shape: Sequence[int]) -> GridSize:
        _, d, k = shape
        height, width = 16 * self.down, 32 * self.across
        floats = max(MOST_ROWS * (height + width), self.parts * (height + 1) * width)
        return GridSize(-(-d // height) * -(-k // width), THREADS, 4 * floats)


FORWARD = (
    Rows(4, 1, 8), Rows(8, 1, 8), Rows(4, 4, 8), Rows(8, 4, 8), Rows(16, 4, 8), Rows(4, 4, 16),
)  # fmt: skip
OF_BYTES = (Rows(4, 1, 8), Rows(4, 4, 8), Rows(8, 4, 8))
BACKWARD = (Tile(1, 1, 8), Tile(2, 1, 4), Tile(2, 2, 2))


class Small:
    """The kernels on a device, cublasLt beside them, and a clock."""

    def __init__(self, backend: Any, *, repeated: int, rounds: int) -> None:
        self.backend, self.xp, self.cuda = backend, backend.xp, backend.xp.cuda
        self.repeated, self.rounds = repeated, rounds
        self.module = module(backend, str(SOURCE))
        self.kernels: dict[str, Any] = {}
        self.positions = StepPositions(backend.zeros((1, 2), np.int64))
        self.positions.table[...] = POSITION
        self.rooms = [self.xp.zeros(ROOM_BYTES, np.uint8) for _ in range(graphs.LANES)]
        self.workspaces = [workspace(backend) for _ in range(2)]
        self.library = cublaslt.opened(backend)

    def kernel(self, name: str) -> Any:
        if name not in self.kernels:
            self.kernels[name] = self.module.get_function(f"{name}_float32")
        return self.kernels[name]

    def ours(
        self, operation: Operation, size: GridSize, positions: StepPositions | None = None
    ) -> graphs.Put:
        """A launch of the kernel that an operation is named after."""
        given = packed(operation, self.rooms[operation.lane])
        return Launcher(self.kernel(operation.name), size, given, positions or self.positions)

    def theirs(self, operation: Operation) -> graphs.Put | None:
        """cublasLt's launch, None where it has no plan."""
        product = PlannedProduct(self.library, self.workspaces[operation.lane], operation, FLOAT)
        return partial(multiply, self.cuda, product) if product.algorithm is not None else None

    def engine(self, operation: Operation) -> graphs.Put:
        """The launch of a kernel of the engine."""
        room = self.rooms[operation.lane]
        return launcher(self.backend, operation, FLOAT, self.positions, room)

    def once(self, launches: Sequence[graphs.Launch]) -> None:
        """Put them on a stream, and wait."""
        self.backend.synchronize()
        with self.cuda.Stream(non_blocking=True) as stream:
            for _, put in launches:
                put()
            stream.synchronize()

    def us(self, launches: Sequence[graphs.Launch]) -> float:
        """The median time of the launches in a graph of many of them, one after the other."""
        self.once(launches)
        graph = graphs.capture(self.cuda, launches, self.repeated, nowhere, nothing)
        stream = self.cuda.Stream(non_blocking=True)
        times = [replay_us(self.backend, graph, stream) for _ in range(self.rounds + 1)]
        return float(median(times[1:])) / self.repeated


def nowhere(step: int) -> None:
    """All steps are at one place."""


def nothing() -> None:
    """Comes behind the last step."""
