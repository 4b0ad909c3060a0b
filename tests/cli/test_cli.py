"""The command line as such: help, version, errors, encodings and streams."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys

import numpy as np
import pytest
from bright_images import ROWS
from commanding import mlpx as run
from typer.testing import CliRunner

import mlpx.cli
from mlpx import MLP
from mlpx.cli import app
from mlpx.errors import DeviceError
from mlpx.kernels.activations import Activation
from mlpx.optimizers import Optimizer

NOT_INSTALLED = """
import importlib.metadata, json, runpy, sys
real = importlib.metadata.distribution
def found(name):
    if name == "mlpx":
        raise importlib.metadata.PackageNotFoundError(name)
    return real(name)
importlib.metadata.distribution = found
sys.modules["matplotlib"] = None  # it takes a second, and is not meant
for arguments in json.loads(sys.argv.pop()):
    sys.argv[:] = ["mlpx", *arguments]
    try:
        runpy.run_module("mlpx", run_name="__main__")
    except SystemExit as end:
        assert end.code == 0
"""
"""`python -m mlpx` with the source tree in PYTHONPATH and nothing else known of it, in turn."""


def test_from_a_source_tree_that_is_not_installed(trained, tmp_path):
    data, run = str(trained.parent / "bright.npz"), str(tmp_path / "run")
    commands = (["--version"], ["train", data, "--out", run, "--epochs", "1"], ["evaluate", run])
    done = subprocess.run(
        [sys.executable, "-c", NOT_INSTALLED, json.dumps(commands)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("mlpx 0+source\n")
    assert [done.stdout.count(word) for word in ("0+source", "test accuracy")] == [1, 1]
    assert done.stdout.count("accuracy") > 2  # and what evaluate printed


def test_version():
    found = run("--version")
    assert (found.exit_code, found.stdout.split()) == (0, ["mlpx", mlpx.__version__])


def test_without_arguments_the_help_is_shown():
    assert "train" in run().output


@pytest.mark.parametrize("command", ["train", "evaluate", "predict"])
def test_every_option_is_explained_and_an_example_given(command):
    text = run(command, "--help").stdout
    assert f"mlpx {command} " in text.split("Examples")[1]
    (found,) = (c for c in mlpx.cli.app.registered_commands if c.callback.__name__ == command)
    assert found.help in " ".join(text.split()) or len(found.help) > 150


def test_help_names_what_is_in_the_tables():
    text = run("train", "--help").stdout
    for name in [*Activation.table, *Optimizer.table, "digits", "fashion-mnist"]:
        assert name in text


def test_a_record_added_later_is_listed_and_accepted():
    # what the checks accept comes from the tables, so there is no second list to forget
    found = run("train", "digits", "--activation", "relv")
    assert found.exit_code == 2
    assert "did you mean 'relu'" in " ".join(found.stderr.replace("│", " ").split())


@pytest.mark.xdist_group("alone")
def test_help_is_fast_and_loads_nothing_heavy():
    code = (
        "import sys; from mlpx.cli import app; from typer.testing import CliRunner;"
        "CliRunner().invoke(app, ['train', '--help']);"
        "heavy = {'cupy', 'scipy', 'sklearn', 'matplotlib', 'safetensors'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert found.stdout.strip() == "[]"
    assert after.ru_utime - before.ru_utime < 3  # 0.5 s, and 1 s where nothing is compiled yet


@pytest.mark.parametrize(
    "error", [DeviceError("no GPU\nhere"), FileNotFoundError(2, "No such file", "f")]
)
def test_a_failure_is_one_line_on_stderr(monkeypatch, error, trained):
    monkeypatch.setattr(MLP, "load", lambda *_, **__: (_ for _ in ()).throw(error))
    found = run("evaluate", trained)
    assert (found.exit_code, found.stdout) == (1, "")
    assert found.stderr in ("error: no GPU here\n", "error: No such file: f\n")


def test_debug_shows_the_traceback(monkeypatch, trained):
    monkeypatch.setattr(MLP, "load", lambda *_, **__: (_ for _ in ()).throw(DeviceError("none")))
    found = run("evaluate", trained, "--debug")
    assert found.exit_code == 1
    assert isinstance(found.exception, DeviceError)


def test_a_traceback_only_with_debug(tmp_path):
    code = (
        "import sys; from mlpx.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert end.code == 1\n"
        "sys.argv.append('--debug'); main()"
    )
    command = [sys.executable, "-c", code, "evaluate", tmp_path / "absent"]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60)
    plain, traceback = found.stderr.split("\n", 1)
    assert plain == f"error: {tmp_path}/absent does not exist; wanted a run folder or a model file"
    assert traceback.startswith("Traceback")
    assert "CheckpointError: " in traceback
    assert (found.returncode, found.stdout) == (1, "")


HELPED = ("train", "evaluate", "predict", "gradcheck", "doctor", "bench")
EVERY = (
    *([], ["--help"], ["--version"], ["doctor"], ["devices", "--json"]),
    *([name, "--help"] for name in HELPED),
    *(["bench", "compare", "--help"], ["gradcheck", "--only", "relu"], ["evaluate", "RUN"]),
    *(["evaluate", "RUN", "--json"], ["predict", "RUN", "ROWS"]),
)
"""Each command's help, and what it prints; without arguments the help is wrong usage."""
IN_TURN = """
import functools, json, sys, typer
from mlpx.cli import main
typer.main.get_command = functools.cache(typer.main.get_command)
out, encodings, commands = json.loads(sys.argv.pop())
for encoding in encodings:
    sys.stdout.reconfigure(encoding=encoding, errors="strict")
    sys.stderr.reconfigure(encoding=encoding)
    codes = []
    for arguments in commands:
        if out:
            sys.stdout = open(out, "w")
        sys.argv[1:] = arguments
        try:
            main()
        except SystemExit as end:
            codes.append(end.code)
    print(codes, file=sys.stderr)
"""
"""Commands one after the other in one process, for each encoding; their exit codes on stderr."""


def in_turn(trained, out, encodings, **environment):
    np.save(trained.parent / "rows.npy", ROWS)
    known = {"RUN": str(trained), "ROWS": str(trained.parent / "rows.npy")}
    commands = [[known.get(part, part) for part in command] for command in EVERY]
    return subprocess.run(
        [sys.executable, "-c", IN_TURN, json.dumps([out, encodings, commands])],
        capture_output=True, timeout=60, check=False, env=os.environ | environment,
    )  # fmt: skip


def test_what_the_encoding_lacks_is_no_failure(trained):
    found = in_turn(trained, None, ["ascii", "latin-1"], COLUMNS="50")
    codes = str([2] + [0] * (len(EVERY) - 1)).encode()
    assert [line for line in found.stderr.splitlines() if line.startswith(b"[")] == [codes] * 2
    assert b"Traceback" not in found.stdout + found.stderr


def test_an_output_that_is_full_is_one_line(trained):
    *lines, codes = in_turn(trained, "/dev/full", ["utf-8"]).stderr.decode().splitlines()
    assert lines == ["error: No space left on device: standard output"] * len(EVERY)
    assert codes == str([1] * len(EVERY))


@pytest.mark.parametrize("command", [c for c in EVERY if "--help" in c], ids=" ".join)
def test_help_fits_a_narrow_terminal(command):
    found = CliRunner(env={"COLUMNS": "20", "TERM": "dumb"}).invoke(app, command)
    assert found.exit_code == 0
    assert max(map(len, found.stdout.splitlines())) <= 20
    assert "…" not in found.stdout
    wide = run(*command).stdout
    assert not re.search(r"[a-z]-$", found.stdout, re.MULTILINE)  # no name is broken
    assert set(re.findall(r"--[a-z-]+", wide)) == set(re.findall(r"--[a-z-]+", found.stdout))


@pytest.mark.parametrize("rows", [1, 20_000])
def test_a_reader_that_has_gone_is_not_told(trained, tmp_path, rows):
    np.save(tmp_path / "x.npy", np.zeros((rows, 6), dtype=np.uint8))
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-c", "from mlpx.cli import main; main()", "predict", trained]
    found = subprocess.run(
        [*command, tmp_path / "x.npy"], stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60
    )
    os.close(writer)
    assert (found.returncode, found.stderr) == (1, "")


@pytest.mark.parametrize("arguments", [["fly"], ["train"], ["evaluate"], ["predict", "runs/x"],
                                       ["train", "digits", "--sails"]])  # fmt: skip
def test_wrong_usage_exits_with_2(arguments):
    found = run(*arguments)
    assert found.exit_code == 2
    assert found.stdout == ""


@pytest.mark.parametrize("command", [["train", "digits"], ["evaluate", "x"], ["predict", "x", "y"]])
def test_an_unknown_device_is_wrong_usage(command):
    found = run(*command, "--device", "gpu")
    assert found.exit_code == 2
    assert "did you mean 'cuda'" in found.stderr
