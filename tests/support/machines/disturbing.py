"""What happens to a training from outside: callbacks that do something, and Ctrl-C."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import mlpx
from machines.arrays import Rows
from machines.observing import BoomError
from mlpx import Callback
from mlpx.training.run import EVENTS

OURS = str(Path(mlpx.__file__).parent)


def boom(run: Any) -> None:
    raise BoomError("a callback of a test")


def ctrl_c(run: Any) -> None:
    run.stretch = 1  # the steps until it is noticed are not a matter of time
    signal.raise_signal(signal.SIGINT)


def ctrl_c_twice(run: Any) -> None:
    ctrl_c(run)
    ctrl_c(run)


def stop(run: Any) -> None:
    run.stop("a callback of a test")


def predict(run: Any) -> None:
    for n in (1, 40):
        run.model.predict(Rows(n).x(run.model.d_in))


def edit(run: Any) -> None:
    to_numpy = run.model.backend.to_numpy
    run.model.set_parameters({k: to_numpy(p) / 2 for k, p in run.model.parameters.items()})


class Effect(NamedTuple):
    """What is done, and how the error begins that may come of it or of the fit itself."""

    act: Callable[[Any], None]
    errors: tuple[str, ...]


REFUSED = ("InputError", "EngineError")
"""A fit that is refused for its options."""
DEEDS = {
    "boom": Effect(boom, ("BoomError", *REFUSED)),
    "Ctrl-C": Effect(ctrl_c, ("KeyboardInterrupt", *REFUSED)),
    "Ctrl-C twice": Effect(ctrl_c_twice, ("KeyboardInterrupt", *REFUSED)),
    "stop": Effect(stop, REFUSED),
    "predict": Effect(predict, REFUSED),
    "edit": Effect(edit, REFUSED),
}


class Deed(Callback):
    """Does something at the `at`-th time of an event."""

    def __init__(self, event: str, at: int, deed: str) -> None:
        self.event, self.left, self.act = event, at, DEEDS[deed].act

    def happen(self, event: str, run: Any) -> None:
        if event == self.event:
            self.left -= 1
            if self.left == -1:
                self.act(run)


for _event in EVENTS:
    setattr(Deed, _event, lambda self, run, *_, event=_event: self.happen(event, run))


def alarmed(call: Callable[[], Any], after_s: float) -> None:
    """Run `call` with Ctrl-C pressed after a time, if it takes so long, in code of mlpx."""
    listening = True

    def press(_: int, frame: Any) -> None:
        if listening and not frame.f_code.co_filename.startswith(OURS):
            signal.setitimer(signal.ITIMER_REAL, 5e-5)  # a callback of the collector, perhaps
        elif listening:
            signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGALRM, press)
    try:
        signal.setitimer(signal.ITIMER_REAL, max(after_s, 1e-5))
        call()
    except KeyboardInterrupt:
        pass
    finally:
        listening = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
