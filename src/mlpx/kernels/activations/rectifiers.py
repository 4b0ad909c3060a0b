"""ReLU and its piecewise linear relatives."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from mlpx.kernels.activations.base import Activation, Work
from mlpx.records import require
from mlpx.types import Array, Namespace


@dataclass(frozen=True)
class ReLU(Activation, name="relu"):
    """f(z) = max(z, 0), f' = 1 where z > 0, else 0.

    Source: Nair and Hinton, "Rectified linear units improve restricted Boltzmann machines", 2010.

    Known to: `engines/formulas.h`, `engines/cuda/epilogues.py` (fused into products),
    `benchmark/workloads.py`.
    """

    scratch = 1
    kinks = (0.0,)
    initializer = "he_normal"

    def forward(self, xp: Namespace, z: Array, *, out: Array, work: Work) -> None:
        z.clip(0, inf, out=out)  # NumPy clips four times as fast as it takes a maximum

    def backward(self, xp: Namespace, dy: Array, kept: Array, *, out: Array, work: Work) -> None:
        (slope,) = work
        xp.greater(kept, 0, out=slope)  # multiplying by 0 or 1 is faster than a masked copy
        xp.multiply(dy, slope, out=out)


@dataclass(frozen=True)
class ReLU6(Activation, name="relu6"):
    """f(z) = min(max(z, 0), 6), f' = 1 where 0 < z < 6, else 0.

    Source: Krizhevsky, "Convolutional deep belief networks on CIFAR-10", 2010.

    Known to: `engines/formulas.h`.
    """

    scratch = 2
    kinks = (0.0, 6.0)
    initializer = "he_normal"

    def forward(self, xp: Namespace, z: Array, *, out: Array, work: Work) -> None:
        z.clip(0, 6, out=out)

    def backward(self, xp: Namespace, dy: Array, kept: Array, *, out: Array, work: Work) -> None:
        slope, below = work
        xp.greater(kept, 0, out=slope)
        xp.less(kept, 6, out=below)
        slope *= below
        xp.multiply(dy, slope, out=out)


@dataclass(frozen=True)
class LeakyReLU(Activation, name="leaky_relu"):
    """f(z) = z where z > 0, else slope z; f' = 1 or slope. 0 <= slope <= 1.

    It keeps its output, which has the input's sign only if the slope is not negative: a negative
    slope is refused here; PReLU, which keeps its input, accepts it. PyTorch's slope is 0.01,
    Keras's 0.3. Source: Maas, Hannun and Ng, "Rectifier nonlinearities improve neural network
    acoustic models", 2013.

    Known to: `engines/formulas.h`.
    """

    slope: float = 0.01

    scratch = 1
    kinks = (0.0,)
    initializer = "he_normal"

    def __post_init__(self) -> None:
        require("slope", self.slope, least=0, most=1)

    def forward(self, xp: Namespace, z: Array, *, out: Array, work: Work) -> None:
        (leak,) = work
        if self.slope == 0:
            z.clip(0, inf, out=out)  # 0 * -inf would be NaN
        else:
            xp.multiply(z, self.slope, out=leak)
            xp.maximum(z, leak, out=out)

    def backward(self, xp: Namespace, dy: Array, kept: Array, *, out: Array, work: Work) -> None:
        (slope,) = work
        xp.greater(kept, 0, out=slope)
        slope.clip(self.slope, 1, out=slope)
        xp.multiply(dy, slope, out=out)


@dataclass(frozen=True)
class PReLU(Activation, name="prelu"):
    """f(z) = z where z > 0, else slope z, with a learnt slope for each unit that starts at
    `slope`.

    f' = 1 or slope; d slope_j = sum_i dy_ij min(z_ij, 0). The slopes (d,) are the layer's parameter
    "slope"; they are not decayed, which would pull the unit towards a ReLU. They may
    become negative, so the input is kept. Source: He et al., "Delving deep into rectifiers", 2015.

    Known to: `engines/lowering/layers.py`, `engines/native/c/layers.inc`,
    `engines/native/c/table.inc`, `engines/cuda/activations.cu`, `engines/cuda/launches.py`.
    """

    slope: float = 0.25

    keeps = "input"
    scratch = 2
    kinks = (0.0,)
    initializer = "he_normal"

    def __post_init__(self) -> None:
        require("slope", self.slope)

    def parameters(self) -> dict[str, float]:
        return {"slope": self.slope}

    def forward(  # type: ignore[override] # with its learnt parameter
        self, xp: Namespace, z: Array, *, slope: Array, out: Array, work: Work
    ) -> None:
        below = work[0]
        z.clip(-float(xp.finfo(z.dtype).max), 0, out=below)  # 0 * -inf would be NaN
        below *= slope
        z.clip(0, inf, out=out)
        out += below

    def backward(  # type: ignore[override]
        self,
        xp: Namespace,
        dy: Array,
        kept: Array,
        *,
        slope: Array,
        dslope: Array,
        ones: Array,
        out: Array,
        work: Work,
    ) -> None:
        below, factor = work
        kept.clip(-float(xp.finfo(kept.dtype).max), 0, out=below)
        below *= dy
        xp.matmul(ones, below, out=dslope[None, :])  # column sums, (1, d)
        xp.less_equal(kept, 0, out=factor)
        factor *= slope
        xp.greater(kept, 0, out=below)
        factor += below  # slope where z <= 0, else 1
        xp.multiply(dy, factor, out=out)
