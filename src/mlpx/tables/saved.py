"""A trained model of a table: what its file says besides the network, under the key "table"."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlpx.errors import CheckpointError, InputError, MlpxError
from mlpx.kernels import losses
from mlpx.kernels.losses import Loss
from mlpx.mlp import MLP
from mlpx.tables.encoder import Encoder
from mlpx.tables.importances import Importance, importances
from mlpx.tables.presets import Preset
from mlpx.tables.resampling import Resamples
from mlpx.tables.scoring import Scores, score
from mlpx.tables.table import as_table
from mlpx.tables.target import Target
from mlpx.training.run_folder import class_count
from mlpx.untrusted import brief

KEY = "table"


@dataclass(frozen=True, eq=False)
class TableModel:
    """A network with what makes its inputs of a table, and labels or values of its outputs."""

    encoder: Encoder
    target: Target
    preset: Preset
    model: MLP

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
        made = cls(encoder, target, _preset(described["preset"]), model)
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
        outputs = 1 if single else len(target.classes)
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
        described = {
            "encoder": self.encoder.config(),
            "target": self.target.config(),
            "preset": self.preset.config(),
        }
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
        if count != class_count(model):
            what = "values" if values else "classes"
            raise CheckpointError(
                f"the table's target has {count} {what}, and the model beside it "
                f"{class_count(model)}"
            )

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

    def encode(self, table: Any) -> np.ndarray:
        """The matrix (n, width) that the network reads."""
        return self.encoder.encode(as_table(table))

    def answers(self, x: np.ndarray, batch_size: int = 1024) -> np.ndarray:
        """Probabilities (n, k), float64 for two classes to sum to 1, or values (n,)."""
        model = self.model
        z = model.backend.to_numpy(model.predict_logits(x, batch_size=batch_size))
        if self.target.task == "regression":
            return self.target.restore(z[:, 0], clamp=self.preset.clamp)
        p: np.ndarray = losses.probabilities(np, model.loss, z.astype(np.float64))
        return p

    def evaluate(self, table: Any, y: Any, *, resamples: Resamples | None = None) -> Scores:
        """The scores on rows of a table and their targets y, a pyarrow column, with intervals."""
        truth, found = self._true(y), self.answers(self.encode(table))
        return score(truth, found, resamples=resamples)

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


def _preset(described: Any) -> Preset:
    try:
        if not isinstance(described, dict) or described.get("kind") != Preset.kind:
            raise CheckpointError(f"the table's preset is {brief(repr(described))}")
        made: Preset = Preset.from_config(described)
    except CheckpointError:
        raise
    except (MlpxError, LookupError, TypeError, ValueError) as error:
        raise CheckpointError(f"the table's preset is damaged: {brief(error)}") from error
    return made
