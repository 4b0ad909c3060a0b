"""What an exported model answers, and how it calls its classes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from mlpx.errors import InputError, InputTypeError
from mlpx.network.network import Network
from mlpx.records import is_whole

SURROGATE = re.compile("[\ud800-\udfff]")
Kind = Literal["classes", "yes or no", "labels", "values"]


@dataclass(frozen=True)
class Answers:
    """What the k outputs of a model mean.

    `kind`: one of k classes, yes or no from one output, yes or no for each of k labels, or k
    values. `link` makes probabilities (softmax, sigmoid) or values (exp) of outputs. `names`
    (classes,) are what classes are called, int64, uint64 or text; None if they are 0, 1, ...
    """

    kind: Kind
    link: str | None
    names: np.ndarray | None

    @classmethod
    def of(cls, model: Network, names: Iterable[Any] | None) -> Answers:
        """The answers of `model`, whose classes are called by `names`.

        Raises InputError or InputTypeError for names that are not one whole number or text for each
        class, or if the model has no classes.
        """
        targets = model.loss.target_kind(model.d_out)
        kind: Kind = "classes" if targets == "classes" else "values"
        if targets == "binary":
            kind = "yes or no" if model.d_out == 1 else "labels"
        if names is None:
            return cls(kind, model.loss.link, None)
        if kind in ("labels", "values"):
            what = "values" if kind == "values" else "0 or 1 for each label"
            raise InputError(f"names are given, and this model answers {what}; leave them out")
        count = 2 if kind == "yes or no" else model.d_out
        return cls(kind, model.loss.link, _checked(names, count))

    @property
    def has_probabilities(self) -> bool:
        """Whether the model gives probabilities."""
        return self.link in ("softmax", "sigmoid")


def _checked(given: Iterable[Any], count: int) -> np.ndarray:
    """Names of classes (count,) as an array of integers or text."""
    names = [name.item() if isinstance(name, np.generic) else name for name in given]
    for name in names:
        if not isinstance(name, str) and not is_whole(name):
            raise InputTypeError(
                f"names holds {name!r}, a {type(name).__name__}; wanted text or whole numbers"
            )
        if isinstance(name, str) and SURROGATE.search(name):
            raise InputError(f"names holds {name!r}, half a character, which no file can hold")
    if len({str(name) for name in names}) != count or len(names) != count:
        raise InputError(
            f"names are {names!r}; wanted {count} different ones, in the order of the classes"
        )
    return _as_array(names)


def _as_array(names: list[Any]) -> np.ndarray:
    """Integers if all are and fit one dtype, else text."""
    if not any(isinstance(name, str) for name in names):
        for dtype in (np.int64, np.uint64):
            if all(np.iinfo(dtype).min <= name <= np.iinfo(dtype).max for name in names):
                return np.array(names, dtype)
    return np.array(list(map(str, names)))
