"""The command line as such: help, version, errors, and `evaluate` and `predict`."""

from __future__ import annotations

import json
import os
import pickle
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import mlpx.cli
from mlpx import MLP
from mlpx.cli import app
from mlpx.cli.rows import read_rows
from mlpx.data import load_dataset
from mlpx.errors import DataNotFoundError, DeviceError
from mlpx.kernels.activations import Activation
from mlpx.optimizers import Optimizer


def run(*arguments):
    return CliRunner(env={"COLUMNS": "200", "TERM": "dumb"}).invoke(
        app, [str(a) for a in arguments]
    )


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A run folder of a small data set of two images, one all dark and one all bright."""
    folder = tmp_path_factory.mktemp("trained")
    x = np.repeat(np.array([[0] * 6, [255] * 6], dtype=np.uint8), 20, axis=0).reshape(40, 2, 3)
    y = np.repeat([0, 1], 20)
    np.savez(folder / "bright.npz", x_train=x, y_train=y, x_test=x[10:30], y_test=y[10:30])
    with pytest.MonkeyPatch.context() as patch:
        # It is slow, and not what is meant here.
        patch.setattr("mlpx.training.run_folder.learning_curves", lambda *_, **__: None)
        found = run(
            "train", folder / "bright.npz", "--out", folder / "run", "--epochs", 30, "--lr", 0.05
        )
    assert found.exit_code == 0, found.output
    return folder / "run"


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
    assert lines == ["error: No space left on device"] * len(EVERY)
    assert codes == str([1] * len(EVERY))


@pytest.mark.parametrize("command", [c for c in EVERY if "--help" in c], ids=" ".join)
def test_help_fits_a_narrow_terminal(command):
    found = CliRunner(env={"COLUMNS": "20", "TERM": "dumb"}).invoke(app, command)
    assert found.exit_code == 0
    assert max(map(len, found.stdout.splitlines())) <= 20


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


# evaluate


def test_evaluate_a_run_uses_its_data_set(trained):
    found = run("evaluate", trained)
    assert found.exit_code == 0
    assert found.stdout.startswith("accuracy        100.00 %\nloss            0.0")
    assert "bright, 20 rows, on cpu" in found.stdout


@pytest.mark.parametrize("what", ["", "model.safetensors"])
def test_evaluate_json_is_what_the_model_says(trained, what):
    found = json.loads(run("evaluate", trained / what, "--json").stdout)
    data = load_dataset(trained.parent / "bright.npz")
    wanted = MLP.load(trained / "model.safetensors").evaluate(data.x_test, data.y_test)
    told = {"dataset": "bright", "part": "test", "rows": 20, "device": "cpu"}
    assert found == {**told, **wanted}


def test_evaluate_a_lone_model_file_needs_a_data_set(trained, tmp_path):
    alone = tmp_path / "model.safetensors"
    alone.write_bytes((trained / "model.safetensors").read_bytes())
    found = run("evaluate", alone)
    assert found.exit_code == 2
    assert "DATASET" in found.stderr
    assert run("evaluate", alone, trained.parent / "bright.npz").exit_code == 0


@pytest.fixture
def calls(monkeypatch):
    """The options that MLP.load, evaluate and predict were called with."""
    seen = {}

    def watch(name):
        method = getattr(MLP, name)

        def spied(*given, **options):
            seen[name] = options
            return method(*given, **options)

        monkeypatch.setattr(MLP, name, spied)

    for name in ("load", "evaluate", "predict"):
        watch(name)
    return seen


def test_evaluate_where_and_how_it_is_told(trained, calls):
    assert run("evaluate", trained, "--device", "cpu", "--batch-size", 7).exit_code == 0
    assert calls["load"] == {"device": "cpu"}
    assert calls["evaluate"] == {"batch_size": 7}


def test_predict_where_and_how_it_is_told(trained, calls, tmp_path):
    np.save(tmp_path / "x.npy", ROWS)
    options = ("--device", "cpu", "--batch-size", 2)
    assert run("predict", trained, tmp_path / "x.npy", *options).stdout == "1\n0\n1\n"
    assert calls == {"load": {"device": "cpu"}, "predict": {"batch_size": 2}}


def test_evaluate_looks_for_data_where_it_is_told(trained, monkeypatch):
    asked = {}

    def nowhere(name, **options):
        asked.update(options, name=name)
        raise DataNotFoundError("nowhere")

    monkeypatch.setattr("mlpx.data.load_dataset", nowhere)
    run("evaluate", trained, "mnist", "--data-dir", "there", "--no-download")
    assert asked["name"] == "mnist"
    assert (asked["data_dir"], asked["download"]) == (Path("there"), False)


def test_evaluate_json_is_json_whatever_is_found(trained, monkeypatch):
    monkeypatch.setattr(MLP, "evaluate", lambda *_, **__: {"loss": float("nan")})
    found = json.loads(run("evaluate", trained, "--json").stdout, parse_constant=pytest.fail)
    assert found["loss"] is None


def test_evaluate_refuses_data_without_a_test_part(trained, tmp_path):
    np.savez(tmp_path / "half.npz", x_train=np.zeros((4, 6)), y_train=np.zeros(4, dtype=int))
    found = run("evaluate", trained, tmp_path / "half.npz")
    assert found.exit_code == 1
    assert "has no x_test" in found.stderr


def test_evaluate_refuses_data_of_another_width(trained, tmp_path):
    x, y = np.zeros((4, 5)), np.zeros(4, dtype=int)
    np.savez(tmp_path / "narrow.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    found = run("evaluate", trained, tmp_path / "narrow.npz")
    assert found.exit_code == 1
    assert "narrow: x_test has 5 columns; this model was built for 6" in found.stderr


@pytest.mark.parametrize("content", [b"{", b"[]", b"{}", b'{"format": "mlpx-run", "version": 99}'])
def test_a_folder_that_is_no_run_is_refused(trained, tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    found = run("evaluate", tmp_path)
    assert (found.exit_code, found.stderr.count("\n")) == (1, 1)
    assert "config.json" in found.stderr


# predict


ROWS = np.array([[255] * 6, [0] * 6, [250] * 6], dtype=np.uint8)


def test_predict_prints_the_class_of_each_row(trained, tmp_path):
    np.save(tmp_path / "x.npy", ROWS)
    assert run("predict", trained, tmp_path / "x.npy").stdout == "1\n0\n1\n"


def test_predict_takes_images(trained, tmp_path):
    np.save(tmp_path / "x.npy", ROWS.reshape(3, 2, 3))
    assert run("predict", trained, tmp_path / "x.npy").stdout == "1\n0\n1\n"


def test_predict_probabilities(trained, tmp_path):
    np.save(tmp_path / "x.npy", ROWS)
    text = run("predict", trained, tmp_path / "x.npy", "--proba").stdout
    found = np.array([[float(value) for value in line.split()] for line in text.splitlines()])
    wanted = MLP.load(trained / "model.safetensors").predict_proba(ROWS)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_predict_writes_a_file(trained, tmp_path):
    np.save(tmp_path / "x.npy", ROWS)
    found = run("predict", trained, tmp_path / "x.npy", "--out", tmp_path / "y.npy")
    assert found.stdout == ""
    assert np.load(tmp_path / "y.npy").tolist() == [1, 0, 1]
    assert found.stderr == f"{tmp_path / 'y.npy'}: 3 rows, shape (3,), int64\n"
    found = run("predict", trained, tmp_path / "x.npy", "--proba", "--out", tmp_path / "p.npy")
    assert ": 3 rows, shape (3, 2), float32" in found.stderr


def test_predict_does_not_read_the_file_as_a_whole(tmp_path):
    np.save(tmp_path / "x.npy", ROWS.reshape(3, 2, 3))
    rows = read_rows(tmp_path / "x.npy", columns=6)
    assert isinstance(rows, np.memmap)
    assert rows.tolist() == ROWS.tolist()


def refused(trained, path):
    found = run("predict", trained, path)
    assert (found.exit_code, found.stdout, found.stderr.count("\n")) == (1, "", 1)
    return found.stderr


def test_predict_refuses_what_is_no_array_of_numbers(trained, tmp_path):
    assert "does not exist" in refused(trained, tmp_path / "absent.npy")
    np.save(tmp_path / "objects.npy", np.array([{}, {}], dtype=object), allow_pickle=True)
    objects = refused(trained, tmp_path / "objects.npy")
    assert "objects.npy is an array of Python objects, shape (2,)" in objects
    assert "array.astype('float32')" in objects
    assert "allow_pickle" not in objects
    (tmp_path / "pickle.npy").write_bytes(pickle.dumps(1))
    assert "is a pickle, which could run code" in refused(trained, tmp_path / "pickle.npy")
    (tmp_path / "text.npy").write_text("1,2,3")
    assert "numpy.save" in refused(trained, tmp_path / "text.npy")
    (tmp_path / "empty.npy").write_bytes(b"")
    assert "numpy.save" in refused(trained, tmp_path / "empty.npy")
    np.savez(tmp_path / "many.npz", a=ROWS)
    assert "archive" in refused(trained, tmp_path / "many.npz")
    np.save(tmp_path / "words.npy", np.array([["a"] * 6]))
    assert "x " in refused(trained, tmp_path / "words.npy")
    np.save(tmp_path / "small.npy", ROWS.reshape(3, 2, 3)[:, :, :2])
    assert "x.shape = (3, 2, 2); wanted (n, 6)" in refused(trained, tmp_path / "small.npy")
    np.save(tmp_path / "narrow.npy", ROWS[:, :5])
    assert "x has 5 columns" in refused(trained, tmp_path / "narrow.npy")


def test_predict_refuses_a_place_that_is_not_there(trained, tmp_path):
    np.save(tmp_path / "x.npy", ROWS)
    found = run("predict", trained, tmp_path / "x.npy", "--out", tmp_path / "absent" / "y.npy")
    assert (found.exit_code, "cannot write" in found.stderr) == (1, True)
