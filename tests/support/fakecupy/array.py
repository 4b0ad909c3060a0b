"""The fake's ndarray: NumPy memory that pretends to be out of the host's reach."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

import fakecupy

from . import names, streams
from .state import allocate, counters, cuda_call, machine, worked

IMPLICIT = "a device array becomes a NumPy array by .get() alone"
SCALARS = (bool, int, float, complex, np.generic)


class ndarray:  # noqa: N801 - the name it has in CuPy
    """An array in pretended device memory."""

    __slots__ = ("__weakref__", "_host", "base", "device")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, shape: Any, dtype: Any = float, memptr: Any = None) -> None:
        if memptr is None:
            raise NotImplementedError("make arrays with the functions of the module")
        check_dtype(np.dtype(dtype))
        memory = memptr.mem
        self._host = np.frombuffer(memory.owner, dtype, int(np.prod(shape))).reshape(shape)
        self.base, self.device = None, _module().cuda.Device(memory.device_id)

    @property
    def data(self) -> SimpleNamespace:
        return SimpleNamespace(ptr=self._host.ctypes.data, device_id=self.device.id)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {**self._host.__array_interface__, "version": 3}

    def __dlpack__(self, **_: Any) -> ndarray:
        return self  # the fake's capsule of device memory

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, self.device.id

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        raise TypeError(IMPLICIT)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        function = _module().__dict__.get(ufunc.__name__)
        if method != "__call__" or function is None:
            return NotImplemented
        return function(*inputs, **kwargs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        function = _module().__dict__.get(func.__name__)
        return NotImplemented if function is None else function(*args, **kwargs)

    def get(self, stream: Any = None, order: str = "C", out: Any = None,
            blocking: bool = True) -> np.ndarray:  # fmt: skip
        if not blocking:
            assert out is not None, "who would know when a new array is there?"
            counters.to_host_later += 1
            cuda_call("memcpyAsync")
            (stream or streams.current()).put(lambda: np.copyto(out, self._host))
            return out
        counters.read()
        if out is None:
            return self._host.copy(order)
        out[...] = self._host
        return out

    def set(self, arr: np.ndarray, stream: Any = None) -> None:
        if not isinstance(arr, np.ndarray):
            raise TypeError("set takes a NumPy array")
        if arr.dtype != self.dtype:
            raise TypeError(f"set was given {arr.dtype} for {self.dtype}")
        if arr.shape != self.shape:
            raise ValueError(f"set was given shape {arr.shape} for {self.shape}")
        counters.to_device += 1
        worked()
        self._host[...] = arr

    def item(self) -> Any:
        counters.read()
        return self._host.item()

    def tolist(self) -> Any:
        return self.get().tolist()

    def tobytes(self, order: str = "C") -> bytes:
        return self.get().tobytes(order)

    def __bool__(self) -> bool:
        return bool(self.get())

    def __int__(self) -> int:
        return int(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __complex__(self) -> complex:
        return complex(self.item())

    def __repr__(self) -> str:
        return repr(self.get())

    def __len__(self) -> int:
        return len(self._host)

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, key: Any) -> ndarray:
        return wrap(self._host[_index(key)], [self])

    def __setitem__(self, key: Any, value: Any) -> None:
        if isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.ndim):
            raise ValueError("only a scalar of the host can be written into a device array")
        host_key = _index(key)
        worked()
        source = value
        if isinstance(value, ndarray):
            source = value._host
            target = np.asarray(self._host[host_key])  # one element comes as a scalar
            if same_memory(source, target):
                return
            if np.may_share_memory(source, target):
                allocate(source.nbytes)
        with np.errstate(all="ignore"):
            self._host[host_key] = source

    def fill(self, value: Any) -> None:
        if isinstance(value, np.ndarray) and value.ndim:
            raise ValueError("only a scalar of the host can be written into a device array")
        worked()
        self._host.fill(value._host if isinstance(value, ndarray) else value)

    def astype(self, dtype: Any, order: str = "K", casting: Any = None, subok: Any = None,
               copy: bool = True) -> ndarray:  # fmt: skip
        if not copy and self.dtype == np.dtype(dtype):
            return self
        with np.errstate(all="ignore"):
            return wrap(self._host.astype(dtype, order=order), [])

    def copy(self, order: str = "C") -> ndarray:
        return wrap(self._host.copy(order), [])

    def view(self, dtype: Any = None) -> ndarray:
        return wrap(self._host.view() if dtype is None else self._host.view(dtype), [self])

    def reshape(self, *shape: Any, order: str = "C") -> ndarray:
        return wrap(self._host.reshape(*shape, order=order), [self])

    def flatten(self, order: str = "C") -> ndarray:
        return wrap(self._host.flatten(order), [])

    def transpose(self, *axes: Any) -> ndarray:
        return wrap(self._host.transpose(*axes), [self])

    def squeeze(self, axis: Any = None) -> ndarray:
        return wrap(self._host.squeeze(axis), [self])

    def swapaxes(self, axis1: int, axis2: int) -> ndarray:
        return wrap(self._host.swapaxes(axis1, axis2), [self])

    def sort(self, axis: int = -1, kind: Any = None) -> None:
        self._host.sort(axis=axis, kind="stable")

    def clip(self, min: Any = None, max: Any = None, out: Any = None) -> ndarray:
        return _module().clip(self, min, max, out=out)

    def __copy__(self) -> ndarray:
        return self.copy()

    def __deepcopy__(self, memo: Any) -> ndarray:
        return self.copy()

    def __reduce__(self) -> Any:
        return _from_host, (self.get(),)


def _from_host(host: np.ndarray) -> ndarray:
    return _module().asarray(host)


def _module() -> Any:
    return fakecupy.cupy


def wrap(host: Any, inputs: list[ndarray]) -> ndarray:
    """``host`` as a fake array: a view if it lies in the memory of an input, else counted."""
    host = np.asarray(host)
    check_dtype(host.dtype)
    array = object.__new__(ndarray)
    array._host = host
    array.base = next((x for x in inputs if np.may_share_memory(host, x._host)), None)
    array.device = _module().cuda.Device(machine.current)
    if array.base is None:
        allocate(host.nbytes)
    else:
        array.device = array.base.device
    return array


def check_dtype(dtype: np.dtype) -> None:
    """Raise what CuPy raises for what it has no arrays of."""
    if dtype.kind not in "biufc":
        raise ValueError(f"there are no device arrays of {dtype}")
    if not dtype.isnative:
        raise ValueError(f"there are no device arrays of {dtype} in a foreign byte order")


def same_memory(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays are the very same elements in the same order."""
    return (a.ctypes.data, a.shape, a.strides) == (b.ctypes.data, b.shape, b.strides)


def _index(key: Any) -> Any:
    """``key`` for NumPy; lists and NumPy arrays are copied to the device, masks are counted."""
    if isinstance(key, tuple):
        return tuple(_index(part) for part in key)
    if isinstance(key, (list, np.ndarray)):
        counters.to_device += 1
        allocate(np.asarray(key).nbytes)
        key = np.asarray(key)
    elif isinstance(key, ndarray):
        key = key._host
    if isinstance(key, np.ndarray) and key.dtype == bool:
        counters.read()  # how many are True decides the shape
    return key


def _passed_through(name: str) -> property:
    return property(lambda self: getattr(self._host, name))


def _view_of(name: str) -> property:
    return property(lambda self: wrap(getattr(self._host, name), [self]))


def _function(name: str) -> Any:
    def method(self: ndarray, *args: Any, **kwargs: Any) -> Any:
        if name in ("argmax", "argmin") and len(args) > 1:
            raise TypeError(f"pass dtype and out of {name} by keyword")
        return getattr(_module(), name)(self, *args, **kwargs)

    return method


for _name in ("dtype", "flags", "itemsize", "nbytes", "ndim", "shape", "size", "strides"):
    setattr(ndarray, _name, _passed_through(_name))
for _name in ("T", "mT", "real", "imag"):
    setattr(ndarray, _name, _view_of(_name))
for _name in names.METHODS:
    if _name not in ndarray.__dict__ and _name in names.FUNCTIONS:
        setattr(ndarray, _name, _function(_name))

_BINARY = {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "true_divide",
    "floordiv": "floor_divide", "mod": "remainder", "pow": "power", "and": "bitwise_and",
    "or": "bitwise_or", "xor": "bitwise_xor", "lshift": "left_shift", "rshift": "right_shift",
    "matmul": "matmul",
}  # fmt: skip
_COMPARE = {"lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal",
            "eq": "equal", "ne": "not_equal"}  # fmt: skip
_UNARY = {"neg": "negative", "pos": "positive", "abs": "absolute", "invert": "invert"}


def _operators() -> None:
    def call(name: str) -> Any:
        return lambda self, *others: getattr(_module(), name)(self, *others)

    def reflected(name: str) -> Any:
        return lambda self, other: getattr(_module(), name)(other, self)

    def in_place(name: str) -> Any:
        return lambda self, other: getattr(_module(), name)(self, other, out=self)

    for word, name in {**_BINARY, **_COMPARE, **_UNARY}.items():
        setattr(ndarray, f"__{word}__", call(name))
    for word, name in _BINARY.items():
        setattr(ndarray, f"__r{word}__", reflected(name))
        if word != "matmul":
            setattr(ndarray, f"__i{word}__", in_place(name))


_operators()
