"""Every exception mlpx raises on purpose.

::

    MlpxError
    ├── InputError (ValueError)            a value, shape or name the caller gave
    │   └── UnknownNameError               a name that is in no table; says which is near
    ├── InputTypeError (TypeError)         a kind of object or dtype that cannot be used
    ├── DeviceError (RuntimeError)         a device that is not there, or not usable
    │   └── DeviceMemoryError              not enough memory on the device
    ├── EngineError (RuntimeError)         an engine that cannot run this program
    ├── DataError                          a data set or file of data
    │   ├── DataFormatError (ValueError)   the bytes are not what the format says
    │   ├── DataNotFoundError (FileNotFoundError)
    │   └── DownloadError (OSError)        the mirror did not deliver
    ├── CheckpointError (ValueError)       a model file that cannot be read or written
    └── MissingExtraError (ImportError)    an optional package is needed; names the extra
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MlpxError(Exception):
    """Base of every exception that mlpx raises on purpose."""


class InputError(MlpxError, ValueError):
    """A value, shape or name given by the caller is not acceptable."""


class UnknownNameError(InputError):
    """A name that is in no table of the library."""

    def __init__(self, kind: str, name: object, known: Iterable[str]) -> None:
        known = sorted(known)
        near = difflib.get_close_matches(str(name).lower(), known, n=1)
        hint = f" did you mean {near[0]!r}?" if near else ""
        super().__init__(f"{name!r} is not a known {kind};{hint} known: {', '.join(known)}")


class InputTypeError(MlpxError, TypeError):
    """An object of a kind, or an array of a dtype, that cannot be used here."""


class DeviceError(MlpxError, RuntimeError):
    """A device that is absent or cannot be used."""


class DeviceMemoryError(DeviceError, MemoryError):
    """The device has not enough memory."""


class EngineError(MlpxError, RuntimeError):
    """An engine cannot run the program it was given."""


class DataError(MlpxError):
    """A data set cannot be used."""


class DataFormatError(DataError, ValueError):
    """The bytes of a file are not what its format says."""


class DataNotFoundError(DataError, FileNotFoundError):
    """The files of a data set are nowhere to be found."""


class DownloadError(DataError, OSError):
    """A mirror did not deliver the file that was asked for."""


class CheckpointError(MlpxError, ValueError):
    """A model file cannot be read or written."""


class MissingExtraError(MlpxError, ImportError):
    """An optional package is needed; the message names the extra that brings it."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs {package}, which is not installed; "
            f"install it with: pip install 'mlpx[{extra}]'"
        )
