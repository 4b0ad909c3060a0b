"""Python without docstrings and asserts, a clock that is set back, an output that nobody reads."""

from __future__ import annotations

import re
import time

import numpy as np
import pytest
from children import in_children
from commanding import FILES, names
from commanding import mlpx as run
from commanding import train as trained_here

import mlpx.cli as mlpx_cli
from mlpx import MLP
from mlpx.cli.bench.command import compare_documents, run_bench
from mlpx.cli.help import described
from mlpx.cli.predict import predict
from mlpx.cli.train.command import train

pytestmark = pytest.mark.usefixtures("elsewhere", "blank_pictures")
HELPED = ([], ["train"], ["evaluate"], ["predict"], ["gradcheck"], ["doctor"], ["bench"],
          ["bench", "compare"])  # fmt: skip


@pytest.mark.slow  # Python compiles everything anew for -OO
def test_without_docstrings_all_works_and_help_says_the_same(table, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    trained_here(table, "--epochs", 1, "--out", "with", "--quiet")
    np.save("rows.npy", np.load(table)["x_test"])
    *helped, ran, evaluated, predicted, checked, seen, refused = in_children(
        [
            *([*command, "--help"] for command in HELPED),
            ["train", table, "--epochs", 1, "--out", "run"],
            ["evaluate", "run"],
            ["predict", "run", "rows.npy"],
            ["gradcheck", "--only", "relu"],
            ["doctor"],
            ["train", table, "--epochs", -1],
        ],
        flags=["-OO"],
    )
    for one, each in zip(HELPED, helped, strict=True):
        assert each.out == run(*one, "--help").stdout.replace(" root ", " mlpx ")
    assert [each.code for each in (ran, evaluated, predicted, checked, seen)] == [0] * 5
    assert refused.code == 2
    assert names("run") == FILES
    assert evaluated.out == run("evaluate", "with").stdout


@pytest.mark.parametrize("function", [mlpx_cli.mlpx, predict, train, run_bench, compare_documents])
def test_help_is_read_from_the_source_where_there_are_no_docstrings(function, monkeypatch):
    wanted = described(function)
    monkeypatch.setattr(function, "__doc__", None)
    assert described(function) == wanted != ""


def test_a_docstring_whose_source_is_gone_is_no_failure(monkeypatch):
    def gone(_):
        raise OSError("could not get source code")

    monkeypatch.setattr("inspect.getsource", gone)
    assert described(lambda: None) == ""


class Terminal:
    """Keeps what is written to it."""

    encoding = "utf-8"

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text
        return len(text)

    def flush(self):
        """Nothing is kept back."""

    def isatty(self):
        return True


def test_a_clock_that_is_set_back_changes_nothing(table, monkeypatch):
    now = [2e9]

    def back():
        now[0] -= 3600
        return now[0]

    with np.load(table) as data:
        x, y = data["x_train"], data["y_train"]
    terminal = Terminal()
    monkeypatch.setenv("COLUMNS", "200")
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", back)
        patch.setattr(time, "time_ns", lambda: int(back() * 1e9))
        patch.setattr("sys.stdout", terminal)
        patch.setattr("mlpx.training.progress.REFRESH_S", 0.0)
        history = MLP([3, 8, 3]).fit(x, y, epochs=20, verbose=1)
    assert 0 < history.seconds < 60
    assert history.samples_per_s > 0
    left = re.findall(r"(\S+) left", terminal.text)
    assert left
    assert all(re.fullmatch(r"0:\d\d", text) for text in left), left
