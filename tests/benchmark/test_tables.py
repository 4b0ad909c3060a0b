"""The report of a benchmark that lacks something, and what the command says of it."""

from __future__ import annotations

import copy

import pytest
from typer.testing import CliRunner

from mlpx.benchmark.report import document as documents
from mlpx.benchmark.report.html import _inline, to_html
from mlpx.benchmark.report.tables import (
    compile_line,
    conditions,
    left_out,
    step_lines,
    to_markdown,
)
from mlpx.benchmark.report.text import to_lines
from mlpx.cli import app
from mlpx.cli.bench.run import PartialResults, _report


def test_the_command_is_named_if_there_was_one(document):
    assert conditions(document)[-1] == "- made by `mlpx bench`"
    document["command"] = []
    assert not any("made by" in line for line in conditions(document))


def test_a_contender_without_a_figure_leaves_its_place_empty(document):
    del document["cells"][2]["results"][2]
    (line, *_) = (s for s in to_markdown(document).splitlines() if s.startswith("| torch/eager"))
    assert line == "| torch/eager, cpu | 18.0 µs (±1) |  | 1.55 ms (±1) |"


def test_each_contender_has_its_own_time_to_accuracy(document):
    rows = [
        line.split(" | ")[4:] for line in to_markdown(document).splitlines() if " | 0.9500" in line
    ]
    assert rows == [
        ["24.0 ms", "72.0 ms", "200 ms |"],
        ["37.0 ms", "111 ms", "50.3 ms |"],
        ["–", "–", "– |"],
    ]


def test_why_there_is_no_time_to_accuracy(document):
    document["accuracy"] = {"reason": "MNIST is <not> here", "climbs": []}
    text = to_markdown(document)
    assert "## Time to accuracy on MNIST\n\nMNIST is <not> here\n" in text
    assert "<h2>Time to accuracy on MNIST</h2>\n<p>MNIST is &lt;not&gt; here</p>" in to_html(
        document
    )


def test_what_no_cell_knows_has_no_table(document):
    text = to_markdown(document)
    assert "Share of the machine's peak:" in text
    assert "Compiling" not in text
    rows = [line for line in text.splitlines() if line.startswith("| mlpx/x, cuda |")]
    assert "| mlpx/x, cuda | – | – | – |" not in rows
    document["cells"] = [cell for cell in document["cells"] if cell["device"] == "cuda"]
    assert "Share of" not in to_markdown(documents.finish(document))


def test_compiling_is_shown_apart_where_it_takes_a_while(document):
    for cell, taken_s in zip(document["cells"][::2], (2.0, 3.0, 4.0), strict=True):
        cell["results"][2]["compile_s"] = taken_s
    line = compile_line(document["cells"])
    assert line == "Compiling before the first step, at each batch size: torch/eager 3.0 s."
    text = to_markdown(document)
    table = text[text.index("Compiling before") : text.index("Peak memory")]
    assert "| torch/eager, cpu | 2.0 s | 3.0 s | 4.0 s |" in table
    assert "mlpx/x" not in table


def test_the_least_gain_has_its_batch(document):
    document["cells"][2]["results"][2]["step_s"]["median"] = 1e-6 * 37 * 0.5
    assert "times; least 0.500, at batch 32." in "\n".join(step_lines(document["cells"]))


def test_a_mode_without_the_phase_is_left_out_silently_if_another_has_it(document):
    lacking = [
        {"contender": name, "status": "unsupported", "reason": "has no phase 'train'"}
        for name in ("torch/graph", "onnxruntime/session")
    ]
    document["cells"] = document["cells"][:1]
    document["cells"][0]["results"] += lacking
    assert left_out(document) == [
        "- jax/jit, wrong: loss <differs>",
        "- onnxruntime/session, unsupported: has no phase 'train'",
    ]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("`a` and **b**", "<code>a</code> and <b>b</b>"),
        ("2 ** 3, `a`", "2 ** 3, <code>a</code>"),
        ("a ` b, **c** **", "a ` b, **c** **"),
        ("**<x>** `", "<b>&lt;x&gt;</b> `"),
    ],
)
def test_marks_that_are_no_pair_stay(text, wanted):
    assert _inline(text) == wanted


def test_without_a_folder_the_report_is_printed(document, tmp_path, capsys):
    _report(document, None)
    assert capsys.readouterr().out == to_lines(document) + "\n"
    _report(document, tmp_path)
    assert capsys.readouterr().out == f"wrote {tmp_path}/bench.json, .csv, .md, .html and .svg\n"
    assert (tmp_path / "bench.md").read_text(encoding="utf-8") == to_markdown(document) + "\n"


def test_an_interrupt_before_the_first_cell_without_a_folder(capsys):
    assert PartialResults(None).stopped(3) == "interrupted after 0 of 3 cells"
    assert capsys.readouterr().out == ""


@pytest.fixture
def compare(document, tmp_path):
    """Compares the document with another one."""

    def run(other, *options):
        files = [tmp_path / "a.json", tmp_path / "b.json"]
        for file, content in zip(files, (document, other), strict=True):
            documents.save(content, file)
        return CliRunner(env={"COLUMNS": "200"}).invoke(
            app, ["bench", "compare", *map(str, files), *options]
        )

    return run


def test_another_machine_is_noted_before_the_changes(document, compare):
    other = copy.deepcopy(document)
    other["environment"]["cpu"]["model"] = "B\x1b[2J"
    found = compare(other)
    assert found.exit_code == 0
    assert found.stderr == "note: cpu model: A <CPU> and B\\x1b[2J\n"
    assert found.stdout.splitlines()[-1] == (
        "12 results: 0 slower, 0 faster, 12 same, 0 unclear or missing (at 0.05)"
    )
    assert compare(document).stderr == ""


def test_a_result_that_is_gone_is_told(document, compare):
    other = copy.deepcopy(document)
    del other["cells"][2]
    told = compare(other).stdout
    cell = "mnist train float32 cpu 2t batch 32"
    assert f"missing  torch/eager                  {cell}: not measured\n" in told


def test_a_share_that_is_none_is_wrong_usage(document, compare):
    found = compare(document, "--fail-slower", "soon")
    assert (found.exit_code, found.stdout) == (2, "")
    assert "--fail-slower" in found.stderr
    assert "'soon'" in found.stderr
