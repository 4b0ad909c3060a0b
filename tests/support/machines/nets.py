"""Networks and ways to train them, drawn from the tables: a new record is drawn by itself."""

from __future__ import annotations

import dataclasses
from typing import Any

from embedded import EMBEDDINGS
from hypothesis import strategies as st

from mlpx import MLP, Dense, Residual
from mlpx.errors import InputError
from mlpx.kernels.activations import Activation
from mlpx.kernels.losses import Loss
from mlpx.kernels.penalties import Penalty
from mlpx.layers import Layer
from mlpx.optimizers import Optimizer
from mlpx.optimizers.averaging import Average
from mlpx.program.gradients import GradientRule
from mlpx.schedules import Schedule
from mlpx.training.sampling import SAMPLINGS

RATE = 0.01


def lively(record: Any) -> Any:
    """A record whose long periods are short enough to pass within a few steps."""
    fields = {f.name: getattr(record, f.name) for f in dataclasses.fields(record)}
    long = {name: 2 for name, v in fields.items() if type(v) is int and v >= 10}
    return dataclasses.replace(record, **long)


def named(family: Any) -> st.SearchStrategy[Any]:
    """Any record of a family's table, with its defaults but `lively`."""
    return st.sampled_from(sorted(family.table)).map(lambda name: lively(family.resolve(name)))


def dense() -> st.SearchStrategy[Dense]:
    return st.builds(
        Dense,
        st.sampled_from((1, 5, 16)),
        activation=st.sampled_from(("relu", *sorted(Activation.table))),
        bias=st.sampled_from((True, True, False)),
        max_norm=st.sampled_from((None, None, 1.0)),
    )


LAYERS: dict[str, st.SearchStrategy[Any]] = {
    "dense": dense(),
    **{name: st.just(layer) for name, layer in EMBEDDINGS.items()},
    "residual": st.just(Residual([Dense(6, activation="tanh"), "dropout", Dense(6)])),
}
"""Layers that have no defaults for all of their fields."""


NEEDY = (Residual, *map(type, EMBEDDINGS.values()))
"""What wants some columns, or columns that are no codes of x."""


def layer(name: str) -> st.SearchStrategy[Any]:
    return LAYERS[name] if name in LAYERS else st.just(Layer.resolve(name))


@dataclasses.dataclass(frozen=True)
class Net:
    """What was drawn of a network."""

    d_in: int
    hidden: tuple[Any, ...]
    outputs: int
    loss: Loss
    penalty: str | None
    dtype: str

    def build(self, device: str) -> MLP:
        """The model; of two outputs where one or three cannot have the loss."""
        hidden: list[Any] = []
        for entry in self.hidden:
            hidden += [6, entry] if isinstance(entry, NEEDY) else [entry]
        for k in (self.outputs, 2):
            try:
                self.loss.check_outputs(k)
            except InputError:
                continue
            layers = [self.d_in, *hidden, Dense(k)]
            return MLP(
                layers, loss=self.loss, penalty=self.penalty, dtype=self.dtype, device=device
            )
        raise AssertionError(f"no number of outputs suits {self.loss}")


def nets(*widths: int) -> st.SearchStrategy[Net]:
    """Any network of one of these numbers of inputs."""
    others = st.sampled_from(sorted(Layer.table)).flatmap(layer)
    return st.builds(
        Net,
        d_in=st.sampled_from(widths),
        hidden=st.one_of(
            st.lists(dense(), min_size=1, max_size=2).map(tuple),
            st.lists(st.one_of(dense(), others), max_size=3).map(tuple),
        ),
        outputs=st.sampled_from((3, 2, 1)),
        loss=st.one_of(st.just(Loss.resolve("softmax_cross_entropy")), named(Loss)),
        penalty=st.sampled_from((None, *sorted(Penalty.table))),
        dtype=st.sampled_from(("float32", "float64")),
    )


def around() -> st.SearchStrategy[dict[str, Any]]:
    """What stands around every rule of an optimizer."""
    return st.fixed_dictionaries(
        {},
        optional={
            "learning_rate": st.one_of(named(Schedule), st.just(RATE / 2)),
            "weight_decay": st.just(0.1),
            "clip_norm": st.just(0.5),
            "clip_value": st.just(0.2),
            "accumulate": st.sampled_from((2, 3)),
            "average": named(Average),
            "rate_multipliers": st.just({"bias": 2.0}),
        },
    )


@st.composite
def optimizers(draw: Any) -> Optimizer:
    """Any optimizer, often with its defaults."""
    rule = draw(named(Optimizer))
    options = draw(st.one_of(st.just({}), around()))
    if rule.full_batch:
        allowed = {k: v for k, v in options.items() if k == "weight_decay"}
        return dataclasses.replace(rule, **allowed)
    return dataclasses.replace(rule, **({"learning_rate": RATE} | options))


LENGTHS = st.one_of(
    st.fixed_dictionaries({"steps": st.integers(1, 7)}),
    st.fixed_dictionaries({"epochs": st.integers(0, 3)}),
)
CHOICES: dict[str, st.SearchStrategy[Any]] = {
    "optimizer": optimizers(),
    "batch_size": st.sampled_from((1, 4, 8, 16, 33, 64)),
    "sampling": st.sampled_from(sorted(SAMPLINGS)),
    "threads": st.integers(1, 3),
    "record_gradient_norms": st.just(True),
    "gradient": st.sampled_from(sorted(GradientRule.table)),
    "engine": st.just("interpreter"),
    "check_finite": st.just(False),
    "precision": st.sampled_from(("tf32", "bf16", "fp16")),
    "weighted": st.just(True),
    "validated": st.just(True),
    "metric": st.integers(0, 30),
}
"""Options of `fit`; `weighted`, `validated` and `metric` are the machine's, which has the data."""


@st.composite
def fits(draw: Any) -> dict[str, Any]:
    """Options of a fit, a few of them given."""
    common = {"optimizer": optimizers(), "batch_size": CHOICES["batch_size"]}
    few = st.lists(st.sampled_from(sorted(CHOICES)), max_size=3, unique=True)
    chosen = {name: draw(CHOICES[name]) for name in draw(few)}
    return draw(LENGTHS) | {name: draw(s) for name, s in common.items()} | chosen


@st.composite
def changes(draw: Any) -> dict[str, Any]:
    """One thing done differently."""
    name = draw(st.sampled_from(("length", *sorted(CHOICES))))
    return draw(LENGTHS) if name == "length" else {name: draw(CHOICES[name])}
