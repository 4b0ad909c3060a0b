"""Every schedule against a plain loop; hyperparameters and their checks."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from reference import schedules as loops

from mlpx.errors import InputError, InputTypeError
from mlpx.optimizers import SGD
from mlpx.records import Record
from mlpx.schedules import (
    Constant,
    Cosine,
    CosLog,
    Cyclic,
    Exponential,
    FlatCosine,
    InverseScaling,
    OneCycle,
    Polynomial,
    Product,
    ReduceOnPlateau,
    Schedule,
    Sequential,
    Step,
    WarmRestarts,
    Warmup,
)

CASES: list[tuple[Schedule, Callable[[int], float]]] = [
    (Constant(0.3), partial(loops.constant, rate=0.3)),
    (Step(0.3, 7, 0.5), partial(loops.step, rate=0.3, every=7, factor=0.5)),
    (Exponential(0.3, 7, 0.5), partial(loops.exponential, rate=0.3, every=7, factor=0.5)),
    (Exponential(0.1, 5, 3.0), partial(loops.exponential, rate=0.1, every=5, factor=3.0)),
    (Polynomial(0.3, 40), partial(loops.polynomial, rate=0.3, steps=40, final=0, power=1)),
    (
        Polynomial(0.3, 40, 0.05, 2.0),
        partial(loops.polynomial, rate=0.3, steps=40, final=0.05, power=2),
    ),
    (InverseScaling(0.3, 0.7), partial(loops.inverse_scaling, rate=0.3, power=0.7)),
    (Cosine(0.3, 40, 0.02), partial(loops.cosine, rate=0.3, steps=40, final=0.02)),
    (FlatCosine(0.3, 40), partial(loops.flat_cosine, rate=0.3, steps=40, flat=0.5, final=0)),
    (
        FlatCosine(0.3, 40, flat=0.2, final=0.02),
        partial(loops.flat_cosine, rate=0.3, steps=40, flat=0.2, final=0.02),
    ),
    (CosLog(0.3, 60), partial(loops.cos_log, rate=0.3, steps=60, cycles=4)),
    (CosLog(0.3, 60, cycles=2), partial(loops.cos_log, rate=0.3, steps=60, cycles=2)),
    (
        WarmRestarts(0.3, 7, 2.0, 0.01),
        partial(loops.warm_restarts, rate=0.3, period=7, factor=2, final=0.01),
    ),
    (
        WarmRestarts(0.3, 7, 1.0),
        partial(loops.warm_restarts, rate=0.3, period=7, factor=1, final=0),
    ),
    (
        OneCycle(0.3, 50, warm=0.3, start=10, end=100),
        partial(loops.one_cycle, rate=0.3, steps=50, warm=0.3, start=10, end=100),
    ),
    (
        Cyclic(0.1, 0.4, up=5),
        partial(loops.cyclic, rate=0.1, peak=0.4, up=5, down=5, factor=1),
    ),
    (
        Cyclic(0.1, 0.4, up=5, down=8, factor=0.5),
        partial(loops.cyclic, rate=0.1, peak=0.4, up=5, down=8, factor=0.5),
    ),
    (
        Warmup(9, Cosine(0.3, 40), start=0.2),
        partial(
            loops.warmup, lead=9, start=0.2,
            then=partial(loops.cosine, rate=0.3, steps=40, final=0),
        ),
    ),
    (Warmup(9, 0.3), partial(loops.warmup, lead=9, then=lambda t: 0.3)),
    (
        Sequential((Constant(0.5), Step(0.3, 4, 0.1), Cosine(0.1, 20)), (6, 11)),
        partial(
            loops.sequential,
            schedules=[
                lambda t: 0.5,
                partial(loops.step, rate=0.3, every=4, factor=0.1),
                partial(loops.cosine, rate=0.1, steps=20, final=0),
            ],
            lengths=[6, 11],
        ),
    ),
    (
        Product((Cosine(2.0, 30), Step(0.3, 7, 0.5))),
        lambda t: loops.cosine(t, 2.0, 30, 0) * loops.step(t, 0.3, 7, 0.5),
    ),
    (ReduceOnPlateau(0.3), partial(loops.constant, rate=0.3)),
]  # fmt: skip


def test_the_table_is_complete() -> None:
    assert {type(schedule) for schedule, _ in CASES} == set(Schedule.table.values())


@pytest.mark.parametrize(("schedule", "loop"), CASES, ids=lambda case: getattr(case, "name", ""))
def test_against_loops(schedule: Schedule, loop: Callable[[int], float]) -> None:
    t = np.arange(1.0, 101.0)
    wanted = [loop(int(step)) for step in t]
    found = schedule.rates(t)
    assert found.dtype == np.float64
    # The cosine near its end is a difference of two numbers of the size of the rate.
    np.testing.assert_allclose(found, wanted, rtol=1e-13, atol=1e-15)
    parts = [schedule.rates(t[:30]), schedule.rates(t[30:31]), schedule.rates(t[31:])]
    np.testing.assert_array_equal(np.concatenate(parts), found)


@pytest.mark.parametrize("schedule", [case[0] for case in CASES], ids=lambda s: s.name)
def test_survives_json(schedule: Schedule) -> None:
    again = Record.from_config(json.loads(json.dumps(schedule.config())))
    assert again == schedule
    np.testing.assert_array_equal(
        again.rates(np.arange(1.0, 50)), schedule.rates(np.arange(1.0, 50))
    )
    optimizer = SGD(schedule)
    assert Record.from_config(json.loads(json.dumps(optimizer.config()))) == optimizer


def test_lists_will_do() -> None:
    parts = (Constant(0.1), Cosine(0.2))
    assert Sequential(list(parts), [5]) == Sequential(parts, (5,))
    assert Product(list(parts)) == Product(parts)


def test_known_points() -> None:
    ends = np.array([1.0, 21.0, 41.0])
    np.testing.assert_allclose(Cosine(0.4, 40).rates(ends), [0.4, 0.2, 0], atol=1e-16)
    ends = np.array([1.0, 21.0, 31.0, 41.0, 99.0])
    np.testing.assert_allclose(FlatCosine(0.4, 40).rates(ends), [0.4, 0.4, 0.2, 0, 0], atol=1e-16)
    waves = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 99.0])  # the ends of four waves over 15 steps
    np.testing.assert_allclose(CosLog(0.4, 15).rates(waves), np.zeros(6), atol=1e-15)
    tops = 1 + 1000 * (2.0 ** (np.arange(4) + 0.5) - 1)
    np.testing.assert_allclose(CosLog(0.4, 15_000).rates(tops), np.full(4, 0.4))
    one = OneCycle(0.5, 100).rates(np.array([1.0, 30.0, 100.0, 500.0]))
    np.testing.assert_allclose(one, [0.02, 0.5, 2e-6, 2e-6], rtol=1e-9)
    np.testing.assert_allclose(
        Warmup(4, 0.8).rates(np.arange(1.0, 7)), [0.2, 0.4, 0.6, 0.8, 0.8, 0.8]
    )
    np.testing.assert_allclose(
        OneCycle(1.0, 2).rates(np.arange(1.0, 4)), [1.0, 4e-6, 4e-6]
    )  # too short to rise


def test_the_run_gives_the_length() -> None:
    assert not Cosine(0.1, 5).open
    assert Cosine(0.1).open
    assert Warmup(3, Cosine(0.1)).open
    assert not Warmup(3, 0.1).open
    assert Cosine(0.1).resolved(40) == Cosine(0.1, 40)
    assert Cosine(0.1, 7).resolved(40) == Cosine(0.1, 7)
    assert Constant(0.1).resolved(40) == Constant(0.1)
    assert Warmup(10, Cosine(0.1)).resolved(40) == Warmup(10, Cosine(0.1, 30))
    assert Warmup(50, Cosine(0.1)).resolved(40) == Warmup(50, Cosine(0.1, 1))
    assert Warmup(10, 0.1).resolved(40) == Warmup(10, 0.1)
    made = Sequential((Cosine(0.1), Polynomial(0.2)), (15,)).resolved(40)
    assert made == Sequential((Cosine(0.1, 15), Polynomial(0.2, 25)), (15,))
    assert Product((Cosine(0.1), OneCycle(1.0))).resolved(9) == Product(
        (Cosine(0.1, 9), OneCycle(1.0, 9))
    )
    with pytest.raises(InputError, match=r"cosine has steps = None.*give a number of steps"):
        Cosine(0.1).rates(np.ones(1))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Constant(-1.0), r"rate = -1\.0; it must be in \[0, inf\)"),
        (lambda: Step(0.1, 0), "every = 0"),
        (lambda: Step(0.1, 5, 1.5), r"factor = 1\.5"),
        (lambda: Step(-0.1), r"rate = -0\.1"),
        (lambda: Exponential(0.1, 0), "every = 0"),
        (lambda: Exponential(0.1, 5, 0.0), r"factor = 0\.0"),
        (lambda: Exponential(-0.1), r"rate = -0\.1"),
        (lambda: Polynomial(0.1, 0), "steps = 0"),
        (lambda: Polynomial(0.1, 5, -1.0), r"final = -1\.0"),
        (lambda: Polynomial(0.1, 5, 0.0, 0.0), r"power = 0\.0"),
        (lambda: Polynomial(-0.1), r"rate = -0\.1"),
        (lambda: InverseScaling(-1.0), r"rate = -1\.0"),
        (lambda: InverseScaling(1.0, -1.0), r"power = -1\.0"),
        (lambda: Cosine(-1.0), r"rate = -1\.0"),
        (lambda: Cosine(0.1, -5), "steps = -5"),
        (lambda: Cosine(0.1, 5, -1.0), r"final = -1\.0"),
        (lambda: FlatCosine(-1.0), r"rate = -1\.0"),
        (lambda: FlatCosine(0.1, 0), "steps = 0"),
        (lambda: FlatCosine(0.1, 5, 1.0), r"flat = 1\.0"),
        (lambda: FlatCosine(0.1, 5, -0.1), r"flat = -0\.1"),
        (lambda: FlatCosine(0.1, 5, 0.1, -1.0), r"final = -1\.0"),
        (lambda: CosLog(-1.0), r"rate = -1\.0"),
        (lambda: CosLog(0.1, 0), "steps = 0"),
        (lambda: CosLog(0.1, 5, 0), "cycles = 0"),
        (lambda: WarmRestarts(-1.0), r"rate = -1\.0"),
        (lambda: WarmRestarts(0.1, 0), "period = 0"),
        (lambda: WarmRestarts(0.1, 5, 0.5), r"factor = 0\.5"),
        (lambda: WarmRestarts(0.1, 5, 1.0, -1.0), r"final = -1\.0"),
        (lambda: OneCycle(-1.0), r"rate = -1\.0"),
        (lambda: OneCycle(0.1, 0), "steps = 0"),
        (lambda: OneCycle(0.1, 5, warm=0.0), r"warm = 0\.0"),
        (lambda: OneCycle(0.1, 5, start=0.5), r"start = 0\.5"),
        (lambda: OneCycle(0.1, 5, end=0.5), r"end = 0\.5"),
        (lambda: Cyclic(-1.0), r"rate = -1\.0"),
        (lambda: Cyclic(0.5, 0.1), r"peak = 0\.1"),
        (lambda: Cyclic(0.1, 0.5, up=0), "up = 0"),
        (lambda: Cyclic(0.1, 0.5, down=0), "down = 0"),
        (lambda: Cyclic(0.1, 0.5, factor=0.0), r"factor = 0\.0"),
        (lambda: Cyclic(0.1, 0.5, factor=1.1), r"factor = 1\.1"),
        (lambda: Warmup(5, 0.1, start=1.1), r"start = 1\.1"),
        (lambda: ReduceOnPlateau(least=1.1), r"least = 1\.1"),
        (lambda: Warmup(0), "lead = 0"),
        (lambda: Warmup(5, -0.1), r"then = -0\.1"),
        (lambda: Warmup(5, 0.1, start=2.0), r"start = 2\.0"),
        (lambda: Sequential((Constant(),), (5,)), r"1 schedules need 0"),
        (lambda: Sequential((), ()), "schedules is empty"),
        (lambda: Sequential((Constant(), Constant()), (0,)), "lengths = 0"),
        (lambda: Product(()), "schedules is empty"),
        (lambda: ReduceOnPlateau(-1.0), r"rate = -1\.0"),
        (lambda: ReduceOnPlateau(factor=1.0), r"factor = 1\.0"),
        (lambda: ReduceOnPlateau(patience=-1), "patience = -1"),
        (lambda: ReduceOnPlateau(min_change=-1.0), r"min_change = -1\.0"),
        (lambda: ReduceOnPlateau(cooldown=-1), "cooldown = -1"),
        (lambda: ReduceOnPlateau(least=2.0), r"least = 2\.0"),
        (lambda: ReduceOnPlateau(mode="up"), "mode = 'up'"),
    ],
)
def test_range_checks(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


def test_only_schedules_are_composed() -> None:
    for make in (
        lambda: Product((0.1,)),
        lambda: Sequential((0.1, Constant()), (3,)),
        lambda: Product(3),
    ):
        with pytest.raises(InputTypeError, match=r"wanted schedules such as Constant\(0\.1\)"):
            make()


def test_defaults() -> None:
    """What `Cosine()` and its like mean; and no record can be changed once it is made."""
    defaults = {
        "constant": {"rate": 1e-3},
        "step": {"rate": 1e-3, "every": 1000, "factor": 0.1},
        "exponential": {"rate": 1e-3, "every": 1000, "factor": 0.9},
        "polynomial": {"rate": 1e-3, "steps": None, "final": 0.0, "power": 1.0},
        "inverse_scaling": {"rate": 0.1, "power": 0.5},
        "cosine": {"rate": 1e-3, "steps": None, "final": 0.0},
        "flat_cosine": {"rate": 1e-3, "steps": None, "flat": 0.5, "final": 0.0},
        "cos_log": {"rate": 1e-3, "steps": None, "cycles": 4},
        "warm_restarts": {"rate": 1e-3, "period": 1000, "factor": 2.0, "final": 0.0},
        "one_cycle": {"rate": 1e-2, "steps": None, "warm": 0.3, "start": 25.0, "end": 1e4},
        "cyclic": {"rate": 1e-4, "peak": 1e-2, "up": 2000, "down": None, "factor": 1.0},
        "reduce_on_plateau": {
            "rate": 1e-3, "monitor": "loss", "factor": 0.1, "patience": 10, "min_change": 1e-4,
            "cooldown": 0, "least": 0.0, "mode": "min",
        },
        "warmup": {"lead": 100, "then": 1e-3, "start": 0.0},
        "sequential": {"schedules": (Constant(),), "lengths": ()},
        "product": {"schedules": (Constant(),)},
    }  # fmt: skip
    assert set(defaults) == set(Schedule.table)
    for name, wanted in defaults.items():
        made = Schedule.table[name]()
        assert {field: getattr(made, field) for field in wanted} == wanted
        with pytest.raises(AttributeError, match="cannot assign"):
            made.rate = 1.0
