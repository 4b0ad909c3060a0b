"""The callback that keeps an estimator's curves and decides as scikit-learn does when to stop."""

from __future__ import annotations

import math
import sys
from typing import Any

from mlpx.estimators.feeding import Shuffled
from mlpx.training.callbacks import Callback, Logs
from mlpx.training.full_batch import FullBatch
from mlpx.training.progress import Outlet
from mlpx.training.run import Run
from mlpx.types import Array

LEAST_RATE = 1e-6
"""learning_rate="adaptive" divides the rate until it is here, then stops."""


class Bookkeeper(Callback):
    """Writes loss_curve_ and its like, changes the rate, stops, and remembers the best epoch.

    `column` of the log times `sign` is the validation score.
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
            if last is not None:  # the fit before put its best epoch back; go on from its last
                run.model.backend.upload(last, out=run.model.flat)

    def on_epoch_end(self, run: Run, epoch: int, logs: Logs) -> None:
        found = self.estimator
        found.n_iter_ += 1
        found.loss_ = objective(run, logs)
        found.loss_curve_.append(found.loss_)
        self._say(f"Iteration {found.n_iter_}, loss = {found.loss_:.8f}")
        score = self._validated(run, logs)
        self._judge(run, score)
        self._remember(run, score)
        if found._rate_rule == "invscaling":
            self._set_rate(run, float(found.learning_rate_init) / (found.t_ + 1) ** found.power_t)
        if found._no_improvement_count > found.n_iter_no_change:
            self._plateau(run)

    def _say(self, text: str) -> None:
        if self.estimator.verbose and self.estimator.verbose != "bar":
            self.out.write(text + "\n")

    def _validated(self, run: Run, logs: Logs) -> float:
        """The validation score, NaN without validation data."""
        if run.held_out is None:
            return math.nan
        found, score = self.estimator, self.sign * logs[self.column]
        if not math.isfinite(logs["val_loss"]) and run.model.loss.targets == "values":
            score = math.nan
        found.validation_loss_curve_.append(logs["val_loss"])
        found.validation_scores_.append(score)
        self._say(f"Validation score: {score:f}")
        return score

    def _judge(self, run: Run, score: float) -> None:
        """Count the epochs in a row that were no improvement by more than `tol`."""
        found = self.estimator
        if isinstance(run.loop, FullBatch):
            found.best_loss_ = min(found.loss_curve_)
            return
        found.t_ += self.rows
        if found.early_stopping:
            stalled = score < found.best_validation_score_ + found.tol
        else:
            stalled = found.loss_ > found.best_loss_ - found.tol
            found.best_loss_ = min(found.best_loss_, found.loss_)  # which NaN never is
        found._no_improvement_count = found._no_improvement_count + 1 if stalled else 0

    def _remember(self, run: Run, score: float) -> None:
        if run.held_out is not None and score > self.estimator.best_validation_score_:
            self.estimator.best_validation_score_ = score
            if self.best is not None:
                self.best[...] = run.model.flat

    def _set_rate(self, run: Run, rate: float) -> None:
        """The rate from the next epoch on; what momentum has gathered keeps its length."""
        found = self.estimator
        velocity = run.state.moments.get("v")
        if velocity is not None:
            velocity *= found.learning_rate_ / rate
        found.learning_rate_ = rate
        scale = rate / float(found.learning_rate_init)
        run.state.schedule = {**run.state.schedule, "scale": scale}

    def _plateau(self, run: Run) -> None:
        found = self.estimator
        what = "Validation score" if found.early_stopping else "Training loss"
        text = (
            f"{what} did not improve more than tol={found.tol:f} for {found.n_iter_no_change} "
            "consecutive epochs."
        )
        if found._rate_rule == "adaptive" and found.learning_rate_ > LEAST_RATE:
            self._set_rate(run, found.learning_rate_ / 5.0)
            found._no_improvement_count = 0
            self._say(f"{text} Setting learning rate to {found.learning_rate_:f}")
            return
        self._say(f"{text} Stopping.")
        run.stop(text)

    def on_train_end(self, run: Run) -> None:
        if self.best is not None:
            self.estimator._last_flat = run.model.backend.to_numpy(run.model.flat).copy()
            run.model.flat[...] = self.best


def objective(run: Run, logs: Logs) -> float:
    """The loss of the epoch that ended as scikit-learn has it."""
    if isinstance(run.loop, FullBatch):
        return run.loop.value
    feed = run.feed
    assert isinstance(feed, Shuffled)
    if feed.weights is None and feed.constants is None:
        return logs["loss"]
    return feed.objective(run.step_losses, run.state.position)
