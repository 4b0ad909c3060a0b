"""A trained model of a table: what its file says besides the network, under the key "table"."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Self

import numpy as np

from mlpx.errors import CheckpointError, InputError
from mlpx.kernels import losses
from mlpx.kernels.losses import Loss, Quantile
from mlpx.mlp import MLP
from mlpx.tables.calibration import Conformal, temperature
from mlpx.tables.described import preset_from, told_of
from mlpx.tables.encoder import Encoder
from mlpx.tables.importances import Importance, importances
from mlpx.tables.presets import Preset
from mlpx.tables.resampling import Resamples
from mlpx.tables.scoring import Scores, score, score_quantiles
from mlpx.tables.table import as_table
from mlpx.tables.target import Target
from mlpx.training.run_folder import class_count
from mlpx.untrusted import brief

KEY = "table"


@dataclass(frozen=True, eq=False)
class TableModel:
    """A network with what makes its inputs of a table, and labels or values of its outputs.

    `temperature`: what the logits of classes are divided by before they become probabilities.
    `conformal`: how far off values were on validation rows, None if nobody asked.
    """

    encoder: Encoder
    target: Target
    preset: Preset
    model: MLP
    temperature: float = 1.0
    conformal: Conformal | None = None

    @classmethod
    def of(cls, model: MLP) -> TableModel:
        """The model that `model.about`, from a file that nobody vouches for, describes.

        Raises CheckpointError saying what is wrong with it.
        """
        described = (model.about or {}).get(KEY)
        if not isinstance(described, dict):
            raise CheckpointError(
                "the model was not trained on a table of named columns: its file says of none"
            )
        for name in ("encoder", "target", "preset"):
            if name not in described:
                raise CheckpointError(f"the model's file says of no {name} of its table")
        encoder, target = (
            Encoder.from_config(described["encoder"]), Target.from_config(described["target"])
        )  # fmt: skip
        told = told_of(described, target.task)
        made = cls(encoder, target, preset_from(described["preset"]), model, **told)
        made._check()
        return made

    @classmethod
    def new(
        cls, encoder: Encoder, target: Target, preset: Preset, *, x: np.ndarray, seed: int,
        device: Any = None, dtype: str = "float32", loss: Loss | None = None,
    ) -> TableModel:  # fmt: skip
        """An untrained model; x (n, width) are the encoded training rows.

        loss: instead of the preset's.
        """
        loss = loss or preset.loss(target)
        single = not target.classes or loss.targets == "binary"
        outputs = len(quantiles_of(loss) or (1,)) if single else len(target.classes)
        layers = preset.layers(encoder, target)
        width = encoder.width
        for layer in layers:
            width = layer.outputs(width)
        model = MLP(
            [encoder.width, *layers, *preset.last(width, outputs)], loss=loss, seed=seed,
            device=device, dtype=dtype,
        )  # fmt: skip
        preset.initialise(model, x)
        made = cls(encoder, target, preset, model)
        made.describe()
        return made

    def describe(self) -> None:
        """Have the network's files say what `of` asks for."""
        described: dict[str, Any] = {
            "encoder": self.encoder.config(),
            "target": self.target.config(),
            "preset": self.preset.config(),
        }
        if self.temperature != 1.0:
            described["temperature"] = self.temperature
        if self.conformal is not None:
            described["conformal"] = self.conformal.config()
        self.model.about = {**(self.model.about or {}), KEY: described}

    def _check(self) -> None:
        """Raises CheckpointError unless the parts fit each other."""
        model, width = self.model, self.encoder.width
        if width != model.d_in:
            raise CheckpointError(
                f"the table's encoder makes {width} columns, and the model beside it has "
                f"{model.d_in}"
            )
        values = model.loss.target_kind(model.d_out) == "values"
        if values != (self.target.task == "regression"):
            raise CheckpointError(
                f"the table's target is for {self.target.task}, and the model beside it predicts "
                f"{'values' if values else 'classes'}"
            )
        count = 1 if values else len(self.target.classes)
        has = model.loss.target_columns(model.d_out) if values else class_count(model)
        if count != has:
            what = "values" if values else "classes"
            raise CheckpointError(
                f"the table's target has {count} {what}, and the model beside it {has}"
            )
        try:
            quantiles_of(model.loss)
        except InputError as error:
            raise CheckpointError(f"the model's {brief(error)}") from error

    @property
    def quantiles(self) -> tuple[float, ...]:
        """Which quantiles the network's outputs are, in ascending order; () for other models."""
        return quantiles_of(self.model.loss)

    @property
    def middle(self) -> int:
        """Which output is the prediction: the quantile nearest 0.5, the lower of two."""
        near = [round(abs(q - 0.5), 9) for q in self.quantiles]
        return near.index(min(near)) if near else 0

    def with_temperature(self, x: np.ndarray, y: np.ndarray, w: np.ndarray | None = None) -> Self:
        """The model with the temperature that suits validation rows: encoded x (n, width), the
        numbers of their classes y (n,) and their weights. The network's file will say so too.

        Raises InputError if outputs are not finite.
        """
        z = self._outputs(x)
        _require_finite(z)
        return self._and_told(temperature=temperature(z, y, w))

    def with_intervals(self, x: np.ndarray, y: np.ndarray) -> Self:
        """The model with intervals that hold for validation rows, likewise; y (n,) are values as
        the table has them. Raises InputError likewise.
        """
        found = self.values(x)
        _require_finite(found)
        return self._and_told(conformal=Conformal.of(y, found[:, 0], found[:, -1]))

    def _and_told(self, **told: Any) -> Self:
        made = replace(self, **told)
        made.describe()
        return made

    def predict(self, table: Any, *, batch_size: int = 1024) -> np.ndarray:
        """The label of each row's likeliest class, or the predicted values, (n,).

        table: as `as_table` takes it; columns are found by name. Raises InputError, InputTypeError.
        """
        found = self.answers(self.encode(table), batch_size)
        return self.target.decode(found.argmax(axis=1)) if found.ndim == 2 else found

    def predict_proba(self, table: Any, *, batch_size: int = 1024) -> np.ndarray:
        """The probability of each class (n, k), in the order of `target.classes`.

        Raises InputError if the model predicts values.
        """
        if self.target.task == "regression":
            raise InputError("the model predicts values, which have no probabilities: use predict")
        return self.answers(self.encode(table), batch_size)

    def predict_quantiles(self, table: Any, *, batch_size: int = 1024) -> np.ndarray:
        """The `quantiles` of each row (n, q), ascending.

        Raises InputError if the model was not trained to predict any.
        """
        if not self.quantiles:
            raise InputError(
                "the model predicts no quantiles: train with quantiles=(0.05, 0.5, 0.95), say"
            )
        return self.values(self.encode(table), batch_size)

    def predict_interval(
        self, table: Any, *, coverage: float = 0.9, batch_size: int = 1024
    ) -> np.ndarray:
        """The ends of an interval for each row (n, 2), which hold the value with probability
        `coverage` if the rows are like the validation rows.

        It reaches as far on both sides of each prediction, or of the outermost quantiles. Raises
        InputError if the model has none, or too few rows to say.
        """
        if self.conformal is None:
            raise InputError("the model has no intervals: train with intervals=True")
        self.conformal.margin(coverage)  # refuses before the rows are looked at
        return self.interval(self.encode(table), coverage=coverage, batch_size=batch_size)

    def interval(self, x: np.ndarray, *, coverage: float, batch_size: int = 1024) -> np.ndarray:
        """The intervals of encoded rows x (n, width), of a model that has some."""
        assert self.conformal is not None
        found = self.values(x, batch_size)
        return self.conformal.widen(found[:, 0], found[:, -1], coverage=coverage)

    def encode(self, table: Any) -> np.ndarray:
        """The matrix (n, width) that the network reads."""
        return self.encoder.encode(as_table(table))

    def answers(self, x: np.ndarray, batch_size: int = 1024) -> np.ndarray:
        """Probabilities (n, k), float64 for two classes to sum to 1, or values (n,)."""
        if self.target.task == "regression":
            return self.values(x, batch_size)[:, self.middle]
        z = self._outputs(x, batch_size).astype(np.float64) / self.temperature
        p: np.ndarray = losses.probabilities(np, self.model.loss, z)
        return p

    def values(self, x: np.ndarray, batch_size: int = 1024) -> np.ndarray:
        """The values (n, 1), or the quantiles (n, q): sorted, as separate outputs may cross.

        Source: Chernozhukov et al., Quantile and probability curves without crossing, 2010.
        """
        z = np.sort(self._outputs(x, batch_size), axis=1)
        return self.target.restore(z, clamp=self.preset.clamp)

    def _outputs(self, x: np.ndarray, batch_size: int = 1024) -> np.ndarray:
        z = self.model.predict_logits(x, batch_size=batch_size)
        return self.model.backend.to_numpy(z)

    def evaluate(self, table: Any, y: Any, *, resamples: Resamples | None = None) -> Scores:
        """The scores on rows of a table and their targets y, a pyarrow column, with intervals."""
        truth, x = self._true(y), self.encode(table)
        if not self.quantiles:
            return score(truth, self.answers(x), resamples=resamples)
        found, q = self.values(x), self.quantiles
        scores = score(truth, found[:, self.middle], resamples=resamples)
        return scores | score_quantiles(truth, found, quantiles=q, resamples=resamples)

    def importances(self, table: Any, y: Any, *, seed: int = 0) -> list[Importance]:
        """How much each column of the table counts for targets y, the greatest first."""
        return importances(
            self.answers, self.encode(table), self._true(y), columns=self.encoder.places, seed=seed
        )

    def export_onnx(
        self, path: str | os.PathLike[str], *, doc: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        """Write the model to `path` as ONNX, from the table's own columns; see
        `mlpx.tables.exporting.export_onnx`.
        """
        from mlpx.tables import exporting

        exporting.export_onnx(self, path, doc=doc, metadata=metadata)

    def export_numpy(self, path: str | os.PathLike[str]) -> None:
        """Write the model as plain NumPy that takes the table's own columns, at `path`, NAME.py,
        and NAME.safetensors; see `mlpx.tables.exporting.export_numpy`.
        """
        from mlpx.tables import exporting

        exporting.export_numpy(self, path)

    def _true(self, y: Any) -> np.ndarray:
        """The numbers of the classes, or the values, of a pyarrow column."""
        encoded = self.target.encode(y)
        return self.target.restore(encoded) if self.target.task == "regression" else encoded


def _require_finite(found: np.ndarray) -> None:
    if not np.isfinite(found).all():
        raise InputError("what the model predicts of the validation rows is not finite")


def quantiles_of(loss: Loss) -> tuple[float, ...]:
    """The quantiles that the outputs of a network with this loss are, () for another loss.

    Raises InputError unless they ascend.
    """
    if not isinstance(loss, Quantile):
        return ()
    q = loss.quantiles if isinstance(loss.quantiles, tuple) else (loss.quantiles,)
    if any(not a < b for a, b in pairwise(q)):
        raise InputError(f"quantiles = {q}; wanted each larger than the one before")
    return q
