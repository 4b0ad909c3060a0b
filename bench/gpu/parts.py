"""The parts of the check, each a list of sections in the order of what they teach."""

from __future__ import annotations

from typing import NamedTuple


class Section(NamedTuple):
    """A module of this package, and the seconds that it may take."""

    name: str
    limit_s: float


class Part(NamedTuple):
    """Sections that together stop after so many seconds."""

    limit_s: float
    sections: tuple[Section, ...]


PARTS: dict[str, Part] = {
    "first": Part(
        240,
        (
            Section("environment", 15),
            Section("compiling", 25),
            Section("kernel_cases", 25),
            Section("products", 25),
            Section("parity", 30),
            Section("steps", 25),
            Section("ceilings", 10),
            Section("small", 15),
            Section("cluster", 10),
            Section("peers_small", 95),
        ),
    ),
    "second": Part(
        290,
        (
            Section("environment", 15),
            Section("device_tests", 75),
            Section("peers_large", 120),
            Section("epoch", 20),
            Section("memory", 20),
            Section("sanitizer", 45),
            Section("crossover", 40),
        ),
    ),
}
FIRST = "environment"
"""Comes first in each part, whatever is chosen: a call may get another GPU than the one before."""
REHEARSED = (Section("crashing", 60), Section("hanging", 2))
"""What a rehearsal adds to each part: sections that must cost nothing but themselves."""
SLOWNESS = 20
"""How much more time a rehearsal has: nothing is fast on the double."""


def chosen(names: list[str] | None, wanted: list[str] | None, *, rehearse: bool) -> dict[str, Part]:
    """The parts to run, all or those named, with all of their sections or those wanted; in a
    rehearsal with two that fail amid them.

    Raises ValueError for a section that is in none of them.
    """
    parts = {name: PARTS[name] for name in names or PARTS}
    there = [section.name for part in parts.values() for section in part.sections]
    for name in wanted or ():
        if name not in there + [each.name for each in REHEARSED * rehearse]:
            raise ValueError(f"no section {name!r}; there are: {', '.join(dict.fromkeys(there))}")
    found = {}
    for name, part in parts.items():
        sections = [each for each in part.sections if not wanted or each.name in wanted]
        if not sections:
            continue
        if sections[0].name != FIRST:
            sections.insert(0, part.sections[0])
        slowness = SLOWNESS if rehearse else 1
        sections = [Section(each.name, slowness * each.limit_s) for each in sections]
        if rehearse:
            sections[1:1] = REHEARSED
        found[name] = Part(slowness * part.limit_s, tuple(sections))
    return found
