"""Tables on the command line: which names are files of tables, and how they are read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mlpx.data import DATASETS
from mlpx.errors import CheckpointError

if TYPE_CHECKING:
    from mlpx.cli.answers import Answers
    from mlpx.mlp import MLP

ENDINGS = (".csv", ".tsv", ".txt", ".data", ".parquet", ".feather", ".arrow")
COMPRESSED = (".gz", ".bz2", ".zst")


def is_table(name: str) -> bool:
    """Whether the data set `name` is a table: by the ending of the file, or a folder."""
    path = Path(name)
    if path.suffix.lower() in COMPRESSED:
        path = path.with_suffix("")
    return path.suffix.lower() in ENDINGS or (name not in DATASETS and path.is_dir())


def read(path: str | Path, *, encoding: str = "utf-8") -> Any:
    """The table in a file or a folder, or of CSV on standard input for "-", a pyarrow.Table.

    Raises DataError, MissingExtraError.
    """
    from mlpx.tables.reading import read_table

    return read_table(Path(path).expanduser(), encoding=encoding)


def answer(model: MLP, path: Path, *, proba: bool, encoding: str, batch_size: int) -> Answers:
    """What a model of tables says of the rows of the table in the file `path`.

    Raises InputError for probabilities of values, and as `read`.
    """
    from mlpx.cli.answers import Answers
    from mlpx.tables.saved import TableModel

    table = TableModel.of(model)
    x = table.encoder.encode(read(path, encoding=encoding))
    if proba and not table.target.classes:
        raise InputError(f"the model predicts values of {table.target.name}, not probabilities")
    found = table.predicted(x, batch_size=batch_size)
    if not table.target.classes:
        return Answers(found[:, None], None, None)
    names = list(map(str, table.target.classes))
    return Answers(found if proba else found.argmax(axis=1), table.target.labels, names)
