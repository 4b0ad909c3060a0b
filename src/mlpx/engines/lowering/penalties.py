"""The translations of penalties of weights, and of bounds on their norms."""

from __future__ import annotations

from typing import Any

from mlpx.engines.lowering.operations import access
from mlpx.engines.lowering.translator import Translator, translates
from mlpx.kernels import penalties
from mlpx.kernels.penalties import L1, L2, ElasticNet
from mlpx.plan.plan import Call


@translates((L1, "value"), (L2, "value"), (ElasticNet, "value"), (L2, "value_by_weight"))
def _penalty(to: Translator, call: Call) -> None:
    (W, *by), loss = call.arguments, call.keywords["loss"]
    l1, l2 = strengths(call.kernel.__self__)  # type: ignore[attr-defined]
    weight = by[0] if by else None
    to.emit(
        "penalty",
        elements=W.size,
        l1=l1,
        l2=l2,
        W=W,
        loss=loss,
        weight=weight,
        touches=(*to.undivided(W, weight), *to.undivided(loss, writes=True)),
        alone=True,
        late=True,
    )


@translates(
    (L1, "gradient"), (L2, "gradient"), (ElasticNet, "gradient"), (L2, "gradient_by_weight")
)
def _penalty_gradient(to: Translator, call: Call) -> None:
    (W, *by), dW = call.arguments, call.keywords["dW"]
    weight = by[0] if by else None
    l1, l2 = strengths(call.kernel.__self__)  # type: ignore[attr-defined]
    to.emit(
        "penalty_gradient",
        inputs=len(W),
        outputs=W.size // len(W),
        l1=l1,
        twice_l2=2 * l2,
        W=W,
        dW=dW,
        weight=weight,
        # Divided as the operation divides dW that wrote it.
        touches=(*to.undivided(W, weight), access(dW, writes=True, division=("d", dW.shape))),
        late=True,
    )


def strengths(penalty: Any) -> tuple[float, float]:
    """What |W| and W**2 are multiplied by."""
    if isinstance(penalty, ElasticNet):
        return penalty.l1, penalty.l2
    return (penalty.strength, 0.0) if isinstance(penalty, L1) else (0.0, penalty.strength)


@translates(penalties.limit_norms)
def _limit_norms(to: Translator, call: Call) -> None:
    (W,), most = call.arguments, call.keywords["most"]
    inputs, outputs = W.shape
    touches = (access(W, writes=True, division=("columns", *W.shape)),)
    to.emit("limit_norms", inputs=inputs, outputs=outputs, most=most, W=W, touches=touches)
