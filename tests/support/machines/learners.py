"""The machine of the estimators."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import invariant
from sklearn.base import clone

from machines import Machine, beginning, step
from machines.arrays import FEW, Rows
from machines.disturbing import Deed
from machines.nets import RATE, named
from machines.observing import Shown, frozen, shown
from machines.truth import Truth, settings
from mlpx.estimators import MLPClassifier, MLPRegressor
from mlpx.kernels.activations import Activation
from mlpx.optimizers import Optimizer
from mlpx.schedules import Schedule
from mlpx.training.run import EVENTS

WIDTH = 4
LABELS = np.array(["no", "perhaps", "yes"])
FORMS = ("plain", "fortran", "reversed", "read-only", "unaligned", "big-endian", "list")
HOW: dict[str, st.SearchStrategy[Any]] = {
    "hidden_layer_sizes": st.sampled_from(((5,), (6, 3), ())),
    "activation": st.sampled_from(sorted(Activation.table)),
    "solver": st.sampled_from(sorted(Optimizer.table)),
    "learning_rate": st.one_of(
        st.sampled_from(("constant", "invscaling", "adaptive")), named(Schedule)
    ),
    "learning_rate_init": st.sampled_from((RATE, RATE / 4)),
    "alpha": st.sampled_from((0.0, 0.1)),
    "batch_size": st.sampled_from(("auto", 4, 16)),
    "max_iter": st.integers(1, 4),
    "shuffle": st.booleans(),
    "random_state": st.integers(0, 3),
    "warm_start": st.booleans(),
    "early_stopping": st.booleans(),
    "restore_best": st.sampled_from((None, True, False)),
    "n_iter_no_change": st.integers(1, 3),
    "tol": st.sampled_from((1e-4, 1.0)),
    "dropout": st.sampled_from((0.0, 0.25)),
    "dtype": st.sampled_from((None, "float32", "float64")),
    "n_threads": st.sampled_from((None, 1, 2)),
}
"""The constructor's parameters."""


@st.composite
def hows(draw: Any, *, most: int) -> dict[str, Any]:
    names = draw(st.lists(st.sampled_from(sorted(HOW)), max_size=most, unique=True))
    return {name: draw(HOW[name]) for name in names}


def rows(*counts: int) -> st.SearchStrategy[Rows]:
    return st.builds(
        Rows,
        n=st.sampled_from(counts),
        dtype=st.sampled_from(("f8", "f4", "i4", "u1")),
        form=st.sampled_from(FORMS),
        seed=st.integers(0, 5),
    )


@dataclasses.dataclass(frozen=True)
class Task:
    """What is learnt: classes by name, two classes, several labels a row, one value, or two."""

    kind: str

    def estimator(self, **how: Any) -> Any:
        classifies = self.kind in ("names", "two", "labels")
        return (MLPClassifier if classifies else MLPRegressor)(**how)

    def y(self, rows: Rows, *, every: bool) -> np.ndarray:
        """Targets, in which `every` class occurs."""
        rng = np.random.default_rng(rows.seed + 1)
        drawn = rng.integers(0, 3, size=rows.n)
        if every:
            drawn[:3] = np.arange(3)[: rows.n]
        if self.kind == "names":
            return LABELS[drawn]
        if self.kind == "two":
            return np.where(drawn > 0, 7, -1)
        if self.kind == "labels":
            return np.stack([drawn % 2, drawn // 2], axis=1)
        values = rng.random((rows.n, 2))
        return values if self.kind == "two values" else values[:, 0]

    @property
    def first_classes(self) -> dict[str, Any]:
        """What the first call of `partial_fit` is told."""
        return {"names": {"classes": LABELS}, "two": {"classes": [-1, 7]}}.get(
            self.kind, {"classes": [0, 1]} if self.kind == "labels" else {}
        )


def told(estimator: Any) -> dict[str, Any]:
    """Everything of an estimator that can be seen, by name, to be compared."""
    found: dict[str, Any] = {"parameters": repr(sorted(estimator.get_params().items()))}
    for name, value in vars(estimator).items():
        if name == "_model":
            found |= {f"model {k}": v for k, v in Truth(value).told().items()}
        elif name == "_random_state" and value is not None:
            found[name] = frozen(list(value.get_state()))
        elif name.endswith("_") or name in ("_order", "_last_flat", "_no_improvement_count"):
            found[name] = frozen(value)
    return found


class Learners(Machine):
    """An estimator and a shadow, which takes the steps that teach and nothing else.

    Before each of them the shadow is made anew from its pickle, so it is always fresh.
    """

    @beginning(
        kind=st.sampled_from(("names", "two", "labels", "value", "two values")), how=hows(most=6)
    )
    def begin(self, kind: str, how: dict[str, Any]) -> None:
        self.task = Task(kind)
        self.how = {"max_iter": 2, "hidden_layer_sizes": (5,), "random_state": 0} | how
        self.ours = self.task.estimator(**self.how)
        self.shadow = self.task.estimator(**self.how)
        self.last = (Rows(20, "f8"), False)
        self.found = settings()
        self.files = 0

    @invariant()
    def shadow_is_the_same(self) -> None:
        if hasattr(self, "ours"):
            assert told(self.ours) == told(self.shadow)
            assert settings() == self.found

    def teach(self, lesson: Callable[[Any], Any]) -> Shown:
        """What changes the estimator changes the shadow alike."""
        self.shadow = pickle.loads(pickle.dumps(self.shadow))
        said = shown(lambda: lesson(self.ours) and None, ValueError)
        expected = shown(lambda: lesson(self.shadow) and None, ValueError)
        assert said == expected
        return said

    def ask(self, question: Callable[[Any], Any]) -> Shown:
        fresh = pickle.loads(pickle.dumps(self.shadow))
        said = shown(lambda: question(self.ours), ValueError)
        assert said == shown(lambda: question(fresh), ValueError)
        return said

    @step(rows=rows(12, 20, 33, 70), weighted=st.booleans(), held_out=st.booleans())
    def fit(self, rows: Rows, weighted: bool, held_out: bool) -> None:
        self.last = rows, weighted
        options = {}
        if held_out:
            other = dataclasses.replace(rows, n=7)
            options = {"X_val": other.x(WIDTH), "y_val": self.task.y(other, every=False)}
        self._fit(**options)

    @step(times=st.integers(1, 2))
    def again(self, times: int) -> None:
        for _ in range(times):
            self._fit()

    def _fit(self, **options: Any) -> Shown:
        rows, weighted = self.last
        X, y = rows.x(WIDTH), self.task.y(rows, every=True)
        w = rows.weights() + 1 if weighted else None

        def lesson(estimator: Any) -> Any:
            return estimator.fit(X, y, sample_weight=w, **options)

        said = self.teach(lesson)
        if not self.ours.warm_start:  # what was learnt before is forgotten
            self.shadow = self.task.estimator(**self.how)
            assert shown(lambda: lesson(self.shadow) and None, ValueError) == said
        return said

    @step(rows=rows(*FEW), weighted=st.booleans(), times=st.integers(1, 3))
    def partial_fit(self, rows: Rows, weighted: bool, times: int) -> None:
        X, y = rows.x(WIDTH), self.task.y(rows, every=False)
        options = dict(self.task.first_classes)
        if weighted:
            options["sample_weight"] = rows.weights()
        if not hasattr(self.ours, "partial_fit"):
            return
        for _ in range(times):
            self.teach(lambda estimator: estimator.partial_fit(X, y, **options))

    @step(
        event=st.sampled_from(EVENTS),
        at=st.integers(0, 1),
        deed=st.sampled_from(("boom", "Ctrl-C")),
    )
    def fit_disturbed(self, event: str, at: int, deed: str) -> None:
        """A callback raises, or presses Ctrl-C, which is a warning."""
        rows, _ = self.last
        X, y = rows.x(WIDTH), self.task.y(rows, every=True)

        def lesson(estimator: Any) -> None:
            estimator.set_params(callbacks=[Deed(event, at, deed)])
            try:
                estimator.fit(X, y)
            finally:
                estimator.set_params(callbacks=None)

        self.teach(lesson)

    @step(how=hows(most=2))
    def set_params(self, how: dict[str, Any]) -> None:
        self.how |= how
        self.teach(lambda estimator: estimator.set_params(**how))

    @step(
        rows=rows(*FEW, 1500),
        say=st.sampled_from(("predict", "predict_proba", "predict_log_proba")),
    )
    def predict(self, rows: Rows, say: str) -> None:
        if hasattr(self.ours, say):
            X = rows.x(WIDTH)
            self.ask(lambda estimator: getattr(estimator, say)(X))

    @step(rows=rows(5, 33, 1500), weighted=st.booleans())
    def score(self, rows: Rows, weighted: bool) -> None:
        X, y = rows.x(WIDTH), self.task.y(rows, every=True)
        w = rows.weights() if weighted else None
        self.ask(lambda estimator: estimator.score(X, y, sample_weight=w))

    @step(way=st.sampled_from(("pickle", "deepcopy", "copy")))
    def duplicate(self, way: str) -> None:
        """The copy goes on, and the estimator that was copied is trained, which must not show."""
        before = self.ours
        self.ours = pickle.loads(pickle.dumps(before)) if way == "pickle" else copy.deepcopy(before)
        shown(lambda: before.fit(Rows(12).x(WIDTH), self.task.y(Rows(12), every=True)))

    @step(again=st.booleans())
    def make_clone(self, again: bool) -> None:
        """A clone has the parameters and has learnt nothing."""
        fresh = self.task.estimator(**self.how)
        assert told(clone(self.ours)) == told(fresh)
        if again:
            self.ours, self.shadow = clone(self.ours), fresh

    @step(further=st.booleans())
    def save_and_load(self, further: bool) -> None:
        """What comes back from a run folder answers alike; `further`: it also learns on alike."""
        if not hasattr(self.ours, "_model"):
            return
        self.files += 1
        folder = self.folder / str(self.files)
        said = shown(lambda: self.ours.save(folder))
        if said.error is not None:
            assert not folder.exists()
            return
        loaded = type(self.ours).from_run(folder)
        X = Rows(9).x(WIDTH)
        assert frozen(loaded.predict(X)) == frozen(self.ours.predict(X))
        if further and hasattr(self.ours, "partial_fit") and not self.ours.early_stopping:
            y = self.task.y(Rows(9), every=True)
            self.teach(lambda estimator: estimator.partial_fit(X, y))
            shown(lambda: loaded.partial_fit(X, y))
            assert Truth(loaded.model_).differs(self.ours.model_) == []

    @step(wrong=st.integers(0, 5))
    def refuse(self, wrong: int) -> None:
        X, y = Rows(6).x(WIDTH), self.task.y(Rows(6), every=True)
        nan = np.full_like(X, np.nan)
        lessons: list[Callable[[Any], Any]] = [
            lambda estimator: estimator.predict(Rows(3).x(WIDTH + 1)),
            lambda estimator: estimator.predict(nan),
            lambda estimator: estimator.score(X, y[:3]),
        ]
        said = self.ask(lessons[wrong % len(lessons)])
        assert said.error is not None
