"""The public names and signatures are those of public.txt, and what is to go warns first."""

from __future__ import annotations

import difflib
from functools import partial
from pathlib import Path

import pytest
import typer
from public_surface import surface

import mlpx
from mlpx.cli import app
from mlpx.errors import deprecated, known_options
from mlpx.kernels.activations import Activation
from mlpx.optimizers import Optimizer

SNAPSHOT = Path(__file__).with_name("public.txt")
ADVICE = """\
The public names and signatures (+) are not those of tests/public.txt (-).
What users may rely on goes only after a release that warned: CONTRIBUTING.md, "Public names".
If the change is meant: .venv/bin/python tests/support/public_surface.py >tests/public.txt
"""


def changes(agreed: list[str]) -> list[str]:
    found = difflib.unified_diff(agreed, surface(), "agreed", "found", lineterm="", n=0)
    return [line for line in found if not line.startswith(("@@", "---", "+++"))]


def test_the_public_names_and_signatures_are_the_agreed_ones():
    found = changes(SNAPSHOT.read_text(encoding="utf-8").splitlines())
    if found:
        pytest.fail("\n".join([ADVICE, *found]), pytrace=False)


def test_what_goes_comes_or_changes_is_seen(monkeypatch):
    command = typer.main.get_command(app)
    monkeypatch.setattr(typer.main, "get_command", lambda app: command)
    monkeypatch.setattr(Activation, "table", {**Activation.table})
    before = surface()

    class Cube(Activation, name="cube"):
        """A record of someone else: none of ours."""

    (lr,) = (each for each in command.commands["train"].params if "--lr" in each.opts)
    monkeypatch.setattr(lr, "hidden", True)
    monkeypatch.delattr(mlpx.errors, "DownloadError")
    monkeypatch.delattr(mlpx.History, "samples_per_s")
    monkeypatch.delitem(Optimizer.table, "sgd")
    monkeypatch.setattr(mlpx.MLP, "predict", lambda self, x, *, rows=8: x)
    monkeypatch.setattr(mlpx.MLP, "added", property(lambda self: 1), raising=False)
    assert changes(before) == [
        "-mlpx.History.samples_per_s: float",
        "+mlpx.MLP.added: Any",
        "-mlpx.MLP.predict(x: Any, *, batch_size: int = 1024) -> Array",
        "+mlpx.MLP.predict(x, *, rows=8)",
        "-mlpx.errors.DownloadError() is DataError, OSError",
        '-optimizer "sgd": mlpx.SGD',
        "-$ mlpx train --lr RATE",
    ]


def test_a_former_name_is_the_new_one_and_warns_where_it_is_used(monkeypatch):
    monkeypatch.setitem(mlpx._RENAMED, "Perceptron", ("MLP", "0.2", "0.3"))
    said = r"mlpx.Perceptron is deprecated since mlpx 0.2 and goes in 0.3; use mlpx.MLP"
    for _ in range(2):
        with pytest.warns(DeprecationWarning, match=said) as warned:
            assert mlpx.Perceptron is mlpx.MLP
        assert [each.filename for each in warned] == [__file__]
    with pytest.warns(DeprecationWarning, match=said) as warned:
        from mlpx import Perceptron
    assert Perceptron is mlpx.MLP
    assert {each.filename for each in warned} == {__file__}
    assert "Perceptron" not in dir(mlpx)


def run(code: str, module: str, **names: object) -> dict[str, object]:
    """What a module of that name, with these names in it, has after the code."""
    content = {"__name__": module, **names}
    exec(compile(code, f"{module}.py", "exec"), content)
    return content


def test_a_deprecation_points_out_of_mlpx_however_deep_it_is():
    warn = partial(deprecated, "fit(a)", instead="fit(b)", since="0.2", gone_in="0.3")
    fit = run("def fit(): warn()", "mlpx.training.fit", warn=warn)["fit"]
    method = run("def method(): fit()", "mlpx.mlp", fit=known_options(fit))["method"]
    with pytest.warns(DeprecationWarning, match=r"fit\(a\) .* use fit\(b\)") as warned:
        run("method()", "theirs", method=method)
    assert [each.filename for each in warned] == ["theirs.py"]
