"""What every activation is."""

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
    """How many (n, 1) arrays of scratch it needs, behind the others."""
    kinks: ClassVar[tuple[float, ...]] = ()
    """Inputs at which f has no derivative: gradient checks stay away from them."""
    initializer: ClassVar[str] = "glorot_uniform"
    """The rule for the weights in front of it, unless the user says otherwise."""
    elementwise: ClassVar[bool] = True
    """Whether each output depends on the input of the same place only."""

    def parameters(self) -> dict[str, float]:
        """What it learns: for each name the start of its values, one for each unit.

        Its kernels get those arrays (d,) as keywords, `backward` also where their gradients go (`d`
        in front of the name) and `ones` (1, n). They are left out of weight decay, as biases are.
        """
        return {}

    def forward(self, xp: Namespace, z: Array, *, out: Array, work: Work) -> None:
        """out = f(z)."""
        raise NotImplementedError

    def backward(self, xp: Namespace, dy: Array, kept: Array, *, out: Array, work: Work) -> None:
        """out = dy f'(z), with `kept` the input z or the output y as `keeps` says."""
        raise NotImplementedError
