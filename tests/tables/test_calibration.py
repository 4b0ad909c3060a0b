"""Temperatures minimise the log loss; intervals hold the share that they promise."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mlpx.errors import InputError
from mlpx.tables.calibration import MOST_KEPT, Conformal, temperature


def log_loss(z: np.ndarray, y: np.ndarray) -> float:
    z = z - z.max(axis=1, keepdims=True)
    return float((np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(y)), y]).mean())


def classes(n: int, k: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits (n, k) and classes drawn with exactly their probabilities."""
    draw = np.random.default_rng(seed)
    z = 2 * draw.normal(size=(n, k))
    return z, (z + draw.gumbel(size=(n, k))).argmax(axis=1)


@pytest.mark.parametrize("true", [0.25, 1.0, 4.0])
@pytest.mark.parametrize("k", [2, 5])
def test_the_temperature_of_logits_that_are_too_sure(k: int, true: float) -> None:
    z, y = classes(20_000, k)
    found = temperature((z * true).astype(np.float32), y)
    assert found == pytest.approx(true, rel=0.05)
    for other in (0.98, 1.02):
        assert log_loss(z * true / found, y) <= log_loss(z * true / (found * other), y)


def test_shifts_and_large_logits_change_nothing() -> None:
    z, y = classes(500, 3)
    shifted = z + 1e4 * np.arange(len(z))[:, None]
    assert temperature(shifted, y) == pytest.approx(temperature(z, y), rel=1e-6)


def test_few_rows_that_are_all_right_do_not_make_a_model_sure() -> None:
    """The more of them there are, the surer; none can say more than the bounds."""
    z, _ = classes(20_000, 3)
    found = [temperature(z[:n], z[:n].argmax(axis=1)) for n in (5, 50, 20_000)]
    assert 1 > found[0] > 0.5 > found[1] > 0.2 > found[2]
    assert temperature(1e-3 * z, z.argmax(axis=1)) == pytest.approx(0.05)
    assert temperature(1e3 * z, z.argmin(axis=1)) == pytest.approx(20)


def test_a_temperature_is_the_mode_of_its_posterior() -> None:
    z, y = classes(30, 3)
    z, found = 3 * z, temperature(3 * z, y)

    def posterior(t: float) -> float:
        return 30 * log_loss(z / t, y) + np.log(t) ** 2 / (2 * 0.5**2)

    assert posterior(found) < min(posterior(found / 1.001), posterior(found * 1.001))
    assert found != pytest.approx(1, abs=0.1)


def test_one_output_is_the_logit_of_the_second_class() -> None:
    z, y = classes(300, 2)
    single = 2.5 * (z[:, 1:] - z[:, :1])
    assert temperature(single, y) == pytest.approx(temperature(2.5 * z, y), rel=1e-9)


def test_rows_count_by_their_weights() -> None:
    z, y = classes(300, 3)
    w = np.repeat([0.0, 2.0], 150)
    assert temperature(z, y, w) == pytest.approx(temperature(z[150:], y[150:]), rel=1e-9)
    w = np.repeat([1.0, 50.0], 150)  # the first half is all wrong, the second all right
    odd = np.where(w > 1, z.argmax(axis=1), z.argmin(axis=1))
    assert temperature(z, odd, w) < 1 < temperature(z, odd, w[::-1])


@pytest.mark.parametrize("coverage", [0.5, 0.9, 0.95])
@pytest.mark.parametrize("n", [40, 999, 30_000])
def test_intervals_hold_what_they_promise(n: int, coverage: float) -> None:
    """Over many draws of validation rows; below by no more than chance, above by one row's share
    and what is not kept.
    """
    draw, held = np.random.default_rng(n), []
    for _ in range(40):
        y = draw.standard_t(3, size=(n,))
        margin = Conformal.of(y, np.zeros(n), np.zeros(n)).margin(coverage)
        held.append(np.mean(abs(draw.standard_t(3, size=2000)) <= margin))
    scatter = 4 * np.sqrt(coverage * (1 - coverage) * (1 / n + 1 / 2000) / 40)
    assert coverage - scatter < np.mean(held) < coverage + scatter + 1 / n + 1 / MOST_KEPT


def test_around_quantiles_only_what_is_outside_counts() -> None:
    y = np.array([0.0, 1.0, 2.0, 3.0])
    found = Conformal.of(y, low=y - 1, high=y + np.array([1.0, 1.0, 1.0, -0.5]))
    assert found.scores == (-1.0, -1.0, -1.0, 0.5)
    assert found.margin(0.6) == -1.0
    assert found.margin(0.8) == 0.5


def test_the_rank_is_that_of_the_definition() -> None:
    """The ceil((n + 1) coverage)-th smallest; 20 * 0.95 is 19, whatever a float makes of it."""
    found = Conformal.of(np.arange(1.0, 20.0), np.zeros(19), np.zeros(19))
    assert [found.margin(c) for c in (0.05, 0.5, 0.95)] == [1, 10, 19]
    with pytest.raises(
        InputError, match=r"coverage = 0.96 needs at least 24 validation rows; .* 19"
    ):
        found.margin(0.96)
    with pytest.raises(InputError, match="coverage"):
        found.margin(1.0)


def test_as_many_rows_as_it_says_are_enough() -> None:
    found = Conformal.of(np.arange(8.0), np.zeros(8), np.zeros(8))
    with pytest.raises(InputError, match=r"coverage = 0.9 needs at least 9 validation rows; .* 8"):
        found.margin(0.9)
    assert Conformal.of(np.arange(9.0), np.zeros(9), np.zeros(9)).margin(0.9) == 8


def test_intervals_are_never_turned_round() -> None:
    low, high = np.array([0.0, 0.0]), np.array([4.0, 1.0])
    narrower = Conformal(3, (-1.0, -1.0, -1.0), (1, 2, 3))
    assert narrower.widen(low, high, coverage=0.5).tolist() == [[1.0, 3.0], [0.5, 0.5]]
    wider = Conformal(3, (1.0, 2.0, 3.0), (1, 2, 3))
    assert wider.widen(low, high, coverage=0.5).tolist() == [[-2.0, 6.0], [-2.0, 3.0]]


def test_few_are_kept_of_many_and_the_next_larger_is_taken() -> None:
    scores = np.sort(np.random.default_rng(1).exponential(size=50_000))
    found = Conformal.of(scores, np.zeros(50_000), np.zeros(50_000))
    assert len(found.scores) <= MOST_KEPT
    assert found.scores[-1] == scores[-1]
    for coverage in np.linspace(0.01, 0.999, 50):
        exact = scores[int(np.ceil(50_001 * coverage)) - 1]
        assert exact <= found.margin(coverage) <= exact + 0.05 * exact + 0.01


def test_comes_back_from_json() -> None:
    found = Conformal.of(*np.random.default_rng(2).normal(size=(3, 30)))
    assert Conformal.from_config(json.loads(json.dumps(found.config()))) == found


@pytest.mark.parametrize(
    ("wrong", "told"),
    [({"scores": [2.0, 1.0, 3.0]}, "ascend together"), ({"ranks": [1, 2]}, "ascend together"),
     ({"scores": [1.0, 2.0, float("nan")]}, "ascend together"),
     ({"ranks": [1, 1, 3]}, "do not rise"),
     ({"ranks": [0, 1, 3]}, "do not rise"), ({"rows": 5}, "do not rise"),
     ({"scores": [], "ranks": []}, "do not rise"), ({"ranks": [1, 2.5, 3]}, "no whole number"),
     ({"rows": "3"}, "no whole number"), ({"rows": float("inf")}, "no whole number"),
     ({"rows": 10**300, "ranks": [1, 2, 10**300]}, "wanted at most")],
)  # fmt: skip
def test_what_no_rows_can_give_is_refused(wrong: dict, told: str) -> None:
    good = {"rows": 3, "scores": [1.0, 2.0, 3.0], "ranks": [1, 2, 3]}
    Conformal.from_config(good)
    with pytest.raises((ValueError, TypeError), match=told):
        Conformal.from_config({**good, **wrong})
