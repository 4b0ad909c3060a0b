"""Every .cu file compiled in threads of its own, by what the engine calls, and the time of each."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from gpu.faults import said
from gpu.section import Row, Setup
from mlpx.backend import get_backend
from mlpx.engines.cuda import kernels
from mlpx.engines.cuda.launches import FILES


def run(setup: Setup) -> Iterator[Row]:
    backend: Any = get_backend(setup.device)
    started_s = time.perf_counter()
    with backend.xp.cuda.Device(backend.index) as device:
        backend.xp.zeros(8, "uint8")  # the context is made here, and is no file's time
        device.synchronize()
    context_s = time.perf_counter() - started_s
    yield from compile_all(backend, context_s)


def compile_all(backend: Any, context_s: float = 0.0) -> Iterator[Row]:
    """A row a file as soon as it is compiled, then one for all."""
    before, started_s, rows = cached(), time.perf_counter(), list[Row]()
    with ThreadPoolExecutor(len(FILES)) as pool:
        for done in as_completed([pool.submit(compile_one, backend, file) for file in FILES]):
            rows.append(done.result())
            yield rows[-1]
    wall_s, made = time.perf_counter() - started_s, len(cached() - before)
    failed = [row["file"] for row in rows if not row["passed"]]
    yield {
        "check": "compiling all",
        "passed": not failed,
        **({"why": f"not compiled: {', '.join(failed)}"} if failed else {}),
        "seconds": wall_s,
        "seconds_of_all_files": sum(row["seconds"] for row in rows),
        "context_seconds": context_s,
        "files": len(rows),
        "cubins_written": made,
        "found_on_disk": "all" if not made else "none" if made >= len(rows) else "some",
        "cache": str(folder()),
    }


def compile_one(backend: Any, file: str) -> Row:
    """A file's row: CuPy compiles when a kernel is first asked for, so all of them are."""
    started_s = time.perf_counter()
    row: Row = {"check": "compiling", "file": file}
    try:
        with backend.xp.cuda.Device(backend.index):  # of this thread
            module = kernels.compiled(backend, file)
            names = [f"{name}_{dtype}" for name in FILES[file] for dtype in kernels.DTYPES]
            found = [module.get_function(name) for name in names]
            row["seconds"] = time.perf_counter() - started_s
            row |= {"passed": True, "kernels": len(found), **most(found)}
    except Exception as error:  # a compiler's errors are of many classes
        row.setdefault("seconds", time.perf_counter() - started_s)
        # An error of the compiler is long, and its first line says little.
        row |= {"passed": False, "why": said(error), "text": str(error)[:2000]}
    return row


def most(found: list[Any]) -> dict[str, Any]:
    """What the compiler says of the kernels, where CuPy has it: most registers, and most spilled;
    and the least of the threads a block may have.
    """
    try:
        return {
            "most_registers": max(int(kernel.num_regs) for kernel in found),
            "most_local_bytes": max(int(kernel.local_size_bytes) for kernel in found),
            "fewest_threads": min(int(kernel.max_threads_per_block) for kernel in found),
        }
    except Exception:  # it compiled, whatever CuPy cannot say of it
        return {}


def folder() -> Path:
    """Where CuPy keeps what it compiled."""
    return Path(os.environ.get("CUPY_CACHE_DIR") or Path.home() / ".cupy" / "kernel_cache")


def cached() -> set[str]:
    """The binaries that are there."""
    return {path.name for path in folder().glob("*.cubin")}
