"""`mlpx export`: a trained model as an ONNX file, or as a module of plain NumPy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlpx.cli.options import Debug, Run, path
from mlpx.untrusted import one_line

if TYPE_CHECKING:
    from mlpx.mlp import MLP
    from mlpx.tables.saved import TableModel

EXAMPLES = """[bold]Examples[/bold]

mlpx export runs/digits digits.onnx

mlpx export runs/digits digits.py

mlpx export model.safetensors model.onnx
"""
ENDINGS = (".onnx", ".py")


def exported(given: str) -> Path:
    """A path that a model can be exported to, .onnx or .py.

    Raises typer.BadParameter.
    """
    if path(given).suffix not in ENDINGS:
        raise typer.BadParameter(
            f"{given!r}; wanted a name that ends in .onnx, for ONNX, or in .py, for plain NumPy"
        )
    return Path(given)


def export(
    run: Run,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            parser=exported,
            help="NAME.onnx, for ONNX Runtime and others, which takes mlpx\\[onnx]; or NAME.py, a "
            "module that needs NumPy alone, with the parameters beside it in NAME.safetensors.",
            show_default=False,
        ),
    ],
    debug: Debug = False,
) -> None:
    """Write a trained model in a form that needs no mlpx.

    Both forms take rows as the model does, (n, d), and answer with classes as the data has them,
    text or whole numbers, and their probabilities; or with the values of a regression. Of a
    table they take its columns by name.
    """
    from mlpx.mlp import MLP
    from mlpx.training.run_folder import MODEL, locate

    found, config = locate(run)
    model = MLP.load(found, device="cpu")
    written = [file]
    if file.suffix == ".onnx":
        doc = f"Exported by mlpx from {run.resolve().name}."
        _onnx(model, config, file, doc)
    else:
        _numpy(model, config, file)
        written.append(file.with_suffix(".safetensors"))
    for each in written:
        typer.echo(f"{one_line(str(each))}: {each.stat().st_size:,} bytes", err=True)
    if run.is_dir() and found.name != MODEL and not (run / MODEL).exists():  # else it was told
        typer.echo(
            f"note: the run in {one_line(str(run))} was cut short: this is {found.name}", err=True
        )


def _onnx(model: MLP, config: dict[str, Any] | None, file: Path, doc: str) -> None:
    facts = metadata(config)
    if _is_of_table(model):
        facts.pop("columns", None)  # the file says more of them
        _table(model).export_onnx(file, doc=doc, metadata=facts)
    else:
        model.export_onnx(file, names=labels_for(model, config), doc=doc, metadata=facts)


def _numpy(model: MLP, config: dict[str, Any] | None, file: Path) -> None:
    if _is_of_table(model):
        _table(model).export_numpy(file)
    else:
        model.export_numpy(file, names=labels_for(model, config))


def _is_of_table(model: MLP) -> bool:
    """Whether its file says how a table becomes numbers."""
    table = (model.about or {}).get("table")
    return isinstance(table, dict) and bool(table.get("encoder"))


def _table(model: MLP) -> TableModel:
    """Raises MissingExtraError, and CheckpointError for what describes no table."""
    from mlpx.tables.saved import TableModel

    return TableModel.of(model)


def labels_for(model: MLP, config: dict[str, Any] | None) -> Any:
    """The labels of a run's data in the order of the model's classes; None if they are 0, 1, ...

    Raises CheckpointError for labels that are not those of `model`.
    """
    from mlpx.training.run_folder import class_count, class_labels, label_array

    if model.loss.target_kind(model.d_out) == "values":
        return None
    labels = class_labels(config, model=model)
    if labels is None or len(labels) != class_count(model):
        return None
    return label_array(labels)


def metadata(config: dict[str, Any] | None) -> dict[str, str]:
    """What an ONNX file keeps of a run's settings: its data set, and the names of classes and
    columns as JSON.
    """
    config = config or {}
    facts = {"dataset": Path(config.get("dataset", "")).name or None}
    columns = (config.get("estimator") or {}).get("names")
    for name, value in (("class_names", config.get("class_names")), ("columns", columns)):
        facts[name] = json.dumps(value) if value else None
    return {name: value for name, value in facts.items() if value is not None}
