"""L-BFGS has the bits of SciPy's, in one go and in pieces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

pytest.importorskip("scipy")
from scipy.optimize import minimize, rosen, rosen_der

from mlpx.training import minimiser
from mlpx.training.minimiser import (
    COUNT,
    HEAD,
    KNOWN,
    TAIL,
    Limits,
    Minimiser,
    Minimum,
    known_setulb,
)

Function = Callable[[np.ndarray], tuple[float, np.ndarray]]


def valley(x: np.ndarray) -> tuple[float, np.ndarray]:
    return float(rosen(x)), rosen_der(x)


def kink(x: np.ndarray) -> tuple[float, np.ndarray]:
    """Its line searches fail, and the pairs are discarded."""
    return float(np.abs(x).sum()), np.sign(x)


def waves(x: np.ndarray) -> tuple[float, np.ndarray]:
    """It is concave in between."""
    return float((np.cos(3 * x) + 0.01 * x**2).sum()), -3 * np.sin(3 * x) + 0.02 * x


def cliff(x: np.ndarray) -> tuple[float, np.ndarray]:
    return float("nan") if abs(x[0]) > 1.5 else float(rosen(x)), rosen_der(x)


def uphill(x: np.ndarray) -> tuple[float, np.ndarray]:
    """The gradient has the wrong sign."""
    return float((x**2).sum()), -2 * x


def slope(x: np.ndarray) -> tuple[float, np.ndarray]:
    """After the first steps no more pairs are made, down to the plain."""
    h = np.where(x > -10, (x + 10) ** 2 / 2 + x, x).sum()
    return max(float(h), -2e11), np.maximum(x + 10, 0) + 1 if h > -2e11 else np.zeros(len(x))


FUNCTIONS = (valley, kink, waves, cliff, uphill, slope)
LIMITS: dict[str, dict[str, Any]] = {
    "SciPy's": {},
    "iterations": {"maxiter": 3},
    "evaluations": {"maxfun": 6},
    "searches": {"maxls": 2},
    "no tolerance": {"gtol": 0.0, "ftol": 0.0, "maxiter": 60},
    "gradient": {"gtol": 1e6},
}
MESSAGES = {
    "CONVERGENCE: NORM OF PROJECTED GRADIENT <= PGTOL",
    "CONVERGENCE: RELATIVE REDUCTION OF F <= FACTR*EPSMCH",
    "STOP: TOTAL NO. OF F,G EVALUATIONS EXCEEDS LIMIT",
    "STOP: TOTAL NO. OF ITERATIONS REACHED LIMIT",
    "ABNORMAL: ",
}


class Killed(BaseException):
    pass


def start(n: int = 5) -> np.ndarray:
    return 2 * np.random.default_rng(n).normal(size=n)


def never() -> bool:
    return False


def bits(found: Any) -> tuple[Any, ...]:
    """Of our result or SciPy's."""
    f = np.float64(found.fun).tobytes()
    return found.x.tobytes(), f, found.nit, found.nfev, found.status, found.message


def in_one_go(function: Function, limits: Limits, memory: int = 3) -> tuple[Minimum, list[bytes]]:
    path: list[bytes] = []
    one = Minimiser(start(), memory=memory)
    found = one.run(function, lambda x: path.append(x.tobytes()), never, limits)
    return found, path


def in_pieces(function: Function, limits: Limits, memory: int = 3) -> Minimum:
    """By a new minimiser for each iteration."""

    def killed(x: np.ndarray) -> None:
        states.append(one.state())
        raise Killed

    states: list[dict[str, Any]] = []
    while True:
        one = Minimiser(start(), memory=memory)
        if states:
            one = Minimiser(np.zeros(5), memory=memory)
            assert one.restore(states[-1])
        try:
            return one.run(function, killed, never, limits)
        except Killed:
            pass


def test_the_installed_scipy_is_known() -> None:
    """If not: compare its `_minimize_lbfgsb` with ours, try these tests, and extend KNOWN."""
    assert known_setulb() is not None, f"SciPy is not one of {KNOWN}"


@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_it_is_scipys_in_one_go_and_in_pieces(function: Function, limits: str) -> None:
    given = Limits(**LIMITS[limits])
    path: list[bytes] = []
    scipys = minimize(
        function, start(), method="L-BFGS-B", jac=True, options={**asdict(given), "maxcor": 3},
        callback=lambda intermediate_result: path.append(intermediate_result.x.tobytes()),
    )  # fmt: skip
    ours, steps = in_one_go(function, given)
    assert bits(ours) == bits(scipys)
    assert steps == path
    assert bits(in_pieces(function, given)) == bits(scipys)


def test_these_functions_end_in_every_way() -> None:
    ends = {
        in_one_go(f, Limits(**limits))[0].message for f in FUNCTIONS for limits in LIMITS.values()
    }
    assert ends == MESSAGES


def test_it_is_halted_after_an_iteration_and_goes_on() -> None:
    one, done = Minimiser(start(), memory=3), list[bytes]()
    halted = one.run(valley, lambda x: done.append(x.tobytes()), lambda: len(done) == 4, Limits())
    assert (halted.nit, halted.status, halted.message) == (4, 2, "STOP: CALLBACK REQUESTED HALT")
    assert halted.x.tobytes() == done[-1]
    whole, path = in_one_go(valley, Limits())
    assert bits(one.run(valley, lambda x: done.append(x.tobytes()), never, Limits())) == bits(whole)
    assert done == path


def test_another_scipys_limits_count_from_the_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = in_one_go(valley, Limits(maxiter=6))
    monkeypatch.setattr(minimiser, "KNOWN", ((0, 1), (0, 9)))
    assert bits(in_one_go(valley, Limits(maxiter=6))[0]) == bits(whole)
    states: list[dict[str, Any]] = []
    one = Minimiser(start(), memory=3)
    one.run(valley, lambda x: states.append(one.state()), never, Limits(maxiter=6))
    for limits, wanted in (({"maxiter": 6}, (6, 1)), ({"maxfun": states[1]["nfev"] + 2}, (4, 1))):
        again = Minimiser(np.zeros(5), memory=3)
        assert not again.restore(states[1])
        found = again.run(valley, lambda x: None, never, Limits(**limits))
        assert (found.nit, found.status) == wanted


def test_what_was_kept_does_not_change_afterwards() -> None:
    states: list[dict[str, Any]] = []
    one = Minimiser(start(), memory=3)
    found = one.run(valley, lambda x: states.append(one.state()), never, Limits())
    again = Minimiser(np.zeros(5), memory=3)
    again.restore(states[7])
    assert bits(again.run(valley, lambda x: None, never, Limits())) == bits(found)


def kept(**changed: Any) -> dict[str, Any]:
    """The state after four iterations, changed."""
    one, done = Minimiser(start(), memory=3), list[int]()
    one.run(valley, lambda x: done.append(1), lambda: len(done) == 4, Limits())
    state = one.state()
    return {**state, "work": {**state["work"], **changed.pop("work", {})}, **changed}


@pytest.mark.parametrize(
    "changed",
    [
        {"x": np.zeros(4)},
        {"g": np.zeros((5, 1))},
        {"f": "none"},
        {"nit": -1},
        {"nfev": 1.5},
        {"ended": [0]},
        {"work": {"wa": np.zeros(7)}},
        {"work": {"dsave": None}},
        {"work": {"updates": -1}},
        {"work": {"updates": True}},
        {"work": {"updates": 2**31 - 1}},
    ],
    ids=str,
)
def test_what_cannot_have_been_kept_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises((LookupError, TypeError, ValueError)):
        Minimiser(np.zeros(5), memory=3).restore(kept(**changed))


def test_no_more_is_allocated_than_was_kept() -> None:
    one = Minimiser(np.zeros(5), memory=10**12)
    with pytest.raises(ValueError, match=r"wa has the shape \(\d+,\), wanted \(\d{14,},\)"):
        one.restore(kept())


@pytest.mark.parametrize("updates", [0, 1, 3, 4, 2**30])
@pytest.mark.parametrize("number", [0.0, 1.0, -1e300, np.nan, np.inf])
def test_whatever_numbers_were_kept_they_are_no_indices(updates: int, number: float) -> None:
    """So a file that someone has made up leads nowhere outside the arrays."""
    sizes = {name: array.size for name, array in kept()["work"].items() if name != "updates"}
    work = {name: np.full(size, number) for name, size in sizes.items()} | {"updates": updates}
    one = Minimiser(np.zeros(5), memory=3)
    assert one.restore(kept(work=work, nit=2**30))
    assert one.work is not None
    one.run(valley, lambda x: None, never, Limits(maxiter=2**30 + 3))
    fresh = Minimiser(start(), memory=3)
    fresh.run(valley, lambda x: None, lambda: True, Limits())
    assert fresh.work is not None
    assert np.array_equal(one.work.iwa, fresh.work.iwa)
    assert np.array_equal(one.work.isave[:16], fresh.work.isave[:16])
    assert all(0 <= one.work.isave[place] <= 3 for place in (HEAD, COUNT, TAIL))
