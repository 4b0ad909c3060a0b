"""The CSV log: one line per epoch, flushed, without losing what the file held before."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import pytest
from broken_off import writing_at_once
from small_training import Script, data, net, quiet

from mlpx import Callback, CSVLog
from mlpx.errors import InputError


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


@pytest.mark.parametrize("path", ["absent/log.csv", "."])
def test_a_place_that_cannot_be_written_is_refused_first(path: str, tmp_path: Path) -> None:
    x, y = data()
    model = net()
    with pytest.raises(InputError, match=r"path = .* it must be a file that can be written"):
        quiet(model, x, y, callbacks=[CSVLog(tmp_path / path)])
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


def test_a_full_disk_is_noted_once_and_training_goes_on() -> None:
    x, y = data()
    with pytest.warns(RuntimeWarning, match=r"^/dev/full cannot be written any more \(No space"):
        history = quiet(net(), x, y, epochs=3, callbacks=[CSVLog("/dev/full")])
    assert (len(history), history.stop_reason) == (3, "completed")


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
