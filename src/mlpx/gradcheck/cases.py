"""A check for every row of the tables, made from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlpx.errors import InputError, MlpxError, UnknownNameError
from mlpx.gradcheck.check import check_gradients
from mlpx.gradcheck.numerical import gradients_of, numerical_gradient
from mlpx.kernels.activations import Activation
from mlpx.kernels.losses import Loss
from mlpx.kernels.penalties import Penalty
from mlpx.layers import Dense, Layer
from mlpx.mlp import MLP
from mlpx.optimizers import Optimizer
from mlpx.records import Record

ROWS, COLUMNS, HIDDEN, OUTPUTS = 7, 4, 5, 3
POINTS = 20
"""Random batches tried until a difference crosses no kink."""
STEPS = 40
"""Full-batch steps after which an optimizer must have lowered the loss."""

FIELDS: dict[str, Any] = {
    "units": HIDDEN,
    "rate": 0.4,
    "activation": "tanh",
    "layers": (Dense(HIDDEN, activation="tanh"),),
    "sizes": (3, 2),
    "columns": 2,
    "edges": ((-0.6, 0.05, 0.9),),
}
"""Values for fields of a layer that have no default, or one that tests little."""


@dataclass(frozen=True)
class Outcome:
    """One line of the table."""

    kind: str
    name: str
    passed: bool
    detail: str
    """The worst element, what the optimizer did, or the message of a failure."""
    error: float | None = None
    tolerance: float | None = None


def outcomes(device: Any, dtype: str, only: Iterable[str] = ()) -> Iterator[Outcome]:
    """The checks of every row of every table, or of those kinds and names that `only` lists.

    Raises UnknownNameError for a word in `only` that is neither a kind nor a name.
    """
    rows = [(family, name) for family in CHECKS for name in sorted(family.table)]
    wanted = set(only)
    known = {word for family, name in rows for word in (family.kind, name)}
    for word in sorted(wanted - known):
        raise UnknownNameError("activation, loss, layer, penalty or optimizer", word, known)
    for family, name in rows:
        if not wanted or family.kind in wanted or name in wanted:
            yield _outcome(family, name, device, dtype)


def _outcome(family: type[Record], name: str, device: Any, dtype: str) -> Outcome:
    try:
        return CHECKS[family](name, device, dtype)
    except MlpxError as error:
        return Outcome(family.kind, name, passed=False, detail=" ".join(str(error).split()))


def check_activation(name: str, device: Any, dtype: str) -> Outcome:
    """A net whose hidden layer has this activation."""
    layers: list[int | Layer] = [COLUMNS, Dense(HIDDEN, activation=name), OUTPUTS]
    return _gradients("activation", name, MLP(layers, dtype=dtype, device=device))


def check_loss(name: str, device: Any, dtype: str) -> Outcome:
    """A net with one hidden layer and this loss."""
    model = MLP(
        [COLUMNS, HIDDEN, OUTPUTS], activation="tanh", loss=name, dtype=dtype, device=device
    )
    return _gradients("loss", name, model)


def check_layer(name: str, device: Any, dtype: str) -> Outcome:
    """The layer between two dense ones, in training: with dropout masks and batch statistics. One
    that takes codes comes first.
    """
    before, layer = Dense(HIDDEN, activation="tanh"), sample_layer(name)
    hidden = [layer, before] if layer.codes else [before, layer]
    layers: list[int | Layer] = [COLUMNS, *hidden, Dense(OUTPUTS)]
    return _gradients("layer", name, MLP(layers, dtype=dtype, device=device))


def check_penalty(name: str, device: Any, dtype: str) -> Outcome:
    """The penalty on the weights of the second layer."""
    model = MLP(
        [COLUMNS, HIDDEN, Dense(HIDDEN, activation="tanh", penalty=name), OUTPUTS],
        activation="tanh", dtype=dtype, device=device,
    )  # fmt: skip
    return _gradients("penalty", name, model)


def sample_layer(name: str) -> Layer:
    """A layer of that name, HIDDEN wide.

    Raises InputError for a field that has no default and no value in `FIELDS`.
    """
    kind = Layer.table[name]
    names = {field.name for field in dataclasses.fields(kind)}
    try:
        layer: Layer = kind(**{field: FIELDS[field] for field in FIELDS if field in names})
    except TypeError as error:
        raise InputError(f"there is no sample of the layer {name!r}: {error}") from None
    return layer


def _gradients(kind: str, name: str, model: MLP) -> Outcome:
    for point in range(POINTS):
        x, y = sample_data(model, point)
        report = check_gradients(model, x, y)
        if not report.kinks:
            break
    worst = report.worst
    where = f"{worst.name}{list(worst.index)}" if worst.checked else f"{worst.name}: all kinks"
    if report.kinks:
        where += f", {report.kinks} left out at kinks"
    return Outcome(kind, name, report.passed, where, worst.error, report.tolerance)


def sample_data(model: MLP, point: int) -> tuple[np.ndarray, np.ndarray]:
    """A random batch that the model's loss takes."""
    rng = np.random.default_rng(point)
    x = rng.normal(size=(ROWS, COLUMNS))
    sizes = model.codes
    x[:, COLUMNS - len(sizes) :] = rng.integers(0, sizes, size=(ROWS, len(sizes)))
    targets: dict[str, Callable[[], np.ndarray]] = {
        "classes": lambda: rng.integers(0, OUTPUTS, size=ROWS),
        "binary": lambda: rng.integers(0, 2, size=(ROWS, OUTPUTS)).astype(np.float64),
        "values": lambda: rng.gamma(2.0, size=(ROWS, OUTPUTS)),  # not negative, for Poisson
    }
    return x, targets[model.loss.targets]()


def check_optimizer(name: str, device: Any, dtype: str) -> Outcome:
    """Its first step goes down the numerical gradient, and full-batch steps lower the loss.

    An optimizer has no gradient of its own; this checks that it descends along the given one.
    """
    model = MLP([COLUMNS, HIDDEN, OUTPUTS], activation="tanh", dtype=dtype, device=device)
    x, y = sample_data(model, 0)
    slopes = _flat(model, numerical_gradient(model, x, y))
    before, loss = _flat(model, model.parameters), model.evaluate(x, y)["loss"]
    full = {"batch_size": ROWS, "sampling": "sequential", "verbose": 0, "optimizer": name}
    model.fit(x, y, steps=1, **full)
    move = _flat(model, model.parameters) - before
    cosine = float(-move @ slopes / max(np.linalg.norm(move) * np.linalg.norm(slopes), 1e-300))
    model.fit(x, y, steps=STEPS, **full)
    after = model.evaluate(x, y)["loss"]
    detail = f"cos {cosine:+.2f}, loss {after - loss:+.3f}"
    return Outcome("optimizer", name, cosine > 0 and after < loss, detail)


def _flat(model: MLP, values: dict[str, Any]) -> np.ndarray:
    host = [model.backend.to_numpy(values[name]).ravel() for name in gradients_of(model)]
    return np.concatenate(host).astype(np.float64)


CHECKS: dict[type[Record], Callable[[str, Any, str], Outcome]] = {
    Activation: check_activation,
    Loss: check_loss,
    Layer: check_layer,
    Penalty: check_penalty,
    Optimizer: check_optimizer,
}
"""The check of each family of records; its members come from the family's table."""
