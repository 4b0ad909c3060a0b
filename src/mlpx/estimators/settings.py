"""The constructor's parameters, checked, and made into layers, losses and optimizers of mlpx."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from functools import lru_cache, wraps
from numbers import Integral, Real
from operator import attrgetter
from typing import Any, TypeVar

import numpy as np

from mlpx.engines.threads import TOO_MANY
from mlpx.errors import InputError, InputTypeError
from mlpx.kernels.activations import Activation
from mlpx.kernels.losses import Loss
from mlpx.kernels.penalties import L2
from mlpx.layers import Dense, Dropout, Layer
from mlpx.metrics import Metric
from mlpx.optimizers import LBFGS, SGD, AdamHat, Optimizer
from mlpx.records import is_whole, require
from mlpx.schedules import Schedule

R = TypeVar("R")

RATE_RULES = ("constant", "invscaling", "adaptive")
ACTIVATIONS = {"logistic": "sigmoid"}
"""Activations that scikit-learn calls by another name."""
RANGES: dict[str, tuple[float, float, str]] = {
    "alpha": (0, math.inf, "[)"),
    "learning_rate_init": (0, math.inf, "()"),
    "power_t": (0, math.inf, "[)"),
    "tol": (0, math.inf, "[]"),
    "momentum": (0, 1, "[)"),
    "validation_fraction": (0, 1, "[)"),
    "beta_1": (0, 1, "[)"),
    "beta_2": (0, 1, "[)"),
    "epsilon": (0, math.inf, "()"),
}
"""Lowest and highest value; a square bracket means that the end itself is allowed."""
COUNTS = ("max_iter", "max_fun")
FLAGS = ("shuffle", "warm_start", "nesterovs_momentum", "early_stopping")


def remembered(function: Callable[..., R]) -> Callable[..., R]:
    """`function`, with its results cached for hashable arguments."""
    kept = lru_cache(maxsize=64, typed=True)(function)

    @wraps(function)
    def asked(*given: Any) -> R:
        try:
            return kept(*given)
        except TypeError:  # unhashable, or invalid: `function` raises again
            return function(*given)

    return asked


def check(estimator: Any) -> None:
    """Raise InputError or InputTypeError for an invalid constructor parameter.

    The error names the parameter, its value and what is wanted.
    """
    _check(*attrgetter(*CHECKED)(estimator))


CHECKED = (*RANGES, *COUNTS, *FLAGS, "batch_size", "n_iter_no_change", "n_threads")


@remembered
def _check(*values: Any) -> None:
    given = dict(zip(CHECKED, values, strict=True))
    for name, (low, high, ends) in RANGES.items():
        _check_range(name, given[name], low, high, ends)
    for name in COUNTS:
        _check_count(name, given[name])
    for name in FLAGS:
        if not isinstance(given[name], bool | np.bool_):
            raise InputTypeError(f"{name} = {given[name]!r}; wanted True or False")
    if not (isinstance(given["batch_size"], str) and given["batch_size"] == "auto"):
        _check_count("batch_size", given["batch_size"], other=" or 'auto'")
    if given["n_iter_no_change"] != math.inf:
        _check_count("n_iter_no_change", given["n_iter_no_change"], other=" or infinity")
    if given["n_threads"] is not None:
        _check_count("n_threads", given["n_threads"], other=" or None")
        require("n_threads", int(given["n_threads"]), least=1, below=TOO_MANY)


def _check_range(name: str, value: Any, low: float, high: float, ends: str) -> None:
    if isinstance(value, bool | np.bool_) or not isinstance(value, Real):
        raise InputTypeError(f"{name} = {value!r} is a {type(value).__name__}; wanted a number")
    number = float(value)
    above = number >= low if ends[0] == "[" else number > low
    below = number <= high if ends[1] == "]" else number < high
    if not (above and below):
        raise InputError(f"{name} = {value!r}; wanted a number in {ends[0]}{low}, {high}{ends[1]}")


def _check_count(name: str, value: Any, *, other: str = "") -> None:
    if isinstance(value, bool | np.bool_) or not isinstance(value, Integral):
        raise InputTypeError(f"{name} = {value!r}; wanted a whole number from 1{other}")
    if value < 1:
        raise InputError(f"{name} = {value!r}; wanted a whole number from 1{other}")


def hidden_widths(estimator: Any) -> list[int]:
    """The widths of the hidden layers.

    Raises InputError or InputTypeError.
    """
    given = estimator.hidden_layer_sizes
    widths = list(given) if hasattr(given, "__iter__") and not isinstance(given, str) else [given]
    for width in widths:
        if not is_whole(width):
            raise InputTypeError(f"hidden_layer_sizes = {given!r}; wanted whole numbers")
        if width <= 0:
            raise InputError(f"hidden_layer_sizes = {given!r}; wanted whole numbers from 1")
    return [int(width) for width in widths]


def per_layer(name: str, given: Any, layers: int) -> list[Any]:
    """One value per hidden layer, from one value for all or a list with one for each.

    Raises InputError for a list of another length.
    """
    if isinstance(given, str) or not isinstance(given, Sequence):
        return [given] * layers
    if len(given) != layers:
        raise InputError(f"{name} = {given!r} has {len(given)} entries for {layers} hidden layers")
    return list(given)


def activations(estimator: Any) -> list[Activation]:
    """The activation of each hidden layer."""
    return _activations(estimator.activation, len(hidden_widths(estimator)))


def _activations(given: Any, count: int) -> list[Activation]:
    names = per_layer("activation", given, count)
    return [Activation.resolve(ACTIVATIONS.get(f, f) if isinstance(f, str) else f) for f in names]


def layers(estimator: Any, *, outputs: int) -> list[Layer]:
    """The layers of the network, dropout after each hidden one, with the penalty of `alpha`."""
    widths, strength = tuple(hidden_widths(estimator)), penalty_strength(estimator)
    return list(_layers(widths, estimator.activation, estimator.dropout, outputs, strength))


@remembered
def _layers(
    widths: tuple[int, ...], activation: Any, dropout: Any, outputs: int, strength: float
) -> list[Layer]:
    made: list[Layer] = []
    functions = _activations(activation, len(widths))
    rates = per_layer("dropout", dropout, len(widths))
    penalty = L2(strength, per_row=True) if strength else None
    for width, f, rate in zip(widths, functions, rates, strict=True):
        made.append(Dense(width, activation=f, initializer="glorot_uniform", penalty=penalty))
        made += [Dropout(rate)] if rate else []
    return [*made, Dense(outputs, initializer="glorot_uniform", penalty=penalty)]


def penalty_strength(estimator: Any) -> float:
    """The strength of the L2 penalty alpha / (2 n) |W|**2, for batches of n rows.

    It is 0 for L-BFGS, which applies alpha as weight decay.
    """
    return 0.0 if full_batch(estimator) else float(estimator.alpha) / 2


def full_batch(estimator: Any) -> bool:
    """Whether the solver works on all rows at once."""
    solver = estimator.solver
    return bool(solver == "lbfgs" or getattr(solver, "full_batch", False))


def batch_rows(estimator: Any) -> int:
    """The batch size, if there are that many rows."""
    return 200 if isinstance(estimator.batch_size, str) else int(estimator.batch_size)


def initial_factors(estimator: Any) -> list[float]:
    """The factor of each Dense layer in its initial bound sqrt(factor / (fan_in + fan_out))."""
    given = [2.0 if f.name == "sigmoid" else 6.0 for f in activations(estimator)]
    return [*given, given[-1] if given else 6.0]


def has_rate_rule(estimator: Any) -> bool:
    """Whether `learning_rate` is one of scikit-learn's names."""
    return isinstance(estimator.learning_rate, str) and estimator.learning_rate in RATE_RULES


def optimizer(estimator: Any, *, weight: float) -> Optimizer:
    """The solver as an optimizer; `weight` is the sum of the row weights.

    Raises UnknownNameError, InputError or InputTypeError.
    """
    if full_batch(estimator):
        named = estimator.solver == "lbfgs"
        rule = LBFGS(tolerance=float(estimator.tol)) if named else estimator.solver
        return dataclasses.replace(rule, weight_decay=float(estimator.alpha) / weight)
    rule = _rule(estimator)
    if has_rate_rule(estimator):
        return rule
    return dataclasses.replace(rule, learning_rate=Schedule.resolve(estimator.learning_rate))


def _rule(estimator: Any) -> Optimizer:
    rate, solver = float(estimator.learning_rate_init), estimator.solver
    if solver == "adam":
        beta1, beta2 = float(estimator.beta_1), float(estimator.beta_2)
        return _adam(rate, beta1, beta2, float(estimator.epsilon))
    if solver == "sgd":
        momentum = float(estimator.momentum)
        nesterov = bool(estimator.nesterovs_momentum and momentum > 0)
        return SGD(rate, momentum=momentum, nesterov=nesterov)
    rule = Optimizer.resolve(solver)
    return dataclasses.replace(rule, learning_rate=rate) if isinstance(solver, str) else rule


@remembered
def _adam(rate: float, beta1: float, beta2: float, epsilon: float) -> AdamHat:
    return AdamHat(rate, beta1=beta1, beta2=beta2, epsilon=epsilon)


def loss_of(given: Any, names: dict[str, Loss]) -> Loss:
    """The loss that scikit-learn or mlpx calls `given`, or `given` itself."""
    return names[given] if isinstance(given, str) and given in names else Loss.resolve(given)


def stopping_metric(given: Any, *, classes: bool) -> tuple[Metric, ...]:
    """The metric that early stopping monitors; empty for the loss."""
    if isinstance(given, str) and given == "loss":
        return ()
    if given is None:
        given = "accuracy" if classes else "r2"
    return (Metric.resolve(given),)
