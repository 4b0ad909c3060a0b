"""The elementwise functions of the fake."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import names
from .array import SCALARS, ndarray, wrap
from .calls import checked_device, run, unwrapped
from .state import allocate, worked


class ufunc:  # noqa: N801 - the name it has in CuPy
    """An elementwise function."""

    def __init__(self, name: str) -> None:
        self._numpy = getattr(np, name)
        self.name = f"cupy_{name}"
        self.__name__ = name
        self.nin, self.nout = self._numpy.nin, self._numpy.nout
        self.nargs = self.nin + self.nout

    def __call__(self, *args: Any, out: Any = None, dtype: Any = None,
                 casting: str = "same_kind", **kwargs: Any) -> Any:  # fmt: skip
        if kwargs:
            raise TypeError(f"{self.name} has no {sorted(kwargs)}")
        if not self.nin <= len(args) <= self.nargs:
            raise TypeError(f"{self.name} was given {len(args)} arguments")
        inputs, outs = args[: self.nin], self._outs(args[self.nin :], out)
        for x in inputs:
            if not isinstance(x, (ndarray, *SCALARS)):
                raise TypeError(f"{self.name} was given a {type(x).__name__}")
        self._count_overlap(inputs, outs)
        return self._launch(inputs, outs, dtype, casting)

    def _outs(self, positional: tuple[Any, ...], out: Any) -> tuple[Any, ...]:
        outs = positional or (out if isinstance(out, tuple) else (out,))
        for array in outs:
            if array is not None and not isinstance(array, ndarray):
                raise TypeError(f"out is a {type(array).__name__}; wanted a device array")
        return outs

    def _count_overlap(self, inputs: tuple[Any, ...], outs: tuple[Any, ...]) -> None:
        """CuPy copies an input that shares memory with an output and is another object."""
        for x in inputs:
            others = [o for o in outs if o is not None and o is not x]
            if isinstance(x, ndarray) and any(
                np.may_share_memory(x._host, other._host) for other in others
            ):
                allocate(x.nbytes)

    def _launch(self, inputs: Any, outs: Any, dtype: Any, casting: str) -> Any:
        seen: list[ndarray] = []
        host_inputs = [unwrapped(x, seen) for x in inputs]
        host_outs = tuple(unwrapped(o, seen) for o in outs)
        checked_device(seen)
        worked()
        keywords: dict[str, Any] = {} if dtype is None else {"dtype": dtype}
        if any(o is not None for o in host_outs):
            keywords["out"] = host_outs
        with np.errstate(all="ignore"):
            result = self._numpy(*host_inputs, casting=casting, **keywords)
        if self.nout == 1:
            return outs[0] if outs[0] is not None else wrap(result, [])
        given = outs if len(outs) == self.nout else (None,) * self.nout
        return tuple(
            o if o is not None else wrap(r, []) for o, r in zip(given, result, strict=True)
        )

    def reduce(self, array: Any, axis: Any = 0, dtype: Any = None, out: Any = None,
               keepdims: bool = False) -> Any:  # fmt: skip
        self._require(names.REDUCING, "reduce")
        keywords = {"axis": axis, "dtype": dtype, "keepdims": keepdims}
        return run(self._numpy.reduce, [array], _given(keywords, out))

    def accumulate(self, array: Any, axis: int = 0, dtype: Any = None, out: Any = None) -> Any:
        self._require(names.REDUCING, "accumulate")
        return run(self._numpy.accumulate, [array], _given({"axis": axis, "dtype": dtype}, out))

    def at(self, a: Any, indices: Any, b: Any = None) -> None:
        self._require(names.SCATTERING, "at")
        run(self._numpy.at, [a, indices, b], {})

    def outer(self, A: Any, B: Any, **kwargs: Any) -> Any:
        return self(A.reshape(A.shape + (1,) * B.ndim), B, **kwargs)

    def _require(self, supported: tuple[str, ...], method: str) -> None:
        if self.__name__ not in supported:
            raise NotImplementedError(f"CuPy has no {self.name}.{method}")


def _given(keywords: dict[str, Any], out: Any) -> dict[str, Any]:
    return keywords if out is None else {**keywords, "out": out}
