"""The report of a gradient check, and the comparison of two gradients."""

from __future__ import annotations

import numpy as np
import pytest
from gradient_samples import data, net

from mlpx.errors import InputError
from mlpx.gradcheck import Report, check_gradients, compare_gradients


def test_report_in_words() -> None:
    report = check_gradients(net(), *data())
    lines = str(report).splitlines()
    assert lines[0].split() == [
        "parameter", "worst", "at", "analytic", "numerical", "error", "checked", "kinks",
    ]  # fmt: skip
    assert [line.split()[0] for line in lines[1:5]] == ["0.W", "0.b", "1.W", "1.b"]
    assert lines[5] == "passed: elements, tolerance 1.0e-07"
    wrong = compare_gradients({"a": [1.0, 2.0]}, {"a": [1.0, 2.5]})
    assert str(wrong).splitlines()[1].split() == [
        "a", "[1]", "+2.000000000e+00", "+2.500000000e+00", "2.0e-01", "2", "0", "FAILED",
    ]  # fmt: skip
    assert "1 of 1 parameters FAILED" in str(wrong)


def test_compare_gradients() -> None:
    g = {"a": np.array([1.0, -4.0]), "b": np.array([0.0])}
    close = {"a": np.array([1.0, -4.0 + 3e-7]), "b": np.array([0.0])}
    assert compare_gradients(g, close).passed
    assert compare_gradients(g, close).rows[0].error == pytest.approx(3e-7 / 4, rel=1e-3)
    assert not compare_gradients(g, close, tolerance=1e-8).passed
    assert compare_gradients(g, close, tolerance=1e-8, noise=3.1e-7).passed
    assert not compare_gradients(g, g | {"b": np.array([1e-9])}).passed
    assert not compare_gradients(g, g | {"b": np.array([np.nan])}).passed
    assert compare_gradients(g, g | {"a": np.array([np.nan, 0.0])}).worst.name == "a"
    with pytest.raises(InputError, match=r"\['a', 'b'\] and numerical has \['a'\]"):
        compare_gradients(g, {"a": g["a"]})
    with pytest.raises(InputError, match=r"a: shapes \(2,\) and \(1,\) differ"):
        compare_gradients(g, g | {"a": np.zeros(1)})


def test_a_report_needs_every_row_to_pass() -> None:
    good = compare_gradients({"a": [1.0]}, {"a": [1.0]})
    bad = compare_gradients({"b": [1.0]}, {"b": [2.0]})
    assert good.passed
    assert not Report(good.rows + bad.rows, 1e-7).passed
