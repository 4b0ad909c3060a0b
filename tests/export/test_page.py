"""docs/export.md: its commands and its code run, one after the other."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest
from commanding import mlpx

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: mlpx[peers]")
pytest.importorskip("sklearn", reason="scikit-learn is not installed: mlpx[sklearn]")
pytest.importorskip("pyarrow", reason="pyarrow is not installed: mlpx[tables]")
PAGE = (Path(__file__).parents[2] / "docs" / "export.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(console|python)\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.usefixtures("elsewhere", "blank_pictures")
def test_the_page_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(tmp_path)
    assert [kind for kind, _ in BLOCKS] == [
        "console", *["python"] * 5, "console", "python", "python",
    ]  # fmt: skip
    names = {}
    for kind, text in BLOCKS:
        if kind == "console":
            for line in text.splitlines():
                assert line.startswith("$ mlpx ")
                done = mlpx(*shlex.split(line)[2:])
                assert done.exit_code == 0, done.output
        else:
            exec(compile(text, "export.md", "exec"), names)
    for module in ("digits", "shop"):
        sys.modules.pop(module)
    assert capsys.readouterr().out.startswith("[")
    assert set(names["label"].tolist()) <= {"no", "yes"}
    assert Path("CARD.md").read_text().startswith("# Model card: digits")
