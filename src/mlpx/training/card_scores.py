"""The scores that a run on a table has written, for a model card."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlpx.errors import CheckpointError
from mlpx.untrusted import brief, read_json

SCORES = "scores.json"
LEANS = 10
"""How many columns a card says the model leans on."""
Rows = list[list[Any]]


def read_scores(folder: Path) -> dict[str, Any]:
    """The scores in a run folder, empty if it has none.

    Raises CheckpointError unless `score_rows` and `leaning_rows` can be made of them.
    """
    path = folder / SCORES
    if not path.exists():
        return {}
    try:
        found: dict[str, Any] = read_json(path)
        score_rows(found)
        leaning_rows(found)
    except (OSError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} has no scores: {brief(repr(error))}") from error
    return found


def score_rows(found: dict[str, Any]) -> Rows:
    """A title row, then each score: its value, its interval, and that of each simple model."""
    simple = found["baselines"]
    rows: Rows = [["", "this model", "95 % interval", *simple]]
    for name, score in found["scores"].items():
        others = [_shown(scores[name]["value"]) for scores in simple.values()]
        interval = f"{_shown(score['low'])} to {_shown(score['high'])}"
        rows.append([name.replace("_", " "), _shown(score["value"]), interval, *others])
    return rows


def leaning_rows(found: dict[str, Any]) -> Rows:
    """A title row, then each column with the rise of the score when its values are shuffled."""
    listed = found.get("importances") or []
    title = "how much worse the score gets when its values are shuffled"
    rows: Rows = [["column", title]] if listed else []
    for each in listed[:LEANS]:
        spread = f" ± {_shown(each['spread'])}" if each.get("spread") is not None else ""
        rows.append([each["column"], f"{_shown(each['rise'])}{spread}"])
    return rows


def pictures(folder: Path) -> Iterator[tuple[str, Path]]:
    """The pictures in a run folder that say how good its model is, each with its title."""
    for name in ("confusion", "residuals", "calibration", "importances"):
        if (folder / f"{name}.png").is_file():
            yield name.capitalize(), folder / f"{name}.png"


def _shown(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4g}"
