"""Optimizers: one record each. `Optimizer.table` maps the names to them."""

from mlpx.optimizers.adam import Adam, Adamax, AdamHat, AdamW, AMSGrad, NAdam, RAdam
from mlpx.optimizers.adaptive import AdaDelta, AdaGrad, RMSProp
from mlpx.optimizers.averaging import EMA, SWA, Average
from mlpx.optimizers.base import Optimizer
from mlpx.optimizers.lamb import LAMB
from mlpx.optimizers.lbfgs import LBFGS
from mlpx.optimizers.lion import Lion
from mlpx.optimizers.muon import Muon
from mlpx.optimizers.sgd import SGD, Momentum, Nesterov

__all__ = [
    "EMA",
    "LAMB",
    "LBFGS",
    "SGD",
    "SWA",
    "AMSGrad",
    "AdaDelta",
    "AdaGrad",
    "Adam",
    "AdamHat",
    "AdamW",
    "Adamax",
    "Average",
    "Lion",
    "Momentum",
    "Muon",
    "NAdam",
    "Nesterov",
    "Optimizer",
    "RAdam",
    "RMSProp",
]
