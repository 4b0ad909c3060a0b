"""A call that a target lacks is named in the error, and nothing is half translated."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mlpx.engines.lowering import Operation
from mlpx.engines.lowering.translator import Translator, UntranslatableError
from mlpx.kernels import batches
from mlpx.kernels.activations import Activation
from mlpx.optimizers import LBFGS
from mlpx.plan.plan import Call

ROWS = np.arange(2)
WIDE = np.ones((4, 6))


class Bare:
    """A target that has every operation, or none."""

    name, counts = "bare", True

    def __init__(self, *, knows: bool) -> None:
        self.knows = knows

    def has(self, operation: str, dtype: np.dtype) -> bool:
        """The same for all dtypes."""
        return self.knows

    def formula(self, family: str, name: str) -> int:
        """The same code for all."""
        return 0 if self.knows else -1


def translated(call: Call, *, knows: bool) -> list[Operation]:
    """The operations for one call."""
    plan: Any = SimpleNamespace(calls=[call])
    return Translator(plan, Bare(knows=knows), np.dtype(np.float64)).translate()


def gather(x: np.ndarray, dtype: Any = np.float64) -> Call:
    """Two rows of x."""
    out = np.empty((2, *x.shape[1:]), dtype)
    return Call(batches.gather, (None, x, ROWS), {"out": out})


def activate(name: str) -> Call:
    """An activation of a batch."""
    record, z = Activation.resolve(name), np.ones((2, 3))
    return Call(record.forward, (z,), {"out": z, "work": None})


def unheard_of(xp: Any) -> None:
    """A kernel that no target knows."""


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (gather(WIDE.astype(np.longdouble)), "x of float128"),
        (gather(np.arange(4, dtype=np.int32), np.int64), "x of int32"),
        (gather(np.arange(4, dtype=">i8"), np.int64), "x of >i8"),
        (gather(WIDE[:, ::2]), "x is not C-contiguous"),
        (gather(WIDE, np.float32), "a batch of float32"),
        (Call(unheard_of, (), {}), r"test_lowering\.unheard_of has no bare form"),
        (Call(LBFGS().for_parameter, (), {}), "optimizer 'lbfgs' has no bare form"),
        (Call(LBFGS().update, (ROWS, ROWS), {"moments": ()}), "optimizer 'lbfgs' has no bare form"),
    ],
    ids=lambda given: given if isinstance(given, str) else None,
)
def test_what_no_translation_does_is_named(call: Call, reason: str) -> None:
    with pytest.raises(UntranslatableError, match=f"^{reason}$"):
        translated(call, knows=True)


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (gather(WIDE), "no operation gather"),
        (activate("relu"), "activation 'relu' has no bare form"),
    ],
)
def test_what_the_target_lacks_is_named(call: Call, reason: str) -> None:
    assert translated(call, knows=True)
    with pytest.raises(UntranslatableError, match=f"^{reason}$"):
        translated(call, knows=False)
