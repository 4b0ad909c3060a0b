"""What every layer is: a record that plans its own forward and backward kernel calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from mlpx.parameters import Parameter
from mlpx.records import Record
from mlpx.types import Array

if TYPE_CHECKING:
    from mlpx.program import LayerPlan


class Layer(Record, kind="layer"):
    """One layer's specification. It holds no arrays: its parameters live in the model's flat vector."""

    stochastic: ClassVar[bool] = False
    """Whether it draws random numbers in training."""

    def width(self, d_in: int) -> int:
        """Columns that go out when `d_in` come in."""
        return d_in

    def parameters(self, d_in: int) -> tuple[Parameter, ...]:
        """The arrays it owns when `d_in` columns come in."""
        return ()

    def forward(self, plan: LayerPlan, x: Array) -> Array:
        """Plan the calls that turn `x` (n, d_in) into the array returned (n, width)."""
        raise NotImplementedError

    def backward(self, plan: LayerPlan, dy: Array, *, need_dx: bool) -> Array | None:
        """Plan the calls that turn `dy` (n, width) into parameter gradients and, if wanted, dx (n, d_in).

        `dy` may be overwritten. What `forward` put into `plan.kept` is there.
        """
        raise NotImplementedError
