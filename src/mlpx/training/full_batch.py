"""The training loop of a full-batch optimizer: a minimiser iterates, the program evaluates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from mlpx.errors import InputError
from mlpx.optimizers.lbfgs import LBFGS
from mlpx.program.program import LOSS, WEIGHT
from mlpx.program.update import check_multipliers, rule_for
from mlpx.training.minimiser import KNOWN, Limits, Minimiser, Minimum, known_setulb
from mlpx.training.run import Run

ANEW = (
    "L-BFGS started anew from the parameters reached: its earlier pairs can be kept with SciPy "
    "{0[0]}.{0[1]} to {1[0]}.{1[1]} only"
).format(*KNOWN)


class FullBatch:
    """Iterations of L-BFGS, each reported as an epoch.

    `limits` override our own; None means SciPy's default. `constant` is added to the loss. If the
    feed has room for only some of the rows, they take turns in it.
    """

    value = math.nan
    """The last value of the objective."""
    result: Minimum | None = None
    """What was reached; None before the end."""
    minimiser: Minimiser | None = None
    """Where the iterations are, once they have begun."""
    run: Run
    """The run, while it is trained."""

    def __init__(
        self, *, limits: Mapping[str, float | None] | None = None, constant: float = 0.0
    ) -> None:
        self.limits, self.constant = dict(limits or {}), constant

    def check(self, run: Run) -> None:
        """Raise InputError if there is no fixed objective to minimise, MissingExtraError without
        SciPy.
        """
        options = run.options
        if run.batch_size != len(run.data) or options.sampling == "with_replacement":
            raise InputError(
                f"batch_size = {run.batch_size}, sampling = {options.sampling!r}; lbfgs works on "
                f"all {len(run.data)} rows at once: leave batch_size and sampling out"
            )
        if options.on_divergence == "restore":
            raise InputError(
                "on_divergence = 'restore' with lbfgs, which has no learning rate to halve: use "
                "'stop' or 'continue', or another optimizer"
            )
        if not options.gradient_rule.updates:
            raise InputError(f"gradient = {options.gradient_rule.name!r} gives lbfgs no gradient")
        for layer in run.model.layers:
            if layer.stochastic:
                raise InputError(
                    f"the layer {layer.name!r} draws random numbers; lbfgs needs one loss for one "
                    "point: use another optimizer"
                )
        for name, place in run.model.layout.places.items():
            if place.parameter.max_norm is not None:
                raise InputError(f"{name} has a max_norm; lbfgs moves without such bounds")
        known_setulb()

    def program_options(self, run: Run) -> dict[str, Any]:
        """All rows in one step, or as many as there is room for, whatever `batch_size` is."""
        rows = min(run.feed.room or len(run.data), len(run.data))
        return {"optimizer": run.state.optimizer, "part_rows": None, "batch_size": rows}

    def state(self) -> dict[str, Any] | None:
        """What a checkpoint keeps, None before the first iteration."""
        if self.minimiser is None:
            return None
        return {"value": self.value, **self.minimiser.state()}

    def restore(self, run: Run, state: dict[str, Any]) -> None:
        """Go on from what `state` returned; a note says if that loses the pairs."""
        self.value, self.minimiser = float(state["value"]), self._begun(run)
        if not self.minimiser.restore(state) and ANEW not in run.history.notes:
            run.history.notes.append(ANEW)

    def _begun(self, run: Run) -> Minimiser:
        """A minimiser that is to begin where the model is."""
        rule, model = run.options.optimizer, run.model
        assert isinstance(rule, LBFGS)
        start = model.backend.to_numpy(model.flat[: model.layout.learnt])
        return Minimiser(start, memory=rule.memory)

    def train(self, run: Run, interrupted: list[int]) -> None:
        """Iterate until the run is over or the minimiser has converged."""
        if self.minimiser is None:
            if run.over:
                return
            self.minimiser = self._begun(run)
        self.run, self.interrupted = run, interrupted
        self._decay = _decay(run)
        self._at = self.minimiser.x.copy()
        run.program.start_epoch(run.feed.places(), step=run.state.step)
        run.watch.begin(run)
        if not run.over:
            run.tell("on_epoch_begin", run.state.epoch)
        try:
            self.result = self.minimiser.run(
                self._evaluate, self._iterated, self._ends, self._limits()
            )
            self._move_to(self.result.x)
            if not math.isfinite(self.result.fun):
                run.watch.look_at(run, 0, np.array([self.result.fun]))
        finally:
            del self.run  # it refers to this loop: data and model would outlive the training
        run.watch.act(run)
        if interrupted and not run.diverged:
            run.stopping = "interrupted"
        elif not run.over:
            run.stop(f"lbfgs ended: {self.result.message}")

    def _limits(self) -> Limits:
        rule, steps = self.run.options.optimizer, self.run.total_steps
        assert isinstance(rule, LBFGS)
        ours: dict[str, Any] = {
            "maxiter": steps,
            "maxfun": steps * (rule.searches + 1) + 1,
            "maxls": rule.searches,
            "gtol": rule.tolerance,
            "ftol": 10 * float(np.finfo(self.run.model.dtype).eps),
        }
        return Limits(**{name: v for name, v in {**ours, **self.limits}.items() if v is not None})

    def _move_to(self, p: np.ndarray) -> None:
        self._at = p.copy()
        learnt, model = self.run.model.flat[: len(p)], self.run.model
        learnt[...] = model.backend.asarray(p.astype(model.dtype))

    def _evaluate(self, p: np.ndarray) -> tuple[float, np.ndarray]:
        """The objective at p and its gradient, float64."""
        self._move_to(p)
        loss, g = self._loss_and_gradient(len(p))
        self.value = loss + float(self._decay @ p**2) / 2 + self.constant
        self.run.samples_done += len(self.run.data)
        return self.value, g + self._decay * p

    def _loss_and_gradient(self, size: int) -> tuple[float, np.ndarray]:
        """The mean loss of all rows, also written to the program's log, and its gradient."""
        run, program = self.run, self.run.program
        to_numpy, upload = run.model.backend.to_numpy, run.model.backend.upload
        program.state[...] = 0
        lines, g = np.zeros((program.steps, 3)), np.zeros(size)
        for i in range(program.steps):
            run.feed.ready(i, program.steps)
            plan = program.full if i < program.full_steps else program.last
            assert plan is not None
            run.execute(plan, 1)
            lines[i] = to_numpy(program.log[i])
            part = to_numpy(program.gradient[:size]).astype(np.float64)
            if run.feed.room is None:
                return float(lines[0, LOSS]), part
            g += lines[i, WEIGHT] * part
        weight = lines[:, WEIGHT]
        mean = weight @ lines / weight.sum()
        upload(mean[None, :].astype(run.model.dtype), out=program.log[:1])
        return float(mean[LOSS]), g / weight.sum()

    def _iterated(self, x: np.ndarray) -> None:
        """Do after an iteration what is done after an epoch."""
        run = self.run
        if not np.array_equal(x, self._at):
            self._evaluate(x)  # the line search went on past it
        run.state.step += 1
        run.state.position = 1
        run.steps_done += 1
        run.tell_steps()
        run.finish(0, 1)
        if not self._ends():
            run.tell("on_epoch_begin", run.state.epoch)

    def _ends(self) -> bool:
        run = self.run
        return bool(self.interrupted) or run.over or run.watch.stops


def _decay(run: Run) -> np.ndarray:
    """The weight decay of each element of the flat vector."""
    rule, decay = run.state.optimizer, np.zeros(run.model.layout.learnt)
    check_multipliers(run.model.layout.places, rule)
    for name, place in run.model.layout.places.items():  # running statistics come last
        moved = rule_for(rule, name, place.parameter)
        decay[place.start : place.stop] = moved.constant_decay
    return decay
