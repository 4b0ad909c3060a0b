"""`mlpx predict`: what a trained model says about new rows."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Annotated, Any

import typer

from mlpx.cli.options import BatchRows, Debug, Device
from mlpx.types import Array

EXAMPLES = """[bold]Examples[/bold]

mlpx predict runs/digits rows.npy

mlpx predict runs/digits rows.npy --proba --out probabilities.npy
"""


def predict(
    run: Annotated[
        Path,
        typer.Argument(help="A run folder, or a model file.", show_default=False),
    ],
    rows: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT.npy",
            help="Rows as the data set stores them, (n, d) or images (n, height, width).",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="OUT.npy",
            help="Write the predictions here instead of printing them.",
            show_default=False,
        ),
    ] = None,
    proba: Annotated[
        bool,
        typer.Option(
            "--proba", metavar="", help="Probabilities of the classes, not the likeliest."
        ),
    ] = False,
    device: Device = None,
    batch_size: BatchRows = 1024,
    debug: Debug = False,
) -> None:
    """Print, or write, what a trained model predicts: a line a row.

    That is the index of the likeliest class, with --proba the probability of each class;
    for a regression the predicted values.
    """
    from mlpx.cli.options import open_backend
    from mlpx.model import MLP
    from mlpx.runs import locate

    open_backend(device)
    model = MLP.load(locate(run)[0], device=device)
    x = read_rows(rows, columns=model.d_in)
    say = model.predict_proba if proba else model.predict
    found = model.backend.to_numpy(say(x, batch_size=batch_size))
    if out is None:
        _print(found)
    else:
        _write(out, found)


def read_rows(path: Path, *, columns: int) -> Array:
    """The array in the .npy file `path`, memory-mapped; images become rows.

    Raises DataNotFoundError, DataFormatError.
    """
    import numpy as np

    from mlpx.data.npz import SINGLE, refuse_foreign
    from mlpx.errors import DataFormatError, DataNotFoundError

    try:
        with open(path, "rb") as file:
            refuse_foreign(file, str(path), wanted=SINGLE)
        x: Any = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise DataNotFoundError(f"{path} does not exist; wanted a .npy file") from None
    except DataFormatError:
        raise
    except (OSError, ValueError, EOFError) as error:
        raise DataFormatError(
            f"{path} is not usable: {error}; wanted an array of numbers written by numpy.save"
        ) from None
    if x.ndim > 2 and x[:1].size == columns:
        return x.reshape(len(x), columns)
    return x


def _print(found: Array) -> None:
    import numpy as np

    text = io.StringIO()
    np.savetxt(text, found, fmt="%d" if found.dtype.kind in "iu" else "%.6g")
    typer.echo(text.getvalue(), nl=False)


def _write(path: Path, found: Array) -> None:
    import numpy as np

    from mlpx.checkpoint import write_atomically

    content = io.BytesIO()
    np.save(content, found, allow_pickle=False)
    write_atomically(path, content.getvalue())
    typer.echo(f"{path}: {found.shape[0]:,} rows, shape {found.shape}, {found.dtype}", err=True)
