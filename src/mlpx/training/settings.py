"""The valid values of each setting of a run, since config.json may be edited by hand."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from mlpx.engines import Engine
from mlpx.engines.threads import TOO_MANY
from mlpx.kernels.activations import Activation
from mlpx.kernels.initializers import Initializer
from mlpx.kernels.losses import Loss
from mlpx.network.architecture import DTYPES
from mlpx.optimizers import Optimizer
from mlpx.records import is_whole
from mlpx.training.sampling import SAMPLINGS
from mlpx.untrusted import CONTROL

SURROGATE = re.compile("[\ud800-\udfff]")
"""Half a character: JSON and Python's text can hold it, a file cannot."""
POLICIES = ("stop", "restore", "continue")
"""What a run may do when its loss is not finite."""

TASKS = ("auto", "classification", "regression")
"""What may be learnt of a table's target."""

PRESETS = ("auto", "plain", "realmlp", "realmlp_s")
"""What decides how a network for a table is built and trained; see `mlpx.tables.presets`."""


class Setting(NamedTuple):
    """A check of a setting's value, and its description in words."""

    fits: Callable[[Any], bool]
    text: str


def _number_of(
    kind: Callable[[Any], bool], least: float, text: str, below: float = math.inf
) -> Setting:
    return Setting(lambda value: kind(value) and least <= value < below, text)


def _real(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _several(one: Setting, text: str) -> Setting:
    return Setting(lambda value: isinstance(value, list) and all(map(one.fits, value)), text)


def _or_null(one: Setting) -> Setting:
    return Setting(lambda value: value is None or one.fits(value), f"{one.text}, or null")


def _name_in(table: Iterable[str]) -> Setting:
    return Setting(
        lambda value: isinstance(value, str) and value in table,
        f"one of {', '.join(sorted(table))}",
    )


def is_label(value: Any) -> bool:
    """Whether it is a whole number, or text that can be written."""
    return isinstance(value, int) or (isinstance(value, str) and not SURROGATE.search(value))


_TEXT = Setting(lambda value: isinstance(value, str), "text")
_COUNT = _number_of(is_whole, 1, "a whole number, at least 1", below=2**63)
_FROM_0 = _number_of(is_whole, 0, "a whole number, at least 0", below=2**63)
_SEED = _number_of(is_whole, 0, "a whole number, at least 0 and below 2**64", below=2**64)
_THREADS = _number_of(
    is_whole, 1, f"a whole number, at least 1 and below {TOO_MANY:,}", below=TOO_MANY
)
_SHARE = Setting(lambda value: _real(value) and 0 < value < 1, "a number in (0, 1)")
_FLAG = Setting(lambda value: isinstance(value, bool), "true or false")
_WIDTHS = _several(_COUNT, "a list of whole numbers, at least 1")
_NAME = Setting(lambda value: isinstance(value, str) and is_label(value), "text")
_PATH = Setting(
    lambda value: isinstance(value, str) and is_label(value) and not CONTROL.search(value),
    "text without control characters",
)
_LABEL = Setting(is_label, "text or a whole number")
SETTINGS = {
    "dataset": _PATH,
    "layers": _or_null(_WIDTHS),
    "hidden": _or_null(_WIDTHS),
    "activation": _name_in(Activation.table),
    "loss": _or_null(_name_in(Loss.table)),
    "initializer": _or_null(_name_in(Initializer.table)),
    "optimizer": _name_in(Optimizer.table),
    "learning_rate": _or_null(_number_of(_real, 0, "a number, at least 0")),
    "epochs": _or_null(_FROM_0),
    "steps": _or_null(_COUNT),
    "sampling": _name_in(SAMPLINGS),
    "batch_size": _or_null(_COUNT),
    "validation": Setting(lambda value: _real(value) and 0 <= value < 1, "a number in [0, 1)"),
    "device": _or_null(_TEXT),
    "engine": _name_in([*Engine.table, "auto"]),
    "threads": _or_null(_THREADS),
    "dtype": _name_in(DTYPES),
    "seed": _SEED,
    "early_stopping": _or_null(_TEXT),
    "stop_on_plateau": _FLAG,
    "patience": _or_null(_COUNT),
    "best_weights": _or_null(_TEXT),
    "on_divergence": _name_in(POLICIES),
    "csv_log": _or_null(_PATH),
    "checkpoint_every": _TEXT,
    "target": _or_null(_NAME),
    "task": _name_in(TASKS),
    "test": _PATH,
    "drop": _several(_NAME, "a list of text"),
    "group": _or_null(_NAME),
    "time": _or_null(_NAME),
    "encoding": _TEXT,
    "preset": _or_null(_name_in(PRESETS)),
    "quantiles": _or_null(_several(_SHARE, "a list of numbers in (0, 1)")),
    "calibrated": _FLAG,
    "intervals": _FLAG,
    "checkpoint": _FROM_0,
    "digest": _TEXT,
    "rows": _COUNT,
    "class_names": _or_null(_several(_NAME, "a list of text")),
    "classes": _or_null(_several(_LABEL, "a list of text or whole numbers")),
}
"""The settings of a run that a command reads."""
