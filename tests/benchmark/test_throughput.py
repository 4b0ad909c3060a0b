"""The charts: which lines there are, what each point says, what is marked beside them."""

from __future__ import annotations

import copy
import sys
from xml.etree import ElementTree

import pytest
import vl_convert
from reporting import SIZES, result

from mlpx.benchmark.report import document as documents
from mlpx.benchmark.report import throughput, vega
from mlpx.benchmark.report.series import all_series
from mlpx.benchmark.report.style import DARK, LIGHT
from mlpx.errors import MissingExtraError


def on_cpu(document):
    return [cell for cell in document["cells"] if cell["device"] == "cpu"]


@pytest.fixture
def modes(document):
    """The cells of one device, with a second mode of PyTorch that is the faster one at 512."""
    for cell in on_cpu(document):
        n = cell["batch_size"]
        step_s = 1e-6 * (4 if n == 512 else 2000)
        cell["results"].append(result("torch/fused", step_s) | {"samples_per_s": n / step_s})
    return on_cpu(document)


def words(svg):
    return [each.text for each in ElementTree.fromstring(svg).iter() if each.tag.endswith("text")]


def test_a_library_is_a_line_of_its_fastest_mode_at_each_batch_size(modes):
    series = {one.name: one for one in all_series(modes)}
    assert list(series) == ["mlpx", "torch", "mlpx/x", "torch/eager", "torch/fused", "gemm/numpy"]
    fastest = [found["contender"] for _, found in series["torch"].results]
    assert fastest == ["torch/eager", "torch/eager", "torch/fused"]
    assert [one.variant for one in series.values()] == [0, 0, 1, 1, 2, 1]


def test_only_the_fastest_are_shown_until_the_legend_is_clicked(modes, document):
    spec = throughput.chart(modes, document)
    (shown,) = [param for layer in spec["layer"] for param in layer.get("params", ())]
    assert shown["value"] == [{"series": "mlpx"}, {"series": "torch"}]
    assert shown["bind"] == "legend"
    for layer in spec["layer"][:3]:
        assert layer["transform"] == [{"filter": {"param": "shown", "empty": False}}]
        domain = layer["encoding"]["stroke"]["scale"]["domain"]
        assert domain == [one.name for one in all_series(modes)]


def test_every_figure_of_every_contender_is_in_the_chart(document):
    values = throughput.chart(document["cells"], document)["data"]["values"]
    told = {(row["contender"], row["batch"]): row for row in values}
    for cell in document["cells"]:
        for found in documents.measured(cell, floors=True):
            name = found["contender"] + ("" if cell["device"] == "cpu" else ", cuda")
            row = told[name, cell["batch_size"]]
            assert row["rate"] == pytest.approx(found["samples_per_s"])
            assert row["low"] < row["rate"] < row["high"]
    assert told["mlpx/x", 32]["samples/s"] == "864,865 [856,302 to 873,601]"
    assert told["mlpx/x", 32]["a step"] == "37.0 µs [36.6 µs to 37.4 µs]"
    assert told["mlpx/x", 32]["status"] == "ok, 6 rounds"
    assert told["mlpx/x", 32]["GFLOP/s"] == "173"
    assert told["mlpx/x", 32]["of peak"] == "43 %"
    assert told["mlpx/x, cuda", 1]["memory"] == "1,074 MB"
    ours = [row["contender"].startswith("mlpx/") for row in values]
    assert ours == sorted(ours)  # last, so drawn on top


def test_rejected_rounds_are_counted(document):
    document["cells"][2]["results"][1]["rejected_rounds"] = {"busy": 2, "below_floor": 1}
    values = throughput.chart(on_cpu(document), document)["data"]["values"]
    (row,) = [row for row in values if row["series"] == "mlpx/x" and row["batch"] == 32]
    assert row["status"] == "ok, 6 rounds, 3 rejected"


def test_what_has_no_figure_is_a_cross_that_says_why(document):
    document["cells"][5]["results"][0].update(status="failed", reason="it broke")
    spec = throughput.chart(document["cells"], document)
    (layer,) = [one for one in spec["layer"] if one["mark"].get("text") == "×"]
    rows = layer["data"]["values"]
    assert [(row["batch"], row["place"], row["contender"]) for row in rows] == [
        (1, 0, "jax/jit"), (32, 0, "jax/jit"), (512, 0, "jax/jit"), (512, 1, "mlpx/x, cuda"),
    ]  # fmt: skip
    assert [row["status"] for row in rows[2:]] == ["wrong: loss <differs>", "failed: it broke"]


@pytest.mark.parametrize("status", ["absent", "unsupported", "ok"])
def test_what_was_not_to_have_a_figure_is_no_cross(document, status):
    for cell in on_cpu(document):
        cell["results"][3] = result("jax/jit", 1e-3, samples_per_s=1.0) | {"status": status}
    spec = throughput.chart(on_cpu(document), document)
    assert not any(layer["mark"].get("text") for layer in spec["layer"])


def test_a_gpu_has_hollow_marks(document):
    fill = throughput.chart(document["cells"], document)["layer"][2]["encoding"]["fill"]["scale"]
    hue = dict(zip(fill["domain"], fill["range"], strict=True))
    assert hue["mlpx, cuda"] == LIGHT["surface"]
    assert hue["mlpx, cpu"] == LIGHT["mlpx"]


def crossovers(document, **change):
    (crossover,) = document["crossovers"]
    spec = throughput.chart(
        document["cells"], {**document, "crossovers": [{**crossover, **change}]}
    )
    return [
        (row["batch"], row["says"])
        for layer in spec["layer"]
        if layer["mark"]["type"] == "text" and "says" in str(layer)
        for row in layer["data"]["values"]
    ]


def test_a_crossover_is_marked_in_its_own_chart_if_there_is_one(document):
    between = document["crossovers"][0]["batch"]["cuda"]["between"]
    assert crossovers(document) == [(between, f"cuda is ahead from batch {between:.0f}")]
    first = {"cuda": {"batch": 32, "between": None}}
    assert crossovers(document, batch=first) == [(32, "cuda is ahead from batch 32")]
    assert crossovers(document, phase="predict") == []
    assert crossovers(document, batch={"cuda": {"batch": None, "between": None}}) == []


def test_a_batch_that_only_one_device_has_figures_of_has_no_say(document):
    del document["cells"][3]["results"][:]
    (crossover,) = documents.finish(document)["crossovers"]
    where = crossover["batch"]["cuda"]
    assert where["batch"] == 512
    assert where["between"] == pytest.approx(20.8, abs=0.1)  # between 1 and 512


def test_a_short_axis_is_not_left_without_numbers(document):
    def axis(cells):
        spec = throughput.chart(cells, {**document, "crossovers": []})
        return spec["layer"][1]["encoding"]["y"]["axis"]

    assert axis(document["cells"])["values"] == vega.ROUND
    assert "values" not in axis(document["cells"][2:3])
    assert vega.ROUND[:5] == [1, 2, 5, 10, 20]


def test_vega_lite_draws_what_the_chart_asks_for(document):
    spec = throughput.chart(document["cells"], document)
    svg = vl_convert.vegalite_to_svg(spec | {"width": 700})
    found = words(svg)
    for text in ("mlpx, cuda", "torch/eager, cpu", "512", "×", "cuda is ahead from batch 45"):
        assert text in found, text
    assert found.count("×") == len(SIZES)
    marks = [
        path
        for path in ElementTree.fromstring(svg).iter()
        if path.get("aria-roledescription") == "point"
    ]
    assert len(marks) == 3 * len(SIZES)  # the fastest: two of ours, one peer


def test_the_picture_has_a_panel_a_net_and_the_fastest_of_each_library(document):
    other = copy.deepcopy(on_cpu(document))
    for cell in other:
        cell["workload"] = "<other>"
        cell["results"] = cell["results"][:2]
    document["cells"] += other
    svg = throughput.to_svg(document)
    found = words(svg)
    for text in ("mnist: 784-50-10", "<other>: 784-50-10", "A <CPU>, 2026-01-01", "mlpx, cuda"):
        assert text in found, text
    assert "mlpx/x, cuda" not in found
    width = float(ElementTree.fromstring(svg).get("width"))
    assert 700 < width < 800
    assert found.count("batch size") == 2


def test_the_picture_has_two_sets_of_colours(document):
    svg = throughput.to_svg(document)
    for name in ("surface", "ink", "mlpx", "torch"):
        part = "stroke" if name == "torch" else "fill"
        assert f'{part}="{LIGHT[name]}"' in svg
        assert f'svg [{part}="{LIGHT[name]}"] {{ {part}: {DARK[name]}; }}' in svg
    assert svg.index("prefers-color-scheme: dark") < svg.index(f'="{LIGHT["surface"]}"]')


@pytest.mark.parametrize("count", [0, 6])
def test_a_picture_of_nothing_says_so(document, count):
    cells = [{**cell, "results": []} for cell in document["cells"][:count]]
    assert "No figures" in words(throughput.to_svg({**document, "cells": cells}))
    assert "No figures" not in words(throughput.to_svg(document))


def test_without_vl_convert_the_extra_is_named(document, monkeypatch):
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'mlpx\[bench\]'"):
        throughput.to_svg(document)


def test_a_library_cannot_end_its_script(monkeypatch):
    monkeypatch.setattr(vl_convert, "javascript_bundle", lambda: "window.ended = '</script>';")
    assert vega.inlined() == "window.ended = '<\\/script>';"
