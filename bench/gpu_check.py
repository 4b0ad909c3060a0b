"""What gpu_check.sh runs: see there."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import gpu_throughput
import numpy as np

import mlpx
from gpu_timings import crossover, images, network, time_epoch, time_precisions, time_step

ROOT = Path(__file__).resolve().parents[1]
LIMIT_S = 520  # of one part: a call of at most nine minutes, with some room
CURVE_STEPS, QUICK_CURVE_STEPS = 200, 20
CURVE_BOUND = {"float64": 1e-9, "float32": 2e-3}
"""Largest relative difference of the loss of any step between CPU and GPU. In float64 it is held
by the sum of rounding; in float32 the sums of a GEMM are ordered differently and 200 steps
amplify it.
"""

Result = dict[str, Any]


def run_tests(device: str, quick: bool) -> Result:
    """The whole test suite; tests of a GPU no longer skip where there is one."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "not slow", "-p", "no:cacheprovider"]
    if quick:
        command += ["tests/test_records.py"]
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired as late:
        said = late.stdout or b""
        print((said.decode() if isinstance(said, bytes) else said)[-4000:])
        return {"passed": False, "why": f"not done after {LIMIT_S} s"}
    print(done.stdout[-4000:], done.stderr[-2000:], sep="\n")
    counts = {
        word: int(n)
        for n, word in re.findall(r"(\d+) (passed|failed|skipped|errors?)", done.stdout)
    }
    no_gpu = done.stdout.count("no GPU")
    return {"passed": done.returncode == 0, "counts": counts, "skipped_for_want_of_a_gpu": no_gpu}


def compare_curves(
    device: str, hidden: tuple[int, ...], optimizer: mlpx.Optimizer, dtype: str, *, quick: bool
) -> Result:
    """The losses of some steps on the CPU and on `device`, from the same seed."""
    x, y = images(600 if quick else 6000)
    steps = QUICK_CURVE_STEPS if quick else CURVE_STEPS
    losses = [
        network(hidden, "sigmoid", where, dtype)
        .fit(x, y, steps=steps, batch_size=100, optimizer=optimizer, verbose=0)
        .step_loss
        for where in ("cpu", device)
    ]
    difference = float(np.max(np.abs(losses[0] - losses[1]) / np.abs(losses[0])))
    bound = CURVE_BOUND[dtype]
    return {
        "network": [784, *hidden, 10],
        "optimizer": optimizer.config(),
        "dtype": dtype,
        "steps": steps,
        "largest_relative_difference": difference,
        "bound": bound,
        "passed": difference < bound,
    }


def determinism(device: str, *, quick: bool) -> Result:
    """Whether two runs from one seed leave the same bits."""
    x, y = images(600 if quick else 6000)
    steps = QUICK_CURVE_STEPS if quick else CURVE_STEPS
    found = []
    for _ in range(2):
        model = network((50,), "relu", device, "float32")
        model.fit(x, y, steps=steps, batch_size=100, verbose=0)
        found.append(model.backend.to_numpy(model.flat).tobytes())
    return {"steps": steps, "passed": found[0] == found[1]}


def sanitize(device: str) -> Result:
    """A short run under compute-sanitizer, where it is installed."""
    tool = shutil.which("compute-sanitizer")
    if tool is None:
        return {"passed": True, "why": "compute-sanitizer is not installed"}
    code = (
        "import numpy as np, mlpx; x = np.ones((64, 20), 'float32'); y = np.arange(64) % 3; "
        f"mlpx.MLP([20, 16, 3], device={device!r}).fit(x, y, epochs=2, batch_size=24, verbose=0)"
    )
    command = [tool, "--error-exitcode", "9", sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    return {"passed": done.returncode == 0, "said": done.stdout[-2000:]}


def run_small(device: str, quick: bool) -> Result:
    """784-50-10: curves in both dtypes, the same bits twice, memory over a long run; time at small
    and large batches, of an epoch, and beside the peers.
    """
    deadline_s = time.perf_counter() + LIMIT_S
    curves = [
        compare_curves(device, (50,), optimizer, dtype, quick=quick)
        for dtype in CURVE_BOUND
        for optimizer in (mlpx.SGD(0.1), mlpx.Adam())
    ]
    sizes = [100] if quick else [1, 32, 100, 512, 2048, 8192]
    times = [time_step(["cpu", device], (50,), "sgd", size, quick=quick) for size in sizes]
    growth = memory_growth(device, steps=20 if quick else 20_000, quick=quick)
    again = determinism(device, quick=quick)
    checks = [*curves, growth, again, sanitize(device)]
    return {
        "passed": all(check["passed"] for check in checks),
        "curves": curves,
        "times": times,
        "crossover_batch": crossover(times),
        "memory": growth,
        "determinism": again,
        "sanitizer": checks[-1],
        "epoch": time_epoch(device, quick=quick),
        "throughput": gpu_throughput.measure("small", device, deadline_s=deadline_s, quick=quick),
    }


def run_wide(device: str, quick: bool) -> Result:
    """784-512-512-10 and 784-4096-4096-10 with Adam; wider nets beside the peers."""
    deadline_s = time.perf_counter() + LIMIT_S
    hidden, wide = ((32, 32), (64,)) if quick else ((512, 512), (4096, 4096))
    curves = [compare_curves(device, hidden, mlpx.Adam(), "float64", quick=quick)]
    sizes = [128] if quick else [128, 512, 2048, 8192]
    times = [time_step(["cpu", device], hidden, "adam", size, quick=quick) for size in sizes]
    times += [time_step([device], wide, "adam", size, quick=quick) for size in sizes[-2:]]
    precisions = [time_precisions(device, hidden, size, quick=quick) for size in sizes]
    return {
        "passed": all(curve["passed"] for curve in curves),
        "curves": curves,
        "times": times,
        "precisions": precisions,
        "throughput": gpu_throughput.measure("wide", device, deadline_s=deadline_s, quick=quick),
    }


def memory_growth(device: str, *, steps: int, quick: bool) -> Result:
    """How much more of the device is in use after a long run than after a short one."""
    x, y = images(600 if quick else 6000)
    model = network((50,), "relu", device, "float32")
    used = []
    for count in (5, steps, steps):
        model.fit(x, y, steps=count, batch_size=100, verbose=0)
        used.append(model.backend.memory().used_bytes)
    return {"used_bytes": used, "steps": steps, "passed": used[2] <= used[1]}


PARTS: dict[str, Callable[[str, bool], Result]] = {
    "tests": run_tests,
    "small": run_small,
    "wide": run_wide,
}


def surroundings(device: str) -> Result:
    """The machine, the versions and the commit a result comes from."""
    backend = mlpx.get_backend(device)
    git = ["git", "-C", str(ROOT)]
    commit = subprocess.run(
        [*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    changed = subprocess.run(
        [*git, "status", "--porcelain"], capture_output=True, text=True, check=False
    )
    found = {
        "gpu": backend.name,
        "device": backend.device,
        "cpu": mlpx.get_backend("cpu").name,
        "cpu_count": os.cpu_count(),
        "commit": commit.stdout.strip() or "unknown",
        "changed_since_commit": bool(changed.stdout.strip()),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "mlpx": getattr(mlpx, "__version__", "unknown"),
    }
    if backend.kind == "cuda":
        runtime = backend.xp.cuda.runtime
        found |= {
            "cupy": backend.xp.__version__,
            "driver": runtime.driverGetVersion(),
            "cuda_runtime": runtime.runtimeGetVersion(),
        }
    return found


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=PARTS, action="append")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does it run at all?")
    given = parser.parse_args(arguments)
    try:
        found = surroundings(given.device)
    except mlpx.errors.MlpxError as error:
        print(error, file=sys.stderr)
        return 1
    now = datetime.now(UTC)
    slug = re.sub(r"[^a-z0-9]+", "-", found["gpu"].lower()).strip("-")
    path = given.out / f"gpu-check-{slug}-{now:%Y-%m-%d}.json"
    result = json.loads(path.read_text()) if path.exists() else {"schema": 1, "parts": {}}
    for name in given.part or list(PARTS):
        started_s = time.perf_counter()
        part = PARTS[name](given.device, given.quick)
        part |= {"seconds": time.perf_counter() - started_s, "quick": given.quick, **found}
        part["at"] = f"{now:%Y-%m-%dT%H:%M:%SZ}"
        result["parts"][name] = part
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, indent=1) + "\n")
        print(f"{name}: {'passed' if part['passed'] else 'FAILED'} in {part['seconds']:.0f} s")
    print(f"written to {path}")
    return 0 if all(part["passed"] for part in result["parts"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
