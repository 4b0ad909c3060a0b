"""Real processes that train and die: a small server forks one for each trial, in milliseconds.

Run as a script, it is the server: it has trained once, so all modules are there, and it has one
thread, so it can fork. A trial is a line of JSON on its input, the answer one on its output.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

KILL_BEFORE, KILL_HALFWAY, KILL_AFTER, WRITE_HALF, FAIL, KEEP_FAILING = range(1, 7)
"""What a fault does, as in faults.c."""


@dataclass(frozen=True)
class Order:
    """What a process is to do."""

    training: str
    """The engine, how often it writes, and the epochs, with slashes between."""
    folder: str
    log: str
    kill_s: float | None = None
    """Kill it after so long."""
    call: int = 0
    """Count the system calls on the folder; the fault is in this one."""
    what: int = 0
    error: int = 0
    counted: bool = False


@dataclass
class Death:
    """How a process ended, and what it told before."""

    status: int
    """Its exit status, the signal that killed it if negative."""
    lines: list[str] = field(default_factory=list)

    @property
    def killed(self) -> bool:
        return self.status == -signal.SIGKILL

    @property
    def calls(self) -> list[str]:
        """The system calls on the folder, in order."""
        return [line for line in self.lines if line and " " not in line]

    @property
    def committed(self) -> list[str]:
        """The files that had taken their name when it died."""
        return [line.split()[1] for line in self.lines if line.startswith("committed ")]

    @property
    def end(self) -> dict[str, Any]:
        """What it was when it had trained to its end."""
        done = [line for line in self.lines if line.startswith("done ")]
        assert done, (self.status, self.lines)
        return dict(json.loads(done[0].removeprefix("done ")))


class Server:
    """Where the tests have processes from."""

    def __init__(self, faults: Path | None = None) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONWARNINGS": ""}
        if faults is not None:
            environment |= {"LD_PRELOAD": str(faults)}
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(faults or "")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment,
        )  # fmt: skip

    def run(self, order: Order) -> Death:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(asdict(order)).encode() + b"\n")
        process.stdin.flush()
        answer = process.stdout.readline()
        assert answer, "the server has died; it has told why"
        return Death(**json.loads(answer))

    def close(self) -> None:
        self._process.communicate()


@contextmanager
def server(faults: Path | None = None) -> Iterator[Server]:
    running = Server(faults)
    try:
        yield running
    finally:
        running.close()


def check_committed(folder: Path, death: Death) -> None:
    """The newest checkpoint is whole, and as new as the last that had been committed."""
    from mlpx import MLP
    from mlpx.training.checkpoint_files import latest

    committed = [name for name in death.committed if name.startswith("checkpoint-")]
    if not committed:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # such as one that is passed over
        found = latest(folder)
    assert found is not None
    assert found.path.name >= committed[-1]
    if "best.safetensors" in death.committed:
        MLP.load(folder / "best.safetensors")


def what_is_left(folder: Path, log: Path, death: Death) -> dict[str, Any]:
    """All that a run that has ended leaves: no parts, no owner, two checkpoints and the best."""
    names = sorted(path.name.partition("-")[0] for path in folder.iterdir())
    assert names == ["best.safetensors", "checkpoint", "checkpoint"]
    best = (folder / "best.safetensors").read_bytes()
    return death.end | {"best": best, "log": log.read_bytes()}


def serve(faults: str) -> None:
    """Answer one order after the other."""
    library = ctypes.CDLL(faults) if faults else None
    with tempfile.TemporaryDirectory() as folder:
        train(Order("native/epoch/1", f"{folder}/run", f"{folder}/log.csv"))
    gc.freeze()
    for line in sys.stdin:
        order = Order(**json.loads(line))
        sys.stdout.write(json.dumps(asdict(outcome(order, library))) + "\n")
        sys.stdout.flush()


def outcome(order: Order, library: Any) -> Death:
    """Fork a process that does it, and see how it dies."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        live(order, library, writer)
    os.close(writer)
    stop_s = time.monotonic() + (60.0 if order.kill_s is None else order.kill_s)
    told = b""
    while True:
        left_s = stop_s - time.monotonic()
        if not select.select([reader], [], [], max(0.0, left_s))[0]:
            os.kill(pid, signal.SIGKILL)
            stop_s = time.monotonic() + 60
        elif part := os.read(reader, 1 << 16):
            told += part
        else:
            break
    os.close(reader)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return Death(status, told.decode().split("\n"))


def live(order: Order, library: Any, writer: int) -> None:
    """The life of a process: it tells what it commits, and at last what came of it."""

    def tell(line: str) -> None:
        os.write(writer, f"{line}\n".encode())

    replace_file = os.replace

    def committing(source: Any, target: Any) -> None:
        replace_file(source, target)
        tell(f"committed {Path(target).name}")

    status = 1
    try:
        if order.counted:
            library.faults_arm(order.folder.encode(), order.call, order.what, order.error, writer)
        else:
            os.replace = committing  # type: ignore[assignment]
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            end = train(order)
        tell("done " + json.dumps(end | {"warnings": [str(each.message) for each in told]}))
        status = 0
    except BaseException as error:
        tell(f"failed {type(error).__name__}: {error}")
    finally:
        if library is not None:
            library.faults_arm(b"", 0, 0, 0, -1)
        os._exit(status)


def train(order: Order) -> dict[str, Any]:
    """Begin a training or go on with it; what came of it, as text that tells bits apart."""
    import numpy as np
    from broken_off import bits, plain

    from mlpx import MLP, Callback, Checkpoints, CSVLog, Dropout, EarlyStopping
    from mlpx.optimizers import EMA, Optimizer
    from mlpx.schedules import Cosine
    from mlpx.training import epochs

    class Waits(Callback):
        """So that the same calls come in the same order."""

        def on_epoch_begin(self, run: Any, epoch: int) -> None:
            keeper._writer.wait()

    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(40, 6)), rng.integers(0, 3, size=40)
    engine, every, length = order.training.split("/")
    epochs.RUN_S = 0.0
    model = MLP([6, 8, Dropout(0.2), 3], dtype="float64", seed=3)
    keeper = Checkpoints(order.folder, every=every, best="val_loss")
    adam = Optimizer.table["adam"](Cosine(0.05), average=EMA(0.9))
    watchers = [EarlyStopping(patience=99), CSVLog(order.log)]
    watchers += [Waits()] * order.counted  # type: ignore[list-item]
    history = model.fit(
        x, y, batch_size=8, epochs=int(length), optimizer=adam, engine=engine, verbose=0,
        validation_data=(x[:10], y[:10]), checkpoint=keeper, resume=True, threads=1,
        record_gradient_norms=True, callbacks=watchers,
    )  # fmt: skip
    told = plain(history)
    told["notes"] = []  # of a disk that was full
    return {"model": repr(bits(model)), "history": repr(told)}


if __name__ == "__main__":
    serve(sys.argv[1])
