"""A History as columns, as plain values and as a file."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_training import N, data, net, quiet

from mlpx import History
from mlpx.errors import InputError, InputTypeError, MissingExtraError


@pytest.fixture
def history() -> History:
    x, y = data()
    model = net()
    quiet(model, x, y, epochs=1)
    told: History = quiet(model, x, y, epochs=3, validation_data=(x, y))
    return told


def test_columns(history: History) -> None:
    assert len(history) == 3
    assert len(history["val_loss"]) == 3
    assert history["loss"] == [epoch["loss"] for epoch in history.epochs]
    assert "loss" in history
    assert "f1" not in history
    with pytest.raises(KeyError, match=r"'f1'; this history has \['accuracy', 'loss', 'val_acc"):
        history["f1"]


def test_counts_and_rates(history: History) -> None:
    assert history.samples == 3 * N
    assert len(history.step_loss) == 3 * 4
    assert history.first_epoch == 1
    assert history.seconds > 0
    assert history.samples_per_s == history.samples / history.seconds


def test_says_who_ran_it_and_where(history: History) -> None:
    assert history.engine
    assert history.engine_reason
    assert history.device.startswith("cpu (")
    assert history.stop_reason == "completed"


def test_of_nothing() -> None:
    empty: Any = quiet(net(), *data(), epochs=0)
    assert (len(empty), len(empty.step_loss), empty.samples) == (0, 0, 0)
    assert "loss" not in empty
    assert empty["loss"] == []
    assert History().samples_per_s == 0.0


def test_repr_is_one_short_line(history: History) -> None:
    told = repr(history)
    assert told.startswith(f"<History: 3 epochs in {history.seconds:.3g} s on {history.engine}, ")
    last = history.epochs[-1]
    assert f"loss {last['loss']:.4g}, val_loss {last['val_loss']:.4g}, completed>" in told
    assert repr(History(epochs=[{"loss": 1.0}])) == "<History: 1 epoch in 0 s, loss 1, completed>"
    long = History(stop_reason="diverged: the loss is nan at step 3; lower the learning rate")
    assert repr(long) == "<History: 0 epochs in 0 s, diverged>"


def test_best_epoch() -> None:
    nan = float("nan")
    columns = {
        "loss": [3.0, 1.0, 2.0],
        "val_loss": [nan, 2.0, 1.0],
        "val_accuracy": [0.5, 0.9, 0.9],
    }
    epochs = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    history = History(epochs=epochs, first_epoch=10)
    assert history.best() == {"epoch": 13, **epochs[2]}
    assert history.best("loss")["epoch"] == 12
    assert history.best("val_accuracy")["epoch"] == 12  # the first of equals, and higher is better
    assert History(epochs=[{"loss": 2.0}]).best() == {"epoch": 1, "loss": 2.0}
    with pytest.raises(KeyError, match="'val_f1'; this history has"):
        history.best("val_f1")
    with pytest.raises(InputTypeError, match="metric is 3; wanted a name, one of \\['loss'"):
        history.best(3)  # type: ignore[arg-type]
    for empty in (History(), History(epochs=[{"loss": nan}])):
        with pytest.raises(InputError, match="no epoch of this history has a finite 'loss'"):
            empty.best()


def test_frame_of_epochs(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    pandas = pytest.importorskip("pandas")
    frame = history.to_frame()
    assert frame.index.name == "epoch"
    assert frame.index.tolist() == [2, 3, 4]
    assert frame.columns.tolist() == list(history.epochs[0])
    assert frame["val_loss"].tolist() == history["val_loss"]
    assert isinstance(History().to_frame(), pandas.DataFrame)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtraError, match=r"to_frame needs pandas, .*: pip install 'pandas'"):
        history.to_frame()


def test_file_holds_everything(history: History, tmp_path: Path) -> None:
    path = tmp_path / "history.json"
    history.save(path)
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content.pop("step_loss") == history.step_loss.tolist()
    assert content == history.to_dict()
    fields = set(vars(history)) - {"step_loss", "gradient_norms"}
    assert set(content) == fields | {"steps"}
    assert content["steps"] == len(history.step_loss)
    assert list(tmp_path.iterdir()) == [path]


def test_file_of_a_diverged_run_is_json_everywhere(tmp_path: Path) -> None:
    """NaN and infinity are not JSON: parsers in other languages reject them."""
    nan, inf = float("nan"), float("inf")
    history = History(epochs=[{"loss": nan}, {"loss": -inf}], step_loss=np.array([inf, 1.0]))
    history.save(tmp_path / "h.json")

    def refuse(word: str) -> Any:
        raise AssertionError(word)

    text = (tmp_path / "h.json").read_text(encoding="utf-8")
    content = json.loads(text, parse_constant=refuse)
    assert content["step_loss"] == [None, 1.0]
    assert content["epochs"] == [{"loss": None}, {"loss": None}]


def test_existing_file_survives_a_failure(
    history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "history.json"
    path.write_text("precious")

    def fail(*_: Any) -> None:
        raise OSError("no space")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no space"):
        history.save(path)
    assert path.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [path]
