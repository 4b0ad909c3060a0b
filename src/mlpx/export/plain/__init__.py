"""A model as a module of plain NumPy and a file of parameters, neither of which needs mlpx.

The functions of the module are those in `functions`, and only what the model needs of them.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterable
from keyword import iskeyword
from pathlib import Path
from typing import Any

from mlpx.errors import InputError
from mlpx.export.answers import Answers
from mlpx.export.plain.module import module
from mlpx.files import write_atomically
from mlpx.network.checkpoint import content
from mlpx.network.network import Network

__all__ = ["export_numpy"]
MODULE, PARAMETERS = ".py", ".safetensors"


def export_numpy(
    model: Network,
    path: str | os.PathLike[str],
    *,
    names: Iterable[Any] | None = None,
    before: str | None = None,
    after: str | None = None,
    temperature: float = 1.0,
) -> None:
    """Write `model` as a Python module at `path`, which ends in .py, and its parameters beside it
    in a file that ends in .safetensors.

    The module needs NumPy alone. It has `predict(x)`, `predict_proba(x)` if the model has
    probabilities, and `outputs(x)`, for rows x (n, d_in). `predict` gives classes as numbers
    0, 1, ... or as `names` calls them, whole numbers or text; the values of a regression.
    `before` is Python text that defines `prepare(x)`: the rows (n, d_in) of what `predict` is
    given. `after` defines `finish(value)` for the values of a regression. Logits are divided by
    `temperature` before they become probabilities.

    The file of parameters is a model file too, which `MLP.load` reads. One that is there without
    its module is not replaced. Raises InputError, InputTypeError, CheckpointError.
    """
    from mlpx import __version__

    target = Path(path)
    _check(target)
    answers = Answers.of(model, names)
    file = content(model, model.backend.to_numpy(model.flat), None).to_bytes()
    numbers = memoryview(file)[8 + int.from_bytes(file[:8], "little") :]
    text = module(
        model, answers, stem=target.stem, version=__version__, checksum=zlib.crc32(numbers),
        before=before, after=after, temperature=temperature,
    )  # fmt: skip
    if re.search(rf"^(import|from) {target.stem}\b", text, re.MULTILINE):
        raise InputError(f"the module imports {target.stem}, so it cannot be {target.name} itself")
    write_atomically(target, text.encode())
    write_atomically(target.with_suffix(PARAMETERS), file)


def _check(target: Path) -> None:
    """Raises InputError unless `target` and the file beside it may be written."""
    if target.suffix != MODULE:
        raise InputError(f"path = {str(target)!r}; wanted a name that ends in {MODULE}")
    if not target.stem.isidentifier() or iskeyword(target.stem):
        raise InputError(
            f"{target.name} cannot be imported: {target.stem!r} is no name; wanted one such as "
            "model.py"
        )
    beside = target.with_suffix(PARAMETERS)
    if beside.exists() and not target.exists():
        raise InputError(
            f"{beside} is there and {target.name} is not, so it may be a model that was saved; "
            "name another file"
        )
