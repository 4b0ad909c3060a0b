"""Clocks on a device: events recorded on its own stream."""

from __future__ import annotations

from typing import Any, Protocol


class DeviceClock(Protocol):
    """Events recorded on the device's own stream."""

    def start(self) -> None:
        """Record the first event."""

    def stop(self) -> None:
        """Record the second event."""

    def elapsed_s(self) -> float:
        """Seconds between them; waits for the second."""


class CupyClock:
    """CUDA events through `xp`, the module of a CUDA backend."""

    def __init__(self, xp: Any) -> None:
        self.xp = xp
        self.events = xp.cuda.Event(), xp.cuda.Event()

    def start(self) -> None:
        self.events[0].record()

    def stop(self) -> None:
        self.events[1].record()

    def elapsed_s(self) -> float:
        self.events[1].synchronize()
        return float(self.xp.cuda.get_elapsed_time(*self.events)) / 1e3  # it says milliseconds
