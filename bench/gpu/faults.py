"""What went wrong with one row, and whether the device can still be used for the next."""

from __future__ import annotations

from typing import Any

from mlpx.backend.cuda import first_line


def said(error: BaseException) -> str:
    """An error's class and the first line of what it says."""
    return f"{type(error).__name__}: {first_line(error)}"


def lost(backend: Any) -> str | None:
    """Why nothing more can be done on the device in this process; None where something can.

    After an illegal address and its like every later call fails too.
    """
    try:
        with backend.xp.cuda.Device(backend.index) as device:
            device.synchronize()
            backend.xp.zeros(8, "uint8").get()
    except Exception as error:  # whatever it is, the device does not work
        return said(error)
    return None
