"""The text of a function that grows line by line, and the functions that it needs."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from types import ModuleType
from typing import Any

from mlpx.export.plain import functions
from mlpx.export.sites import Site

WIDEST = 92
"""Characters of a line, without the indentation that a line gets."""


@dataclass
class Code:
    """Lines of a function's body, and the names of functions that they call."""

    lines: list[str] = field(default_factory=list)
    called: set[str] = field(default_factory=set)
    constants: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    """Numbers that lines refer to by a name in capitals."""
    depth: int = 0
    """How many residual blocks are open."""

    def assign(self, name: str, value: str) -> None:
        """Append `name = value`; a call that is too long for a line is broken."""
        line = f"{name} = {value}"
        if len(line) <= WIDEST or not line.endswith(")"):
            self.lines.append(line)
            return
        head, _, rest = line.partition("(")
        self.lines += [f"{head}(", f"    {rest[:-1]}", ")"]

    def constant(self, site: Site, name: str, values: tuple[Any, ...]) -> str:
        """The name under which the file will have values of a layer: EDGES_2."""
        made = f"{name}_{site.name.replace('.', '_')}"
        self.constants[made] = values
        return made

    def remark(self, first: int, text: str) -> None:
        """Say what the lines from `first` on are: behind a single one, else above them."""
        added = self.lines[first:]
        if len(added) == 1 and len(added[0]) + len(text) + 4 <= WIDEST:
            self.lines[first] += f"  # {text}"
        elif added:
            self.lines.insert(first, f"# {text}")

    def call(self, function: str, *given: str, **options: Any) -> str:
        """A call of one of `functions`, which the file will have."""
        self.called.add(function)
        options_given = [f"{name}={value!r}" for name, value in options.items()]
        return f"{function}({', '.join([*given, *options_given])})"


def parameter(site: Site, name: str) -> str:
    """A parameter in the code: p["0.W"]."""
    return f'p["{site.key(name)}"]'


def texts(called: Iterable[str], module: ModuleType = functions) -> list[str]:
    """The text of the functions of `module` that are called, and of those that they call, in their
    order.
    """
    known = _definitions(module)
    needed: set[str] = set()
    pending = set(called)
    while pending:
        name = pending.pop()
        needed.add(name)
        named = {each.id for each in ast.walk(known[name][1]) if isinstance(each, ast.Name)}
        pending |= (named & set(known)) - needed
    return [text for name, (text, _) in known.items() if name in needed]


@cache
def _definitions(module: ModuleType) -> dict[str, tuple[str, ast.AST]]:
    """The functions by name: text and syntax tree."""
    source = inspect.getsource(module)
    return {
        node.name: (str(ast.get_source_segment(source, node)), node)
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef)
    }
