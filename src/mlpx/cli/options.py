"""Options that several commands share, and how names are checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from mlpx.errors import UnknownNameError

DEBUG = "mlpx.debug"
ALL_PEERS = "torch,jax,keras,sklearn,thinc,onnxruntime"


def one_of(kind: str, names: Iterable[str]) -> Callable[[str | None], str | None]:
    """A callback that accepts these names; another is a usage error that suggests the nearest."""
    known = tuple(names)

    def check(given: str | None) -> str | None:
        if given is None:
            return None
        name = given.strip().lower()
        spellings = {candidate.replace("_", "-"): candidate for candidate in known}
        if name.replace("_", "-") not in spellings:
            raise typer.BadParameter(str(UnknownNameError(kind, given, known)))
        return spellings[name.replace("_", "-")]

    return check


def listed(names: Iterable[str]) -> str:
    """Names for a help text."""
    return ", ".join(sorted(names))


def _remember_debug(ctx: typer.Context, wanted: bool) -> bool:
    ctx.meta[DEBUG] = ctx.meta.get(DEBUG, False) or wanted
    return wanted


def open_backend(device: str | None) -> Any:
    """The backend of `--device`; an unknown name is a usage error.

    Raises typer.BadParameter, DeviceError.
    """
    from mlpx.backend import get_backend

    try:
        return get_backend(device)
    except UnknownNameError as error:
        raise typer.BadParameter(str(error), param_hint="--device") from None


def read_dataset(name: str, data_dir: Path | None, no_download: bool) -> Any:
    """The data set called `name`; an unknown name is a usage error.

    Raises typer.BadParameter, DataError.
    """
    from mlpx.cli.downloads import download_display
    from mlpx.data import load_dataset

    try:
        with download_display() as progress:
            return load_dataset(
                name, data_dir=data_dir, download=not no_download, progress=progress
            )
    except UnknownNameError as error:
        raise typer.BadParameter(str(error), param_hint="DATASET") from None


def path(given: str) -> Path:
    """A path on the command line. Empty text would mean the working directory and is refused.

    Raises typer.BadParameter.
    """
    if not given.strip():
        raise typer.BadParameter("the name is empty; name a file or a folder")
    return Path(given)


def folder(given: str) -> Path:
    """As `path`, but not a file.

    Raises typer.BadParameter.
    """
    if path(given).is_file():
        raise typer.BadParameter(f"{given} is a file; name a folder")
    return Path(given)


def destination(given: str) -> Path:
    """A path that predictions can be written to, .csv, .npy or .parquet.

    Raises typer.BadParameter.
    """
    if path(given).suffix.lower() not in (".csv", ".npy", ".parquet"):
        raise typer.BadParameter(
            f"{given!r}; wanted a name that ends in .csv, for text, in .npy, for NumPy, or in "
            ".parquet"
        )
    return Path(given)


Run = Annotated[
    Path,
    typer.Argument(
        metavar="RUN", parser=path, help="A run folder, or a model file.", show_default=False
    ),
]
Debug = Annotated[
    bool,
    typer.Option(
        "--debug", metavar="", callback=_remember_debug, help="Show the traceback of a failure."
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="cpu, cuda, cuda:1 (the second GPU) or auto (a GPU if one is usable). "
        "[dim]\\[default: the environment variable MLPX_DEVICE, else cpu][/dim]",
        show_default=False,
    ),
]
Encoding = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Of the text in a table's file. [dim]\\[default: utf-8][/dim]",
        show_default=False,
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        parser=path,
        help="Look for the data set's files here first, then in the folder MLPX_DATA names, "
        "then in the user's cache.",
        show_default=False,
    ),
]
NoDownload = Annotated[
    bool,
    typer.Option(
        "--no-download", metavar="", help="Fail rather than download a data set that is not there."
    ),
]
BatchRows = Annotated[
    int, typer.Option("--batch-size", metavar="N", min=1, help="Rows to work on at a time.")
]


def parts(text: str | None) -> tuple[str, ...]:
    """The parts between commas, without blanks around them."""
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def sizes(text: str | None) -> tuple[int, ...] | None:
    """Batch sizes, smallest first; a usage error for anything but whole numbers above zero."""
    if not text:
        return None
    numbers = parts(text)
    if not numbers or not all(part.isdecimal() and int(part) > 0 for part in numbers):
        raise typer.BadParameter(f"{text!r}; wanted whole numbers with commas, such as 1,32,512")
    return tuple(sorted({int(part) for part in numbers}))


def known(option: str, text: str, names: Any) -> tuple[str, ...]:
    """Names of a table; a usage error for others."""
    for part in parts(text):
        if part not in names:
            raise typer.BadParameter(f"{part!r}; wanted some of {listed(names)}", param_hint=option)
    return parts(text)
