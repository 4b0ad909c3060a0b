"""mlpx: multi-layer perceptrons on NumPy and CUDA from one set of kernels.

`__init__.pyi` lists the public names. They are loaded when first used, so that `import mlpx` itself
costs next to nothing.
"""

from __future__ import annotations

import ast
import sys
from functools import cache, partial
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from mlpx import errors as errors


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version()
    if name in _RENAMED:
        new, since, gone_in = _RENAMED[name]
        errors.deprecated(f"mlpx.{name}", instead=f"mlpx.{new}", since=since, gone_in=gone_in)
        return __getattr__(new)  # not kept, so that the next use warns too
    if name == "__all__":
        value: Any = sorted([*_homes(), "errors"])
    elif name in _homes():
        value = getattr(import_module(_homes()[name]), name)
    else:
        return _submodule(name)
    globals()[name] = value
    return value


_RENAMED: dict[str, tuple[str, str, str]] = {}
"""Former public names: what each is called now, since which version, and when the former goes."""


@cache
def _homes() -> dict[str, str]:
    """The module of each public name, read from the stub beside this file."""
    stub = __spec__.loader.get_data(f"{__file__.removesuffix('c')}i")  # type: ignore[union-attr]
    imports = [node for node in ast.parse(stub).body if isinstance(node, ast.ImportFrom)]
    return {
        alias.name: str(node.module)
        for node in imports
        for alias in node.names
        if node.module != __name__
    }


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("mlpx")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "0+source"


def _submodule(name: str) -> Any:
    """A submodule such as `mlpx.data`, which `import mlpx` did not load."""
    module = f"mlpx.{name}"
    if not name.startswith("_"):
        try:
            return import_module(module)
        except ModuleNotFoundError as error:
            if error.name != module:
                raise
    raise AttributeError(f"module 'mlpx' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__getattr__("__all__"), "__version__"]


_FORMER = {
    "callbacks": "training.callbacks",
    "gradients": "program.gradients",
    "history": "training.history",
    "initializers": "kernels.initializers",
    "metrics.records": "metrics.table",
    "model": "mlp",
    "parameters": "plan.layout",
    "plots": "training.plots",
    "profiling": "engines.profile",
    "rate_finder": "training.rate_finder",
    "resume": "network.state",
}
"""Where modules were before they moved: for pickles of earlier versions and old imports."""


def _moved(home: str, name: str) -> Any:
    if name.startswith("__"):  # who asks for these looks through all modules and wants none loaded
        raise AttributeError(name)
    return getattr(import_module(home), name)


for _old, _new in _FORMER.items():
    _module = ModuleType(f"mlpx.{_old}", f"Former name of `mlpx.{_new}`.")
    _module.__getattr__ = partial(_moved, f"mlpx.{_new}")  # type: ignore[method-assign]
    _module.__spec__ = ModuleSpec(_module.__name__, None)
    sys.modules[_module.__name__] = _module
