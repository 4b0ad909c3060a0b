"""What the fake allows: names and signatures recorded from CuPy 14.2.0, nothing added by hand.

A name that is not here does not exist in the fake. To allow one more, look it up in CuPy and
copy its signature; engines/cuda/test_fakecupy.py compares the record with CuPy wherever that can
be imported (it needs no GPU for that).
"""

from __future__ import annotations

VERSION = "14.2.0"

_UFUNCS = """
    abs absolute add arccos arccosh arcsin arcsinh arctan arctan2 arctanh bitwise_and
    bitwise_count bitwise_invert bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift
    bitwise_xor cbrt ceil conj conjugate copysign cos cosh deg2rad degrees divide equal exp
    exp2 expm1 fabs float_power floor floor_divide fmax fmin fmod frexp gcd greater
    greater_equal heaviside hypot invert isfinite isinf isnan lcm ldexp left_shift less
    less_equal log log10 log1p log2 logaddexp logaddexp2 logical_and logical_not logical_or
    logical_xor maximum minimum mod modf multiply negative nextafter not_equal positive pow
    power rad2deg radians reciprocal remainder right_shift rint sign signbit sin sinh sqrt
    square subtract tan tanh true_divide trunc
"""
UFUNCS = tuple(_UFUNCS.split())
"""Elementwise functions: (x..., /, out=None, *, casting="same_kind", dtype=None), no where=."""

REDUCING = ("add", "multiply")
"""The ufuncs whose reduce and accumulate CuPy has; maximum.reduce raises there."""

SCATTERING = ("add", "maximum", "minimum")
"""The ufuncs whose at works for floats."""

_SHARED = """
    bool_ int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 complex64
    complex128 floating integer inexact number signedinteger unsignedinteger generic dtype
    finfo iinfo inf nan pi e newaxis issubdtype promote_types bool intp uintp
"""
SHARED = tuple(_SHARED.split())
"""Names that CuPy takes from NumPy as they are."""

_METHODS = """
    T all any argmax argmin argpartition argsort astype base choose clip compress conj
    conjugate copy cumprod cumsum data device diagonal dot dtype fill flags flatten get imag
    item itemsize mT max mean min nbytes ndim nonzero partition prod ptp put ravel real repeat
    reshape round searchsorted set shape size sort squeeze std strides sum swapaxes take
    tobytes tolist trace transpose var view
"""
METHODS = tuple(_METHODS.split())
"""Attributes and methods of cupy.ndarray that the fake has."""

FUNCTIONS = {
    "all": "a, axis=None, out=None, keepdims=False",
    "allclose": "a, b, rtol=1e-05, atol=1e-08, equal_nan=False",
    "amax": "a, axis=None, out=None, keepdims=False",
    "amin": "a, axis=None, out=None, keepdims=False",
    "any": "a, axis=None, out=None, keepdims=False",
    "arange": "start, stop=None, step=1, dtype=None",
    "argmax": "a, axis=None, dtype=None, out=None, keepdims=False",
    "argmin": "a, axis=None, dtype=None, out=None, keepdims=False",
    "argpartition": "a, kth, axis=-1",
    "argsort": "a, axis=-1, kind=None",
    "argwhere": "a",
    "around": "a, decimals=0, out=None",
    "array": "obj, dtype=None, copy=True, order='K', subok=False, ndmin=0, *, blocking=False",
    "array_equal": "a1, a2, equal_nan=False",
    "asarray": "a, dtype=None, order=None, *, copy=None, blocking=False",
    "ascontiguousarray": "a, dtype=None",
    "asfortranarray": "a, dtype=None",
    "asnumpy": "a, stream=None, order='C', out=None, *, blocking=True",
    "astype": "x, dtype, /, *, copy=True",
    "atleast_1d": "*arys",
    "atleast_2d": "*arys",
    "bincount": "x, weights=None, minlength=None",
    "broadcast_arrays": "*args",
    "broadcast_to": "array, shape",
    "can_cast": "from_, to, casting='safe'",
    "clip": "a, a_min, a_max, out=None",
    "column_stack": "tup",
    "compress": "condition, a, axis=None, out=None",
    "concatenate": "tup, axis=0, out=None, *, dtype=None, casting='same_kind'",
    "copy": "a, order='K'",
    "copyto": "dst, src, casting='same_kind', where=None",
    "count_nonzero": "a, axis=None",
    "cumprod": "a, axis=None, dtype=None, out=None",
    "cumsum": "a, axis=None, dtype=None, out=None",
    "diag": "v, k=0",
    "diagonal": "a, offset=0, axis1=0, axis2=1",
    "diff": "a, n=1, axis=-1, prepend=None, append=None",
    "dot": "a, b, out=None",
    "einsum": "*operands, **kwargs",
    "empty": "shape, dtype=float, order='C'",
    "empty_like": "prototype, dtype=None, order='K', subok=None, shape=None",
    "expand_dims": "a, axis",
    "eye": "N, M=None, k=0, dtype=float, order='C'",
    "flatnonzero": "a",
    "flip": "a, axis=None",
    "full": "shape, fill_value, dtype=None, order='C'",
    "full_like": "a, fill_value, dtype=None, order='K', subok=None, shape=None",
    "get_array_module": "*args",
    "get_default_memory_pool": "",
    "get_default_pinned_memory_pool": "",
    "hstack": "tup, *, dtype=None, casting='same_kind'",
    "identity": "n, dtype=float",
    "inner": "a, b",
    "is_available": "",
    "isclose": "a, b, rtol=1e-05, atol=1e-08, equal_nan=False",
    "iscomplexobj": "x",
    "isin": "element, test_elements, assume_unique=False, invert=False",
    "lexsort": "keys",
    "linspace": "start, stop, num=50, endpoint=True, retstep=False, dtype=None, axis=0",
    "matmul": "x1, x2, /, out=None",
    "max": "a, axis=None, out=None, keepdims=False",
    "may_share_memory": "a, b, max_work=None",
    "mean": "a, axis=None, dtype=None, out=None, keepdims=False",
    "median": "a, axis=None, out=None, overwrite_input=False, keepdims=False",
    "meshgrid": "*xi, **kwargs",
    "min": "a, axis=None, out=None, keepdims=False",
    "moveaxis": "a, source, destination",
    "nan_to_num": "x, copy=True, nan=0.0, posinf=None, neginf=None",
    "ndim": "a",
    "nonzero": "a",
    "ones": "shape, dtype=float, order='C'",
    "ones_like": "a, dtype=None, order='K', subok=None, shape=None",
    "outer": "a, b, out=None",
    "pad": "array, pad_width, mode='constant', **kwargs",
    "partition": "a, kth, axis=-1",
    "prod": "a, axis=None, dtype=None, out=None, keepdims=False",
    "ptp": "a, axis=None, out=None, keepdims=False",
    "put": "a, ind, v, mode='wrap'",
    "put_along_axis": "arr, indices, values, axis",
    "putmask": "a, mask, values",
    "quantile": "a, q, axis=None, out=None, "
    "overwrite_input=False, method='linear', keepdims=False, *, interpolation=None",
    "ravel": "a, order='C'",
    "repeat": "a, repeats, axis=None",
    "reshape": "a, newshape, order='C', *, copy=None",
    "result_type": "*arrays_and_dtypes",
    "roll": "a, shift, axis=None",
    "round": "a, decimals=0, out=None",
    "searchsorted": "a, v, side='left', sorter=None",
    "select": "condlist, choicelist, default=0",
    "shape": "a",
    "shares_memory": "a, b, max_work=None",
    "sort": "a, axis=-1, kind=None",
    "split": "ary, indices_or_sections, axis=0",
    "squeeze": "a, axis=None",
    "stack": "tup, axis=0, out=None, *, dtype=None, casting='same_kind'",
    "std": "a, axis=None, dtype=None, out=None, ddof=0, keepdims=False",
    "sum": "a, axis=None, dtype=None, out=None, keepdims=False",
    "swapaxes": "a, axis1, axis2",
    "take": "a, indices, axis=None, out=None",
    "take_along_axis": "a, indices, axis",
    "tensordot": "a, b, axes=2",
    "tile": "A, reps",
    "trace": "a, offset=0, axis1=0, axis2=1, dtype=None, out=None",
    "transpose": "a, axes=None",
    "tril": "m, k=0",
    "triu": "m, k=0",
    "unique": "ar, return_index=False, return_inverse=False, "
    "return_counts=False, axis=None, *, equal_nan=True",
    "var": "a, axis=None, dtype=None, out=None, ddof=0, keepdims=False",
    "vdot": "a, b",
    "vstack": "tup, *, dtype=None, casting='same_kind'",
    "where": "condition, x=None, y=None",
    "zeros": "shape, dtype=float, order='C'",
    "zeros_like": "a, dtype=None, order='K', subok=None, shape=None",
}
"""Function name -> its parameters."""
