"""Folders that cannot be written to, and users without a home."""

from __future__ import annotations

import os

import numpy as np
import pytest
from children import in_children
from commanding import mlpx as run
from commanding import names, train

pytestmark = pytest.mark.usefixtures("elsewhere", "blank_pictures")


def test_a_read_only_folder_is_refused_before_the_training_and_can_be_read(table, tmp_path):
    train(table, "--epochs", 1, "--out", "run", "--quiet")
    np.save("rows.npy", np.load(table)["x_test"])
    closed = tmp_path / "closed"
    closed.mkdir()
    for folder in (closed, tmp_path / "run"):
        folder.chmod(0o555)
    os.chdir(closed)
    found = in_children(
        [
            ["train", table],
            ["train", table, "--out", "new"],
            ["train", table, "--out", "."],
            ["train", "--resume", "../run", "--epochs", 1],
            ["predict", "../run", "../rows.npy", "--out", "answers.npy"],
            ["evaluate", "../run"],
            ["predict", "../run", "../rows.npy"],
            ["train", "--resume", "../run", "--epochs", 1, "--out", "../more", "--quiet"],
        ],
        before="obey_permissions()",
    )
    assert [(each.code, each.err) for each in found] == [
        (1, "error: Permission denied: runs\n"),
        (1, "error: Permission denied: new\n"),
        (1, "error: Permission denied: .\n"),
        (1, "error: Permission denied: ../run\n"),
        (1, "error: cannot write answers.npy: Permission denied\n"),
        *[(0, "")] * 3,
    ]
    assert "epoch" not in "".join(each.out for each in found)
    assert names(closed) == []
    assert "model.safetensors" in names(tmp_path / "more")


NO_HOME = """
import pwd
os.environ.pop("HOME", None)
def unknown(user):
    raise KeyError(user)
pwd.getpwuid = unknown
"""


def test_without_a_home_nothing_is_written_to_a_folder_called_tilde(table, tmp_path):
    commands = [["train", "mnist"], ["train", "~/x.npz"], ["train", "mnist", "--data-dir", "~/x"],
                ["train", table, "--epochs", 1, "--out", "run", "--quiet"]]  # fmt: skip
    empty = dict.fromkeys(("XDG_CACHE_HOME", "MLPX_DATA"), "")
    download, file, folder, trained = in_children(commands, before=NO_HOME, **empty)
    assert [each.code for each in (download, file, folder, trained)] == [1, 1, 1, 0]
    assert download.err.startswith("error: mnist: there is no folder for downloads: this user has ")
    assert "into a folder, and set MLPX_DATA to it; looked in no folder" in download.err
    assert file.err == "error: ~/x.npz: no such file\n"
    assert folder.err == "error: data_dir is '~/x', which is not a folder\n"
    assert names(tmp_path) == ["run", "table.npz"]


def test_a_home_that_does_not_exist_is_no_hindrance(table, monkeypatch):
    monkeypatch.setenv("HOME", "/nonexistent")
    for name in ("XDG_CACHE_HOME", "MLPX_DATA"):
        monkeypatch.delenv(name, raising=False)
    train(table, "--epochs", 1, "--out", "run", "--quiet")
    asked = run("train", "mnist", "--no-download")
    assert asked.exit_code == 1
    wanted = "into /nonexistent/.cache/mlpx/mnist; looked in /nonexistent/.cache/mlpx "
    assert wanted in asked.stderr
