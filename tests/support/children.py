"""Commands of mlpx in processes of their own, each forked from one that has loaded everything."""

from __future__ import annotations

import ctypes
import json
import os
import resource
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple


class Ended(NamedTuple):
    """How a process ended, and what it said."""

    code: int
    out: str
    err: str


def in_children(
    commands: Sequence[Sequence[Any]], *, before: str = "", flags: Sequence[str] = (),
    **environment: str,
) -> list[Ended]:  # fmt: skip
    """Each command of the command line, one after the other, in the working directory.

    before: Python that each process runs first; flags: the interpreter's.
    """
    asked = json.dumps([[str(part) for part in command] for command in commands])
    found = subprocess.run(
        [sys.executable, *flags, __file__, asked, before],
        capture_output=True, text=True, timeout=100, check=False,
        env={"OPENBLAS_NUM_THREADS": "1", "MPLBACKEND": "agg"} | os.environ | environment,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    return [Ended(*each) for each in json.loads(found.stdout)]


def forked(action: Callable[[], object]) -> Ended:
    """How `action` ends in a fork of this process, and what it prints."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if not child:
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            _run(action)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
        return Ended(code, *texts)


def _run(action: Callable[[], object]) -> None:
    code: Any = 1
    try:
        action()
        code = 0
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 99
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code or 0)


def allow(mebibytes: float) -> None:
    """Let this process have so many MiB more of addresses than it has in use."""
    with suppress(AttributeError):  # glibc's: what is freed goes back to the system
        ctypes.CDLL(None).malloc_trim(0)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    most = used + int(mebibytes * 2**20)
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))


def allow_all() -> None:
    """Take that back."""
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def obey_permissions() -> None:
    """Give up every capability, so that permission bits bind root too."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # the third version; this process
    if ctypes.CDLL(None, use_errno=True).capset(header, (ctypes.c_uint32 * 6)()):
        raise OSError(ctypes.get_errno(), "capset")


def main() -> None:
    """Run the commands, and print how they ended as JSON."""
    import safetensors.numpy  # noqa: F401

    import mlpx.cli.rows
    import mlpx.cli.train.run
    import mlpx.data
    import mlpx.training.run_folder

    def blank(*_: Any, path: Path, **__: Any) -> None:
        """Instead of a picture, which takes longer than all else."""
        path.write_bytes(b"")

    mlpx.training.run_folder.learning_curves = blank
    commands, before = sys.argv[1:]
    mlpx.MLP([2, 2]).predict([[0.0, 0.0]])

    def act(command: list[str]) -> None:
        sys.argv[1:] = command
        exec(before, globals())
        mlpx.cli.main()

    json.dump([forked(partial(act, command)) for command in json.loads(commands)], sys.stdout)


if __name__ == "__main__":
    main()
