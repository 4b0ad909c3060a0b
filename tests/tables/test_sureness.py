"""How sure estimators of tables are: quantiles, intervals and calibrated probabilities."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from small_tables import LABELS, SMALL, TABLE, VALUES

from mlpx import MLP
from mlpx.errors import InputError, InputTypeError, UnknownOptionError
from mlpx.kernels.losses import Quantile
from mlpx.tables import TableClassifier, TableRegressor, fit
from mlpx.tables.calibration import temperature
from mlpx.tables.presets import Plain, RealMLP, RealMLPS
from mlpx.tables.saved import TableModel
from mlpx.training.run_folder import save_run

pytestmark = pytest.mark.usefixtures("blank_pictures")

QUANTILES = (0.1, 0.5, 0.9)
ROWS = 3000


def spread(n: int, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """A table, values, and their standard deviation, which differs from row to row."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, (n, 2))
    deviation = np.where(x[:, 0] > 0, 5.0, 0.5)
    return (
        dict(zip("ab", x.T, strict=True)),
        100 + 8 * x[:, 1] + deviation * rng.normal(size=n),
        deviation,
    )


X, Y, _ = spread(ROWS, 0)
NEW, TRUE, DEVIATION = spread(8000, 1)
QUICK: dict[str, Any] = {
    "epochs": 25, "hidden_layer_sizes": (24,), "random_state": 0, "validation_fraction": 0.3,
}  # fmt: skip


@pytest.fixture(scope="module")
def quantiles() -> TableRegressor:
    return TableRegressor(**QUICK, quantiles=QUANTILES, intervals=True).fit(X, Y)


@pytest.fixture(scope="module")
def means() -> TableRegressor:
    return TableRegressor(**QUICK, intervals=True).fit(X, Y)


def within(ends: np.ndarray) -> np.ndarray:
    return (ends[:, 0] <= TRUE) & (ends[:, 1] >= TRUE)


# Quantiles.


def test_each_quantile_has_its_share_of_the_rows_below(quantiles: TableRegressor) -> None:
    found = quantiles.predict_quantiles(NEW)
    assert found.shape == (8000, 3)
    np.testing.assert_allclose((found >= TRUE[:, None]).mean(axis=0), QUANTILES, atol=0.04)
    between = found[:, 2] - found[:, 0]
    wide = DEVIATION > 1
    assert between[wide].mean() > 3 * between[~wide].mean()  # in truth ten times


def test_the_prediction_is_the_quantile_nearest_the_middle(quantiles: TableRegressor) -> None:
    found = quantiles.predict_quantiles(NEW)
    assert np.array_equal(quantiles.predict(NEW), found[:, 1])
    assert quantiles.score(NEW, TRUE) == pytest.approx(quantiles.evaluate(NEW, TRUE)["r2"].value)
    assert quantiles.score(NEW, TRUE) > 0.55
    for given, at in (((0.3, 0.7), 0), ((0.1, 0.2), 1), ((0.9,), 0), (0.25, 0), ([0.2, 0.6], 1)):
        fitted = TableRegressor(**SMALL, quantiles=given).fit(TABLE, VALUES)
        assert np.array_equal(fitted.predict(TABLE), fitted.predict_quantiles(TABLE)[:, at])


def test_quantiles_do_not_cross_and_stay_within_the_range() -> None:
    fitted = TableRegressor(**SMALL, quantiles=np.linspace(0.1, 0.9, 9)).fit(TABLE, VALUES)
    made = fitted._table
    raw = made.model.predict_logits(made.encode(fitted._rows(TABLE)))
    assert (np.diff(raw, axis=1) < 0).any()  # or this would not test anything
    found = fitted.predict_quantiles(TABLE)
    assert (np.diff(found, axis=1) >= 0).all()
    assert fitted.target_.low <= found.min() <= found.max() <= fitted.target_.high


@pytest.mark.parametrize("preset", [Plain(), RealMLP(), RealMLPS()])
def test_every_preset_learns_quantiles(preset: Any) -> None:
    fitted = TableRegressor(preset, **SMALL | {"epochs": 20}, quantiles=QUANTILES).fit(
        TABLE, VALUES
    )
    assert fitted.model_.loss == Quantile(QUANTILES)
    assert fitted.preset_.name == preset.name
    pinball = fitted.evaluate(TABLE, VALUES)["pinball_loss"].value
    best = np.quantile(VALUES, QUANTILES) - VALUES[:, None]  # of a constant for each
    q = np.array(QUANTILES)
    assert pinball < 0.8 * np.maximum(-q * best, (1 - q) * best).mean()


def test_the_pinball_loss_is_a_score_of_quantiles_alone(
    quantiles: TableRegressor, means: TableRegressor
) -> None:
    assert "pinball_loss" not in means.evaluate(NEW, TRUE)
    q, e = np.array(QUANTILES), TRUE[:, None] - quantiles.predict_quantiles(NEW)
    found = quantiles.evaluate(NEW, TRUE)["pinball_loss"]
    assert found.value == pytest.approx(np.where(e > 0, q * e, (q - 1) * e).mean())


@pytest.mark.parametrize(
    ("given", "error", "told"),
    [
        ((0.5, 0.1), InputError, r"quantiles = \(0.5, 0.1\); wanted each larger"),
        ((0.5, 0.5), InputError, "wanted each larger"),
        ((), InputError, r"quantiles = \(\)"),
        ((0.0, 0.5), InputError, r"quantiles = 0.0; it must be in \(0, 1\)"),
        ((0.5, 1.5), InputError, "quantiles = 1.5"),
        ("median", InputTypeError, "quantiles = 'median'"),
        (True, InputTypeError, "quantiles = True"),
    ],
)
def test_quantiles_that_are_none(given: Any, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        TableRegressor(**SMALL, quantiles=given).fit(TABLE, VALUES)


def test_quantiles_that_were_not_asked_for(means: TableRegressor) -> None:
    with pytest.raises(InputError, match="predicts no quantiles: train with quantiles="):
        means.predict_quantiles(NEW)


# Intervals.


@pytest.mark.parametrize("coverage", [0.5, 0.9])
@pytest.mark.parametrize("around", ["means", "quantiles"])
def test_intervals_hold_what_they_promise(
    around: str, coverage: float, request: pytest.FixtureRequest
) -> None:
    """Within four deviations of what chance leaves, in 900 validation rows and 8000 new ones."""
    ends = request.getfixturevalue(around).predict_interval(NEW, coverage)
    assert ends.shape == (8000, 2)
    assert (ends[:, 0] <= ends[:, 1]).all()
    chance = 4 * np.sqrt(coverage * (1 - coverage) * (1 / 900 + 1 / 8000))
    assert within(ends).mean() == pytest.approx(coverage, abs=chance)


def test_intervals_around_quantiles_follow_the_rows(
    means: TableRegressor, quantiles: TableRegressor
) -> None:
    same, own = (each.predict_interval(NEW, coverage=0.8) for each in (means, quantiles))
    widths = np.ptp(same, axis=1)
    np.testing.assert_allclose(widths, widths[0])
    np.testing.assert_allclose(same.mean(axis=1), means.predict(NEW))
    wide = DEVIATION > 1
    shares = [[within(ends)[kind].mean() for kind in (wide, ~wide)] for ends in (same, own)]
    assert shares[0][0] < 0.7
    assert shares[0][1] > 0.95  # all together 80 %, and not for either kind
    assert np.ptp(shares[1]) < 0.6 * np.ptp(shares[0])
    margins = own - quantiles.predict_quantiles(NEW)[:, [0, 2]]
    np.testing.assert_allclose(margins[:, 1], margins[0, 1], atol=1e-9)
    np.testing.assert_allclose(margins[:, 0], -margins[0, 1], atol=1e-9)


def test_intervals_are_by_the_rows_that_were_held_out() -> None:
    fitted = TableRegressor(**SMALL, intervals=True)
    fitted.fit(TABLE[:100], VALUES[:100], X_val=TABLE[100:], y_val=VALUES[100:])
    errors = np.sort(abs(fitted.predict(TABLE[100:]) - VALUES[100:]))
    ends = fitted.predict_interval(TABLE[:5], coverage=0.9)
    half = errors[int(np.ceil(61 * 0.9)) - 1]
    np.testing.assert_allclose((ends[:, 1] - ends[:, 0]) / 2, half)
    with pytest.raises(InputError, match=r"coverage = 0.99 needs at least 99 .* there were 60"):
        fitted.predict_interval(TABLE, coverage=0.99)
    for coverage in (0, 1.0, 1.2, float("nan")):
        with pytest.raises(InputError, match=r"coverage = .*; it must be in \(0, 1\)"):
            fitted.predict_interval(TABLE, coverage=coverage)


def test_intervals_that_were_not_asked_for() -> None:
    fitted = TableRegressor(**SMALL).fit(TABLE, VALUES)
    with pytest.raises(InputError, match="has no intervals: train with intervals=True"):
        fitted.predict_interval(TABLE)


# Probabilities.


def unsure(n: int, k: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Columns that say little of the class."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 8))
    return x, (x[:, :k] + 1.5 * rng.gumbel(size=(n, k))).argmax(axis=1)


@pytest.mark.parametrize("k", [2, 3])
def test_a_model_that_is_too_sure_is_calibrated(k: int) -> None:
    x, y = unsure(400, k, 0)
    new, true = unsure(4000, k, 1)
    sure: dict[str, Any] = {
        "preset": Plain(dropout=0.0, weight_decay=0.0), "epochs": 10, "learning_rate": 0.1,
        "hidden_layer_sizes": (48,), "random_state": 0, "validation_fraction": 0.3,
    }  # fmt: skip
    plain = TableClassifier(**sure).fit(x, y)
    fitted = TableClassifier(**sure, calibrated=True).fit(x, y)
    assert fitted._table.temperature > 1.2
    assert np.array_equal(fitted.model_.flat, plain.model_.flat)
    assert np.array_equal(fitted.predict(new), plain.predict(new))
    own = [each.predict_proba(new)[np.arange(4000), true] for each in (plain, fitted)]
    gain = np.log(own[1]) - np.log(own[0])
    assert gain.mean() > 0.02 + 4 * gain.std() / np.sqrt(4000)  # more than chance
    found = fitted.predict_proba(new)
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
    hotter, before = (np.log(p[:, 1] / p[:, 0]) for p in (found, plain.predict_proba(new)))
    np.testing.assert_allclose(hotter * fitted._table.temperature, before, atol=1e-4)


def test_the_temperature_is_by_the_weights_of_the_rows() -> None:
    new, y = TABLE[60:], LABELS[60:]
    fitted = TableClassifier(**SMALL, class_weight={"yes": 30.0}, calibrated=True).fit(
        TABLE[:60], LABELS[:60], X_val=new, y_val=y
    )
    made, yes = fitted._table, y == "yes"
    z = made.model.predict_logits(made.encode(fitted._rows(new)))
    wanted = temperature(z, yes.astype(int), np.where(yes, 30.0, 1.0))
    assert made.temperature == pytest.approx(wanted, rel=1e-6)
    assert made.temperature != pytest.approx(temperature(z, yes.astype(int)), rel=0.01)


# Both.


@pytest.mark.parametrize(
    ("estimator", "name"),
    [(TableClassifier(calibrated=True), "calibrated"), (TableRegressor(intervals=True), "interv")],
)
def test_validation_rows_are_needed(estimator: Any, name: str) -> None:
    y = LABELS if isinstance(estimator, TableClassifier) else VALUES
    estimator = clone(estimator).set_params(**SMALL)
    told = f"{name}.* = True needs validation rows, and there are none; "
    with pytest.raises(InputError, match=told + r"of fewer than 100 rows .* give X_val and y_val"):
        estimator.fit(TABLE[:99], y[:99])
    with pytest.raises(InputError, match=told + "set early_stopping=True, or give X_val"):
        clone(estimator).set_params(early_stopping=False).fit(TABLE, y)
    few = clone(estimator).set_params(early_stopping=False)
    few.fit(TABLE[:50], y[:50], X_val=TABLE[50:], y_val=y[50:])
    with pytest.raises(InputTypeError, match=f"{name}.* = 'yes'"):
        clone(estimator).set_params(**{estimator._asks: "yes"}).fit(TABLE, y)


def test_each_has_its_own_switches() -> None:
    with pytest.raises(UnknownOptionError, match="no option 'quantiles'"):
        TableClassifier(quantiles=QUANTILES)
    with pytest.raises(UnknownOptionError, match="no option 'calibrated'"):
        TableRegressor(calibrated=True)
    table = TABLE.assign(price=VALUES)
    fitted = fit(table, target="price", **SMALL, quantiles=QUANTILES, intervals=True)
    assert fitted.predict_interval(TABLE).shape == (len(TABLE), 2)


FITTED = [
    TableClassifier(**SMALL, calibrated=True).fit(TABLE, LABELS),
    TableRegressor(**SMALL, quantiles=QUANTILES, intervals=True).fit(TABLE, VALUES),
]


def said(fitted: Any) -> list[np.ndarray]:
    """All that an estimator says of the table."""
    if isinstance(fitted, TableClassifier):
        return [fitted.predict_proba(TABLE)]
    return [fitted.predict_quantiles(TABLE), fitted.predict_interval(TABLE, coverage=0.8)]


@pytest.mark.parametrize("fitted", FITTED, ids=["classifier", "regressor"])
def test_copies_and_files_say_the_same(fitted: Any, tmp_path: Path) -> None:
    fitted.save(tmp_path / "run")
    fitted.model_.save(tmp_path / "model.safetensors")
    save_run(tmp_path, fitted.model_, history=fitted.history_, config={"seed": 1})
    others = [
        copy.deepcopy(fitted),
        pickle.loads(pickle.dumps(fitted)),
        type(fitted).from_run(tmp_path / "run"),
        type(fitted).from_run(tmp_path),  # as of the command line
    ]
    wanted = said(fitted)
    for other in others:
        assert all(map(np.array_equal, said(other), wanted))
        for name in {fitted._asks, "quantiles"} & set(fitted.get_params()):
            assert getattr(other, name) == getattr(fitted, name)
    assert others[2].get_params() == fitted.get_params()
    assert others[2].report() == fitted.report()
    made = TableModel.of(MLP.load(tmp_path / "model.safetensors"))
    assert (made.temperature, made.conformal) == (
        fitted._table.temperature,
        fitted._table.conformal,
    )
    assert made.quantiles == fitted._table.quantiles


def test_the_report_tells() -> None:
    classes, values = (each.report().splitlines() for each in FITTED)
    assert (
        f"calibrated: logits are divided by the temperature {FITTED[0]._table.temperature:.3g}"
        in (classes)
    )
    assert "predicts the quantiles 0.1, 0.5, 0.9" in values
    assert "intervals by the errors on 24 validation rows" in values
    silent = TableClassifier(**SMALL).fit(TABLE, LABELS)
    assert "temperature" not in silent.report()
    assert "temperature" not in silent.model_.about["table"]


def test_another_device_is_as_sure(fake_cupy: Any) -> None:
    for fitted in FITTED:
        y = LABELS if isinstance(fitted, TableClassifier) else VALUES
        other = clone(fitted).set_params(device="cuda").fit(TABLE, y)
        for found, wanted in zip(said(other), said(fitted), strict=True):
            assert type(found) is np.ndarray
            np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-3)
