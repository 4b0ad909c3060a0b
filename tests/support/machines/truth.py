"""What a model must be, beside what it is; and what a process has in common."""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Callable
from typing import Any

import numpy as np

from machines.arrays import Rows
from machines.observing import frozen
from mlpx import MLP
from mlpx.engines.threads import controllers


class Truth:
    """What a model is, in arrays that no model shares."""

    def __init__(self, model: MLP) -> None:
        self.config, to_numpy = model.config(), model.backend.to_numpy
        self.parameters = {name: to_numpy(p).copy() for name, p in model.parameters.items()}
        self.training = self._apart(model.training_state, lambda m: np.array(to_numpy(m)))

    def fresh(self, device: str) -> MLP:
        """A model that has done nothing yet."""
        model = MLP.from_config(self.config, device=device)
        model.set_parameters(self.parameters)
        model.training_state = self._apart(self.training, lambda m: model.backend.asarray(m.copy()))
        return model

    @staticmethod
    def _apart(state: Any, convert: Callable[[Any], Any]) -> Any:
        if state is None:
            return None
        return dataclasses.replace(state.copied(convert), schedule=dict(state.schedule))

    def differs(self, model: MLP) -> list[str]:
        """The names of what is otherwise in a model."""
        ours, others = self.told(), Truth(model).told()
        return [name for name in sorted({*ours, *others}) if ours.get(name) != others.get(name)]

    def told(self) -> dict[str, Any]:
        """Everything, by name, to be compared."""
        training = {} if self.training is None else vars(self.training)
        told = {f"training {name}": frozen(value) for name, value in training.items()}
        return {"config": self.config, **frozen(self.parameters), **told}


@dataclasses.dataclass
class Held:
    """A model under test, and what it must be."""

    model: MLP
    truth: Truth


@dataclasses.dataclass
class Given:
    """Data, and how they were trained on last."""

    rows: Rows
    on_device: bool
    how: dict[str, Any]
    x: Any = None
    y: Any = None
    w: Any = None

    def make(self, model: MLP) -> Given:
        """The arrays, anew."""
        self.x = self.rows.x(model.d_in, model.dtype)
        self.y = self.rows.y(model.loss, model.d_out)
        self.w = self.rows.weights()
        if self.on_device:
            self.x, self.y = (model.backend.asarray(a) for a in (self.x, self.y))
        return self


def settings() -> dict[str, Any]:
    """What the process has in common, which calls must leave as they find it."""
    return {
        "Ctrl-C": signal.getsignal(signal.SIGINT),
        "NumPy's errors": np.geterr(),
        "threads": [library.num_threads for library in controllers()],
    }
