"""The document's derived figures, the comparison of two, and what people are shown."""

from __future__ import annotations

import copy
import json
import re
from html.parser import HTMLParser

import pytest
from reporting import SIZES, machine

from mlpx.benchmark.advise import advice, choose, thread_counts
from mlpx.benchmark.contenders.base import LIBRARIES
from mlpx.benchmark.report import answer, html
from mlpx.benchmark.report import document as documents
from mlpx.benchmark.report.compare import compare, differences, has_regressed, parse_share
from mlpx.benchmark.report.html import to_html
from mlpx.benchmark.report.spreadsheet import to_csv
from mlpx.benchmark.report.style import CSS, DARK, LIGHT
from mlpx.benchmark.report.tables import against_best_peer, to_markdown
from mlpx.benchmark.report.units import duration, figures, megabytes, percent, rate
from mlpx.cli.bench.compare import show_changes
from mlpx.errors import DataFormatError, DataNotFoundError, InputError


def found(document, size, device, name):
    return next(
        r
        for c in document["cells"]
        for r in c["results"]
        if (c["batch_size"], c["device"], r["contender"]) == (size, device, name)
    )


def test_share_of_the_floor(document):
    assert found(document, 32, "cpu", "mlpx/x")["floor_fraction"] == pytest.approx(0.5)
    assert found(document, 32, "cpu", "torch/eager")["floor_fraction"] == pytest.approx(1 / 6)
    assert found(document, 32, "cuda", "mlpx/x")["floor_fraction"] is None
    assert "floor_fraction" not in found(document, 32, "cpu", "gemm/numpy")


def test_share_of_the_peak(document):
    for name, factor in (("mlpx/x", 1), ("gemm/numpy", 2)):
        result = found(document, 32, "cpu", name)
        assert result["peak_fraction"] == pytest.approx(factor * 2e-4 * 32 / 37e-6 / 400)
    assert found(document, 32, "cuda", "mlpx/x")["peak_fraction"] is None
    found(document, 32, "cpu", "mlpx/x")["gflops"] = 0.0  # it multiplies nothing
    documents.finish(document)
    assert found(document, 32, "cpu", "mlpx/x")["peak_fraction"] is None


def test_the_machine_over_all_cells(document):
    assert document["machine"] == {
        "isa": "avx512", "fma_gflops": {"float32": 400.0},
        "fma_gflops_one_thread": {"float32": 200.0}, "read_bytes_per_s": 40e9,
        "triad_bytes_per_s": 30e9, "l2_bytes_per_s": 300e9, "speedup": 2.0, "one_core": False,
    }  # fmt: skip
    cells = [cell for cell in document["cells"] if cell["machine"]]
    cells[0].update(dtype="float64", machine=machine(200.0, 90.0))
    made = documents.finish(document)["machine"]
    assert made["fma_gflops"] == {"float64": 200.0, "float32": 400.0}
    for cell in document["cells"]:
        cell["machine"] = None
    assert documents.finish(document)["machine"] is None


@pytest.mark.parametrize(
    ("peak", "disturbed", "threads", "said"),
    [(269.0, 0, 2, True), (271.0, 0, 2, False), (210.0, 1, 2, False), (210.0, 0, 3, False)],
)
def test_two_threads_of_one_core_are_told(document, peak, disturbed, threads, said):
    for cell in document["cells"]:
        if cell["machine"]:
            cell["machine"] = {**machine(peak, 200.0), "disturbed_rounds": disturbed}
    document["environment"]["threads"] = threads
    made = documents.finish(document)
    assert made["machine"]["one_core"] is said
    line = f"threads of one core: {peak:.0f} GFLOP/s of multiply-adds on both, 200 on one\n"
    assert (line in to_markdown(document)) is said
    assert f"float32 {peak:.0f} GFLOP/s (200 on one thread)" in to_markdown(document)


def test_documents_of_version_1_are_read(document, tmp_path):
    old = copy.deepcopy(document)
    old["schema"] = "mlpx-bench/1"
    del old["machine"]
    for cell in old["cells"]:
        del cell["machine"]
        for result in cell["results"]:
            for name in ("peak_fraction", "compile_s"):
                result.pop(name, None)
            if result["status"] == "ok":
                result["rejected_rounds"] = {"busy": 0, "below_floor": 0}
    documents.save(old, tmp_path / "old.json")
    changes = compare(documents.load(tmp_path / "old.json"), document)
    assert {change.outcome for change in changes} == {"same"}
    assert "Share of the machine's peak" not in to_markdown(old)


def test_time_to_accuracy_is_steps_times_the_step(document):
    ours = found(document, 32, "cpu", "mlpx/x")
    assert ours["time_to_accuracy_s"] == pytest.approx(1000 * 37e-6)
    assert found(document, 512, "cpu", "mlpx/x")["time_to_accuracy_s"] is None


def test_the_crossover_is_found(document):
    (crossover,) = document["crossovers"]
    where = crossover["batch"]["cuda"]
    assert where["batch"] == 512
    assert 32 < where["between"] < 512


@pytest.mark.parametrize(
    ("gains", "batch", "between"),
    [
        ([], None, None),
        ([(1, 0.5), (8, 0.9)], None, None),
        ([(1, 0.5), (8, 1.0)], 8, 8.0),
        ([(1, 2.0), (8, 3.0)], 1, None),
        ([(1, 0.5), (4, 2.0)], 4, 2.0),
        ([(1, 2.0), (4, 0.5), (16, 2.0)], 16, 8.0),
        ([(1, 0.5), (4, 2.0), (16, 0.5)], None, None),
    ],
)
def test_crossing(gains, batch, between):
    crossed = documents.crossing(gains)
    assert crossed["batch"] == batch
    assert crossed["between"] == (None if between is None else pytest.approx(between))


def test_documents_are_saved_and_loaded(document, tmp_path):
    path = tmp_path / "deep" / "bench.json"
    documents.save(document, path)
    assert documents.load(path) == document
    assert list(path.parent.iterdir()) == [path]
    path.write_text('{"schema": "mlpx-bench/99"}')
    with pytest.raises(DataFormatError, match="mlpx-bench/99"):
        documents.load(path)
    with pytest.raises(DataNotFoundError):
        documents.load(tmp_path / "none.json")


def changed(document, factor, *, status=None, name="mlpx/x"):
    other = copy.deepcopy(document)
    for one in (r for c in other["cells"] for r in c["results"] if r["contender"] == name):
        for field in ("median", "low", "high"):
            one["step_s"][field] *= factor
        if status:
            one.update(status=status, reason="it broke")
    return other


@pytest.mark.parametrize(
    ("factor", "outcome"),
    [(1.2, "slower"), (1.055, "unclear"), (1.0, "same"), (1 / 1.055, "unclear"), (0.8, "faster")],
)
def test_intervals_decide_what_changed(document, factor, outcome):
    changes = {c.key: c for c in compare(document, changed(document, factor), share=0.05)}
    ours = [c for key, c in changes.items() if key[-1] == "mlpx/x"]
    assert {c.outcome for c in ours} == {outcome}
    assert ours[0].ratio == pytest.approx(factor)
    assert ours[0].low < factor < ours[0].high
    assert has_regressed(list(changes.values())) == (outcome == "slower")
    assert all(c.outcome == "same" for key, c in changes.items() if key[-1] != "mlpx/x")


@pytest.mark.parametrize("factor", [1.25, 0.8])
def test_a_change_as_large_as_the_share_is_still_the_same(document, factor):
    sharp = copy.deepcopy(document)
    for one in (r for c in sharp["cells"] for r in c["results"] if r["status"] == "ok"):
        one["step_s"].update(median=1.0, low=1.0, high=1.0)
    assert {c.outcome for c in compare(sharp, changed(sharp, factor), share=0.25)} == {"same"}


def test_wide_intervals_are_never_slower(document):
    noisy = copy.deepcopy(document)
    for one in (r for c in noisy["cells"] for r in c["results"] if r["status"] == "ok"):
        one["step_s"]["low"] *= 0.7
        one["step_s"]["high"] *= 1.4
    outcomes = {c.outcome for c in compare(noisy, changed(noisy, 1.2), share=0.05)}
    assert outcomes == {"unclear"}


@pytest.mark.parametrize(
    ("status", "fails"), [("wrong", True), ("failed", True), ("rejected", False)]
)
def test_a_figure_that_is_gone(document, status, fails):
    changes = compare(document, changed(document, 1.0, status=status))
    gone = [c for c in changes if c.outcome == "missing"]
    assert len(gone) == 2 * len(SIZES)
    assert gone[0].reason == f"{status}: it broke"
    assert has_regressed(changes) == fails


def test_changes_are_told_a_line_each(document, tmp_path, capsys):
    other = changed(changed(document, 1.2), 1.0, name="torch/eager", status="failed")
    for name, found in (("a", document), ("b", other)):
        documents.save(found, tmp_path / name)
    assert show_changes(tmp_path / "a", tmp_path / "b", "5%")
    told, seen = capsys.readouterr().out, "train float32 cpu 2t batch 32"
    assert f"slower   mlpx/x                       mnist {seen}: 1.200 times the time [1." in told
    assert f"missing  torch/eager                  mnist {seen}: failed: it broke\n" in told


def test_a_slower_peer_is_no_regression_of_ours(document):
    changes = compare(document, changed(document, 2.0, name="torch/eager"))
    assert any(c.outcome == "slower" for c in changes)
    assert not has_regressed(changes)


def test_other_hardware_is_noted(document):
    other = copy.deepcopy(document)
    other["environment"]["cpu"]["model"] = "B"
    other["versions"]["torch"] = "2.14.0"
    assert differences(document, document) == []
    assert differences(document, other) == ["cpu model: A <CPU> and B", "torch: 2.13.0 and 2.14.0"]


@pytest.mark.parametrize(
    ("text", "share"), [("5%", 0.05), ("0.05", 0.05), (" 12.5% ", 0.125), ("0", 0.0)]
)
def test_shares(text, share):
    assert parse_share(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["", "-1%", "five", "nan", "2000%"])
def test_shares_that_are_none(text):
    with pytest.raises(InputError, match="5%"):
        parse_share(text)


def test_markdown_says_who_is_fastest_and_what_is_left_out(document):
    text = to_markdown(document)
    assert "| mlpx/x, cpu | **6.00 µs (±1)** | **37.0 µs (±1)** | 517 µs (±1) |" in text
    assert "| mlpx/x, cuda | 50.0 µs (±1) | 50.3 µs (±1) | **55.1 µs (±1)** |" in text
    assert "Ours against the best peer, geometric mean: 3.00 times; least 3.00, at batch 1." in text
    assert "- jax/jit, wrong: loss <differs>" in text
    assert "commit aaaaaaaaaaaa" in text
    assert "| 512 | 0.1 | not in 900 | 0.9500 |" in text
    assert against_best_peer(document["cells"][0])[0] == pytest.approx(3.0)
    assert against_best_peer(document["cells"][1]) is None


def test_only_times_and_rates_have_a_winner_in_bold(document):
    text = to_markdown(document)
    assert "**" not in text[text.index("Share of the") : text.index("## Time to")]
    assert text.count("**") == 2 * 2 * len(SIZES)


def test_csv_has_a_line_a_result(document):
    lines = to_csv(document).splitlines()
    assert len(lines) == 1 + 5 * len(SIZES)
    assert lines[0].startswith("workload,phase,dtype,threads,device,batch_size,contender,status")


class Page(HTMLParser):
    """What a browser finds in a page: elements that are all closed, their text, the charts."""

    def __init__(self, text):
        super().__init__()
        self.open, self.texts, self.attributes, self.charts = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["script"]:
            self.texts += [(self.open[-1], data)] if data.strip() else []
        elif self.attributes[-1] == ("script", "type", "application/json"):
            self.charts.append(json.loads(data))

    def under(self, tag):
        return [text for found, text in self.texts if found == tag]


def test_the_page_asks_for_nothing_from_outside(document):
    text = to_html(document)
    page = Page(text)
    asking = {"src", "href", "srcset", "data", "action", "poster", "background"}
    assert not [each for each in page.attributes if each[1] in asking]
    assert not {tag for tag, *_ in page.attributes} & {"link", "iframe", "img", "base", "object"}
    assert not re.search(r"@import|url\(", CSS)
    assert ("meta", "content", html.POLICY) in page.attributes
    assert html.POLICY.startswith("default-src 'none';")
    assert not re.search(r"https?:|//|connect-src|img-src", html.POLICY)
    assert "Content-Security-Policy" in text.partition("<style>")[0]


def test_the_page_opens_with_the_answer_and_has_every_figure(document):
    page = Page(to_html(document))
    assert page.under("h2")[:3] == [
        "Samples a second", "How it was measured",
        "mnist: 784-50-10, sigmoid, sgd, train, float32, 2 threads",
    ]  # fmt: skip
    first = page.under("p")[:2]
    assert first[0].startswith("2026-01-01T00:00:00+00:00: A <CPU>, 2 processors usable")
    assert first[1] == answer.headline(document)
    assert page.under("h3") == [
        f"mnist: 784-50-10, sigmoid, sgd, train, float32, 2 threads, {device}"
        for device in ("cpu", "cuda")
    ]
    assert page.under("td")[:6] == ["mlpx, a step", "6.00 µs", "37.0 µs", "517 µs", "torch", "3.00"]
    titles = [value for tag, name, value in page.attributes if (tag, name) == ("td", "title")]
    assert titles[1] == "mlpx/x: 36.6 µs to 37.4 µs"
    assert titles[3] == "torch/eager 18.0 µs, mlpx/x 6.00 µs: 2.96 to 3.04 times"
    (spec,) = page.charts
    assert {row["contender"] for row in spec["data"]["values"]} == {
        "gemm/numpy", "mlpx/x", "torch/eager", "mlpx/x, cuda"
    }  # fmt: skip
    assert any(li.startswith("jax/jit, wrong: loss <differs>") for li in page.under("li"))
    assert "jax/jit: about jax/jit" in page.under("li")


def test_names_are_only_text(document):
    bad = "</script><script>alert('1')</script>&amp;\"x\""
    for cell in document["cells"]:
        cell["workload"] = bad
        cell["results"][0]["contender"] = f"{bad}/{bad}"
    document["contenders"][f"{bad}/{bad}"] = {"note": bad, "floors": []}
    document["environment"]["cpu"]["model"] = bad
    page = Page(to_html(document))
    scripts = [value for tag, _, value in page.attributes if tag == "script"]
    assert scripts == ["application/json", "module", "module"]
    assert f"{bad}/{bad}: {bad}" in page.under("li")
    assert any(row["contender"] == f"{bad}/{bad}" for row in page.charts[0]["data"]["values"])
    assert page.under("figcaption")[0].startswith(bad)


def test_a_page_without_cells(document):
    page = Page(to_html({**document, "cells": [], "crossovers": [], "accuracy": None}))
    assert page.under("p")[1] == "No cell has figures of mlpx and of another library."
    assert page.under("h2") == ["How it was measured", "Left out", "Who is who"]
    assert page.charts == []
    assert not [tag for tag, *_ in page.attributes if tag == "script"]


def test_a_page_of_what_failed_and_one_batch_size(document):
    document["cells"] = document["cells"][:1]
    for one in document["cells"][0]["results"]:
        one.update(status="rejected", reason="busy")
    page = Page(to_html(document))
    assert (page.under("h3"), page.charts) == ([], [])
    assert page.under("h2")[1].startswith("mnist")
    document["cells"][0]["results"][1]["status"] = "ok"
    page = Page(to_html(document))
    assert page.under("td")[:2] == ["mlpx, a step", "6.00 µs"]
    assert len(page.charts[0]["data"]["values"]) == 2  # as the library's, and as its own


def test_the_headline(document):
    assert answer.headline(document) == (
        "mlpx is 3.00 times as fast as the fastest other library, in the geometric mean of 3 "
        "cells, and behind in none."
    )
    nearer = copy.deepcopy(document)
    for cell in nearer["cells"][::2]:  # JAX takes twice our time, PyTorch still three times
        cell["results"][3] = {**cell["results"][1], "contender": "jax/jit"}
        cell["results"][3]["step_s"] = {
            key: 2 * cell["results"][1]["step_s"][key] for key in ("median", "low", "high")
        } | {"coverage": 1.0, "rounds": 6}
    assert answer.headline(nearer).startswith("mlpx is 2.00 times as fast as the fastest other")
    slower = changed(document, 1 / 4, name="torch/eager")
    assert answer.headline(slower) == (
        "mlpx is 0.750 times as fast as the fastest other library, in the geometric mean of 3 "
        "cells, and behind in 3: mnist at 1 (0.750 times torch/eager), mnist at 32 (0.750 times "
        "torch/eager), mnist at 512 (0.750 times torch/eager)."
    )
    slower["cells"] = slower["cells"][:1]
    assert answer.headline(slower) == (
        "mlpx is 0.750 times as fast as the fastest other library: mnist at 1, torch/eager."
    )


def test_the_fastest_mode_of_each_library_counts(document):
    cell = document["cells"][0]
    other = copy.deepcopy(cell["results"][2]) | {"contender": "torch/fused"}
    other["step_s"] = cell["results"][1]["step_s"]
    slow = copy.deepcopy(cell["results"][2]) | {"contender": "mlpx/slow"}
    cell["results"] += [other, slow]
    assert {name: r["contender"] for name, r in answer.fastest(cell).items()} == {
        "mlpx": "mlpx/x", "torch": "torch/fused"
    }  # fmt: skip
    assert answer.rivals(cell)["torch"].gain == 1
    assert answer.mean_gains([cell, document["cells"][2]]) == {"torch": pytest.approx(3**0.5)}
    del cell["results"][1]
    assert answer.rivals({**cell, "results": [other]}) == {}


def test_every_colour_has_a_light_and_a_dark_value():
    assert LIGHT.keys() == DARK.keys()
    assert set(re.findall(r"var\(--(\w+)\)", CSS)) <= LIGHT.keys()
    assert "prefers-color-scheme: dark" in CSS
    assert len(set(LIGHT.values())) == len(LIGHT)  # a drawing's colours are told apart by these
    assert set(LIBRARIES) <= LIGHT.keys()


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_lines_and_words_stand_out(colours):
    surface = luminance(colours["surface"])
    for name, colour in colours.items():
        if name in ("page", "surface", "line", "axis"):
            continue
        low, high = sorted((luminance(colour), surface))
        wanted = 4.5 if name in ("ink", "soft", "good", "bad") else 3.0  # WCAG 2.1: text, graphics
        assert (high + 0.05) / (low + 0.05) >= wanted, name


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (duration(1.234e-8), "12.3 ns"), (duration(9.876e-6), "9.88 µs"),
        (duration(0.0123), "12.3 ms"),
        (duration(61.0), "61.0 s"), (rate(1234567), "1.23 M"), (rate(999), "999"),
        (rate(12345), "12.3 k"), (megabytes(None), "–"), (megabytes(3_000_000), "3.00 MB"),
        (percent(0.934), "93 %"), (figures(0), "0"), (figures(1234567), "1,234,567"),
    ],
)  # fmt: skip
def test_quantities(text, wanted):
    assert text == wanted


def option(device, batch_size, threads, rate, engine="x"):
    return {
        "device": device, "engine": engine, "batch_size": batch_size, "threads": threads,
        "samples_per_s": rate, "step_s": batch_size / rate,
    }  # fmt: skip


def test_advice_takes_the_smallest_batch_that_is_nearly_as_fast():
    options = [
        option("cpu", 32, 1, 50.0), option("cpu", 128, 2, 95.0), option("cpu", 128, 1, 91.0),
        option("cpu", 512, 2, 100.0), option("cuda", 128, 1, 40.0),
    ]  # fmt: skip
    assert choose(options) == options[2]
    line = advice(options)
    assert line.startswith("cpu, x, batch 128, 1 thread: 91.0 samples/s")
    assert "on cuda 2.27x" in line
    assert "with 2 threads 0.96x" in line
    assert "at batch 512 0.91x" in line
    assert "\n" not in line
    assert "no figure" in advice([])


def test_thread_counts():
    assert thread_counts(1) == [1]
    assert thread_counts(6) == [1, 2, 4, 6]
    assert thread_counts(8) == [1, 2, 4, 8]
