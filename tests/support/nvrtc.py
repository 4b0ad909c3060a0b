"""NVRTC from its wheel: compiles the .cu files as CuPy would, with no device."""

from __future__ import annotations

import ctypes
import importlib.util
import re
from ctypes import byref, c_char_p, c_size_t, c_void_p
from functools import cache
from pathlib import Path
from typing import NamedTuple

from mlpx.engines.cuda.kernels import HERE

ARCHITECTURES = ("sm_80", "sm_90", "sm_100", "sm_120")
"""A100, H100 and H200, B200, GeForce RTX 50."""


class Usage(NamedTuple):
    """What ptxas says that a kernel takes of each thread, and of static shared memory."""

    registers: int
    spilled_bytes: int
    shared_bytes: int
    stack_bytes: int
    """Of memory for what has no register: what is spilled, and arrays whose place is computed."""


@cache
def library() -> ctypes.CDLL:
    """NVRTC, wherever the wheel puts it."""
    found = importlib.util.find_spec("nvidia")
    folders = found.submodule_search_locations if found else None
    paths = [path for folder in folders or () for path in Path(folder).glob("**/libnvrtc.so.*")]
    path = min(path for path in paths if "alt" not in path.name)
    return ctypes.CDLL(str(path))


def compile_file(source: Path, architecture: str) -> dict[str, Usage]:
    """The kernels of a .cu file for an architecture, with what each takes.

    Raises RuntimeError with the compiler's log if it does not compile.
    """
    nvrtc, program = library(), c_void_p()
    text, name = source.read_bytes(), source.name.encode()
    assert nvrtc.nvrtcCreateProgram(byref(program), c_char_p(text), name, 0, None, None) == 0
    options = [f"--gpu-architecture={architecture}", f"-I{HERE}", "-ftz=true", "-std=c++17"]
    options.append("--ptxas-options=-v")
    array = (c_char_p * len(options))(*[option.encode() for option in options])
    status = nvrtc.nvrtcCompileProgram(program, len(options), array)
    size = c_size_t()
    nvrtc.nvrtcGetProgramLogSize(program, byref(size))
    log = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, log)
    nvrtc.nvrtcDestroyProgram(byref(program))
    if status != 0:
        raise RuntimeError(log.value.decode())
    return usage(log.value.decode())


def usage(log: str) -> dict[str, Usage]:
    """What ptxas's log says of each kernel."""
    found = {}
    for part in log.split("Compiling entry function '")[1:]:
        spilled = re.search(r"(\d+) bytes spill stores", part)
        registers = re.search(r"Used (\d+) registers", part)
        shared = re.search(r"(\d+) bytes smem", part)
        stack = re.search(r"(\d+) bytes stack frame", part)
        assert spilled
        assert stack
        assert registers
        found[part.partition("'")[0]] = Usage(
            int(registers[1]), int(spilled[1]), int(shared[1]) if shared else 0, int(stack[1])
        )
    return found
