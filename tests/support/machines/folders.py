"""The machine of a run folder and the command line, which runs in this process."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant
from typer.testing import CliRunner

import mlpx
from machines import Machine, beginning, step
from machines.disturbing import ctrl_c
from machines.observing import frozen
from machines.truth import Truth, settings
from mlpx import MLP
from mlpx import files as atomic
from mlpx.cli import app
from mlpx.errors import CheckpointError, MissingExtraError
from mlpx.estimators import MLPClassifier, MLPRegressor
from mlpx.kernels.activations import Activation
from mlpx.optimizers import Optimizer
from mlpx.training import run_folder
from mlpx.training.history import finite
from mlpx.training.run_folder import CONFIG, HISTORY, MODEL, read_config, read_history
from mlpx.training.sampling import SAMPLINGS

FILES = {MODEL, HISTORY, CONFIG}
WIDTH = 3
Said = tuple[int, str, str]

WORDS: dict[str, st.SearchStrategy[Any]] = {
    "--optimizer": st.sampled_from(sorted(Optimizer.table)),
    "--batch-size": st.sampled_from((1, 8, 32)),
    "--lr": st.just(0.05),
    "--sampling": st.sampled_from(sorted(SAMPLINGS)),
    "--early-stopping": st.just("loss"),
    "--best-weights": st.just("loss"),
    "--threads": st.integers(1, 2),
}
"""Options of any training."""
NEW = {
    "--hidden": st.sampled_from(("4", "5,3")),
    "--activation": st.sampled_from(sorted(Activation.table)),
    "--dtype": st.sampled_from(("float32", "float64")),
    "--seed": st.integers(0, 3),
    "--validation": st.sampled_from((0, 0.2)),
}
"""Options of a new model."""


@st.composite
def words(draw: Any, options: dict[str, st.SearchStrategy[Any]]) -> tuple[str, ...]:
    """Options of a command, with their values."""
    names = draw(st.lists(st.sampled_from(sorted(options)), max_size=3, unique=True))
    return tuple(str(word) for name in names for word in (name, draw(options[name])))


def command(*arguments: Any) -> Said:
    """Exit code, stdout and stderr of one command."""
    runner = CliRunner(env={"COLUMNS": "200", "TERM": "dumb"})
    found = runner.invoke(app, [str(argument) for argument in arguments])
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    assert "Traceback" not in found.stderr
    return found.exit_code, found.stdout, found.stderr


def refused(said: Said) -> None:
    """One line on stderr says why, and nothing else is said."""
    code, out, error = said
    assert (code, out) == (1, "")
    assert error.startswith("error: ")
    assert error.count("\n") == 1


def no_picture(*_: Any, **__: Any) -> None:
    raise MissingExtraError("Matplotlib", "plot", "a picture")


@contextmanager
def ctrl_c_at(epoch: int | None) -> Iterator[None]:
    """Ctrl-C is pressed at the beginning of this epoch of each training."""
    begun = 0

    def press(self: Any, run: Any, _: int) -> None:
        nonlocal begun
        begun += 1
        if begun == epoch:
            ctrl_c(run)

    with pytest.MonkeyPatch.context() as patch:
        if epoch is not None:
            patch.setattr(mlpx.Callback, "on_epoch_begin", press)
        yield


@contextmanager
def no_room_after(files: int) -> Iterator[None]:
    """The disk is full when so many files were put in place."""
    replace, done = os.replace, 0

    def full(*arguments: Any, **named: Any) -> None:
        nonlocal done
        if done >= files:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        done += 1
        replace(*arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(atomic.os, "replace", full)
        yield


def contents(folder: Path) -> dict[str, bytes]:
    """What is in a folder, which need not be there."""
    return {p.name: p.read_bytes() for p in folder.iterdir()} if folder.exists() else {}


def told(folder: Path) -> Any:
    """What the files of a run say, but for the time it took."""
    files = contents(folder)
    if not files:
        return None
    assert set(files) == FILES
    history = json.loads(files[HISTORY])
    del history["seconds"]
    return files[MODEL], frozen(history), json.loads(files[CONFIG])


class Folders(Machine):
    """A run folder, and the files that a folder without a past has.

    Each command that writes is also run on a new folder with those files. Checkpoints are off:
    tests/cli/test_killed.py has what becomes of a run that was cut short.
    """

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(run_folder, "learning_curves", no_picture)
        self.run, self.twin = self.folder / "run", self.folder / "twin"
        self.truth: dict[str, bytes] = {}
        self.found = settings()

    def teardown(self) -> None:
        self.patch.undo()
        super().teardown()

    @beginning(labels=st.booleans(), seed=st.integers(0, 3))
    def begin(self, labels: bool, seed: int) -> None:
        self.labels, self.data = labels, self.folder / "table.npz"
        rng = np.random.default_rng(seed)
        self.x = rng.normal(size=(50, WIDTH)).astype("f4")
        y = np.arange(50) % 3 if labels else rng.normal(size=50)
        np.savez(self.data, x_train=self.x[:40], y_train=y[:40], x_test=self.x[40:], y_test=y[40:])
        self.test = self.x[40:], y[40:]
        self.rows = self.folder / "rows.npy"
        np.save(self.rows, self.x[:17])

    @invariant()
    def nothing_else_changed(self) -> None:
        assert contents(self.run) == self.truth
        assert settings() == self.found

    def write(self, *arguments: Any, epoch: int | None = None, files: int | None = None) -> int:
        """A command that writes to the folder, and the same on its twin; returns its exit code."""
        self._put(self.twin, self.truth)
        said = []
        for folder in (self.run, self.twin):
            named = [folder if word is self.run else word for word in arguments]
            with ctrl_c_at(epoch), no_room_after(9 if files is None else files):
                said.append(command("train", *named, "--quiet", "--checkpoint-every", "off"))
        (code, _, error), (other, _, others) = said
        assert (code, error.replace("run", "twin")) == (other, others.replace("run", "twin"))
        if files is None:
            assert told(self.run) == told(self.twin)
        self.truth = contents(self.run) if files is None else self.truth
        shutil.rmtree(self.twin, ignore_errors=True)
        return code

    def _put(self, folder: Path, files: dict[str, bytes]) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        for name, content in files.items():
            folder.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)

    # Writing.

    @step(epochs=st.integers(1, 4), options=words(WORDS | NEW))
    def train(self, epochs: int, options: tuple[str, ...]) -> None:
        self._train(self.data, "--out", self.run, "--epochs", epochs, *options)

    @step(epochs=st.integers(1, 3), options=words(WORDS))
    def resume(self, epochs: int, options: tuple[str, ...]) -> None:
        if self.truth:
            self._train("--resume", self.run, "--epochs", epochs, *options)

    def _train(self, *arguments: Any) -> None:
        assert self.write(*arguments) in (0, 1)  # 1: diverged, or options exclude each other

    @step(epoch=st.integers(1, 3), further=st.booleans())
    def interrupted(self, epoch: int, further: bool) -> None:
        """Ctrl-C in a new training, or one that goes on."""
        words = ["--resume", self.run] if self.truth and further else [self.data, "--out", self.run]
        assert self.write(*words, "--epochs", 4, epoch=epoch) == 130
        assert self.truth

    @step(files=st.integers(0, 2), further=st.booleans())
    def no_room(self, files: int, further: bool) -> None:
        """Each file is the old one or the new one; nothing lies beside them."""
        words = ["--resume", self.run] if self.truth and further else [self.data, "--out", self.run]
        assert self.write(*words, "--epochs", 2, files=files) == 1
        found = contents(self.run)
        assert set(found) <= FILES
        for name, content in found.items():
            assert content == self.truth.get(name) or self._whole(name)
        self._put(self.run, self.truth)

    def _whole(self, name: str) -> bool:
        read: dict[str, Callable[[Path], Any]] = {
            MODEL: lambda folder: MLP.load(folder / MODEL),
            HISTORY: read_history,
            CONFIG: read_config,
        }
        read[name](self.run)
        return True

    # Reading.

    @step(batch_size=st.sampled_from((1024, 3)))
    def evaluate(self, batch_size: int) -> None:
        if not self.truth:
            return
        code, out, _ = command("evaluate", self.run, "--json", "--batch-size", batch_size)
        assert code == 0
        expected = MLP.load(self.run / MODEL).evaluate(*self.test, batch_size=batch_size)
        found = json.loads(out)
        assert {name: found[name] for name in expected} == finite(expected)  # JSON has no NaN

    @step(proba=st.booleans(), to_file=st.booleans())
    def predict(self, proba: bool, to_file: bool) -> None:
        if not self.truth:
            return
        model, out = MLP.load(self.run / MODEL), self.folder / "out.npy"
        say = "predict_proba" if proba and self.labels else "predict"
        words = ["--proba"] if say == "predict_proba" else []
        words += ["--out", str(out)] if to_file else []
        code, printed, _ = command("predict", self.run, self.rows, *words)
        expected = getattr(model, say)(self.x[:17])
        assert code == 0
        if to_file:
            assert frozen(np.load(out)) == frozen(expected)
            out.unlink()
        else:
            lines = [[float(word) for word in line.split()] for line in printed.splitlines()]
            np.testing.assert_allclose(
                np.array(lines), np.asarray(expected).reshape(17, -1), rtol=1e-5
            )

    @step(which=st.sampled_from(("MLP", "estimator")))
    def load(self, which: str) -> None:
        """In Python: it answers as the file says, and goes on there as here."""
        if not self.truth:
            return
        model = MLP.load(self.run / MODEL)
        if which == "MLP":
            fresh = Truth(model).fresh("cpu")
            assert frozen(model.predict_logits(self.x)) == frozen(fresh.predict_logits(self.x))
        else:
            estimator = (MLPClassifier if self.labels else MLPRegressor).from_run(self.run)
            found = np.asarray(estimator.predict(self.x))
            np.testing.assert_array_equal(found, model.predict(self.x).reshape(found.shape))

    # What goes wrong.

    @step(name=st.sampled_from(sorted(FILES)), how=st.sampled_from(("missing", "half", "garbage")))
    def damaged(self, name: str, how: str) -> None:
        """Who needs the file refuses; all files stay as they are; whole again, all is well."""
        if not self.truth:
            return
        path, content = self.run / name, self.truth[name]
        if how == "missing":
            path.unlink()
        else:
            path.write_bytes(content[: len(content) // 2] if how == "half" else b"garbage\xff\x00")
        before = contents(self.run)
        readers = [["train", "--resume", self.run, "--epochs", 1]]
        if name != HISTORY:
            readers += [["evaluate", self.run], ["predict", self.run, self.rows]]
        for reader in readers:
            refused(command(*reader))
        with pytest.raises(CheckpointError):
            self._whole(name)
        assert contents(self.run) == before
        path.write_bytes(content)

    @step(wrong=st.integers(0, 20))
    def refuse(self, wrong: int) -> None:
        calls: list[tuple[Any, ...]] = [
            ("train", self.data, "--out", self.run, "--epochs", -1),
            ("train", self.data, "--out", self.run, "--optimizer", "nobody"),
            ("train", self.data, "--out", self.run, "--hidden", "0"),
            ("train", self.data, "--out", self.run, "--validation", 0.999),
            ("train", self.data, "--out", self.data),
            ("train", self.folder / "nothing.npz", "--out", self.run),
            ("train", "--resume", self.folder / "nothing"),
            ("evaluate", self.folder / "nothing"),
            ("predict", self.run, self.folder / "nothing.npy"),
            ("predict", self.run, self.data),
        ]
        code, out, _ = command(*calls[wrong % len(calls)])
        assert code in (1, 2)
        assert out == ""
