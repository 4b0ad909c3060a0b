"""How good a model is on the rows of a table that were held out, beside what simple models do."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlpx.errors import CheckpointError, MlpxError
from mlpx.tables import plots
from mlpx.tables.baselines import Baseline, baselines
from mlpx.tables.dividing import Divided, Part
from mlpx.tables.importances import Importance, importances
from mlpx.tables.resampling import Resamples
from mlpx.tables.scoring import Scores, score
from mlpx.tables.target import Target

if TYPE_CHECKING:
    from mlpx.mlp import MLP

OURS = "this model"
PICTURES = ("confusion.png", "calibration.png", "residuals.png", "importances.png")


def predicted(model: MLP, target: Target, x: np.ndarray) -> np.ndarray:
    """Probabilities (n, k) of the classes, or values (n,), for encoded rows x (n, width)."""
    if target.task == "classification":
        p: np.ndarray = model.backend.to_numpy(model.predict_proba(x))
        return p
    return target.restore(model.backend.to_numpy(model.predict(x)).reshape(len(x)))


def truth(part: Part, target: Target) -> np.ndarray:
    """The numbers of the classes (n,), or the values as the table has them."""
    return part.y if target.task == "classification" else target.restore(part.y)


def test_scores(model: MLP, divided: Divided, *, seed: int = 0) -> Scores | None:
    """The scores on the test rows, with intervals; None without any."""
    test, target = divided.test, divided.target
    if test is None:
        return None
    resamples = Resamples.of(len(test), groups=test.groups, seed=seed)
    return score(truth(test, target), predicted(model, target, test.x), resamples=resamples)


@dataclass(frozen=True, eq=False)
class Report:
    """Scores of a model on the test rows, of simple models, and what the model leans on."""

    target: Target
    y: np.ndarray
    predicted: np.ndarray
    scores: Scores
    baselines: list[Baseline]
    importances: list[Importance] = field(default_factory=list)

    @classmethod
    def of(cls, model: MLP, divided: Divided, *, seed: int = 0) -> Report:
        """The report on a table's test rows, of which there must be some."""
        test, target, train = divided.test, divided.target, divided.train
        assert test is not None
        y = truth(test, target)
        p = predicted(model, target, test.x)
        resamples = Resamples.of(len(test), groups=test.groups, seed=seed)
        classes = len(target.classes) or None
        simple = baselines(
            (train.x, truth(train, target)), (test.x, y), classes=classes,
            sizes=divided.encoder.sizes, resamples=resamples, seed=seed,
        )  # fmt: skip
        found = importances(
            lambda x: predicted(model, target, x), test.x, y, columns=divided.encoder.places,
            seed=seed,
        )  # fmt: skip
        return cls(target, y, p, score(y, p, resamples=resamples), simple, found)

    @property
    def titles(self) -> list[str]:
        """The columns of `rows`."""
        return [OURS, "95 % interval", *(each.name for each in self.baselines)]

    def rows(self) -> list[tuple[str, list[str]]]:
        """Each score's name, with its value of this model and of the simple ones."""
        return [
            (
                name.replace("_", " "),
                [
                    shown(ours.value),
                    f"{shown(ours.low)} to {shown(ours.high)}",
                    *(shown(each.scores[name].value) for each in self.baselines),
                ],
            )
            for name, ours in self.scores.items()
        ]

    @property
    def notes(self) -> list[str]:
        """What was done otherwise than a baseline's name says."""
        return [f"{each.name}: {each.note}" for each in self.baselines if each.note]

    def as_dict(self) -> dict[str, Any]:
        """Plain values; NaN, of a score that is undefined, becomes None."""
        return {
            "rows": len(self.y),
            "scores": _plain(self.scores),
            "baselines": {each.name: _plain(each.scores) for each in self.baselines},
            "importances": [
                {"column": each.column, "rise": each.rise, "spread": each.spread}
                for each in self.importances
            ],
        }

    def draw(self, folder: Path) -> tuple[list[str], str]:
        """Write pictures into `folder`: the names of the files, and why there are not more."""
        written: list[str] = []
        for name in PICTURES:
            (folder / name).unlink(missing_ok=True)  # an earlier run's
        try:
            for name, draw in self._pictures().items():
                draw(folder / name)
                written.append(name)
        except CheckpointError:
            raise
        except MlpxError as error:
            return written, str(error)
        return written, ""

    def _pictures(self) -> dict[str, Any]:
        y, p, labels = self.y, self.predicted, self.target.classes
        rise = "log loss" if labels else "root mean squared error"
        found: dict[str, Any] = {
            "importances.png": lambda path: plots.importances(
                self.importances, score=rise, path=path
            )
        }
        if not labels:
            name = self.target.name
            return {"residuals.png": lambda path: plots.residuals(y, p, name=name, path=path)} | (
                found
            )
        return {
            "confusion.png": lambda path: plots.confusion_matrix(
                y, p.argmax(axis=1), labels=labels, path=path
            ),
            "calibration.png": lambda path: plots.calibration(y, p, labels=labels, path=path),
            **found,
        }


def shown(value: float) -> str:
    """A score with four digits that matter, or all of a large number's whole part."""
    if not math.isfinite(value):
        return "undefined"
    if abs(value) >= 1e9 or 0 < abs(value) < 1e-3:
        return f"{value:.3g}"
    return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.4g}"


def _plain(scores: Scores) -> dict[str, dict[str, float | None]]:
    return {
        name: {key: None if np.isnan(v) else v for key, v in found.as_dict().items()}
        for name, found in scores.items()
    }
