"""Train, kill, resume, predict, save and load for an hour in one process: nothing may grow.

    python bench/soak.py [--minutes 60] [--out runs/soak] [--seed 0]

In a cycle four threads train twelve nets, drawn from tables of nets, optimizers and engines: once
to the end; once broken off by a callback; and that run resumed. Another net is trained by a process
that is killed (SIGKILL) at one or two random moments, and resumed each time. A model that lives as
long as this process is trained on and predicts any number of rows, and an estimator is fitted,
saved with its plots and loaded. A resumed run must have the same bits as one that was never cut
short, and a loaded model must predict the same bits.

Every minute, with nothing running, it counts what the process holds. It fails if a bit differs, or
if after the first quarter of the time descriptors, threads, children or files left change, the
memory in use (what malloc and Python have given out) grows by more than MOST a cycle, or resident
memory, which also holds what lies free between that, ends at more than MOST_RESIDENT.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

# Two BLAS threads do not sum in the order of one, and nets that train at once share the number.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np

from mlpx import (
    EMA,
    MLP,
    SWA,
    AdamW,
    BatchNorm,
    Callback,
    Dense,
    Dropout,
    LayerNorm,
    Momentum,
    Residual,
)

MOST = {"malloc_kib": 20.0, "python_blocks": 100.0}
"""The most by which a cycle, of some forty fits and as many models, may grow the memory in use."""
MOST_RESIDENT = 1.2
"""The resident memory at the end, as a multiple of that after the first quarter."""
LIBC = ctypes.CDLL(None)
ARENA_MAX = -8
"""The option of glibc's malloc that says how many heaps threads may have of their own."""
ROWS, D, K = 1500, 64, 10
TRAINERS, NETS_EACH, KILLS = 4, 3, 2
BATCHES = range(30, 70)
"""Batch sizes of the model that lives on: more than it keeps programs for."""
NETS: dict[str, list[Any]] = {
    "dense": [D, Dense(128), Dense(64, activation="tanh"), K],
    "dropout": [D, Dropout(0.1), Dense(96), Dropout(0.5), K],
    "batch norm": [D, Dense(96), BatchNorm(), "relu", K],
    "residual": [D, Dense(64), Residual([LayerNorm(), Dense(64, activation="gelu")]), K],
}
OPTIMIZERS: dict[str, Any] = {
    "sgd": "sgd",
    "momentum, SWA": Momentum(learning_rate=0.01, average=SWA()),
    "adam": "adam",
    "AdamW, EMA, accumulated": AdamW(average=EMA(0.99), accumulate=3),
    "lamb": "lamb",
    "lion": "lion",
    "muon": "muon",
    "lbfgs": "lbfgs",
}
ENGINES = (("native", 1), ("native", 2), ("native", 3), ("interpreter", 1))


@dataclass(frozen=True)
class Case:
    """What is trained, and how often it is kept."""

    net: str
    optimizer: str
    engine: str
    threads: int
    seed: int
    every: int

    @classmethod
    def draw(cls, rng: random.Random) -> Case:
        """Any of each table."""
        optimizer = rng.choice(list(OPTIMIZERS))
        nets = [*NETS]
        if optimizer == "lbfgs":
            nets.remove("dropout")  # it needs one loss for one point
        net = rng.choice(nets)
        every = rng.choice((5, 20, 100))
        return cls(net, optimizer, *rng.choice(ENGINES), rng.randrange(1000), every)

    def model(self) -> MLP:
        """The net before training."""
        return MLP(NETS[self.net], seed=self.seed)

    def fit(self, model: MLP, **options: Any) -> Any:
        """Train it on data of its own."""
        x, y = data(self.seed)
        rows = None if self.optimizer == "lbfgs" else 32
        return model.fit(
            x, y, epochs=5, batch_size=rows, optimizer=OPTIMIZERS[self.optimizer],
            engine=self.engine, threads=self.threads, validation_split=0.1, verbose=0, **options,
        )  # fmt: skip


def data(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows that a net can learn, x (n, d) and labels y (n,)."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(ROWS, D)).astype(np.float32)
    return x, (x @ rng.normal(size=(D, K)) + rng.normal(size=(ROWS, K))).argmax(axis=1)


def digest(model: MLP, history: Any) -> str:
    """What a run ends with, down to the bit: parameters, moments and the loss of each step."""
    state = model.training_state
    assert state is not None
    found = hashlib.sha256(model.flat.tobytes())
    for name in sorted(state.moments):
        found.update(state.moments[name].tobytes())
    found.update(np.asarray(history.step_loss).tobytes())
    return found.hexdigest()


class BrokenOffError(Exception):
    """Raised by a callback to break off a run."""


class BreakOff(Callback):
    """Raise BrokenOffError after so many steps."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_steps(self, run: Any) -> None:
        if run.steps_done >= self.steps:
            raise BrokenOffError


class Announce(Callback):
    """Say that the training begins, whether anew or resumed."""

    def on_train_begin(self, run: Any) -> None:
        print("training", flush=True)


class Soak:
    """The cycles, and what they found."""

    def __init__(self, seed: int, work: Path) -> None:
        self.rng, self.work = random.Random(seed), work
        self.cycles = self.fits = self.kills = self.resumed = 0
        self.wrong: list[str] = []
        self.served = MLP([D, 128, K])
        self.served_data = data(0)
        for batch_size in BATCHES:
            self.serve(range(batch_size, ROWS, 15), batch_size)  # until it keeps all it ever will

    def cycle(self) -> None:
        """One of everything, and several nets for each thread."""
        cases = [Case.draw(self.rng) for _ in range(NETS_EACH * TRAINERS)]
        shares = [self.rng.random() for _ in cases]
        with ThreadPoolExecutor(TRAINERS) as trainers:
            for wrong in trainers.map(self.train, range(len(cases)), cases, shares):
                self.wrong += wrong
        self.fits += 3 * len(cases)
        self.resumed += len(cases)
        sizes = [self.rng.randrange(1, ROWS) for _ in range(40)]
        self.serve(sizes, self.rng.choice(BATCHES))
        self.estimate()
        self.kill(Case.draw(self.rng))
        self.cycles += 1

    def train(self, number: int, case: Case, share: float) -> list[str]:
        """To the end, and again, broken off and resumed; then save, load and predict.

        Returns what is wrong.
        """
        folder = self.work / f"run-{number}"
        whole = case.model()
        history = case.fit(whole)
        steps = int(share * len(history.step_loss))
        kept: dict[str, Any] = {"checkpoint": folder, "every": case.every}
        with suppress(BrokenOffError):
            case.fit(case.model(), callbacks=[BreakOff(steps)], **kept)
        resumed = case.model()
        found = digest(resumed, case.fit(resumed, resume=True, **kept))
        wrong = []
        if found != digest(whole, history):
            wrong.append(f"{case}, broken off after {steps} steps and resumed")
        x = data(case.seed)[0][: 1 + int(share * 1500)]
        resumed.save(folder / "model.safetensors")
        loaded = MLP.load(folder / "model.safetensors")
        if loaded.predict_proba(x).tobytes() != whole.predict_proba(x).tobytes():
            wrong.append(f"{case}, saved and loaded")
        wrong += unexpected(folder)
        shutil.rmtree(folder)
        return wrong

    def serve(self, sizes: Sequence[int], batch_size: int) -> None:
        """Have the model that lives on predict for some numbers of rows, and learn once more."""
        x, y = self.served_data
        with ThreadPoolExecutor(TRAINERS) as callers:
            list(callers.map(lambda n: self.served.predict(x[:n]), sizes))
        self.served.fit(x, y, epochs=1, batch_size=batch_size, verbose=0)
        self.fits += 1

    def estimate(self) -> None:
        """Fit an estimator, save it with its plots, and load it."""
        from mlpx import MLPClassifier  # a process that is killed starts without scikit-learn

        x, y = self.served_data
        folder = self.work / "estimator"
        fitted = MLPClassifier((32,), max_iter=2, random_state=0).fit(x, y)
        fitted.save(folder)
        if not np.array_equal(MLPClassifier.from_run(folder).predict(x), fitted.predict(x)):
            self.wrong.append("an estimator, saved and loaded")
        shutil.rmtree(folder)
        self.fits += 1

    def kill(self, case: Case) -> None:
        """A run in a process of its own, which is killed and started again until it ends."""
        whole = case.model()
        began_s = time.monotonic()
        expected = digest(whole, case.fit(whole))
        took_s, folder = time.monotonic() - began_s, self.work / "killed"
        kills = 0
        for left in range(KILLS, -1, -1):
            after_s = self.rng.uniform(0, 1.2 * took_s) if left else None
            found = child(case, folder, kill_after_s=after_s)
            if found is not None:
                break
            kills += 1
        self.fits += 2
        self.kills += kills
        self.resumed += kills > 0
        if found != expected:
            told = "other bits" if found else "no answer"
            self.wrong.append(f"{case}, killed {kills} times and resumed: {told}")
        self.wrong += unexpected(folder)
        shutil.rmtree(folder, ignore_errors=True)  # there is none if the process failed


def unexpected(folder: Path) -> list[str]:
    """The files in a run's folder that should not be there."""
    names = sorted(path.name for path in folder.glob("*"))
    checkpoints = [name for name in names if name.startswith("checkpoint-")]
    others = set(names) - {*checkpoints, "model.safetensors"}
    return [f"{folder.name} was left with {names}"] if len(checkpoints) > 2 or others else []


def child(case: Case, folder: Path, *, kill_after_s: float | None) -> str | None:
    """The digest of what a process trained; None if it was killed before it ended."""
    command = [sys.executable, __file__, "--child", json.dumps(asdict(case)), "--out", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        if kill_after_s is not None:
            time.sleep(kill_after_s)
            process.kill()
        said = process.stdout.read().split()
    return said[0] if process.returncode == 0 and said else None


def run_child(case: Case, folder: Path) -> None:
    """Begin or resume the run in `folder`, and print the digest of its end."""
    model = case.model()
    history = case.fit(
        model, checkpoint=folder, every=case.every, resume=True, callbacks=[Announce()]
    )
    print(digest(model, history), flush=True)


@dataclass(frozen=True)
class Sample:
    """What the process holds while nothing runs."""

    minute: float
    cycles: int
    fits: int
    kills: int
    resumed: int
    malloc_kib: int
    python_blocks: int
    resident_mib: float
    descriptors: int
    threads: int
    children: int
    files_left: int

    @classmethod
    def take(cls, soak: Soak, began_s: float) -> Sample:
        """Of this process, now."""
        gc.collect()
        time.sleep(0.2)  # threads that have been joined are listed for a moment
        given_out_bytes = malloc_bytes()
        me = Path("/proc/self")
        pages = int((me / "statm").read_text().split()[1])
        return cls(
            minute=round((time.monotonic() - began_s) / 60, 2),
            cycles=soak.cycles,
            fits=soak.fits,
            kills=soak.kills,
            resumed=soak.resumed,
            malloc_kib=round(given_out_bytes / 2**10),
            python_blocks=sys.getallocatedblocks(),
            resident_mib=round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1),
            descriptors=len(os.listdir(me / "fd")),
            threads=len(os.listdir(me / "task")),
            children=sum(len(file.read_text().split()) for file in me.glob("task/*/children")),
            files_left=sum(1 for _ in soak.work.rglob("*")),
        )


class MallInfo(ctypes.Structure):
    """What mallinfo2 of glibc 2.33 returns."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    )


def malloc_bytes() -> int:
    """How many bytes malloc has given out; 0 if the C library does not say.

    What was freed is given back to the system first.
    """
    if not hasattr(LIBC, "mallinfo2"):
        return 0
    LIBC.malloc_trim(0)
    LIBC.mallinfo2.restype = MallInfo
    found = LIBC.mallinfo2()
    return int(found.uordblks + found.hblkhd)


def verdict(samples: list[Sample], wrong: list[str]) -> tuple[dict[str, float], list[str]]:
    """By how much memory grew in a cycle after the first quarter, and everything that is wrong."""
    steady = [s for s in samples if s.minute >= samples[-1].minute / 4]
    if len(steady) < 4:
        return {}, [*wrong, "the run is too short to say what grows"]
    found = [*wrong]
    for name in ("descriptors", "threads", "children", "files_left"):
        seen = sorted({getattr(sample, name) for sample in steady})
        if len(seen) > 1:
            found.append(f"{COLUMNS[name]} changed between {seen[0]} and {seen[-1]}")
    growth = {name: rate(steady, name) for name in MOST}
    for name, most in MOST.items():
        if growth[name] > most:
            found.append(f"{COLUMNS[name]} grows by {growth[name]:.1f} a cycle, beyond {most:g}")
    resident = steady[-1].resident_mib / steady[0].resident_mib
    if resident > MOST_RESIDENT:
        found.append(f"resident memory grew {resident:.2f} times, beyond {MOST_RESIDENT:g}")
    return growth, found


def rate(samples: list[Sample], name: str) -> float:
    """The growth a cycle, without the largest of the steps between samples.

    Python's table of names doubles once in a while, by some MiB.
    """
    steps = [getattr(b, name) - getattr(a, name) for a, b in pairwise(samples)]
    return float(sum(steps) - max(steps)) / (samples[-1].cycles - samples[0].cycles)


COLUMNS = {
    "minute": "minute", "cycles": "cycles", "fits": "fits", "kills": "kills",
    "resumed": "resumed runs", "malloc_kib": "KiB of malloc", "python_blocks": "Python blocks",
    "resident_mib": "resident MiB", "descriptors": "descriptors", "threads": "threads",
    "children": "children", "files_left": "files left",
}  # fmt: skip


def markdown(document: dict[str, Any]) -> str:
    """The samples as a table, and the verdict."""
    growth, wrong = document["growth"], document["wrong"]
    lines = ["# Soak", "", f"`{document['command']}`", ""]
    lines += ["| " + " | ".join(COLUMNS.values()) + " |", "|" + "---:|" * len(COLUMNS)]
    for sample in document["samples"]:
        cells = [f"{sample[name]:,}" for name in COLUMNS]
        lines.append("| " + " | ".join(cells) + " |")
    for name, grown in growth.items():
        bound = f"at most {MOST[name]:g} are allowed"
        lines += ["", f"{COLUMNS[name]}: {grown:+.2f} a cycle after the first quarter; {bound}."]
    lines += ["", *(["Failed:", "", *(f"- {each}" for each in wrong)] if wrong else ["Passed."])]
    return "\n".join(lines) + "\n"


def soak(minutes: float, every_s: float, seed: int, out: Path) -> Iterator[dict[str, Any]]:
    """Run cycles for so long; yields all that was found after each sample."""
    from mlpx.backend.cpu import usable_cores
    from mlpx.benchmark.environment import describe

    out.mkdir(parents=True, exist_ok=True)
    environment = describe(usable_cores())
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(dir=out) as work:
        tempfile.tempdir = os.environ["TMPDIR"] = work  # so that files left there are counted
        running, samples = Soak(seed, Path(work)), list[Sample]()
        while True:
            running.cycle()
            passed_s = time.monotonic() - began_s
            over = passed_s >= 60 * minutes
            if over or passed_s >= len(samples) * every_s:
                samples.append(Sample.take(running, began_s))
                growth, wrong = verdict(samples, running.wrong)
                yield {
                    "command": " ".join(["python", *sys.argv]),
                    "environment": environment,
                    "most": MOST,
                    "growth": growth,
                    "wrong": wrong,
                    "samples": [asdict(sample) for sample in samples],
                }
            if over:
                break
    tempfile.tempdir = None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--sample-s", type=float, default=60, help="seconds between two counts")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/soak"))
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", message="Stochastic Optimizer")  # two epochs are too few
    if given.child:
        run_child(Case(**json.loads(given.child)), given.out)
        return 0
    if hasattr(LIBC, "mallopt"):
        # Each heap keeps what it once held: threads that come and go fill one after the other.
        LIBC.mallopt(ARENA_MAX, 1)
    document: dict[str, Any] = {}
    for document in soak(given.minutes, given.sample_s, given.seed, given.out):
        (given.out / "soak.json").write_text(json.dumps(document, indent=1) + "\n")
        (given.out / "soak.md").write_text(markdown(document))
        last = document["samples"][-1]
        print(", ".join(f"{last[name]:,} {text}" for name, text in COLUMNS.items()), flush=True)
    for each in document["wrong"]:
        print(f"failed: {each}", file=sys.stderr)
    return 1 if document["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
