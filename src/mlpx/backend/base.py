"""What every backend offers, and how arrays of other libraries are recognised."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, NamedTuple

import numpy as np

from mlpx.errors import DeviceError, InputError, InputTypeError
from mlpx.types import Array, Namespace

DLPACK_HOST = frozenset({1, 3, 11})  # kDLCPU, kDLCUDAHost (pinned), kDLROCMHost
DLPACK_CUDA = frozenset({2, 13})  # kDLCUDA, kDLCUDAManaged
_REFUSED_KINDS = {"O": "object", "S": "bytes", "U": "string", "T": "string", "M": "date",
                  "m": "time span"}  # fmt: skip


class Memory(NamedTuple):
    """Bytes of a device's memory; ``free_bytes`` is what could still be allocated."""

    used_bytes: int
    free_bytes: int
    total_bytes: int


class Backend(ABC):
    """One device and the array module that works on it. Made by :func:`get_backend`."""

    kind: ClassVar[str]
    """``"cpu"`` or ``"cuda"``: the key in ``BACKENDS``."""
    slice_elements: ClassVar[int]
    """How many elements of a flat vector to update at a time (cache size on the CPU)."""

    fill_words: Callable[..., None] | None = None
    """``fill_words(state, *, seed, purpose, item, out)``: Philox words from the device's
    own generator; None if only the kernel in ``kernels.philox`` draws them."""

    device: str
    """``"cpu"``, ``"cuda:0"``, ...: the name by which :func:`get_backend` returns this object."""
    process: int | None = None
    """The process that opened the device, if it works in no other."""
    name: str
    """The device's human-readable name."""
    xp: Namespace
    """The array module: numpy or cupy."""

    @classmethod
    @abstractmethod
    def open(cls, index: int) -> Backend:
        """The backend of device ``index`` of this kind.

        Raises:
            DeviceError: there is no such device, or it cannot be used.
        """

    @classmethod
    @abstractmethod
    def owner(cls, x: object) -> str | None:
        """The device name that holds ``x``, or None when it is not of this kind."""

    def check_process(self) -> None:
        """Check that the device works in this process.

        Raises:
            DeviceError: this process was forked from the one that opened the device.
        """
        if self.process not in (None, os.getpid()):
            raise DeviceError(
                f"{self.device} was opened by process {self.process}, from which this one was "
                f"forked, and {self.kind.upper()} does not survive a fork: start processes with "
                "multiprocessing.get_context('spawn'), or open the device in the children only, or "
                "use device='cpu' in them"
            )

    @abstractmethod
    def empty(self, shape: int | tuple[int, ...], dtype: Any = np.float32) -> Array:
        """An uninitialised C-contiguous array on the device.

        Raises:
            DeviceMemoryError: the device cannot hold it.
        """

    @abstractmethod
    def zeros(self, shape: int | tuple[int, ...], dtype: Any = np.float32) -> Array:
        """An array of zeros on the device; raises as :meth:`empty` does."""

    @abstractmethod
    def asarray(self, x: Any, dtype: Any = None) -> Array:
        """``x`` as an array on this device, without a copy where that is possible.

        ``x``: NumPy, CuPy, DLPack, ``__cuda_array_interface__``, ``__array__``, or lists.

        Raises:
            InputTypeError: ``x`` cannot become a numeric array.
            InputError: nested lists of unequal length.
            DeviceMemoryError: the device cannot hold it.
        """

    def asarray_in_reach(self, x: Any) -> tuple[Array, bool]:
        """(:meth:`asarray` of ``x``, True), or if the device cannot hold ``x``, (the array in other
        memory that the device can read, False).

        The latter is slower; it is meant for arrays from which a step takes a few rows.

        Raises:
            DeviceMemoryError: there is no such memory, or not enough.
        """
        return self.asarray(x), True

    @abstractmethod
    def upload(self, host: np.ndarray, *, out: Array) -> None:
        """Copy ``host`` into ``out`` of the same shape, as ``out``'s dtype; allocates no device
        array.
        """

    @abstractmethod
    def to_numpy(self, x: Array) -> np.ndarray:
        """``x`` as a NumPy array; on CUDA this waits for the device and copies."""

    @abstractmethod
    def synchronize(self) -> None:
        """Wait until the device has done everything it was given."""

    @abstractmethod
    def memory(self) -> Memory:
        """How much memory the device has and has left, in bytes."""

    @abstractmethod
    def stream(self) -> AbstractContextManager[Any]:
        """A context in which work goes to this device, on a stream of its own."""

    def failing(self, doing: str, *, nobody_else: bool = False) -> AbstractContextManager[None]:
        """A context with this device current, in which an error of its libraries becomes a
        DeviceError that names the device, what it was `doing`, and what to do. Other RuntimeErrors
        pass unless only device code runs inside (`nobody_else`).
        """
        del doing, nobody_else
        return nullcontext()

    @abstractmethod
    def take(self, x: Array, rows: Array, *, out: Array) -> Array:
        """Rows of ``x`` (n, ...) at ``rows`` (m,) written into ``out`` (m, ...), same dtype.

        Allocates nothing. ``rows`` must lie in [0, n), which is not checked.
        """

    by_name: ClassVar[Callable[[str], Backend]]
    """:func:`get_backend`, which the package puts here."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        """A backend is pickled as the name of its device."""
        return Backend.by_name, (self.device,)

    def __repr__(self) -> str:
        return f"<Backend {self.device}: {self.name}>"


def is_array_like(x: object) -> bool:
    """Whether ``x`` can become an array without guessing."""
    return isinstance(x, (list, tuple, memoryview)) or any(
        hasattr(x, name) for name in ("__array__", "__dlpack__", "__cuda_array_interface__")
    )


def detached(x: Any) -> Any:
    """``x`` without its gradient tape: DLPack refuses tensors that require grad."""
    return x.detach() if getattr(x, "requires_grad", False) else x


def dlpack_device(x: Any) -> tuple[int, int] | None:
    """(DLPack device type, index) of ``x``, or None if it does not support DLPack."""
    if not hasattr(x, "__dlpack_device__"):
        return None
    kind, index = x.__dlpack_device__()
    return int(kind), int(index)


def check_kind(x: Any, source: object) -> None:
    """Refuse arrays that hold something other than numbers.

    Raises:
        InputTypeError: object, string or date arrays; names the type of ``source``.
        InputError: masked entries.
    """
    check_unmasked(source)
    word = _REFUSED_KINDS.get(x.dtype.kind)
    if word is not None:
        raise InputTypeError(
            f"{type(source).__name__} makes an array of dtype {x.dtype} ({word}); "
            "numbers are wanted: convert it first, e.g. with numpy.asarray(x, dtype='float32')"
        )


def check_unmasked(x: object, name: str = "x") -> None:
    """Refuse masked entries, whose values mean nothing; a mask that hides nothing is fine.

    Raises:
        InputError: says how many entries are masked, and where the first is.
    """
    if isinstance(x, np.ma.MaskedArray) and np.ma.is_masked(x):
        at = np.argwhere(np.ma.getmaskarray(x))
        places = ("row", "column", "depth")
        where = ", ".join(f"{place} {i}" for place, i in zip(places, at[0], strict=False))
        raise InputError(
            f"{name} is a masked array and {len(at)} of its {x.size} entries are masked, the first "
            f"at {where or 'its only place'}; fill them by its method filled(value), or leave "
            "those rows out"
        )


def check_array_like(x: object) -> None:
    """Refuse objects that should not become arrays.

    Raises:
        InputTypeError: a sparse matrix, or an object that is not an array, list or tensor.
    """
    if hasattr(x, "nnz") and hasattr(x, "toarray"):
        raise InputTypeError(
            f"{type(x).__name__} is sparse; a dense array is wanted: pass x.toarray()"
        )
    if not is_array_like(x) and not isinstance(x, (bool, int, float)):
        raise InputTypeError(
            f"{type(x).__name__} is not an array; wanted NumPy, CuPy, a DLPack tensor, "
            "__cuda_array_interface__, __array__ or nested lists of numbers"
        )
