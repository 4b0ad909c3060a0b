"""The callback that records an estimator's curves and stops when scikit-learn would."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import numpy as np

from mlpx.backend import array_backend
from mlpx.errors import InputError
from mlpx.estimators.feeding import Shuffled
from mlpx.estimators.saved import check_found, generator_state
from mlpx.estimators.saving import draws, found, set_draws
from mlpx.network.saved import Saved
from mlpx.training.full_batch import FullBatch
from mlpx.training.kept import as_flat, run_of
from mlpx.training.progress import Outlet
from mlpx.training.run import Callback, Logs, Run
from mlpx.types import Array
from mlpx.untrusted import brief

LEAST_RATE = 1e-6
"""learning_rate="adaptive" divides the rate until it reaches this, then stops training."""


class Bookkeeper(Callback):
    """Records the curves, changes the rate, stops training, and remembers the best epoch.

    The validation score is `sign` times the log's `column`.
    """

    def __init__(self, estimator: Any, *, rows: int, column: str, sign: float) -> None:
        self.estimator, self.rows = estimator, rows
        self.column, self.sign = column, sign
        self.best: Array = None
        self.out = Outlet(sys.stdout)

    def on_train_begin(self, run: Run) -> None:
        if self.estimator._keeps_best(run.held_out):
            self.best = run.model.flat.copy()
            last = self.estimator._last_flat
            if last is not None:  # the fit before restored its best epoch; continue from its last
                run.model.backend.upload(last, out=run.model.flat)

    def state(self) -> dict[str, Any]:
        """All that the estimator has found out and drawn."""
        best, estimator = self.best, self.estimator
        return {
            "found": deepcopy(found(estimator)),
            "draws": deepcopy(draws(estimator)),
            "split": estimator._split_draws(),
            "classes": classes_of(estimator),
            "best": None if best is None else np.array(array_backend(best).to_numpy(best)),
        }

    def restore(self, run: Run, state: dict[str, Any]) -> None:
        check_found(state["found"], run.model)
        vars(self.estimator).update(state["found"])
        set_draws(self.estimator, state["draws"])
        self.best = as_flat(state["best"], run)

    def on_epoch_end(self, run: Run, epoch: int, logs: Logs) -> None:
        estimator = self.estimator
        self._record(objective(run, logs))
        score = self._validated(run, logs)
        self._judge(run, score)
        self._remember(run, score)
        if estimator._rate_rule == "invscaling":
            self._set_rate(
                run, float(estimator.learning_rate_init) / (estimator.t_ + 1) ** estimator.power_t
            )
        if estimator._no_improvement_count > estimator.n_iter_no_change:
            self._plateau(run)

    def _record(self, loss: float) -> None:
        estimator = self.estimator
        estimator.n_iter_ += 1
        estimator.loss_ = loss
        estimator.loss_curve_.append(loss)
        self._say(f"Iteration {estimator.n_iter_}, loss = {loss:.8f}")

    def _say(self, text: str) -> None:
        if self.estimator.verbose and self.estimator.verbose != "bar":
            self.out.write(text + "\n")

    def _validated(self, run: Run, logs: Logs) -> float:
        """Record and return the validation score; NaN without validation data."""
        if run.held_out is None:
            return math.nan
        estimator, score = self.estimator, self.sign * logs[self.column]
        if not math.isfinite(logs["val_loss"]) and run.model.loss.targets == "values":
            score = math.nan
        estimator.validation_loss_curve_.append(logs["val_loss"])
        estimator.validation_scores_.append(score)
        self._say(f"Validation score: {score:f}")
        return score

    def _judge(self, run: Run, score: float) -> None:
        """Count consecutive epochs that did not improve by more than `tol`."""
        estimator = self.estimator
        if isinstance(run.loop, FullBatch):
            estimator.best_loss_ = min(estimator.loss_curve_)
            return
        estimator.t_ += self.rows
        if estimator.early_stopping:
            stalled = score < estimator.best_validation_score_ + estimator.tol
        else:
            stalled = estimator.loss_ > estimator.best_loss_ - estimator.tol
            estimator.best_loss_ = min(estimator.best_loss_, estimator.loss_)  # never NaN
        estimator._no_improvement_count = estimator._no_improvement_count + 1 if stalled else 0

    def _remember(self, run: Run, score: float) -> None:
        if run.held_out is not None and score > self.estimator.best_validation_score_:
            self.estimator.best_validation_score_ = score
            if self.best is not None:
                self.best[...] = run.model.flat

    def _set_rate(self, run: Run, rate: float) -> None:
        """Set the rate from the next epoch on; the velocity is rescaled to keep its step."""
        estimator = self.estimator
        velocity = run.state.moments.get("v")
        if velocity is not None:
            velocity *= estimator.learning_rate_ / rate
        estimator.learning_rate_ = rate
        scale = rate / float(estimator.learning_rate_init)
        run.state.schedule = {**run.state.schedule, "scale": scale}

    def _plateau(self, run: Run) -> None:
        estimator = self.estimator
        what = "Validation score" if estimator.early_stopping else "Training loss"
        text = (
            f"{what} did not improve more than tol={estimator.tol:f} for "
            f"{estimator.n_iter_no_change} consecutive epochs."
        )
        if estimator._rate_rule == "adaptive" and estimator.learning_rate_ > LEAST_RATE:
            self._set_rate(run, estimator.learning_rate_ / 5.0)
            estimator._no_improvement_count = 0
            self._say(f"{text} Setting learning rate to {estimator.learning_rate_:f}")
            return
        self._say(f"{text} Stopping.")
        run.stop(text)

    def on_train_end(self, run: Run) -> None:
        if run.diverged and not isinstance(run.loop, FullBatch):
            self._record(float(run.step_losses.mean()))  # of the epoch that was not reported
        if self.best is not None:
            self.estimator._last_flat = run.model.backend.to_numpy(run.model.flat).copy()
            run.model.flat[...] = self.best


def split_state(saved: Saved) -> Any:
    """The state of the random draws with which the run of a checkpoint split off its validation
    data; None if it did not.

    Raises InputError for the checkpoint of something else than an estimator.
    """
    with _reading(saved) as kept:
        split = kept["split"]
        if split is None:
            return None
        has_gauss, gauss = split["rest"]
        return *generator_state(split["words"], split["position"]), int(has_gauss), float(gauss)


def check_classes(saved: Saved, estimator: Any) -> None:
    """Raise InputError unless a checkpoint is of a run with the estimator's classes: the data, in
    which they are numbered, do not tell.
    """
    now = classes_of(estimator)
    with _reading(saved) as kept:
        before = kept.get("classes", now)  # an earlier version did not keep them
        same = bool(before == now)
    if not same:
        raise InputError(
            f"{saved.path} is of another run: classes are {brief(now)}, they were {brief(before)}. "
            "Give what that run was given, or begin a new one in another folder"
        )


def classes_of(estimator: Any) -> list[Any] | None:
    """The class labels, in the order of the outputs, as a checkpoint can keep them; None without.

    Labels that are neither numbers nor text are kept by their `repr`.
    """
    classes = getattr(estimator, "classes_", None)
    if classes is None:
        return None
    return [v if isinstance(v, int | float | str) else repr(v) for v in classes.tolist()]


@contextmanager
def _reading(saved: Saved) -> Iterator[dict[str, Any]]:
    """What a checkpoint keeps of a `Bookkeeper`.

    Raises InputError for the checkpoint of something else than an estimator, also if reading fails
    inside.
    """
    try:
        yield dict(run_of(saved)["callbacks"])[Bookkeeper.__name__]
    except (AttributeError, LookupError, TypeError, ValueError, ArithmeticError) as error:
        raise InputError(f"{saved.path} is not the checkpoint of an estimator's fit") from error


def objective(run: Run, logs: Logs) -> float:
    """The loss of the last epoch, as scikit-learn defines it."""
    if isinstance(run.loop, FullBatch):
        return run.loop.value
    feed = run.feed
    assert isinstance(feed, Shuffled)
    if feed.weights is None and feed.constants is None:
        return logs["loss"]
    return feed.objective(run.step_losses, run.state.position)
