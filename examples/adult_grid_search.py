"""A grid search over width, dropout and optimizer on the Adult data, in two processes.

    python examples/adult_grid_search.py [--data-dir DIR] [--rows 8000] [--quick]

Each process uses the share of the processors that joblib gives it. The best is refitted on all rows
of the search; its test accuracy is about 85 %.
"""

from __future__ import annotations

import argparse
import os
import warnings
from pathlib import Path

from _adult import load, preparation
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from mlpx import MLPClassifier

GRID = {
    "mlpclassifier__hidden_layer_sizes": [(32,), (64, 32)],
    "mlpclassifier__dropout": [0.0, 0.3],
    "mlpclassifier__solver": ["adam", "nadam"],
}


def search(*, epochs: int, quick: bool) -> GridSearchCV:
    """The search; `quick` tries two of the eight."""
    network = MLPClassifier(max_iter=epochs, batch_size=128, dtype="float32", random_state=0)
    grid = {key: values[:1] for key, values in GRID.items()} if quick else GRID
    if quick:
        grid["mlpclassifier__dropout"] = [0.0, 0.3]
    return GridSearchCV(make_pipeline(preparation(), network), grid, cv=3, n_jobs=2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--rows", type=int, default=8000)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    os.environ["PYTHONWARNINGS"] = "ignore"  # of the processes: few epochs do not converge
    warnings.simplefilter("ignore")
    X, y, X_test, y_test = load(given.data_dir)
    rows = min(given.rows, 1500) if given.quick else given.rows
    grid = search(epochs=15, quick=given.quick).fit(X[:rows], y[:rows])
    for name, value in grid.best_params_.items():
        print(f"{name.partition('__')[2]:<20} {value}")
    print(f"cross-validated accuracy {grid.best_score_:.4f}")
    print(f"test accuracy {grid.score(X_test, y_test):.4f}")


if __name__ == "__main__":
    main()
