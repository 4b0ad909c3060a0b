"""`mlpx bench` from end to end, tiny: files, refusals, comparison and advice."""

from __future__ import annotations

import csv
import json
import sys
from typing import ClassVar

import numpy as np
import pytest
from typer.testing import CliRunner

from mlpx.benchmark import session
from mlpx.benchmark.report import document as documents
from mlpx.benchmark.rounds import Rules
from mlpx.benchmark.workloads import Task, make_problem, parse_workload
from mlpx.cli import app

pytestmark = pytest.mark.xdist_group("alone")
TINY = Rules(warm_s=0.001, round_s=0.001, budget_s=0.0, most_rounds=6, accept_noise=True)


@pytest.fixture
def run(monkeypatch):
    monkeypatch.setattr(Rules, "quick", classmethod(lambda cls: TINY))
    monkeypatch.setenv("COLUMNS", "160")
    return lambda *args: CliRunner().invoke(app, ["bench", *map(str, args)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One small benchmark, shared by the tests that read it."""
    out = tmp_path_factory.mktemp("bench")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Rules, "quick", classmethod(lambda cls: TINY))
        done = CliRunner().invoke(
            app,
            ["bench", "--quick", "--accept-noise", "--workload", "8-4-2", "--batch-sizes", "16,4",
             "--threads", "1", "--phase", "train", "--peers", "sklearn",
             "--out", str(out)],
        )  # fmt: skip
    assert done.exit_code == 0, done.output
    return out


def test_the_document_has_what_it_promises(folder):
    document = documents.load(folder / "bench.json")
    assert document["command"][0] == "mlpx"
    found = document["environment"]
    for name in ("date", "machine", "cpu", "gpu", "blas", "python", "versions", "threads"):
        assert found[name], name
    assert found["threads"] == 1
    assert found["thread_variables"]["OMP_NUM_THREADS"] == "1"
    assert {(cell["phase"], cell["batch_size"]) for cell in document["cells"]} == {
        ("train", size) for size in (4, 16)
    }
    assert document["load"].keys() == {"idle_before", "idle_after"}
    assert document["complete"] is True
    assert sorted(path.name for path in folder.iterdir()) == [
        "bench.csv", "bench.html", "bench.json", "bench.md", "bench.svg"
    ]  # fmt: skip


class Interrupting:
    """A benchmark that is interrupted in its n-th cell."""

    def __init__(self, monkeypatch, n=2):
        self.cell, self.count, self.n = session.Bench.cell, 0, n
        monkeypatch.setattr(session.Bench, "cell", lambda bench, task: self(bench, task))

    def __call__(self, bench, task):
        self.count += 1
        if self.count == self.n:
            raise KeyboardInterrupt
        return self.cell(bench, task)


SMALL = (
    "--quick", "--accept-noise", "--workload", "8-4-2", "--batch-sizes", "4,16,64",
    "--threads", "1", "--engine", "interpreter",
)  # fmt: skip


def test_cells_that_are_done_outlive_an_interrupt(run, monkeypatch, tmp_path):
    """And what an earlier run wrote is left alone until there is all of a new one."""
    (tmp_path / "bench.json").write_text("earlier")
    Interrupting(monkeypatch)
    done = run(*SMALL, "--out", tmp_path)
    assert done.exit_code == 130
    assert f"after 1 of 3 cells; {tmp_path / 'bench.part.json'} has them" in done.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bench.json", "bench.part.json"]
    assert (tmp_path / "bench.json").read_text() == "earlier"
    document = documents.load(tmp_path / "bench.part.json")
    assert [cell["batch_size"] for cell in document["cells"]] == [4]
    assert document["complete"] is False
    assert run("compare", tmp_path / "bench.part.json", tmp_path / "bench.part.json").exit_code == 0


def test_an_interrupt_prints_the_cells_that_are_done(run, monkeypatch):
    Interrupting(monkeypatch)
    done = run(*SMALL)
    assert done.exit_code == 130
    assert "after 1 of 3 cells" in done.output
    assert "interrupted before all cells were measured" in done.output
    assert "4           ok" in done.output


def test_an_interrupt_in_the_first_cell_leaves_nothing(run, monkeypatch, tmp_path):
    Interrupting(monkeypatch, n=1)
    done = run(*SMALL, "--out", tmp_path)
    assert done.exit_code == 130
    assert done.output.rstrip().endswith("after 0 of 3 cells")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_said_before_anything_runs(run, tmp_path):
    (tmp_path / "file").write_text("")
    done = run(*SMALL, "--out", tmp_path / "file" / "out")
    assert done.exit_code == 1
    assert "us/step" not in done.output
    assert "Not a directory" in done.output


def test_a_package_the_report_lacks_is_said_before_anything_runs(run, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    monkeypatch.setattr(session.Bench, "cell", lambda bench, task: pytest.fail("measured"))
    done = run(*SMALL, "--out", tmp_path)
    assert done.exit_code == 1
    assert "pip install 'mlpx[bench]'" in done.output
    assert not list(tmp_path.iterdir())


def test_every_contender_has_figures_or_a_reason(folder):
    document = documents.load(folder / "bench.json")
    for cell in document["cells"]:
        names = {result["contender"] for result in cell["results"]}
        assert names == set(document["contenders"])
        assert not any(name.startswith("mlpx/cuda") for name in names)  # not for this device
        for result in cell["results"]:
            if result["status"] != "ok":
                assert result["reason"]
                continue
            assert result["step_s"]["low"] <= result["step_s"]["median"] <= result["step_s"]["high"]
            assert len(result["step_s"]["all"]) == result["step_s"]["rounds"]
            assert result["peak_host_bytes"] > 2**20
            if not result["contender"].startswith("gemm/"):
                assert result["check"]["reason"] == ""
                assert result["check"]["value_error"] <= result["check"]["value_tolerance"]
                uses_blas = "gemm/numpy" in document["contenders"][result["contender"]]["floors"]
                assert (result["floor_fraction"] is not None) is uses_blas
    status = {r["contender"]: r["status"] for r in document["cells"][0]["results"]}
    assert status["mlpx/interpreter"] == "ok"
    assert status["sklearn/partial_fit"] == "ok"


def test_csv_and_markdown(folder):
    rows = list(csv.DictReader((folder / "bench.csv").read_text().splitlines()))
    document = documents.load(folder / "bench.json")
    assert len(rows) == sum(len(cell["results"]) for cell in document["cells"])
    ours = next(row for row in rows if row["contender"] == "mlpx/interpreter")
    assert float(ours["samples_per_s"]) == pytest.approx(
        int(ours["batch_size"]) / float(ours["step_s"])
    )
    text = (folder / "bench.md").read_text()
    assert "8-4-2, relu, adam, train" in text
    assert "| mlpx/interpreter |" in text
    assert "## Left out" in text


def test_comparing_with_itself_finds_nothing(folder, run):
    same = folder / "bench.json"
    done = run("compare", same, same, "--fail-slower", "900%")
    assert done.exit_code == 0
    assert "0 slower" in done.output


def test_comparing_with_a_slower_one_fails(folder, run, tmp_path):
    document = json.loads((folder / "bench.json").read_text())
    for cell in document["cells"]:
        for result in cell["results"]:
            for name in ("median", "low", "high") if result["status"] == "ok" else ():
                result["step_s"][name] *= 1000
    documents.save(document, tmp_path / "b.json")
    a, b = folder / "bench.json", tmp_path / "b.json"
    assert run("compare", a, b, "--fail-slower", "5%").exit_code == 1
    done = run("compare", a, b)
    assert done.exit_code == 0
    assert "slower   mlpx/interpreter" in done.output
    assert run("compare", b, a, "--fail-slower", "5%").exit_code == 0


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--workload", "mnits"], "did you mean"),
        (["--layers", "784"], "widths above zero"),
        (["--batch-sizes", "0"], "whole numbers"),
        (["--peers", "tensorflow"], "tensorflow"),
        (["--phase", "dream"], "dream"),
        (["--engine", "steam"], "steam"),
        (["--dtype", "float16"], "float16"),
        (["--threads", "100000"], "may use"),
        (["--precision", "much"], "wanted a percentage"),
    ],
)
def test_usage_errors(run, args, said):
    done = run(*args)
    assert done.exit_code == 2
    assert said in done.output


def test_a_device_that_is_not_there_is_said_before_anything_runs(run, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cupy", None)
    done = run("--quick", "--device", "cpu,cuda")
    assert done.exit_code == 1
    assert "cuda" in done.output
    assert "us/step" not in done.output


def test_compare_refuses_other_files(run, tmp_path):
    (tmp_path / "x.json").write_text("{}")
    (tmp_path / "y.json").write_text("nonsense")
    for file, said in (("x.json", "schema is None"), ("y.json", "JSON"), ("z.json", "not there")):
        done = run("compare", tmp_path / file, tmp_path / file)
        assert done.exit_code == 1
        assert said in done.output


def test_advice_is_one_line(run, monkeypatch):
    monkeypatch.setattr("mlpx.benchmark.advise.thread_counts", lambda: [1])
    done = run(
        "--quick",
        "--accept-noise",
        "--advise",
        "--layers",
        "8,4,2",
        "--batch-sizes",
        "4,64",
        "--engine",
        "interpreter",
    )
    assert done.exit_code == 0
    last = done.output.strip().splitlines()[-1]
    assert last.startswith(("cpu, native, batch ", "cpu, interpreter, batch "))
    assert "samples/s" in last
    assert "the same rows would take" in last


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("mnist, wide", ("mnist", "wide")),
        ("784,50,10", ("784,50,10",)),
        ("20,16x300,2", ("20,16x300,2",)),
        ("784-50-10,mnist", ("784-50-10", "mnist")),
        (" all ", ("mnist", "tabular", "wide", "deep")),
    ],
)
def test_names_and_widths_share_the_comma(text, names):
    from mlpx.cli.bench.options import _workload_names

    assert _workload_names(text) == names


def test_advice_looks_at_every_device(fake_cupy):
    from mlpx.cli.bench.options import _default_devices

    assert _default_devices(True) == ("cpu", "cuda")
    assert _default_devices(False) == ("cpu",)


class Wrong:
    """Stands in for a process: it builds, and what it left is what was there before."""

    asked: ClassVar[list] = []

    def __init__(self, name, *, threads, environment, pinned):
        self.name, self.environment = name, environment
        Wrong.asked.append((name, environment))

    def ask(self, do, **details):
        self.asked.append((self.name, do))
        if do == "rates":
            return {"refused": "not here"}
        if do == "build":
            self.task = Task.from_json(details["task"])
            return {"versions": {}, "facts": {}}
        assert do == "check", "a wrong contender is not timed"
        problem = make_problem(self.task)
        arrays = [a for pair in zip(problem.weights, problem.biases, strict=True) for a in pair]
        np.savez(details["file"], **{f"a{i}": a for i, a in enumerate(arrays)})
        return {}

    def close(self):
        self.asked.append((self.name, "close"))


def test_who_is_wrong_is_reported_and_not_timed(run, monkeypatch, tmp_path):
    monkeypatch.setattr("mlpx.benchmark.session.Process", Wrong)
    monkeypatch.setattr(
        "mlpx.benchmark.contenders.floor.NumpyFloor.refuses", lambda task: "left out"
    )
    done = run(
        "--quick", "--workload", "8-4-2", "--batch-sizes", 4, "--threads", 1, "--out", tmp_path
    )
    assert done.exit_code == 1
    document = documents.load(tmp_path / "bench.json")
    (cell,) = document["cells"]
    for result in cell["results"]:
        if result["contender"] in ("mlpx/interpreter", "mlpx/interpreter fit"):
            assert result["status"] == "wrong"
            assert "differ from the float64 reference" in result["reason"]
    text = (tmp_path / "bench.md").read_text()
    (line,) = [line for line in text.splitlines() if "wrong: " in line]
    assert {"mlpx/interpreter", "mlpx/interpreter fit"} <= set(line.removeprefix("- ").split(", "))
    started = dict(call for call in Wrong.asked if isinstance(call[1], dict))
    assert all(environment["CUDA_VISIBLE_DEVICES"] == "" for environment in started.values())
    assert sum(call[1] == "close" for call in Wrong.asked) == len(started)


def test_an_engine_that_refuses_is_no_failure(run, monkeypatch):
    """As where no compiler was there to build it."""
    from mlpx.benchmark import worker
    from mlpx.errors import EngineError

    def refuse(wanted, program):
        raise EngineError("it was not built")

    monkeypatch.setattr("mlpx.benchmark.contenders.ours.choose", refuse)
    task = Task(parse_workload("8-4-2"), 16)
    for name in ("mlpx/interpreter", "mlpx/interpreter fit"):
        built = worker.Worker().build({"task": task.to_json(), "contender": name})
        assert built == {"refused": "it was not built"}
