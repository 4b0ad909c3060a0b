"""The progress bar of a download."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def download_display() -> Iterator[Callable[[int, int | None], None] | None]:
    """A callback that draws a bar on stderr from the first byte on; None unless on a terminal."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield None
        return
    bars: list[Any] = []

    def show(done_bytes: int, total_bytes: int | None) -> None:
        if not bars:
            bars.append(_start())
        bar, task = bars[0]
        bar.update(task, completed=done_bytes, total=total_bytes)

    try:
        yield show
    finally:
        for bar, _ in bars:
            bar.stop()


def _start() -> tuple[Any, Any]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

    bar = Progress(
        "downloading", BarColumn(), DownloadColumn(), TransferSpeedColumn(),
        console=Console(stderr=True), transient=True,
    )  # fmt: skip
    bar.start()
    return bar, bar.add_task("", total=None)
