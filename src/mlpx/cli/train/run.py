"""Training: `mlpx train` fits the model, writes the run and reports."""

from __future__ import annotations

import shlex
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import typer

from mlpx.cli.streams import outlived_stdout, spoken_warnings
from mlpx.cli.train.earlier import refuse_unfinished, resuming
from mlpx.cli.train.settings import OFF, TrainOptions
from mlpx.cli.train.setup import Experiment, dense_widths, prepare, resolved_dataset, resolved_log
from mlpx.cli.train.table import BESIDE, SCORES
from mlpx.errors import CheckpointError, MlpxError
from mlpx.network.checkpoint import size_bytes
from mlpx.network.saved import read
from mlpx.training.checkpoint_files import numbered, remove_but
from mlpx.training.checkpoints import Checkpoints
from mlpx.training.history import History
from mlpx.training.interrupts import held_interrupt
from mlpx.training.kept import as_table
from mlpx.training.locks import locked
from mlpx.training.run import Callback
from mlpx.training.run_folder import (
    MODEL,
    claimed,
    describe_run,
    described,
    room,
    run_folder,
)
from mlpx.training.writer import NOT_KEPT
from mlpx.untrusted import brief, one_line

if TYPE_CHECKING:
    from mlpx.mlp import MLP
    from mlpx.training.run import Run

BESIDE_BYTES = 1 << 17
"""Room for the history, the settings and the picture."""


def run(options: TrainOptions) -> None:
    """Train as the options of `mlpx train` say, write the run and report.

    Raises typer.BadParameter, MlpxError, OSError; KeyboardInterrupt after writing a run cut short.
    """
    with spoken_warnings(quiet=options.quiet), outlived_stdout(), ExitStack() as held:
        warnings.filterwarnings("ignore", "diverged", RuntimeWarning)  # the error at the end
        warnings.filterwarnings("default", NOT_KEPT, RuntimeWarning)  # also if it is to be quiet
        resumed = None if options.resume is None else run_folder(options.resume)
        if resumed is not None:
            held.enter_context(locked(resumed))
        experiment = prepare(options)
        folder = _rewritten(options.out, resumed)
        if folder is None:
            name = Path(experiment.settings.dataset).name.partition(".")[0] or "table"
            folder = held.enter_context(claimed(options.out, name=name))
            refuse_unfinished(folder)
        _train(experiment, folder)


def _rewritten(out: Path | None, resumed: Path | None) -> Path | None:
    """The folder of the resumed run, if the new run is written there too."""
    if resumed is None or out is None:
        return resumed
    return resumed if out.exists() and out.samefile(resumed) else None


def _train(experiment: Experiment, folder: Path) -> None:
    """Train, write the run into `folder` and report.

    Raises as `run`.
    """
    size = size_bytes(experiment.model, experiment.rule)
    with room(folder, size + BESIDE_BYTES) as release:
        history, interrupt = _fit(experiment, folder)
        _refuse_spoilt(experiment.model, history, interrupt, folder)
        experiment, interrupt = _surer(experiment, interrupt)
        history, test, trouble = _saved(
            experiment, folder / MODEL, history, interrupt, release=release
        )
        try:
            with held_interrupt():
                config, stay = _config(experiment), _cut_short(history) and _keeps(experiment)
                written, no_picture = describe_run(
                    folder, history=history, config=config, test=test, checkpoints_stay=stay
                )
                if not stay:
                    remove_but(folder, [])  # also what an earlier run has left
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"interrupted; the run is in {folder}") from None
    if experiment.table is not None and test is not None:
        with _ended_by_interrupt(folder):
            written += experiment.table.tell(folder, quiet=experiment.quiet)
    if not experiment.quiet:
        report(experiment, history, test)
        typer.echo(f"{'written':<15} {folder}/: {', '.join([MODEL, *written])}")
        if no_picture:
            typer.echo(f"{'no picture':<15} {no_picture}")
    _complain(history, folder, trouble)


@contextmanager
def _ended_by_interrupt(folder: Path) -> Iterator[None]:
    """Raise a KeyboardInterrupt from inside with a message that says that the run is written."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"interrupted after the training; the run is in {folder}, without {SCORES}; the scores "
            f"are told by: mlpx evaluate {shlex.quote(str(folder))}"
        ) from None


def _refuse_spoilt(
    model: MLP, history: History, interrupt: KeyboardInterrupt | None, folder: Path
) -> None:
    """Raise MlpxError, or KeyboardInterrupt if that ended the run, if a model that is not finite
    would replace one that is.
    """
    path = folder / MODEL
    if bool(model.backend.xp.isfinite(model.flat).all()) or not _is_finite(path):
        return
    ended = history.stop_reason
    if not ended.startswith("diverged"):
        ended = "ended with parameters that are not finite"
    told = f"training {ended}; {path} is that from before, and nothing else was written"
    raise (MlpxError if interrupt is None else KeyboardInterrupt)(told + _advice(folder))


def _surer(
    experiment: Experiment, interrupt: KeyboardInterrupt | None
) -> tuple[Experiment, KeyboardInterrupt | None]:
    """The experiment with what validation rows tell of the model; a Ctrl-C meanwhile waits."""
    if experiment.table is None:
        return experiment, interrupt
    try:
        with held_interrupt():
            try:
                experiment = replace(experiment, table=experiment.table.surer())
            except MlpxError as error:
                warnings.warn(f"the rows to validate tell nothing: {error}", stacklevel=1)
    except KeyboardInterrupt as late:
        return experiment, interrupt or late
    return experiment, interrupt


def _is_finite(path: Path) -> bool:
    """Whether there is a model file whose parameters are finite."""
    try:
        return all(np.isfinite(values).all() for values in read(path).parameters.values())
    except CheckpointError:
        return False


def _advice(folder: Path) -> str:
    there = bool(numbered(folder))
    return f"; before it went wrong: {resuming(folder)} --lr RATE" if there else ""


def _cut_short(history: History) -> bool:
    """Whether a checkpoint is of use after the run: to finish it, or to go back behind its end."""
    return history.stop_reason == "interrupted" or history.stop_reason.startswith("diverged")


def _complain(history: History, folder: Path, trouble: BaseException | None) -> None:
    """Raise what went wrong in a run that is now written."""
    if history.stop_reason == "interrupted":
        raise KeyboardInterrupt(
            f"interrupted after {len(history.step_loss):,} steps; what was learnt is in {folder}; "
            f"go on with: {resuming(folder)}"
        )
    if isinstance(trouble, KeyboardInterrupt):
        raise KeyboardInterrupt(f"interrupted after the training; the run is in {folder}")
    if trouble is not None:
        raise MlpxError(f"no test: {trouble or 'out of memory'}; the run is in {folder}")
    if history.stop_reason.startswith("diverged"):
        raise MlpxError(f"training {history.stop_reason}; the run is in {folder}{_advice(folder)}")


def _saved(
    experiment: Experiment,
    path: Path,
    history: History,
    interrupt: KeyboardInterrupt | None,
    *,
    release: Callable[[], None],
) -> tuple[History, dict[str, float] | None, BaseException | None]:
    """Save the model first, into the room to `release`; then the whole history, the metrics on the
    test data, and the error that kept them from being computed.

    Raises CheckpointError.
    """
    saved = False
    try:
        with held_interrupt():
            if experiment.before is not None:
                history = experiment.before.joined(history)
            release()
            experiment.model.save(path)
            saved = True
            for name in BESIDE:  # an earlier model's
                (path.parent / name).unlink(missing_ok=True)
        if interrupt is not None:
            raise interrupt
        return history, experiment.tested(), None
    except (KeyboardInterrupt, MlpxError, MemoryError) as error:
        if not saved:
            raise
        return history, None, error


class _Keep(Callback):
    """Keeps the history of a run that is interrupted."""

    history: History | None = None

    def on_train_begin(self, run: Run) -> None:
        self.history = run.history


def _keeps(experiment: Experiment) -> bool:
    """Whether there are checkpoints: a run that was cut short has them, and so has its end."""
    return experiment.settings.checkpoint_every != OFF or experiment.unfinished is not None


def _checkpoints(experiment: Experiment, folder: Path) -> dict[str, Any]:
    """The arguments of `fit` about checkpoints in `folder`."""
    if not _keeps(experiment):
        return {}
    every = experiment.settings.checkpoint_every
    before = experiment.before
    kept = None
    if before is not None:
        epochs = as_table(before.epochs)
        kept = {**before.to_dict(), "epochs": epochs, "step_loss": before.step_loss}
    beside = {"config": described(_config(experiment)), "before": kept}
    checkpoint = Checkpoints(folder, every=None if every == OFF else every, beside=beside)
    checkpoint.locks = checkpoint.refuses = False  # done already
    checkpoint.folder = folder  # messages name it as it was given
    checkpoint.source = experiment.unfinished or folder
    return {"checkpoint": checkpoint, "resume": experiment.unfinished is not None}


def _fit(experiment: Experiment, folder: Path) -> tuple[History, KeyboardInterrupt | None]:
    """The history, and the Ctrl-C that came during training or just after it.

    Raises KeyboardInterrupt if nothing was learnt, or if it broke off a step.
    """
    settings, keep = experiment.settings, _Keep()
    history: History | None
    _announce(experiment, folder)
    try:
        history = experiment.model.fit(
            *experiment.parts.train,
            epochs=settings.epochs,
            steps=settings.steps,
            batch_size=settings.batch_size,
            optimizer=experiment.rule,
            validation_data=experiment.parts.validation,
            sampling=settings.sampling,
            callbacks=[keep, *experiment.callbacks],
            engine=settings.engine,
            threads=settings.threads,
            on_divergence=settings.on_divergence,
            **_checkpoints(experiment, folder),
            verbose=0 if experiment.quiet else None,
        )
    except KeyboardInterrupt as interrupt:
        history, broken_off = keep.history, f"{type(interrupt).__name__}:"
        if (
            history is None
            or history.stop_reason.startswith(broken_off)
            or not len(history.step_loss)
        ):
            if not numbered(folder):
                raise
            raise KeyboardInterrupt(
                f"interrupted; go on from the last checkpoint with: {resuming(folder)}"
            ) from None
        return history, interrupt
    return history, None


def _config(experiment: Experiment) -> dict[str, Any]:
    from mlpx import __version__

    names, classes = experiment.task.data.class_names, experiment.task.classes
    labels = None if classes is None else classes.labels
    of_table = {} if experiment.table is None else {"digest": experiment.table.divided.digest}
    return {
        "mlpx": __version__,
        **of_table,
        **experiment.settings.config(),
        "csv_log": resolved_log(experiment.settings.csv_log),
        "dataset": resolved_dataset(experiment.settings.dataset),
        "layers": dense_widths(experiment.model),
        "loss": experiment.model.loss.name,
        "rows": len(experiment.task.data.x_train),
        "class_names": None if names is None else list(names),
        "classes": None if labels is None else list(labels),
    }


def _announce(experiment: Experiment, folder: Path) -> None:
    if experiment.quiet:
        return
    model, parts = experiment.model, experiment.parts
    sizes = [f"{len(parts.train[0]):,} rows to train"]
    if parts.validation is not None:
        sizes.append(f"{len(parts.validation[0]):,} to validate")
    if parts.test is not None:
        sizes.append(f"{len(parts.test[0]):,} to test")
    typer.echo(f"{one_line(experiment.task.data.name)}: {', '.join(sizes)}")
    classes = experiment.task.classes
    if classes is not None and classes.labels is not None:
        typer.echo(f"classes: {classes}")
    if experiment.table is not None:
        experiment.table.announce()
    widths = "-".join(map(str, dense_widths(model)))
    preset = "" if experiment.table is None else f", preset {experiment.table.made.preset.name}"
    typer.echo(f"model: {widths}, {model.parameter_count:,} parameters, {model.dtype}{preset}")
    every = experiment.settings.checkpoint_every
    if every != OFF:
        steps = " steps" if every.isdigit() else ""
        typer.echo(f"run: {folder}/, with a checkpoint every {brief(every)}{steps}")
    state = model.training_state
    if experiment.unfinished is not None and state is not None:
        typer.echo(f"goes on after step {state.step:,}, in epoch {state.epoch + 1}")


def report(experiment: Experiment, history: History, test: dict[str, float] | None) -> None:
    """Print how the training went."""
    epochs = f"{len(history)} epoch{'' if len(history) == 1 else 's'}"
    rate = f"{history.samples_per_s:,.0f} samples/s"
    scores = _scores(experiment, history, test)
    lines = [
        *scores,
        ("device", history.device),
        ("engine", f"{history.engine} ({history.engine_reason})"),
        (
            "training",
            f"{history.seconds:.1f} s, {epochs}, {len(history.step_loss):,} steps, {rate}",
        ),
    ]
    if history.stop_reason not in ("completed", "interrupted"):
        lines.append(("stopped", _brief(history.stop_reason)))
    for i, (name, value) in enumerate(lines):
        typer.echo(f"{name:<15} {typer.style(value, bold=True) if i == 0 and scores else value}")


def _scores(
    experiment: Experiment, history: History, test: dict[str, float] | None
) -> list[tuple[str, str]]:
    """The scores on the test data, or else what the last epoch reported; those of a table are told
    beside simple models already.
    """
    if test is None:
        last = history.epochs[-1] if history.epochs else {}
        return [(name, show_value(name, value)) for name, value in last.items()]
    if experiment.table is not None or experiment.parts.test is None:
        return []
    (name, value), *others = [
        (f"test {name}", show_value(name, value)) for name, value in reversed(test.items())
    ]
    return [(name, f"{value} on {len(experiment.parts.test[0]):,} rows"), *others]


def _brief(reason: str) -> str:
    """Why a run stopped, without the cause of a divergence, which the error at the end tells."""
    return reason.partition(" (")[0] if reason.startswith("diverged") else reason


def show_value(name: str, value: float) -> str:
    """A loss or metric as text: accuracies in percent."""
    return f"{100 * value:.2f} %" if name.endswith("accuracy") else f"{value:.4f}"
