"""The functions and ufuncs of the fake: NumPy's, with CuPy's signatures and manners."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from . import names
from .array import ndarray, wrap
from .calls import checked_device, require_array, run, unwrapped
from .state import allocate, counters, machine, worked

_CREATING = """
    arange array asarray ascontiguousarray asfortranarray asnumpy can_cast empty eye full
    get_array_module get_default_memory_pool get_default_pinned_memory_pool identity
    is_available linspace ndim ones result_type shape zeros
"""
CREATING = frozenset(_CREATING.split())
"""Functions that may be called without an array of the device."""
_READING = "argwhere bincount compress flatnonzero nonzero unique"
READING = frozenset(_READING.split())
"""Functions whose result has a shape that only the device knows: the host must wait for it."""


def function(name: str) -> Callable[..., Any]:
    """The function ``name`` with the parameters recorded from CuPy."""
    signature = inspect.signature(eval(f"lambda {names.FUNCTIONS[name]}: None"))
    implementation = SPECIAL.get(name) or getattr(np, name)
    sort = _sorting(signature)

    def call(*args: Any, **kwargs: Any) -> Any:
        positional, keywords = sort(args, kwargs)
        if name in OWN_MANNERS:
            return implementation(*positional, **keywords)
        if name not in CREATING:
            require_array(name, positional)
        if name in READING:
            counters.read()
        return run(implementation, positional, keywords)

    call.__name__ = call.__qualname__ = name
    return call


def _sorting(signature: inspect.Signature) -> Callable[[Any, Any], Any]:
    """`_sorted_arguments` of a signature, at once where the required ones come by position."""
    parameters = signature.parameters.values()
    plain = not any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters)
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    required = len(parameters) - len(defaults)
    by_position = [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY][required:]

    def sort(args: Any, kwargs: Any) -> Any:
        count = len(args) - required
        further = by_position[: max(count, 0)]
        named = kwargs.keys() <= defaults.keys() - further
        if not plain or len(further) != count or not named:
            return _sorted_arguments(signature, args, kwargs)  # which says what is wrong
        given = dict(zip(further, args[required:], strict=True)) | kwargs
        kept = {key: value for key, value in given.items() if value is not defaults[key]}
        return list(args[:required]), kept

    return sort


def _sorted_arguments(signature: inspect.Signature, args: Any, kwargs: Any) -> Any:
    """Required ones by position, the others by name, as NumPy orders some differently."""
    positional: list[Any] = []
    keywords: dict[str, Any] = {}
    for key, value in signature.bind(*args, **kwargs).arguments.items():
        parameter = signature.parameters[key]
        if parameter.kind is parameter.VAR_POSITIONAL:
            positional += value
        elif parameter.kind is parameter.VAR_KEYWORD:
            keywords.update(value)
        elif parameter.default is parameter.empty:
            positional.append(value)
        elif value is not parameter.default:
            keywords[key] = value
    return positional, keywords


def _array(obj: Any, dtype: Any = None, copy: Any = True, order: Any = "K", **_: Any) -> ndarray:
    if isinstance(obj, ndarray):
        here = obj.device.id == machine.current
        if copy or not here or (dtype is not None and obj.dtype != np.dtype(dtype)):
            return wrap(obj._host.astype(dtype or obj.dtype, order=order or "K"), [])
        return obj
    if isinstance(obj, (list, tuple)) and _holds_arrays(obj):
        return _module_stack(obj, dtype)
    interface = getattr(obj, "__cuda_array_interface__", None)
    if interface is not None:
        foreign = _adopted(SimpleNamespace(__array_interface__=interface, owner=obj))
        return foreign if dtype is None else foreign.astype(dtype, copy=False)
    host = np.array(obj, dtype=dtype, order=order or "K")
    counters.to_device += 1
    return wrap(host.astype(host.dtype.newbyteorder("="), copy=False), [])


def _adopted(holder: Any) -> ndarray:
    """A view of memory that another library calls device memory: no allocation."""
    before = counters.allocations
    array = wrap(np.asarray(holder), [])
    counters.allocations = before
    return array


def _holds_arrays(obj: Any) -> bool:
    return any(isinstance(part, ndarray) for part in obj)


def _module_stack(parts: Any, dtype: Any) -> ndarray:
    return run(np.stack, [list(parts)], {} if dtype is None else {"dtype": dtype})


def _asarray(a: Any, dtype: Any = None, order: Any = None, copy: Any = None, **_: Any) -> ndarray:
    return _array(a, dtype, copy=bool(copy), order=order)


def _contiguous(order: str) -> Callable[..., ndarray]:
    def implementation(a: Any, dtype: Any = None) -> ndarray:
        array = _asarray(a, dtype)
        if array._host.flags[f"{order}_CONTIGUOUS"]:
            return array
        return array.copy(order)

    return implementation


def _asnumpy(a: Any, stream: Any = None, order: str = "C", out: Any = None, **_: Any) -> Any:
    return a.get(out=out) if isinstance(a, ndarray) else np.asarray(a)


def from_dlpack(array: Any) -> ndarray:
    """A view of what another library exports; its capsule is an array of the fake."""
    if array.__dlpack_device__()[0] not in (2, 13):
        raise RuntimeError("only what lies on a device can be imported")
    exported = array.__dlpack__()
    view = wrap(exported._host, [exported])
    view.device = exported.device
    return view


def _created(name: str) -> Callable[..., ndarray]:
    def implementation(shape: Any, *args: Any, dtype: Any = float, order: str = "C") -> ndarray:
        size = int(np.prod(shape, dtype=object)) * np.dtype(dtype or float).itemsize
        before = counters.allocations
        allocate(size)  # before NumPy tries to have so much for real
        counters.allocations = before
        args = tuple(a._host if isinstance(a, ndarray) else a for a in args)
        if name == "full" and dtype is float:
            dtype = None
        return wrap(getattr(np, name)(shape, *args, dtype=dtype, order=order), [])

    return implementation


def _matmul(x1: Any, x2: Any, out: Any = None) -> ndarray:
    for x in (x1, x2):
        if not isinstance(x, ndarray):
            raise TypeError(f"expected cupy.ndarray, got {type(x)}")
    dtype = np.result_type(x1.dtype, x2.dtype)
    for x in (x1, x2):  # cuBLAS wants one dtype, and rows or columns that lie together
        if x.dtype != dtype or not (x.flags.c_contiguous or x.flags.f_contiguous):
            allocate(x.nbytes)
    if out is not None and (out.dtype != dtype or not out.flags.c_contiguous):
        allocate(out.nbytes)
    return run(np.matmul, [x1, x2], {} if out is None else {"out": out})


def _take(a: Any, indices: Any, axis: Any = None, out: Any = None) -> ndarray:
    if not isinstance(a, ndarray):
        raise TypeError(f"cupy.take wants a cupy.ndarray, got {type(a)}")
    if not isinstance(indices, (ndarray, int, np.integer)):
        indices = _asarray(indices)
    if out is None:
        return run(np.take, [a, indices], {"axis": axis, "mode": "wrap"})
    if not isinstance(out, ndarray):
        raise TypeError(f"out is a {type(out).__name__}; wanted a device array")
    seen: list[ndarray] = []
    index = unwrapped(indices, seen)
    checked_device([a, out, *seen])
    shape = np.shape(index)
    if axis is not None:
        axis %= a.ndim
        shape = a.shape[:axis] + shape + a.shape[axis + 1 :]
    if out.dtype != a.dtype:
        raise TypeError(f"out is of {out.dtype}; wanted {a.dtype}")
    if out.shape != shape:
        raise ValueError(f"out is of shape {out.shape}; wanted {shape}")
    worked()
    np.take(a._host, index, axis=axis, out=out._host, mode="wrap")
    return out


def _where(condition: Any, x: Any = None, y: Any = None) -> Any:
    require_array("where", [condition])
    if (x is None) != (y is None):
        raise ValueError("where takes both values or none")
    if x is None:
        counters.read()
        return run(np.nonzero, [condition], {})
    if condition.dtype != bool:
        allocate(condition.size)
    return run(np.where, [condition, x, y], {})


def _copyto(dst: Any, src: Any, casting: str = "same_kind", where: Any = None) -> None:
    if not isinstance(dst, ndarray):
        raise TypeError("copyto writes into device arrays")
    if isinstance(src, np.ndarray):
        raise ValueError("copyto reads no arrays of the host")
    mask = {} if where is None else {"where": where}
    run(np.copyto, [dst, src], {"casting": casting, **mask})


def _arg(name: str) -> Callable[..., Any]:
    def implementation(a: Any, axis: Any = None, dtype: Any = None, out: Any = None,
                       keepdims: bool = False) -> Any:  # fmt: skip
        result = getattr(np, name)(a, axis=axis, keepdims=keepdims)
        if out is None:
            return result if dtype is None else result.astype(dtype)
        if out.shape != result.shape:
            raise ValueError(f"out is of shape {out.shape}; wanted {result.shape}")
        out[...] = result
        return out

    return implementation


def _lexsort(keys: Any) -> Any:
    if not isinstance(keys, np.ndarray):
        raise TypeError("cupy.lexsort wants an array of shape (k, n), not a tuple of keys")
    return np.lexsort(keys)


def _get_array_module(*args: Any) -> Any:
    from . import cupy

    return cupy if any(isinstance(arg, ndarray) for arg in args) else np


SPECIAL: dict[str, Callable[..., Any]] = {
    "array": _array,
    "asarray": _asarray,
    "ascontiguousarray": _contiguous("C"),
    "asfortranarray": _contiguous("F"),
    "asnumpy": _asnumpy,
    "empty": _created("empty"),
    "zeros": _created("zeros"),
    "ones": _created("ones"),
    "full": _created("full"),
    "matmul": _matmul,
    "take": _take,
    "where": _where,
    "copyto": _copyto,
    "get_array_module": _get_array_module,
    "is_available": lambda: machine.devices > 0,
}
OWN_MANNERS = frozenset(SPECIAL)
"""Functions that unwrap and count for themselves; those below leave it to ``run``."""
SPECIAL |= {
    "argmax": _arg("argmax"),
    "argsort": lambda a, axis=-1, kind=None: np.argsort(a, axis=axis, kind="stable"),
    "sort": lambda a, axis=-1, kind=None: np.sort(a, axis=axis, kind="stable"),
    "astype": lambda x, dtype, copy=True: x.astype(dtype, copy=copy),
    "argmin": _arg("argmin"),
    "lexsort": _lexsort,
    "allclose": lambda a, b, **kw: np.asarray(np.allclose(a, b, **kw)),
    "array_equal": lambda a, b, **kw: np.asarray(np.array_equal(a, b, **kw)),
}
