"""What the files of a run say of its model, for a model card."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlpx.errors import CheckpointError
from mlpx.network.network import Network
from mlpx.network.saved import Saved, read
from mlpx.training.card_scores import read_scores
from mlpx.training.history import History
from mlpx.training.kept import history_in
from mlpx.training.run_folder import HISTORY, MODEL, locate, read_history
from mlpx.untrusted import brief, read_json


@dataclass(frozen=True)
class Facts:
    """What is known of a model and of the run that made it."""

    saved: Saved
    model: Network
    config: dict[str, Any]
    """Empty for a model file alone."""
    history: History | None
    test: dict[str, float]
    scores: dict[str, Any]
    """Of a run on a table; empty for others."""

    @classmethod
    def of(cls, run: Path) -> Facts:
        """Of a run folder, or of a model file.

        Raises CheckpointError.
        """
        path, config = locate(run)
        saved = read(path)
        model = Network.from_config(saved.config, device="cpu", drawn=False)
        whole = config is not None and path.name == MODEL
        history, test = _history(saved, whole=whole)
        scores = read_scores(path.parent) if whole else {}
        return cls(saved, model, config or {}, history, test, scores)

    @property
    def estimator(self) -> dict[str, Any]:
        """What the run folder of an estimator says of it; empty for others."""
        return self.config.get("estimator") or {}

    def of_table(self, part: str) -> dict[str, Any]:
        """What the file of a model of a table says of its encoder or its target."""
        table = (self.saved.about or {}).get("table")
        found = table.get(part) if isinstance(table, dict) else None
        return found if isinstance(found, dict) else {}

    @property
    def parameters(self) -> dict[str, Any]:
        """What the estimator was made with."""
        given = self.estimator.get("parameters")
        return given if isinstance(given, dict) else {}

    @property
    def name(self) -> str:
        """What the run is called: like its folder, or like the file of a model alone."""
        return self.folder.resolve().name if self.config else self.saved.path.stem

    @property
    def folder(self) -> Path:
        """The folder of the model's file."""
        return self.saved.path.parent


def _history(saved: Saved, *, whole: bool) -> tuple[History | None, dict[str, float]]:
    """The history of the run, and the metrics on test data, if they are known."""
    folder = saved.path.parent
    if whole:
        return read_history(folder), read_test(folder / HISTORY)
    with suppress(CheckpointError):  # a model without a run
        return History.from_dict(history_in(saved) | {"step_loss": []}), {}
    return None, {}


def read_test(path: Path) -> dict[str, float]:
    """The loss and metrics on test data in a history file, empty if there are none.

    Raises CheckpointError.
    """
    try:
        test = read_json(path).get("test") or {}
        return {name: math.nan if value is None else float(value) for name, value in test.items()}
    except (OSError, AttributeError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} has no metrics of a test: {brief(error)}") from error
