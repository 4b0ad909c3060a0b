"""The forward and backward passes of a network, appended to a plan."""

from __future__ import annotations

from mlpx.layers.base import chain_backward, chain_forward
from mlpx.network.network import Network
from mlpx.plan.plan import LayerPlan, Plan
from mlpx.types import Array


def plan_forward(plan: Plan, network: Network, x: Array) -> tuple[Array, list[LayerPlan]]:
    """Append the forward calls; returns the last output (rows, d_out) and each layer's plan."""
    sites = [plan.at(str(i)) for i in range(len(network.layers))]
    return chain_forward(network.layers, sites, x), sites


def plan_backward(network: Network, sites: list[LayerPlan], dy: Array | None) -> None:
    """Append the backward calls, last layer first; dx only where an earlier layer is trainable."""
    chain_backward(network.layers, sites, dy, need_dx=False)
