"""The report of a benchmark that lacks something, and what the command says of it."""

from __future__ import annotations

import copy

import pytest
from typer.testing import CliRunner

from mlpx.benchmark.report import document as documents
from mlpx.benchmark.report.html import _inline, to_html
from mlpx.benchmark.report.tables import conditions, to_markdown
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
    assert capsys.readouterr().out == to_markdown(document) + "\n"
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
    other["environment"]["cpu"]["model"] = "B"
    found = compare(other)
    assert found.exit_code == 0
    assert found.stderr == "note: cpu model: A <CPU> and B\n"
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
