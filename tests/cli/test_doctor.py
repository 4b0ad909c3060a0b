"""``mlpx doctor``: what it shows, and when it fails."""

from __future__ import annotations

import json
import sys

import fakecupy
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from mlpx.backend import get_backend
from mlpx.cli.doctor import blas_name, described, doctor, verdict
from mlpx.errors import DeviceError


@pytest.fixture
def run(monkeypatch):
    monkeypatch.delenv("MLPX_DEVICE", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    app = typer.Typer()
    app.command()(doctor)
    return lambda *args: CliRunner().invoke(app, list(args), catch_exceptions=False)


@pytest.fixture
def no_cupy(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    fakecupy.forget_devices()


def test_without_a_gpu_it_says_why_and_succeeds(run, no_cupy):
    result = run()
    assert result.exit_code == 0
    for word in (
        "Python",
        np.__version__,
        blas_name(),
        "thread",
        "GiB free",
        "interpreter",
        "not installed",
    ):
        assert word in result.output
    assert any("CuPy " in row and "not installed" in row for row in result.output.splitlines())
    assert "what to do:" in result.output
    assert "Everything runs on the CPU" in result.output


def test_a_gpu_is_shown(run, fake_cupy):
    fake_cupy.machine.devices = 2
    result = run()
    assert result.exit_code == 0
    assert "CUDA: 2 CUDA devices answer [ok]" in result.output
    assert "what to do" not in result.output
    for device in ("cuda:0", "cuda:1"):
        assert any(
            device in line and "Fake CUDA device, 80.0 of 80.0 GiB free" in line
            for line in result.output.splitlines()
        )


def test_a_gpu_that_does_not_answer_is_shown_beside_one_that_does(run, fake_cupy, monkeypatch):
    fake_cupy.machine.devices = 2

    def answering(name):
        if name == "cuda:0":
            raise DeviceError("cuda:0 fell off [the bus]")
        return get_backend(name)

    monkeypatch.setattr(sys.modules["mlpx.cli.doctor"], "get_backend", answering)
    first, second = json.loads(run("--json").output)["devices"]
    assert first == {"device": "cuda:0", "name": "cuda:0 fell off [the bus]", "memory": None}
    assert (second["device"], second["name"]) == ("cuda:1", "Fake CUDA device")
    (row,) = (line for line in run().output.splitlines() if "fell off" in line)
    assert "cuda:0 fell off [the bus] " in row
    assert "GiB" not in row


def test_memory_that_is_not_known_is_not_told():
    memory = {"total_bytes": 0, "free_bytes": 0, "used_bytes": 0}
    assert described({"name": "a CPU", "memory": memory}) == "a CPU"


@pytest.mark.parametrize("asked", ["cuda", "cuda:5", "gpu"])
def test_a_device_asked_for_in_vain_is_a_failure(run, no_cupy, monkeypatch, asked):
    result = run("--device", asked)
    assert result.exit_code == 1
    assert "error: " in result.output
    assert repr(asked) in result.output or f"'{asked}:0'" in result.output
    assert "Traceback" not in result.output
    monkeypatch.setenv("MLPX_DEVICE", asked)
    assert run().exit_code == 1
    assert run("--device", "cpu").exit_code == 0


def test_a_device_that_is_there_is_no_failure(run, fake_cupy):
    assert run("--device", "cuda").exit_code == 0
    assert run("--device", "cuda:1").exit_code == 1


def test_what_it_is_stands_before_what_was_found(run, no_cupy):
    rows = [line.split("│") for line in run().output.splitlines() if "│" in line]
    found = {row[1].strip(): row[2].strip() for row in rows}
    assert found["Python"].startswith(sys.version.split()[0])


def test_json_without_a_gpu(run, no_cupy):
    facts = json.loads(run("--json").output)
    assert facts["python"] == sys.version.split()[0]
    assert facts["numpy"]["version"] == np.__version__
    assert facts["cupy"]["version"] is None
    assert facts["devices"] == []
    assert facts["engines"]
    assert facts["diagnosis"]["ok"] is False
    assert facts["diagnosis"]["remedy"]
    assert facts["asked"] == {"device": None, "problem": None}
    memory = facts["cpu"]["memory"]
    assert memory["used_bytes"] + memory["free_bytes"] == memory["total_bytes"]


def test_json_with_a_gpu(run, fake_cupy):
    facts = json.loads(run("--json", "--device", "cuda:3").output)
    assert facts["cupy"]["version"] == fake_cupy.__version__
    assert facts["cupy"]["driver_cuda"] == 13020
    assert [device["device"] for device in facts["devices"]] == ["cuda:0"]
    assert facts["devices"][0]["memory"]["total_bytes"] == 80 * 2**30
    assert facts["diagnosis"]["status"] == "ok"
    assert "sees 1 CUDA device" in facts["asked"]["problem"]


def test_square_brackets_in_the_table_are_printed(run, no_cupy):
    (row,) = (line for line in run().output.splitlines() if "engine cuda" in line)
    assert "pip install 'mlpx[cuda13]'" in row
    assert "or 'mlpx[cuda12]'" in row


def test_square_brackets_of_a_remedy_are_printed(run, monkeypatch):
    with fakecupy.installed() as cupy:
        monkeypatch.setattr(cupy, "matmul", _no_cublas)
        output = run().output
    assert "pip install 'cupy-cuda13x[ctk]'" in output
    assert "[libraries-missing]" in output


def _no_cublas(*_):
    raise ImportError("libcublas.so.13: cannot open shared object file")


@pytest.mark.parametrize("columns", [20, 40])
def test_a_narrow_terminal_shows_every_word(run, no_cupy, monkeypatch, columns):
    wide = "".join(run().output.split())
    monkeypatch.setenv("COLUMNS", str(columns))
    narrow = run().output
    assert max(map(len, narrow.splitlines())) <= columns
    assert "…" not in narrow
    verdict = "CUDA:CuPyisnotinstalled[cupy-missing]"
    assert "".join(narrow.split()).partition(verdict)[2] == wide.partition(verdict)[2] != ""


def test_verdict_is_short_when_all_is_fine():
    fine = {"message": "1 CUDA device answers", "status": "ok", "remedy": "", "ok": True}
    assert verdict({"diagnosis": fine, "asked": {"problem": None}}) == [
        "CUDA: 1 CUDA device answers [ok]"
    ]
