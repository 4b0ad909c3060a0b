"""`fit`: check everything once, then start a run."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from os import PathLike
from typing import Any

import numpy as np

from mlpx.backend import array_backend
from mlpx.engines.placement import place
from mlpx.engines.threads import TOO_MANY
from mlpx.errors import InputError, UnknownNameError
from mlpx.inputs.arrays import Checks, check_array
from mlpx.inputs.targets import ClassWeight, row_weights
from mlpx.metrics import choose_metrics
from mlpx.network.network import Network
from mlpx.optimizers import Optimizer
from mlpx.program.data import DEFAULT_BATCH, TrainingData, check_data, on_device, prepare_data
from mlpx.program.gradients import GradientRule
from mlpx.program.objective import divides_by_weight
from mlpx.records import require, require_count, require_flag
from mlpx.schedules import Schedule
from mlpx.training.callbacks import check_callbacks
from mlpx.training.checkpoints import Checkpoints, opened
from mlpx.training.epochs import Epochs
from mlpx.training.full_batch import FullBatch
from mlpx.training.history import History
from mlpx.training.progress import display
from mlpx.training.run import Callback, Run, RunOptions
from mlpx.training.sampling import SAMPLINGS, hold_out
from mlpx.training.settings import POLICIES
from mlpx.training.windows import Turns
from mlpx.types import Array

PRECISIONS = ("float32", "tf32", "bf16", "fp16")


def fit(
    model: Network,
    x: Any,
    y: Any,
    *,
    epochs: int | None = None,
    steps: int | None = None,
    batch_size: int | None = None,
    optimizer: str | Optimizer = "adam",
    learning_rate: float | Schedule | None = None,
    validation_data: tuple[Any, ...] | None = None,
    validation_split: float | None = None,
    sample_weight: Any = None,
    class_weight: ClassWeight = None,
    sampling: str | None = None,
    shuffle: bool | None = None,
    metrics: Iterable[str] | None = None,
    callbacks: Iterable[Callback] = (),
    engine: str = "auto",
    precision: str = "float32",
    threads: int | None = None,
    gradient: str | GradientRule = "backprop",
    record_gradient_norms: bool = False,
    check_finite: bool = True,
    on_divergence: str = "stop",
    checkpoint: str | PathLike[str] | Checkpoints | None = None,
    every: int | str | None = None,
    resume: bool = False,
    verbose: int | None = None,
) -> History:
    """Train `model` on x (n, d_in) and y, labels (n,) or targets (n, d_out).

    epochs: passes over the data (default 10); or steps: the total number of updates.
    batch_size: rows per step (default 32, or all rows if there are fewer).
    optimizer: a name or an instance; `learning_rate`, a number or a schedule, overrides its own.
    validation_data: (x, y) or (x, y, sample_weight), evaluated after every epoch.
    validation_split: instead, hold out this share of the rows, below 1, with their weights. It is
    drawn from the model's seed: a later call with as many rows holds out the same ones. The rows
    are copied.
    sample_weight: (n,), the weight of each row: a batch's loss is sum(w l) / sum(w), as in PyTorch.
    class_weight: a dict or list with the weight of each class, multiplied by `sample_weight`, or
    "balanced": all classes count the same. Validation is not weighted by class.
    sampling: "shuffle" (default), a new order every epoch; "whole_batches", the same without its
    last rows, if they make no whole batch; "with_replacement", each row drawn independently; or
    "sequential". shuffle: True means "shuffle", False "sequential".
    metrics: names from `mlpx.metrics`, for the validation data; the default is accuracy for
    classes.
    gradient: "backprop"; for tiny nets also "numerical" and "search", see `mlpx.program.gradients`.
    record_gradient_norms: fill `history.gradient_norms`.
    engine: "auto" or an engine's name. threads: how many the engine and the BLAS may use, reset
    afterwards; None picks as many as suit the net and batch.
    precision: "float32"; "bf16" on CUDA and on CPUs with AVX512_BF16, "tf32" or "fp16" on CUDA:
    products of float32 arrays round their factors to 7, 10 or 10 bits of fraction; fp16 scales them
    to its range first. Sums, weights and moments stay float32.
    on_divergence: what to do when the loss of a step is NaN or infinite, which is seen within 50 ms
    of training: "stop"; "restore", go back to the last good state, kept in memory at the beginning
    of an epoch every 100 steps or more, and train on at half the learning rate, at most 5 times; or
    "continue". A warning names the step, its rows, the first layer whose output is not finite, and
    the largest gradient. An epoch in which a run stops or goes back is not reported.
    checkpoint: a folder in which the run is kept while it trains, every 30 seconds or as `every`
    says: a number of steps, or "5 min", "2 epochs"; or `mlpx.Checkpoints`.
    resume: finish the run whose checkpoint is there, or begin it if there is none. Given the same
    data and arguments, a killed run ends with the same bits and the same history as one that was
    never interrupted; more `epochs` or `steps` than before make it longer. The model needs the same
    layers; its parameters and seed become the checkpoint's.
    verbose: 0 silent, 1 a bar, 2 a line per epoch, None a bar on a terminal, else about ten lines.

    A second call with an equal optimizer continues where the first stopped: its moments, the epoch
    count, the batch order and, if sampling, batch size and number of rows are the same, the
    position within an epoch. A schedule whose `steps` is None spans the call it begins in: to span
    several calls, give it the sum of their steps. Ctrl-C stops after the current steps, with the
    model intact, and raises KeyboardInterrupt; a second Ctrl-C raises it at once. x may be
    memory-mapped; it is cast batch by batch. Host arrays that are not C-contiguous are copied once.
    x may be rows that take turns in memory (`mlpx.training.windows.Turns`), with y=None: they have
    targets and an order of their own.

    Raises InputError, InputTypeError or UnknownNameError before anything is changed.
    """
    rule = Optimizer.resolve(optimizer)
    if learning_rate is not None:
        rule = replace(rule, learning_rate=learning_rate)
    sampling = _sampling(sampling, shuffle)
    share = _share(validation_split, validation_data)
    chosen = choose_metrics(metrics, model.loss, model.d_out)
    watchers, shown = check_callbacks(callbacks), display(verbose)
    with opened(checkpoint, model, rule, every=every, resume=resume) as (keepers, found):
        notes = _placed(model, x, batch_size, rule)
        feed = None
        if isinstance(x, Turns):
            _refuse_beside_turns(
                rule, y=y, sample_weight=sample_weight, class_weight=class_weight,
                validation_split=validation_split,
                sampling=None if sampling == "shuffle" else sampling,
            )  # fmt: skip
            batch_size = _batch_size(batch_size, len(x), notes)
            data, feed = x.opened(model, min(batch_size * rule.accumulate, len(x)))
            held_out = _validation_alone(model, validation_data, check_finite, notes)
        else:
            data, held_out = _both(
                model, x, y, sample_weight, finite=check_finite, class_weight=class_weight,
                validation=validation_data, share=share, notes=notes,
            )  # fmt: skip
        if rule.full_batch and batch_size is None:
            batch_size = len(data)
        batch_size = _batch_size(batch_size, len(data), notes)
        options = RunOptions(
            optimizer=rule,
            batch_size=min(batch_size * rule.accumulate, len(data)),
            part_rows=batch_size,
            sampling=sampling,
            epochs=epochs,
            steps=steps,
            metrics=chosen,
            callbacks=(*watchers, *keepers),
            display=tuple(shown),
            gradient_rule=_gradient_rule(gradient, rule, model),
            gradient_norms=record_gradient_norms,
            engine=engine,
            threads=_threads(threads),
            precision=_precision(precision, model),
            on_divergence=_on_divergence(on_divergence),
        )
        loop = FullBatch() if rule.full_batch else Epochs()
        run = Run(
            model, data, held_out, options, loop=loop, feed=feed, notes=notes, checkpoint=found
        )
        return run.train()


def _refuse_beside_turns(rule: Optimizer, **given: Any) -> None:
    """Raise InputError for what cannot be combined with rows that take turns in memory."""
    if rule.full_batch:
        raise InputError(
            f"optimizer = {rule.name!r} works on all rows at once, and only some of them are in "
            "memory: use another, such as 'adam'"
        )
    for name, value in given.items():
        if value is not None:
            raise InputError(
                f"{name} is given with rows that take turns in memory, which have targets and an "
                "order of their own: leave it out"
            )


def _validation_alone(
    model: Network, given: Any, finite: bool, notes: list[str]
) -> TrainingData | None:
    checks = Checks()
    held_out = _prepare_validation(model, given, finite, checks, notes)
    checks.settle()
    return held_out


def _gradient_rule(
    gradient: str | GradientRule, optimizer: Optimizer, model: Network
) -> GradientRule:
    rule: GradientRule = GradientRule.resolve(gradient)
    rule.check(model.parameter_count)
    if optimizer.accumulate > 1 and not rule.updates:
        raise InputError(
            f"accumulate = {optimizer.accumulate} with gradient={rule.name!r}; there is no "
            "gradient to add up: leave accumulate at 1, or use gradient='backprop'"
        )
    return rule


def _on_divergence(policy: str) -> str:
    if policy not in POLICIES:
        raise UnknownNameError("on_divergence", policy, POLICIES)
    return policy


def _threads(threads: int | None) -> int | None:
    if threads is None:
        return None
    require_count("threads", threads)
    require("threads", int(threads), least=1, below=TOO_MANY)
    return int(threads)


def _tells_classes_apart(model: Network) -> bool:
    kind = model.loss.target_kind(model.d_out)
    return kind == "classes" if model.d_out > 1 else kind == "binary"


def _varied(y: Array) -> Array:
    """Whether labels (n,), or class probabilities (n, k), are not all of one class."""
    differ = (y != y[:1]).any()
    return differ if y.ndim == 1 else differ | ((y[0] != 0) & (y[0] != 1)).any()


def _say_one_class(y: Array, model: Network, notes: list[str]) -> None:
    first = model.backend.to_numpy(y[0])
    label = int(first.argmax() if first.size > 1 else first.item())
    notes.append(
        f"y has one class only, {label} in all {len(y):,} rows: the model learns to answer that "
        "and nothing else"
    )
    warnings.warn(notes[-1], UserWarning, stacklevel=6)


def _both(
    model: Network, x: Any, y: Any, weights: Any, *, finite: bool, class_weight: ClassWeight,
    validation: Any, share: float, notes: list[str],
) -> tuple[TrainingData, TrainingData | None]:  # fmt: skip
    """The training and validation data; their checks on a device are awaited together."""
    checks, held_out = Checks(), None
    if share:
        data, held_out = _split(model, x, y, weights, share, finite, class_weight, notes)
    else:
        data = prepare_data(
            model, x, y, weights, finite=finite, class_weight=class_weight, checks=checks,
            notes=notes,
        )  # fmt: skip
        held_out = _prepare_validation(model, validation, finite, checks, notes)
    if len(data) > 1 and model.training_state is None and _tells_classes_apart(model):
        checks.require(_varied(data.y), partial(_say_one_class, data.y, model, notes))
    checks.settle()
    return data, held_out


def _split(
    model: Network, x: Any, y: Any, weights: Any, share: float, finite: bool,
    class_weight: ClassWeight, notes: list[str],
) -> tuple[TrainingData, TrainingData]:  # fmt: skip
    """The data split in two: training rows, and a `share` of the rows for validation."""
    x, y, _ = check_data(model, x, y, weights, finite=finite, absolute=divides_by_weight(model))
    n = len(x)
    count = round(share * n)
    if not 0 < count < n:
        raise InputError(
            f"validation_split = {share:g} of {n} row{'s' * (n > 1)} is {count}; leave some to "
            "train and some to validate on"
        )
    if weights is not None:
        weights = check_array("sample_weight", weights, model.backend)

    def part(rows: np.ndarray, prefix: str, class_weight: ClassWeight) -> TrainingData:
        w = row_weights(
            _take(weights, rows), _take(y, rows), d_out=model.d_out, loss=model.loss,
            dtype=model.dtype, backend=model.backend, class_weight=class_weight,
            name=f"{prefix}sample_weight", absolute=not prefix and divides_by_weight(model),
        )  # fmt: skip
        checked = _take(x, rows), _take(y, rows), w
        return replace(on_device(model, checked, prefix=prefix, notes=notes), origin=rows)

    kept, held = hold_out(model.seed, n, count)
    return part(kept, "", class_weight), part(held, "validation ", None)


def _take(array: Array, rows: np.ndarray) -> Array:
    return None if array is None else array[array_backend(array).asarray(rows)]


def _prepare_validation(
    model: Network, given: Any, finite: bool, checks: Checks, notes: list[str]
) -> TrainingData | None:
    if given is None:
        return None
    if not isinstance(given, tuple | list) or len(given) not in (2, 3):
        raise InputError(
            f"validation_data is {type(given).__name__}; wanted (x, y) or (x, y, sample_weight)"
        )
    x, y, weights = (*given, None)[:3]
    return prepare_data(
        model, x, y, weights, prefix="validation ", finite=finite, checks=checks, notes=notes,
        trains=False,
    )  # fmt: skip


def _sampling(sampling: str | None, shuffle: bool | None) -> str:
    """The sampling that the two options ask for."""
    if shuffle is not None:
        require_flag("shuffle", shuffle)
        if sampling is not None:
            raise InputError(f"sampling = {sampling!r} and shuffle = {shuffle}; give one of them")
        return "shuffle" if shuffle else "sequential"
    if sampling is not None and sampling not in SAMPLINGS:
        raise UnknownNameError("sampling", sampling, SAMPLINGS)
    return sampling or "shuffle"


def _share(split: float | None, data: Any) -> float:
    """The share of the rows to hold out, 0 for none."""
    if split is None:
        return 0.0
    require("validation_split", split, least=0, below=1)
    if split and data is not None:
        raise InputError(f"validation_split = {split:g} and validation_data; give one of them")
    return float(split)


def _precision(precision: str, model: Network) -> str:
    if precision not in PRECISIONS:
        raise UnknownNameError("precision", precision, PRECISIONS)
    anywhere = precision in ("float32", "bf16")
    narrows = precision != "float32" and model.dtype != np.float32
    if narrows or not (anywhere or model.backend.kind == "cuda"):
        where = "" if anywhere else " on CUDA"
        raise InputError(
            f"precision={precision!r} with a model of {model.dtype} on {model.device}; it rounds "
            f"float32{where}: leave it out, or use dtype='float32'"
            + ("" if anywhere else " and device='cuda'")
        )
    return precision


def _placed(model: Network, x: Any, batch_size: Any, rule: Optimizer) -> list[str]:
    """Notes on where a model with device="auto" is placed; x is checked later."""
    if not model.places_itself:
        return []
    rows = DEFAULT_BATCH
    if isinstance(batch_size, int) and batch_size > 0:
        rows = batch_size
    elif rule.full_batch and batch_size is None and hasattr(x, "__len__"):
        rows = len(x)
    note = place(model, x, rows)
    return [note] if note else []


def _batch_size(batch_size: int | None, n: int, notes: list[str]) -> int:
    if batch_size is None:
        return min(DEFAULT_BATCH, n)
    require_count("batch_size", batch_size)
    if batch_size > n:
        notes.append(f"batch_size = {batch_size} is larger than the data; trained with {n}")
        warnings.warn(notes[-1], UserWarning, stacklevel=4)
    return min(int(batch_size), n)
