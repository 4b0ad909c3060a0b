"""What `make audit` makes of the answers of pip-audit, which is not run here."""

from __future__ import annotations

import json
import runpy
import subprocess
from pathlib import Path

import pytest

AUDIT = runpy.run_path(str(Path(__file__).resolve().parents[1] / ".ci" / "audit"))
SOUND = {"name": "rich", "version": "15.0.0", "vulns": []}
UNKNOWN = {"name": "scipy", "skip_reason": "Dependency not found on PyPI"}
HOLES = [{"id": "PYSEC-1", "fix_versions": ["2.1", "3.0"]}, {"id": "PYSEC-2", "fix_versions": []}]
VULNERABLE = {"name": "numpy", "version": "2.0.0", "vulns": HOLES}
LIST = "numpy 2.0.0: PYSEC-1, fixed in 2.1 or 3.0\nnumpy 2.0.0: PYSEC-2, fixed in no version yet\n"
NO_NETWORK = "requests.exceptions.ConnectionError: HTTPSConnectionPool: Max retries exceeded"
ANSWERS = {
    "sound": ([SOUND], "", 0, "0 known vulnerabilities in 1 packages\n"),
    "vulnerable": ([SOUND, VULNERABLE], "", 1, f"{LIST}2 known vulnerabilities in 2 packages\n"),
    "unknown": (
        [UNKNOWN],
        "",
        0,
        "not audited: the service knows nothing of scipy\n0 known vulnerabilities in 0 packages\n",
    ),
    "no network": (
        None,
        f"Traceback\n{NO_NETWORK}",
        0,
        f"not audited: the service does not answer: {NO_NETWORK}\n",
    ),
    "anything else": (None, "No module named pip_audit", 1, ""),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_only_what_is_vulnerable_or_broken_fails(case, monkeypatch, capsys):
    packages, complaint, code, said = ANSWERS[case]
    answer = "" if packages is None else json.dumps({"dependencies": packages})
    ended = subprocess.CompletedProcess([], bool(complaint or code), answer, complaint)
    monkeypatch.setattr(subprocess, "run", lambda command, **options: ended)
    assert AUDIT["main"]("folder") == code
    assert capsys.readouterr() == (said, "" if said else f"{complaint}\n")
