"""cublasLt's constants, structures and functions are those of the header of its wheel."""

from __future__ import annotations

import ctypes
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from mlpx.backend import diagnose
from mlpx.engines.cuda import cublaslt
from mlpx.engines.cuda.cublaslt import CublasLt, CublasLtError
from mlpx.errors import EngineError

WORDS = {
    "OP_": "CUBLAS_OP_",
    "COMPUTE_": "CUBLAS_COMPUTE_",
    "POINTER_MODE_": "CUBLASLT_POINTER_MODE_",
    "DESC_": "CUBLASLT_MATMUL_DESC_",
    "EPILOGUE_": "CUBLASLT_EPILOGUE_",
    "PREF_": "CUBLASLT_MATMUL_PREF_",
    "STATUS_": "CUBLAS_STATUS_",
}


def wheel() -> Path:
    """The folder of the wheel nvidia-cublas."""
    import nvidia

    (folder,) = (Path(path) / "cu13" for path in nvidia.__path__)
    return folder


class Loader:
    """Like CDLL, but only some libraries are found."""

    def __init__(self, *known: str) -> None:
        self.known = known

    def __call__(self, name: str) -> str:
        if name not in self.known:
            raise OSError(f"{name}: cannot open shared object file")
        return f"opened {name}"


@pytest.mark.parametrize("known", ["libcublasLt.so.13", "/wheel/libcublasLt.so.13", "neither"])
def test_the_library_is_that_of_the_system_or_of_a_wheel(
    known: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cupy: Any = SimpleNamespace(cuda=SimpleNamespace(runtime=SimpleNamespace()))
    cupy.cuda.runtime.runtimeGetVersion = lambda: 13020
    pathfinder: Any = ModuleType("cuda.pathfinder")
    pathfinder.load_nvidia_dynamic_lib = lambda name: SimpleNamespace(
        abs_path=f"/wheel/lib{name}.so.13"
    )
    monkeypatch.setitem(sys.modules, "cuda", ModuleType("cuda"))
    monkeypatch.setitem(sys.modules, "cuda.pathfinder", pathfinder)
    monkeypatch.setattr(ctypes, "CDLL", Loader(known))
    if known == "neither":
        with pytest.raises(EngineError, match=r"libcublasLt\.so\.13 is not there"):
            cublaslt.find(cupy)
    else:
        assert cublaslt.find(cupy) == f"opened {known}"


@pytest.fixture(scope="module")
def header() -> str:
    names = ("cublas_api.h", "cublasLt.h")
    text = "\n".join((wheel() / "include" / name).read_text() for name in names)
    return re.sub(r"/\*.*?\*/|//[^\n]*", "", text, flags=re.DOTALL)


@pytest.fixture(scope="module")
def library() -> ctypes.CDLL:
    return ctypes.CDLL(str(wheel() / "lib" / "libcublasLt.so.13"))


def constants(header: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for name, value in re.findall(r"\b(CUBLAS(?:LT)?_\w+) = ([^,}]+)", header):
        terms = [term.strip(" ()\n") for term in value.split("|")]
        total = 0
        for term in terms:
            total |= found[term] if term in found else int(term, 0) if term.isdigit() else 0
        found[name] = total
    return found


def test_constants(header: str) -> None:
    found, compared = constants(header), 0
    for name, value in vars(cublaslt).items():
        for ours, theirs in WORDS.items():
            if name.startswith(ours) and isinstance(value, int):
                assert found[name.replace(ours, theirs, 1)] == value, name
                compared += 1
    assert compared >= 14
    for letter, value in cublaslt.PREF_MIN_ALIGNMENT.items():
        assert found[f"CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_{letter}_BYTES"] == value


def test_structures(header: str) -> None:
    algorithm = re.search(r"uint64_t data\[(\d+)\];\s*\} cublasLtMatmulAlgo_t", header)
    assert algorithm is not None
    assert ctypes.sizeof(cublaslt.Algorithm) == 8 * int(algorithm[1])
    start = header.rindex("typedef struct {", 0, header.index("} cublasLtMatmulHeuristicResult_t"))
    fields = re.findall(r"(\w+) \w+(\[\d+\])?;", header[start : header.index("}", start)])
    sizes = {"cublasLtMatmulAlgo_t": 64, "size_t": 8, "cublasStatus_t": 4, "float": 4, "int": 4}
    total = sum(sizes[kind] * int(count.strip("[]") or 1) for kind, count in fields)
    assert [kind for kind, _ in fields] == list(sizes)
    assert ctypes.sizeof(cublaslt.HeuristicResult) == total


def test_functions(header: str) -> None:
    """Same number of parameters, pointers where theirs are pointers or handles, same widths."""
    numbers = {"int": 4, "size_t": 8, "uint64_t": 8, "int64_t": 8}
    for name, ours in cublaslt.PROTOTYPES.items():
        match = re.search(rf"cublasStatus_t CUBLASWINAPI\s+{name}\(([^)]*)\)", header)
        assert match is not None, name
        theirs = [" ".join(parameter.split()) for parameter in match[1].split(",")]
        assert len(theirs) == len(ours), name
        for parameter, kind in zip(theirs, ours, strict=True):
            pointer = "*" in parameter or "[" in parameter
            size = 8 if pointer else numbers.get(parameter.split()[0])
            assert ctypes.sizeof(kind) == (size or enum_or_handle(parameter)), (name, parameter)


def enum_or_handle(parameter: str) -> int:
    """The size in bytes of a parameter of a type from the header: enumerations are ints."""
    kind = parameter.split()[0]
    enums = ("cudaDataType_t", "cudaDataType", "cublasComputeType_t", "Attributes_t")
    return 4 if kind.endswith(enums) else 8


def test_data_types() -> None:
    """library_types.h is in another wheel; CuPy's names for them are the same numbers."""
    cupy = pytest.importorskip("cupy", reason="no GPU stack: CuPy is not installed")
    runtime = cupy.cuda.runtime
    assert cublaslt.R_32F == runtime.CUDA_R_32F
    assert cublaslt.R_64F == runtime.CUDA_R_64F
    assert cublaslt.R_16BF == runtime.CUDA_R_16BF


def test_the_library_takes_our_descriptions(library: ctypes.CDLL) -> None:
    """Descriptions need no GPU; a handle does, and its absence is an error that says so."""
    if diagnose().ok:
        CublasLt(library)
    else:
        with pytest.raises(CublasLtError, match="cublasLtCreate returned status 1"):
            CublasLt(library)
    found = object.__new__(CublasLt)
    found.functions = {name: getattr(library, name) for name in cublaslt.PROTOTYPES}
    for name, function in found.functions.items():
        function.argtypes, function.restype = cublaslt.PROTOTYPES[name], ctypes.c_int
    turned = {cublaslt.DESC_TRANSA: ctypes.c_int32(cublaslt.OP_T)}
    descriptor = found.descriptor(cublaslt.COMPUTE_32F, cublaslt.R_32F, turned)
    layout = found.layout(cublaslt.R_32F, 10, 4, 10)
    with pytest.raises(CublasLtError, match="SetAttribute returned status 7"):
        found.descriptor(cublaslt.COMPUTE_32F, cublaslt.R_32F, {3: ctypes.c_int64(1)})
    found.call("cublasLtMatrixLayoutDestroy", layout)
    found.call("cublasLtMatmulDescDestroy", descriptor)
