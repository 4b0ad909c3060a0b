"""Turns the calls of a plan into operations of a target: the native library, or CUDA's kernels.

The table `TRANSLATIONS` has one function for each kernel. A program with a kernel that has none is
left to the interpreter, and the reason given names that kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from mlpx.engines.base import RefusedError
from mlpx.engines.lowering.fields import FIELDS
from mlpx.engines.lowering.operations import Access, Operation, access, address
from mlpx.plan.plan import Call, Plan
from mlpx.types import Array

Translation = Callable[["Translator", Call], None]
TRANSLATIONS: dict[Any, Translation] = {}
"""The function that translates a call, by the kernel's function, or by (class of records, method's
name).
"""

GATHERED = (
    *("float32", "float64", "uint8", "int8", "uint16", "int16", "uint32", "int32"),
    *("uint64", "int64"),
)
LABELS = 10
DTYPES = {name: code for code, name in enumerate(GATHERED)} | {
    "bool": GATHERED.index("uint8"),
    "float16": LABELS + 1,
}
"""The number by which targets know the dtype of x."""


class UntranslatableError(RefusedError):
    """A call that the target has no operation for; the message says which."""


class Target(Protocol):
    """What the lowering needs to know of the engine that will run the operations."""

    name: str
    """"native" or "CUDA", for messages."""
    counts: bool
    """Whether its own loop advances the position in the tables; if not, an operation does."""

    def has(self, operation: str, dtype: np.dtype) -> bool:
        """Whether there is an operation of that name for that dtype."""

    def formula(self, family: str, name: str) -> int:
        """The code of an activation's or a loss's formula, below 0 if there is none."""


def translates(*kernels: Any) -> Callable[[Translation], Translation]:
    """Enter a function in TRANSLATIONS for these kernels."""

    def enter(function: Translation) -> Translation:
        for kernel in kernels:
            TRANSLATIONS[kernel] = function
        return function

    return enter


class Translator:
    """Operations for one plan, in the order of its calls."""

    def __init__(self, plan: Plan, target: Target, dtype: np.dtype) -> None:
        self.plan, self.target, self.dtype = plan, target, dtype
        self.operations: list[Operation] = []
        self.rows_of: dict[int, Array] = {}
        """The table from which a `select_row` would copy a row, by the address of the copy."""
        self.in_turn = set[int]()
        """The addresses of such tables that begin anew after the last row."""
        self.stands_for: dict[int, Any] = {}
        """What to use for an array that no operation writes, by the array's address: for a copy by
        column the array by row, for random numbers their stream.
        """

    def translate(self) -> list[Operation]:
        """The plan as operations.

        Raises UntranslatableError.
        """
        for call in self.plan.calls:
            self._find(call)(self, call)
        return self.operations

    def emit(
        self,
        name: str,
        *,
        touches: tuple[Access, ...],
        alone: bool = False,
        late: bool = False,
        **fields: Any,
    ) -> None:
        """Append the operation called `name`; `fields.FIELDS` names its fields."""
        if not self.target.has(name, self.dtype):
            raise UntranslatableError(f"no operation {name}")
        n, c, p = FIELDS[name].made(fields)
        self.operations.append(Operation(name, n, c, p, touches, alone, late))

    def rows_divided(self, *arrays: Array, writes: bool = False) -> tuple[Access, ...]:
        """Access to arrays whose rows are divided among the threads."""
        return tuple(access(a, writes=writes, division=("rows", len(a))) for a in arrays)

    def columns_divided(self, *arrays: Array | None, writes: bool = False) -> tuple[Access, ...]:
        """Access to arrays (d,), (1, d) or (n, d) whose d columns are divided among the threads."""
        return tuple(
            access(a, writes=writes, division=("columns", a.size // a.shape[-1], a.shape[-1]))
            for a in arrays
            if a is not None
        )

    def elements_divided(self, *arrays: Array, writes: bool = False) -> tuple[Access, ...]:
        """Access to arrays of one size whose elements are divided among the threads."""
        return tuple(access(a, writes=writes, division=("elements", a.size)) for a in arrays)

    def undivided(self, *arrays: Array | None, writes: bool = False) -> tuple[Access, ...]:
        """Access to arrays of which each thread may touch everything."""
        return tuple(access(a, writes=writes) for a in arrays if a is not None)

    def row_source(self, part: Array) -> tuple[int, Array] | None:
        """Where `part` of a row that a `select_row` would copy comes from: its address in the
        table's first row, and the table; None if it is part of no such row.
        """
        for row, table in self.rows_of.items():
            offset = address(part) - row
            if 0 <= offset < table.strides[0]:
                return address(table) + offset, table
        return None

    def formula(self, record: Any) -> int:
        """The code of an activation's or a loss's formula.

        Raises UntranslatableError.
        """
        code = self.target.formula(record.kind, record.name)
        if code < 0:
            raise self.formless(f"{record.kind} {record.name!r}")
        return code

    def own(self, record: Any) -> Any:
        """The record, if it is one of the library's own: someone else's may override anything.

        Raises UntranslatableError.
        """
        if not type(record).__module__.startswith("mlpx."):
            raise UntranslatableError(
                f"{record.kind} {record.name!r} is not one of the library's own"
            )
        return record

    def formless(self, what: str) -> UntranslatableError:
        """The error that says that the target has no form of `what`."""
        return UntranslatableError(f"{what} has no {self.target.name} form")

    def _find(self, call: Call) -> Translation:
        """The function that translates `call`.

        Raises UntranslatableError naming its kernel.
        """
        kernel = call.kernel
        owner = getattr(kernel, "__self__", None)
        if owner is not None:
            for cls in type(self.own(owner)).__mro__:
                translation = TRANSLATIONS.get((cls, kernel.__name__))
                if translation is not None:
                    return translation
            raise self.formless(f"{owner.kind} {owner.name!r}")
        translation = TRANSLATIONS.get(kernel)
        if translation is None:
            module = kernel.__module__.rpartition(".")[2]
            raise self.formless(f"{module}.{kernel.__name__}")
        return translation
