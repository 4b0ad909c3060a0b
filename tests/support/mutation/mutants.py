"""The mutants of a module: its source with one operator, number, statement or argument changed.

Left alone: strings (so docstrings, names and messages), annotations, types, protocols, imports,
abstract methods, what is raised (only that it is raised is dropped), zip's `strict`, and the order
of arguments that may be exchanged.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

OPERATORS: dict[type, tuple[type, ...]] = {
    ast.Add: (ast.Sub,),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Div,),
    ast.Div: (ast.Mult,),
    ast.FloorDiv: (ast.Mult,),
    ast.Mod: (ast.Mult,),
    ast.Pow: (ast.Mult,),
    ast.RShift: (ast.LShift,),
    ast.LShift: (ast.RShift,),
    ast.BitAnd: (ast.BitOr,),
    ast.BitOr: (ast.BitAnd,),
    ast.BitXor: (ast.BitAnd,),
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.And: (ast.Or,),
    ast.Or: (ast.And,),
}
"""What each operator becomes, one mutant each."""

FUNCTIONS = {
    "add": ("subtract",),
    "subtract": ("add",),
    "multiply": ("divide",),
    "divide": ("multiply",),
    "maximum": ("minimum",),
    "minimum": ("maximum",),
    "max": ("min",),
    "min": ("max",),
    "argmax": ("argmin",),
    "less": ("less_equal", "greater_equal"),
    "less_equal": ("less", "greater"),
    "greater": ("greater_equal", "less_equal"),
    "greater_equal": ("greater", "less"),
    "equal": ("not_equal",),
    "bitwise_and": ("bitwise_or",),
    "right_shift": ("left_shift",),
    "sin": ("cos",),
    "cos": ("sin",),
    "exp": ("expm1",),
    "expm1": ("exp",),
    "log": ("log1p",),
    "log1p": ("log",),
    "abs": ("positive",),
    "negative": ("positive",),
    "sign": ("positive",),
    "sqrt": ("positive",),
    "rint": ("positive",),
    "sum": ("mean",),
}
"""The same for operators that are written as functions of arrays."""

EXCHANGEABLE = frozenset(
    {"add", "multiply", "maximum", "minimum", "max", "min", "equal", "bitwise_and", "zip"}
    | {"same", "in_order", "by_rows", "flat", "whole"}  # of places, and of what is touched
)
"""Functions whose first two arguments may change places."""


class Where(NamedTuple):
    """The innermost statement that a node is in, how deep it is indented, and its function."""

    statement: ast.stmt
    depth: int
    body: tuple[int, int] | None
    """The lines of the outermost function around it, None outside of all."""
    scope: str


@dataclass(frozen=True, eq=False)
class Mutant:
    """One change: `new` in place of a node of the module `tree`. Its texts are made when asked."""

    file: str
    where: Where
    change: Change
    new: ast.AST
    tree: ast.Module

    @cached_property
    def statement(self) -> str:
        """The changed statement."""
        if self.change.node is self.where.statement:
            return ast.unparse(self.new)
        return self.change.apply(self.new, self.where.statement)

    @cached_property
    def key(self) -> str:
        """What names it as long as its statement stays; empty if nothing changes."""
        before = ast.unparse(self.where.statement)
        lines = _difference(before, self.statement, 4 * self.where.depth)
        return f"{self.where.scope}: {lines[0]}  =>  {lines[1]}" if lines else ""

    @property
    def source(self) -> str:
        """The changed module."""
        return self.change.apply(self.new, self.tree)

    @property
    def original(self) -> str:
        """The module written likewise, without the change."""
        return ast.unparse(self.tree)

    @cached_property
    def lines(self) -> tuple[int, int]:
        """The first and the last line of its statement; of one with a body only those before it."""
        statement = self.where.statement
        first, last = statement.lineno, statement.end_lineno or statement.lineno
        body = getattr(statement, "body", None) or getattr(statement, "cases", None)
        if body:
            inner = body[0].pattern if isinstance(body[0], ast.match_case) else body[0]
            last = max(first, inner.lineno - 1)
        return first, last

    def __str__(self) -> str:
        return f"{self.file}:{self.lines[0]}: {self.key}"


def find_mutants(root: Path, file: str) -> list[Mutant]:
    """All mutants of the module `file` below `root`, in the order of its source."""
    tree = ast.parse((root / file).read_text(encoding="utf-8"))
    return [
        Mutant(file, where, change, new, tree)
        for change, where in _places(tree)
        for new in _variants(change.node)
    ]


def distinct(mutants: Iterable[Mutant]) -> Iterator[Mutant]:
    """Without those that change nothing or the same as an earlier one."""
    seen = set()
    for mutant in mutants:
        text = (mutant.where.statement, mutant.statement)
        if mutant.key and text not in seen:
            seen.add(text)
            yield mutant


class Change(NamedTuple):
    """A node and where it hangs: its parent's field and the place there, if that is a list."""

    node: ast.AST
    parent: ast.AST
    field: str
    place: int | None

    def apply(self, new: ast.AST, whole: ast.AST) -> str:
        """The text of `whole` with `new` in place of the node; the tree is left as it was."""
        self._put(new)
        text = ast.unparse(whole)
        self._put(self.node)
        return text

    def _put(self, node: ast.AST) -> None:
        if self.place is None:
            setattr(self.parent, self.field, node)
        else:
            getattr(self.parent, self.field)[self.place] = node


def _places(node: ast.AST, where: Where | None = None) -> Iterator[tuple[Change, Where]]:
    """Every node that may be changed, and where it is."""
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list"):
            continue
        many = isinstance(value, list)
        for place, child in enumerate(value if many else [value]):
            if not isinstance(child, ast.AST) or _left_alone(child):
                continue
            inside = _entered(child, where) if isinstance(child, ast.stmt) else where
            assert inside is not None  # a module consists of statements
            yield Change(child, node, field, place if many else None), inside
            if not isinstance(child, ast.Raise):
                yield from _places(child, inside)


def _entered(statement: ast.stmt, where: Where | None) -> Where:
    depth, body, scope = (where.depth + 1, where.body, where.scope) if where else (0, None, "")
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        scope = f"{scope}.{statement.name}".lstrip(".")
    if isinstance(statement, ast.FunctionDef) and not body:
        body = (statement.body[0].lineno, statement.end_lineno or 0)
    return Where(statement, depth, body, scope)


def _left_alone(node: ast.AST) -> bool:
    if isinstance(node, ast.Assign):
        return any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets) or (
            isinstance(node.value, ast.BinOp) and _is_type(node.value)
        )
    if isinstance(node, ast.keyword):
        return node.arg == "strict"
    if isinstance(node, ast.Raise):
        return isinstance(node.exc, ast.Name) and node.exc.id == "NotImplementedError"
    if isinstance(node, ast.ClassDef):
        return any(isinstance(base, ast.Name) and base.id == "Protocol" for base in node.bases)
    if isinstance(node, ast.If):
        return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    return isinstance(node, ast.Import | ast.ImportFrom | ast.JoinedStr)


def _is_type(node: ast.AST) -> bool:
    """Whether `node` is a union of names and of types with parameters."""
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, ast.BitOr) and _is_type(node.left) and _is_type(node.right)
    if isinstance(node, ast.Constant):
        return node.value is None
    return isinstance(node, ast.Name | ast.Subscript)


def _difference(before: str, after: str, indent: int) -> tuple[str, str] | None:
    """The first line that differs, cut to what is around the change."""
    for a, b in zip(before.splitlines(), after.splitlines(), strict=True):
        if a != b:
            a, b = " " * indent + a, " " * indent + b
            start = next(
                i for i, (p, q) in enumerate(zip(a + " ", b + " ", strict=False)) if p != q
            )
            cut = max(0, start - 40) if len(a) > 120 else 0
            return a[cut : cut + 120].strip(), b[cut : cut + 120].strip()
    return None


def _variants(node: ast.AST) -> Iterator[ast.AST]:
    """What `node` is replaced with, one mutant each."""
    if type(node) in OPERATORS:
        yield from (new() for new in OPERATORS[type(node)])
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not):
        yield node.operand
    elif isinstance(node, ast.Constant):
        yield from _other_constants(node)
    elif isinstance(node, ast.Call):
        yield from _other_calls(node)
    elif isinstance(node, ast.If | ast.IfExp) and isinstance(node.test, ast.Name | ast.Attribute):
        fields = {name: value for name, value in ast.iter_fields(node) if name != "test"}
        yield type(node)(test=ast.UnaryOp(ast.Not(), node.test), **fields)
    elif _may_go(node):
        yield ast.Pass()


def _may_go(node: ast.AST) -> bool:
    """Whether `node` is a statement that does something to an array, or raises."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Call)
    if isinstance(node, ast.Assign):
        return isinstance(node.targets[0], ast.Subscript | ast.Attribute)
    return isinstance(node, ast.AugAssign | ast.Raise)


def _other_constants(node: ast.Constant) -> Iterator[ast.AST]:
    value = node.value
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, int):
        yield ast.Constant(value + 1)
    elif isinstance(value, float):
        yield ast.Constant(value * 1.1 if value else 1.0)


def _other_calls(node: ast.Call) -> Iterator[ast.AST]:
    """Another function, two arguments exchanged, or an argument and what `out=` names."""
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if isinstance(node.func, ast.Attribute):
        for other in FUNCTIONS.get(name, ()):
            func = ast.Attribute(node.func.value, other, ast.Load())
            yield ast.Call(func, node.args, node.keywords)
    first = bool(node.args) and isinstance(node.args[0], ast.Name) and node.args[0].id == "xp"
    head, rest = node.args[:first], node.args[first:]
    if len(rest) > 1 and name not in EXCHANGEABLE:
        yield ast.Call(node.func, [*head, rest[1], rest[0], *rest[2:]], node.keywords)
    for i, keyword in enumerate(node.keywords):
        if keyword.arg == "out" and rest and isinstance(rest[-1], ast.Name):
            swapped = [*node.keywords[:i], ast.keyword("out", rest[-1]), *node.keywords[i + 1 :]]
            yield ast.Call(node.func, [*head, *rest[:-1], keyword.value], swapped)
