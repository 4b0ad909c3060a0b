"""The mutants of a module: its source with one operator, number, statement or argument changed.

Left alone: strings (so docstrings, names and messages), annotations, imports, abstract methods,
what is raised (only that it is raised is dropped), zip's `strict`, and the order of arguments that
may be exchanged.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

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
)
"""Functions whose first two arguments may change places."""


@dataclass(frozen=True)
class Mutant:
    """One change. `function` is the first line of the function it is in, 0 outside of all."""

    file: str
    line: int
    function: int
    scope: str
    before: str
    after: str
    source: str

    @property
    def key(self) -> str:
        """What names it as long as its statement stays."""
        return f"{self.scope}: {self.before}  =>  {self.after}"

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.key}"


def find_mutants(root: Path, file: str) -> list[Mutant]:
    """All mutants of the module `file` below `root`, in the order of its source."""
    tree = ast.parse((root / file).read_text(encoding="utf-8"))
    original = ast.unparse(tree).splitlines()
    found = []
    for parent, field, place, node, (function, scope) in _places(tree):
        for new in _variants(node):
            source = _with(tree, parent, field, place, new)
            before, after = _difference(original, source.splitlines())
            line = getattr(node, "lineno", None) or getattr(parent, "lineno", 0)
            found.append(Mutant(file, line, function, scope, before, after, source))
    return list({mutant.source: mutant for mutant in found if mutant.before}.values())


Place = tuple[ast.AST, str, int | None, ast.AST, tuple[int, str]]


def _places(node: ast.AST, function: int = 0, scope: str = "") -> Iterator[Place]:
    """Every node that may be changed: its parent, field, place in a list, itself, where it is."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        scope = f"{scope}.{node.name}".lstrip(".")
    if isinstance(node, ast.FunctionDef) and not function:
        function = min([node.lineno, *(d.lineno for d in node.decorator_list)])
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list"):
            continue
        many = isinstance(value, list)
        for place, child in enumerate(value if many else [value]):
            if not isinstance(child, ast.AST) or _left_alone(child):
                continue
            yield node, field, place if many else None, child, (function, scope)
            if not isinstance(child, ast.Raise):
                yield from _places(child, function, scope)


def _left_alone(node: ast.AST) -> bool:
    if isinstance(node, ast.Assign):
        return any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets)
    if isinstance(node, ast.keyword):
        return node.arg == "strict"
    if isinstance(node, ast.Raise):
        return isinstance(node.exc, ast.Name) and node.exc.id == "NotImplementedError"
    return isinstance(node, ast.Import | ast.ImportFrom | ast.JoinedStr)


def _with(tree: ast.AST, parent: ast.AST, field: str, place: int | None, new: ast.AST) -> str:
    """The source with one node changed; the tree is left as it was."""
    if place is None:
        old = getattr(parent, field)
        setattr(parent, field, new)
        source = ast.unparse(tree)
        setattr(parent, field, old)
        return source
    body = getattr(parent, field)
    old, body[place] = body[place], new
    source = ast.unparse(tree)
    body[place] = old
    return source


def _difference(a: list[str], b: list[str]) -> tuple[str, str]:
    """The first line that differs, cut to what is around the change."""
    for before, after in zip(a, b, strict=True):
        if before != after:
            start = next(
                i for i, (p, q) in enumerate(zip(before + " ", after + " ", strict=False)) if p != q
            )
            cut = max(0, start - 40) if len(before) > 120 else 0
            return before[cut : cut + 120].strip(), after[cut : cut + 120].strip()
    return "", ""


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
