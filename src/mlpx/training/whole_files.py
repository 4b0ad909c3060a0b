"""A training on memory-mapped files ends when one of them shrinks."""

from __future__ import annotations

from mlpx.engines.native.mapped import Watch
from mlpx.training.run import Callback, Run


class WholeFiles(Callback):
    """Raises DataError soon after a read came behind the end of a file."""

    def __init__(self, files: Watch) -> None:
        self.files = files

    def on_steps(self, run: Run) -> None:
        self.files.check()
