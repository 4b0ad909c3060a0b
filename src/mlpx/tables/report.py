"""What a fitted estimator of a table tells of itself."""

from __future__ import annotations

from collections.abc import Iterator

from mlpx.tables.saved import TableModel
from mlpx.training.history import History
from mlpx.untrusted import one_line

LONGEST_NAME = 30


def report(made: TableModel, history: History) -> str:
    """Lines of text: each column, the target, the network, the training, and what was noted."""
    columns = [tuple(map(one_line, row)) for row in made.encoder.report()]
    wide = max([len(made.target.name), *(len(name) for name, _, _ in columns)])
    wide = min(wide, LONGEST_NAME)
    kinds = max(len("target"), *(len(kind) for _, kind, _ in columns))
    rows = [*columns, (one_line(made.target.name), "target", one_line(made.target.says()))]
    lines = [f"{name:<{wide}}  {kind:<{kinds}}  {said}" for name, kind, said in rows]
    lines += ["", *_training(made, history)]
    notes = [f"note: {one_line(note)}" for note in history.notes]
    return "\n".join([*lines, *notes])


def _training(made: TableModel, history: History) -> list[str]:
    model, preset = made.model, made.preset
    widths = "-".join(map(str, (model.d_in, *preset.hidden_layer_sizes, model.d_out)))
    told = [
        f"preset {preset.name}: {widths}, {model.parameter_count:,} parameters",
        f"trained for {len(history)} epochs in {history.seconds:.1f} s on {history.device}",
    ]
    if history.epochs and "val_loss" in history:
        column = "val_accuracy" if "val_accuracy" in history else "val_loss"
        best = history.best(column)
        told.append(f"best epoch {best['epoch']}: {column} {best[column]:.4g}")
    return [*told, *sureness(made)]


def sureness(made: TableModel) -> Iterator[str]:
    """How the model was made as sure of itself as it should be."""
    if made.quantiles:
        yield f"predicts the quantiles {', '.join(f'{q:g}' for q in made.quantiles)}"
    if made.temperature != 1.0:
        yield f"calibrated: logits are divided by the temperature {made.temperature:.3g}"
    if made.conformal is not None:
        yield f"intervals by the errors on {made.conformal.rows:,} validation rows"
