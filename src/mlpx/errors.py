"""Every exception mlpx raises on purpose.

::

    MlpxError
    ├── InputError (ValueError)            a value, shape or name the caller gave
    │   └── UnknownNameError               an unknown name; suggests the nearest
    ├── InputTypeError (TypeError)         a kind of object or dtype that cannot be used
    │   └── UnknownOptionError             an unknown keyword; suggests the nearest
    ├── DeviceError (RuntimeError)         a device that is absent or not usable
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

import functools
import inspect
import sys
import warnings
from collections.abc import Callable, Iterable
from typing import Any, ParamSpec, TypeVar

LONGEST_WORD = 100
P = ParamSpec("P")
R = TypeVar("R")


class MlpxError(Exception):
    """Base of every exception that mlpx raises on purpose."""


class InputError(MlpxError, ValueError):
    """A value, shape or name given by the caller is not acceptable."""


def _nearest(word: str, known: list[str]) -> list[str]:
    """The known name that is most like the word, if one is at all."""
    from difflib import get_close_matches  # costs as much as the rest of `import mlpx`

    if len(word) > LONGEST_WORD:
        return []  # it takes a second for a million characters
    return get_close_matches(word, known, n=1)


class UnknownNameError(InputError):
    """A name that the library does not know."""

    def __init__(self, kind: str, name: object, known: Iterable[str]) -> None:
        known = sorted(known)
        near = _nearest(str(name).lower(), known)
        hint = f" did you mean {near[0]!r}?" if near else ""
        super().__init__(f"{name!r} is not a known {kind};{hint} known: {', '.join(known)}")


class InputTypeError(MlpxError, TypeError):
    """An object of a kind, or an array of a dtype, that cannot be used here."""


class UnknownOptionError(InputTypeError):
    """A keyword that a function does not have; the message suggests the nearest."""

    def __init__(self, function: str, name: str, known: Iterable[str]) -> None:
        known = sorted(known)
        word = name.lower()
        near = [ours for words in SYNONYMS if word in words.split() for ours in words.split()]
        near = [ours for ours in near if ours in known]
        near = near or _nearest(word, known)
        hint = f" did you mean {near[0]}?" if near else ""
        super().__init__(f"{function} has no option {name!r};{hint} it has: {', '.join(known)}")


SYNONYMS = (
    "epochs max_iter epoch n_epochs num_epochs nb_epoch max_epochs n_iter iterations",
    "steps n_steps num_steps max_steps",
    "batch_size batch bs minibatch_size",
    "optimizer solver opt optim optimiser",
    "learning_rate_init learning_rate lr eta rate step_size",
    "loss criterion objective loss_fn loss_function cost",
    "metrics early_stopping_metric metric scoring",
    "validation_data x_val X_val val_data valid_data eval_data eval_set validation_set",
    "validation_split validation_fraction val_split valid_split val_size test_size",
    "sample_weight weights weight sample_weights",
    "shuffle sampling",
    "layers hidden_layer_sizes hidden hidden_layers hidden_sizes hidden_units units",
    "penalty alpha l1 l2 regularizer weight_decay",
    "dropout dropout_rate",
    "rate p",
    "epsilon eps",
    "nesterov nesterovs_momentum",
    "seed random_state random_seed rng",
    "threads n_threads n_jobs num_threads workers",
    "verbose verbosity progress",
    "patience n_iter_no_change early_stopping_rounds",
    "min_change tol min_delta threshold",
    "restore_best restore_best_weights",
)
"""What other libraries, and parts of this one, call the same option."""


def known_options(function: Callable[P, R]) -> Callable[P, R]:
    """`function`, raising UnknownOptionError for a keyword that it does not have."""
    makes = function.__name__ == "__init__"

    @functools.wraps(function)
    def checked(*args: P.args, **options: P.kwargs) -> R:
        refuse_unknown(options, function, type(args[0]).__name__ if makes else None)
        return function(*args, **options)

    return checked


def refuse_unknown(
    options: Iterable[str], function: Callable[..., Any], called: str | None = None
) -> None:
    """Raise UnknownOptionError for the first of `options` that `function` does not have.

    `called` is its name in the message, if not its own.
    """
    for name in options:
        known = _options(function)
        if known is not None and name not in known:
            raise UnknownOptionError(f"{called or function.__qualname__}()", name, known)


@functools.cache
def _options(function: Callable[..., Any]) -> frozenset[str] | None:
    """The keywords of `function`, None if it takes any."""
    parameters = inspect.signature(function).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return None
    return frozenset(parameters) - {"self", "cls", "model"}


class DeviceError(MlpxError, RuntimeError):
    """A device that is absent or cannot be used."""


class DeviceMemoryError(DeviceError, MemoryError):
    """The device does not have enough memory."""


class EngineError(MlpxError, RuntimeError):
    """An engine cannot run the program it was given."""


class DataError(MlpxError):
    """A data set cannot be used."""


class DataFormatError(DataError, ValueError):
    """The bytes of a file are not what its format says."""


class DataNotFoundError(DataError, FileNotFoundError):
    """The files of a data set cannot be found."""


class DownloadError(DataError, OSError):
    """A mirror did not deliver the file that was asked for."""


class CheckpointError(MlpxError, ValueError):
    """A model file cannot be read or written."""


class MissingExtraError(MlpxError, ImportError):
    """An optional package is needed; the message names the extra that brings it, if one does.

    `error`: what its import raised, if it may be installed and yet not load.
    """

    def __init__(
        self, package: str, extra: str, purpose: str, error: ImportError | None = None
    ) -> None:
        wanted = f"mlpx[{extra}]" if extra else package
        if error is None or isinstance(error, ModuleNotFoundError):
            trouble = f"is not installed; install it with: pip install '{wanted}'"
        else:
            trouble = f"cannot be loaded: {error}"
        super().__init__(f"{purpose} needs {package}, which {trouble}")


def deprecated(name: str, *, instead: str, since: str, gone_in: str) -> None:
    """Warn that `name` goes in the version `gone_in`, at the line outside mlpx that led here."""
    frame, level = sys._getframe(1), 2  # from Python 3.12 on: warn(skip_file_prefixes=...)
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == "mlpx":
        frame, level = frame.f_back, level + 1
    warnings.warn(
        f"{name} is deprecated since mlpx {since} and goes in {gone_in}; use {instead}",
        DeprecationWarning,
        stacklevel=level,
    )
