"""Runs of an optimizer that minimises over all rows at once: SciPy asks, the program answers."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlpx.errors import InputError, MissingExtraError
from mlpx.optimizers.lbfgs import LBFGS
from mlpx.program.program import LOSS
from mlpx.training.run import Run


class FullBatchRun(Run):
    """A run whose steps are iterations of L-BFGS."""

    def _settings(self) -> dict[str, Any]:
        # All rows at once, however many the optimizer would take.
        return super()._settings() | {"optimizer": self.state.optimizer, "part_rows": None}

    def _check(self) -> None:
        """Raise InputError for what has no fixed objective to minimise."""
        if self.batch_size != len(self.data) or self.sampling == "with_replacement":
            raise InputError(
                f"batch_size = {self.batch_size}, sampling = {self.sampling!r}; lbfgs works on all "
                f"{len(self.data)} rows at once: leave batch_size and sampling out"
            )
        if not self.gradient_rule.updates:
            raise InputError(f"gradient = {self.gradient_rule.name!r} gives lbfgs no gradient")
        for layer in self.model.layers:
            if layer.stochastic:
                raise InputError(
                    f"the layer {layer.name!r} draws random numbers; lbfgs needs one loss for one "
                    "point: use another optimizer"
                )
        for name, place in self.model.layout.places.items():
            if place.parameter.max_norm is not None:
                raise InputError(f"{name} has a max_norm; lbfgs moves without such bounds")

    def _epochs(self, interrupted: list[int]) -> None:
        rule = self.state.optimizer
        assert isinstance(rule, LBFGS)
        if not self.total_steps:
            return
        self._interrupted = interrupted
        start = self.model.backend.to_numpy(self.model.flat[: self.model.layout.learnt])
        self.program.start_epoch(np.arange(len(self.data)), step=self.state.step)
        self._tell("on_epoch_begin", self.state.epoch)
        self.found = found = _minimise()(
            self._evaluate,
            start.astype(np.float64),
            method="L-BFGS-B",
            jac=True,
            callback=self._iterated,
            options=self._options(rule),
        )
        self._move_to(found.x)
        if interrupted:
            self.stopping = "interrupted"
        elif self.stopping is None and self.steps_done < self.total_steps:
            self.stop(f"lbfgs ended: {found.message}")

    def _options(self, rule: LBFGS) -> dict[str, Any]:
        """What SciPy is told."""
        return {
            "maxiter": self.total_steps,
            "maxfun": self.total_steps * (rule.searches + 1) + 1,
            "maxcor": rule.memory,
            "maxls": rule.searches,
            "gtol": rule.tolerance,
            "ftol": 10 * float(np.finfo(self.model.dtype).eps),
        }

    def _move_to(self, p: np.ndarray) -> None:
        self._at = p.copy()
        learnt = self.model.flat[: len(p)]
        learnt[...] = self.model.backend.asarray(p.astype(self.model.dtype))

    def _evaluate(self, p: np.ndarray) -> tuple[float, np.ndarray]:
        """The objective at p and its gradient, float64."""
        self._move_to(p)
        program, to_numpy = self.program, self.model.backend.to_numpy
        program.state[...] = 0
        assert program.full is not None
        self.execute(program.full, 1)
        self.samples_done += len(self.data)
        g = to_numpy(program.gradient[: len(p)]).astype(np.float64)
        loss = float(to_numpy(program.log[0, LOSS]))
        decay = self._decay()
        return loss + float(decay @ p**2) / 2, g + decay * p

    def _decay(self) -> np.ndarray:
        """The weight decay of each element of the flat vector."""
        rule, decay = self.state.optimizer, np.zeros(self.model.layout.learnt)
        for place in self.model.layout.places.values():  # running statistics lie behind them
            moved = rule.for_parameter(place.parameter.kind, place.parameter.shape)
            decay[place.start : place.stop] = moved.weight_decay
        return decay

    def _iterated(self, intermediate_result: Any) -> None:
        """After an iteration: what is done after an epoch."""
        if not np.array_equal(intermediate_result.x, self._at):
            self._evaluate(intermediate_result.x)  # the line search looked further
        self.state.step += 1
        self.state.position = 1
        self.steps_done += 1
        self.display.step(self)
        self._finish(0, 1)
        if self.stopping or self._interrupted or self.steps_done >= self.total_steps:
            raise StopIteration
        self._tell("on_epoch_begin", self.state.epoch)


def _minimise() -> Any:
    try:
        from scipy.optimize import minimize
    except ImportError as error:
        raise MissingExtraError("SciPy", "lbfgs", "optimizer='lbfgs'") from error
    return minimize
