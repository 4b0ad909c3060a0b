"""The record of a call of `fit`."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mlpx.errors import InputError, InputTypeError, MissingExtraError
from mlpx.files import replace_file
from mlpx.metrics import Metric


@dataclass
class History:
    """The record of one training run.

    `epochs` holds a dict for each epoch (loss, metrics, val_...); `history["loss"]` is a column of
    these, `history.best()` the best epoch. `step_loss` (steps,) is the loss of every step, before
    its update.
    """

    engine: str = ""
    engine_reason: str = ""
    device: str = ""
    first_epoch: int = 0
    """How many epochs the model had been trained for before."""
    epochs: list[dict[str, float]] = field(default_factory=list)
    step_loss: np.ndarray = field(default_factory=lambda: np.zeros(0))
    gradient_norms: dict[str, np.ndarray] = field(default_factory=dict)
    """The norm of each parameter's gradient in each step; see `fit(record_gradient_norms=True)`."""
    seconds: float = 0.0
    samples: int = 0
    """How many rows were trained on, summed over epochs."""
    stop_reason: str = "completed"
    notes: list[str] = field(default_factory=list)
    """What was done differently from what was asked, and why."""

    def __getitem__(self, name: str) -> list[float]:
        """The values of one column, one per epoch; KeyError lists the columns."""
        if self.epochs and name not in self.epochs[0]:
            raise KeyError(f"{name!r}; this history has {self._columns()}")
        return [epoch[name] for epoch in self.epochs]

    def _columns(self) -> list[str]:
        return sorted(self.epochs[0]) if self.epochs else []

    def __contains__(self, name: object) -> bool:
        return bool(self.epochs) and name in self.epochs[0]

    def __len__(self) -> int:
        return len(self.epochs)

    def __repr__(self) -> str:
        """One line: epochs, time, engine, the last losses, and why it stopped."""
        length = f"{len(self)} epoch{'' if len(self) == 1 else 's'} in {self.seconds:.3g} s"
        engine = f" on {self.engine}" if self.engine else ""
        last = self.epochs[-1] if self.epochs else {}
        losses = [f"{name} {last[name]:.4g}" for name in ("loss", "val_loss") if name in last]
        reason = self.stop_reason.partition(":")[0].partition(";")[0]
        return f"<History: {', '.join([length + engine, *losses, reason])}>"

    def best(self, metric: str | None = None) -> dict[str, float]:
        """What the best epoch reported, and its number as "epoch", counted from 1 over all fits.

        `metric` is a column; the default is "val_loss", or "loss" without validation data. For
        losses lower is better, for metrics see `mlpx.metrics`. Ties go to the first epoch; NaN is
        never best. Raises KeyError for an unknown column, InputError if no epoch has a finite
        value in it.
        """
        if metric is not None and not isinstance(metric, str):
            raise InputTypeError(f"metric is {metric!r}; wanted a name, one of {self._columns()}")
        name = metric or ("val_loss" if "val_loss" in self else "loss")
        known = Metric.table.get(name.removeprefix("val_"))
        sign = -1.0 if known is not None and known.higher_is_better else 1.0
        values = sign * np.asarray(self[name], np.float64)
        if not np.isfinite(values).any():
            raise InputError(f"no epoch of this history has a finite {name!r}: {self!r}")
        at = int(np.where(np.isfinite(values), values, np.inf).argmin())
        return {"epoch": self.first_epoch + at + 1, **self.epochs[at]}

    def to_frame(self) -> Any:
        """The epochs as a pandas DataFrame; the index "epoch" counts from 1 over all fits.

        Raises MissingExtraError without pandas.
        """
        try:
            import pandas
        except ImportError as error:
            raise MissingExtraError("pandas", "", "History.to_frame", error) from error
        first = self.first_epoch + 1
        index = pandas.RangeIndex(first, first + len(self), name="epoch")
        return pandas.DataFrame(self.epochs, index=index)

    @property
    def samples_per_s(self) -> float:
        """Rows trained on per second of the whole run."""
        return self.samples / self.seconds if self.seconds else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Everything but the step losses, as plain JSON values."""
        return {
            "engine": self.engine,
            "engine_reason": self.engine_reason,
            "device": self.device,
            "first_epoch": self.first_epoch,
            "epochs": self.epochs,
            "steps": len(self.step_loss),
            "seconds": self.seconds,
            "samples": self.samples,
            "stop_reason": self.stop_reason,
            "notes": self.notes,
        }

    def to_json(self, **beside: Any) -> str:
        """`to_dict`, the entries in `beside`, and the step losses to nine digits, as JSON.

        NaN and infinity, which JSON lacks, become null.
        """
        content = json.dumps(finite({**self.to_dict(), **beside}), indent=1)
        losses = json.dumps(finite([float(f"{value:.9g}") for value in self.step_loss]))
        return content.removesuffix("\n}") + f',\n "step_loss": {losses}\n}}\n'

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write `to_dict` and the step losses, with all digits, as a JSON file, atomically.

        NaN and infinity, which JSON lacks, become null. Raises OSError.
        """
        content = finite({**self.to_dict(), "step_loss": self.step_loss.tolist()})
        replace_file(path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> History:
        """The history that `to_json` or `save` wrote, from its parsed JSON; null becomes NaN.

        Raises InputTypeError naming the entry that is missing or invalid.
        """
        try:
            for name, fits in KINDS.items():
                if not fits(content[name]):
                    raise TypeError(f"{name} = {json.dumps(content[name])}")
            plain = {name: content[name] for name in KINDS}
            epochs = [{k: _number(v) for k, v in epoch.items()} for epoch in plain["epochs"]]
            losses = np.array([_number(v) for v in plain["step_loss"]], dtype=np.float64)
            return cls(**plain | {"epochs": epochs, "step_loss": losses})
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise InputTypeError(repr(error)) from error

    def joined(self, after: History) -> History:
        """One history of this run and of `after`, which continued where this one stopped."""
        return History(
            engine=after.engine,
            engine_reason=after.engine_reason,
            device=after.device,
            first_epoch=self.first_epoch,
            epochs=self.epochs + after.epochs,
            step_loss=np.concatenate([self.step_loss, after.step_loss]),
            seconds=self.seconds + after.seconds,
            samples=self.samples + after.samples,
            stop_reason=after.stop_reason,
            notes=list(dict.fromkeys(self.notes + after.notes)),
        )


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_real(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return _is_real(value) and isinstance(value, int) and 0 <= value < 2**53


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _is_list_of_text(value: Any) -> bool:
    return _is_list(value) and all(map(_is_text, value))


KINDS: dict[str, Callable[[Any], bool]] = {
    "engine": _is_text, "engine_reason": _is_text, "device": _is_text, "stop_reason": _is_text,
    "notes": _is_list_of_text, "first_epoch": _is_count, "seconds": _is_real, "samples": _is_count,
    "epochs": _is_list, "step_loss": lambda value: isinstance(value, list | np.ndarray),
}  # fmt: skip
"""What the entries of a history may be."""


def _number(value: Any) -> float:
    if value is not None and not _is_real(value):
        raise TypeError(f"{json.dumps(value)} is no number")
    return math.nan if value is None else float(value)


def finite(value: Any) -> Any:
    """Plain JSON data with every non-finite float replaced by None."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
