"""Schedules: the learning rate of each step, or another number, as a function of the step's number.

A schedule may be given wherever a learning rate may: `Adam(Cosine(1e-3))`,
`fit(learning_rate=Warmup(100))`; as the weight decay where that is decoupled,
`AdamW(1e-3, weight_decay=FlatCosine(0.02))`; and as the rate of `Dropout(FlatCosine(0.15))`. Steps
are counted from 1, and a step is one update of the parameters. `rates` is evaluated in float64 for
all steps of an epoch at once; the numbers go into the program's tables on the device, where each
step reads its row by a counter that it advances itself. So no rate is sent to the device within an
epoch, and every engine and device uses the same numbers.

A `steps` of None means "to the end of the run": `fit` fills it in, and the model remembers it, so
that stopped training continues along the same curve. A call after that end starts the curve again.
With a number of steps, `Cosine(1e-3, steps=10_000)`, the curve spans several calls.
"""

from mlpx.schedules.base import Schedule, Steps, rate_or_schedule, rates_of, require_unwatched
from mlpx.schedules.composed import Product, Sequential, Warmup, begun
from mlpx.schedules.curves import (
    Constant,
    Cosine,
    Exponential,
    FlatCosine,
    InverseScaling,
    Polynomial,
    Step,
)
from mlpx.schedules.cycles import CosLog, Cyclic, OneCycle, WarmRestarts
from mlpx.schedules.plateau import ReduceOnPlateau

__all__ = [
    "Constant",
    "CosLog",
    "Cosine",
    "Cyclic",
    "Exponential",
    "FlatCosine",
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
    "begun",
    "rate_or_schedule",
    "rates_of",
    "require_unwatched",
]
