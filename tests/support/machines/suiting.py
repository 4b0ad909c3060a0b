"""Options and calls as they suit a model: what it can do, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from machines.arrays import Rows
from mlpx import MLP
from mlpx.errors import MlpxError
from mlpx.metrics import Metric


def fitting_metrics(model: MLP, number: int) -> list[str]:
    """One of the metrics that the model can have, by number."""

    def fits(name: str) -> bool:
        try:
            Metric.resolve(name).check(model.loss, model.d_out)
        except MlpxError:
            return False
        return True

    names = [name for name in sorted(Metric.table) if fits(name)]
    return [names[number % len(names)]] if names else []


def lengths(how: dict[str, Any]) -> bool:
    return "steps" in how or "epochs" in how


def without_length(how: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in how.items() if k not in ("steps", "epochs")}


def steady(rule: Any) -> bool:
    """Whether a shorter fit with it is the beginning of a longer one."""
    return not (rule.open or rule.schedules or rule.full_batch)


def drawn(model: MLP) -> int:
    """The steps of the model's life."""
    return 0 if model.training_state is None else model.training_state.drawn


def wrong_calls(model: MLP) -> list[Callable[[MLP], Any]]:
    """Calls that are refused."""
    rows = Rows(4)
    x, y, wide = (
        rows.x(model.d_in, model.dtype),
        rows.y(model.loss, model.d_out),
        rows.x(model.d_in + 1),
    )
    nan = np.full_like(x, np.nan)
    return [
        lambda m: m.fit(nan, y, verbose=0),
        lambda m: m.fit(wide, y, verbose=0),
        lambda m: m.fit(x, y[:3], verbose=0),
        lambda m: m.fit(x, y, validation_data=(wide, y), verbose=0),
        lambda m: m.fit(x, y, epochs=1, steps=1, verbose=0),
        lambda m: m.fit(x, y, steps=0, verbose=0),
        lambda m: m.fit(x, y, optimizer="nobody", verbose=0),
        lambda m: m.fit(x, y, engine="nobody", verbose=0),
        lambda m: m.fit(x, y, sample_weight=-np.ones(4), verbose=0),
        lambda m: m.predict(nan),
        lambda m: m.predict(wide),
        lambda m: m.predict_logits(x, batch_size=0),
        lambda m: m.evaluate(x, y[:3]),
        lambda m: m.evaluate(x, y, metrics=["nobody"]),
        lambda m: m.set_parameters({"nobody": 0}),
        lambda m: m.set_parameters(dict.fromkeys(m.parameters, np.zeros((7, 7, 7)))),
        lambda m: m.to("nowhere"),
        lambda m: m.save("/nowhere/at/all"),
    ]
