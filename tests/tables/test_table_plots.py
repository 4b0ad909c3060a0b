"""What is drawn of held-out rows is what they hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mlpx.tables import plots
from mlpx.tables.importances import Importance

RNG = np.random.default_rng(0)
LETTERS = [f"c{i}" for i in range(40)]


def texts(axes) -> dict[tuple[int, int], str]:
    return {each.get_position(): each.get_text() for each in axes.texts}


def test_each_cell_has_its_count_and_the_shade_of_its_share(tmp_path: Path) -> None:
    y, predicted = np.array([0, 0, 0, 1, 2]), np.array([0, 0, 1, 1, 0])
    figure = plots.confusion_matrix(y, predicted, labels="abc", path=tmp_path / "c.png")
    (axes,) = figure.axes
    assert texts(axes) == {(0, 0): "2", (1, 0): "1", (1, 1): "1", (0, 2): "1"}
    np.testing.assert_allclose(
        axes.images[0].get_array(), [[2 / 3, 1 / 3, 0], [0, 1, 0], [1, 0, 0]]
    )
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b", "c"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "true")
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


def test_of_many_classes_the_worst_are_drawn() -> None:
    y = np.repeat(np.arange(40), 5)
    predicted = y.copy()
    predicted[y >= 5] = (y[y >= 5] + 1) % 40  # 35 classes with mistakes only
    predicted[:3] = 39  # and three of five in class 0
    (axes,) = plots.confusion_matrix(y, predicted, labels=LETTERS).axes
    shown = [label.get_text() for label in axes.get_yticklabels()]
    assert shown == LETTERS[5:35]
    assert [label.get_text() for label in axes.get_xticklabels()] == [*shown, "others"]
    assert axes.get_title() == "30 of 40 classes, those with the most mistakes"
    assert texts(axes)[1, 0] == "5"
    assert texts(axes)[30, 29] == "5"  # of class 34, taken for 35


@pytest.mark.parametrize(
    ("count", "told"), [(7, "7"), (9999, "9999"), (12_345, "12k"), (23_000_000, "23M")]
)
def test_a_count_has_room_in_its_cell(count: int, told: str) -> None:
    assert plots._brief(count) == told


def test_few_cells_have_room_for_all_digits() -> None:
    y = np.repeat([0, 1], [12_345, 7])
    assert texts(plots.confusion_matrix(y, y, labels="ab").axes[0])[0, 0] == "12,345"
    (axes,) = plots.confusion_matrix(y, y, labels="abcde").axes
    assert texts(axes)[0, 0] == "12k"


def test_a_long_name_is_cut() -> None:
    assert plots.short("a\nb" * 20) == "a ba ba ba ba ba ba ba …"
    assert len(plots.short("x" * 100)) == plots.LONGEST
    assert plots.short(5) == "5"


@pytest.mark.parametrize("n", [200, plots.POINTS + 1])
def test_residuals(n: int) -> None:
    y = RNG.normal(size=n)
    predicted = y + 0.1 * RNG.normal(size=n)
    predicted[0] = y[0] + 50
    left, right = plots.residuals(y, predicted, name="price").axes
    assert (left.get_xlabel(), left.get_ylabel()) == ("predicted price", "true price")
    heights = [patch.get_height() for patch in right.patches]
    assert sum(heights) >= n - n // 20
    assert right.get_title() == f"{n - int(sum(heights))} rows are outside"
    if n == 200:
        points = left.collections[0].get_offsets()
        np.testing.assert_array_equal(points, np.stack([predicted, y], axis=1))
    else:
        assert left.collections[0].get_array().sum() == n


def test_residuals_that_are_all_the_same() -> None:
    y = np.arange(5.0)
    _, right = plots.residuals(y, y).axes
    assert sum(patch.get_height() for patch in right.patches) == 5
    assert right.get_title() == ""


def test_calibration_of_two_classes() -> None:
    p = np.array([0.12, 0.18, 0.81, 0.85, 0.89, 1.0])
    y = np.array([0, 1, 1, 1, 0, 1])
    top, bottom = plots.calibration(y, np.stack([1 - p, p], axis=1), labels=["no", "yes"]).axes
    given, shares = top.lines[1].get_data()
    np.testing.assert_allclose(given, [0.15, 0.85, 1.0])
    np.testing.assert_allclose(shares, [1 / 2, 2 / 3, 1.0])
    assert [patch.get_height() for patch in bottom.patches] == [0, 2, 0, 0, 0, 0, 0, 0, 3, 1]
    assert bottom.get_xlabel() == "probability of yes"


def test_calibration_of_several_classes_is_of_the_one_predicted() -> None:
    p = np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8], [0.3, 0.55, 0.15]])
    top, bottom = plots.calibration(np.array([0, 1, 1]), p, labels="abc", bins=5).axes
    given, shares = top.lines[1].get_data()
    np.testing.assert_allclose(given, [0.525, 0.8])
    np.testing.assert_allclose(shares, [1.0, 0.0])
    assert bottom.get_xlabel() == "probability of the class predicted"


def test_the_interval_of_a_share_is_wilsons() -> None:
    share, n = np.array([0.5, 0.0, 1.0, 0.3]), np.array([10, 10, 4, 200])
    low, high = plots._wilson(share, n)
    for end in (low, high):  # where the share is 1.96 standard errors away
        at = end[[0, 3]]
        error = np.sqrt(at * (1 - at) / n[[0, 3]])
        np.testing.assert_allclose(abs(at - share[[0, 3]]), 1.96 * error)
    assert low[1] == pytest.approx(0.0, abs=1e-12)
    assert high[2] == 1.0


def test_importances() -> None:
    found = [Importance(f"c{i}", 1.0 - 0.1 * i, 0.01) for i in range(25)]
    (axes,) = plots.importances(found, score="error").axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        f"c{i}" for i in reversed(range(20))
    ]
    np.testing.assert_allclose([p.get_width() for p in axes.patches][-1], 1.0)
    assert axes.get_title() == "and 5 columns with less"
    assert axes.get_xlabel() == "rise of the error when the column is shuffled"
