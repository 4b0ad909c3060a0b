"""The check's second part on the double: what is right passes, what is broken is a failed row."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import cudasim
import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[2] / "bench"))
from gpu import crossover, device_tests, epoch, memory, sanitized, sanitizer
from gpu.crossover import Times
from gpu.device_tests import Chosen
from gpu.section import Setup
from mlpx.engines.cuda import CudaEngine, replayer

pytestmark = [
    pytest.mark.skipif(cudasim.compiler() is None, reason="no C++ compiler"),
    pytest.mark.usefixtures("fake_cupy"),
]
QUICK = Setup(quick=True)
OUTCOMES = """
import pytest
def test_right(): pass
def test_wrong(): raise ValueError("one line\\nanother")
@pytest.mark.skip(reason="no GPU: none")
def test_skipped(): pass
@pytest.fixture
def spoilt():
    yield
    raise OSError("too late")
def test_ends_badly(spoilt): raise ValueError("first")
"""
HANGING = """
import json, os, time
report = {"event": "report", "test": "a", "outcome": "passed", "seconds": 1.0}
lines = [{"event": "start", "test": "a"}, report, {"event": "start", "test": "b"}]
file = open(os.environ["MLPX_TEST_LINES"], "a")
file.write("".join(json.dumps(line) + "\\n" for line in lines) + '{"half')
file.flush()
time.sleep(60)
"""


def rows(section: Any, setup: Setup = QUICK) -> list[dict[str, Any]]:
    found = list(section.run(setup))
    json.dumps(found, allow_nan=False)
    assert all("why" in row for row in found if row.get("passed") is False)
    return found


def falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def capture(*_: Any) -> Any:
        raise RuntimeError("not today")

    monkeypatch.setattr(replayer, "capture", capture)


@pytest.mark.slow
def test_the_tests_of_a_device_run() -> None:
    (found,) = rows(device_tests)
    assert found["passed"]
    assert found["counts"]["passed"] > 0


def test_a_failing_test_is_a_row(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "test_outcomes.py").write_text(OUTCOMES)
    tests = Chosen("some", (str(tmp_path / "test_outcomes.py"),), "test")
    monkeypatch.setattr(device_tests, "RUNS", (tests,))
    *failed, total = rows(device_tests, Setup())
    second, first = sorted(failed, key=lambda row: str(row["test"]))  # several may run at a time
    assert first["test"].endswith("::test_wrong")
    assert (first["why"], first["text"]) == (
        "ValueError: one line",
        "ValueError: one line\nanother",
    )
    assert second["test"].endswith("::test_ends_badly")
    assert second["why"] == "ValueError: first"
    assert total["counts"] == {"passed": 1, "failed": 2, "skipped": 1}
    assert total["skips"] == {"no GPU: none": 1}
    assert (total["passed"], total["why"]) == (False, "2 tests failed")
    assert "test_wrong" in total["said"]


def test_a_hang_costs_what_is_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_tests, "command", lambda tests: [sys.executable, "-c", HANGING])
    monkeypatch.setattr(device_tests, "LIMIT_S", 1.0)
    (total,) = rows(device_tests)
    assert total["counts"]["passed"] == 1
    assert total["why"] == "stopped after 1 s, at b"


@pytest.mark.parametrize(
    ("lines", "status", "why"),
    [
        ([("a", "passed")], 0, ""),
        ([("a", "passed"), ("b", "skipped")], 0, "1 tests found no GPU"),
        ([("a", "passed")], 3, "pytest ended with status 3"),
        ([], 0, "no test passed"),
    ],
)
def test_what_a_run_comes_to(lines: list[tuple[str, str]], status: int, why: str) -> None:
    tally = device_tests.Tally("some")
    for test, outcome in lines:
        tally.take({"test": test, "outcome": outcome, "seconds": 0.1, "why": "no GPU: none"})
    assert tally.wrong(status, quick=False) == why


def test_an_epoch_is_timed() -> None:
    found = rows(epoch)
    assert [row["passed"] for row in found if "passed" in row] == [True] * 4
    named = {row["what"]: row for row in found}
    assert named["a fit of 10 epochs"]["again_ms"] > 0
    assert named["an epoch"]["target_ms"] == 15
    assert named["the next epoch's order"]["order_ms"] > 0
    assert named["an epoch by the interpreter"]["epoch_ms"] > 0


@pytest.mark.parametrize("section", [epoch, memory, sanitizer, crossover])
def test_a_fall_back_is_a_failed_row(monkeypatch: pytest.MonkeyPatch, section: Any) -> None:
    falls_back(monkeypatch)
    monkeypatch.setattr(epoch.Bench, "findings", lambda self: {"a fit": self.fits})
    monkeypatch.setattr(memory, "models", memory.steps)
    failed = [row for row in rows(section) if row.get("passed") is False]
    assert failed
    assert all("cannot be captured: not today" in row["why"] for row in failed)


def test_nothing_is_left_in_memory() -> None:
    assert [row["passed"] for row in rows(memory)] == [True, True]


def test_a_leak_is_a_failed_row(monkeypatch: pytest.MonkeyPatch, fake_cupy: Any) -> None:
    right = CudaEngine.notes

    def leak(self: Any, execute: Any) -> list[str]:
        fake_cupy.machine.free_bytes -= 64
        return list(right(self, execute))

    monkeypatch.setattr(CudaEngine, "notes", leak)
    assert [row["passed"] for row in rows(memory)] == [False, False]


def test_what_the_driver_takes_is_no_leak() -> None:
    before = {"device": 0, "arrays": 0, "host": 0}
    for grown, passed in (((1 << 20, 0, 9), True), ((5 << 20, 0, 0), False), ((0, 1, 0), False)):
        after = dict(zip(before, grown, strict=True))
        row = memory.judged({"passed": True}, before, after, memory.DRIVER_BYTES)
        assert row["passed"] is passed


def test_a_missing_tool_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sanitizer, "find", lambda: None)
    plain, *tools = rows(sanitizer)
    assert plain["passed"]
    assert plain["cublasLt"]["graphs"] == plain["our own"]["graphs"] == [1, 1, 2, 4]
    assert [row["why"] for row in tools] == ["compute-sanitizer is not installed"] * 3


def test_a_tools_words_are_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Of a script in its place."""
    said = {
        "memcheck": "========= Invalid __global__ read of size 4 bytes\\n"
        "========= ERROR SUMMARY: 2 errors",
        "racecheck": "========= RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)",
        "initcheck": "",
    }
    cases = "".join(f"{tool}) printf '{text}\\n' ;;\n" for tool, text in said.items())
    script = f"""#!/bin/sh
echo '{{"passed": true}}'
case $2 in {cases} esac
case $2 in memcheck) exit 9 ;; initcheck) sleep 60 ;; esac
"""
    tool = tmp_path / "compute-sanitizer"
    tool.write_text(script)
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    limits = {"memcheck": 9.0, "racecheck": 9.0, "initcheck": 0.3}
    monkeypatch.setattr(sanitizer, "LIMITS_S", limits)
    monkeypatch.setattr(sanitized, "steps", lambda *_, **__: {"passed": True})
    _, memcheck, racecheck, initcheck = rows(sanitizer)
    assert (memcheck["passed"], memcheck["why"]) == (False, "2 errors")
    assert memcheck["said"][0].startswith("========= Invalid")
    assert racecheck["passed"]
    assert "passed" not in initcheck
    assert initcheck["why"] == "not done after 0 s"


@pytest.mark.parametrize(
    ("status", "text", "passed"),
    [
        (0, '{"passed": true}\n========= ERROR SUMMARY: 0 errors', True),
        (0, '{"passed": false, "why": "no graph"}\n========= ERROR SUMMARY: 0 errors', False),
        (0, '{"passed": true}', False),
        (1, "Traceback\n========= ERROR SUMMARY: 0 errors", False),
        (-11, "", False),
        (None, "========= Invalid __shared__ write of size 4 bytes", False),
        (1, "========= Error: Device not supported\n========= ERROR SUMMARY: 1 error", None),
    ],
)
def test_verdicts_on_a_tool(status: int | None, text: str, passed: bool | None) -> None:
    row = sanitizer.judged(status, text, 9.0)
    assert row.get("passed") is passed
    assert passed or row["why"]


def test_the_crossover_is_looked_for() -> None:
    *batches, last = rows(crossover)
    assert [row["batch"] for row in batches] == [1, 8]
    for row in batches:
        assert row["passed"]
        assert row["cpu_engine"] in ("native", "interpreter")
        assert row["cpu_threads"] >= 1
        assert row["cuda_engine"] == "cuda"
        assert min(row[f"{kind}_us"] for kind in ("cpu", "cuda", "predicted_cpu")) > 0
    assert last["what"] == "crossover"


def test_large_batches_of_a_slow_processor_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crossover, "TOO_SLOW", 0.0)
    first, second, _ = rows(crossover)
    assert "cpu_us" in first
    assert "cpu_us" not in second
    assert second["cuda_us"] > 0


@pytest.mark.parametrize(
    ("ratios", "batch", "about"),
    [
        ([2.0, 4.0, 0.25, 0.1], 64, 16.0 * np.sqrt(4.0)),
        ([2.0, 0.5, 2.0], None, None),
        ([0.5, 0.5], 1, None),
    ],
)
def test_where_the_gpu_overtakes(
    ratios: list[float], batch: int | None, about: float | None
) -> None:
    times = [Times(b, 1.0, ratio) for b, ratio in zip((1, 16, 64, 256), ratios, strict=False)]
    row = crossover.crossing(times, crossover.MLP([4, 3, 2]))
    assert row["batch"] == batch
    assert row.get("about") == (about if about is None else pytest.approx(about))
