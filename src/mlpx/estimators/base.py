"""The base of classifier and regressor: fitting, and the attributes that it sets."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from mlpx.backend import Backend, get_backend
from mlpx.backend.cpu import usable_cores
from mlpx.engines.native.mapped import watched
from mlpx.errors import InputError
from mlpx.estimators import rows, settings
from mlpx.estimators.bookkeeper import Bookkeeper, check_classes, split_state
from mlpx.estimators.feeding import enough_weighing, loop_and_feed, open_window
from mlpx.kernels.losses import Loss
from mlpx.metrics import Metric
from mlpx.mlp import MLP
from mlpx.optimizers import Optimizer
from mlpx.program.data import TrainingData
from mlpx.training.callbacks import check_callbacks
from mlpx.training.checkpoints import Checkpoints, keeper_of
from mlpx.training.full_batch import FullBatch
from mlpx.training.progress import display
from mlpx.training.recorded import adopt
from mlpx.training.run import Run, RunOptions

Held = tuple[Any, Any, Any]
Kept = tuple[Any, Any, bool]
"""The arguments `checkpoint`, `every` and `resume`."""
NOT_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and "
    "need to be preprocessed."
)


class BaseMLP(BaseEstimator):  # type: ignore[misc]
    """Fitting with mlpx's engines and scikit-learn's semantics; see the subclasses."""

    _classifies = False
    _split_state: Any = None
    """The state of the random draws before the validation data were split off, if they were."""

    # What subclasses define.

    def _targets(self, y: Any, *, first: bool, whole: bool) -> np.ndarray:
        """Encoded y; the `first` time, its classes or columns are learnt, from `whole` data."""
        raise NotImplementedError

    def _for_model(self, y: np.ndarray) -> np.ndarray:
        """Encoded y in the form that the network takes."""
        raise NotImplementedError

    def _loss_and_outputs(self) -> tuple[Loss, int]:
        """The loss, and how many outputs the network has."""
        raise NotImplementedError

    def _loss_constants(self, y: np.ndarray) -> np.ndarray | None:
        """Terms of scikit-learn's loss (n,) that ours omits, as they depend on y alone."""
        return None

    def _class_factors(self, y: np.ndarray, w: np.ndarray | None) -> np.ndarray | None:
        """The row weights (n,), multiplied by the class weights."""
        return w

    def _strata(self, y: np.ndarray) -> np.ndarray | None:
        """The groups (n,) to stratify a train-validation split by, or None."""
        return None

    def _described(self) -> dict[str, Any]:
        """What a run folder stores about the targets."""
        raise NotImplementedError

    def _restore(self, described: dict[str, Any]) -> None:
        """The inverse of `_described`.

        Given {"model": model, "labels": class labels or None}, it infers what it can from these.
        """
        raise NotImplementedError

    # Fitting.

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, *, partial: bool = False,
        held_out: Held = (None, None, None), kept: Kept = (None, None, False),
    ) -> Self:  # fmt: skip
        settings.check(self)
        checkpoint, every, resume = kept
        keeper = keeper_of(checkpoint, every=every, resume=resume)
        opened = nullcontext() if keeper is None else keeper.opened(resume=resume)
        with self._unless_refused(), opened:
            return self._fit_kept(X, y, sample_weight, partial, held_out, keeper)

    @contextmanager
    def _unless_refused(self) -> Iterator[None]:
        """Inside, the attributes may change; they are put back if it fails before its training."""
        before, model = dict(self.__dict__), getattr(self, "_model", None)
        state, seed = (None, None) if model is None else (model.training_state, model.seed)
        draws: Any = getattr(self, "_random_state", None)
        # Others may draw from a generator that was given.
        own = draws is not None and isinstance(self.random_state, int | np.integer)
        drawn = draws.get_state() if own else None
        try:
            yield
        except BaseException:
            trained = getattr(self.__dict__.get("_model"), "training_state", None)
            if trained is None or trained is state:
                self.__dict__.clear()
                self.__dict__.update(before)
                if model is not None:
                    model.seed = seed
                if own:
                    draws.set_state(drawn)
            raise

    def _fit_kept(
        self, X: Any, y: Any, sample_weight: Any, partial: bool, held_out: Held,
        keeper: Checkpoints | None,
    ) -> Self:  # fmt: skip
        if partial and self.early_stopping:
            raise InputError("partial_fit does not support early_stopping=True")
        first = not hasattr(self, "_model") or not (self.warm_start or partial)
        backend = get_backend(self.device)
        if y is None:
            name = type(self).__name__
            raise InputError(
                f"This {name} estimator requires y to be passed, but the target y is None."
            )
        X = rows.check_rows(self, X, reset=first, backend=backend)
        y = self._targets(y, first=first, whole=not partial)
        if X.shape[0] != len(y):
            check_consistent_length(range(X.shape[0]), y)  # raises scikit-learn's error
        w = rows.check_weights(sample_weight, len(y))
        if first:
            self._begin()
        self._open_model(X, backend, first=first)
        if keeper is not None and keeper.found is not None:
            check_classes(keeper.found, self)
            self._split_state = split_state(keeper.found)
        validation = self._held_out(held_out, backend)
        if self.early_stopping and validation is None and not settings.full_batch(self):
            (X, y, w), validation = self._split(X, y, w)
        with watched(X):
            return self._train(X, y, w, validation, keeper, partial=partial)

    def _begin(self) -> None:
        """Set the attributes of an estimator that has not learnt anything yet."""
        self.__dict__.pop("_model", None)
        self._given_layers = False
        self._random_state = check_random_state(self.random_state)
        self._order = np.arange(0)
        self._split_state = None
        self._last_flat: np.ndarray | None = None
        self._no_improvement_count = 0
        self.n_iter_ = self.t_ = 0
        self.loss_curve_: list[float] = []
        self.validation_loss_curve_: list[float] | None = None
        self.validation_scores_: list[float] | None = None
        self.best_validation_score_: float | None = None
        self.best_loss_: float | None = None if self.early_stopping else math.inf

    def _open_model(self, X: Any, backend: Backend, *, first: bool) -> None:
        """Make a new network, or adapt the present one to the current constructor parameters."""
        loss, outputs = self._loss_and_outputs()
        layers = settings.layers(self, outputs=outputs)
        if not first:
            before = self._model.to(backend)
            if self._given_layers or (tuple(layers) == before.layers and loss == before.loss):
                return
        dtype = self.dtype if first else self._model.dtype
        if dtype is None:
            dtype = "float32" if X.dtype == np.float32 else "float64"
        model = MLP([X.shape[1], *layers], loss=loss, dtype=dtype, device=backend)
        if first:
            self._initialise(model)
        else:
            take_over(model, self._model)
        self._adopt(model)
        self.n_layers_ = len(settings.hidden_widths(self)) + 2

    def _adopt(self, model: MLP) -> None:
        """Make `model` the estimator's network."""
        self._model, self.n_outputs_ = model, model.d_out
        link = model.loss.link
        self.out_activation_ = {"sigmoid": "logistic", None: "identity"}.get(link, link)

    def _initialise(self, model: MLP) -> None:
        """Draw initial weights and biases as scikit-learn does."""
        draw, values = self._random_state.uniform, {}
        names = [name for name in model.parameters if name.endswith(".W")]
        names.sort(key=lambda name: int(name.partition(".")[0]))
        for name, factor in zip(names, settings.initial_factors(self), strict=True):
            shape = model.parameters[name].shape
            bound = math.sqrt(factor / sum(shape))
            values[name] = draw(-bound, bound, shape)
            values[f"{name[:-1]}b"] = draw(-bound, bound, shape[1])
        model.set_parameters(values)
        if any(layer.stochastic for layer in model.layers):
            model.seed = int(self._random_state.randint(np.iinfo(np.int32).max))

    def _held_out(self, given: Held, backend: Backend) -> TrainingData | None:
        """The validation data given to `fit`, or None."""
        X, y, w = given
        if X is None and y is None:
            return None
        if X is None or y is None:
            raise InputError("X_val and y_val belong together; give both")
        X = rows.check_rows(self, X, reset=False, backend=backend)
        y = self._targets(y, first=False, whole=False)
        check_consistent_length(range(X.shape[0]), y)
        return self._data(X, y, rows.check_weights(w, len(y)))

    def _split(self, X: Any, y: Any, w: Any) -> tuple[Held, TrainingData]:
        """Training rows and validation data; the split stays the same when fitting continues."""
        draw = self._random_state
        if self._split_state is None:
            self._split_state = draw.get_state()
        else:
            draw = np.random.RandomState()
            draw.set_state(self._split_state)
        trained, held = train_test_split(
            np.arange(X.shape[0]), random_state=draw, test_size=self.validation_fraction,
            stratify=self._strata(y),
        )  # fmt: skip
        if len(held) < 2:
            raise InputError(
                f"The validation set is too small: {len(held)} of {X.shape[0]} rows, wanted 2; "
                "give a larger validation_fraction or more rows"
            )
        parts = [(rows.take(X, at), y[at], None if w is None else w[at]) for at in (trained, held)]
        return parts[0], self._data(*parts[1])

    def _data(self, X: Any, y: np.ndarray, w: np.ndarray | None) -> TrainingData:
        """Checked rows in the form that the network takes."""
        return rows.as_data(X, self._for_model(y), w, model=self._model)

    def _keeps_best(self, held_out: Any) -> bool:
        """Whether the epoch with the best validation score is restored at the end."""
        asked = self.early_stopping if self.restore_best is None else self.restore_best
        return bool(asked and held_out is not None)

    def _train(
        self, X: Any, y: Any, w: Any, validation: TrainingData | None,
        keeper: Checkpoints | None, *, partial: bool,
    ) -> Self:  # fmt: skip
        w = self._class_factors(y, w)
        rule = settings.optimizer(self, weight=float(len(y) if w is None else w.sum()))
        w = rows.in_model_range(w, self._model)
        if not rule.full_batch:
            X, y, w = enough_weighing(X, y, w, batch_rows=settings.batch_rows(self))
        data, constants = self._data(X, y, w), self._loss_constants(y)
        epochs = 1 if partial else int(self.max_iter)
        run = self._run(data, validation, rule, w, constants, keeper, epochs=epochs)
        ruled = self.solver == "sgd" and settings.has_rate_rule(self)
        self._rate_rule = self.learning_rate if ruled else "constant"
        if not run.state.step:
            self.learning_rate_ = float(self.learning_rate_init)
        if validation is not None and self.validation_scores_ is None:
            self.validation_scores_, self.validation_loss_curve_ = [], []
            self.best_validation_score_ = -math.inf
        self.n_iter_ = 0
        try:
            run.train()
        except KeyboardInterrupt:
            warnings.warn("interrupted; what was learnt is kept", UserWarning, stacklevel=6)
        self.history_ = run.history
        self._conclude(run, partial=partial)
        return self

    def _run(
        self, data: TrainingData, validation: TrainingData | None, rule: Optimizer,
        w: np.ndarray | None, constants: np.ndarray | None, keeper: Checkpoints | None, *,
        epochs: int,
    ) -> Run:  # fmt: skip
        """The training run that does the work."""
        model, n = self._model, len(data)
        found = None if keeper is None else keeper.found
        if found is not None:
            adopt(found, model, rule)
        batch = n if rule.full_batch else self._batch_rows(n)
        if isinstance(data.x, rows.SparseRows):
            data = open_window(model, data, 1 if rule.full_batch else batch)
        metrics: tuple[Metric, ...] = ()
        if validation is not None:
            metrics = settings.stopping_metric(self.early_stopping_metric, classes=self._classifies)
        for metric in metrics:
            metric.check(model.loss, model.d_out)
        column = f"val_{metrics[0].name}" if metrics else "val_loss"
        sign = 1.0 if metrics and metrics[0].higher_is_better else -1.0
        book = Bookkeeper(self, rows=n, column=column, sign=sign)
        shown = display(1 if self.verbose == "bar" else 0)
        options = RunOptions(
            optimizer=rule,
            batch_size=min(batch * rule.accumulate, n),
            part_rows=batch,
            epochs=epochs,
            metrics=metrics,
            callbacks=(book, *check_callbacks(self.callbacks or ()), *([keeper] if keeper else [])),
            display=tuple(shown),
            threads=self._threads(),
        )
        loop, feed = loop_and_feed(self, model, data, options, w, constants)
        return Run(model, data, validation, options, loop=loop, feed=feed, checkpoint=found)

    def _split_draws(self) -> dict[str, Any] | None:
        """`_split_state`, as a checkpoint keeps it."""
        if self._split_state is None:
            return None
        kind, words, position, *rest = self._split_state
        return {"kind": kind, "words": np.array(words), "position": position, "rest": rest}

    def _batch_rows(self, n: int) -> int:
        size = settings.batch_rows(self)
        if size > n and not isinstance(self.batch_size, str):
            told = f"batch_size = {size} is larger than the {n} rows; trained with {n}"
            warnings.warn(told, UserWarning, stacklevel=8)
        return min(size, n)

    def _threads(self) -> int | None:
        """`n_threads`, or what joblib allots to its workers; None picks as many as suit."""
        if self.n_threads is not None:
            return int(self.n_threads)
        told = os.environ.get("OMP_NUM_THREADS", "")
        return min(int(told), usable_cores()) if told.isdigit() and int(told) else None

    def _next_order(self, n: int, *, anew: bool) -> np.ndarray:
        """The rows of the next epoch or, unless `anew`, of the one that was interrupted."""
        if not self.shuffle:
            return np.arange(n)
        if len(self._order) != n:
            self._order, anew = np.arange(n), True
        if anew:
            places = np.arange(n)
            self._random_state.shuffle(places)
            self._order = self._order[places]
        return self._order

    def _conclude(self, run: Run, *, partial: bool) -> None:
        """Warn if training did not converge; raise InputError if it diverged."""
        told = ""
        result = run.loop.result if isinstance(run.loop, FullBatch) else None
        if result is not None:
            self.loss_ = float(result.fun)
            if result.status != 0:
                told = (
                    f"lbfgs failed to converge after {self.n_iter_} iteration(s) "
                    f"(status={result.status}):\n{result.message}"
                )
        elif run.stopping is None and not partial:
            told = (
                f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the "
                "optimization hasn't converged yet."
            )
        if told:
            warnings.warn(told, ConvergenceWarning, stacklevel=7)
        model = self._model
        if not bool(model.backend.xp.isfinite(model.flat).all()):
            raise InputError(NOT_FINITE)

    # What fitting provides.

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_model")

    @property
    def model_(self) -> MLP:
        """The network itself, an `mlpx.MLP`."""
        return self._fitted("model_")

    @property
    def coefs_(self) -> list[np.ndarray]:
        """Weight matrices, the i-th from layer i to i + 1; views on the CPU, copies elsewhere."""
        return self._arrays("coefs_", "W")

    @property
    def intercepts_(self) -> list[np.ndarray]:
        """Bias vectors, the i-th of layer i + 1; views on the CPU, copies elsewhere."""
        return self._arrays("intercepts_", "b")

    def _fitted(self, name: str) -> MLP:
        if not hasattr(self, "_model"):
            raise AttributeError(f"{type(self).__name__} has no {name} before fit")
        model: MLP = self._model
        return model

    def _arrays(self, name: str, kind: str) -> list[np.ndarray]:
        model = self._fitted(name)
        parameters, layers = model.parameters, range(len(model.layers))
        return [
            model.backend.to_numpy(parameters[f"{i}.{kind}"])
            for i in layers
            if f"{i}.{kind}" in parameters
        ]

    def _outputs(self, X: Any) -> Any:
        """The network's outputs (n, d_out) for X (n, columns), on its device."""
        check_is_fitted(self)
        model = self._model
        return rows.outputs(model, rows.check_rows(self, X, reset=False, backend=model.backend))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write a run folder, as `mlpx train` does; `from_run` reads it.

        Raises InputError if the folder holds something else, CheckpointError if writing fails.
        """
        from mlpx.estimators.saving import save

        check_is_fitted(self)
        save(self, Path(folder))

    @classmethod
    def from_run(cls, folder: str | os.PathLike[str], *, device: str | None = None) -> Self:
        """The estimator in a run folder that `save` or `mlpx train` wrote.

        Raises CheckpointError.
        """
        from mlpx.estimators.saving import load

        estimator: Self = load(cls, Path(folder), device)
        return estimator


def take_over(model: MLP, before: MLP) -> None:
    """Give `model` the parameters and the training state of the network `before`.

    Raises InputError if their shapes differ.
    """
    old, new = before.parameters, model.parameters
    if [p.shape for p in old.values()] != [p.shape for p in new.values()]:
        raise InputError(
            f"the network was {before.widths} and would become {model.widths}; set "
            "warm_start=False to start over"
        )
    for ours, theirs in zip(new.values(), old.values(), strict=True):
        ours[...] = theirs
    model.training_state, model.seed = before.training_state, before.seed
