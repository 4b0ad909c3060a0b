"""Muon: steps that are orthogonal matrices."""

from __future__ import annotations

import dataclasses
from dataclasses import KW_ONLY, dataclass

from mlpx.optimizers.adam import AdamW
from mlpx.optimizers.base import Optimizer
from mlpx.records import require, require_count, require_flag
from mlpx.schedules import Schedule, rate_or_schedule
from mlpx.types import Array, Namespace

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Coefficients of the quintic a x + b x**3 + c x**5: the steepest at 0 that takes singular values
to about 0.7 to 1.2.
"""


@dataclass(frozen=True)
class Muon(Optimizer, name="muon"):
    """m = momentum m + (1 - momentum) g, W = W - rate sqrt(max(1, d_out / d_in)) orthogonal(m'),
    for matrices.

    m' = (1 - momentum) g + momentum m with nesterov=True, else m. orthogonal(m') is U V^T of its
    singular value decomposition, nearly: `iterations` of Newton and Schulz's quintic on m' / |m'|.
    Weight decay is decoupled. Everything else, biases and parameters of normalisations, is moved by
    AdamW at `adam_rate`, with adam_beta1, adam_beta2 and adam_epsilon, and without decay unless
    decay_all=True. Its second moment is as long as all parameters, and zero for matrices.

    It works in the model's dtype; the authors' code (and PyTorch's, whose rate is 1e-3) iterates in
    bfloat16.
    Source: Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024.
    """

    learning_rate: float | Schedule = 0.02
    _: KW_ONLY
    momentum: float = 0.95
    nesterov: bool = True
    iterations: int = 5
    adam_rate: float | Schedule = 3e-4
    adam_beta1: float = 0.9
    adam_beta2: float = 0.95
    adam_epsilon: float = 1e-10

    decay = "decoupled"
    by_parameter = True
    scratch = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        require("momentum", self.momentum, least=0, below=1)
        require_flag("nesterov", self.nesterov)
        require_count("iterations", self.iterations)
        rate_or_schedule("adam_rate", self.adam_rate)
        for name in ("adam_beta1", "adam_beta2"):
            require(name, getattr(self, name), least=0, below=1)
        require("adam_epsilon", self.adam_epsilon, above=0)

    @property
    def moments(self) -> tuple[str, ...]:
        return ("m", "v")

    @property
    def schedules(self) -> tuple[Schedule, ...]:
        more = (self.adam_rate,) if isinstance(self.adam_rate, Schedule) else ()
        return (*super().schedules, *more)

    def for_parameter(self, kind: str, shape: tuple[int, ...]) -> Optimizer:
        if kind == "weight" and len(shape) == 2:
            return self
        others = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(Optimizer)
            if field.name not in ("learning_rate", "weight_decay")
        }
        decays = kind == "weight" or self.decay_all
        return AdamW(
            self.adam_rate,
            beta1=self.adam_beta1,
            beta2=self.adam_beta2,
            epsilon=self.adam_epsilon,
            weight_decay=self.weight_decay if decays else 0.0,
            **others,
        )

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
        m, (rate,), (X, Y, *_) = moments[0], scalars, work
        m *= self.momentum
        xp.multiply(g, 1.0 - self.momentum, out=X)
        m += X
        if self.nesterov:
            xp.multiply(m, self.momentum, out=Y)
            X += Y
        else:
            xp.copyto(X, m)
        orthogonalise(xp, X, iterations=self.iterations, work=work[1:])
        X *= rate
        d_in, d_out = p.shape
        X *= max(1.0, d_out / d_in) ** 0.5
        p -= X


def orthogonalise(xp: Namespace, X: Array, *, iterations: int, work: tuple[Array, ...]) -> None:
    """X = nearly U V^T, in place, for X = U S V^T (m, n); work: three arrays of X's shape.

    Singular values below about 1e-3 of |X| stay smaller than 1. A zero matrix stays zero.
    """
    a, b, c = COEFFICIENTS
    Y, wide = work[0], X.shape[0] <= X.shape[1]
    r = min(X.shape)
    A, B = (w.reshape(-1)[: r * r].reshape(r, r) for w in work[1:3])
    norm = A[:1, :1]
    xp.multiply(X, X, out=Y)
    Y.sum(keepdims=True, out=norm)
    xp.sqrt(norm, out=norm)
    norm += 1e-7
    X /= norm
    for _ in range(iterations):
        xp.matmul(*((X, X.T) if wide else (X.T, X)), out=A)
        xp.matmul(A, A, out=B)
        B *= c
        A *= b
        B += A
        xp.matmul(*((B, X) if wide else (X, B)), out=Y)
        X *= a
        X += Y
