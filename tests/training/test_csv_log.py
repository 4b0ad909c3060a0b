"""The CSV log: one line per epoch, flushed, without losing what the file held before."""

from __future__ import annotations

import copy
import csv
import hashlib
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
from broken_off import writing_at_once
from small_training import Script, data, net, quiet

from mlpx import Callback, Checkpoints, CSVLog
from mlpx.errors import CheckpointError, InputError
from mlpx.training.recorded import restore


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_one_line_an_epoch(tmp_path: Path) -> None:
    x, y = data()
    path = tmp_path / "größe.csv"
    history = quiet(net(), x, y, epochs=3, validation_data=(x, y), callbacks=[CSVLog(str(path))])
    rows = read(path)
    assert [row.pop("epoch") for row in rows] == ["1", "2", "3"]
    assert [{k: float(v) for k, v in row.items()} for row in rows] == history.epochs


def test_is_flushed_every_epoch(tmp_path: Path) -> None:
    x, y = data()
    path, lines = tmp_path / "log.csv", []

    class Look(Callback):
        def on_epoch_end(self, run: Any, epoch: int, logs: Any) -> None:
            lines.append(len(path.read_text().splitlines()))

    quiet(net(), x, y, epochs=3, callbacks=[CSVLog(path), Look()])
    assert lines == [2, 3, 4]


def test_append_goes_on_and_overwrite_does_not(tmp_path: Path) -> None:
    x, y = data()
    path, model = tmp_path / "log.csv", net()
    path.touch()  # nothing in it to go on with
    quiet(model, x, y, epochs=2, callbacks=[CSVLog(path, append=True)])
    quiet(model, x, y, epochs=1, callbacks=[CSVLog(path, append=True)])
    assert [row["epoch"] for row in read(path)] == ["1", "2", "3"]
    quiet(model, x, y, epochs=1, callbacks=[CSVLog(path)])
    assert [row["epoch"] for row in read(path)] == ["4"]


def test_extra_columns_of_other_callbacks_do_not_hurt(tmp_path: Path) -> None:
    x, y = data()
    path = tmp_path / "log.csv"
    quiet(net(), x, y, epochs=1, callbacks=[Script([1.0], "mine"), CSVLog(path)])
    assert list(read(path)[0]) == ["epoch", "loss", "accuracy"]


PLACES = ["absent/log.csv", ".", "pipe", "link", "/dev/full", "log.csv/log.csv", "\0", "\ud800"]


@pytest.mark.parametrize("append", [False, True])
@pytest.mark.parametrize("path", PLACES)
def test_a_place_that_cannot_be_written_is_refused_first(
    path: str, append: bool, tmp_path: Path
) -> None:
    x, y = data()
    model = net()
    (tmp_path / "log.csv").touch()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    with pytest.raises(InputError, match=r"path = .* it must be a file that can be written"):
        quiet(model, x, y, callbacks=[CSVLog(tmp_path / path, append=append)])
    assert model.training_state is None


def test_file_is_closed_after_a_failure(tmp_path: Path) -> None:
    x, y = data()

    class Fails(Callback):
        def on_train_begin(self, run: Any) -> None:
            raise ZeroDivisionError

    log = CSVLog(tmp_path / "log.csv")
    with pytest.raises(ZeroDivisionError):
        quiet(net(), x, y, callbacks=[log, Fails()])
    assert log._file is None
    copy.deepcopy(log)  # as scikit-learn does


def test_a_disk_that_fills_keeps_what_was_told(tmp_path: Path) -> None:
    x, y = data()
    log = CSVLog(tmp_path / "log.csv")

    class Fill(Callback):
        def on_epoch_end(self, run: Any, epoch: int, logs: Any) -> None:
            if epoch == 1 and log._file is not None:
                os.dup2(os.open("/dev/full", os.O_WRONLY), log._file.fileno())

    with pytest.warns(RuntimeWarning, match=r"log\.csv cannot be written any more") as warned:
        history = quiet(net(), x, y, epochs=5, callbacks=[Fill(), log])
    assert (len(history), len(warned)) == (5, 1)
    assert [row["epoch"] for row in read(log.path)] == ["1"]


class Killed(BaseException):
    """Nothing that is run after it counts."""


class Death(Callback):
    def on_epoch_end(self, run: Any, epoch: int, logs: Any) -> None:
        if epoch == 3:
            raise Killed


def full(path: Path) -> bytes:
    quiet(net(), *data(), epochs=5, callbacks=[CSVLog(path)])
    content = path.read_bytes()
    path.unlink()
    return content


@pytest.mark.parametrize("append", [False, True])
@pytest.mark.parametrize("lost", ["nothing", "half a line", "three lines", "all", "the file"])
def test_a_run_that_is_resumed_has_every_line_once(lost: str, append: bool, tmp_path: Path) -> None:
    """The epoch after the checkpoint was logged before the kill; a crash may lose what was not on
    the disk: it comes from the history.
    """
    path, folder = tmp_path / "log.csv", tmp_path / "run"
    wanted = full(path)
    with writing_at_once():
        with pytest.raises(Killed):
            quiet(net(), *data(), epochs=5, callbacks=[CSVLog(path, append=append), Death()],
                  checkpoint=folder, every="epoch")  # fmt: skip
        content = path.read_bytes()
        assert content.count(b"\n") == 5
        keep = {"nothing": len(content), "half a line": len(content) - 9, "all": 0}
        if lost == "three lines":
            content = b"".join(content.splitlines(keepends=True)[:2])
        path.write_bytes(content[: keep.get(lost)])
        if lost == "the file":
            path.unlink()
        callbacks = [CSVLog(path, append=append)]
        quiet(net(), *data(), epochs=5, callbacks=callbacks, checkpoint=folder, resume=True)
    if append and lost == "three lines":  # what is there may be another run's
        assert path.read_bytes().startswith(content)
        assert read(path)[1:] == list(csv.DictReader(wanted.decode().splitlines()))
    else:
        assert path.read_bytes() == wanted


def test_lines_that_a_full_disk_lost_come_after_the_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, folder = tmp_path / "log.csv", tmp_path / "run"
    wanted = full(path)
    log = CSVLog(path)

    class Full(Callback):
        def on_epoch_end(self, run: Any, epoch: int, logs: Any) -> None:
            if epoch == 1:
                log._file.close()  # type: ignore[union-attr]
                log._file = open("/dev/full", "w")  # type: ignore[assignment] # noqa: SIM115
                log._writer.writer = csv.writer(log._file)  # type: ignore[arg-type]

    with writing_at_once():
        with (
            pytest.raises(Killed),
            pytest.warns(RuntimeWarning, match="cannot be written any more"),
        ):
            quiet(net(), *data(), epochs=5, callbacks=[Full(), log, Death()], checkpoint=folder,
                  every="epoch")  # fmt: skip
        quiet(net(), *data(), epochs=5, callbacks=[CSVLog(path)], checkpoint=folder, resume=True)
    assert path.read_bytes() == wanted


def test_a_resumed_run_appends_to_what_others_wrote(tmp_path: Path) -> None:
    path, folder, model = tmp_path / "log.csv", tmp_path / "run", net()
    with writing_at_once():
        quiet(model, *data(), epochs=2, callbacks=[CSVLog(path)])
        with pytest.raises(Killed):
            quiet(model, *data(), epochs=5, callbacks=[CSVLog(path, append=True), Death()],
                  checkpoint=folder, every=3)  # fmt: skip
        quiet(net(), *data(), epochs=5, callbacks=[CSVLog(path, append=True)], checkpoint=folder,
              resume=True)  # fmt: skip
    assert [row["epoch"] for row in read(path)] == list("1234567")


def broken_off(log: Path, folder: Path) -> None:
    """A run whose last checkpoint is of its third epoch, and whose log has the fourth too."""
    with writing_at_once(), pytest.raises(Killed):
        quiet(net(), *data(), epochs=5, callbacks=[CSVLog(log), Death()], checkpoint=folder,
              every="epoch")  # fmt: skip


def resumed(log: Path, folder: Path, *, append: bool = False) -> None:
    with writing_at_once():
        quiet(net(), *data(), epochs=5, callbacks=[CSVLog(log, append=append)], checkpoint=folder,
              resume=True)  # fmt: skip


@pytest.mark.parametrize("append", [False, True])
@pytest.mark.parametrize("others", [2, 9], ids=["shorter", "longer"])
def test_the_log_of_another_run_is_not_cut(others: int, append: bool, tmp_path: Path) -> None:
    wanted, other = full(tmp_path / "log.csv"), tmp_path / "other.csv"
    quiet(net(), *data(), epochs=others, callbacks=[CSVLog(other)], learning_rate=0.5)
    before = other.read_bytes()
    broken_off(tmp_path / "log.csv", tmp_path / "run")
    resumed(other, tmp_path / "run", append=append)
    assert other.read_bytes() == before + wanted.partition(b"\n")[2]


def test_before_its_first_epoch_a_log_is_known_by_its_name(tmp_path: Path) -> None:
    """All that is in it is the header, which other runs have too."""
    log, other = tmp_path / "log.csv", tmp_path / "other.csv"
    wanted = full(log)
    quiet(net(), *data(), epochs=3, callbacks=[CSVLog(other)], learning_rate=0.5)
    before = other.read_bytes()
    with writing_at_once(), pytest.raises(Killed):
        quiet(net(), *data(), epochs=5, callbacks=[CSVLog(log), Death()],
              checkpoint=Checkpoints(tmp_path / "start", every=None))  # fmt: skip
    shutil.copytree(tmp_path / "start", tmp_path / "again")
    resumed(other, tmp_path / "start")
    assert other.read_bytes() == before + wanted.partition(b"\n")[2]
    resumed(log, tmp_path / "again")
    assert log.read_bytes() == wanted


@pytest.mark.parametrize("append", [False, True])
def test_a_log_goes_on_where_it_was_moved_to(append: bool, tmp_path: Path) -> None:
    wanted = full(tmp_path / "log.csv")
    (tmp_path / "run").mkdir()
    broken_off(tmp_path / "run" / "log.csv", tmp_path / "run")
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    (tmp_path / "run").rename(tmp_path / "moved")
    for name in ("copy", "moved"):
        resumed(tmp_path / name / "log.csv", tmp_path / name, append=append)
        assert (tmp_path / name / "log.csv").read_bytes() == wanted


def test_what_an_earlier_version_kept_of_a_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It did not say which file it was."""
    log, state = tmp_path / "log.csv", CSVLog.state
    wanted = full(log)
    with monkeypatch.context() as patch:
        patch.setattr(CSVLog, "state", lambda self: {k: state(self)[k] for k in ("bytes", "rows")})
        broken_off(log, tmp_path / "run")
    resumed(log, tmp_path / "run")
    assert log.read_bytes() == wanted


def test_a_line_that_was_broken_off_is_ended_first(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("epoch,loss,accuracy\r\n1,0.")
    quiet(net(), *data(), epochs=2, callbacks=[CSVLog(path, append=True)])
    assert [row["epoch"] for row in read(path)] == ["1", "1", "2"]


WRONG: list[dict[str, Any]] = [
    {"bytes": -1}, {"bytes": 0.5}, {"bytes": None}, {"rows": -1}, {"rows": "1"}, {"rows": 2**60},
    {"path": [1], "sha256": None}, {"path": np.zeros(2)}, {"path": ""}, {"sha256": "0"},
    {"bytes": 0, "sha256": hashlib.sha256().hexdigest(), "append": True},
]  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_a_state_made_to_harm_cuts_no_file(wrong: dict[str, Any], tmp_path: Path) -> None:
    log = CSVLog(tmp_path / "log.csv")
    history = quiet(net(), *data(), epochs=2, callbacks=[log])
    before, run = log.path.read_bytes(), MagicMock(columns=["loss"], history=history)
    begin = {"bytes": 30, "rows": 0, "sha256": hashlib.sha256(before[:30]).hexdigest()}
    log.append = wrong.get("append", False)
    with suppress(CheckpointError):
        restore(log, run, state=log.state() | begin | wrong)
    log.on_train_end(run)
    assert log.path.read_bytes().startswith(before)
