"""Tables on the command line: which names are files of tables, and how they are read."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import typer

from mlpx.data import DATASETS
from mlpx.errors import DataNotFoundError, InputError

if TYPE_CHECKING:
    from mlpx.cli.answers import Answers
    from mlpx.mlp import MLP
    from mlpx.tables.saved import TableModel

ENDINGS = (".csv", ".tsv", ".txt", ".data", ".parquet", ".feather", ".arrow")
COMPRESSED = (".gz", ".bz2", ".zst")
STDIN, UTF8, PARQUET = "-", "utf-8", b"PAR1"


def is_table(name: str) -> bool:
    """Whether the data set `name` is a table: by the ending of the file, or a folder."""
    path = Path(name)
    if path.suffix.lower() in COMPRESSED:
        path = path.with_suffix("")
    return path.suffix.lower() in ENDINGS or (name not in DATASETS and path.is_dir())


def is_of_table(model: MLP) -> bool:
    """Whether a model was trained on a table of named columns."""
    return "table" in (model.about or {})


def read(path: str | Path, *, encoding: str | None = None, texts: Iterable[str] = ()) -> Any:
    """The table in a file or a folder, or on standard input for "-", a pyarrow.Table.

    encoding: of text, UTF-8 unless given. texts: columns that stay text: a few rows of codes such
    as 01 look like numbers. Raises DataError, MissingExtraError, InputError.
    """
    from mlpx.tables.reading import read_table

    options: dict[str, Any] = {"encoding": encoding or UTF8, "texts": list(texts)}
    if str(path) != STDIN:
        return read_table(Path(path).expanduser(), **options)
    if sys.stdin is None:
        raise DataNotFoundError("standard input is closed; wanted a table")
    content = typer.get_binary_stream("stdin").read()
    with tempfile.TemporaryDirectory() as folder:
        ending = ".parquet" if content.startswith(PARQUET) else ".csv"
        file = Path(folder) / f"stdin{ending}"
        file.write_bytes(content)
        return read_table(file, **options)


def texts_of(made: TableModel) -> list[str]:
    """The columns that were text where the model was trained."""
    classes = made.target.classes
    of_target = [made.target.name] if classes and isinstance(classes[0], str) else []
    return [*made.encoder.text_columns, *of_target]


def answer(
    model: MLP, path: Path, *, proba: bool, encoding: str | None, batch_size: int
) -> Answers:
    """What a model of tables says of the rows of the table in the file `path`.

    Raises InputError for probabilities of values, and as `read`.
    """
    from mlpx.cli.answers import Answers
    from mlpx.tables.saved import TableModel

    made = TableModel.of(model)
    target = made.target
    if proba and not target.classes:
        raise InputError(f"the model predicts values of {target.name!r}, not probabilities")
    found = made.answers(
        made.encode(read(path, encoding=encoding, texts=texts_of(made))), batch_size
    )
    if not target.classes:
        return Answers(found[:, None], None, None)
    names = list(map(str, target.classes))
    labels = np.array(names) if isinstance(target.classes[0], str) else target.labels
    return Answers(found if proba else found.argmax(axis=1), labels, names)
