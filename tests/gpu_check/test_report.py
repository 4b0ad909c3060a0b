"""What the GPU check makes of its lines: a document, its Markdown, drawings, the README's table."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

sys.path.append(str(Path(__file__).parents[2] / "bench"))
from gpu import check, document, markdown, readme, report
from gpu.harness import Line, append
from gpu.targets import DEEP, SMALL, WIDE, targets

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "bench" / "results"


def line(section: str, *rows: Any, part: str = "first", **more: Any) -> Line:
    made = {"part": part, "section": section, "at": "2026-12-01T10:00:00Z", "commit": "abc"}
    made |= {"verdict": "passed", "seconds": 2.0, "rows": list(rows), "quick": False}
    return made | {"rehearsed": False, "said": "a traceback"} | more


def environment(gpu: str = "NVIDIA H100 80GB HBM3", **more: Any) -> Line:
    machine = {"what": "machine", "python": "3.12.3", "packages": {"torch": "2.11.0", "jax": None}}
    device = {"what": "device", "gpu": gpu, "cupy": "14.2.0", "driver": 13000}
    return line(
        "environment", device, machine, {"what": "engine of the CPU", "engine": "native"}, **more
    )


def beside(cell: str, **times: float) -> dict[str, Any]:
    """A row of the peers: microseconds by contender."""
    names = {"ours": "mlpx/cuda", "eager": "torch/fused", "graph": "torch/graph", "jax": "jax/scan"}
    row: dict[str, Any] = {"cell": cell, "together": True}
    row["step_us"] = {names[name]: us for name, us in times.items()}
    graphs = [us for name, us in times.items() if name in ("graph", "jax")]
    row["best_graph_over_ours"] = min(graphs) / times["ours"]
    if "eager" in times:
        row["eager_over_ours"] = times["eager"] / times["ours"]
    return row | {"gemm_floor_share": 0.8 if "bf16" in cell else 0.9}


def every() -> list[Line]:
    """Lines of both parts, with rows as the sections make them."""
    net = {"network": [784, 50, 10], "optimizer": "sgd", "batch_size": 100, "precision": "float32"}
    other = net | {"network": [784, 20, 10]}
    parity = {"name": "relu 50", "dtype": "float32", "precision": "float32", "bound": 2e-3}
    parity |= {"differences": {"cuda": 1e-7, "interpreter on the GPU": 2e-7}, "passed": True}
    product = {"check": "product", "operation": "affine", "epilogue": "bias", "precision": "tf32"}
    deep = [beside(f"{DEEP} {kind}", ours=100.0, graph=90.0) for kind in ("float32", "bf16")]
    return [
        environment(),
        line("compiling", {"check": "compiling", "file": "a.cu", "seconds": 3.0, "passed": True}),
        line(
            "kernel_cases",
            {"check": "kernel", "kernel": "copy", "passed": True, "worst_eps": 1.5},
            {"check": "kernel", "kernel": "sum", "passed": False, "why": "a | b"},
            verdict="failed",
        ),
        line("products", product | {"passed": True, "planned": 5, "of": 6, "worst_error": 1e-4}),
        line("parity", parity),
        line(
            "steps",
            net | {"what": "step", "graph_steps": 32, "lanes": 3, "step_us": 40.0, "nodes": 16},
            net | {"what": "step", "graph_steps": 1, "lanes": 3, "step_us": 50.0, "nodes": 16},
            net | {"what": "operations", "us": {"0 gather": 2.0, "1 affine": 3.0}},
            net | {"what": "products of our own", "us": {"1 affine": 9.0}},
            other | {"what": "step", "step_us": 30.0},
        ),
        line("ceilings", {"ceiling": "node_s", "value": 1.3e-6}),
        line(
            "peers_small",
            beside(SMALL, ours=41.0, eager=310.0, graph=90.0),
            {"cell": SMALL, "contender": "torch/whole", "why": "no time: 3 s left"},
            beside(SMALL, ours=40.0, eager=300.0, graph=80.0, jax=72.0),
        ),
        environment(part="second"),
        line("peers_large", beside(WIDE, ours=90.0, graph=99.0), *deep, part="second"),
        line("epoch", {"what": "an epoch", "epoch_ms": 14.2, "passed": True}, part="second"),
        line(
            "crossover",
            {"net": "mnist", "batch": 1, "cpu_us": 4.0, "cuda_us": 30.0},
            {"net": "mnist", "batch": 512, "cpu_us": 90.0, "cuda_us": 31.0},
            {"net": "mnist", "what": "crossover", "batch": 512},
            part="second",
        ),
    ]  # fmt: skip


def test_parts_merge_into_one_document(tmp_path: Path) -> None:
    """Whatever they lie in; of a section that ran again the last counts."""
    for one in every():
        append(tmp_path / f"gpu-check-{one['part']}.jsonl", one)
    append(tmp_path / "gpu-check-second.jsonl", line("memory", {"n": 1}, part="second"))
    append(tmp_path / "gpu-check-second.jsonl", line("memory", {"n": 2}, part="second"))
    out = tmp_path / "out"
    assert check.main(["--merge", str(tmp_path / "gpu-check-first.jsonl"), "--out", str(out)]) == 0
    (path,) = out.glob("*.json")
    assert path.name == "gpu-h100-80gb-hbm3-2026-12-01.json"
    assert set(json.loads(path.read_text())["parts"]) == {"first"}
    second = str(tmp_path / "gpu-check-second.jsonl")
    assert check.main(["--merge", str(path), second, "--out", str(out)]) == 0
    found = json.loads(path.read_text())
    assert (found["schema"], found["commit"], found["when"]) == (2, "abc", "2026-12-01T10:00:00Z")
    assert found["gpu"] == "NVIDIA H100 80GB HBM3"
    assert found["versions"] == {
        "driver": 13000, "cupy": "14.2.0", "python": "3.12.3", "cpu engine": "native",
        "torch": "2.11.0",
    }  # fmt: skip
    assert [part["seconds"] for part in found["parts"].values()] == [16.0, 10.0]
    assert len(found["sections"]) == len(every()) + 1
    assert found["sections"][-1]["rows"] == [{"n": 2}]
    assert "said" not in found["sections"][0]


def test_parts_of_different_machines_say_so() -> None:
    made = document.make([environment(), environment("NVIDIA H200", part="second", commit="def")])
    assert made["gpu"] == "NVIDIA H100 80GB HBM3 and NVIDIA H200"
    assert made["commit"] == "abc and def"
    assert made["parts"]["second"]["gpu"] == "NVIDIA H200"
    assert document.slug(made) == "gpu-h100-80gb-hbm3-and-h200-2026-12-01"
    unknown = document.make([line("steps", commit="unknown")])
    assert (unknown["gpu"], unknown["commit"]) == ("unknown", "unknown")


def test_targets() -> None:
    found = [(each.found, each.reached) for each in targets(document.make(every()))]
    assert found == [
        ("7.50", True), ("1.80", True), ("14.2 ms", True), ("1.10", False), ("0.90", True),
        ("not measured", None), ("0.80", False), ("1 of 2 rows, failed", False),
        ("1 of 1 rows, passed", True), ("mnist: 512", False),
    ]  # fmt: skip
    assert {each.found for each in targets(document.make([environment()]))} == {"not measured"}
    cut = [
        one | ({"verdict": "timed out"} if one["section"] == "parity" else {}) for one in every()
    ]
    (parity,) = [t for t in targets(document.make(cut)) if "parity" in t.aim]
    assert (parity.found, parity.reached) == ("1 of 1 rows, timed out", False)


def test_markdown_and_drawings(tmp_path: Path) -> None:
    path = report.write(every(), tmp_path)
    text = path.with_suffix(".md").read_text()
    for part in (
        "| 784-50-10, SGD, 100: 5 times PyTorch eager | 7.50 | yes |",
        "1 of 2 kernel rows passed; worst 1.5 epsilons.\n\n- a | b",
        "| relu 50 | float32 | 1.0e-07 | 2.0e-07 | 0.00200 |",
        "| 784-50-10 sgd 100 float32 | on the device | 32 | 3 | – | – | 16 | 40.0 |",
        "| 1 affine | 3.00 | 9.00 |",
        "| 784-50-10 sgd 100 float32 | torch/fused | 300 | 7.50 |",
        "no time: 3 s left",
        "| node_s | 1.3e-06 |",
    ):
        assert part in text, part
    drawn = sorted(each.name.removeprefix(path.stem) for each in tmp_path.glob("*.svg"))
    assert drawn == [
        "-contenders-1.svg", "-contenders-2.svg", "-contenders-3.svg", "-contenders-4.svg",
        "-crossover-1.svg", "-operations-1.svg",
    ]  # fmt: skip
    for each in tmp_path.glob("*.svg"):
        assert f"({each.name})" in text
        ElementTree.parse(each)
    bars = (tmp_path / f"{path.stem}-contenders-1.svg").read_text()
    widths = [float(each) for each in re.findall(r"h([\d.]+)v18h", bars)]
    assert len(widths) == 4
    assert max(widths) / min(widths) == pytest.approx(300 / 40, rel=0.01)


def test_a_failing_report_costs_no_measurement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delattr(markdown, "parity")
    path = report.write(every(), tmp_path)
    assert json.loads(path.read_text())["schema"] == 2
    assert "not all Markdown: NameError" in capsys.readouterr().out


def test_rows_of_any_kind_can_be_told(tmp_path: Path) -> None:
    """A section that crashed early, rows without what is usual, nothing at all."""
    rows = {}, {"passed": False}, {"what": "step", "why": "x"}, {"cell": "x", "together": True}
    odd = [line(one["section"], *rows) for one in every()]
    path = report.write(odd, tmp_path)
    text = path.with_suffix(".md").read_text()
    assert "## Sections" in text
    assert "cannot be told: KeyError" in text
    assert path.name == "gpu-unknown-2026-12-01.json"


def test_the_readme_has_the_newest_figures() -> None:
    """If this fails: `bench/gpu_check.sh --readme`."""
    text = (ROOT / "README.md").read_text()
    assert text.count(readme.BEGIN) == text.count(readme.END) == 1
    assert readme.section(RESULTS) in text


def test_a_readme_that_is_out_of_date_is_rewritten(tmp_path: Path) -> None:
    shutil.copy(ROOT / "README.md", tmp_path / "README.md")
    before = (tmp_path / "README.md").read_text()
    assert readme.rewrite(tmp_path / "README.md", RESULTS) == "README.md is up to date"
    report.write(every(), tmp_path)
    report.write([environment(at="2026-11-30T00:00:00Z")], tmp_path)
    report.write(
        [each | {"quick": True, "at": "2027-01-01T00:00:00Z"} for each in every()], tmp_path
    )
    assert readme.section(tmp_path) not in before
    assert readme.rewrite(tmp_path / "README.md", tmp_path) == "README.md has a new GPU table"
    after = (tmp_path / "README.md").read_text()
    assert readme.section(tmp_path) in after
    assert "NVIDIA H100 80GB HBM3, 2026-12-01, commit abc" in after
    assert "| 784-50-10, sgd, 100, float32 | 40.0 µs | 300 µs (7.5 x) | 80.0 µs (2.0 x) |" in after
    assert "| 784-20-10, sgd, 100, float32 | 30.0 µs |  |  |  |" in after
    assert "14.2 ms" in after
    rest = (
        text.partition(readme.BEGIN)[0] + text.partition(readme.END)[2] for text in (before, after)
    )
    assert len(set(rest)) == 1
    (tmp_path / "empty").mkdir()
    assert "No GPU" in readme.section(tmp_path / "empty")
    (tmp_path / "README.md").write_text("no marks")
    with pytest.raises(ValueError, match="no place"):
        readme.rewrite(tmp_path / "README.md", tmp_path)


def test_committed_documents_are_what_the_check_makes(tmp_path: Path) -> None:
    """Their Markdown and drawings are made from them."""
    for path in RESULTS.glob("gpu-*.json"):
        found = json.loads(path.read_text())
        assert found["schema"] == document.SCHEMA
        more = {key: found[key] for key in ("partial", "note") if key in found}
        again = report.write(found["sections"], tmp_path, **more)
        assert json.loads(again.read_text()) == found
        for made in tmp_path.glob(f"{path.stem}*"):
            # Another version of Vega may place what is drawn a little differently.
            told = words if made.suffix == ".svg" else Path.read_text
            assert told(made) == told(RESULTS / made.name), made.name


def words(drawing: Path) -> list[str | None]:
    tree = ElementTree.parse(drawing)
    return [each.text for each in tree.iter() if each.tag.endswith("text")]
