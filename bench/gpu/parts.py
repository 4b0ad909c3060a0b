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
            Section("device_tests", 75),
            Section("peers_large", 120),
            Section("epoch", 20),
            Section("memory", 20),
            Section("sanitizer", 45),
            Section("crossover", 40),
        ),
    ),
}
REHEARSED = (Section("crashing", 5), Section("hanging", 2))
"""What a rehearsal adds to each part: sections that must cost nothing but themselves."""
