"""Turns the calls of a plan into operations of the native library.

One function a kernel, in the table `TRANSLATIONS`. What a kernel without one is called is the
reason why a program stays on the interpreter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mlpx.engines.native.hazards import Access, Step, access, schedule
from mlpx.engines.native.library import Blas, Op, load
from mlpx.program import Call, Plan
from mlpx.types import Array

Translation = Callable[["Translator", Call], None]
TRANSLATIONS: dict[Any, Translation] = {}
"""What translates a call, by the kernel's function, or by (family of records, method)."""

GATHERED = (
    *("float32", "float64", "uint8", "int8", "uint16", "int16", "uint32", "int32"),
    *("uint64", "int64"),
)
LABELS = 10
DTYPES = {name: code for code, name in enumerate(GATHERED)} | {
    "bool": GATHERED.index("uint8"),
    "float16": LABELS + 1,
}
"""The number by which the library knows what x is stored as."""


class UntranslatableError(Exception):
    """A call that the library has no operation for; the message says which."""


def translates(*kernels: Any) -> Callable[[Translation], Translation]:
    """Enters a function in TRANSLATIONS."""

    def enter(function: Translation) -> Translation:
        for kernel in kernels:
            TRANSLATIONS[kernel] = function
        return function

    return enter


class Translator:
    """Operations for one plan, in the order of its calls until they are scheduled."""

    def __init__(self, plan: Plan, blas: Blas, *, dtype: np.dtype, table: Array) -> None:
        self.plan, self.blas, self.dtype = plan, blas, dtype
        self.rows = plan.rows
        self.steps: list[Step] = []
        self.rows_of: dict[int, Array] = {}
        """Where the row that a `select_row` would copy lies: its table, by the address of the copy.
        """
        self.by_row: dict[int, Any] = {}
        """What a copy by column was made of, by the address of the copy."""
        self.kept: list[Any] = [table]
        """Arrays that operations hold pointers to."""

    def operations(self) -> Any:
        """The plan as an array of operations.

        Raises UntranslatableError.
        """
        for call in self.plan.calls:
            find_translation(call)(self, call)
        ops = schedule(self.steps)
        return (Op * len(ops))(*ops)

    def emit(
        self,
        name: str,
        *,
        n: tuple[int, ...] = (),
        c: tuple[float, ...] = (),
        p: tuple[Any, ...] = (),
        touches: tuple[Access, ...],
        alone: bool = False,
        late: bool = False,
    ) -> None:
        """Append the operation called `name`; p are arrays, addresses or None."""
        library = load()
        kernel = library.mlpx_kernel(f"{name}.{self.dtype.name}".encode()) if library else None
        if kernel is None:
            raise UntranslatableError(f"no operation {name}")
        op = Op(kernel=kernel, alone=int(alone))
        op.n[: len(n)] = [int(value) for value in n]
        op.c[: len(c)] = [float(value) for value in c]
        op.p[: len(p)] = [address(value) for value in p]
        self.kept += p
        self.steps.append(Step(op, touches, late))

    def by_rows(self, *arrays: Array, writes: bool = False) -> tuple[Access, ...]:
        """Access to arrays whose rows are divided among the threads."""
        return tuple(access(a, writes=writes, division=("rows", self.rows)) for a in arrays)

    def flat(self, *arrays: Array, writes: bool = False) -> tuple[Access, ...]:
        """Access to arrays of one size whose elements are divided among the threads."""
        return tuple(access(a, writes=writes, division=("elements", a.size)) for a in arrays)

    def whole(self, *arrays: Array | None, writes: bool = False) -> tuple[Access, ...]:
        """Access to arrays that any thread may touch all of."""
        return tuple(access(a, writes=writes) for a in arrays if a is not None)


def address(value: Any) -> int | None:
    """Where an array's first element is; addresses and None as they are."""
    if isinstance(value, np.ndarray):
        return int(value.__array_interface__["data"][0])
    return None if value is None else int(value)


def find_translation(call: Call) -> Translation:
    """What translates `call`.

    Raises UntranslatableError naming its kernel.
    """
    kernel = call.kernel
    owner = getattr(kernel, "__self__", None)
    if owner is not None:
        if not type(owner).__module__.startswith("mlpx."):
            raise UntranslatableError(
                f"{owner.kind} {owner.name!r} is not one of the library's own"
            )
        for cls in type(owner).__mro__:
            found = TRANSLATIONS.get((cls, kernel.__name__))
            if found is not None:
                return found
        raise UntranslatableError(f"{owner.kind} {owner.name!r} has no native form")
    found = TRANSLATIONS.get(kernel)
    if found is None:
        module = kernel.__module__.rpartition(".")[2]
        raise UntranslatableError(f"{module}.{kernel.__name__} has no native form")
    return found
