"""The GPU check must not be found broken on the day there is a GPU: here it runs on the fake
CuPy, with sections that crash and hang.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[2] / "bench"))
from gpu import cache, check, child, document, parity
from gpu.harness import (
    MARK,
    Course,
    Stop,
    append,
    judge,
    lines_of,
    read,
    run_part,
    running,
    sweep,
    wait,
)
from gpu.parts import PARTS, Part, Section, chosen
from gpu.section import Setup
from mlpx.engines.cuda import cublaslt
from mlpx.errors import EngineError

pytestmark = pytest.mark.xdist_group("alone")  # it ends processes by time and by signals

ROOT = Path(__file__).parents[2]
PATHS = os.pathsep.join(str(ROOT / name) for name in ("src", "bench"))
STUCK = """
import sys
from gpu import check, parts
parts.REHEARSED = (parts.Section("hanging", 60),)
sys.exit(check.main(["--rehearse", "--part", "first", "--section", "parity", "--out", sys.argv[1]]))
"""


def gpu_check(*arguments: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(ROOT / "bench" / "gpu_check.sh"), *map(str, arguments)],
        env=os.environ | {"PYTHON": sys.executable, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def course(folder: Path, **more: Any) -> Course:
    env = cache.environment(folder)
    return Course(Setup(quick=True), folder, env, double=True, stop=Stop(), **more)


def is_alive(pid: int) -> bool:
    """A zombie is none."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def soon(true: Callable[[], Any], seconds: float = 30.0) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not true():
        time.sleep(0.05)
    return true()


def test_a_rehearsal(tmp_path: Path) -> None:
    done = gpu_check("--rehearse", "--part", "first", "--section", "compiling", "--out", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    table = done.stdout.splitlines()[-4:]
    wanted = {"environment": "passed", "crashing": "crashed", "hanging": "timed out"}
    wanted["compiling"] = "passed"
    assert [line.split()[0] for line in table] == list(wanted)
    (path,) = tmp_path.glob("gpu-fake-*.json")
    found = json.loads(path.read_text())
    assert {line["section"]: line["verdict"] for line in found["sections"]} == wanted
    assert found["rehearsed"]
    assert "Fake" in found["gpu"]
    crashed, hung = found["sections"][1:3]
    assert crashed["rows"] == [{"found": "before the crash"}]
    assert crashed["why"] == "SIGABRT"
    assert hung["seconds"] < 10
    assert path.with_suffix(".md").is_file()
    assert not list(tmp_path.glob("running-*"))


@pytest.mark.slow
def test_a_rehearsal_of_all_there_is(tmp_path: Path) -> None:
    there = [
        section.name
        for part in PARTS.values()
        for section in part.sections
        if (ROOT / "bench" / "gpu" / f"{section.name}.py").exists()
    ]
    wanted = [argument for name in there for argument in ("--section", name)]
    done = gpu_check("--rehearse", "--out", tmp_path, *wanted)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = tmp_path.glob("gpu-*.json")
    lines = json.loads(path.read_text())["sections"]
    assert {line["section"] for line in lines} == {*there, "crashing", "hanging"}


def test_what_hangs_ends_with_all_it_started(tmp_path: Path) -> None:
    """And a part without time leaves out the rest."""
    part = Part(3.0, (Section("hanging", 60), Section("parity", 60)))
    hung, left_out = run_part("first", part, course(tmp_path))
    assert (hung["verdict"], hung["why"]) == (
        "timed out",
        "stopped after 3 s of 60: the part had no more",
    )
    assert soon(lambda: not is_alive(hung["rows"][0]["child"]))
    assert (left_out["verdict"], left_out["why"]) == ("left out", "no time left")
    assert read(lines_of(tmp_path, "first")) == [hung, left_out]


def processes(word: str) -> list[str]:
    """Those with this word in their command line."""

    def command(pid: str) -> bytes:
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return b""

    return [p for p in os.listdir("/proc") if p.isdigit() and word.encode() in command(p)]


def sleeping(word: str, *, own_group: bool) -> list[str]:
    """A command that starts a process which sleeps, and sleeps itself."""
    sleep = "import time; time.sleep(99)"
    code = f"import subprocess as s, sys; s.Popen(sys.argv[1:], start_new_session={own_group})"
    return [sys.executable, "-c", f"{code}; {sleep}", sys.executable, "-c", sleep, word]


def test_a_group_ends_with_its_process(tmp_path: Path) -> None:
    """As sections need it that watch a tool."""
    word = str(tmp_path)
    with (tmp_path / "said.txt").open("wb") as output:
        assert wait(sleeping(word, own_group=False), 1.5, output, dict(os.environ)) is None
    assert soon(lambda: not processes(word))


def test_what_left_its_group_ends_too(tmp_path: Path) -> None:
    word = str(tmp_path)
    process = subprocess.Popen(sleeping(word, own_group=True), env=os.environ | {MARK: "a test"})
    assert soon(lambda: len(processes(word)) == 2)
    sweep("another")
    assert len(processes(word)) == 2
    sweep("a test")
    process.wait(30)
    assert soon(lambda: not processes(word))


def started(out: Path) -> subprocess.Popen[bytes]:
    """A check whose second section hangs; it does by the time this returns."""
    env = os.environ | {"PYTHONPATH": PATHS}
    process = subprocess.Popen([sys.executable, "-c", STUCK, str(out)], env=env)
    assert soon(lambda: read(running(out, "first", "hanging")))
    return process


def test_a_signal_costs_what_was_not_measured_yet(tmp_path: Path) -> None:
    process = started(tmp_path)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 128 + signal.SIGTERM
    (path,) = tmp_path.glob("gpu-*.json")
    first, hung, last = json.loads(path.read_text())["sections"]
    assert (first["verdict"], hung["verdict"], last["verdict"]) == (
        "passed", "interrupted", "left out"
    )  # fmt: skip
    assert hung["why"] == last["why"] == "SIGTERM"
    assert soon(lambda: not is_alive(hung["rows"][0]["child"]))


def test_a_check_that_is_killed_leaves_its_rows_and_no_process(tmp_path: Path) -> None:
    process = started(tmp_path)
    process.kill()
    process.wait()
    rows = running(tmp_path, "first", "hanging")
    (row,) = read(rows)
    assert soon(lambda: not (is_alive(row["child"]) or processes(str(rows))))
    first, hung = document.load([lines_of(tmp_path, "first")])
    assert (first["verdict"], hung["verdict"], hung["rows"]) == ("passed", "cut off", [row])


def test_without_a_gpu_it_says_why(tmp_path: Path) -> None:
    from mlpx.backend.diagnosis import diagnose

    if diagnose().ok:
        pytest.skip("there is a GPU: nothing to say")
    done = gpu_check("--part", "first", "--out", tmp_path)
    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert "Traceback" not in said
    table = done.stdout.splitlines()[-len(PARTS["first"].sections) :]
    assert diagnose().message[:60] in table[0]
    assert all("left out" in line and diagnose().message[:60] in line for line in table[1:])


def test_a_fall_back_is_a_failure(fake_cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(_: Any) -> Any:
        raise EngineError("no cublasLt here")

    monkeypatch.setattr(cublaslt, "find", absent)
    rows = list(parity.run(Setup(quick=True)))
    assert all(row["passed"] is False and "no cublasLt here" in row["why"] for row in rows)
    verdict, why = judge(0, rows, "")
    assert verdict == "failed"
    assert why.startswith("2 of 2 rows: sigmoid 50: ")
    assert "no cublasLt here" in why


@pytest.mark.parametrize(
    ("status", "rows", "found"),
    [
        (0, [{"passed": True}, {"n": 1}], ("passed", "")),
        (0, [], ("failed", "it found nothing")),
        (0, [{"passed": True}, {"passed": False}], ("failed", "1 of 2 rows")),
        (0, [{"passed": False, "why": "no"}], ("failed", "1 of 1 rows: no")),
        (1, [{"passed": True}], ("crashed", "exit status 1: ValueError: x")),
        (-11, [{"passed": True}], ("crashed", "SIGSEGV")),
    ],
)
def test_verdicts(status: int, rows: list[Any], found: tuple[str, str]) -> None:
    assert judge(status, rows, "Traceback\nValueError: x\n") == found


def test_a_section_that_is_not_there_costs_itself(tmp_path: Path) -> None:
    part = Part(60, (Section("no_such", 20), Section("environment", 20)))
    lost, found = run_part("first", part, course(tmp_path))
    assert lost["verdict"] == "crashed"
    assert "No module named 'gpu.no_such'" in lost["why"]
    assert found["verdict"] == "passed"


def test_lines_that_were_cut_off_cost_themselves(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    append(path, {"n": 1})
    with path.open("a") as file:
        file.write('{"n": 2, "rows": [{')
    assert read(path) == [{"n": 1}]
    append(path, {"n": 3})
    assert read(path) == [{"n": 1}, {"n": 3}]


def test_any_finding_can_be_written() -> None:
    row = {"a": np.float32(0.5), "b": [np.nan, np.inf], "c": np.arange(2), 1: Path("x"), "d": None}
    found = child.plain(row)
    assert found == {"a": 0.5, "b": [None, None], "c": [0, 1], "1": "x", "d": None}
    json.dumps(found, allow_nan=False)


def test_the_environment_comes_first() -> None:
    """Whatever is chosen: the document has its GPU from there."""
    found = chosen(None, ["parity", "crossover"], rehearse=False)
    names = {name: [each.name for each in part.sections] for name, part in found.items()}
    assert names == {"first": ["environment", "parity"], "second": ["environment", "crossover"]}
    assert list(chosen(None, ["parity"], rehearse=False)) == ["first"]
    whole = chosen(None, None, rehearse=False)
    assert whole == PARTS
    assert [whole[name].limit_s for name in ("first", "second")] == [240, 290]


def test_what_is_asked_wrongly_ends_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.touch()
    for arguments, said in (
        (["--section", "partiy"], "no section 'partiy'; there are: environment, compiling,"),
        (["--out", str(file / "below")], "file"),
        (["--merge", str(tmp_path / "absent.json"), "--out", str(tmp_path)], "absent.json"),
        (["--merge", str(tmp_path / "absent.jsonl"), "--out", str(tmp_path)], "no line"),
    ):
        with pytest.raises(SystemExit) as end:
            check.main(arguments)
        assert end.value.code == 2
        assert said in capsys.readouterr().err


def test_kernels_travel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUPY_CACHE_DIR", raising=False)
    (tmp_path / "second").mkdir()
    with cache.kernels(None, tmp_path) as kernels:
        kernels.pack()
        assert not kernels.archive.exists()  # nothing was compiled
        (kernels.folder / "a.cubin").write_bytes(b"code")
        kernels.pack()
    assert not kernels.folder.exists()
    with cache.kernels(kernels.archive, tmp_path / "second") as again:
        assert (again.folder / "a.cubin").read_bytes() == b"code"
        assert cache.environment(again.folder)["CUPY_CACHE_DIR"] == str(again.folder)
        again.pack()  # or a third call had none
        assert again.archive.exists()


def test_kernels_that_are_lost_cost_only_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.tar.gz").write_bytes(b"\x1f\x8b nonsense")
    for name in ("absent.tar.gz", "broken.tar.gz"):
        with cache.kernels(tmp_path / name, tmp_path) as kernels:
            (kernels.folder / "a.cubin").touch()
            kernels.archive = tmp_path / "no" / "such" / "folder.gz"
            kernels.pack()
    assert capsys.readouterr().out.count("compiled anew") == 2


def test_a_machine_without_git(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLPX_COMMIT", raising=False)
    monkeypatch.setenv("PATH", "")
    assert document.commit() == "unknown"
    monkeypatch.setenv("MLPX_COMMIT", "20b89cf")
    assert document.commit() == "20b89cf"
