"""A small table of mixed columns, with labels and values that follow from them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

RNG = np.random.default_rng(7)
ROWS = 160
CITIES = [f"city {i:02d}" for i in range(12)]


def _drawn() -> pd.DataFrame:
    age = RNG.integers(18, 80, ROWS).astype(float)
    age[::17] = np.nan
    colour = np.array(["red", "green", "blue", None], object)[RNG.integers(0, 4, ROWS)]
    return pd.DataFrame(
        {
            "age": age,
            "colour": colour,
            "city": np.array(CITIES, object)[RNG.integers(0, 12, ROWS)],
            "member": RNG.random(ROWS) < 0.5,
            "width": RNG.normal(size=ROWS),
        }
    )


TABLE = _drawn()
_ABOVE = TABLE["width"] + 2.0 * (TABLE["colour"] == "red") - 1.0 * TABLE["member"]
LABELS = np.where(_ABOVE > 0.3, "yes", "no")
VALUES = 10.0 + 3.0 * _ABOVE.to_numpy()
NUMBERS = RNG.normal(size=(ROWS, 3))
SMALL: dict[str, Any] = {"epochs": 3, "hidden_layer_sizes": (8,), "random_state": 1}
