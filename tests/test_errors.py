"""The exception tree is the one its docstring draws, and its messages help."""

from __future__ import annotations

import inspect
import re

import pytest

from mlpx import errors
from mlpx.errors import MissingExtraError, MlpxError, UnknownNameError

CLASSES = {
    name: cls
    for name, cls in vars(errors).items()
    if inspect.isclass(cls) and issubclass(cls, Exception)
}


def drawn() -> dict[str, tuple[str, ...]]:
    """Name to bases, read from the drawing: depth is indentation, built-ins stand in brackets."""
    tree: dict[str, tuple[str, ...]] = {}
    stack: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"^([\s│├└─]*)(\w+Error)(?: \((\w+)\))?", line)
        if not match:
            continue
        depth = len(match[1])
        stack = [entry for entry in stack if entry[0] < depth]
        parent = stack[-1][1] if stack else "Exception"
        tree[match[2]] = (parent, *((match[3],) if match[3] else ()))
        stack.append((depth, match[2]))
    return tree


def test_drawing_is_the_tree() -> None:
    tree = drawn()
    assert set(tree) == set(CLASSES)
    for name, bases in tree.items():
        real = {base.__name__ for base in CLASSES[name].__mro__}
        assert set(bases) <= real, name


def test_direct_parent_is_as_drawn() -> None:
    for name, (parent, *_) in drawn().items():
        assert CLASSES[name].__bases__[0].__name__ == parent


@pytest.mark.parametrize("name", sorted(set(CLASSES) - {"MlpxError"}))
def test_everything_is_an_mlpx_error(name: str) -> None:
    assert issubclass(CLASSES[name], MlpxError)
    assert CLASSES[name].__doc__


def test_unknown_name_suggests_the_nearest_and_lists_all() -> None:
    message = str(UnknownNameError("activation", "sigmoyd", ["tanh", "sigmoid"]))
    assert message == (
        "'sigmoyd' is not a known activation; did you mean 'sigmoid'? known: sigmoid, tanh"
    )
    assert "did you mean" not in str(UnknownNameError("activation", "qqq", ["tanh"]))


def test_missing_extra_says_how_to_install_it() -> None:
    message = str(MissingExtraError("matplotlib", "plot", "a picture of the curves"))
    assert "needs matplotlib" in message
    assert "pip install 'mlpx[plot]'" in message
    assert issubclass(MissingExtraError, ImportError)


def test_a_name_of_a_million_characters_is_compared_with_none(monkeypatch):
    def never(*args, **options):
        pytest.fail("compared")

    monkeypatch.setattr("difflib.get_close_matches", never)
    assert "did you mean" not in str(UnknownNameError("activation", "relu" * 10**5, ["relu"]))
