"""Our estimators beside scikit-learn's: their accuracy, and how much faster ours are.

    python bench/estimators.py --data-dir DIR [--out bench/results/estimators] [--quick]

Accuracy: both fitted with equal settings from five seeds, on six data sets. Speed: MNIST (100
hidden units) and Adult, one-hot, for a fixed number of epochs (tol=0) at the same batch size, in
float32 and float64, each against scikit-learn in the same dtype: in turns, in random order, with
the median and range of the fits.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import random
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier as TheirClassifier
from sklearn.neural_network import MLPRegressor as TheirRegressor
from sklearn.preprocessing import StandardScaler

from mlpx import MLPClassifier, MLPRegressor
from mlpx.backend.cpu import usable_cores
from mlpx.benchmark.environment import describe
from mlpx.data.idx import read_idx

Part = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
SEEDS = range(5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("bench/results/estimators"))
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    document = {
        "command": " ".join(["python", *sys.argv]),
        "environment": describe(usable_cores()) | {"scikit-learn": sklearn.__version__},
        "accuracy": accuracy(given.data_dir, quick=given.quick),
        "speed": speed(given.data_dir, quick=given.quick),
    }
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "estimators.json").write_text(json.dumps(document, indent=1) + "\n")
    (given.out / "estimators.md").write_text(markdown(document))
    print(f"wrote {given.out}/estimators.json and .md")


def accuracy(folder: Path, *, quick: bool) -> list[dict[str, Any]]:
    """For each data set the scores of both on the test part, from each seed."""
    rows = []
    for name, part, epochs in datasets(folder):
        values = name == "california"
        theirs, ours = (
            (TheirRegressor, MLPRegressor) if values else (TheirClassifier, MLPClassifier)
        )
        seeds = list(SEEDS)[: 2 if quick else None]
        scores: dict[str, list[float]] = {"scikit-learn": [], "mlpx": []}
        for seed in seeds:
            options = {"random_state": seed, "max_iter": 2 if quick else epochs}
            for label, kind in (("scikit-learn", theirs), ("mlpx", ours)):
                fitted = kind(**options).fit(part[0], part[1])
                scores[label].append(float(fitted.score(part[2], part[3])))
        row = {"data": name, "score": "R2" if values else "accuracy", "epochs": epochs, **scores}
        print(name, {key: f"{np.mean(value):.4f}" for key, value in scores.items()}, flush=True)
        rows.append(row)
    return rows


def datasets(folder: Path) -> list[tuple[str, Part, int]]:
    """Name, parts to train and to test on, and epochs of each data set."""
    loaded = []
    for name, load in (("digits", load_digits), ("breast cancer", load_breast_cancer),
                       ("wine", load_wine)):  # fmt: skip
        loaded.append((name, split(*load(return_X_y=True)), 100))
    loaded.append(("letter", letter(folder), 20))
    loaded.append(("adult", adult(folder), 10))
    loaded.append(("california", california(folder), 20))
    return loaded


def split(X: np.ndarray, y: np.ndarray) -> Part:
    """A quarter to test on; columns scaled."""
    X, X_test, y, y_test = train_test_split(X, y, random_state=0)
    return scaled(X, y, X_test, y_test)


def scaled(X: np.ndarray, y: np.ndarray, X_test: np.ndarray, y_test: np.ndarray) -> Part:
    """Columns with the training part's mean 0 and variance 1."""
    scaler = StandardScaler().fit(X)
    return scaler.transform(X), y, scaler.transform(X_test), y_test


def read(path: Path) -> str:
    """The text in a gzip file."""
    with gzip.open(path, "rt") as file:
        return file.read()


def letter(folder: Path) -> Part:
    """Frey and Slate's letters: the last 4,000 to test on."""
    text = read(folder / "letter" / "letter-recognition.data.gz")
    table = np.array([line.split(",") for line in text.split()])
    X, y = table[:, 1:].astype(float), table[:, 0]
    return scaled(X[:16000], y[:16000], X[16000:], y[16000:])


def adult(folder: Path) -> Part:
    """The census data, one-hot."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
    from _adult import load, preparation

    X, y, X_test, y_test = load(folder / "adult")
    prepared = preparation().fit(X)
    parts = (np.asarray(prepared.transform(rows), dtype=float) for rows in (X, X_test))
    encoded, encoded_test = parts
    return encoded, y.to_numpy(), encoded_test, y_test.to_numpy()


def california(folder: Path) -> Part:
    """House values in units of their standard deviation."""
    text = read(folder / "california_housing" / "cal_housing.csv.gz")
    table = np.loadtxt(io.StringIO(text), delimiter=",", skiprows=1)
    return split(table[:, :-1], table[:, -1] / table[:, -1].std())


def speed(folder: Path, *, quick: bool) -> list[dict[str, Any]]:
    """Seconds of each fit, in turns."""
    mnist = folder / "mnist"
    images = read_idx(mnist / "train-images-idx3-ubyte.gz").reshape(60000, 784) / 255
    digits = read_idx(mnist / "train-labels-idx1-ubyte.gz")
    census = adult(folder)
    cells = [
        (name, dtype, kind, X.astype(dtype), y)
        for name, X, y in (("mnist", images, digits), ("adult", census[0], census[1]))
        for dtype in ("float32", "float64")
        for kind in (TheirClassifier, MLPClassifier)
    ]
    seconds: dict[tuple[str, str, str], list[float]] = {}
    losses: dict[tuple[str, str, str], float] = {}
    draw = random.Random(0)
    for _ in range(1 if quick else 3):
        draw.shuffle(cells)
        for name, dtype, kind, X, y in cells:
            epochs = 1 if quick else 10
            network = kind((100,), max_iter=epochs, batch_size=200, tol=0.0, random_state=0)
            began_s = time.perf_counter()
            network.fit(X, y)
            key = (name, dtype, "mlpx" if kind is MLPClassifier else "scikit-learn")
            seconds.setdefault(key, []).append((time.perf_counter() - began_s) / epochs)
            losses[key] = float(network.loss_)
            print(*key, f"{seconds[key][-1]:.3f} s an epoch, loss {losses[key]:.5f}", flush=True)
    return [
        {
            "data": name, "dtype": dtype, "library": library, "s_per_epoch": times,
            "median_s_per_epoch": float(np.median(times)), "loss": losses[name, dtype, library],
        }
        for (name, dtype, library), times in sorted(seconds.items())
    ]  # fmt: skip


def markdown(document: dict[str, Any]) -> str:
    """Both tables."""
    lines = ["# Estimators", "", f"`{document['command']}`", "", "## Accuracy", ""]
    lines += ["| data | score | epochs | scikit-learn | mlpx |", "|---|---|---|---|---|"]
    for row in document["accuracy"]:
        cells = [f"{np.mean(v):.4f} ({min(v):.4f} to {max(v):.4f})"
                 for v in (row["scikit-learn"], row["mlpx"])]  # fmt: skip
        lines.append(f"| {row['data']} | {row['score']} | {row['epochs']} | {' | '.join(cells)} |")
    lines += ["", "Means over the seeds, and their range.", "", "## Seconds an epoch", ""]
    lines += ["| data | dtype | scikit-learn | mlpx | times as fast |", "|---|---|---|---|---|"]
    fits = {(row["data"], row["dtype"], row["library"]): row for row in document["speed"]}
    for data, dtype in sorted({key[:2] for key in fits}):
        theirs, ours = (fits[data, dtype, name] for name in ("scikit-learn", "mlpx"))
        ratio = theirs["median_s_per_epoch"] / ours["median_s_per_epoch"]
        cells = [f"{row['median_s_per_epoch']:.3f} ({min(row['s_per_epoch']):.3f} to "
                 f"{max(row['s_per_epoch']):.3f})" for row in (theirs, ours)]  # fmt: skip
        lines.append(f"| {data} | {dtype} | {' | '.join(cells)} | {ratio:.1f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
