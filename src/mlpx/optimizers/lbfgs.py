"""L-BFGS, for small problems without batches."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, fields

from mlpx.errors import InputError
from mlpx.optimizers.base import Optimizer
from mlpx.records import require, require_count
from mlpx.schedules import Schedule


@dataclass(frozen=True)
class LBFGS(Optimizer, name="lbfgs"):
    """p = p - s H g over all rows: H approximates the inverse Hessian from the last `memory`
    changes of p and g, and a line search finds s.

    SciPy's L-BFGS-B on the flat vector in float64, the gradient in the model's dtype; needs the
    extra `lbfgs`. An epoch is an iteration, with one or a few evaluations of the loss and its
    gradient, and reports the loss it reached. The run ends early once no element of the gradient
    exceeds `tolerance`. `weight_decay` is L2. There are no batches, no learning rate and no
    clipping. A second fit continues from the first one's parameters, but with a new H; one that
    goes on from a checkpoint keeps H, unless a note of its history says otherwise. Source: Liu and
    Nocedal, "On the limited memory BFGS method for large scale optimization", 1989.
    """

    learning_rate: float | Schedule = 1.0
    _: KW_ONLY
    memory: int = 10
    tolerance: float = 1e-5
    searches: int = 20

    full_batch = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require_count("memory", self.memory)
        require("tolerance", self.tolerance, least=0)
        require_count("searches", self.searches)
        meaningless = (
            "learning_rate",
            "clip_value",
            "clip_norm",
            "accumulate",
            "average",
            "rate_multipliers",
        )
        defaults = {field.name: field.default for field in fields(self)}
        for name in meaningless:
            if getattr(self, name) != defaults[name]:
                raise InputError(
                    f"{name} = {getattr(self, name)!r}; lbfgs minimises over all rows at once "
                    f"and finds its own step lengths: leave {name} out"
                )
