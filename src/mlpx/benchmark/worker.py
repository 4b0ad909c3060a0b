"""The process of one contender: `python -m mlpx.benchmark.worker`, one JSON object per line each
way.

Requests name what to do in "do": build, check, warm, run, memory; or rates, of the machine instead
of a contender. Every answer has "ok"; a failure
says why in "error". The libraries' own output goes to stderr.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any, TextIO


class Worker:
    """Holds the contender between requests."""

    def __init__(self) -> None:
        self.before_bytes: int | None = None
        self.machine: Any = None
        self.compiled_s = 0.0
        """Time of the contender's first runs, which compile."""
        self.compiled_steps = 0

    def build(self, request: dict[str, Any]) -> dict[str, Any]:
        """Make the contender for a task; one made before is dropped first."""
        from mlpx.benchmark import memory
        from mlpx.benchmark.contenders.base import contender
        from mlpx.benchmark.workloads import Task, make_problem
        from mlpx.errors import EngineError

        self.contender: Any = None
        self.compiled_s, self.compiled_steps = 0.0, 0
        gc.collect()  # contenders hold cycles
        task = Task.from_json(request["task"])
        kind = contender(request["contender"])
        reason = kind.refuses(task)
        if reason:
            return {"refused": reason}
        problem = make_problem(task)
        memory.reset_peak()
        self.before_bytes = memory.resident_bytes()
        try:
            self.contender = kind(task, problem)
        except EngineError as error:
            return {"refused": str(error)}
        return {"versions": kind.versions(), "facts": self.contender.facts()}

    def check(self, request: dict[str, Any]) -> dict[str, Any]:
        """Run the phase for the check and write what it leaves to the named file."""
        import numpy as np

        steps = self.contender.task.check_steps
        self._first(steps, self.contender.run_checked)
        outcome = self.contender.outcome()
        np.savez(request["file"], **{f"a{i}": a for i, a in enumerate(outcome)})
        return {"arrays": len(outcome)}

    def warm(self, request: dict[str, Any]) -> dict[str, Any]:
        """Warm up; answers how long a step takes, how many steps make a round, and how much longer
        the first runs took.
        """
        from mlpx.benchmark.timing import steps_for, warm_up

        first, last = warm_up(self.contender, seconds=request["seconds"])
        self.compiled_s += first.wall_s
        self.compiled_steps += first.steps
        steps = steps_for(self.contender, step_s=last.step_s, seconds=request["round_s"])
        if steps != first.steps:
            self._first(steps, self.contender.run)  # compiles what depends on the number of steps
        compile_s = max(0.0, self.compiled_s - self.compiled_steps * last.step_s)
        return {"step_s": last.step_s, "steps": steps, "compile_s": compile_s}

    def _first(self, steps: int, run: Callable[[int], None]) -> None:
        """So many steps from the first weights, which may compile something."""
        self.contender.reset()
        started_s = time.perf_counter()
        run(steps)
        self.contender.synchronize()
        self.compiled_s += time.perf_counter() - started_s
        self.compiled_steps += steps

    def run(self, request: dict[str, Any]) -> dict[str, Any]:
        """One round from the first weights."""
        from mlpx.benchmark.timing import timed

        self.contender.reset()
        return timed(self.contender, request["steps"]).to_json()

    def memory(self, request: dict[str, Any]) -> dict[str, Any]:
        """Peak memory since build, and what was there before."""
        from mlpx.benchmark import memory

        return {
            "peak_host_bytes": memory.peak_bytes(),
            "before_bytes": self.before_bytes,
            "peak_device_bytes": self.contender.device_peak_bytes(),
        }

    def rates(self, request: dict[str, Any]) -> dict[str, Any]:
        """The machine's ceilings, measured for about so many seconds."""
        from mlpx.benchmark.machine import Machine
        from mlpx.errors import EngineError

        if self.machine is None:
            try:
                self.machine = Machine(request["threads"])
            except EngineError as error:
                return {"refused": str(error)}
        cpu_s = time.process_time()
        rates = self.machine.rates(request["dtype"], seconds=request["seconds"])
        return {"isa": self.machine.isa, "rates": rates, "cpu_s": time.process_time() - cpu_s}


def pin(threads: int) -> None:
    """Keep this process on the first `threads` of the processors it may use; 0 does not pin."""
    if threads and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def serve(requests: TextIO, answers: TextIO) -> None:
    """Answer until the requests end."""
    worker = Worker()
    actions: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
        "build": worker.build,
        "check": worker.check,
        "warm": worker.warm,
        "run": worker.run,
        "memory": worker.memory,
        "rates": worker.rates,
    }
    for line in requests:
        request = json.loads(line)
        try:
            answer = {"ok": True, **actions[request["do"]](request)}
        except Exception as error:
            traceback.print_exc()
            answer = {"ok": False, "error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


def main() -> None:
    """Serve on stdin and stdout; whatever libraries print to stdout goes to stderr."""
    pin(int(sys.argv[1]))
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        serve(sys.stdin, answers)


if __name__ == "__main__":
    main()
