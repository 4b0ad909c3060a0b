"""An operation, as every target of the lowering runs it, and the memory it touches."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from mlpx.engines.lowering.fields import ABSENT, FIELDS
from mlpx.types import Array

ARRAYS = 12
"""The length of p in C and CUDA."""
NUMBERS = 8
"""The length of n, and of c."""


@dataclass(frozen=True)
class Access:
    """Memory [start, stop) that an operation touches; `division` says how threads divide it.

    With equal divisions each thread has the same part; with None each may touch all of it.
    """

    start: int
    stop: int
    writes: bool
    division: Any = None

    def overlaps(self, other: Access) -> bool:
        """Whether the order of the two accesses matters."""
        shared = self.start < other.stop and other.start < self.stop
        return shared and (self.writes or other.writes)


@dataclass(frozen=True, eq=False)
class Operation:
    """One operation: its name, sizes and strides n, constants c, and arrays or addresses p.

    n, c and p are what C and CUDA read; `operation["out"]` reads a field by its name in
    `fields.FIELDS`. `touches` is the memory it reads and writes; `alone`: it is not divided among
    threads; `late`: it may be put off until something needs what it wrote; `lane`: the branch of a
    graph it is on.
    """

    name: str
    n: tuple[int, ...]
    c: tuple[float, ...]
    p: tuple[Any, ...]
    touches: tuple[Access, ...]
    alone: bool = False
    late: bool = False
    lane: int = 0

    @classmethod
    def of(
        cls,
        name: str,
        *,
        touches: tuple[Access, ...],
        alone: bool = False,
        late: bool = False,
        **fields: Any,
    ) -> Operation:
        """The operation called `name` with these fields.

        Raises KeyError for a field it does not have, ValueError if one is missing.
        """
        return Operation(name, *FIELDS[name].made(fields), touches, alone, late)

    def __getitem__(self, field: str) -> Any:
        """The field of that name; 0 or None where it was left out."""
        kind, at = FIELDS[self.name].places[field]
        try:
            return (self.n, self.c, self.p)[kind][at]
        except IndexError:
            return ABSENT[kind]

    def turned_into(
        self, name: str, *, touches: tuple[Access, ...], late: bool = False, **fields: Any
    ) -> Operation:
        """The operation called `name` with the fields that both have, and those given."""
        places = FIELDS[self.name].places
        shared = {key: self[key] for key in FIELDS[name].required if key in places}
        return Operation.of(name, **(shared | fields), touches=touches, late=late)

    def replaced(self, **fields: Any) -> Self:
        """The operation with other values in these fields; it touches what it did.

        Raises KeyError for a field it does not have.
        """
        n, c, p = FIELDS[self.name].changed((self.n, self.c, self.p), fields)
        return replace(self, n=n, c=c, p=p)


def address(value: Any) -> int:
    """The address of an array's first element on its device; an address as it is, 0 for None."""
    if isinstance(value, np.ndarray):
        return int(value.__array_interface__["data"][0])
    if value is None:
        return 0
    return int(value) if isinstance(value, int | np.integer) else int(value.data.ptr)


def access(array: Array, *, writes: bool = False, division: Any = None) -> Access:
    """Access to an array, from its first to its last element."""
    low = address(array)
    if array.flags.c_contiguous:
        return Access(low, low + int(array.nbytes), writes, division)
    span = sum(abs(s) * (n - 1) for s, n in zip(array.strides, array.shape, strict=True))
    return Access(low, low + (span + array.itemsize if array.size else 0), writes, division)
