"""Learning-rate schedules: the rate of each step, as a function of its number.

A schedule stands wherever a learning rate does: `Adam(Cosine(1e-3))`,
`fit(learning_rate=Warmup(100))`. Steps are counted from 1, and a step is one update of the
parameters. `rates` is evaluated in float64 for all steps of an epoch at once; the numbers go into
the program's table on the device, and each step reads its own row there by the counter it advances
itself. So within an epoch no rate passes from the host to the device, and every engine and device
uses the same ones.

A `steps` of None means "to the end of the run": `fit` fills it in, and the model remembers it, so
that training that was stopped goes on along the same curve. A call after that end begins the curve
anew. With a number of steps, `Cosine(1e-3, steps=10_000)`, it spans calls: they are one long run.
"""

from mlpx.schedules.base import Schedule, Steps, rate_or_schedule, rates_of
from mlpx.schedules.composed import Product, Sequential, Warmup
from mlpx.schedules.curves import (
    Constant,
    Cosine,
    Exponential,
    InverseScaling,
    Polynomial,
    Step,
)
from mlpx.schedules.cycles import Cyclic, OneCycle, WarmRestarts
from mlpx.schedules.plateau import ReduceOnPlateau

__all__ = [
    "Constant",
    "Cosine",
    "Cyclic",
    "Exponential",
    "InverseScaling",
    "OneCycle",
    "Polynomial",
    "Product",
    "ReduceOnPlateau",
    "Schedule",
    "Sequential",
    "Step",
    "Steps",
    "WarmRestarts",
    "Warmup",
    "rate_or_schedule",
    "rates_of",
]
