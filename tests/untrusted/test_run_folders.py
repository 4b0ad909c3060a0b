"""Run folders made to harm."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile.formats import run_files

from mlpx import MLP, CSVLog
from mlpx.errors import CheckpointError, InputError
from mlpx.training.history import History
from mlpx.training.locks import OWNER
from mlpx.training.run import Run
from mlpx.training.run_folder import (
    CONFIG,
    HISTORY,
    describe_run,
    locked,
    read_config,
    read_history,
)

Answer = Callable[[str, bytes], str]
FILES = {"config": CONFIG, "history": HISTORY}


def _changed(name: str, keys: tuple[str, ...], value: Any, *, estimator: bool = True) -> bytes:
    content = json.loads(run_files(estimator)[FILES[name]])
    *parents, last = keys
    holder = content
    for key in parents:
        holder = holder[key]
    holder[last] = value
    return json.dumps(content).encode()


ESTIMATORS: dict[str, tuple[tuple[str, ...], Any, str]] = {
    "a method": (("found", "predict"), "x", "predict = 'x' is no attribute of a fitted"),
    "a class": (("found", "__class__"), "x", "__class__ = 'x' is no attribute"),
    "no attributes": (("found",), [], "its attributes are no object"),
    "columns": (("found", "n_features_in_"), 10**9, "and the model beside it has 4 columns"),
    "a curve": (("found", "loss_curve_"), "x", "loss_curve_ = 'x' is no attribute"),
    "names": (("names",), "abcd", "names are no list of 4 texts"),
    "number of names": (("names",), ["a"] * 5, "names are no list of 4 texts"),
    "position": (("draws", "position"), 10**9, "draws are no state of a random generator"),
    "negative position": (("draws", "position"), -1, "draws are no state of a random generator"),
    "words": (("draws", "words"), [2**40] * 624, "out of bounds"),
    "number of words": (("draws", "words"), [1] * 623, "draws are no state of a random generator"),
    "order": (("draws", "order"), [0, 10**9], "the order of rows has not each row once"),
    "nested order": (("draws", "order"), [[0]], "the order of rows has not each row once"),
    "objects": (("dtype",), "V8", "dtype = 'V8', which labels do not have"),
    "dates": (("dtype",), "M8[s]", "which labels do not have"),
    "long dtype": (("dtype",), "f4," * 10**5, "which labels do not have"),
    "labels twice": (("classes",), ["a", "a", "b"], "wanted a list of labels, each once"),
    "unsorted labels": (("classes",), ["c", "b", "a"], "wanted labels in order, each once"),
    "no labels": (("classes",), False, "has an estimator with classes that are no list"),
    "several": (("several",), "yes", "several = 'yes' is a str"),
    "depth": (("parameters", "alpha"), json.loads("[" * 101 + "]" * 101), "more than 100 deep"),
    "kind": (("kind",), "\x1b[2J", r"holds a \x1b[2J: use"),
}


@pytest.mark.parametrize("case", ESTIMATORS)
def test_an_estimator(case: str, answer: Answer) -> None:
    keys, value, told = ESTIMATORS[case]
    assert told in answer("config", _changed("config", ("estimator", *keys), value))


def test_a_dtype_of_labels_of_four_hundred_megabytes(answer: Answer) -> None:
    assert answer("config", _changed("config", ("estimator", "dtype"), "<U100000000")) == ""


SETTINGS: dict[str, tuple[str, Any, str]] = {
    "estimator": ("estimator", [1], "has an estimator that is no JSON object"),
    "labels twice": ("classes", ["a", "a", "b"], "wanted a list of labels, each once"),
    "half a character": (
        "classes",
        ["\ud800", "b", "c"],
        r'["\ud800", "b", "c"]; wanted a list of',
    ),
    "half a name": ("class_names", ["\ud800", "b", "c"], "wanted a list of text"),
    "digits": ("seed", 10**400, "a number of 401 digits"),
    "seed": ("seed", 2**64, "at least 0 and below 2**64"),
    "threads": ("threads", 10**18, "at least 1 and below 65,536"),
    "epochs": ("epochs", 2**63, "at least 0, or null"),
    "long version": ("version", "x" * 10**6, "has format ('mlpx-run', 'xxx"),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_settings(case: str, answer: Answer) -> None:
    name, value, told = SETTINGS[case]
    assert told in answer("config", _changed("config", (name,), value, estimator=False))


HISTORIES: dict[str, tuple[str, Any, str]] = {
    "digits": ("samples", 10**400, "a number of 401 digits"),
    "large": ("first_epoch", 2**53, "first_epoch = 9007199254740992"),
    "negative": ("first_epoch", -5, "first_epoch = -5"),
    "truth": ("samples", True, "samples = true"),
    "notes": ("notes", [[1]], "notes = [[1]]"),
    "text of losses": ("step_loss", "777", 'step_loss = "777"'),
    "losses as text": ("step_loss", ["7"], "is no number"),
    "metric": ("epochs", [{"loss": "7" * 10**6}], "is no number"),
    "epochs": ("epochs", {}, "epochs = {}"),
    "epoch": ("epochs", [1], "'int' object has no attribute 'items'"),
}


@pytest.mark.parametrize("case", HISTORIES)
def test_a_history(case: str, answer: Answer) -> None:
    name, value, told = HISTORIES[case]
    assert told in answer("history", _changed("history", (name,), value)).replace("\\'", "'")


@pytest.mark.parametrize("name", FILES)
def test_json_that_is_none(name: str, answer: Answer) -> None:
    content = run_files(False)[FILES[name]].decode()
    key = {"config": '"format"', "history": '"engine"'}[name]
    assert f"an object has {key[1:-1]!r} twice" in answer(
        name, content.replace(key, f"{key}: 1, {key}", 1).encode()
    )
    told = answer(name, (content[:-3] + ',"more":[' + "{}," * 10**6 + "0]}").encode())
    assert "objects and lists; wanted at most 1,000,000" in told
    for text in ("[" * 10**6, '{"a":' * 10**5, "{} {}", "\ufeff{}", "NaN", ""):
        assert answer(name, text.encode())
    assert "can't decode byte 0xff" in answer(name, b"\xff\xfe{}")


@pytest.mark.parametrize("name", FILES)
def test_an_empty_file_of_two_gigabytes_is_not_read(name: str, tmp_path: Path) -> None:
    path = tmp_path / FILES[name]
    path.touch()
    os.truncate(path, 2 << 30)
    read = {"config": read_config, "history": read_history}[name]
    with pytest.raises(CheckpointError, match=r"json cannot be read: it has 2,147,483,648 bytes"):
        read(tmp_path)


@pytest.mark.parametrize("name", FILES)
def test_what_is_no_file_is_not_opened(name: str, irregular: Path) -> None:
    irregular.rename(irregular.parent / FILES[name])
    read = {"config": read_config, "history": read_history}[name]
    words = rf"{name}\.json cannot be read: it is|is not a run folder: it has no {name}"
    with pytest.raises(CheckpointError, match=words):
        read(irregular.parent)


@pytest.mark.parametrize(
    "name", ["config.json", "model.safetensors", "curves.png", "checkpoint-000002.safetensors"]
)
def test_a_run_is_not_written_through_a_link_out_of_its_folder(name: str, tmp_path: Path) -> None:
    folder, letter = tmp_path / "run", tmp_path / "letter"
    folder.mkdir()
    letter.write_text("dear")
    for target in (letter, Path("../letter"), Path("absent/../../letter"), Path("/nowhere")):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(target)
        with (
            pytest.raises(InputError, match=f"{name} is a link to .*could be overwritten"),
            locked(folder),
        ):
            pass
    (folder / name).unlink()
    (folder / name).symlink_to("/\x1b[2J")
    with pytest.raises(InputError, match=r" is a link to /\\x1b\[2J,"), locked(folder):
        pass
    assert letter.read_text() == "dear"
    (folder / "own").write_text("")
    (folder / name).unlink()
    (folder / name).symlink_to("own")
    with locked(folder):
        pass


@pytest.mark.parametrize(
    "epochs",
    [[{"loss": 1e308}, {"loss": -1e308}], [{"loss$\\frac{": 1.0, "_": 2.0}, {"[red]": 1.0}]],
)
def test_a_history_that_cannot_be_drawn_does_not_lose_the_run(
    epochs: list[dict[str, float]], tmp_path: Path
) -> None:
    history = History(epochs=epochs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        written, why_not = describe_run(tmp_path, history=history, config={}, test=None)
    assert {HISTORY, CONFIG} <= set(written)
    assert ("curves.png" in written) == (why_not is None) == (epochs[0].get("loss") is None)
    assert read_history(tmp_path).epochs == epochs


@pytest.mark.parametrize("kind", ["link", "pipe", "dangling"])
def test_the_file_that_says_who_holds_a_folder_is_no_way_out(kind: str, tmp_path: Path) -> None:
    folder, letter = tmp_path / "run", tmp_path / "letter"
    folder.mkdir()
    letter.write_text("dear")
    if kind == "pipe":
        os.mkfifo(folder / OWNER)
    else:
        (folder / OWNER).symlink_to(letter if kind == "link" else tmp_path / "new")
    with locked(folder):
        assert json.loads((folder / OWNER).read_text())["pid"] == os.getpid()
        with pytest.raises(InputError, match=f"in use by process {os.getpid()} on"), locked(folder):
            pass
    assert letter.read_text() == "dear"
    assert {path.name for path in tmp_path.iterdir()} == {"run", "letter"}


@pytest.mark.parametrize("pid", [10**400, 1e400, [1], "../self", "\x1b[2J", None])
def test_an_owner_that_cannot_be(pid: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlpx.training.locks._flocked", lambda *_: False)
    owner = {"pid": pid, "host": "\x1b[2J", "since": "x" * 10**5, "began": "1"}
    (tmp_path / OWNER).write_text(json.dumps(owner))
    if pid == 10**400:
        with locked(tmp_path):
            pass
        return
    with pytest.raises(InputError, match="is in use by process") as caught, locked(tmp_path):
        pass
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 2000


def test_a_log_goes_on_only_in_a_log(tmp_path: Path) -> None:
    letter, log = tmp_path / "letter", tmp_path / "log.csv"
    letter.write_text("dear")
    x, y = np.zeros((4, 2)), np.array([0, 1, 0, 1])
    with pytest.raises(InputError, match="letter' holds something else than a log of epochs"):
        MLP([2, 2]).fit(x, y, epochs=1, verbose=0, callbacks=[CSVLog(letter, append=True)])
    with pytest.raises(InputError, match="letter' holds something else than a log of epochs"):
        CSVLog(letter).restore(Run.__new__(Run), {"bytes": 0})
    assert letter.read_text() == "dear"
    for _ in range(2):
        MLP([2, 2]).fit(x, y, epochs=1, verbose=0, callbacks=[CSVLog(log, append=True)])
    assert len(log.read_text().splitlines()) == 3
