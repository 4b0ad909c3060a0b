"""What every test stands on: the data folder, honest skips, and repeatable property tests."""

from __future__ import annotations

import functools
import gc
import os
import signal
from collections.abc import Generator
from pathlib import Path
from typing import Any

# Processes that test beside each other wait for each other's threads: ten times as long in a fit.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import hypothesis
import pytest
import typer.testing

IN_CI = os.environ.get("CI", "").lower() not in ("", "0", "false")

pytest.register_assert_rewrite(
    "machines", "broken_off", "mortal", "commanding", "labelled_data", "reporting"
)
pytest_plugins = ["commanding", "fakecupy.fixtures", "reporting"]

# A shell's background job starts with Ctrl-C ignored, nohup's with SIGHUP; tests need them as a
# terminal has them.
for name, handler in {"SIGINT": signal.default_int_handler, "SIGHUP": signal.SIG_DFL}.items():
    number = getattr(signal, name, None)  # Windows has one of them
    if number and signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)

# At each call Typer's runner reads the signatures of all commands anew, which takes 50 ms.
typer.testing._get_command = functools.cache(typer.main.get_command)  # type: ignore[attr-defined]

# Derandomised in CI: the same examples each time, so a failure there can be had again here.
hypothesis.settings.register_profile("ci", derandomize=True, deadline=None)
hypothesis.settings.register_profile("local", deadline=None)
hypothesis.settings.load_profile("ci" if IN_CI else "local")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Compile the CUDA kernels once, before there are processes that would each do it."""
    if getattr(session.config.option, "numprocesses", None):
        import cudasim

        if cudasim.compiler():
            cudasim.built()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, Any, Any]:
    """What collecting makes stays to the end: the garbage collector need not look at it again."""
    gc.disable()
    collected = yield
    gc.freeze()
    gc.enable()
    return collected


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder with the real data sets: MLPX_DATA, else ``shared/data`` beside the checkout."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("MLPX_DATA") or beside)
    if not folder.is_dir():
        pytest.skip(f"no data folder: {folder} is absent; set MLPX_DATA to one")
    return folder


@pytest.fixture
def only_new_garbage() -> None:
    """What the test makes is all that a garbage collection looks at, half a second less."""
    gc.freeze()


@pytest.fixture
def blank_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are made, but not drawn, which takes 0.3 s: test_plots.py looks at drawn ones."""
    from mlpx.files import write_atomically
    from mlpx.training import plots

    def blank(figure: Any, path: Any) -> Any:
        if path is not None:
            write_atomically(Path(path), b"")
        return figure

    monkeypatch.setattr(plots, "_written", blank)


LACKING = ("no GPU", "no AVX-512")
"""Hardware that no installation step can bring."""


def forbid_skip(report: Any) -> None:
    """Fail what was skipped in CI: there only missing hardware is a reason."""
    if not (IN_CI and report.skipped) or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[-1].removeprefix("Skipped: ")
    if reason.startswith(LACKING):
        return
    report.outcome = "failed"
    report.longrepr = f"skipped where CI must run it: {reason}"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, Any, Any]:
    report = yield
    forbid_skip(report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, Any, Any]:
    report = yield
    forbid_skip(report)
    return report
