"""Checkpoints of a run: written while it trains, so that a killed process loses little.

A checkpoint is a model file that also holds where the run was. It is a snapshot between two steps,
written by a thread of its own to a temporary file, which takes its name once it is on the disk.
"""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mlpx.errors import CheckpointError, InputError, InputTypeError, known_options
from mlpx.files import remove_if_empty, sweep, write_atomically
from mlpx.network.checkpoint import content
from mlpx.network.network import Network
from mlpx.network.saved import Saved
from mlpx.optimizers import Optimizer
from mlpx.records import require_count, require_flag
from mlpx.training.callbacks import BestWeights
from mlpx.training.checkpoint_files import (
    BEST,
    latest,
    name_of,
    numbered,
    progress,
    remove_but,
)
from mlpx.training.interrupts import ASKING, unheard
from mlpx.training.intervals import Interval
from mlpx.training.kept import RUN, check_run
from mlpx.training.locks import locked
from mlpx.training.recorded import INTERRUPTED, adopt, data_of, record
from mlpx.training.run import Callback, Logs, Run
from mlpx.training.snapshots import snapshot
from mlpx.training.writer import Writer
from mlpx.untrusted import brief

EVERY = "30s"
KEEP = 2
NOT_FINITE = "no checkpoint was written, as numbers of the model or its optimizer are not finite"


class Checkpoints(Callback):
    """Write checkpoints of a run into `folder` while it trains.

    every: a number of steps, or text such as "30s", "5 min", "2 epochs"; the first is written at
    the start, one more at the end; None writes only these. A checkpoint is due between two steps,
    when at least as much has passed and the one before is on the disk. keep: how many of the latest
    stay. best: a column such as "val_loss"; beside the checkpoints, best.safetensors has the model
    of the epoch best by it.
    `beside` is written into each.

    Training does not wait for the disk: it copies the arrays, and a thread writes them. If that
    fails, a single warning is issued, training goes on, and the next one is tried when it is due.
    A checkpoint whose numbers are not all finite is not written: the last good one stays.
    SIGUSR1 asks for one, where nothing else handles that signal.

    Give it to `fit(checkpoint=...)`; `fit(checkpoint="folder", every=...)` makes one itself.
    """

    @known_options
    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        every: int | str | None = EVERY,
        keep: int = KEEP,
        best: str | None = None,
        beside: dict[str, Any] | None = None,
    ) -> None:
        given = os.fspath(folder) if isinstance(folder, str | os.PathLike) else None
        # An empty name is a variable that was not set, and would be the current folder.
        if not isinstance(given, str) or not given or "\0" in given:
            told = f"checkpoint is {folder!r}; wanted the path of a folder or mlpx.Checkpoints"
            raise (InputError if isinstance(given, str) else InputTypeError)(told)
        require_count("keep", keep)
        if not isinstance(best, str | None):
            raise InputTypeError(f"best = {best!r}; wanted the name of a column, or None")
        if not isinstance(beside, Mapping | None):
            raise InputTypeError(f"beside = {brief(repr(beside))}; wanted a dictionary, or None")
        self.folder = Path(given).absolute()  # also if the working directory changes
        self.every, self.keep = Interval.parse(every), int(keep)
        self.best = None if best is None else BestWeights(best)
        self.beside = dict(beside or {})
        self.found: Saved | None = None
        """The checkpoint that the run goes on from."""
        self.source = self.folder
        """Where the checkpoint to go on from is."""
        self.locks = self.refuses = True
        """Whether `opened` locks the folder, and refuses an unfinished run in it; False if the
        caller does.
        """
        self.asked = False
        """Whether a signal asked for a checkpoint."""
        self._writer, self._open, self._begun = Writer(), False, False

    @contextmanager
    def opened(self, *, resume: bool) -> Iterator[Saved | None]:
        """The folder, made and locked; yields the checkpoint to go on from, if there is one.

        Raises InputError if the folder cannot be written, is in use, or holds an unfinished run and
        not `resume`; CheckpointError if it has checkpoints and none can be read.
        """
        with ExitStack() as held:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                held.callback(remove_if_empty, self.folder)
                if self.locks:
                    held.enter_context(locked(self.folder))
                with tempfile.TemporaryFile(dir=self.folder):
                    pass  # finds an unwritable folder now
            except OSError as error:
                raise InputError(
                    f"checkpoint = {str(self.folder)!r} is no folder that can be written: "
                    f"{error.strerror or error}"
                ) from None
            sweep(self.folder)
            self.found = latest(self.source)
            if self.found is not None and not resume:
                self._refuse_unfinished(self.found)
                self.found = None
            held.enter_context(self._answering())
            self._open = True
            held.callback(setattr, self, "_open", False)
            yield self.found

    def _refuse_unfinished(self, found: Saved) -> None:
        done, total = progress(found)
        if self.refuses and done < total:
            raise InputError(
                f"{self.folder} has the checkpoint of a run that was cut short after {done:,} of "
                f"{total:,} steps: finish it with resume=True, name another folder, or delete it"
            )

    def on_check(self, run: Run) -> None:
        if not self._open:
            raise InputError("callbacks holds mlpx.Checkpoints; give it as checkpoint=")
        if self.best is not None:
            self.best.on_check(run)

    def on_train_begin(self, run: Run) -> None:
        if self.best is not None:
            self.best.on_train_begin(run)
        self._begin(run)
        if self.found is None:
            self._snapshot(run, inside=False)

    def state(self) -> dict[str, Any]:
        return {} if self.best is None else {"best": self.best.state()}

    def restore(self, run: Run, state: dict[str, Any]) -> None:
        if self.best is not None:
            if "best" in state:
                self.best.restore(run, state["best"])
            else:
                self.best.on_train_begin(run)
        if self._begun:  # the run went back to an earlier state
            self._best_epoch = -1
            self._passed(run)
        else:
            self._begin(run)

    def _begin(self, run: Run) -> None:
        self._begun = True
        earlier = numbered(self.folder)
        self._number = earlier[-1][0] + 1 if earlier else 1
        paths = [path for _, path in earlier]
        at = paths.index(self.found.path) + 1 if self.found and self.found.path in paths else 0
        self._written = paths[:at]
        """The checkpoints of this run; those behind the one it goes on from cannot be read."""
        self._data = data_of(run)
        self._best_epoch = -1
        """The epoch of the best model that this process wrote."""
        self._last = None if self.found is None else _progress(run)
        """The progress at the last checkpoint that was written."""
        self._passed(run)

    def on_steps(self, run: Run) -> None:
        # What is left of an epoch, or of the run, is its end.
        at_end = run.state.position == run.steps_per_epoch or run.steps_done >= run.total_steps
        if not at_end and self._due(run):
            self._snapshot(run, inside=True)

    def on_epoch_end(self, run: Run, epoch: int, logs: Logs) -> None:
        if self.best is not None and self.best.improved(epoch, logs):
            self.best.keep(run)
        self._epochs += 1
        if self._due(run):
            self._snapshot(run, inside=False)

    def on_train_end(self, run: Run) -> None:
        """Write the end of the run; only a run that was broken off leaves what was written."""
        self._begun = False
        self._writer.wait()
        if not (run.failed or run.diverged or self._last == _progress(run)):
            self._writer.complain(run)
            self._snapshot(run, inside=False)
            self._writer.wait()
        elif self._written and not run.failed:
            remove_but(self.folder, self._written[-self.keep :])  # a kill may have come before
        if run.diverged:
            self._writer.forget(NOT_FINITE)  # what the run has diverged by is told
        self._writer.complain(run, ended=True)

    def _due(self, run: Run) -> bool:
        self._writer.complain(run)
        every, steps = self.every, run.steps_done - self._steps
        due = (
            self.asked
            or (every.seconds is not None and time.monotonic() - self._at_s >= every.seconds)
            or (every.steps is not None and steps >= every.steps)
            or (every.epochs is not None and self._epochs >= every.epochs)
        )
        return due and not self._writer.busy

    def _passed(self, run: Run) -> None:
        """Count the interval to the next checkpoint from now on."""
        self._at_s, self._steps, self._epochs = time.monotonic(), run.steps_done, 0
        self.asked = False

    def _snapshot(self, run: Run, *, inside: bool) -> None:
        """Copy the state of the run and have it written.

        inside: the model holds the trained parameters, and not their average, if there is one.
        """
        self._passed(run)
        try:
            made, kept = snapshot(run, inside=inside), {**record(run), **self._data}
            best, epoch = self._best_flat(run), -1 if self.best is None else self.best.best_epoch
        except MemoryError as error:
            self._writer.fail(error)
            return
        path = self.folder / name_of(self._number)
        self._number += 1
        made_at = _progress(run)

        def write() -> None:
            if not made.finite():
                raise CheckpointError(NOT_FINITE)
            # What could not be read again is not to replace what can.
            check_run(kept, "no checkpoint was written")
            if best is not None:  # first: a checkpoint that is there says that this was written
                found = content(run.model, best, None, beside=self.beside or None)
                write_atomically(self.folder / BEST, found.to_bytes())
                self._best_epoch = epoch
            saved = content(run.model, made.flat, made.state, beside={**self.beside, RUN: kept})
            write_atomically(path, saved.to_bytes())
            first, self._last = not self._written, made_at
            self._written = [*self._written, path][-self.keep :]
            remove_but(self.folder, self._written)
            if first and best is None:
                (self.folder / BEST).unlink(missing_ok=True)  # an earlier run's

        self._writer.start(write)

    def _best_flat(self, run: Run) -> np.ndarray | None:
        """A copy of the best epoch's parameters, unless there are none or they were written."""
        best = self.best
        if best is None or best.best_flat is None or best.best_epoch == self._best_epoch:
            return None
        return np.array(run.model.backend.to_numpy(best.best_flat))

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Inside, SIGUSR1 asks for a checkpoint, unless something else handles it."""
        main = threading.current_thread() is threading.main_thread()
        before = None if ASKING is None or not main else signal.getsignal(ASKING)
        if ASKING is None or before not in (signal.SIG_DFL, unheard):
            yield
            return
        signal.signal(ASKING, self._ask)
        try:
            yield
        finally:
            signal.signal(ASKING, before)

    def _ask(self, *_: Any) -> None:
        self.asked = True


def _progress(run: Run) -> tuple[int, int, bool]:
    """What differs between two states of a run that are worth a checkpoint each."""
    return run.steps_done, len(run.history), run.stopping in (None, INTERRUPTED)


@contextmanager
def opened(
    given: str | os.PathLike[str] | Checkpoints | None,
    model: Network,
    optimizer: Optimizer,
    *,
    every: int | str | None,
    resume: bool,
) -> Iterator[tuple[tuple[Checkpoints, ...], Saved | None]]:
    """The arguments of `fit`: the callback that writes checkpoints, if any, with its folder locked,
    and the checkpoint to go on from, whose seed the model takes.

    Raises InputError, InputTypeError, CheckpointError, OSError; the model keeps its seed if
    anything is raised before the training begins.
    """
    keeper = keeper_of(given, every=every, resume=resume)
    if keeper is None:
        yield (), None
        return
    seed, before = model.seed, model.training_state
    with keeper.opened(resume=resume) as found:
        if found is not None:
            adopt(found, model, optimizer)
        try:
            yield (keeper,), found
        except BaseException:
            if model.training_state is before:
                model.seed = seed
            raise


def keeper_of(
    given: str | os.PathLike[str] | Checkpoints | None, *, every: int | str | None, resume: bool
) -> Checkpoints | None:
    """What writes the checkpoints that `fit(checkpoint, every, resume)` asks for, if any.

    Raises InputError, InputTypeError.
    """
    require_flag("resume", resume)
    if isinstance(given, Checkpoints):
        if every is not None:
            raise InputError(f"every = {every!r} and checkpoint has its own; give one of them")
        return given
    if given is None:
        if resume or every is not None:
            told = "resume=True" if resume else f"every = {every!r}"
            raise InputError(f"{told} without checkpoint; name the folder: checkpoint='runs/x'")
        return None
    return Checkpoints(given, every=EVERY if every is None else every)
