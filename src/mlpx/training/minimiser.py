"""SciPy's L-BFGS-B, which can be kept between two iterations and go on in another process.

`scipy.optimize.minimize` loses its pairs when it ends. So this is its loop, with the same bits,
around the routine below it: `setulb` asks for the value and the gradient at one point after the
other, and keeps all that it knows in arrays of its caller. It is private to SciPy: with versions
other than KNOWN, `minimize` does the work.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mlpx.errors import MissingExtraError

KNOWN = ((1, 15), (1, 18))
"""The first and the last version of SciPy with this `setulb`; earlier ones have one in Fortran,
with other arguments. Before another is added, its `_minimize_lbfgsb` is to be compared with this.
"""
NEW_X, EVALUATE = 1, 3
"""What `setulb` says in task[0] before an end: an iteration is done, or it needs f and g at x."""
ENDS = {
    (4, 401): (0, "CONVERGENCE: NORM OF PROJECTED GRADIENT <= PGTOL"),
    (4, 402): (0, "CONVERGENCE: RELATIVE REDUCTION OF F <= FACTR*EPSMCH"),
}
"""The status and the message of an end that it says in `task`; of all others ABNORMAL."""
ABNORMAL = (2, "ABNORMAL: ")
EVALUATIONS = "STOP: TOTAL NO. OF F,G EVALUATIONS EXCEEDS LIMIT"
ITERATIONS = "STOP: TOTAL NO. OF ITERATIONS REACHED LIMIT"
HALTED = "STOP: CALLBACK REQUESTED HALT"
HEAD, COUNT, TAIL, ITERATION, UPDATES = range(26, 31)
"""Where isave has the place of the oldest pair, how many there are, the place of the newest, the
number of iterations, and how many pairs were made since they were last discarded."""
MOST = 1 << 30
"""A count that can still go on for as long in an int32."""

Evaluate = Callable[[np.ndarray], tuple[float, np.ndarray]]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """SciPy's options, with its defaults."""

    maxiter: int = 15000
    maxfun: int = 15000
    maxls: int = 20
    gtol: float = 1e-5
    ftol: float = 2.2204460492503131e-09


@dataclass(frozen=True)
class Minimum:
    """What was reached and why no further, as SciPy says it."""

    x: np.ndarray
    fun: float
    nit: int
    nfev: int
    status: int
    message: str


class Minimiser:
    """L-BFGS-B without bounds from x (n,), with the last `memory` pairs.

    Raises MissingExtraError without SciPy.
    """

    def __init__(self, x: np.ndarray, *, memory: int) -> None:
        self.x, self.memory = np.array(x, np.float64), memory
        self.f, self.g = 0.0, np.zeros(len(x))
        self.nit = self.nfev = 0
        self.ended: tuple[int, str] | None = None
        """The status and the message, once it cannot go on."""
        self.setulb = known_setulb()
        self.work: Workspace | None = None
        self._last = (np.zeros(0), 0.0, np.zeros(0))
        """The last evaluation: x, f and g."""

    def run(
        self, evaluate: Evaluate, iterated: Callable[[np.ndarray], None],
        over: Callable[[], bool], limits: Limits,
    ) -> Minimum:  # fmt: skip
        """Iterate to the end, to a limit, or until `over` after an iteration.

        evaluate: f and its gradient (n,), float64, at x. iterated: told x after each iteration; if
        it raises an exception, a later call goes on. The limits count from the very beginning.
        """
        while self.ended is None:
            stop = self._stop(over, limits)
            if stop is not None:
                return self._minimum(2 if stop == HALTED else 1, stop)
            if self.setulb is None:
                self._minimise(evaluate, iterated, over, limits)
            elif self._iterate(evaluate, limits):
                iterated(self.x)
        return self._minimum(*self.ended)

    def _stop(self, over: Callable[[], bool], limits: Limits) -> str | None:
        """Why no iteration may follow the last one; none if there was none."""
        if not self.nit:
            return None
        if self.nit >= limits.maxiter:
            return ITERATIONS
        if self.nfev > limits.maxfun:
            return EVALUATIONS
        return HALTED if over() else None

    def _minimum(self, status: int, message: str) -> Minimum:
        return Minimum(self.x.copy(), self.f, self.nit, self.nfev, status, message)

    def _iterate(self, evaluate: Evaluate, limits: Limits) -> bool:
        """An iteration; False if it ended instead."""
        work = self.work = self.work or Workspace(self.setulb, len(self.x), self.memory)
        task = work.step(self.x, self.f, self.g, limits)
        while task[0] == EVALUATE:
            self._evaluate(evaluate)
            task = work.step(self.x, self.f, self.g, limits)
        if task[0] == NEW_X:
            self.nit += 1
            return True
        status, message = ENDS.get(task, ABNORMAL)
        self.ended = (1 if status and self.nfev > limits.maxfun else status), message
        return False

    def _evaluate(self, evaluate: Evaluate) -> None:
        """Set f and g; at the point of the last evaluation without another one, as SciPy does."""
        if not np.array_equal(self.x, self._last[0]):
            f, g = evaluate(self.x)
            self.nfev += 1
            self._last = self.x.copy(), float(f), g
        self.f, self.g[...] = self._last[1:]

    def _minimise(
        self, evaluate: Evaluate, iterated: Callable[[np.ndarray], None],
        over: Callable[[], bool], limits: Limits,
    ) -> None:  # fmt: skip
        """All iterations, by SciPy's public function."""

        def counted(x: np.ndarray) -> tuple[float, np.ndarray]:
            self.nfev += 1
            return evaluate(x)

        def called(intermediate_result: Any) -> None:
            self.x, self.f = intermediate_result.x.copy(), float(intermediate_result.fun)
            self.nit += 1
            iterated(self.x)
            if over():
                raise StopIteration

        left = {"maxiter": limits.maxiter - self.nit, "maxfun": limits.maxfun - self.nfev}
        found = public_minimize()(
            counted, self.x, method="L-BFGS-B", jac=True, callback=called,
            options={**asdict(limits), **left, "maxcor": self.memory},
        )  # fmt: skip
        self.x, self.f = found.x, float(found.fun)
        if self._stop(over, limits) is None:
            self.ended = int(found.status), str(found.message)

    def state(self) -> dict[str, Any]:
        """What `restore` needs, after an iteration or the end; arrays are copies."""
        kept = {"x": self.x.copy(), "f": self.f, "nit": self.nit, "nfev": self.nfev}
        if self.ended is not None:
            return kept | {"ended": list(self.ended)}
        if self.work is None:
            return kept
        return kept | {"g": self.g.copy(), "work": self.work.state()}

    def restore(self, kept: dict[str, Any]) -> bool:
        """Go on from what `state` returned; False if from its x without the pairs, as `setulb` is
        not known here or was not there.

        Raises LookupError, TypeError, ValueError or OverflowError for what it cannot have returned.
        """
        n = len(self.x)
        self.x, self.f = array_of(kept, "x", n), float(kept["f"])
        self.nit, self.nfev = count_of(kept, "nit"), count_of(kept, "nfev")
        if "ended" in kept:
            status, message = kept["ended"]
            self.ended = int(status), str(message)
            return True
        if "work" not in kept or self.setulb is None:
            return False
        self.g = array_of(kept, "g", n)
        array_of(kept["work"], "wa", numbers(n, self.memory))  # before as much is allocated
        self.work = Workspace(self.setulb, n, self.memory)
        self.work.restore(kept["work"], self.x, nit=self.nit)
        return True


class Workspace:
    """The arrays of `setulb`, for n parameters without bounds and m pairs."""

    def __init__(self, setulb: Any, n: int, m: int) -> None:
        self.setulb, self.m = setulb, m
        self.bounds = np.zeros(n), np.zeros(n), np.zeros(n, np.int32)
        self.wa, self.dsave = np.zeros(numbers(n, m)), np.zeros(29)
        self.task, self.line_task, self.lsave, self.isave, self.iwa = (
            np.zeros(size, np.int32) for size in (2, 2, 4, 44, 3 * n)
        )

    def step(self, x: np.ndarray, f: float, g: np.ndarray, limits: Limits) -> tuple[int, int]:
        """Give it f and g at x; returns the task that it sets. It changes x, at an end also g."""
        factr = limits.ftol / float(np.finfo(float).eps)
        self.setulb(
            self.m, x, *self.bounds, f, g, factr, limits.gtol, self.wa, self.iwa, self.task,
            self.lsave, self.isave, self.dsave, limits.maxls, self.line_task,
        )  # fmt: skip
        return int(self.task[0]), int(self.task[1])

    def state(self) -> dict[str, Any]:
        """The pairs and the numbers that were found; not the indices, which follow from these."""
        updates = int(self.isave[UPDATES])
        return {"wa": self.wa.copy(), "dsave": self.dsave.copy(), "updates": updates}

    def restore(self, kept: dict[str, Any], x: np.ndarray, *, nit: int) -> None:
        """Be after iteration `nit`, at x.

        What it uses as an index is made here and not read, as it goes unchecked: most of it by a
        first step, which depends on the lack of bounds alone.
        """
        updates, m = count_of(kept, "updates"), self.m
        begin, slope = Limits(gtol=0.0), np.ones(len(x))
        for _ in range(2):
            self.step(x.copy(), 0.0, slope, begin)
        self.wa[...] = array_of(kept, "wa", len(self.wa))
        self.dsave[...] = array_of(kept, "dsave", len(self.dsave))
        self.isave[HEAD], self.isave[TAIL] = max(0, updates - m) % m, (updates - 1) % m
        self.isave[COUNT], self.isave[UPDATES] = min(updates, m), updates
        self.isave[ITERATION] = nit
        self.task[...] = NEW_X, 0


def numbers(n: int, m: int) -> int:
    """How many there are in wa."""
    return (2 * m + 5) * n + (11 * m + 8) * m


def array_of(kept: dict[str, Any], name: str, size: int) -> np.ndarray:
    """A copy of that array; ValueError if it is not of that size."""
    array = np.array(kept[name], np.float64)
    if array.shape != (size,):
        raise ValueError(f"{name} has the shape {array.shape}, wanted ({size},)")
    return array


def count_of(kept: dict[str, Any], name: str) -> int:
    """That number; ValueError if it is none that was counted."""
    count = kept[name]
    if type(count) is not int or not 0 <= count <= MOST:
        raise ValueError(f"{name} = {count!r} is no count")
    return count


def known_setulb() -> Any:
    """SciPy's `setulb`; None if it is not the one that is known here.

    Raises MissingExtraError without SciPy.
    """
    public_minimize()
    import scipy
    from scipy.linalg.lapack import HAS_ILP64  # if so, it may want arrays of int64

    version = tuple(int(part) for part in scipy.__version__.split(".")[:2])
    if HAS_ILP64 or not KNOWN[0] <= version <= KNOWN[1]:
        return None
    from scipy.optimize._lbfgsb import setulb

    return setulb


def public_minimize() -> Any:
    """SciPy's `minimize`.

    Raises MissingExtraError without SciPy.
    """
    try:
        from scipy.optimize import minimize
    except ImportError as error:
        raise MissingExtraError("SciPy", "lbfgs", "optimizer='lbfgs'") from error
    return minimize
