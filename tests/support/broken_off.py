"""Runs that are broken off at a checkpoint, and whether they end alike once they are resumed.

A process that is killed leaves the checkpoints it had committed. So one run that writes one at
every moment, and keeps them all, stands for as many runs that were killed: each is resumed from a
folder that holds the checkpoints up to then.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlpx import MLP, Callback, Checkpoints, History
from mlpx.training import epochs
from mlpx.training.checkpoint_files import numbered
from mlpx.training.writer import Writer


@contextmanager
def writing_at_once() -> Iterator[pytest.MonkeyPatch]:
    """Inside, training waits for each checkpoint, which does not go to the disk, and stops after
    every step.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Writer, "start", lambda self, work: self._do(work))
        patch.setattr(os, "fsync", lambda _: None)
        patch.setattr(epochs, "RUN_S", 0.0)
        yield patch


@dataclass
class Trial:
    """A training: what makes its model, its callbacks and the rest of the arguments of `fit`."""

    model: Callable[..., MLP]
    x: Any
    y: Any
    options: dict[str, Any]
    callbacks: Callable[[], list[Callback]] = list
    log: Path | None = None
    """A file that the callbacks write."""

    def fit(self, model: MLP, **options: Any) -> tuple[MLP, History, list[Callback]]:
        watchers = self.callbacks()
        given = {"verbose": 0, "callbacks": watchers} | self.options | options
        return model, model.fit(self.x, self.y, **given), watchers


@dataclass
class Whole:
    """A run that was never interrupted, with a checkpoint of each moment of it."""

    trial: Trial
    folder: Path
    model: MLP = field(init=False)
    history: History = field(init=False)
    watchers: list[Callback] = field(init=False)

    def __post_init__(self) -> None:
        keeper = Checkpoints(self.folder, every=1, keep=10_000)
        with writing_at_once() as patch:
            patch.setattr(Checkpoints, "_due", lambda *_: True)
            ended = self.trial.fit(self.trial.model(), checkpoint=keeper)
        self.model, self.history, self.watchers = ended
        self.logged = self.trial.log and self.trial.log.read_bytes()

    @property
    def moments(self) -> int:
        """How many checkpoints there are."""
        return len(numbered(self.folder))

    def resumed(self, moment: int, **options: Any) -> tuple[MLP, History, list[Callback]]:
        """Killed after the checkpoint of that number, and finished by another model."""
        folder = options.pop("folder", self.folder.with_name(f"{self.folder.name}-{moment}"))
        folder.mkdir()
        for _, path in numbered(self.folder)[: moment + 1]:
            shutil.copy(path, folder)
        model = options.pop("model", None) or self.trial.model(seed=99)
        with writing_at_once():
            return self.trial.fit(model, checkpoint=folder, resume=True, **options)

    def check(self, moment: int, **options: Any) -> None:
        """Resumed there, it ends with the same bits."""
        model, history, watchers = self.resumed(moment, **options)
        assert plain(history) == plain(self.history)
        assert bits(model) == bits(self.model)
        assert [known(each) for each in watchers] == [known(each) for each in self.watchers]
        assert self.logged == (self.trial.log and self.trial.log.read_bytes())


def bits(model: MLP) -> dict[str, Any]:
    """All that decides how a model answers and trains on."""
    state, to_numpy = model.training_state, model.backend.to_numpy
    assert state is not None
    moments = {name: digest(to_numpy(moment)) for name, moment in state.moments.items()}
    flat = digest(to_numpy(model.flat))
    return vars(state) | {"seed": model.seed, "flat": flat, "moments": moments}


def plain(history: History) -> dict[str, Any]:
    """All that a history holds but for the time it took."""
    known = history.to_dict() | {
        "seconds": None,
        "losses": history.step_loss.tolist(),
        "norms": {name: digest(norms) for name, norms in history.gradient_norms.items()},
    }
    return known | {"epochs": repr(history.epochs)}  # NaN equals nothing


def known(callback: Any) -> Any:
    """What a callback keeps, as one can compare it."""
    kept = callback.state() if hasattr(callback, "state") else None
    return kept and {k: digest(v) for k, v in kept.items() if v is not None}


def digest(array: Any) -> str:
    """A few characters that tell arrays apart that differ in a bit."""
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:12]
