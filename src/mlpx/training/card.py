"""Model cards: what a run folder says of its model, as Markdown.

Every number is from the files of the run; what they do not say is left out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from mlpx.errors import CheckpointError, InputError
from mlpx.network.network import Network
from mlpx.network.summary import summarise
from mlpx.training.card_facts import Facts
from mlpx.training.card_scores import leaning_rows, pictures, score_rows
from mlpx.training.checkpoint_files import progress
from mlpx.training.history import History
from mlpx.training.run_folder import CURVES, HISTORY, MODEL, class_count, class_labels
from mlpx.untrusted import brief

LISTED = 30
"""How many names of classes or columns a card lists."""
Row = tuple[str, Any]


def model_card(run: Path, *, beside: Path) -> str:
    """The card of a run folder or a model file, for a file in the folder `beside`.

    Raises CheckpointError.
    """
    facts = Facts.of(run)
    parts = [
        f"# Model card: {_text(facts.name)}",
        _summary(facts),
        *_warnings(facts),
        "## Intended use\n\nState what it is for, for whom, and what it should not be used for.",
        f"## Data\n\n{_table(_data(facts))}",
        f"## Architecture\n\n{_table(_architecture(facts))}\n\n```text\n{_layers(facts)}\n```",
        f"## Training\n\n{_table(_training(facts))}",
        f"## Results\n\n{_results(facts)}",
        *_scores(facts),
        *_pictures(facts, beside),
        f"## Versions\n\n{_table(_versions(facts))}",
    ]
    return "\n\n".join(parts) + "\n"


def _summary(facts: Facts) -> str:
    """What the model does, in a sentence."""
    model, k = facts.model, facts.model.d_out
    kind = model.loss.target_kind(k)
    does = {
        "classes": f"tells {class_count(model)} classes apart",
        "binary": "answers yes or no" if k == 1 else f"answers yes or no for each of {k} labels",
        "values": _values(model),
    }[kind]
    return (
        f"A multi-layer perceptron that {does}, from {model.d_in} columns of numbers. "
        f"It has {model.parameter_count:,} parameters."
    )


def _values(model: Network) -> str:
    """What a model of values predicts: those, or quantiles of them."""
    k = model.d_out
    count = model.loss.target_columns(k)
    what = f"{count} value{'s' if count > 1 else ''}"
    return f"predicts {k // count} quantiles of {what}" if k > count else f"predicts {what}"


def _warnings(facts: Facts) -> Iterator[str]:
    """What somebody who uses the model must know first."""
    name = facts.saved.path.name
    if not facts.config and facts.history is None:
        yield "**A model file alone:** how it was trained is not known."
        return
    done: tuple[int, int] | None = None
    if name != MODEL:
        with suppress(CheckpointError):
            done = progress(facts.saved)
    if done is not None and done[0] < done[1]:
        yield (
            f"**The run was cut short:** this is {_text(name)}, after {done[0]:,} of {done[1]:,} "
            "steps."
        )
    elif facts.history is not None and facts.history.stop_reason.startswith(
        ("interrupted", "diverged")
    ):
        yield f"**The run did not end as planned:** {_text(facts.history.stop_reason)}."


def _data(facts: Facts) -> Iterator[Row]:
    config, estimator, model = facts.config, facts.estimator, facts.model
    yield "data set", Path(config.get("dataset", "")).name
    rows = config.get("rows")
    target = facts.of_table("target")
    whole = "rows to train" if target else "rows of the training data"
    yield whole, None if rows is None else f"{rows:,}"
    share = config.get("validation", _held_out_by(facts.parameters))
    if share is not None:
        held = "held out for validation" if target else "of these held out for validation"
        yield held, f"{100 * share:g} %" if share else "none"
    yield "rows to test", facts.scores.get("rows")
    encoder = facts.of_table("encoder")
    yield "columns", f"{model.d_in:,}{', made of those of the table' if encoder else ''}"
    yield "names of the columns", _listed(estimator.get("names") or _first(encoder.get("columns")))
    yield "columns that are not used", _listed(_first(encoder.get("dropped")))
    yield "column to predict", target.get("name")
    if model.loss.target_kind(model.d_out) != "values":
        yield "classes", f"{class_count(model):,}"
        labels = (estimator or target).get("classes") or class_labels(config)
        yield "names of the classes", _listed(config.get("class_names") or labels)


def _held_out_by(parameters: dict[str, Any]) -> float | None:
    """The share of rows that an estimator held out, if it says so."""
    if not parameters:
        return None
    share = parameters.get("validation_fraction")
    return share if parameters.get("early_stopping") and isinstance(share, float) else None


def _architecture(facts: Facts) -> Iterator[Row]:
    model = facts.model
    yield "parameters", f"{model.parameter_count:,}"
    yield "arithmetic", model.dtype.name
    yield "loss", model.loss.name
    yield (
        "outputs",
        {"softmax": "softmax", "sigmoid": "sigmoid", "exp": "exp"}.get(
            str(model.loss.link), "as they are"
        ),
    )


def _layers(facts: Facts) -> str:
    """The summary of the model, without the device that it is on at the moment."""
    return summarise(facts.model).removesuffix(f"; {facts.model.device}")


def _training(facts: Facts) -> Iterator[Row]:
    config, history, state = facts.config, facts.history, facts.saved.state
    if facts.estimator:
        yield "estimator", facts.estimator.get("kind")
    if state is not None:
        yield "optimizer", _record(state.optimizer)
    else:
        yield "optimizer", config.get("optimizer") or facts.parameters.get("solver")
    yield "batch size", config.get("batch_size") or facts.parameters.get("batch_size")
    yield "sampling", config.get("sampling")
    yield "seed", config.get("seed", facts.parameters.get("random_state"))
    if history is not None:
        yield from _course(facts, history)
    for name in ("early_stopping", "patience", "best_weights"):
        yield name.replace("_", " "), _plain(config.get(name, facts.parameters.get(name)))
    yield "class weight", _plain(facts.parameters.get("class_weight"))


def _course(facts: Facts, history: History) -> Iterator[Row]:
    """How the training went."""
    begun = f", after {history.first_epoch} before" if history.first_epoch else ""
    yield "epochs", f"{len(history)}{begun}"
    state = facts.saved.state
    yield "steps", None if state is None else f"{state.drawn or state.step:,}"
    yield "device", history.device
    yield "engine", history.engine
    yield "time", f"{history.seconds:.3g} s" if history.seconds else None
    yield "ended", history.stop_reason
    for note in history.notes:
        yield "note", note


def _results(facts: Facts) -> str:
    """The losses and metrics of the last and the best epoch, and on test data."""
    history, columns = facts.history, dict[str, dict[str, float]]()
    if history is not None and history.epochs:
        last = history.epochs[-1]
        columns["training"] = {k: v for k, v in last.items() if not k.startswith("val_")}
        validation = _validated(last)
        if validation:
            columns["validation"] = validation
            with suppress(InputError, KeyError):
                best = history.best()
                columns[f"validation, epoch {best['epoch']:g} (lowest loss)"] = _validated(best)
    if facts.test and not facts.scores:
        columns["test"] = facts.test
    if not columns:
        return "The run says nothing of its results."
    metrics = dict.fromkeys(name for values in columns.values() for name in values)
    rows = [["", *columns]]
    for metric in metrics:
        rows.append([metric, *(_shown(values.get(metric)) for values in columns.values())])
    return f"{_grid(rows)}\n\nTraining and validation are those of the last epoch."


def _validated(epoch: dict[str, float]) -> dict[str, float]:
    """What an epoch reports of validation data, without `val_`."""
    prefix = "val_"
    return {k.removeprefix(prefix): v for k, v in epoch.items() if k.startswith(prefix)}


def _scores(facts: Facts) -> Iterator[str]:
    """What a run on a table found out on its test rows."""
    if facts.scores:
        yield f"On {facts.scores.get('rows')} rows that were held out for the test:"
        yield _grid(score_rows(facts.scores))
        leaning = leaning_rows(facts.scores)
        if leaning:
            yield "What the model leans on:"
            yield _grid(leaning)


def _pictures(facts: Facts, beside: Path) -> Iterator[str]:
    """Links to the pictures of the run, if they are of this model."""
    if not facts.config or facts.saved.path.name != MODEL:
        return
    curves = facts.folder / CURVES
    drawn = [("Learning curves", curves)] if curves.is_file() else []
    for title, picture in [*drawn, *pictures(facts.folder)]:
        link = Path(os.path.relpath(picture, beside)).as_posix()
        yield f"![{title}](<{_text(link)}>)"


def _versions(facts: Facts) -> Iterator[Row]:
    from mlpx import __version__

    yield "mlpx, of the run", facts.config.get("mlpx")
    yield "mlpx, of this card", __version__
    yield "model file", facts.saved.path.name
    yield "history", HISTORY if facts.history is not None else None


def _record(record: Any) -> str:
    """A record by its name and the values that are not its defaults; its learning rate in any
    case.
    """
    usual, shown = type(record)().config(), []
    for name, value in record.config().items():
        if name in ("kind", "name") or (value == usual[name] and name != "learning_rate"):
            continue
        shown.append(f"{name.replace('_', ' ')} {_plain(value)}")
    return ", ".join([record.name, *shown])


def _plain(value: Any) -> Any:
    """A value as a card says it: a record by its name, nothing for no."""
    if isinstance(value, dict) and "name" in value:
        inner = [
            f"{name.replace('_', ' ')} {_plain(each)}"
            for name, each in value.items()
            if name not in ("kind", "name") and each is not None
        ]
        return f"{value['name']} ({', '.join(inner)})" if inner else value["name"]
    if isinstance(value, bool):
        return "yes" if value else None
    return value


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _listed(names: Any) -> str | None:
    """Names with commas, the first of many."""
    if not isinstance(names, list) or not names:
        return None
    shown = ", ".join(map(str, names[:LISTED]))
    return shown if len(names) <= LISTED else f"{shown}, ... ({len(names):,} in all)"


def _first(entries: Any) -> list[Any]:
    """The first of each list in a list, such as a column's name."""
    if not isinstance(entries, list):
        return []
    return [each[0] for each in entries if isinstance(each, list) and each]


def _table(rows: Iterator[Row]) -> str:
    """A table of what is known."""
    return _grid([["", ""], *([name, value] for name, value in rows if value not in (None, ""))])


def _grid(rows: list[list[Any]]) -> str:
    """A table, its title row first."""
    lines = [
        "|" + "|".join(" " if cell == "" else f" {_text(cell)} " for cell in row) + "|"
        for row in rows
    ]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]])


def _text(value: Any) -> str:
    """Text of a file as Markdown that means only itself: one line, no markup."""
    text = brief(value)
    for mark in "\\`*_[]<>|#":
        text = text.replace(mark, f"\\{mark}")
    return text
