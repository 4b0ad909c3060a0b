"""What one kernel for a whole epoch rests on: the launch of a cluster of 8 and 16 blocks, messages
between them, products from shared memory, and whole steps of 784-50-10 at batch 100.

gpu_cluster.cu says what each kernel does. Every result is compared with float64 on the host; what
is timed runs longer, and must not have found a wrong message or given up waiting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np

from gpu.cluster_launches import MANY, Cluster
from gpu.cluster_reference import BATCHES, RATE, Floats, Problem, largest_error
from gpu.section import Row, Setup
from mlpx.backend import get_backend

HOW = ("load", "store", "async", "bulk", "barrier")
"""Messages: remote loads and remote stores, with a barrier of the cluster; st.async and bulk copies
with mbarriers; a barrier and no message."""
SIZES = (8, 16)
STEPS = 12
"""So many are compared."""
TOLERANCES = {"sum": 1e-6, "product": 1e-5, "training": 1e-3}
"""By the largest number. ReLU turns some of the rounding of a sum into more."""
Finding = tuple[Row, Callable[[Cluster], Row]]


def verdict(found: Floats, expected: Floats, wrong: int, kind: str) -> Row:
    """How far a result is from what is expected. wrong: 1, a message; 2, a wait given up."""
    error = largest_error(found, expected)
    passed = not wrong and error <= TOLERANCES[kind]
    return {
        "passed": passed,
        "largest_error": error if np.isfinite(error) else None,
        "wrong": wrong,
    }


def barrier(cluster: Cluster, problem: Problem) -> Row:
    """A round of the barrier alone, which writes nothing."""
    given = (np.int32(HOW.index("barrier")), np.int32(0), np.int32(1), None)
    parts = cluster.xp.asarray(problem.parts)
    return cluster.time(
        f"swap_{problem.blocks}", problem.blocks, problem.parts.shape, *given, parts
    )


def messages(cluster: Cluster, problem: Problem, how: str, pattern: str) -> Row:
    """A round: one float4 to each block; or the sums of partial sums; or all rows to all."""
    name, blocks = f"swap_{problem.blocks}", problem.blocks
    items, scatter = 1 if pattern == "round" else problem.items, pattern == "reduce-scatter"
    parts = cluster.xp.asarray(problem.parts)
    given = (np.int32(HOW.index(how)), np.int32(scatter), np.int32(items), None, parts)
    rounds = 7
    expected = problem.scattered(rounds) if scatter else problem.gathered(items, rounds)
    row = verdict(*checked(cluster, name, blocks, rounds, expected, given), "sum")
    return timed(row, cluster, name, blocks, expected, given) | {"bytes": 16 * items * blocks}


def product(cluster: Cluster, problem: Problem, way: int, tf32: int) -> Row:
    """x W1 or a step down x' dz of one block."""
    name, reps = f"share_{problem.blocks}", 3
    expected = problem.descended(reps, RATE) if way else problem.product()
    arrays = [cluster.xp.asarray(value) for value in (problem.x, problem.W, problem.d)]
    given = (np.int32(way), np.int32(tf32), None, np.float32(RATE), *arrays)
    row = verdict(*checked(cluster, name, 1, reps, expected, given), "product")
    row = timed(row, cluster, name, 1, expected, given)
    if row.get("us", 0) > 0:
        row["gflops_s"] = 2 * problem.W.size * len(problem.x) / row["us"] / 1e3
    return row


def steps(cluster: Cluster, problem: Problem, how: str, tf32: int) -> Row:
    """Steps in one launch; without messages nothing is learned, and nothing is compared."""
    name, blocks, count = f"train_{problem.blocks}", problem.blocks, STEPS
    arrays = [cluster.xp.asarray(value) for value in (problem.W1, problem.W2)]
    images = cluster.xp.asarray(problem.images)
    given = (np.int32(HOW.index(how)), np.int32(tf32), None, np.float32(RATE), images,
             np.int32(BATCHES), *arrays)  # fmt: skip
    expected, begun = problem.trained(count), problem.trained(0)
    if how == "barrier":
        return cluster.time(name, blocks, expected.shape, *given)
    found, wanted, wrong = checked(cluster, name, blocks, count, expected, given)
    row = verdict(found - begun, wanted - begun, wrong, "training")
    return timed(row, cluster, name, blocks, expected, given)


def checked(
    cluster: Cluster, name: str, blocks: int, count: int, expected: Floats, given: tuple[Any, ...]
) -> tuple[Floats, Floats, int]:
    """What a kernel wrote, what it had to write, and what was wrong."""
    found, wrong = cluster.repeated(name, blocks, count, expected.shape, *given)
    return found, expected, wrong


def timed(
    row: Row, cluster: Cluster, name: str, blocks: int, expected: Floats, given: tuple[Any, ...]
) -> Row:
    """A verdict with the time of a repetition; a longer run may find what a short one does not."""
    if row["wrong"]:  # waits that are given up take long, and their time says nothing
        return row
    times = cluster.time(name, blocks, expected.shape, *given)
    times["wrong"] |= row["wrong"]
    return row | times | {"passed": row["passed"] and not times["wrong"], "rounds": MANY}


def compiled(cluster: Cluster) -> Row:
    """The time of compiling, or of finding what was compiled; and what the kernels take."""
    begun = perf_counter()
    kernels = {
        f"{name}_{b}": cluster.kernel(f"{name}_{b}") for name in ("swap", "train") for b in SIZES
    }
    seconds = perf_counter() - begun
    return {
        "passed": all(kernel.local_size_bytes == 0 for kernel in kernels.values()),
        "seconds": seconds,
        "registers": {name: int(kernel.num_regs) for name, kernel in kernels.items()},
    }


def findings() -> Iterator[Finding]:
    """What is looked for, with what cannot hang first."""
    problems = [Problem(blocks) for blocks in SIZES]
    yield {"name": "compile"}, compiled
    for p in problems:
        yield {"name": "launch", "blocks": p.blocks}, partial(held, problem=p)
    for p in problems:
        yield {"name": "barrier", "blocks": p.blocks}, partial(barrier, problem=p)
    for p in problems[::-1]:
        for way, name in enumerate(("x W1", "step down x' dz1")):
            for tf32, unit in enumerate(("FFMA", "3xTF32")):
                yield (
                    {"name": name, "blocks": p.blocks, "unit": unit},
                    partial(product, problem=p, way=way, tf32=tf32),
                )
    yield from exchanges(problems)


def exchanges(problems: list[Problem]) -> Iterator[Finding]:
    """Messages and whole steps by each way of sending, those with barriers before the others."""
    for how in HOW[:4]:
        for p in problems[::-1]:
            for pattern in ("round", "reduce-scatter", "all-gather"):
                yield (
                    {"name": pattern, "blocks": p.blocks, "how": how},
                    partial(messages, problem=p, how=how, pattern=pattern),
                )
            yield (
                {"name": "step", "blocks": p.blocks, "how": how, "unit": "FFMA"},
                partial(steps, problem=p, how=how, tf32=0),
            )
    for how in ("async", "barrier"):
        for tf32, unit in enumerate(("FFMA", "3xTF32")):
            if tf32 or how == "barrier":
                yield (
                    {"name": "step", "blocks": 16, "how": how, "unit": unit},
                    partial(steps, problem=problems[-1], how=how, tf32=tf32),
                )


def held(cluster: Cluster, problem: Problem) -> Row:
    """A launch of the cluster with 200 KB a block."""
    return cluster.holds(problem.blocks)


def missing(xp: Any, index: int) -> str:
    """Why there is nothing to measure; empty if there is."""
    if not hasattr(xp.cuda, "driver"):
        return "no clusters here"
    major = xp.cuda.runtime.getDeviceProperties(index)["major"]
    return "" if major >= 9 else f"compute capability {major}: clusters begin with 9.0"


def run(setup: Setup) -> Iterator[Row]:
    """Each finding, or why it is missing; nothing more once the device does not answer."""
    backend: Any = get_backend(setup.device)
    with backend.xp.cuda.Device(backend.index):
        why = missing(backend.xp, backend.index)
        if why:
            yield from ({**row, "why": why} for row, _ in findings())
            return
        yield from measured(Cluster(backend.xp))


def measured(cluster: Cluster) -> Iterator[Row]:
    """Every finding; at last, whether the steps are the same however messages go."""
    digests: dict[int, set[int]] = {}
    for row, measure in findings():
        try:
            found = row | measure(cluster)
        except Exception as error:
            yield row | {"passed": False, "why": said(error)}
            if row["name"] == "compile" or not answers(cluster.xp):
                yield {"name": "the rest", "passed": False, "why": "not tried after this error"}
                return
            continue
        yield found
        if (row["name"], row.get("unit")) == ("step", "FFMA") and row["how"] != "barrier":
            digests.setdefault(row["blocks"], set()).add(found.get("crc32", -1))
    for blocks, different in digests.items():
        yield {"name": "same bits by each way", "blocks": blocks, "passed": len(different) == 1}


def said(error: Exception) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


def answers(xp: Any) -> bool:
    """Whether the device still works after an error."""
    try:
        xp.cuda.runtime.deviceSynchronize()
    except Exception:
        return False
    return True
