"""The text of --help: from docstrings; a plain list where a terminal is too narrow for tables."""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

from typer.core import TyperCommand, TyperGroup

LEAST_COLUMNS = 60
"""From so many columns on tables show all of their words."""
MARKUP = re.compile(r"\[/?(?:bold|dim)\]")


def described(function: Callable[..., Any]) -> str:
    """The paragraphs of a function's docstring, each on one line.

    They are read from the source where Python runs without docstrings (-OO).
    """
    text = function.__doc__ or _written(function)
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def _written(function: Callable[..., Any]) -> str:
    import ast
    import inspect

    try:
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    except (OSError, SyntaxError):
        return ""
    assert isinstance(definition, ast.FunctionDef)
    return ast.get_docstring(definition) or ""


class _Narrow:
    """A command whose help fits narrow terminals."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        columns = shutil.get_terminal_size().columns
        if columns >= LEAST_COLUMNS:
            super().format_help(ctx, formatter)  # type: ignore[misc]
        else:
            formatter.write("\n".join(_lines(self, ctx, max(columns, 8))) + "\n")


class Command(_Narrow, TyperCommand):
    """A command."""


class Group(_Narrow, TyperGroup):
    """A command that has commands."""


def _lines(command: Any, ctx: Any, columns: int) -> Iterator[str]:
    """The help in lines of up to `columns` characters: usage, description, then what it takes."""
    usage = " ".join(["Usage:", ctx.command_path, *command.collect_usage_pieces(ctx)])
    yield from _wrapped(usage, columns, "", "  ")
    yield from _paragraphs(command.help, columns)
    for name, meaning in _entries(command, ctx):
        yield ""
        yield from _wrapped(name, columns)
        yield from _wrapped(_plain(meaning), columns, "  ", "  ")
    yield from _paragraphs(command.epilog, columns)


def _entries(command: Any, ctx: Any) -> Iterator[tuple[str, str]]:
    """What the command takes, and its commands, each with what it means."""
    for parameter in command.get_params(ctx):
        entry = parameter.get_help_record(ctx)
        if entry:
            yield entry
    for name, inner in getattr(command, "commands", {}).items():
        yield name, (inner.help or "").partition("\n")[0]


def _paragraphs(text: str | None, columns: int) -> Iterator[str]:
    for paragraph in _plain(text or "").strip().split("\n\n"):
        yield ""
        yield from _wrapped(paragraph, columns)


def _wrapped(text: str, columns: int, first: str = "", others: str = "") -> list[str]:
    """Lines of up to `columns` characters that begin so; names of options stay whole."""
    return textwrap.wrap(
        text, columns, initial_indent=first, subsequent_indent=others, break_on_hyphens=False
    )


def _plain(text: str) -> str:
    """`text` without its markup."""
    return MARKUP.sub("", text).replace("\\[", "[")
