"""A section that dies, for rehearsals: what it found before is kept."""

from __future__ import annotations

import os
from collections.abc import Iterator

from gpu.section import Row, Setup


def run(setup: Setup) -> Iterator[Row]:
    yield {"found": "before the crash"}
    os.abort()
