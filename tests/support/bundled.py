"""Small data that come with scikit-learn, scaled, and options of a short fit."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.datasets import load_diabetes, load_iris

X, Y = load_iris(return_X_y=True)
X = (X - X.mean(axis=0)) / X.std(axis=0)
XR, YR = load_diabetes(return_X_y=True)
XR, YR = XR[:150] * 20, (YR[:150] - YR.mean()) / YR.std()
LABELS = np.array(["setosa", "versicolor", "virginica"])[Y]
SMALL: dict[str, Any] = {"hidden_layer_sizes": (8,), "max_iter": 5, "random_state": 1}
BOTH = np.stack([Y == 0, Y != 1], axis=1).astype(int)
DRAWN = np.random.default_rng(0).random(150)
