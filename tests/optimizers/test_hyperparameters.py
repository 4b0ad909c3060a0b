"""Hyperparameters of optimizers: ranges, types, defaults, and what depends on the run's length."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from mlpx.errors import InputError, InputTypeError, UnknownNameError
from mlpx.optimizers import EMA, LBFGS, SGD, SWA, Adam, Muon, Optimizer
from mlpx.records import Record
from mlpx.schedules import Constant, Cosine, Warmup


def test_a_run_gives_schedules_and_averages_its_length() -> None:
    assert not Adam(average=EMA()).open
    assert Adam(average=SWA()).open
    assert Adam(Cosine(0.1)).open
    found = Adam(Cosine(0.1), average=SWA()).resolved(40, 60)
    assert found.average == SWA(75)
    t = np.arange(41.0, 101.0)
    np.testing.assert_allclose(found.rates(t), Cosine(0.1, 60).rates(t - 40))
    assert not found.rates(np.arange(1.0, 40.0)).any()
    assert Adam(Cosine(0.1)).resolved(0, 60) == Adam(Cosine(0.1, 60))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("adam", {"beta1": 1.2}, r"beta1 = 1\.2; it must be in \[0, 1\)"),
        ("adam", {"beta2": 1.0}, r"beta2 = 1\.0; it must be in \[0, 1\)"),
        ("adam", {"epsilon": 0.0}, r"epsilon = 0\.0; it must be in \(0, inf\)"),
        ("adam", {"learning_rate": -1.0}, r"learning_rate = -1\.0"),
        ("adam", {"learning_rate": float("nan")}, "learning_rate = nan"),
        ("adam", {"weight_decay": -0.1}, r"weight_decay = -0\.1"),
        ("adam", {"clip_norm": 0.0}, r"clip_norm = 0\.0"),
        ("adam", {"clip_value": -1.0}, r"clip_value = -1\.0"),
        ("adam", {"accumulate": 0}, "accumulate = 0"),
        ("adam", {"rate_multipliers": {"bias": -1.0}}, r"rate_multipliers\['bias'\] = -1\.0"),
        ("adam", {"rate_multipliers": {0: 1.0}}, "rate_multipliers has the key 0"),
        ("adam", {"decay_multipliers": {"0": -1.0}}, r"decay_multipliers\['0'\] = -1\.0"),
        ("sgd", {"momentum": 1.0}, r"momentum = 1\.0"),
        ("sgd", {"dampening": 1.0}, r"dampening = 1\.0"),
        ("sgd", {"nesterov": True}, "nesterov=True with momentum = 0"),
        ("sgd", {"nesterov": True, "momentum": 0.9, "dampening": 0.1}, "no dampening"),
        ("adagrad", {"epsilon": 0.0}, r"epsilon = 0\.0"),
        ("rmsprop", {"rho": 1.0}, r"rho = 1\.0"),
        ("rmsprop", {"epsilon": 0.0}, r"epsilon = 0\.0"),
        ("rmsprop", {"momentum": -0.1}, r"momentum = -0\.1"),
        ("rmsprop", {"momentum": 1.0}, r"momentum = 1\.0"),
        ("adadelta", {"rho": -0.5}, r"rho = -0\.5"),
        ("adadelta", {"rho": 1.0}, r"rho = 1\.0"),
        ("adadelta", {"epsilon": 0.0}, r"epsilon = 0\.0"),
        ("nadam", {"momentum_decay": -1.0}, r"momentum_decay = -1\.0"),
        ("lion", {"beta1": 1.0}, r"beta1 = 1\.0"),
        ("lion", {"beta2": -0.1}, r"beta2 = -0\.1"),
        ("lion", {"beta2": 1.0}, r"beta2 = 1\.0"),
        ("muon", {"momentum": 1.0}, r"momentum = 1\.0"),
        ("muon", {"iterations": 0}, "iterations = 0"),
        ("muon", {"adam_rate": -1.0}, r"adam_rate = -1\.0"),
        ("muon", {"adam_beta1": 1.0}, r"adam_beta1 = 1\.0"),
        ("muon", {"adam_beta2": 2.0}, r"adam_beta2 = 2\.0"),
        ("muon", {"adam_epsilon": 0.0}, r"adam_epsilon = 0\.0"),
        ("lbfgs", {"memory": 0}, "memory = 0"),
        ("lbfgs", {"tolerance": -1.0}, r"tolerance = -1\.0"),
        ("lbfgs", {"searches": 0}, "searches = 0"),
        ("lbfgs", {"learning_rate": 0.1}, r"learning_rate = 0\.1; lbfgs"),
        ("lbfgs", {"clip_norm": 1.0}, r"clip_norm = 1\.0; lbfgs"),
        ("lbfgs", {"average": EMA()}, "average = .*lbfgs"),
    ],
)
def test_range_checks(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Optimizer.table[name](**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rate": "fast"}, "learning_rate = 'fast'"),
        ({"learning_rate": Cosine}, "is the class Cosine"),
        ({"decay_all": 1}, "decay_all = 1"),
        ({"nesterov": 1}, "nesterov = 1"),
        ({"average": 3}, "average is 3"),
        ({"rate_multipliers": 3}, "rate_multipliers is 3"),
        ({"decay_multipliers": 3}, "decay_multipliers is 3"),
        ({"accumulate": 2.5}, "accumulate = 2.5"),
    ],
)
def test_type_checks(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputTypeError, match=message):
        SGD(**options)


@pytest.mark.parametrize("name", sorted(Optimizer.table))
def test_common_checks_and_no_changes(name: str) -> None:
    for options in ({"learning_rate": -1.0}, {"weight_decay": -1.0}, {"clip_norm": 0.0}):
        with pytest.raises(InputError, match=f"{next(iter(options))} = "):
            Optimizer.table[name](**options)
    with pytest.raises(AttributeError, match="cannot assign"):
        Optimizer.table[name]().weight_decay = 1.0


@pytest.mark.parametrize("name", sorted(Optimizer.table))
def test_survives_json(name: str) -> None:
    options: dict[str, Any] = {"weight_decay": 0.25}
    if name != "lbfgs":
        options |= {
            "learning_rate": Warmup(10, Cosine(0.1)), "average": SWA(every=3), "accumulate": 2,
            "rate_multipliers": {"bias": 2.0, "0.W": 0.5}, "clip_norm": 1.0,
            "decay_multipliers": {"0": 0.25},
        }  # fmt: skip
    made = Optimizer.table[name](**options)
    again = Record.from_config(json.loads(json.dumps(made.config())))
    assert again == made
    assert type(again) is type(made)
    assert Optimizer.table[name]() != made


@pytest.mark.parametrize(
    ("name", "flag"), [("muon", "nesterov"), ("lamb", "adapt"), ("rmsprop", "centered")]
)
def test_flags_are_flags(name: str, flag: str) -> None:
    with pytest.raises(InputTypeError, match=f"{flag} = 1 is a int; it must be True or False"):
        Optimizer.table[name](**{flag: 1})


def test_names_and_instances() -> None:
    assert Optimizer.resolve("adamw") == Optimizer.table["adamw"]()
    assert Adam(1e-2).learning_rate == 1e-2
    with pytest.raises(TypeError, match="positional"):
        Adam(1e-2, 0.9)
    with pytest.raises(UnknownNameError, match="did you mean 'adam'"):
        Optimizer.resolve("adamm")


def test_what_waits_for_the_length_of_the_run() -> None:
    """The average or a schedule, either alone."""
    assert Adam(average=SWA()).open
    assert Adam(Cosine(0.1)).open
    assert not Adam(Cosine(0.1, 5), average=SWA(3)).open
    resolved = Adam(average=SWA()).resolved(0, 8)
    assert resolved.average == SWA(6)
    assert not resolved.open
    assert Adam(Cosine(0.1)).resolved(0, 8).average is None
    assert Adam(Cosine(0.1), average=EMA()).resolved(0, 8).average == EMA()


def test_defaults_of_lbfgs() -> None:
    rule = LBFGS()
    assert (rule.memory, rule.tolerance, rule.searches) == (10, 1e-5, 20)


def test_defaults() -> None:
    """The usual ones; those of the rate, of weight decay and of the two momenta."""
    table = Optimizer.table
    rates = {name: table[name]().learning_rate for name in table}
    assert rates == {
        "sgd": 0.1, "momentum": 0.01, "nesterov": 0.01, "adagrad": 0.01, "rmsprop": 0.01,
        "adadelta": 1.0, "adam": 1e-3, "adam_hat": 1e-3, "adamw": 1e-3, "amsgrad": 1e-3,
        "nadam": 2e-3, "radam": 1e-3,
        "adamax": 2e-3, "lion": 1e-4, "lamb": 1e-3, "muon": 0.02, "lbfgs": 1.0,
    }  # fmt: skip
    decays = {name: table[name]().weight_decay for name in table}
    assert {name: d for name, d in decays.items() if d} == {"adamw": 0.01, "lamb": 0.01}
    muon, lbfgs = Muon(), LBFGS()
    assert (muon.adam_rate, muon.adam_beta1, muon.adam_epsilon) == (3e-4, 0.9, 1e-10)
    assert (lbfgs.memory, lbfgs.tolerance, lbfgs.searches) == (10, 1e-5, 20)
    for name in table:
        made = table[name]()
        assert (made.accumulate, made.decay_all, made.rate_multipliers) == (1, False, ())
        assert made.decay_multipliers == ()
        assert made.clip_value is made.clip_norm is made.average is None
    assert Constant(0.5).rates(np.ones(2)).tolist() == [0.5, 0.5]
