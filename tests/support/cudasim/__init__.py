"""The .cu files of the CUDA engine on the CPU: compiled by g++ as they are, run block by block.

`kernel("gather_float32")` is a function that runs one launch. It covers what a kernel computes, its
barriers and exchanges, its shared memory and its sums over blocks; not races through memory without
a barrier, fences, flushed denormals, or speed.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
ENGINES = HERE.parents[2] / "src" / "mlpx" / "engines"
FORWARD, BACKWARD, RANDOM = range(3)
"""The orders in which threads and blocks can run."""
FLAGS = (
    "-std=c++17", "-O1", "-g1", "-fPIC", "-ffp-contract=off", "-Wall", "-Wextra",
    "-Wno-unknown-pragmas",  # those that tell CUDA's compiler what to unroll
    "-U_FORTIFY_SOURCE",  # which takes a jump to another fiber's stack for a mistake
)  # fmt: skip


ASAN = "-fsanitize=address"


class SimulationError(AssertionError):
    """What a kernel does and must not."""


def compiler() -> str | None:
    """The C++ compiler of this machine."""
    return shutil.which(os.environ.get("CXX", "g++")) or shutil.which("c++")


def sanitizer() -> dict[str, str]:
    """The environment of a process that runs libraries built with ASAN."""
    command = [compiler() or "", "-print-file-name=libasan.so"]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return {"LD_PRELOAD": found, "ASAN_OPTIONS": "detect_leaks=0"}


def build(sources: Path = ENGINES / "cuda", flags: Sequence[str] = (), only: str = "*.cu") -> Path:
    """The shared library of the .cu files in a folder; made once for each text of them."""
    files = [*sorted(sources.glob(only)), HERE / "simulator.cpp"]
    headers = [*sources.glob("*.cuh"), ENGINES / "formulas.h", *HERE.glob("*.h")]
    texts = b"".join(path.read_bytes() for path in [*files, *sorted(headers)])
    key = hashlib.sha256(texts + repr((FLAGS, flags)).encode()).hexdigest()[:20]
    folder = Path(tempfile.gettempdir()) / f"mlpx-cudasim-{os.getuid()}"
    library = folder / f"{key}.so"
    if not library.exists():
        folder.mkdir(mode=0o700, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            made = link(compile_all(files, sources, Path(scratch), flags), Path(scratch), flags)
            os.replace(made, library)  # whole, also where two build at a time
    return library


@cache
def built() -> Path:
    """The library of the kernels as they are: their text is read once, not at every launch."""
    return build()


@cache
def built_of(code: str, options: tuple[str, ...]) -> Path:
    """The library of a text that is none of the engine's files, compiled with their headers."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "text.cu").write_text(code)
        # UNROLL and its like mean nothing to g++
        return build(Path(folder), (*options, "-Wno-unknown-pragmas"))


def holds(name: str) -> bool:
    """Whether one of the engine's kernels is called that."""
    return hasattr(opened(built()), name)


def compile_all(
    files: list[Path], sources: Path, scratch: Path, flags: Sequence[str]
) -> list[Path]:
    """An object of each file."""

    def compile_one(path: Path) -> Path:
        made = scratch / f"{path.stem}.o"
        shim = ("-include", str(HERE / "cuda_on_cpu.h"), f"-I{sources}", f"-I{HERE}")
        run(*FLAGS, *flags, *shim, "-x", "c++", "-c", str(path), "-o", str(made))
        return made

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(compile_one, files))


def link(objects: list[Path], scratch: Path, flags: Sequence[str]) -> Path:
    """The objects as one library."""
    made = scratch / "all.so"
    run("-shared", *flags, *map(str, objects), "-o", str(made))
    return made


def run(*arguments: str) -> None:
    """The compiler; raises SimulationError with what it says if it does not succeed."""
    command = compiler()
    assert command is not None
    done = subprocess.run([command, *arguments], capture_output=True, text=True, check=False)
    if done.returncode or "warning:" in done.stderr:
        raise SimulationError(done.stderr[-4000:])


@cache
def opened(path: Path) -> ctypes.PyDLL:
    """A library; its calls hold the interpreter's lock, for there is one simulated device."""
    library = ctypes.PyDLL(str(path))
    library.cudasim_run.restype = ctypes.c_char_p
    library.cudasim_run.argtypes = (
        ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p,
        ctypes.c_size_t, ctypes.c_int, ctypes.c_uint64,
    )  # fmt: skip
    return library


def kernel(name: str, library: Path | None = None) -> Callable[..., None]:
    """What runs `name`: (grid, block, operation, state's address, bytes of shared memory)."""
    found = opened(library or built())
    function = ctypes.cast(getattr(found, name), ctypes.c_void_p)

    def launch(
        grid: int, block: int, operation: bytes, state: int, shared: int,
        *, schedule: int = FORWARD, seed: int = 1,
    ) -> None:  # fmt: skip
        wrong = found.cudasim_run(function, grid, block, operation, state, shared, schedule, seed)
        if wrong:
            raise SimulationError(f"{name}: {wrong.decode()}")

    return launch
