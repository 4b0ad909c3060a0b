"""The base of every activation."""

from __future__ import annotations

from typing import ClassVar, Literal

from mlpx.records import Record
from mlpx.types import Array, Namespace

Work = tuple[Array, ...]


class Activation(Record, kind="activation"):
    """A nonlinearity: its hyperparameters, its forward and its backward."""

    keeps: ClassVar[Literal["input", "output"]] = "output"
    scratch: ClassVar[int] = 0
    columns: ClassVar[int] = 0
    """How many (n, 1) scratch arrays it needs after the others."""
    kinks: ClassVar[tuple[float, ...]] = ()
    """Inputs without a derivative, which gradient checks avoid."""
    initializer: ClassVar[str] = "glorot_uniform"
    """The default rule for the weights in front of it."""
    elementwise: ClassVar[bool] = True
    """Whether each output depends only on the input at the same place."""

    def parameters(self) -> dict[str, float]:
        """Its learnt parameters: each name with the initial value, the same for every unit.

        The kernels get these arrays (d,) as keywords; `backward` also gets the arrays for their
        gradients (with `d` before the name) and `ones` (1, n). Like biases they are not decayed.
        """
        return {}

    def forward(self, xp: Namespace, z: Array, *, out: Array, work: Work) -> None:
        """out = f(z)."""
        raise NotImplementedError

    def backward(self, xp: Namespace, dy: Array, kept: Array, *, out: Array, work: Work) -> None:
        """out = dy f'(z), with `kept` the input z or the output y as `keeps` says."""
        raise NotImplementedError
