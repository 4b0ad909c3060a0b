"""Lion: steps along the sign only."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

from mlpx.optimizers.adaptive import smooth
from mlpx.optimizers.base import Optimizer
from mlpx.records import require
from mlpx.schedules import Schedule
from mlpx.types import Array, Namespace


@dataclass(frozen=True)
class Lion(Optimizer, name="lion"):
    """p = p - rate sign(b1 m + (1 - b1) g), then m = b2 m + (1 - b2) g; weight decay is decoupled.

    Needs a rate 3 to 10 times below Adam's, and as many times its weight decay.
    Source: Chen et al., "Symbolic discovery of optimization algorithms", 2023, algorithm 2.
    """

    learning_rate: float | Schedule = 1e-4
    _: KW_ONLY
    beta1: float = 0.9
    beta2: float = 0.99

    decay = "decoupled"
    scratch = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        require("beta1", self.beta1, least=0, below=1)
        require("beta2", self.beta2, least=0, below=1)

    @property
    def moments(self) -> tuple[str, ...]:
        return ("m",)

    def update(
        self,
        xp: Namespace,
        p: Array,
        g: Array,
        *,
        moments: tuple[Array, ...],
        scalars: tuple[Array, ...],
        work: tuple[Array, ...],
    ) -> None:
        (m,), (rate,), (change, part) = moments, scalars, work
        xp.multiply(m, self.beta1, out=change)
        xp.multiply(g, 1.0 - self.beta1, out=part)
        change += part
        xp.sign(change, out=change)
        change *= rate
        p -= change
        smooth(xp, m, g, self.beta2, work=part)
