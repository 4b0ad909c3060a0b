"""What a file that nobody vouches for says of a model of a table besides its columns."""

from __future__ import annotations

from typing import Any

from mlpx.errors import CheckpointError, MlpxError
from mlpx.records import require
from mlpx.tables.calibration import Conformal
from mlpx.tables.presets import Preset
from mlpx.untrusted import brief

COLDEST, HOTTEST = 1e-3, 1e3
"""The temperatures that a file may have."""


def preset_from(described: Any) -> Preset:
    """The preset that a file describes. Raises CheckpointError."""
    try:
        if not isinstance(described, dict) or described.get("kind") != Preset.kind:
            raise CheckpointError(f"the table's preset is {brief(repr(described))}")
        made: Preset = Preset.from_config(described)
    except CheckpointError:
        raise
    except (MlpxError, LookupError, TypeError, ValueError) as error:
        raise CheckpointError(f"the table's preset is damaged: {brief(error)}") from error
    return made


def _temperature(given: Any) -> float:
    require("temperature", given, least=COLDEST, most=HOTTEST)
    return float(given)


TOLD = {
    "temperature": ("classification", _temperature),
    "conformal": ("regression", Conformal.from_config),
}
"""What validation rows tell of models of a task, and how it is read."""


def told_of(described: dict[str, Any], task: str) -> dict[str, Any]:
    """What a file says that validation rows told of the model. Raises CheckpointError."""
    found: dict[str, Any] = {}
    for name, (of, read) in TOLD.items():
        if name not in described:
            continue
        if of != task:
            raise CheckpointError(f"the table has a {name}, and its target is for {task}")
        try:
            found[name] = read(described[name])
        except (MlpxError, LookupError, TypeError, ValueError, ArithmeticError) as error:
            raise CheckpointError(f"the table's {name} is damaged: {brief(error)}") from error
    return found
