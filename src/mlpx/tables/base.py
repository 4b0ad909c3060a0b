"""The base of `TableClassifier` and `TableRegressor`: fitting, and the attributes that it sets."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from mlpx.backend.cpu import usable_cores
from mlpx.engines.threads import TOO_MANY
from mlpx.errors import InputError, known_options
from mlpx.estimators.rows import check_weights
from mlpx.kernels.losses import Loss
from mlpx.mlp import MLP
from mlpx.records import require, require_count, require_flag
from mlpx.tables.encoder import Encoder
from mlpx.tables.given import as_in_fit, name_of, seed_of, table_of
from mlpx.tables.importances import Importance
from mlpx.tables.presets import FEW_ROWS, Preset, preset_of
from mlpx.tables.rows import Rows
from mlpx.tables.saved import TableModel
from mlpx.tables.scoring import Scores
from mlpx.tables.splitting import hold_out
from mlpx.tables.target import Target
from mlpx.training.history import History
from mlpx.training.run import Callback, Run

OVERRIDES = ("hidden_layer_sizes", "epochs", "batch_size", "learning_rate")
"""Parameters that, unless they are None, replace those of the preset."""
VERBOSE = {False: 0, True: 2, "bar": 1}


class _Watch(Callback):
    """Has the history of a run that is interrupted."""

    history: History | None = None

    def on_train_begin(self, run: Run) -> None:
        self.history = run.history


class BaseTable(BaseEstimator):  # type: ignore[misc]
    """A network for tables behind scikit-learn's interface; see the subclasses."""

    _task = ""
    _asks = ""
    """The parameter that has validation rows tell how sure the model is."""
    _table: TableModel
    _columns: tuple[str, ...]
    """The names of the columns in `fit`, those not used among them."""

    # What subclasses define.

    def _learn_targets(self, y: Any) -> tuple[np.ndarray, dict[str, Any]]:
        """y as an array (n,) and, of classes, as their numbers; and the attributes learnt of it."""
        raise NotImplementedError

    def _known_targets(self, y: Any, learnt: dict[str, Any]) -> np.ndarray:
        """The targets of validation rows, likewise."""
        raise NotImplementedError

    def _weighted(self, y: np.ndarray, w: np.ndarray | None, learnt: dict[str, Any]) -> Any:
        """The weights of rows, with those of their classes."""
        return w

    def _target(self, rows: Rows, name: str, learnt: dict[str, Any]) -> Target:
        """The target of training rows."""
        raise NotImplementedError

    def _loss(self) -> Loss | None:
        """What training minimises instead of the preset's loss. Raises InputError and others."""
        return None

    def _surer(self, made: TableModel, x: np.ndarray, held: Rows) -> TableModel:
        """The trained model with what `_asks` is for, by encoded validation rows x (n, width)."""
        raise NotImplementedError

    # Fitting.

    def _fit(
        self, X: Any, y: Any, sample_weight: Any = None, X_val: Any = None, y_val: Any = None, *,
        name: str | None = None,
    ) -> Self:  # fmt: skip
        preset, loss, seed = self._checked(), self._loss(), seed_of(self.random_state)
        if y is None:
            raise InputError(
                f"This {type(self).__name__} estimator requires y to be passed, but the target y "
                "is None."
            )
        table, named = table_of(X, of=type(self).__name__)
        codes, learnt = self._learn_targets(y)
        check_consistent_length(range(len(table)), codes)
        if len(codes) < 2:
            raise InputError(f"n_samples = {len(codes)}; a model is learnt from 2 rows or more")
        w = self._weighted(codes, check_weights(sample_weight, len(codes)), learnt)
        rows = Rows(table, codes, w).that_count()
        train, held = self._parts(rows, X_val, y_val, learnt, seed)
        shown = train.counted()
        encoder = Encoder.fit(
            shown.table, kinds=self.kinds, scaling=self.scaling, one_hot=preset.one_hot
        )
        target = self._target(shown, name or name_of(y), learnt)
        preset, x = preset.for_rows(len(train)), encoder.encode(train.table)
        made = TableModel.new(
            encoder, target, preset, x=x, seed=seed, device=self.device,
            dtype="float64" if len(train) < FEW_ROWS else "float32",  # exact, and costs nothing
            loss=loss,
        )  # fmt: skip
        history = self._train(made, train, held, x)
        if held is not None and getattr(self, self._asks):
            made = self._surer(made, made.encode(held.table), held)
        self._adopt(made, history, tuple(table.column_names), named=named)
        self.__dict__.update(learnt)
        return self

    def _checked(self) -> Preset:
        """The preset with the parameters that replace its own. Raises InputError and others."""
        require("validation_fraction", self.validation_fraction, above=0, below=1)
        for name in ("early_stopping", self._asks):
            require_flag(name, getattr(self, name))
        if self.n_threads is not None:
            require_count("n_threads", self.n_threads)
            require("n_threads", int(self.n_threads), least=1, below=TOO_MANY)
        if self.verbose not in VERBOSE:
            raise InputError(f"verbose = {self.verbose!r}; it must be True, False or 'bar'")
        given = {name: getattr(self, name) for name in OVERRIDES}
        chosen = {name: value for name, value in given.items() if value is not None}
        return replace(preset_of(self.preset), **chosen)

    def _parts(
        self, rows: Rows, X_val: Any, y_val: Any, learnt: dict[str, Any], seed: int
    ) -> tuple[Rows, Rows | None]:
        """The rows to train on, and those that say which epoch is the best."""
        if (X_val is None) != (y_val is None):
            raise InputError("X_val and y_val belong together; give both")
        if X_val is not None:
            table, _ = table_of(X_val, of=type(self).__name__)
            y = self._known_targets(y_val, learnt)
            check_consistent_length(range(len(table)), y)
            return rows, Rows(table, y, self._weighted(y, None, learnt))
        if not self.early_stopping or len(rows) < FEW_ROWS:
            self._refuse_without_held()
            return rows, None
        classes = rows.y if self._task == "classification" else None
        kept, held = hold_out(
            rows.table, share=self.validation_fraction, seed=seed, stratify=classes
        )
        return rows.take(kept), rows.take(held)

    def _refuse_without_held(self) -> None:
        """Raises InputError if validation rows are asked something."""
        if not getattr(self, self._asks):
            return
        few = f"of fewer than {FEW_ROWS} rows none are held out: give"
        why = few if self.early_stopping else "set early_stopping=True, or give"
        raise InputError(
            f"{self._asks} = True needs validation rows, and there are none; {why} X_val and y_val"
        )

    def _train(self, made: TableModel, train: Rows, held: Rows | None, x: np.ndarray) -> History:
        """Train the network; if it is interrupted, what was learnt is kept."""
        options = made.preset.options(
            made.model.layers, target=made.target, validated=held is not None
        )
        watch = _Watch()
        options["callbacks"] = [watch, *options.get("callbacks", ())]
        validation = None
        if held is not None:
            validation = made.encoder.encode(held.table), _standard(made, held.y), held.w
        with self._interrupts(watch):
            made.model.fit(
                x, _standard(made, train.y), sample_weight=train.w,
                validation_data=validation, threads=self._threads(),
                verbose=VERBOSE[self.verbose], **options,
            )  # fmt: skip
        assert watch.history is not None
        if not bool(made.model.backend.xp.isfinite(made.model.flat).all()):
            raise InputError("the training diverged: try a smaller learning_rate")
        watch.history.notes += [*made.encoder.notes, *made.target.notes]
        return watch.history

    @contextmanager
    def _interrupts(self, watch: _Watch) -> Iterator[None]:
        try:
            yield
        except KeyboardInterrupt:
            if watch.history is None:
                raise
            warnings.warn("interrupted; what was learnt is kept", UserWarning, stacklevel=7)

    def _threads(self) -> int | None:
        """`n_threads`, or what joblib allots to its workers; None picks as many as suit."""
        if self.n_threads is not None:
            return int(self.n_threads)
        told = os.environ.get("OMP_NUM_THREADS", "")
        return min(int(told), usable_cores()) if told.isdigit() and int(told) else None

    def _adopt(
        self, made: TableModel, history: History, columns: tuple[str, ...], *, named: bool
    ) -> None:
        """Set the attributes of a fitted estimator."""
        self.__dict__.pop("feature_names_in_", None)
        self._table, self._columns, self.history_ = made, columns, history
        self.n_features_in_, self.n_iter_ = len(columns), len(history)
        if named:
            self.feature_names_in_ = np.array(columns, dtype=object)

    # What fitting provides.

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_table")

    @property
    def encoder_(self) -> Encoder:
        """What was found in the columns, and makes numbers of them."""
        return self._fitted("encoder_").encoder

    @property
    def target_(self) -> Target:
        """What is predicted."""
        return self._fitted("target_").target

    @property
    def preset_(self) -> Preset:
        """The preset with the choices made for the number of rows."""
        return self._fitted("preset_").preset

    @property
    def model_(self) -> MLP:
        """The network itself, an `mlpx.MLP`."""
        return self._fitted("model_").model

    def _fitted(self, name: str) -> TableModel:
        if not hasattr(self, "_table"):
            raise AttributeError(f"{type(self).__name__} has no {name} before fit")
        return self._table

    def _rows(self, X: Any) -> pa.Table:
        """X as a table with the columns of `fit`."""
        check_is_fitted(self)
        table, named = table_of(X, of=type(self).__name__)
        return as_in_fit(table, named, estimator=self)

    def evaluate(self, X: Any, y: Any) -> Scores:
        """Scores on rows that were not trained on, each with its 95 % interval.

        Accuracy, balanced accuracy, log loss, Brier score and ROC AUC for classes; root mean
        squared error, mean absolute error and R2 for values, and the pinball loss for quantiles.
        """
        rows = self._rows(X)
        return self._table.evaluate(rows, pa.array(self._given(y)))

    def importances(self, X: Any, y: Any) -> list[Importance]:
        """How much worse the log loss, or the root mean squared error, gets on these rows if a
        column is shuffled; the most important column first.
        """
        rows = self._rows(X)
        return self._table.importances(rows, pa.array(self._given(y)))

    def _given(self, y: Any) -> np.ndarray:
        """y as labels or values (n,), as they are given."""
        raise NotImplementedError

    def report(self) -> str:
        """What was found in each column, what is predicted, and how the training went."""
        from mlpx.tables.report import report

        check_is_fitted(self)
        return report(self._table, self.history_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write a run folder, as `mlpx train` does; `from_run` reads it.

        Raises InputError if the folder holds something else, CheckpointError if writing fails.
        """
        from mlpx.tables.saving import save

        check_is_fitted(self)
        save(self, Path(folder))

    @known_options
    def export_onnx(
        self, path: str | os.PathLike[str], *, doc: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        """Write the model to `path` as ONNX that takes the table's own columns: each is an input of
        its name, (N, 1), text for categories, doubles for what else there is. The outputs are
        "label" and "probabilities", or "value".

        `doc` and `metadata` are kept in the file. Raises InputError, InputTypeError,
        MissingExtraError without onnx, CheckpointError.
        """
        check_is_fitted(self)
        self._table.export_onnx(path, doc=doc, metadata=metadata)

    @known_options
    def export_numpy(self, path: str | os.PathLike[str]) -> None:
        """Write the model as a module of plain NumPy at `path`, NAME.py, whose `predict` takes the
        table's own columns, and its parameters in NAME.safetensors.

        Raises InputError, InputTypeError, CheckpointError.
        """
        check_is_fitted(self)
        self._table.export_numpy(path)

    @classmethod
    def from_run(cls, folder: str | os.PathLike[str], *, device: str | None = None) -> Self:
        """The estimator in a run folder that `save`, or `mlpx train` with a table, wrote.

        Raises CheckpointError.
        """
        from mlpx.tables.saving import load

        estimator: Self = load(cls, Path(folder), device)
        return estimator


def _standard(made: TableModel, y: np.ndarray) -> np.ndarray:
    """Targets as the network takes them."""
    return y if made.target.classes else (y - made.target.mean) / made.target.std
