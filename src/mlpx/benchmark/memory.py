"""The most host memory this process has used, as the system counts it."""

from __future__ import annotations

import sys
from pathlib import Path

STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")
RESET_PEAK = "5"  # see proc(5)


def resident_bytes() -> int | None:
    """Resident memory now; None if the system does not say."""
    return _field("VmRSS")


def peak_bytes() -> int | None:
    """The most resident memory since the start, or since `reset_peak`."""
    peak = _field("VmHWM")
    return _ru_maxrss() if peak is None else peak


def reset_peak() -> bool:
    """Restart the count of the peak; False if the system does not allow it."""
    try:
        CLEAR.write_text(RESET_PEAK)
    except OSError:
        return False
    return True


def _field(name: str) -> int | None:
    try:
        lines = STATUS.read_text().splitlines()
    except OSError:
        return None
    values = [line.split()[1] for line in lines if line.startswith(f"{name}:")]
    return int(values[0]) * 1024 if values else None


def _ru_maxrss() -> int | None:
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak) if sys.platform == "darwin" else int(peak) * 1024
