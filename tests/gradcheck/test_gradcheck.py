"""Numerical gradients, and the check of backpropagation against them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import fakecupy
import numpy as np
import pytest
from typer.testing import CliRunner

from mlpx import MLP, Dense, Rescale
from mlpx.cli import app
from mlpx.cli.gradcheck import show
from mlpx.errors import InputError, UnknownNameError
from mlpx.gradcheck import (
    FORMS,
    Report,
    cases,
    check_gradients,
    compare_gradients,
    numerical_gradient,
)
from mlpx.gradcheck.cases import CHECKS, Outcome, outcomes
from mlpx.kernels import affine
from mlpx.kernels.activations import ReLU, Tanh
from mlpx.layers import BatchNorm, Dropout, LayerNorm

ROWS = [(family, name) for family in CHECKS for name in sorted(family.table)]
IDS = [(family.kind, name) for family, name in ROWS]
DTYPES = ["float64", "float32"]
SMALL = {"ROWS": 5, "COLUMNS": 2, "HIDDEN": 3, "OUTPUTS": 2, "STEPS": 12}
SMALL_FIELDS = {"units": 3, "layers": (Dense(3, activation="tanh"),)}


@pytest.fixture(params=["cpu", "fake"])
def device(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "cpu":
        yield "cpu"
        return
    with fakecupy.installed():
        yield "cuda"


def data(n: int = 9, d: int = 4, k: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), rng.integers(0, k, size=n)


def net(**options: Any) -> MLP:
    return MLP([4, 5, 3], **{"activation": "tanh", "dtype": "float64", **options})


# Every row of every table


def right(found: Outcome, dtype: str) -> bool:
    bound = {"float64": 1e-8, "float32": 5e-6}[dtype]
    within = found.error is None or found.error < bound
    return found.passed and within and "left out" not in found.detail


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_row_of_every_table(dtype: str) -> None:
    found = list(outcomes("cpu", dtype))
    assert [(outcome.kind, outcome.name) for outcome in found] == IDS
    assert [outcome for outcome in found if not right(outcome, dtype)] == []


@pytest.mark.parametrize("family", CHECKS, ids=lambda family: family.kind)
def test_every_row_on_a_device(family: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """In smaller nets, in float64 and in float32 in turns."""
    for name, value in SMALL.items():
        monkeypatch.setattr(cases, name, value)
    for name, value in SMALL_FIELDS.items():
        monkeypatch.setitem(cases.FIELDS, name, value)
    with fakecupy.installed():
        rows = zip(sorted(family.table), itertools.cycle(DTYPES))
        found = [(CHECKS[family](name, "cuda", dtype), dtype) for name, dtype in rows]
    assert [(outcome, dtype) for outcome, dtype in found if not right(outcome, dtype)] == []


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_row_on_a_device_in_both_dtypes(dtype: str) -> None:
    with fakecupy.installed():
        assert [outcome for outcome in outcomes("cuda", dtype) if not right(outcome, dtype)] == []


# Numerical gradients


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("method", "error"), [("central", 1e-9), ("forward", 1e-6)])
def test_least_squares_by_hand(form: Any, method: Any, error: float) -> None:
    """The gradient of mean (x W + b - y)**2 is 2 x'(x W + b - y) / n k, a formula of its own."""
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(9, 4)), rng.normal(size=(9, 2))
    model = MLP([4, 2], loss="mean_squared_error", dtype="float64")
    g = numerical_gradient(model, x, y, method=method, form=form)
    residual = x @ model.parameters["0.W"] + model.parameters["0.b"] - y
    np.testing.assert_allclose(g["0.W"], 2 * x.T @ residual / 18, rtol=0, atol=error)
    np.testing.assert_allclose(g["0.b"], 2 * residual.sum(axis=0) / 18, rtol=0, atol=error)


CHAINS = {
    "tanh": [4, Dense(5, activation="tanh"), Dense(3)],
    "gelu": [4, Dense(5, activation="gelu"), Dense(6, activation="sigmoid"), Dense(3)],
    "softmax inside": [4, Dense(5, activation="softmax"), Dense(3)],
    "no bias": [4, Dense(5, activation="tanh", bias=False), Dense(3, bias=False)],
    "rescale": [4, Rescale(0.5, 0.1), Dense(5, activation="tanh"), Rescale(2.0), Dense(3)],
    "many": [4, Dense(30, activation="tanh"), Dense(3)],
}


@pytest.mark.parametrize("method", ["central", "forward"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", CHAINS)
def test_the_forms_equal_the_loop_to_rounding(name: str, weighted: bool, method: Any) -> None:
    x, y = data()
    model = MLP(CHAINS[name], dtype="float64")
    w = np.linspace(0, 3, len(x)) if weighted else None
    found = {
        form: numerical_gradient(model, x, y, sample_weight=w, method=method, form=form)
        for form in FORMS
    }
    # A loss near 1 is rounded to 2e-16; divided by the step that is the difference allowed.
    rounding = {"central": 2e-16 * 2**16, "forward": 2e-16 * 2**26}[method]
    for g in found.values():
        assert sorted(g) == sorted(model.parameters)
        for key, value in g.items():
            np.testing.assert_allclose(value, found["loop"][key], rtol=0, atol=8 * rounding)
            assert abs(value).max() > 1e-4


@pytest.mark.parametrize("form", FORMS)
def test_forward_differences_in_a_coarse_step_are_forward(form: Any) -> None:
    """At a step this long the two methods are far apart, and the forms of one still agree."""
    options: dict[str, Any] = {"method": "forward", "step": 0.125}
    wanted = numerical_gradient(net(), *data(), **options)
    found = numerical_gradient(net(), *data(), form=form, **options)
    central = numerical_gradient(net(), *data(), step=0.125)
    for name, value in found.items():
        np.testing.assert_allclose(value, wanted[name], rtol=0, atol=1e-13)
        assert abs(value - central[name]).max() > 1e-4


@pytest.mark.parametrize("form", FORMS)
def test_on_a_device(form: Any) -> None:
    x, y = data()
    here = numerical_gradient(net(), x, y, form=form)
    with fakecupy.installed():
        model = net(device="cuda")
        there = numerical_gradient(model, x, y, form=form)
        for name, value in there.items():
            g = model.backend.to_numpy(value)
            np.testing.assert_allclose(g, here[name], rtol=0, atol=1e-10)


@pytest.mark.parametrize("form", FORMS)
def test_a_step_of_ones_own(form: Any) -> None:
    x, y = data()
    fine = numerical_gradient(net(), x, y, form=form)["0.W"]
    coarse = numerical_gradient(net(), x, y, form=form, step=0.125)["0.W"]
    halved = numerical_gradient(net(), x, y, form=form, step=0.0625)["0.W"]
    ratio = np.abs(coarse - fine).max() / np.abs(halved - fine).max()
    assert ratio == pytest.approx(4, rel=0.1)  # the error of central differences falls as h**2


def test_numerical_gradients_of_a_float32_model_are_float64() -> None:
    g = numerical_gradient(net(dtype="float32"), *data())
    assert {value.dtype for value in g.values()} == {np.dtype("float64")}
    report = compare_gradients(g, numerical_gradient(net(dtype="float32"), *data(), form="batched"))
    assert report.passed


def test_forms_refuse_what_they_do_not_know() -> None:
    model = MLP([4, Dense(5, activation="prelu"), 3])
    with pytest.raises(InputError, match=r"form = 'batched' is for plain.*layer 0 .*form='loop'"):
        numerical_gradient(model, *data(), form="batched")
    for layer in (Dense(5, penalty="l2"), LayerNorm()):
        with pytest.raises(InputError, match="form = 'rank_one' is for plain"):
            numerical_gradient(MLP([4, layer, 3]), *data(), form="rank_one")
    with pytest.raises(InputError, match="form = 'quick'; it must be one of"):
        numerical_gradient(model, *data(), form="quick")  # type: ignore[arg-type]


# The check finds faults


@dataclass(frozen=True)
class SteepTanh(Tanh):
    """A derivative that is wrong by a factor of 1 + 1e-6."""

    def backward(self, xp: Any, dy: Any, kept: Any, *, out: Any, work: Any) -> None:
        super().backward(xp, dy, kept, out=out, work=work)
        out *= 1 + 1e-6


@pytest.mark.parametrize("method", ["elements", "directions"])
def test_a_derivative_off_by_a_millionth_is_found(method: Any, device: str) -> None:
    model = MLP([4, Dense(5, activation=SteepTanh()), 3], dtype="float64", device=device)
    report = check_gradients(model, *data(), method=method)
    assert [row.name for row in report.rows if not row.passed] == ["0.W", "0.b"]
    assert report.worst.error == pytest.approx(1e-6, rel=0.6)
    assert not report.passed
    assert check_gradients(model, *data(), method=method, tolerance=3e-6).passed
    assert check_gradients(net(device=device), *data(), method=method).passed


@pytest.mark.parametrize("method", ["elements", "directions"])
def test_float32_finds_a_derivative_off_by_a_thousandth(method: Any) -> None:
    @dataclass(frozen=True)
    class Wrong(Tanh):
        def backward(self, xp: Any, dy: Any, kept: Any, *, out: Any, work: Any) -> None:
            super().backward(xp, dy, kept, out=out, work=work)
            out *= 1 + 1e-3

    model = MLP([4, Dense(5, activation=Wrong()), 3], dtype="float32")
    assert not check_gradients(model, *data(), method=method).passed
    assert check_gradients(net(dtype="float32"), *data(), method=method).passed


@pytest.mark.parametrize("method", ["elements", "directions"])
def test_one_wrong_element_is_named(method: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    right = affine.backward

    def wrong(*arguments: Any, dW: Any, **rest: Any) -> None:
        right(*arguments, dW=dW, **rest)
        if dW.shape == (4, 5):
            dW[2, 3] += 1e-4

    monkeypatch.setattr(affine, "backward", wrong)
    report = check_gradients(net(), *data(), method=method)
    assert [row.passed for row in report.rows] == [False, True, True, True]
    worst = report.worst
    assert worst.name == "0.W"
    if method == "elements":
        assert worst.index == (2, 3)
        assert worst.analytic - worst.numerical == pytest.approx(1e-4, rel=1e-4)


def test_directions_look_at_every_element() -> None:
    """As many passes for 20,000 parameters as for 20."""
    model = MLP([40, 400, 10], activation="tanh", dtype="float64")
    x, y = data(16, 40, 10)
    report = check_gradients(model, x, y, method="directions", directions=3)
    assert report.passed
    assert [row.checked for row in report.rows] == [3, 3, 3, 3]
    assert report.worst.index == ()


def test_weights_of_rows_count() -> None:
    x, y = data()
    w = np.zeros(len(x))
    w[:3] = 1
    part = check_gradients(net(), x[:3], y[:3])
    whole = check_gradients(net(), x, y, sample_weight=w)
    assert whole.passed
    for a, b in zip(part.rows, whole.rows, strict=True):
        assert a.analytic == pytest.approx(b.analytic, abs=1e-3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("method", ["elements", "directions"])
def test_the_model_is_not_touched(method: Any, dtype: str) -> None:
    model = net(dtype=dtype)
    flat, bits = model.flat, model.flat.tobytes()
    check_gradients(model, *data(), method=method)
    numerical_gradient(model, *data(), form="loop")
    numerical_gradient(model, *data(), form="batched")
    assert model.flat is flat
    assert model.flat.tobytes() == bits
    assert model.training_state is None


def test_twice_the_same() -> None:
    for method in ("elements", "directions"):
        first, again = (check_gradients(net(), *data(), method=method) for _ in range(2))
        assert first == again


def test_dropout_masks_are_those_of_the_first_step_and_statistics_are_put_back() -> None:
    layers = [4, Dense(8, activation="tanh"), BatchNorm(), Dropout(0.5), Dense(3)]
    model = MLP(layers, dtype="float64", seed=5)
    x, y = data()
    model.fit(x, y, epochs=1, batch_size=9, verbose=0)
    bits = model.flat.tobytes()
    report = check_gradients(model, x, y)
    assert report.passed
    assert "1.mean" not in {row.name for row in report.rows}
    assert check_gradients(model, x, y) == report
    assert model.flat.tobytes() == bits
    trained = [MLP(layers, dtype="float64", seed=5) for _ in range(2)]
    for each, gradient in zip(trained, ("numerical", "backprop"), strict=True):
        each.fit(x, y, epochs=2, batch_size=4, optimizer="sgd", gradient=gradient, verbose=0)
    np.testing.assert_allclose(trained[0].flat, trained[1].flat, rtol=0, atol=1e-8)


# Kinks


def one_relu(w: float = 1.0, activation: Any = "relu") -> MLP:
    """relu(w x) with one weight, and no more."""
    model = MLP(
        [1, Dense(1, activation=activation, bias=False), Dense(1, bias=False)],
        loss="mean_squared_error",
        dtype="float64",
    )
    model.set_parameters({"0.W": [[w]], "1.W": [[1.0]]})
    return model


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "prelu"])
@pytest.mark.parametrize("w", [0.0, 1e-6, -1e-6])
def test_a_step_across_a_kink_is_left_out(w: float, activation: str) -> None:
    x, y = np.array([[1.0], [2.0]]), np.array([[3.0], [1.0]])
    report = check_gradients(one_relu(w, activation), x, y)
    row = next(row for row in report.rows if row.name == "0.W")
    assert (row.checked, row.kinks, row.passed) == (0, 1, False)
    assert "nothing to check" in str(report)
    assert report.worst is row
    assert report.kinks >= 1


@pytest.mark.parametrize("w", [1e-4, -1e-4])
def test_beside_a_kink_is_not_across_it(w: float) -> None:
    report = check_gradients(one_relu(w), np.array([[1.0]]), np.array([[3.0]]))
    assert report.passed
    assert report.kinks == 0


@pytest.mark.parametrize(
    ("loss", "target"),
    [
        ("mean_absolute_error", 0.5),
        ("quantile", 0.5),
        ("huber", 1.5),
        ("huber", -0.5),
        ("hinge", 1),
        ("squared_hinge", 1),
    ],
)
def test_the_kink_of_a_loss_is_left_out(loss: str, target: float) -> None:
    """A net that puts out exactly 0.5, or for the hinges 1, in its first row."""
    model = MLP([1, Dense(1)], loss=loss, dtype="float64")
    hinge = "hinge" in loss
    model.set_parameters({"0.W": [[0.5]], "0.b": [0.5 if hinge else 0.0]})
    x, y = np.array([[1.0], [0.2]]), np.array([target, 0.0 if hinge else 0.9])
    report = check_gradients(model, x, y)
    assert [(row.name, row.checked, row.kinks) for row in report.rows] == [
        ("0.W", 0, 1), ("0.b", 0, 1),
    ]  # fmt: skip
    report = check_gradients(model, x + 1e-3, y)
    assert report.passed
    assert report.kinks == 0


@pytest.mark.parametrize("penalty", ["l1", "elastic_net"])
def test_the_kink_of_a_penalty_is_left_out(penalty: str) -> None:
    model = MLP([4, Dense(3, penalty=penalty)], dtype="float64")
    W = np.linspace(-1, 1, 12).reshape(4, 3)
    W[1, 2] = 1e-6
    model.set_parameters({"0.W": W})
    report = check_gradients(model, *data())
    assert [(row.name, row.checked, row.kinks) for row in report.rows] == [
        ("0.W", 11, 1), ("0.b", 3, 0),
    ]  # fmt: skip
    assert report.passed


def test_only_the_elements_whose_step_crosses_are_left_out() -> None:
    model = MLP([2, Dense(2, activation="relu"), 2], dtype="float64")
    model.set_parameters({"0.W": [[1.0, 1.0], [1.0, 0.5]], "0.b": [0.0, 0.0]})
    x = np.array([[1.0, -1.0], [0.5, 2.0]])  # the first row's first unit has its input at 0
    report = check_gradients(model, x, [0, 1])
    counts = {row.name: (row.checked, row.kinks) for row in report.rows}
    assert counts == {"0.W": (2, 2), "0.b": (1, 1), "1.W": (4, 0), "1.b": (2, 0)}
    assert report.passed


def test_a_direction_across_a_kink_is_drawn_again() -> None:
    model = MLP([2, Dense(2, activation="relu"), 2], dtype="float64")
    model.set_parameters({"0.W": [[1.0, 1.0], [1.0, 0.5]], "0.b": [0.0, 0.0]})
    x = np.array([[1.0, 4e-6 - 1.0], [0.5, 2.0]])  # an input of 4e-6, half a step from the kink
    report = check_gradients(model, x, [0, 1], method="directions", directions=4)
    assert {row.name for row in report.rows if row.kinks} == {"0.W", "0.b"}
    assert [row.checked for row in report.rows] == [4, 4, 4, 4]
    assert report.passed


def test_what_a_kink_would_do_without_being_left_out() -> None:
    @dataclass(frozen=True)
    class Smooth(ReLU):
        kinks = ()

    report = check_gradients(one_relu(0.0, Smooth()), np.array([[1.0]]), np.array([[3.0]]))
    assert not report.passed
    assert report.worst.checked == 1


# Reports


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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "guess"}, "method = 'guess'"),
        ({"directions": 0}, "directions = 0; it must be at least 1"),
        ({"tolerance": 0.0}, r"tolerance = 0.0; it must be in \(0, inf\)"),
    ],
)
def test_options_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_gradients(net(), *data(), **options)


# The command


def run(*arguments: str) -> Any:
    return CliRunner(env={"COLUMNS": "100", "TERM": "dumb"}).invoke(app, ["gradcheck", *arguments])


def test_command_in_a_terminal_of_80_columns() -> None:
    result = CliRunner(env={"COLUMNS": "80"}).invoke(app, ["gradcheck", "--device", "cpu"])
    assert result.exit_code == 0, result.output
    words, lines = result.output.split(), result.output.splitlines()
    assert all(name in words for _, name in ROWS)
    assert f"all {len(ROWS)} passed" in result.output
    assert "Gradients in float64 on cpu" in result.output
    assert max(map(len, lines)) <= 80
    assert "…" not in result.output
    assert sum(" ok " in line for line in lines) == len(ROWS)
    assert len([line for line in lines if line.strip()]) == len(ROWS) + 5  # none is folded


def test_command_for_some() -> None:
    result = run("--only", "loss", "--only", "relu", "--dtype", "float32", "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert "Gradients in float32 on cpu" in result.output
    names = [line.split() for line in result.output.splitlines()]
    assert ["activation", "relu"] in [words[:2] for words in names]
    assert any("softmax_cross_entropy" in words for words in names)
    assert not any("tanh" in words or "adam" in words for words in names)
    result = run("--only", "rellu")
    assert result.exit_code == 1
    assert "did you mean 'relu'?" in " ".join(result.output.split())


def test_command_fails_with_any_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SteepTanh.table, "steep", SteepTanh)
    result = run("--only", "steep", "--only", "tanh")
    assert result.exit_code == 1
    assert "1 of 2 failed" in result.output
    (line,) = (line for line in result.output.splitlines() if "steep" in line)
    assert "FAILED" in line


def test_an_optimizer_that_climbs_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    from mlpx.optimizers import SGD

    @dataclass(frozen=True)
    class Climbing(SGD):
        def update(self, xp: Any, p: Any, g: Any, **rest: Any) -> None:
            before = p.copy()
            super().update(xp, p, g, **rest)
            p[...] = before - (p - before)

    monkeypatch.setitem(SGD.table, "climbing", Climbing)
    (found,) = outcomes("cpu", "float64", ["climbing"])
    assert not found.passed
    assert found.detail.startswith("cos -1.00")


def test_unknown_words_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="'relus'"):
        list(outcomes("cpu", "float64", ["relus"]))


def test_a_report_needs_every_row_to_pass() -> None:
    good = compare_gradients({"a": [1.0]}, {"a": [1.0]})
    bad = compare_gradients({"b": [1.0]}, {"b": [2.0]})
    assert good.passed
    assert not Report(good.rows + bad.rows, 1e-7).passed


def test_square_brackets_in_the_table_are_printed(capsys):
    show([Outcome("layer", "mine[1]", True, "at [2]")], title="float64 on cpu (A CPU [x])")
    text = capsys.readouterr().out
    for part in ("(A CPU [x])", "mine[1]", "at [2]"):
        assert part in text
