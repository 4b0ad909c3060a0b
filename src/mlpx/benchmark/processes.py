"""Starting, asking and stopping the contenders' processes."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mlpx.errors import MlpxError

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
TIMEOUT_S = 600.0
QUIET_LIMIT_S = 0.6


class ContenderError(MlpxError):
    """A contender's process failed; the message is its own."""


def thread_environment(threads: int) -> dict[str, str]:
    """Variables that limit every known thread pool to `threads`."""
    return {name: str(threads) for name in THREAD_VARIABLES} | {"MKL_DYNAMIC": "FALSE"}


def device_environment(device: str) -> dict[str, str]:
    """Variables that hide GPUs from what is measured on the CPU, and keep JAX from taking all
    memory.
    """
    return (
        {"CUDA_VISIBLE_DEVICES": ""} if device == "cpu" else {"XLA_PYTHON_CLIENT_PREALLOCATE": "0"}
    )


class Process:
    """One contender's process."""

    def __init__(
        self, name: str, *, threads: int, environment: dict[str, str], pinned: bool = True
    ) -> None:
        self.name = name
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115, closed with the process
        self._child = subprocess.Popen(
            [sys.executable, "-m", "mlpx.benchmark.worker", str(threads if pinned else 0)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, **thread_environment(threads), **environment},
            text=True,
        )

    def ask(self, do: str, *, timeout_s: float = TIMEOUT_S, **details: Any) -> dict[str, Any]:
        """Send a request and wait for the answer.

        Raises ContenderError if the contender failed, died or did not answer in time.
        """
        assert self._child.stdin is not None
        try:
            print(json.dumps({"do": do, **details}), file=self._child.stdin, flush=True)
            answer: dict[str, Any] = json.loads(self._line(timeout_s) or "null") or self._dead()
        except (BrokenPipeError, ValueError):
            answer = self._dead()
        if not answer["ok"]:
            raise ContenderError(answer["error"])
        return answer

    def _line(self, timeout_s: float) -> str:
        assert self._child.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._child.stdout, selectors.EVENT_READ)
            if not selector.select(timeout_s):
                self.close()
                raise ContenderError(f"no answer within {timeout_s:.0f} s")
        return self._child.stdout.readline()

    def _dead(self) -> dict[str, Any]:
        code = self._child.wait(10)
        self._errors.seek(0)
        last = [line.strip() for line in self._errors.read().splitlines() if line.strip()][-1:]
        return {"ok": False, "error": f"process ended with {code}: {''.join(last)[:300]}"}

    def cpu_ticks(self) -> int | None:
        """Clock ticks of CPU time so far; None if the system does not say."""
        try:
            fields = Path(f"/proc/{self._child.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return int(fields[11]) + int(fields[12])

    def settle(self) -> None:
        """Wait until its thread pools have stopped spinning, so that the next turn is
        undisturbed.
        """
        deadline_s = time.perf_counter() + QUIET_LIMIT_S
        before = self.cpu_ticks()
        while before is not None and time.perf_counter() < deadline_s:
            time.sleep(0.025)
            now = self.cpu_ticks()
            if now == before:
                return
            before = now

    def close(self) -> None:
        """End the process."""
        if self._child.poll() is None:
            self._child.kill()
        self._child.wait()
        for stream in (self._child.stdin, self._child.stdout, self._errors):
            if stream is not None and not stream.closed:
                with suppress(BrokenPipeError):  # a request that it did not live to read
                    stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
