"""Callbacks that observe and control a training run.

`Callback`, to subclass for your own, is defined beside the run in `mlpx.training.run`.

Each method gets the `run` (see `mlpx.training.run.Run`): `run.model`, `run.history`, and
`run.stop("why")`.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import warnings
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Literal

from mlpx.backend import array_backend
from mlpx.errors import CheckpointError, InputError, InputTypeError, known_options
from mlpx.metrics import Metric
from mlpx.records import is_whole, require, require_count, require_flag
from mlpx.training.kept import as_flat
from mlpx.training.run import EVENTS, Callback, Logs, Run
from mlpx.types import Array
from mlpx.untrusted import irregular

READ_BYTES = 1 << 20
Mode = Literal["auto", "min", "max"]


def check_callbacks(given: Iterable[Callback] | Callback) -> list[Callback]:
    """`given` as a list; a single callback becomes a list of one.

    Raises InputTypeError for an object without the methods of `Callback`.
    """
    callbacks = [given] if isinstance(given, Callback) else given
    if not isinstance(callbacks, Iterable):
        raise InputTypeError(f"callbacks is {given!r}; wanted a list of callbacks")
    callbacks = list(callbacks)
    for callback in callbacks:
        events = [*EVENTS, *["on_steps"] * hasattr(callback, "on_steps")]
        missing = [event for event in events if not callable(getattr(callback, event, None))]
        if missing or isinstance(callback, type):
            raise InputTypeError(
                f"callbacks holds {callback!r}, which is not a callback; wanted an instance of a "
                "subclass of mlpx.Callback"
            )
    return callbacks


class _Watch(Callback):
    """Tracks the best value of one column of the log."""

    latest = False
    """Whether of equal epochs the latest is the best, and not the first."""

    def __init__(self, monitor: str, min_change: float, mode: Mode) -> None:
        require("min_change", min_change, least=0)
        if mode not in ("auto", "min", "max"):
            raise InputError(f"mode = {mode!r}; it must be 'auto', 'min' or 'max'")
        self.monitor, self.min_change, self.mode = monitor, min_change, mode
        self.best = float("inf")
        self.best_epoch = -1
        self.best_flat: Array = None

    def on_check(self, run: Run) -> None:
        if self.monitor not in run.columns:
            unseen = self.monitor.startswith("val_") and run.held_out is None
            hint = "; pass validation_data to fit" if unseen else ""
            raise InputError(
                f"monitor = {self.monitor!r}; this run reports {list(run.columns)}{hint}"
            )

    def on_train_begin(self, run: Run) -> None:
        self.best, self.best_epoch, self.best_flat = float("inf"), -1, None

    def state(self) -> dict[str, Any]:
        flat = self.best_flat
        if flat is not None:
            flat = array_backend(flat).to_numpy(flat)
        return {
            "monitor": self.monitor,
            "wanted": self._wanted(),
            "best": self.best,
            "best_epoch": self.best_epoch,
            "best_flat": flat,
        }

    def restore(self, run: Run, state: dict[str, Any]) -> None:
        """Go on with the best so far; begin anew, with a note, if it was that of another column, or
        the other end of this one.
        """
        self.on_train_begin(run)
        told = self._told_change(state)
        if told:
            run.history.notes.append(f"{type(self).__name__} {told}")
            return
        self.best, self.best_epoch = float(state["best"]), int(state["best_epoch"])
        self.best_flat = as_flat(state["best_flat"], run)

    def _told_change(self, state: dict[str, Any]) -> str | None:
        """What it watches now and did not when it had this state, in words."""
        monitor, wanted = self.monitor, self._wanted()
        before = state.get("wanted", wanted)  # an earlier version did not say it
        if state["monitor"] != monitor:
            return f"watches {monitor!r} now and begins anew; it watched {state['monitor']!r}"
        if before != wanted:
            return f"wants the {wanted} {monitor!r} now and begins anew; it wanted the {before}"
        return None

    def improved(self, epoch: int, logs: Logs) -> bool:
        """Whether this epoch beats the best so far; if so, it becomes the best."""
        value = logs[self.monitor] * (-1.0 if self._wanted() == "highest" else 1.0)
        as_good = self.latest and value == self.best
        if as_good or value < self.best - self.min_change:  # NaN is never better
            self.best, self.best_epoch = value, epoch
            return True
        return False

    def keep(self, run: Run) -> None:
        """Remember the parameters as they are now."""
        self.best_flat = run.model.flat.copy()

    def put_back(self, run: Run) -> None:
        """Restore the best parameters in place, since programs hold views of them."""
        if self.best_flat is not None:
            run.model.flat[...] = self.best_flat

    def _wanted(self) -> str:
        """Which value is the best."""
        metric = Metric.table.get(self.monitor.removeprefix("val_"))
        best = "max" if metric and metric.higher_is_better else "min"
        return "highest" if (best if self.mode == "auto" else self.mode) == "max" else "lowest"


class EarlyStopping(_Watch):
    """Stop when `monitor` has not improved by more than `min_change` for `patience` epochs.

    The best epoch's parameters are restored at the end unless `restore_best=False`.
    """

    @known_options
    def __init__(
        self,
        monitor: str = "val_loss",
        *,
        patience: int = 5,
        min_change: float = 0.0,
        mode: Mode = "auto",
        restore_best: bool = True,
    ) -> None:
        super().__init__(monitor, min_change, mode)
        require_count("patience", patience)
        self.patience, self.restore_best = patience, restore_best
        self.waited = 0

    def on_train_begin(self, run: Run) -> None:
        super().on_train_begin(run)
        self.waited = 0

    def state(self) -> dict[str, Any]:
        return {**super().state(), "waited": self.waited}

    def restore(self, run: Run, state: dict[str, Any]) -> None:
        super().restore(run, state)
        if not self._told_change(state):
            self.waited = int(state["waited"])

    def on_epoch_end(self, run: Run, epoch: int, logs: Logs) -> None:
        if self.improved(epoch, logs):
            self.waited = 0
            if self.restore_best:
                self.keep(run)
            return
        self.waited += 1
        if self.waited >= self.patience:
            run.stop(
                f"{self.monitor} did not improve by more than {self.min_change:g} "
                f"for {self.patience} epochs; best was epoch {self.best_epoch + 1}"
            )

    def on_train_end(self, run: Run) -> None:
        if self.restore_best:
            self.put_back(run)


class StopOnPlateau(EarlyStopping):
    """Stop when the training loss no longer falls by `tolerance` for `patience` epochs in a row.

    This is the rule of scikit-learn's `tol` and `n_iter_no_change`. The last parameters are kept.
    """

    @known_options
    def __init__(self, *, tolerance: float = 1e-4, patience: int = 10) -> None:
        super().__init__(
            "loss", patience=patience, min_change=tolerance, mode="min", restore_best=False
        )


class BestWeights(_Watch):
    """Train to the end, then restore the parameters of the best epoch.

    Of equally good epochs it is the first or, with `latest`, the latest: accuracy is often equal,
    and what was learnt longer then errs less elsewhere.
    """

    @known_options
    def __init__(
        self, monitor: str = "val_loss", *, mode: Mode = "auto", latest: bool = False
    ) -> None:
        super().__init__(monitor, 0.0, mode)
        require_flag("latest", latest)
        self.latest = latest

    def on_epoch_end(self, run: Run, epoch: int, logs: Logs) -> None:
        if self.improved(epoch, logs):
            self.keep(run)

    def on_train_end(self, run: Run) -> None:
        self.put_back(run)


class CSVLog(Callback):
    """Write a line to a CSV file after each epoch and flush it; `append` continues a file.

    If writing fails later (a full disk), a single warning is issued and training goes on.
    Raises InputError before training if the file cannot be written.
    """

    @known_options
    def __init__(self, path: str | os.PathLike[str], *, append: bool = False) -> None:
        self.path, self.append = Path(path), append
        self._file: IO[str] | None = None
        self._writer: Any = None
        self._hash: Any = None
        self._line = io.StringIO()
        self._bytes = self._rows = 0
        """How long the file is up to its last whole line, and how many epochs of this run are in
        it.
        """
        self._sha256 = ""
        """The hash of so many bytes of it."""

    def on_check(self, run: Run) -> None:
        self._refuse_irregular()
        folder = self.path.parent
        if self.append:
            self._refuse_foreign()
        target = self.path if self.path.exists() else folder
        if not folder.is_dir() or not os.access(target, os.W_OK):
            raise InputError(f"path = {str(self.path)!r}; it must be a file that can be written")

    def on_train_begin(self, run: Run) -> None:
        self._open(run, append=self.append)

    def _open(self, run: Run, *, append: bool) -> None:
        self._hash, self._bytes, self._rows, torn = hashlib.sha256(), 0, 0, False
        if append and self.path.exists():
            self._bytes = self.path.stat().st_size
            self._hash, torn = _hashed(self.path, self._bytes)
        self._sha256 = self._hash.hexdigest()
        self._file = self.path.open("a" if append else "w", newline="", encoding="utf-8")
        columns = ["epoch", *run.columns]
        self._writer = csv.DictWriter(self._line, columns, extrasaction="ignore")
        if not self._bytes:
            self._write(dict(zip(columns, columns, strict=True)))
        elif torn:
            self._put("\r\n")

    def _refuse_irregular(self) -> None:
        """Raise InputError for what is no file: a pipe could block, and somebody else's run could
        name a device.
        """
        try:
            trouble = irregular(self.path)
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:  # ValueError: text that names no file
            trouble = f"cannot be one ({getattr(error, 'strerror', None) or error})"
        if trouble is not None:
            raise InputError(
                f"path = {str(self.path)!r} {trouble}; it must be a file that can be written"
            )

    def _refuse_foreign(self) -> None:
        """Raise InputError for a file that is no log: somebody else's run could name any file."""
        begin = b"epoch,"
        if self.path.is_file() and self.path.stat().st_size:
            with self.path.open("rb") as file:
                if file.read(len(begin)) != begin:
                    raise InputError(
                        f"path = {str(self.path)!r} holds something else than a log of epochs, so "
                        "it is left alone; name another file"
                    )

    def state(self) -> dict[str, Any]:
        """The place in the file; what a killed process wrote after that is written again. Hashes
        of the path and of what is before that place say which file it was.
        """
        return {
            "bytes": self._bytes,
            "rows": self._rows,
            "path": self._hash_of_path(),
            "sha256": self._sha256,
        }

    def _hash_of_path(self) -> str:
        return hashlib.sha256(os.fsencode(os.path.abspath(self.path))).hexdigest()

    def restore(self, run: Run, state: dict[str, Any]) -> None:
        """Go on at that place; epochs that the file has lost since are taken from the history.

        Behind what another file has, all epochs are written.
        """
        self.on_train_end(run)  # it is open if the run goes back to an earlier state
        self._refuse_foreign()
        size, rows = state["bytes"], state["rows"]
        counts = all(is_whole(count) and count >= 0 for count in (size, rows))
        if not counts or rows > len(run.history.epochs):
            raise CheckpointError(f"{size!r} bytes with {rows!r} rows are no place in a log")
        known = state.get("path") is not None  # an earlier version did not say it
        same_path = not known or state["path"] == self._hash_of_path()
        whole = self.path.exists() and self.path.stat().st_size >= size > 0
        there = whole and same_path
        if whole and known:
            # A log that was moved is known by its epochs; before the first, all logs are alike.
            same_begin = state["sha256"] == _hashed(self.path, size)[0].hexdigest()
            there = same_begin and (rows > 0 or same_path)
        if there:
            os.truncate(self.path, size)
        cut_short = same_path and not whole
        self._open(run, append=self.append or not cut_short)
        self._rows = rows if there else 0
        for number, logs in list(enumerate(run.history.epochs))[self._rows :]:
            self.on_epoch_end(run, run.history.first_epoch + number, logs)

    def on_epoch_end(self, run: Run, epoch: int, logs: Logs) -> None:
        self._write({"epoch": epoch + 1, **logs})
        self._rows += self._file is not None

    def on_train_end(self, run: Run) -> None:
        if self._file is not None:
            with suppress(OSError):  # a write that failed has already been reported
                self._file.close()
            self._file = None
        self._writer = self._hash = None  # a copy of this callback could not be made with them

    def _write(self, row: dict[str, Any]) -> None:
        if self._file is None:
            return  # an earlier write failed
        self._line.seek(0)
        self._line.truncate()
        self._writer.writerow(row)
        self._put(self._line.getvalue())

    def _put(self, line: str) -> None:
        assert self._file is not None
        try:
            self._file.write(line)
            self._file.flush()
        except OSError as error:
            with suppress(OSError):
                self._file.close()
            self._file = None
            warnings.warn(
                f"{self.path} cannot be written any more ({error.strerror or error}); "
                "training goes on without this log",
                RuntimeWarning,
                stacklevel=3,
            )
            return
        self._bytes += len(line.encode())
        self._hash.update(line.encode())
        self._sha256 = self._hash.hexdigest()


def _hashed(path: Path, size: int) -> tuple[Any, bool]:
    """The hash of the first `size` bytes of a file, and whether they end within a line."""
    made, last = hashlib.sha256(), b"\n"
    with path.open("rb") as file:
        while size > 0 and (part := file.read(min(size, READ_BYTES))):
            made.update(part)
            size, last = size - len(part), part[-1:]
    return made, last != b"\n"
