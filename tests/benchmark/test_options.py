"""What `mlpx bench` takes its options for."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import typer

from mlpx.cli.bench.options import BenchOptions, session_options
from mlpx.cli.bench.run import ADVISED_SIZES, _advise
from mlpx.cli.options import known, parts, sizes

GIVEN = BenchOptions(
    workload="mnist", layers=None, batch_sizes=None, device=None, dtype="float32", peers="",
    phase="train", engine=None, threads=None, seconds=9.0, precision="2%", seed=3, quick=False,
    accept_noise=False, accuracy_seconds=0.0, advise=False, out=None,
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "found"),
    [(None, None), ("", None), ("1", (1,)), (" 512,1, 32,1,", (1, 32, 512))],
)
def test_batch_sizes_are_sorted_each_once(text, found):
    assert sizes(text) == found


@pytest.mark.parametrize("text", ["0", "8,0", "-1", "1.5", "x", "8 16", "²", ",", " "])
def test_batch_sizes_that_are_none(text):
    with pytest.raises(typer.BadParameter, match="wanted whole numbers"):
        sizes(text)


def test_names_are_those_of_the_table():
    assert parts(None) == ()
    assert known("--x", " a ,b,", {"a": 1, "b": 2}) == ("a", "b")
    with pytest.raises(typer.BadParameter, match="'c'; wanted some of a, b") as caught:
        known("--x", "a,c", ["a", "b"])
    assert caught.value.param_hint == "--x"


def test_options_are_settings(monkeypatch):
    monkeypatch.setattr("mlpx.backend.cpu.usable_cores", lambda: 4)
    found = session_options(GIVEN)
    assert [workload.name for workload in found.workloads] == ["mnist"]
    assert (found.threads, found.seed, found.devices, found.engines) == (4, 3, ("cpu",), None)
    assert (found.batch_sizes, found.peers, found.accuracy_s) == (None, (), 0.0)
    rules = found.rules
    assert (rules.budget_s, rules.precision, rules.seed, rules.accept_noise) == (
        9.0,
        0.02,
        3,
        False,
    )
    other = session_options(replace(
        GIVEN, layers="3,2", quick=True, peers=" all", engine="interpreter", threads=4,
        accept_noise=True, device="cpu,cuda", dtype="float64,bf16", phase="call,start",
        accuracy_seconds=2.0,
    ))  # fmt: skip
    assert [workload.layers for workload in other.workloads] == [(3, 2)]
    assert (other.batch_sizes, other.threads, other.engines) == ((1, 32, 512), 4, ("interpreter",))
    assert {"torch", "jax"} < set(other.peers)
    assert (other.devices, other.dtypes) == (("cpu", "cuda"), ("float64", "bf16"))
    assert (other.phases, other.accuracy_s) == (("call", "start"), 2.0)
    assert (other.rules.seed, other.rules.accept_noise) == (3, True)
    assert other.rules.budget_s < 9.0
    assert session_options(replace(GIVEN, quick=True, batch_sizes="7")).batch_sizes == (7,)
    assert session_options(replace(GIVEN, threads=2)).threads == 2
    with pytest.raises(typer.BadParameter, match="5; this process may use 4"):
        session_options(replace(GIVEN, threads=5))
    monkeypatch.setattr("mlpx.backend.cpu.usable_cores", lambda: 1)
    assert session_options(GIVEN).threads == 1


@pytest.mark.parametrize(
    ("given", "batch_sizes", "budget_s"),
    [({}, ADVISED_SIZES, 5.0), ({"seconds": 2.0, "batch_sizes": "7"}, (7,), 2.0)],
)
def test_advice_takes_its_own_batches_and_five_seconds(given, batch_sizes, budget_s, monkeypatch):
    asked, live = [], SimpleNamespace(finish=lambda: None)

    def survey(workload, **details):
        asked.append((workload, details))
        return []

    monkeypatch.setattr("mlpx.benchmark.advise.survey", survey)
    monkeypatch.setattr("mlpx.benchmark.advise.advice", str)
    wanted = session_options(replace(GIVEN, **given))
    assert _advise(wanted, live)
    ((workload, details),) = asked
    assert workload is wanted.workloads[0]
    assert details.pop("rules") == replace(wanted.rules, budget_s=budget_s)
    assert details == {
        "devices": wanted.devices, "batch_sizes": batch_sizes, "watcher": live,
        "options": wanted,
    }  # fmt: skip
