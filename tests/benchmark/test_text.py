"""The report as text: on terminals of several widths, and line by line in a pipe."""

from __future__ import annotations

import pytest
from reporting import SIZES

from mlpx.benchmark.report import document as documents
from mlpx.benchmark.report.text import FIELDS, aligned, to_lines, to_text
from mlpx.cli.bench import run


def rows_of(text):
    """The rows of the table of steps."""
    lines = text.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("batch "))
    return lines[at : lines.index("", at)]


def test_columns_are_two_spaces_apart():
    assert aligned([["a", "b", "c"], ["1", "22", ""]], left={0}) == ["a   b  c", "1  22"]


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_nothing_is_cut_at_any_width(document, width):
    document["cells"] = [cell for cell in document["cells"] if cell["device"] == "cpu"]
    for cell in document["cells"]:
        cell["results"][1]["contender"] = "mlpx/interpreter fit"  # the longest name there is
        cell["results"][2]["contender"] = "sklearn/partial_fit"
    text = to_text(document, width=width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    head, *rows = rows_of(text)
    assert ("samples/s" in head) is (width > 60)
    assert [row.split()[0] for row in rows[::3]] == [str(size) for size in SIZES]


def test_the_best_mode_of_each_library_is_shown_and_the_others_counted(document):
    document["cells"] = document["cells"][2:3]  # batch 32 on the CPU
    slower = {**document["cells"][0]["results"][2], "contender": "torch/slow"}
    slower["step_s"] = {**slower["step_s"], "median": 1.0}
    document["cells"][0]["results"].insert(0, slower)
    assert rows_of(to_text(document, width=80)) == [
        "batch  contender       a step  95 %  samples/s  peak  x ours",
        "   32  gemm/numpy     18.5 µs  ±1 %     1.73 M  86 %   0.500",
        "       mlpx/x         37.0 µs  ±1 %      865 k  43 %",
        "       torch/eager     111 µs  ±1 %      288 k  14 %    3.00",
        "       1 slower mode",
    ]


def test_devices_have_a_column_if_there_are_several(document):
    head, first, *_ = rows_of(to_text(document, width=120))
    assert head.startswith("batch  device  contender")
    assert first.startswith("    1  cpu     gemm/numpy")
    document["cells"] = [cell for cell in document["cells"] if cell["device"] == "cuda"]
    head, first, *_ = rows_of(to_text(documents.finish(document), width=120))
    assert head.split() == ["batch", "contender", "a", "step", "95", "%", "samples/s", "x", "ours"]


def test_without_ours_nothing_is_compared_with_it(document):
    for cell in document["cells"]:
        cell["results"] = [r for r in cell["results"] if not r["contender"].startswith("mlpx/")]
    assert "x ours" not in to_text(document, width=80)
    for cell in document["cells"]:
        cell["results"] = []
    assert "No figures; what was left out says why." in to_text(document, width=80)


def test_time_to_accuracy_names_who_is_there_first(document):
    text = to_text(document, width=80)
    assert "Time to 95 % of the test images of MNIST" in text
    (line,) = [line for line in text.splitlines() if line.split()[:3] == ["32", "0.1", "1000"]]
    assert line.split()[3:] == ["mlpx/x", "37.0", "ms"]
    assert "not in 900" in text
    document["accuracy"] = {"reason": "MNIST is not here", "climbs": []}
    assert "Time to accuracy on MNIST: MNIST is not here" in to_text(document, width=80)
    document["accuracy"] = None
    assert "MNIST is" not in to_text(document, width=80)


def test_in_a_pipe_there_is_a_line_for_each_contender_in_each_cell(document):
    text = to_lines(document)
    assert text.isascii()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    head, *rows = [line.split(maxsplit=len(FIELDS) - 1) for line in lines]
    assert tuple(head) == FIELDS
    assert len(rows) == 5 * len(SIZES)  # who was wrong has one too
    (ours,) = [
        dict(zip(head, row, strict=True))
        for row in rows
        if row[-1] == "mlpx/x" and row[4:6] == ["cpu", "32"]
    ]
    assert (ours["workload"], ours["phase"], ours["status"]) == ("mnist", "train", "ok")
    assert (ours["step_us"], ours["half_%"], ours["samples_per_s"]) == ("37.00", "1.0", "864865")
    assert (ours["gflops"], ours["peak_%"], ours["compile_s"]) == ("172.97", "43.2", "-")
    wrong = [row for row in rows if row[-1] == "jax/jit"]
    assert {tuple(row[6:-1]) for row in wrong} == {("wrong", *"------")}
    assert "# jax/jit, wrong: loss <differs>" in text
    assert "# 2026-01-01" in text
    assert "1 % before, - after" in text


def test_who_did_not_take_part_has_no_line(document):
    for result in document["cells"][0]["results"]:
        result.update(status="absent", reason="not installed")
    assert len([s for s in to_lines(document).splitlines() if s[0] != "#"]) == 1 + 5 * 2 + 1


def test_a_terminal_is_shown_tables_of_its_width(document, monkeypatch):
    assert run._text(document) == to_lines(document)
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr(run.sys.stdout, "isatty", lambda: True)
    assert run._text(document) == to_text(document, width=60)
