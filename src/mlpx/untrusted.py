"""What every reader of files asks of a file that nobody vouches for."""

from __future__ import annotations

import io
import json
import os
import re
import stat
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

DEEPEST = 100
"""How deep JSON may be nested: Python's own limit would fail later, in whoever walks it."""
MOST_OBJECTS = 1_000_000
"""Objects and lists in a JSON text: they take most time and memory for their bytes."""
DIGITS = 308
"""Of a whole number in JSON; with more it need not be a float, and is slow to print."""
MOST_JSON_BYTES = 1 << 30
"""A history of 80 million steps. An empty file of a terabyte takes no room on a disk."""
LONGEST_TEXT, SHOWN_HEAD, SHOWN_TAIL = 1000, 600, 200
"""Characters of a message that names what a file holds."""

CONTROL = re.compile(r"[\0-\x1f\x7f-\x9f\u2028\u2029]")


def one_line(text: str) -> str:
    """`text` with control characters and line ends escaped, so that no terminal obeys them."""
    return CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


def brief(fault: object) -> str:
    """The text of a fault for a message: one line, no control characters, cut if it is long."""
    text = str(fault)
    if len(text) > LONGEST_TEXT:
        text = f"{text[:SHOWN_HEAD]} ... {text[-SHOWN_TAIL:]}"
    text = " ".join(text.split())
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def irregular(path: Path | int) -> str | None:
    """What is at `path` instead of a regular file, links followed; None if it is one.

    To open a pipe could block, and a device need not end. Raises OSError.
    """
    mode = os.stat(path).st_mode
    if stat.S_ISREG(mode):
        return None
    return "is a directory" if stat.S_ISDIR(mode) else "is not a regular file"


@contextmanager
def open_regular(path: Path) -> Iterator[io.BufferedReader[Any]]:
    """The regular file at `path`, opened to be read.

    Raises ValueError for anything else, OSError.
    """
    _refuse_irregular(path)
    with open(path, "rb", opener=_without_waiting) as file:
        _refuse_irregular(file.fileno())  # something else may have taken its place
        yield file


def _refuse_irregular(path: Path | int) -> None:
    trouble = irregular(path)
    if trouble is not None:
        raise ValueError(f"it {trouble}")


def _without_waiting(path: str, flags: int) -> int:
    """A pipe is opened at once, also if nobody writes to it."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def read_json(path: Path) -> Any:
    """The value in the JSON file at `path`. Raises ValueError as `parse_json`, OSError."""
    with open_regular(path) as file:
        size_bytes = os.fstat(file.fileno()).st_size
        if size_bytes > MOST_JSON_BYTES:
            raise ValueError(f"it has {size_bytes:,} bytes; wanted at most {MOST_JSON_BYTES:,}")
        return parse_json(file.read(size_bytes).decode())


def parse_json(text: str, *, most: int = MOST_OBJECTS) -> Any:
    """The value of a JSON text, with at most so many objects and lists.

    Raises ValueError for what is no JSON, for a name twice in an object, for a whole number of
    very many digits, and for deep nesting.
    """
    count = text.count("{") + text.count("[")
    if count > most:
        raise ValueError(f"it has {count:,} objects and lists; wanted at most {most:,}")
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_int=_whole)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    _check_depth(value)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        twice = next(name for name, count in counts.items() if count > 1)
        raise ValueError(f"an object has {brief(repr(twice))} twice")
    return made


def _whole(digits: str) -> int:
    if len(digits) > DIGITS:
        raise ValueError(f"a number of {len(digits):,} digits")
    return int(digits)


def _check_depth(value: Any) -> None:
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(DEEPEST):
        if not level:
            return
        level = [
            part
            for entry in level
            for part in (entry.values() if isinstance(entry, dict) else entry)
            if isinstance(part, dict | list)
        ]
    if level:
        raise ValueError(f"it is nested more than {DEEPEST} deep")
