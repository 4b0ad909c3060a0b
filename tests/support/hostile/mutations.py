"""Valid files spoilt at random; hypothesis and the fuzzer bring the random numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any

from hostile import Format

HUGE = (0, 1, -1, 2, 7, 2**31, 2**32 - 1, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, 10**30, 10**400)
ODD = (
    *(0.5, 1e308, -1e-320, float("nan"), float("inf"), None, True, False, [], {}, [[]], [0]),
    *("", "a", "\ud800", "\x1b[2J\n", "a" * 5000, "../../x", "<U999999999", "relu", "dense"),
)
SIZES = tuple(
    n.to_bytes(width, order)
    for width in (2, 4, 8)
    for order in ("little", "big")
    for n in (0, 1, 2 ** (8 * width - 1) - 1, 2 ** (8 * width - 1), 2 ** (8 * width) - 1)
)  # fmt: skip
TEXTS = ("NaN", "1" * 5000, "[" * 50_000, "[" * 200 + "]" * 200, '{"a":' * 90 + "1" + "}" * 90)


def spoilt_input(format: Format, rng: Random) -> bytes:
    """An input made of one of the format's seeds."""
    number = rng.randrange(len(format.envelopes))
    return spoilt(format, bytes([number]) + rng.choice(format.envelopes[number].seeds), rng)


def spoilt(format: Format, data: bytes, rng: Random) -> bytes:
    """An input made of another."""
    envelope = format.envelopes[data[0] % len(format.envelopes)] if data else None
    ways: list[Callable[[bytes, Random], bytes]] = [_bytes_spoilt]
    if envelope is not None and envelope.is_json:
        ways += [_json_spoilt] * 3 + [_text_spoilt]
    content = data[1:]
    for _ in range(rng.randint(1, 3)):
        try:
            content = rng.choice(ways)(content, rng)
        except (ValueError, RecursionError):  # it is no JSON any more
            content = _bytes_spoilt(content, rng)
    return data[:1] + content


def _bytes_spoilt(content: bytes, rng: Random) -> bytes:
    """Bytes replaced, cut, inserted, doubled, and overwritten by extreme numbers."""
    at = rng.randint(0, len(content))
    new = rng.choice((*SIZES, b"", bytes([rng.randrange(256)])))
    gone = rng.choice((0, 1, len(new), len(new), rng.randint(0, len(content))))
    doubled = content[rng.randint(0, at) : at] if rng.randrange(4) == 0 else b""
    return content[:at] + new + doubled + content[at + gone :]


def _json_spoilt(content: bytes, rng: Random) -> bytes:
    """An entry left out, replaced, or given to another."""
    value = json.loads(content)
    places = _places(value)
    if not places:
        return content
    holder, key = rng.choice(places)
    how = rng.choice(("value", "value", "values", "leave out", "copy"))
    if how == "leave out":
        del holder[key]
    elif how == "copy":
        other, name = rng.choice(places)
        holder[key] = json.loads(json.dumps(other[name]))
    else:
        picked = [rng.choice(HUGE + ODD) for _ in range(rng.randint(0, 4))]
        holder[key] = picked if how == "values" else rng.choice(HUGE + ODD)
    return json.dumps(value).encode()


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Each container inside `value` with each of its keys."""
    if not isinstance(value, dict | list):
        return []
    entries = list(value.items() if isinstance(value, dict) else enumerate(value))
    return [(value, key) for key, _ in entries] + [
        place for _, entry in entries for place in _places(entry)
    ]


def _text_spoilt(content: bytes, rng: Random) -> bytes:
    """A name twice, or a text that Python's own writer would not make."""
    text = content.decode()
    names = [key for holder, key in _places(json.loads(text)) if isinstance(holder, dict)]
    if not names:
        return content
    name, value = json.dumps(rng.choice(names)), rng.choice((*TEXTS, json.dumps(rng.choice(HUGE))))
    at = text.index(name)
    return f"{text[:at]}{name}: {value}, {text[at:]}".encode()
