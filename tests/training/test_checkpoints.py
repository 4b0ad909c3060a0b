"""When checkpoints are written, which of them stay, and what happens if one cannot be."""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from broken_off import bits, plain, writing_at_once
from small_training import data, net, quiet

import mlpx.files
from mlpx import MLP, BestWeights, Callback, Checkpoints
from mlpx.errors import CheckpointError, InputError, InputTypeError
from mlpx.network.saved import read
from mlpx.training import checkpoints
from mlpx.training.checkpoint_files import latest, numbered
from mlpx.training.intervals import Interval
from mlpx.training.kept import as_table, from_table

X, Y = data()
STEPS = 4
"""Of an epoch."""


class Killed(BaseException):
    """Nothing that is run after it counts."""


class Death(Callback):
    """Ends everything after so many steps or epochs."""

    def __init__(self, *, step: int = 0, epoch: int = 0) -> None:
        self.step, self.epoch = step, epoch

    def on_steps(self, run: Any) -> None:
        if run.steps_done == self.step:
            raise Killed

    def on_epoch_end(self, run: Any, epoch: int, logs: Any) -> None:
        if epoch + 1 == self.epoch:
            raise Killed


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def steps(folder: Path) -> list[int]:
    """The steps at which the checkpoints that are left were written."""
    return [read(path).beside["run"]["steps_done"] for _, path in numbered(folder)]


def written(folder: Path, every: Any, **options: Any) -> list[int]:
    """When checkpoints were due, in three epochs of four steps."""
    with writing_at_once():
        keeper = Checkpoints(folder, every=every, keep=99)
        quiet(net(), X, Y, epochs=3, checkpoint=keeper, **options)
    return steps(folder)


@pytest.mark.parametrize(
    ("every", "wanted"),
    [
        (1, Interval(steps=1)),
        (np.int32(1000), Interval(steps=1000)),
        ("500", Interval(steps=500)),
        ("500 steps", Interval(steps=500)),
        ("1 step", Interval(steps=1)),
        ("step", Interval(steps=1)),
        ("2 epochs", Interval(epochs=2)),
        ("Epoch", Interval(epochs=1)),
        ("30s", Interval(seconds=30)),
        (" 0.5 s ", Interval(seconds=0.5)),
        ("5 min", Interval(seconds=300)),
        ("1.5h", Interval(seconds=5400)),
        *((f"2 {unit}", Interval(seconds=2)) for unit in ("s", "sec", "secs", "second", "seconds")),
        *((f"2 {unit}", Interval(seconds=120)) for unit in ("min", "mins", "minute", "minutes")),
        *((f"2 {unit}", Interval(seconds=7200)) for unit in ("h", "hour", "hours")),
        (None, Interval()),
    ],
)
def test_intervals(every: Any, wanted: Interval) -> None:
    assert Interval.parse(every) == wanted


def test_a_number_without_end_is_no_interval() -> None:
    for unit in ("s", "steps", "epochs", ""):
        with pytest.raises(InputError, match="every = '9") as refused:
            Interval.parse("9" * 4000 + unit)
        assert len(str(refused.value)) < 2000


@pytest.mark.parametrize(
    "every",
    ["", "s", "h", "0 s", "0", "-1", "-5 s", "1.5 steps", "2.5 epochs", "5 days", "five", "nan s",
     "1e3", "5 sec onds", "inf", "2 epochs s", "1 s 2", "steps 5", "0 epochs", "1.5", "30ss",
     "2 hs", "seconds", "9" * 307 + " h", "1 secondss"],
)  # fmt: skip
def test_text_that_is_no_interval(every: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"every = {every!r}; wanted a number of steps, or text"):
        quiet(net(), X, Y, checkpoint=tmp_path / "run", every=every)
    assert names(tmp_path) == []


@pytest.mark.parametrize("every", [0, -3, True, 2.0, ["5 s"], float("nan")])
def test_what_is_no_interval(every: Any) -> None:
    with pytest.raises((InputError, InputTypeError), match="every = "):
        Checkpoints("run", every=every)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"resume": True}, "resume=True without checkpoint; name the folder"),
        ({"every": 5}, "every = 5 without checkpoint"),
        ({"checkpoint": Checkpoints("run"), "every": 5}, "every = 5 and checkpoint has its own"),
        ({"checkpoint": 5}, "checkpoint is 5; wanted the path of a folder or mlpx.Checkpoints"),
        ({"checkpoint": b"run"}, "checkpoint is b'run'"),
        ({"checkpoint": ""}, "checkpoint is ''; wanted the path of a folder"),
        ({"checkpoint": "a\0b"}, r"checkpoint is 'a\x00b'; wanted the path of a folder"),
        ({"checkpoint": "run", "resume": "yes"}, "resume = 'yes'"),
    ],
)
def test_arguments_of_fit(
    options: dict[str, Any], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((InputError, InputTypeError)) as error:
        quiet(net(), X, Y, **options)
    assert words in str(error.value)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"best": 5}, "best = 5; wanted the name of a column"),
        ({"beside": [1, 2]}, r"beside = \[1, 2\]; wanted a dictionary"),
    ],
)
def test_what_is_kept_of_another_kind(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputTypeError, match=words):
        Checkpoints("run", **options)


def test_the_folder_stays_where_the_working_directory_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Leaves(Callback):
        def on_epoch_begin(self, run: Any, epoch: int) -> None:
            monkeypatch.chdir(tmp_path / "elsewhere")

    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    quiet(net(), X, Y, epochs=3, checkpoint="run", every=1, callbacks=[Leaves()])
    assert names(tmp_path / "elsewhere") == []
    assert steps(tmp_path / "run")[-1] == 12
    assert all(name.startswith("checkpoint-") for name in names(tmp_path / "run"))


@pytest.mark.parametrize("keep", [0, -1, 1.5, True])
def test_at_least_one_is_kept(keep: Any) -> None:
    with pytest.raises((InputError, InputTypeError), match="keep"):
        Checkpoints("run", keep=keep)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("mine")
    with pytest.raises(InputError, match="run' is no folder that can be written: File exists"):
        quiet(net(), X, Y, checkpoint=tmp_path / "run")
    assert (tmp_path / "run").read_text() == "mine"


@pytest.mark.parametrize(
    ("every", "when"),
    [
        (1, [*range(13)]),
        (5, [0, 5, 10, 12]),
        ("4 steps", [0, 4, 8, 12]),
        ("1 epoch", [0, 4, 8, 12]),
        ("2 epochs", [0, 8, 12]),
        ("1 h", [0, 12]),
    ],
)
def test_when_they_are_written(every: Any, when: list[int], tmp_path: Path) -> None:
    """At the start and at the end in any case; after an epoch's last step, once it is reported."""
    assert written(tmp_path, every) == when


def test_by_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    class Hour(Callback):
        def on_steps(self, run: Any) -> None:
            now[0] += 3600 / 4

    assert written(tmp_path, "0.5 h", callbacks=[Hour()]) == [0, 2, 4, 6, 8, 10, 12]


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_the_latest_stay(keep: int, tmp_path: Path) -> None:
    with writing_at_once():
        keeper = Checkpoints(tmp_path, every=1, keep=keep)
        with pytest.raises(Killed):
            quiet(net(), X, Y, checkpoint=keeper, callbacks=[Death(step=3)])
        assert steps(tmp_path) == [0, 1, 2][-keep:]
        with pytest.raises(Killed):
            quiet(net(), X, Y, checkpoint=keeper, callbacks=[Death(step=5)], resume=True)
        assert steps(tmp_path) == [0, 1, 2, 3, 4][-keep:]
    assert names(tmp_path) == [path.name for _, path in numbered(tmp_path)]


def test_the_last_good_one_stays_until_the_next_is_whole(tmp_path: Path) -> None:
    """Also that of an earlier run that was finished."""
    quiet(net(), X, Y, epochs=1, checkpoint=tmp_path)
    (_, before), *_ = reversed(numbered(tmp_path))
    content, seen = before.read_bytes(), []

    def watched(path: Path, content: bytes) -> None:
        seen.append(before.exists())
        mlpx.files.write_atomically(path, content)

    with writing_at_once() as patch:
        patch.setattr(checkpoints, "write_atomically", watched)
        quiet(net(), X, Y, epochs=1, checkpoint=Checkpoints(tmp_path, keep=1))
    assert seen == [True, False]
    assert not before.exists()
    assert len(names(tmp_path)) == 1
    assert content


def test_an_unfinished_run_is_not_overwritten(tmp_path: Path) -> None:
    with writing_at_once(), pytest.raises(Killed):
        quiet(net(), X, Y, epochs=3, checkpoint=tmp_path, every=1, callbacks=[Death(step=6)])
    model = net(seed=8)
    before, there = model.flat.tobytes(), names(tmp_path)
    words = "cut short after 5 of 12 steps: finish it with resume=True, name another folder, or del"
    with pytest.raises(InputError, match=words):
        quiet(model, X, Y, epochs=3, checkpoint=tmp_path)
    assert (model.flat.tobytes(), model.seed, names(tmp_path)) == (before, 8, there)


def test_a_stopped_run_is_unfinished_until_its_last_epoch_is_reported(tmp_path: Path) -> None:
    class Stop(Death):
        def on_steps(self, run: Any) -> None:
            run.stop("enough")
            super().on_steps(run)

    with writing_at_once():
        with pytest.raises(Killed):
            quiet(net(), X, Y, checkpoint=tmp_path, every=1, callbacks=[Stop(step=3)])
        assert steps(tmp_path) == [1, 2]
        with pytest.raises(InputError, match="cut short after 2 of 40 steps"):
            quiet(net(), X, Y, checkpoint=tmp_path)
        history = quiet(net(), X, Y, checkpoint=tmp_path, resume=True)
    assert (len(history), len(history.step_loss), history.stop_reason) == (1, STEPS, "enough")


def test_a_finished_or_stopped_run_is_overwritten(tmp_path: Path) -> None:
    class Stop(Callback):
        def on_epoch_end(self, run: Any, epoch: int, logs: Any) -> None:
            run.stop("enough")

    quiet(net(), X, Y, epochs=3, checkpoint=tmp_path, callbacks=[Stop()])
    first = quiet(net(), X, Y, epochs=3, checkpoint=tmp_path, callbacks=[Stop()], resume=True)
    assert (first.stop_reason, len(first)) == ("enough", 1)
    quiet(net(), X, Y, epochs=2, checkpoint=tmp_path)
    assert steps(tmp_path) == [0, 8]


@pytest.mark.parametrize("damage", ["cut", "bit", "empty", "text", "newer"])
def test_a_broken_one_is_passed_over(damage: str, tmp_path: Path) -> None:
    with writing_at_once():
        wanted = net()
        history = quiet(wanted, X, Y, epochs=3, checkpoint=tmp_path / "whole")
        with pytest.raises(Killed):
            quiet(net(), X, Y, epochs=3, checkpoint=tmp_path / "run", every=1,
                  callbacks=[Death(step=6)])  # fmt: skip
    (_, good), (_, broken) = numbered(tmp_path / "run")
    content = bytearray(broken.read_bytes())
    if damage == "bit":
        content[-5] ^= 1
    elif damage == "newer":
        content = content.replace(b'"version\\": 2', b'"version\\": 3')
    else:
        content = {"cut": content[:-1], "empty": b"", "text": b"not a file of ours"}[damage]
    broken.write_bytes(content)
    model = net(seed=9)
    with pytest.warns(UserWarning, match=f"{broken.name} .*; the checkpoint before it is taken"):
        found = quiet(model, X, Y, epochs=3, checkpoint=tmp_path / "run", resume=True)
    assert bits(model) == bits(wanted)
    assert plain(found) == plain(history)
    assert names(tmp_path / "run") == [good.name, "checkpoint-000007.safetensors"]


def test_if_none_can_be_read_it_says_so_and_touches_nothing(tmp_path: Path) -> None:
    quiet(net(), X, Y, epochs=1, checkpoint=tmp_path)
    for _, path in numbered(tmp_path):
        path.write_bytes(path.read_bytes()[:-1])
    there = names(tmp_path)
    for resume in (True, False):
        with (
            pytest.warns(UserWarning, match="the checkpoint before it is taken") as said,
            pytest.raises(CheckpointError, match=r"000002.safetensors is not a whole safetensors"),
        ):
            quiet(net(), X, Y, epochs=1, checkpoint=tmp_path, resume=resume)
        assert len(said) == 1  # before the oldest there is none
    assert names(tmp_path) == there


@pytest.mark.parametrize("resume", [True, False])
def test_a_model_in_the_place_of_a_checkpoint(resume: bool, tmp_path: Path) -> None:
    net().save(tmp_path / "checkpoint-000001.safetensors")
    with pytest.raises((InputError, CheckpointError), match="not the checkpoint of a run"):
        quiet(net(), X, Y, epochs=1, checkpoint=tmp_path, resume=resume)


def test_what_a_killed_writer_left_is_swept(tmp_path: Path) -> None:
    left = tmp_path / "checkpoint-000001.safetensors.0123abcd.part"
    left.write_bytes(b"half")
    (tmp_path / "mine.part").write_bytes(b"")
    quiet(net(), X, Y, epochs=1, checkpoint=tmp_path)
    assert names(tmp_path) == [
        "checkpoint-000001.safetensors", "checkpoint-000002.safetensors", "mine.part",
    ]  # fmt: skip


class Says(Callback):
    """That the second epoch is the best."""

    def on_epoch_end(self, run: Any, epoch: int, logs: Any) -> None:
        logs["loss"] = [3.0, 1.0, 2.0, 2.5, 2.6][epoch]


class Best:
    """A run of four epochs with a checkpoint after each, the second one of which is its best."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fit(self, model: MLP, *callbacks: Callback, **options: Any) -> Any:
        keeper = Checkpoints(self.folder, every="epoch", best="loss", keep=9)
        watchers = [Says(), *callbacks]
        return quiet(model, X, Y, checkpoint=keeper, callbacks=watchers, epochs=4, **options)


def test_the_best_is_beside(tmp_path: Path) -> None:
    Best(tmp_path).fit(net())
    wanted = net()
    quiet(wanted, X, Y, epochs=4, callbacks=[Says(), BestWeights("loss")])
    assert MLP.load(tmp_path / "best.safetensors").flat.tobytes() == wanted.flat.tobytes()


@pytest.mark.parametrize("epoch", [1, 2, 3, 4])
def test_the_best_after_a_kill(epoch: int, tmp_path: Path) -> None:
    run, whole = Best(tmp_path / "run"), Best(tmp_path / "whole")
    with writing_at_once():
        whole.fit(net())
        with pytest.raises(Killed):
            run.fit(net(), Death(epoch=epoch))
        run.fit(net(), resume=True)
    best = "best.safetensors"
    assert (run.folder / best).read_bytes() == (whole.folder / best).read_bytes()


@pytest.mark.parametrize("failing", range(7))
def test_the_best_is_there_whichever_write_fails(failing: int, tmp_path: Path) -> None:
    run, whole, count = Best(tmp_path / "run"), Best(tmp_path / "whole"), [0]

    def fails(path: Path, content: bytes) -> None:
        count[0] += 1
        if count[0] == failing + 1:
            raise CheckpointError("no room")
        mlpx.files.write_atomically(path, content)

    with writing_at_once() as patch:
        whole.fit(net())
        patch.setattr(checkpoints, "write_atomically", fails)
        with pytest.warns(RuntimeWarning, match="no room"):
            run.fit(net())
    best = "best.safetensors"
    assert (run.folder / best).read_bytes() == (whole.folder / best).read_bytes()


def test_a_checkpoint_that_is_there_has_its_best_beside_it(tmp_path: Path) -> None:
    """Killed after any write, the folder holds the best model that its checkpoint speaks of, or
    that of the epoch after it.
    """

    def dies(path: Path, content: bytes) -> None:
        mlpx.files.write_atomically(path, content)
        count[0] += 1
        if count[0] == at:
            raise Killed

    for at in range(1, 8):
        run, count = Best(tmp_path / str(at)), [0]
        with writing_at_once() as patch:
            patch.setattr(checkpoints, "write_atomically", dies)
            with pytest.raises(Killed):
                run.fit(net())
        found = latest(run.folder)
        assert found is not None
        kept = found.beside["run"]["callbacks"][-1][1]["best"]
        assert kept["best_epoch"] == {1: -1, 2: -1, 3: 0, 4: 0}.get(at, 1)
        if at > 2:
            beside = MLP.load(run.folder / "best.safetensors").flat.tobytes()
            assert (beside == kept["best_flat"].tobytes()) == (at != 4)


def test_another_run_leaves_no_best_behind(tmp_path: Path) -> None:
    Best(tmp_path).fit(net())
    quiet(net(), X, Y, epochs=1, checkpoint=tmp_path)
    assert "best.safetensors" not in names(tmp_path)


def test_best_of_a_run_that_had_none(tmp_path: Path) -> None:
    run = Best(tmp_path)
    with writing_at_once(), pytest.raises(Killed):
        quiet(net(), X, Y, epochs=4, checkpoint=tmp_path, every=1, callbacks=[Death(step=3)])
    run.fit(net(), resume=True)
    assert "best.safetensors" in names(tmp_path)
    quiet(net(), X, Y, epochs=5, checkpoint=tmp_path, resume=True)
    assert "best.safetensors" in names(tmp_path)  # it is still of this run


def test_best_of_an_unknown_column(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="monitor = 'val_loss'; this run reports"):
        quiet(net(), X, Y, checkpoint=Checkpoints(tmp_path / "run", best="val_loss"))
    assert names(tmp_path) == []


def failing(error: OSError, when: Callable[[int], bool]) -> Callable[[int], None]:
    """An `os.fsync` that raises in its calls for which `when` is true."""
    count = [0]

    def fsync(_: int) -> None:
        count[0] += 1
        if when(count[0]):
            raise error

    return fsync


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_a_full_disk_is_told_once_and_tried_again(number: int, tmp_path: Path) -> None:
    """Of a file and of its folder; once it worked in between, the next failure is told anew."""
    told = rf"cannot write .*: {os.strerror(number)}; training goes on, and the next one is"
    wanted = net()
    with writing_at_once() as patch:
        quiet(wanted, X, Y, epochs=3, checkpoint=tmp_path / "whole")
        error = OSError(number, os.strerror(number))
        patch.setattr(os, "fsync", failing(error, lambda n: n in (3, 4, 5, 10)))
        model = net()
        with pytest.warns(RuntimeWarning, match=told) as warned:
            history = quiet(model, X, Y, epochs=3, checkpoint=tmp_path / "run", every=1)
    assert len(warned) == 2
    assert len(history.notes) == 2 or len(set(history.notes)) == len(history.notes)
    assert bits(model) == bits(wanted)
    assert steps(tmp_path / "run") == [11, 12]
    assert len(names(tmp_path / "run")) == 2


def test_the_end_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """Also if it was told before that the disk is full: no next checkpoint is tried."""
    full = OSError(errno.ENOSPC, "No space left on device")
    with writing_at_once() as patch:
        patch.setattr(os, "fsync", failing(full, lambda n: n > 2))
        with pytest.warns(RuntimeWarning, match="No space left") as warned:
            quiet(net(), X, Y, epochs=3, checkpoint=tmp_path, every=1)
    texts = [str(each.message) for each in warned]
    assert len(texts) == 2
    assert "training goes on" in texts[0]
    assert texts[1].endswith("; the end of the run is not kept")
    assert steps(tmp_path) == [0]


def test_the_end_is_tried_again(tmp_path: Path) -> None:
    """The last checkpoint of the last epoch fails, and the end is still written."""
    full = OSError(errno.ENOSPC, "No space left on device")
    with writing_at_once() as patch:
        patch.setattr(os, "fsync", failing(full, lambda n: n == 3))
        with pytest.warns(RuntimeWarning, match="training goes on"):
            quiet(net(), X, Y, epochs=1, checkpoint=tmp_path, every="epoch")
    assert steps(tmp_path) == [0, 4]


def test_out_of_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: Any, **__: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(checkpoints, "snapshot", none)
    with pytest.warns(RuntimeWarning, match="MemoryError: "):
        history = quiet(net(), X, Y, epochs=2, checkpoint=tmp_path / "run", every=1)
    assert len(history) == 2


def test_any_other_failure_of_the_thread_is_told(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "content", lambda *_, **__: 1 / 0)
        with pytest.warns(RuntimeWarning, match="ZeroDivisionError: division by zero"):
            quiet(net(), X, Y, epochs=1, checkpoint=tmp_path)


def test_where_no_thread_can_start_training_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none)
    quiet(net(), X, Y, epochs=1, checkpoint=tmp_path)
    assert steps(tmp_path) == [0, 4]


def test_training_does_not_wait_for_the_disk(tmp_path: Path) -> None:
    """While one is written, none is begun; the end waits."""
    written, go_on = threading.Event(), threading.Event()

    def slow(path: Path, content: bytes) -> None:
        assert go_on.wait(10)
        mlpx.files.write_atomically(path, content)
        written.set()

    class Last(Callback):
        def on_epoch_end(self, run: Any, epoch: int, logs: Any) -> None:
            if epoch == 2:
                assert not written.is_set()
                go_on.set()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "write_atomically", slow)
        keeper = Checkpoints(tmp_path, every=1, keep=99)
        quiet(net(), X, Y, epochs=3, checkpoint=keeper, callbacks=[Last()])
    assert steps(tmp_path)[0] == 0
    assert steps(tmp_path)[-1] == 12


@pytest.mark.parametrize("where", ["parameters", "m", "v"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_not_written(value: float, where: str, tmp_path: Path) -> None:
    """The last good one stays, and what is finite again is written again."""

    class Poison(Callback):
        def on_steps(self, run: Any) -> None:
            array = run.model.flat if where == "parameters" else run.state.moments[where]
            if run.steps_done == 5:
                self.kept, array[3] = array[3], value
                Checkpoints.on_steps(keeper, run)
                array[3] = self.kept

    keeper = Checkpoints(tmp_path, every=1, keep=99)
    options: Any = {"epochs": 2, "checkpoint": keeper, "optimizer": "adam"}
    with writing_at_once(), pytest.warns(RuntimeWarning, match="not finite; training goes on"):
        quiet(net(), X, Y, callbacks=[Poison()], **options)
    assert steps(tmp_path) == [0, 1, 2, 3, 4, 6, 7, 8]


class Odd(Callback):
    """Has an odd state from the third step on."""

    def __init__(self, value: Any) -> None:
        self.value, self.odd = value, False

    def on_steps(self, run: Any) -> None:
        self.odd = run.steps_done >= 3

    def state(self) -> Any:
        return {"value": self.value} if self.odd else {}

    def restore(self, run: Any, state: Any) -> None:
        self.restored = state


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ([[0.5]] * 210_000, "objects and lists"),
        (reduce(lambda inner, _: [inner], range(100), []), "nested more than 100 deep"),
        (10**310, "a number of 311 digits"),
    ],
    ids=["many", "deep", "long"],
)
def test_what_could_not_be_read_again_replaces_nothing(
    value: Any, told: str, tmp_path: Path
) -> None:
    keeper = Checkpoints(tmp_path, every=1)
    with writing_at_once(), pytest.warns(RuntimeWarning, match=told):
        quiet(net(), X, Y, epochs=2, checkpoint=keeper, callbacks=[Odd(value)])
    assert steps(tmp_path) == [1, 2]


def test_logs_that_are_no_numbers_replace_nothing(tmp_path: Path) -> None:
    class Tags(Callback):
        def on_epoch_end(self, run: Any, epoch: int, logs: Any) -> None:
            if epoch == 1:
                logs["tag"] = "a"

    keeper = Checkpoints(tmp_path, every="1 epoch", keep=99)
    with (
        writing_at_once(),
        pytest.warns(RuntimeWarning, match="no checkpoint was written: .*no number"),
    ):
        quiet(net(), X, Y, epochs=3, checkpoint=keeper, callbacks=[Tags()])
    assert len(steps(tmp_path)) == 2


def test_a_full_disk_is_told_although_the_run_diverges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise CheckpointError("no space")

    monkeypatch.setattr(checkpoints, "write_atomically", full)
    x = X.copy()
    x[7] = np.nan
    with pytest.warns(RuntimeWarning, match="no space|diverged") as told:
        quiet(net(), x, Y, epochs=9, check_finite=False, checkpoint=tmp_path)
    said = [str(each.message).split()[0] for each in told]
    assert sorted({*said}) == ["diverged:", "no"]


def test_a_run_that_diverges_tells_that_and_not_its_checkpoint(tmp_path: Path) -> None:
    class Poison(Callback):
        def on_steps(self, run: Any) -> None:
            if run.steps_done == 5:
                run.model.flat[:] = np.nan  # before the checkpoint, which comes last

    keeper = Checkpoints(tmp_path, every=1)
    with writing_at_once(), pytest.warns(RuntimeWarning) as told:
        quiet(net(), X, Y, epochs=3, checkpoint=keeper, callbacks=[Poison()])
    assert [str(each.message).split(":")[0] for each in told] == ["diverged"]


def test_a_history_without_an_epoch_is_kept_as_it_was() -> None:
    assert as_table([]) == []
    assert from_table({"epochs": {"names": [], "values": np.zeros(0)}}) == {"epochs": []}


@pytest.mark.parametrize("dtype", [">f8", ">i2", "?", "<f2", ">u4"])
def test_arrays_of_any_byte_order_are_kept(dtype: str, tmp_path: Path) -> None:
    value = np.array([0, 1, 3], dtype)
    says = Odd(value)
    quiet(net(), X, Y, epochs=2, checkpoint=tmp_path, callbacks=[says])
    quiet(net(), X, Y, epochs=3, checkpoint=tmp_path, resume=True, callbacks=[says])
    assert says.restored["value"].dtype.isnative
    assert np.array_equal(says.restored["value"], value)


@pytest.mark.parametrize("state", [5, [1], "x", {"a": np.zeros(1, np.longdouble)}])
def test_states_that_no_file_keeps_are_refused(state: Any, tmp_path: Path) -> None:
    says = Odd(0)
    says.state = lambda: state  # type: ignore[method-assign]
    with pytest.raises(InputTypeError, match=r"Odd.state\(\) (is .*wanted a dict|has array)"):
        quiet(net(), X, Y, epochs=1, checkpoint=tmp_path, callbacks=[says])


usr1 = pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="no SIGUSR1")


@usr1
def test_a_signal_asks_for_one(tmp_path: Path) -> None:
    class Asks(Callback):
        def on_steps(self, run: Any) -> None:
            if run.steps_done == 6:
                signal.raise_signal(signal.SIGUSR1)

    assert written(tmp_path, "1 h", callbacks=[Asks()]) == [0, 6, 12]
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL


@usr1
@pytest.mark.parametrize("fails", ["in a step", "at the start"])
def test_the_signal_is_let_go_after_a_failure(fails: str, tmp_path: Path) -> None:
    class Fails(Callback):
        def on_steps(self, run: Any) -> None:
            raise Killed

        def state(self) -> dict[str, Any]:
            if fails == "at the start":
                raise Killed
            return {}

    with pytest.raises(Killed):
        quiet(net(), X, Y, checkpoint=tmp_path, callbacks=[Fails()])
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL


@usr1
@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda *_: None])
def test_a_signal_that_is_taken_is_left_alone(handler: Any, tmp_path: Path) -> None:
    class Sees(Callback):
        def on_steps(self, run: Any) -> None:
            assert signal.getsignal(signal.SIGUSR1) is handler

    signal.signal(signal.SIGUSR1, handler)
    try:
        quiet(net(), X, Y, checkpoint=tmp_path, callbacks=[Sees()])
    finally:
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)


def test_in_another_thread(tmp_path: Path) -> None:
    """Signals belong to the main one."""
    thread = threading.Thread(target=quiet, args=(net(), X, Y), kwargs={"checkpoint": tmp_path})
    thread.start()
    thread.join()
    assert len(steps(tmp_path)) == 2


def test_two_runs_in_one_folder(tmp_path: Path) -> None:
    refused: list[InputError] = []

    class Second(Callback):
        def on_epoch_end(self, run: Any, epoch: int, logs: Any) -> None:
            model = net(seed=6)
            with pytest.raises(InputError, match=f"in use by process {os.getpid()} on ") as error:
                quiet(model, X, Y, checkpoint=tmp_path, resume=True)
            refused.append(error.value)
            assert model.seed == 6

    quiet(net(), X, Y, epochs=1, checkpoint=tmp_path, callbacks=[Second()])
    assert len(refused) == 1
    assert names(tmp_path) == ["checkpoint-000001.safetensors", "checkpoint-000002.safetensors"]


def test_the_same_object_again(tmp_path: Path) -> None:
    """It begins anew with each `fit`."""
    keeper = Checkpoints(tmp_path, every=1, best="loss")
    with writing_at_once():
        for _ in range(2):
            quiet(net(), X, Y, epochs=2, checkpoint=keeper)
            assert steps(tmp_path) == [7, 8]
        model = net()
        quiet(model, X, Y, epochs=3, checkpoint=keeper, resume=True)
    wanted = net()
    quiet(wanted, X, Y, epochs=3)
    assert bits(model) == bits(wanted)


def test_what_the_caller_keeps_beside(tmp_path: Path) -> None:
    beside = {"classes": ["a", "b"], "scale": np.arange(3.0)}
    keeper = Checkpoints(tmp_path, beside=beside, best="loss")
    quiet(net(), X, Y, epochs=1, checkpoint=keeper)
    found = latest(tmp_path)
    assert found is not None
    for kept in (found.beside, read(tmp_path / "best.safetensors").beside):
        assert kept["classes"] == ["a", "b"]
        assert kept["scale"].tolist() == [0, 1, 2]
