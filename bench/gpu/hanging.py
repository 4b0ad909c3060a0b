"""A section that never ends, for rehearsals: it is stopped at its limit, with its children."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

from gpu.section import Row, Setup


def run(setup: Setup) -> Iterator[Row]:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield {"found": "before the hang", "child": child.pid}
    time.sleep(600)
