"""The public names and signatures of mlpx, printed as lines of text.

Public is what users were told of: the `__all__` of mlpx, of each package right below it and of
those in PACKAGES; the exceptions of `mlpx.errors`; what README, docs and examples import, with all
that an imported module defines; the functions that list the options of a method (OPTIONS); the
records by their names in the tables; the commands and their options. Of a class these are its
constructor, with its fields, and the methods and attributes without an underscore that its public
bases do not have alike.

The text is the same on every Python and whatever is installed: annotations are those of the
sources, which `from __future__ import annotations` keeps, and only what modules of mlpx define
counts.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, get_origin

import typer

import mlpx
from mlpx import records
from mlpx.cli import app

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTED = [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*.py")]
PACKAGES = ["kernels.activations", "kernels.losses"]
OPTIONS = {"mlpx.training.fit.fit", "mlpx.engines.profile.profile"}
OPERATORS = {
    "__call__",
    "__contains__",
    "__enter__",
    "__exit__",
    "__getitem__",
    "__iter__",
    "__len__",
}


def surface() -> list[str]:
    """A line for each name, sorted; then one for each record and for each option of a command."""
    paths = _paths()
    return [*sorted(_names(paths)), "", *sorted(_records(paths)), "", *sorted(_commands())]


def _paths() -> dict[str, Any]:
    """The public names and what they mean, the shortest path of a thing before its others."""
    packages = [each.name for each in pkgutil.iter_modules(mlpx.__path__) if each.ispkg]
    modules = ["mlpx", *(f"mlpx.{name}" for name in packages + PACKAGES)]
    paths = {f"{module}.{name}" for module in modules for name in _all(module)}
    paths |= OPTIONS | {path for page in DOCUMENTED for path in _imported(page.read_text("utf-8"))}
    named = {path: _at(path) for path in paths}
    for path, value in [*named.items()]:
        named |= {f"{path}.{name}": each for name, each in _defined(value)}
    return dict(sorted(named.items(), key=lambda pair: (pair[0].count("."), pair[0])))


def _all(module: str) -> list[str]:
    return getattr(import_module(module), "__all__", [])


def _imported(text: str) -> Iterator[str]:
    imports = re.compile(r"^from (mlpx[\w.]*) import (\([^)]*\)|.*)", re.MULTILINE)
    for module, names in imports.findall(text):
        for name in re.findall(r"\w+", names.partition("#")[0]):
            yield f"{module}.{name}"


def _at(path: str) -> Any:
    module, _, name = path.rpartition(".")
    home = import_module(module)
    return getattr(home, name) if hasattr(home, name) else import_module(path)


def _defined(value: Any) -> Iterator[tuple[str, Any]]:
    """What a module defines; of `mlpx.errors` it is the exceptions that a user needs."""
    for name, each in vars(value).items() if isinstance(value, ModuleType) else ():
        wanted = isinstance(each, type) if value is mlpx.errors else callable(each)
        if wanted and name[0] != "_" and each.__module__ == value.__name__:
            yield name, each


def _names(paths: dict[str, Any]) -> Iterator[str]:
    public = {value for value in paths.values() if isinstance(value, type)}
    first: dict[int, str] = {}
    for path, value in paths.items():
        named = first.setdefault(id(value), path)
        if named != path and (callable(value) or isinstance(value, ModuleType)):
            yield f"{path} is {named}"
        elif isinstance(value, type):
            bases = _bases(value, public)
            near = [base for base in bases if sum(issubclass(each, base) for each in bases) == 1]
            named = ", ".join(base.__name__ for base in near)
            yield f"{path}{_constructor(value)}" + (f" is {named}" if named else "")
            yield from (f"{path}.{name}{text}" for name, text in _members(value, public).items())
        else:
            yield f"{path}{_shown(value)}"


def _shown(value: Any) -> str:
    if isinstance(value, ModuleType):
        return ": module"
    if get_origin(value) is not None:
        return ": type"
    if inspect.isfunction(value):
        return _signature(value)
    keys = f" of {', '.join(sorted(value))}" if isinstance(value, dict) else ""
    return f": {type(value).__name__}{keys}"


def _ours(value: Any) -> bool:
    return value.__module__.partition(".")[0] == "mlpx"


def _bases(cls: type, public: set[type]) -> list[type]:
    """The classes it can be taken for: public ones, and Python's own."""
    builtin = {base for base in cls.__mro__ if base.__module__ == "builtins"} - {object}
    return [base for base in cls.__mro__[1:] if base in public | builtin]


def _constructor(cls: type) -> str:
    if hasattr(cls, "_fields"):  # a named tuple
        return f"({', '.join(cls._fields)})"
    made = (vars(owner).get("__init__") for owner in cls.__mro__ if _ours(owner))
    init = next((each for each in made if inspect.isfunction(each) and _ours(each)), None)
    return _signature(init).partition(" -> ")[0] if init else "()"


def _members(cls: type, public: set[type]) -> dict[str, str]:
    """What it has and its public bases do not have alike; fields are in the constructor's line."""
    found: dict[str, str] = {}
    for owner in filter(_ours, reversed(cls.__mro__)):
        found |= _members_of(owner)
    for base in _bases(cls, public):
        inherited = _members(base, public)
        found = {
            name: text
            for name, text in found.items()
            if name not in inherited or text not in ("", inherited[name])
        }
    fields = dataclasses.fields(cls) if dataclasses.is_dataclass(cls) else ()
    told = {field.name for field in fields if field.init} | {*getattr(cls, "_fields", ())}
    return {name: text for name, text in sorted(found.items()) if name not in told}


def _members_of(owner: type) -> dict[str, str]:
    found = dict.fromkeys(_assigned(owner), "")
    found |= {name: f": {text}" for name, text in inspect.get_annotations(owner).items()}
    for name, value in vars(owner).items():
        function = _function(value)
        if isinstance(value, property) or hasattr(value, "attrname"):
            found[name] = f": {inspect.get_annotations(function).get('return', 'Any')}"
        elif function:
            found[name] = _signature(function)
        elif not hasattr(value, "__get__"):
            found.setdefault(name, "")
    return {name: text for name, text in found.items() if name[0] != "_" or name in OPERATORS}


def _function(value: Any) -> Callable[..., Any] | None:
    """What a method, a property, or a method that scikit-learn hides at times calls, or None."""
    for wrapped in ("fget", "func", "fn", "__func__"):
        value = getattr(value, wrapped, None) or value
    return value if inspect.isfunction(value) else None


@cache
def _assigned(owner: type) -> set[str]:
    """The attributes that the methods of a class set."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(owner)))
    stores = [each for each in ast.walk(tree) if isinstance(each, ast.Attribute)]
    stores = [each for each in stores if isinstance(each.ctx, ast.Store)]
    return {each.attr for each in stores if ast.unparse(each.value) == "self"}


class _Text:
    """Shown without quotes."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def _signature(function: Callable[..., Any]) -> str:
    signature = inspect.signature(function)
    given = [each for each in signature.parameters.values() if each.name not in ("self", "cls")]
    parameters = [
        each.replace(annotation=_text(each.annotation), default=_default(each.default))
        for each in given
    ]
    returned = _text(signature.return_annotation)
    return str(signature.replace(parameters=parameters, return_annotation=returned))


def _text(annotation: Any) -> Any:
    return _Text(annotation) if isinstance(annotation, str) else annotation


def _default(value: Any) -> Any:
    if inspect.isfunction(value) or (
        isinstance(value, type) and value is not inspect.Parameter.empty
    ):
        return _Text(value.__qualname__)
    return value


def _records(paths: dict[str, Any]) -> Iterator[str]:
    """Each record by the name that a table has for it."""
    public = {id(value): path for path, value in reversed(paths.items())}
    for kind, family in filter(lambda each: _ours(each[1]), records._FAMILIES.items()):
        for name, member in family.table.items():
            if _ours(member):
                named = f"{member.__name__}{_constructor(member)}"
                yield f'{kind} "{name}": {public.get(id(member), named)}'


def _commands() -> Iterator[str]:
    """Each command, its arguments and its options with their defaults."""
    pending = [("mlpx", typer.main.get_command(app))]
    for called, command in pending:
        yield f"$ {called}"
        within = getattr(command, "commands", {})
        pending += [(f"{called} {name}", each) for name, each in within.items()]
        shown = [each for each in command.params if not getattr(each, "hidden", False)]
        yield from (f"$ {called} {_parameter(each)}" for each in shown)


def _parameter(each: Any) -> str:
    if each.param_type_name == "argument":
        return each.metavar or each.name.upper()
    names = "/".join([*each.opts, *each.secondary_opts])
    metavar = f" {each.metavar}" if each.metavar else ""
    default = "" if str(each.default) in ("", "None", "False") else f" = {each.default}"
    return f"{names}{metavar}{default}"


if __name__ == "__main__":
    print(*surface(), sep="\n")  # noqa: T201
