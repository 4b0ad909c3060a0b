"""A training step, or a forward pass, as a flat list of kernel calls on buffers allocated once.

A `Plan` is that list for one number of rows. Layers and the loss append their calls to it through a
`LayerPlan`; engines run it over and over. Nothing in a step allocates, waits for the device, or
branches on data: what changes from step to step is in small arrays that the step itself reads and
advances.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, count
from typing import Any

import numpy as np

from mlpx.backend import Backend
from mlpx.kernels import philox
from mlpx.random import Purpose
from mlpx.types import Array

Kernel = Callable[..., None]


@dataclass(frozen=True, eq=False)
class Call:
    """A kernel with its arrays and constants; engines recognise the call by `kernel`."""

    kernel: Kernel
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    slices: tuple[slice, ...] = ()
    """Slices of the call's vectors that are to be worked on one after the other, so that each stays
    in the cache; () for the whole at once. Engines with loops of their own need no slices.
    """

    def bind(self, xp: Any) -> Callable[[], None]:
        """A function without arguments that runs the call."""
        if self.slices:
            return partial(_run_all, [self.part(each).bind(xp) for each in self.slices])
        return partial(self.kernel, xp, *self.arguments, **self.keywords)

    def part(self, each: slice) -> Call:
        """The call for a slice of its vectors. Arrays of another length are single numbers, which
        are for all slices, or scratch, which is as long as the longest slice.
        """
        size, length = self.slices[-1].stop, each.stop - each.start

        def cut(value: Any) -> Any:
            if isinstance(value, tuple):
                return tuple(map(cut, value))
            if not hasattr(value, "shape") or value.size == 1:
                return value
            return value[each] if value.size == size else value[:length]

        keywords = {name: cut(value) for name, value in self.keywords.items()}
        return Call(self.kernel, cut(self.arguments), keywords)


def _run_all(calls: list[Callable[[], None]]) -> None:
    for call in calls:
        call()


class Buffers:
    """Named arrays for batches of up to `rows` rows, allocated when first requested.

    A name stands for one array: requesting it with another width, dtype or layout is an error.
    """

    def __init__(self, backend: Backend, rows: int, dtype: np.dtype) -> None:
        self.backend, self.rows, self.dtype = backend, rows, dtype
        self._flat: dict[str, Array] = {}
        self._kinds: dict[str, tuple[int, np.dtype, str]] = {}

    def get(
        self, name: str, rows: int, columns: int, *, dtype: Any = None, by_column: bool = False
    ) -> Array:
        """The array called `name`, (rows, columns); in memory column by column if `by_column`."""
        layout = "by column" if by_column else "by row"
        kind = columns, np.dtype(dtype or self.dtype), layout
        flat = self._named(name, self.rows * columns, kind)
        part = flat[: rows * columns]
        if len(part) < rows * columns:
            raise ValueError(f"buffer {name!r} is for {self.rows} rows; asked for {rows}")
        return part.reshape(columns, rows).T if by_column else part.reshape(rows, columns)

    def vector(self, name: str, size: int, dtype: Any = None) -> Array:
        """The array called `name`, (size,), whose length does not depend on the batch size."""
        return self._named(name, size, (size, np.dtype(dtype or self.dtype), "vector"))

    def _named(self, name: str, size: int, kind: tuple[int, np.dtype, str]) -> Array:
        if name not in self._flat:
            self._flat[name] = self.backend.empty(size, kind[1])
            self._kinds[name] = kind
        elif self._kinds[name] != kind:
            was, asked = (f"{k[0]} wide, {k[1]}, {k[2]}" for k in (self._kinds[name], kind))
            raise ValueError(f"buffer {name!r} is {was}; asked for {asked}")
        return self._flat[name]

    @property
    def nbytes(self) -> int:
        """Bytes allocated so far."""
        return sum(int(array.nbytes) for array in self._flat.values())


class Plan:
    """The calls of one step for batches of `rows` rows.

    Layers that are random in training draw from streams of `seed`, at the step given by `state`.
    """

    def __init__(
        self,
        buffers: Buffers,
        rows: int,
        *,
        parameters: dict[str, Array],
        gradients: dict[str, Array] | None = None,
        training: bool = False,
        seed: int = 0,
        state: Array | None = None,
    ) -> None:
        self.buffers, self.rows, self.training = buffers, rows, training
        self.parameters, self.gradients = parameters, gradients or {}
        self.learning = {owner for name in self.gradients for owner in owners(name)}
        """The layers that have a gradient, or contain a layer that has one."""
        self._largest = max((p.size for p in parameters.values()), default=0)
        self.seed, self.state = seed, state
        self.streams = count()
        """Numbers of random streams: each layer that draws takes the next one."""
        self.calls: list[Call] = []
        self.reads: list[tuple[int, str]] = []
        """The calls that gather rows of the data: the call's index, and which array it reads."""
        self.penalised = True
        """Whether the loss includes the penalties; only the first part of a batch has them."""
        self.batch_rows = rows
        """The rows of the whole batch, of which this plan may be a part."""
        self.batch_weight: Array = None
        """Where the sum of the batch's weights is written, (1, 1); None without row weights."""
        self.numbers: dict[str, tuple[Array, ...]] = {}
        """Where this step's numbers of a layer are, (1,) each, by the layer's name."""
        self.gradient_stop = 0
        """In a training step: after how many calls the gradient is complete."""
        self.objective: Any = None
        """In a training step: the `mlpx.program.objective.Objective` whose gradient that is."""

    def part(self, rows: int, *, first: bool) -> Plan:
        """A plan for `rows` of this plan's rows that appends to the same calls.

        Its layers draw from the streams after those already in use. Penalties count once: in the
        `first` part.
        """
        part = Plan(
            self.buffers, rows, parameters=self.parameters, gradients=self.gradients,
            training=self.training, seed=self.seed, state=self.state,
        )  # fmt: skip
        part.calls, part.reads, part.streams = self.calls, self.reads, self.streams
        part.numbers = self.numbers
        part.batch_rows, part.batch_weight, part.penalised = self.rows, self.batch_weight, first
        return part

    def call(self, kernel: Kernel, *arguments: Any, **keywords: Any) -> None:
        """Append a call."""
        self.calls.append(Call(kernel, arguments, keywords))

    def call_in_slices(
        self, slices: Iterable[slice], kernel: Kernel, *arguments: Any, **keywords: Any
    ) -> None:
        """Append a call on vectors that are to be worked on slice by slice; see `Call.part`."""
        several = tuple(slices)
        several = several if len(several) > 1 else ()
        self.calls.append(Call(kernel, arguments, keywords, several))

    def buffer(self, name: str, columns: int, **kind: Any) -> Array:
        """The array called `name`, (rows, columns); see `Buffers.get`."""
        return self.buffers.get(name, self.rows, columns, **kind)

    def scratch(self, columns: int, count: int, *, by_column: bool = False) -> tuple[Array, ...]:
        """`count` arrays (rows, columns) whose contents last for one call only."""
        layout = " by column" if by_column else ""
        return tuple(
            self.buffer(f"scratch {columns} {i}{layout}", columns, by_column=by_column)
            for i in range(count)
        )

    def like(self, parameter: Array) -> Array:
        """Scratch of a parameter's shape, valid for one call."""
        flat = self.buffers.vector("scratch of a parameter", self._largest)
        return flat[: parameter.size].reshape(parameter.shape)

    def ones(self) -> Array:
        """Ones of shape (1, rows): a product with them is a column sum."""
        ones = self.buffer("ones", 1).T
        ones[...] = 1
        return ones

    def bits(self, columns: int, purpose: Purpose, *, count: int | None = None) -> Array:
        """Append the drawing of random bits; returns uint32 (count,), by default rows x columns.

        They are valid until the next call of `bits`. Words are split with the lower half first.
        """
        backend, count = self.buffers.backend, count or self.rows * columns
        blocks, item = -(-count // 8), next(self.streams)
        width = -(-columns // 8)  # blocks per row, rounded up
        out = self.buffer(f"words {width}", 4 * width, dtype=np.uint64).reshape(-1)[: 4 * blocks]
        stream = {"seed": self.seed, "purpose": int(purpose), "item": item}
        if backend.fill_words is not None:
            self.call(random_words, backend.fill_words, self.state, **stream, out=out)
        else:
            work = tuple(
                self.buffer(f"philox {width} {i}", width, dtype=np.uint64).reshape(-1)[:blocks]
                for i in range(philox.SCRATCH)
            )
            index = backend.asarray(np.arange(blocks, dtype=np.uint64))
            self.call(philox.fill, self.state, **stream, blocks=index, out=out, work=work)
        return out.view(np.uint32)[:count]

    def at(self, name: str) -> LayerPlan:
        """The plan as the layer called `name` sees it."""
        return LayerPlan(self, name)


def random_words(xp: Any, fill: Any, state: Array, **stream: Any) -> None:
    """Philox words from the backend's own generator; see `kernels.philox.fill`."""
    fill(state, **stream)


class LayerPlan:
    """A plan as one layer sees it: its own parameters, gradients and buffers."""

    def __init__(self, plan: Plan, name: str) -> None:
        self.plan, self.name = plan, name
        self.kept: dict[str, Any] = {}
        """What the layer's `forward` leaves for its `backward`."""
        self.training = plan.training
        self.rows = plan.rows
        self.call, self.scratch, self.ones = plan.call, plan.scratch, plan.ones
        self.bits = plan.bits

    def parameter(self, name: str) -> Array | None:
        """The layer's parameter called `name`, or None."""
        return self.plan.parameters.get(f"{self.name}.{name}")

    def gradient(self, name: str) -> Array | None:
        """The array for that parameter's gradient, or None."""
        return self.plan.gradients.get(f"{self.name}.{name}")

    def numbers(self) -> tuple[Array, ...]:
        """Where this step's numbers of the layer are, (1,) each; see `Layer.numbers`."""
        return self.plan.numbers[self.name]

    def buffer(self, name: str, columns: int, **kind: Any) -> Array:
        """An array (rows, columns) of this layer's own."""
        return self.plan.buffer(f"{self.name} {name}", columns, **kind)

    def vector(self, name: str, size: int) -> Array:
        """An array (size,) of this layer's own."""
        return self.plan.buffers.vector(f"{self.name} {name}", size)

    def constant(self, values: Any, dtype: Any = None) -> Array:
        """Numbers that no step changes, as an array on the device, of the plan's dtype or another.

        A call that has them keeps them.
        """
        buffers = self.plan.buffers
        return buffers.backend.asarray(np.asarray(values, dtype or buffers.dtype))

    @property
    def take(self) -> Any:
        """The backend's function that copies some rows of an array."""
        return self.plan.buffers.backend.take

    def at(self, name: str) -> LayerPlan:
        """The plan as the layer called `name` inside this one sees it."""
        return self.plan.at(f"{self.name}.{name}")

    @property
    def learns(self) -> bool:
        """Whether any gradient belongs to this layer or a layer inside it."""
        return self.name in self.plan.learning


def owners(parameter: str) -> Iterator[str]:
    """The layer of a parameter and the layers around it: three for "3.inner.0.W"."""
    *parts, _ = parameter.split(".")
    return accumulate(parts, "{}.{}".format)
