"""How good a model is on the rows of a table that were held out, beside what simple models do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mlpx.errors import CheckpointError, MlpxError
from mlpx.tables import plots
from mlpx.tables.baselines import Baseline, baselines
from mlpx.tables.dividing import Divided, Part
from mlpx.tables.importances import Importance, importances
from mlpx.tables.resampling import Resamples
from mlpx.tables.saved import TableModel
from mlpx.tables.scoring import Scores, score
from mlpx.tables.target import Target

OURS, INTERVAL = "this model", "95 % interval"
Line = tuple[str, list[str]]
PICTURES = ("confusion.png", "calibration.png", "residuals.png", "importances.png")


def truth(part: Part, target: Target) -> np.ndarray:
    """The numbers of the classes (n,), or the values as the table has them."""
    return part.y if target.classes else target.restore(part.y)


def scores_on(made: TableModel, part: Part) -> Scores:
    """The scores on rows that were held out, with intervals."""
    resamples = Resamples.of(len(part), groups=part.groups)
    return score(truth(part, made.target), made.answers(part.x), resamples=resamples)


@dataclass(frozen=True, eq=False)
class Assessment:
    """Scores of a model on the test rows, of simple models, and what the model leans on."""

    target: Target
    y: np.ndarray
    answers: np.ndarray
    scores: Scores
    baselines: list[Baseline]
    importances: list[Importance] = field(default_factory=list)

    @classmethod
    def of(cls, made: TableModel, divided: Divided) -> Assessment:
        """Of a table's test rows, of which there must be some."""
        test, target, train = divided.test, divided.target, divided.train
        assert test is not None
        y, answers = truth(test, target), made.answers(test.x)
        resamples = Resamples.of(len(test), groups=test.groups)
        simple = baselines(
            (train.x, truth(train, target)), (test.x, y), classes=len(target.classes) or None,
            sizes=divided.encoder.sizes, resamples=resamples,
        )  # fmt: skip
        found = importances(made.answers, test.x, y, columns=divided.encoder.places)
        return cls(target, y, answers, score(y, answers, resamples=resamples), simple, found)

    @property
    def titles(self) -> list[str]:
        """The columns of `rows`."""
        return [OURS, INTERVAL, *(each.name for each in self.baselines)]

    def rows(self) -> list[Line]:
        """Each score's name, with its value of this model and of the simple ones."""
        return lines_of(self.scores, [each.scores for each in self.baselines])

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
        y, p, labels = self.y, self.answers, self.target.classes
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


def lines_of(scores: Scores, others: Sequence[Scores] = ()) -> list[Line]:
    """Each score's name, with its value, its interval and its value of others."""
    return [
        (
            name.replace("_", " "),
            [
                shown(ours.value),
                f"{shown(ours.low)} to {shown(ours.high)}",
                *(shown(each[name].value) for each in others),
            ],
        )
        for name, ours in scores.items()
    ]


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
