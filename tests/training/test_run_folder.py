"""Run folders: one training at a time, reserved disk space, files that are independent."""

from __future__ import annotations

import errno
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from small_training import data, net, quiet

from mlpx import Checkpoints
from mlpx.errors import CheckpointError, InputError
from mlpx.training import run_folder as runs
from mlpx.training.checkpoint_files import name_of, numbered
from mlpx.training.history import History
from mlpx.training.run_folder import (
    claimed,
    describe_run,
    described,
    is_run,
    locate,
    locked,
    read_config,
    read_history,
    room,
    run_folder,
    save_run,
)


def test_a_folder_that_another_trains_in_is_refused_and_left(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with claimed(folder, name=""):
        for claim in (claimed(folder, name=""), locked(folder)):
            with (
                pytest.raises(InputError, match=r"run is in use by process \d+ on .* since 20"),
                claim,
            ):
                pass
            assert folder.is_dir()  # empty as yet, and another's
    assert not folder.exists()
    with claimed(folder, name=""), locked(tmp_path):
        pass


def test_a_system_without_locks_can_do_all_the_rest(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "fcntl", None)
    spec = importlib.util.spec_from_file_location("runs_elsewhere", str(runs.__file__))
    assert spec is not None
    assert spec.loader is not None
    elsewhere = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(elsewhere)
    with elsewhere.claimed(tmp_path, name="") as folder:
        assert folder == tmp_path


def test_room_that_is_not_there_is_said_in_bytes(tmp_path: Path) -> None:
    size = 1 << 60
    words = rf"{tmp_path} has no room for the run \(.*\): it needs {size:,} bytes, [\d,]+ are free"
    with pytest.raises(CheckpointError, match=words), room(tmp_path, size):
        pass
    with room(tmp_path, 10_000) as release:
        assert list(tmp_path.iterdir()) == []  # it has no name, so a kill leaves nothing either
        release()


@pytest.mark.parametrize("lost", ["config.json", "history.json", "curves.png"])
def test_a_file_that_cannot_be_written_does_not_keep_the_others_out(
    lost: str, tmp_path: Path
) -> None:
    (tmp_path / lost).mkdir()
    history = History(epochs=[{"loss": 1.0}])
    what: dict[str, Any] = {"history": history, "config": {}, "test": None}
    if lost == "curves.png":
        written, why = describe_run(tmp_path, **what)
        assert written == ["history.json", "config.json"]
        assert "cannot write" in str(why)
    else:
        with pytest.raises(CheckpointError, match=rf"cannot write .*{lost}.*the model is in"):
            describe_run(tmp_path, **what)
    others = {"config.json", "history.json", "curves.png"} - {lost}
    assert {entry.name for entry in tmp_path.iterdir() if entry.is_file()} == others
    assert is_run(tmp_path) == (lost != "config.json")
    if lost != "history.json":
        assert read_history(tmp_path).epochs == history.epochs


def test_what_is_no_run_is_called_by_its_name(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    Path("other.safetensors").write_text("")
    Path("folder").mkdir()
    for name, words in {
        "absent": "^absent does not exist; wanted a run folder or a model file",
        "folder": "^folder is not a run folder: it has no config.json",
        "other.safetensors": "^other.safetensors is neither a run folder nor",
    }.items():
        with pytest.raises(CheckpointError, match=words):
            run_folder(Path(name))
    config = {"format": "mlpx-run", "version": 1}
    Path("folder/config.json").write_text(json.dumps(config))
    Path("folder/model.safetensors").write_text("")
    for name in ("folder", "folder/model.safetensors"):
        assert run_folder(Path(name)) == Path("folder")


PART = "checkpoint-000001.safetensors.0123abcd.part"


def test_a_run_that_was_killed_before_its_first_file_is_begun_anew(tmp_path: Path) -> None:
    for name in (".owner.json", PART):
        (tmp_path / name).write_text("")
        with pytest.raises(CheckpointError, match=r"written nothing yet; .* begin it anew"):
            run_folder(tmp_path)
    with claimed(tmp_path, name=""):
        assert [entry.name for entry in tmp_path.iterdir()] == [".owner.json"]


def test_parts_that_a_run_does_not_write_are_left_alone(tmp_path: Path) -> None:
    names = {PART, "\x1b[2Jthesis.safetensors.0123abcd.part"}
    for name in names:
        (tmp_path / name).write_text("")
    with (
        pytest.raises(
            InputError, match=r"holds \\x1b\[2Jthesis.safetensors.0123abcd.part and is not"
        ),
        claimed(tmp_path, name=""),
    ):
        pass
    assert {entry.name for entry in tmp_path.iterdir()} == names
    with pytest.raises(CheckpointError, match=r"it has no config\.json"):
        run_folder(tmp_path)


def test_what_is_in_the_place_of_a_new_run_is_called_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("absent")
    (tmp_path / "file").write_text("")
    for name in ("newer", "other"):
        (tmp_path / name).mkdir()
        config = {"format": f"mlpx-{'run' if name == 'newer' else 'x'}", "version": 2}
        (tmp_path / name / "config.json").write_text(json.dumps(config))
    for name, words in {
        "link": "link is a link to nothing; wanted a folder",
        "file": "file is a file; wanted a folder",
        "newer": r"newer holds config.json and is of another version of mlpx, so it is left",
        "other": r"other holds config.json and is not a run of mlpx, so it is left alone",
    }.items():
        with pytest.raises(InputError, match=words), claimed(tmp_path / name, name=""):
            pass


def test_a_name_too_long_for_a_file_is_told() -> None:
    with pytest.raises(CheckpointError, match=r"^a{300} cannot be read: File name too long"):
        locate(Path("a" * 300))


@pytest.mark.parametrize(
    ("code", "advice"), [(errno.ENOSPC, "make room, or name"), (errno.EFBIG, "ulimit -f")]
)
def test_the_advice_is_about_what_is_lacking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, advice: str
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(code, "no")

    monkeypatch.setattr(runs, "allocate", refuse)
    with pytest.raises(CheckpointError, match=advice), room(tmp_path, 1):
        pass


@pytest.mark.parametrize("name", ["engine", "device", "first_epoch", "seconds", "samples", "notes"])
def test_a_history_edited_by_hand_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "history.json"
    History(epochs=[{"loss": 1.0}]).save(path)
    assert len(read_history(tmp_path)) == 1
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: {"x": 1}}))
    with pytest.raises(CheckpointError, match=rf'history.json is not a .*{name} = {{\\?"x'):
        read_history(tmp_path)


def test_settings_of_many_brackets_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("[" * 100_000)
    with pytest.raises(CheckpointError, match=r"config\.json cannot be read"):
        read_config(tmp_path)


def test_a_damaged_checkpoint_does_not_make_an_older_one_newer_than_the_model(
    tmp_path: Path,
) -> None:
    model = net()
    keeper = Checkpoints(tmp_path, every=1, beside={"config": described({"seed": 1})})
    quiet(model, *data(), steps=3, checkpoint=keeper)
    save_run(tmp_path, model, history=History(), config={"seed": 1})
    (number, path) = numbered(tmp_path)[-1]
    assert read_config(tmp_path)["checkpoint"] == number
    newer = tmp_path / name_of(number + 1)
    newer.write_bytes(path.read_bytes())
    with pytest.warns(UserWarning, match=f"was cut short: this is {newer.name}, which is newer"):
        assert locate(tmp_path)[0] == newer
    newer.write_bytes(path.read_bytes()[:1000])
    with pytest.warns(UserWarning, match="the checkpoint before it is taken"):
        assert locate(tmp_path)[0] == tmp_path / "model.safetensors"
