"""cublasLt by ctypes: what a plan of a matrix product needs of it.

CuPy refuses cuBLAS while a stream is captured; cublasLt takes stream and workspace with every call,
so it can be captured. The constants and sizes are those of cublasLt.h, which a test compares.
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, byref, c_float, c_int, c_int64, c_size_t, c_uint64, c_void_p
from functools import cache
from typing import Any

from mlpx.errors import EngineError

STATUS_SUCCESS = 0
OP_N, OP_T = 0, 1
COMPUTE_32F, COMPUTE_32F_FAST_TF32, COMPUTE_64F = 68, 77, 70
R_32F, R_64F, R_16F, R_16BF = 0, 1, 2, 14
POINTER_MODE_DEVICE = 1
DESC_POINTER_MODE = 2
DESC_TRANSA, DESC_TRANSB, DESC_EPILOGUE, DESC_BIAS_POINTER = 3, 4, 7, 8
DESC_EPILOGUE_AUX_POINTER, DESC_EPILOGUE_AUX_LD = 11, 12
EPILOGUE_BIAS, EPILOGUE_RELU_BIAS, EPILOGUE_BGRADA = 4, 6, 256
EPILOGUE_RELU_AUX_BIAS, EPILOGUE_DRELU, EPILOGUE_DRELU_BGRAD = 134, 136, 152
EPILOGUE_GELU_AUX_BIAS, EPILOGUE_DGELU = 164, 192
GELU_COLUMNS, MASK_COLUMNS = 8, 128
"""What the rows of GELU's input and of relu's bits are to be a multiple of, in numbers and bits."""
PREF_MAX_WORKSPACE_BYTES = 1
PREF_MIN_ALIGNMENT = {"A": 5, "B": 6, "C": 7, "D": 8}


class Algorithm(ctypes.Structure):
    """cublasLtMatmulAlgo_t."""

    _fields_ = (("data", c_uint64 * 8),)


class HeuristicResult(ctypes.Structure):
    """cublasLtMatmulHeuristicResult_t."""

    _fields_ = (
        ("algo", Algorithm),
        ("workspace_size", c_size_t),
        ("state", c_int),
        ("waves_count", c_float),
        ("reserved", c_int * 4),
    )


_HANDLES = POINTER(c_void_p)
PROTOTYPES: dict[str, tuple[Any, ...]] = {
    "cublasLtCreate": (_HANDLES,),
    "cublasLtMatmulDescCreate": (_HANDLES, c_int, c_int),
    "cublasLtMatmulDescDestroy": (c_void_p,),
    "cublasLtMatmulDescSetAttribute": (c_void_p, c_int, c_void_p, c_size_t),
    "cublasLtMatrixLayoutCreate": (_HANDLES, c_int, c_uint64, c_uint64, c_int64),
    "cublasLtMatrixLayoutDestroy": (c_void_p,),
    "cublasLtMatmulPreferenceCreate": (_HANDLES,),
    "cublasLtMatmulPreferenceDestroy": (c_void_p,),
    "cublasLtMatmulPreferenceSetAttribute": (c_void_p, c_int, c_void_p, c_size_t),
    "cublasLtMatmulAlgoGetHeuristic": (
        *(c_void_p,) * 7, c_int, POINTER(HeuristicResult), POINTER(c_int),
    ),
    "cublasLtMatmul": (
        *(c_void_p,) * 12, POINTER(Algorithm), c_void_p, c_size_t, c_void_p,
    ),
}  # fmt: skip
"""The parameters of each function; all return a status."""


class CublasLtError(RuntimeError):
    """A call of cublasLt that failed; the message says which, and its status."""


class CublasLt:
    """The library with one handle: each call checked."""

    def __init__(self, library: Any) -> None:
        self.functions = {name: getattr(library, name) for name in PROTOTYPES}
        for name, function in self.functions.items():
            function.argtypes, function.restype = PROTOTYPES[name], c_int
        self.handle = self.create("cublasLtCreate")

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function.

        Raises CublasLtError unless it returns success.
        """
        status = self.functions[name](*arguments)
        if status != STATUS_SUCCESS:
            raise CublasLtError(f"{name} returned status {status}")

    def create(self, name: str, *arguments: Any) -> c_void_p:
        """What a creating function makes."""
        made = c_void_p()
        self.call(name, byref(made), *arguments)
        return made

    def descriptor(self, compute: int, scale: int, attributes: dict[int, Any]) -> c_void_p:
        """A description of a product; attributes are ctypes numbers by their constants."""
        made = self.create("cublasLtMatmulDescCreate", compute, scale)
        for attribute, value in attributes.items():
            self._set("cublasLtMatmulDescSetAttribute", made, attribute, value)
        return made

    def layout(self, dtype: int, rows: int, columns: int, stride: int) -> c_void_p:
        """How a matrix lies in memory, by columns `stride` elements apart."""
        return self.create("cublasLtMatrixLayoutCreate", dtype, rows, columns, stride)

    def best(
        self, descriptor: c_void_p, layouts: tuple[c_void_p, ...], preferences: dict[int, Any]
    ) -> HeuristicResult | None:
        """The algorithm the heuristic puts first, or None where it knows none for the shape."""
        wanted = self.create("cublasLtMatmulPreferenceCreate")
        for attribute, value in preferences.items():
            self._set("cublasLtMatmulPreferenceSetAttribute", wanted, attribute, value)
        result, count = HeuristicResult(), c_int()
        status = self.functions["cublasLtMatmulAlgoGetHeuristic"](
            self.handle, descriptor, *layouts, wanted, 1, byref(result), byref(count)
        )
        self.call("cublasLtMatmulPreferenceDestroy", wanted)
        usable = status == STATUS_SUCCESS and count.value and result.state == STATUS_SUCCESS
        return result if usable else None

    def _set(self, name: str, object_: c_void_p, attribute: int, value: Any) -> None:
        self.call(name, object_, attribute, byref(value), ctypes.sizeof(value))


def find(cupy: Any) -> Any:
    """The library of the CUDA that CuPy was built for, as ctypes loads it.

    Raises EngineError where there is none.
    """
    major = cupy.cuda.runtime.runtimeGetVersion() // 1000
    try:
        return ctypes.CDLL(f"libcublasLt.so.{major}")
    except OSError:
        pass
    try:
        from cuda.pathfinder import load_nvidia_dynamic_lib

        return ctypes.CDLL(load_nvidia_dynamic_lib("cublasLt").abs_path)
    except Exception as error:  # it has exceptions of its own
        raise EngineError(f"libcublasLt.so.{major} is not there") from error


@cache
def opened(backend: Any) -> CublasLt:
    """cublasLt on a backend's device, which must be current.

    Raises EngineError or CublasLtError where it cannot be used.
    """
    return CublasLt(find(backend.xp))
