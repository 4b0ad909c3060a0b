"""The CSV log: one line per epoch, flushed, without losing what the file held before."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import pytest
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
