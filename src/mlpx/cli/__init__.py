"""The command line: `mlpx train digits`. One file a command.

Heavy imports wait until a command runs, so --help answers at once.

Exit codes: 0 success, 1 failure (one line on stderr), 2 wrong usage, 130 interrupted by Ctrl-C
(128 and the signal's number, by another signal).
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Annotated, Any

import typer

from mlpx.cli.bench.command import EXAMPLES as BENCH_EXAMPLES
from mlpx.cli.bench.command import bench as bench_command
from mlpx.cli.card import EXAMPLES as CARD_EXAMPLES
from mlpx.cli.card import card
from mlpx.cli.doctor import doctor
from mlpx.cli.evaluate import EXAMPLES as EVALUATE_EXAMPLES
from mlpx.cli.evaluate import evaluate
from mlpx.cli.export import EXAMPLES as EXPORT_EXAMPLES
from mlpx.cli.export import export
from mlpx.cli.gradcheck import EXAMPLES as GRADCHECK_EXAMPLES
from mlpx.cli.gradcheck import gradcheck
from mlpx.cli.help import Command, Group, described
from mlpx.cli.options import DEBUG
from mlpx.cli.predict import EXAMPLES as PREDICT_EXAMPLES
from mlpx.cli.predict import predict
from mlpx.cli.streams import name_streams, spoken_warnings
from mlpx.cli.train.command import EXAMPLES as TRAIN_EXAMPLES
from mlpx.cli.train.command import train as train_command
from mlpx.errors import MlpxError
from mlpx.training.interrupts import asking_allowed, ending_signals
from mlpx.untrusted import one_line


class Commands(Group):
    """Turns failures into one line on stderr and an exit code, and warnings into notes."""

    def make_context(self, *given: Any, **rest: Any) -> Any:
        """Prints --help and --version."""
        with reported_failures({}):
            return super().make_context(*given, **rest)

    def invoke(self, ctx: Any) -> Any:
        with reported_failures(ctx.meta), spoken_warnings():
            return super().invoke(ctx)


@contextmanager
def reported_failures(meta: dict[str, Any]) -> Iterator[None]:
    """Report a failure inside as one line on stderr, unless `meta` asks for the traceback.

    Raises typer.Exit.
    """
    with ending_signals() as came:
        try:
            yield
        except BrokenPipeError:
            raise  # the reader has gone: there is nobody to tell
        except KeyboardInterrupt as interrupt:
            complain(str(interrupt) or "interrupted; nothing was written")
            raise typer.Exit(128 + (came or [signal.SIGINT])[0]) from None
        except (MlpxError, OSError, MemoryError, ImportError) as error:
            if meta.get(DEBUG):
                raise
            complain(told(error))
            raise typer.Exit(1) from None


def told(error: BaseException) -> str:
    """What went wrong, for a person who does not read Python."""
    if isinstance(error, OSError) and not isinstance(error, MlpxError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    if isinstance(error, MemoryError) and not str(error):
        return "out of memory"
    if isinstance(error, ImportError) and not isinstance(error, MlpxError):
        return f"a part of this installation cannot be loaded: {error}"
    lines = map(str.strip, str(error).splitlines())
    return " ".join(line for line in lines if line) or type(error).__name__


def complain(message: str) -> None:
    """One line on stderr, if it is still open; of a file's content it may hold anything."""
    with suppress(OSError):
        error = typer.style("error:", fg="red", bold=True)
        typer.echo(f"{error} {one_line(message)}", err=True)


def _show_version(wanted: bool) -> None:
    if wanted:
        from mlpx import __version__

        typer.echo(f"mlpx {__version__}")
        raise typer.Exit


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def mlpx(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Multi-layer perceptrons on NumPy and on CUDA: train, evaluate, predict."""


app.callback(help=described(mlpx), epilog="Example:  mlpx train digits")(mlpx)


def register(
    function: Callable[..., None], examples: str | None = None, *, name: str | None = None
) -> None:
    """Make a command of a function: named like it, helped by its docstring."""
    app.command(name, cls=Command, help=described(function), epilog=examples)(function)


register(train_command, TRAIN_EXAMPLES)
register(evaluate, EVALUATE_EXAMPLES)
register(predict, PREDICT_EXAMPLES)
register(export, EXPORT_EXAMPLES)
register(card, CARD_EXAMPLES)
register(gradcheck, GRADCHECK_EXAMPLES)
register(doctor)
register(doctor, name="devices")
app.add_typer(bench_command, name="bench", epilog=BENCH_EXAMPLES)


def main() -> None:
    """The console script."""
    name_streams()
    try:
        with asking_allowed():
            sys.exit(app(prog_name="mlpx"))
    finally:
        _settle()


def _settle() -> None:
    """Flush the streams, and redirect a dead one, which would fail when the interpreter exits."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
