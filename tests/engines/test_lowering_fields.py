"""The names of an operation's fields are those of what C and CUDA read at these places."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cudasim.cases import CASES, Given
from embedded import with_codes
from engine_cases import LAYERS

from mlpx import MLP, Dense, Optimizer
from mlpx.engines import cuda, native
from mlpx.engines.cuda.heads import with_heads
from mlpx.engines.cuda.kernels import CudaTarget
from mlpx.engines.cuda.products import AFFINE
from mlpx.engines.lowering import ARRAYS, NUMBERS, Operation, lower
from mlpx.engines.lowering.fields import FIELDS
from mlpx.engines.native.assembly import NativeTarget
from mlpx.engines.native.folding import update_at_once
from mlpx.engines.native.fusing import fuse
from mlpx.engines.native.library import load
from mlpx.engines.native.tiles import sum_by_rows
from mlpx.kernels.activations import Activation
from mlpx.kernels.losses import Loss
from mlpx.program.data import prepare_data
from mlpx.program.program import TrainingProgram

FOLDERS = {"native": Path(native.__file__).parent / "c", "cuda": Path(cuda.__file__).parent}
X = np.random.default_rng(1).uniform(0.1, 2, size=(9, 7))
MODELS: dict[str, dict[str, Any]] = {
    **{f"layers: {name}": {"layers": layers} for name, layers in LAYERS.items()},
    **{f"activation: {name}": {"activation": name} for name in Activation.table},
    **{f"loss: {name}": {"loss": name} for name in Loss.table},
    **{
        f"optimizer: {name}": {"optimizer": name} for name in sorted({*Optimizer.table} - {"lbfgs"})
    },
    "optimizer: plain": {"optimizer": "sgd"},
    "parts of a batch": {"part_rows": 2},
}


def program(
    layers: Any = None, *, activation: str = "relu", loss: str = "softmax_cross_entropy",
    optimizer: str = "adam", part_rows: int | None = None,
) -> TrainingProgram:  # fmt: skip
    """Steps of what is asked for, the rest as it usually is."""
    record, rule = Loss.resolve(loss), Optimizer.resolve(optimizer)
    layers = layers or [7, Dense(6, activation=activation), 3]
    model = MLP(layers, loss=record)
    y = {"classes": np.arange(9) % 3, "binary": X[:, :3] > 1, "values": X[:, :3]}
    given = y[record.target_kind(3)]
    data = prepare_data(model, with_codes(X, layers), given * 1 if given.dtype == bool else given)
    moments = {name: np.zeros(model.layout.size, model.dtype) for name in rule.arrays}
    return TrainingProgram(
        model, data, batch_size=4, rows=9, optimizer=rule, moments=moments, part_rows=part_rows
    )


def emitted(made: TrainingProgram) -> list[Operation]:
    """All that a program's plans are lowered to, for both engines, and what their passes make."""
    gradient, count = made.gradient, len(made.network.layout)
    others = np.zeros((1, gradient.size), gradient.dtype)
    found = list[Operation]()
    for plan in made.plans:
        for target in (CudaTarget(), NativeTarget()):
            found += lower(made, plan, target)
        found += with_heads(lower(made, plan, CudaTarget()))
        lowered = lower(made, plan, NativeTarget())
        for operations in (lowered, fuse(lowered)):
            found += update_at_once(operations, gradient, count=count)
            found += sum_by_rows(operations, gradient, others)
    return found


@pytest.mark.skipif(load() is None, reason="the native library was not built")
@pytest.mark.parametrize("options", MODELS.values(), ids=MODELS)
def test_every_operation_fits_its_fields(options: dict[str, Any]) -> None:
    for operation in emitted(program(**options)):
        assert max(len(operation.n), len(operation.c)) <= NUMBERS
        assert len(operation.p) < ARRAYS, "CUDA puts the room for sums at the end"
        check(operation)


def check(operation: Operation) -> None:
    """It has all the fields that must not be left out, and nothing behind the last."""
    fields = FIELDS[operation.name]
    parts = operation.n, operation.c, operation.p
    for kind, values in enumerate(parts):
        least = len(fields.blank[kind])
        endless = any(k == kind and at == slice(least, None) for k, at in fields.places.values())
        assert endless or len(values) <= least, operation
    for field in fields.required:
        kind, at = fields.places[field]
        assert isinstance(at, slice) or at < len(parts[kind]), (operation, field)


def test_a_field_that_is_none_of_the_operations_is_told() -> None:
    x = np.zeros((2, 3))
    given: dict[str, Any] = {"rows": 2, "columns": 3, "x": x, "touches": ()}
    copy = Operation.of("copy", **given, out=x)
    assert (copy.n, copy.c, copy.p) == ((2, 3), (), (x, x))
    assert copy.replaced(rows=1).n == (1, 3)
    with pytest.raises(ValueError, match=r"without \['out'\]"):
        Operation.of("copy", **given)
    for action in (
        lambda: Operation.of("copy", **given, out=x, bias=None),
        lambda: copy.replaced(bias=None),
        lambda: copy["bias"],
    ):
        with pytest.raises(KeyError, match="bias"):
            action()


def test_what_is_left_out_is_nothing() -> None:
    gather = Operation("gather", (2, 3, 0, 2, 0), (), (None, None, None), ())
    assert [gather[field] for field in ("ahead", "offset", "labels")] == [0, 0.0, None]
    assert gather.replaced(scaled=1, labels_out=5).n == (2, 3, 0, 2, 0, 0, 0, 1)
    assert gather.replaced(scaled=1, labels_out=5).p == (None, None, None, None, 5)
    rule = Operation("rule_adam", (6, 4), (0.9, 0.99), (1, 2, 3, 4, None, None, 9), ())
    assert (rule["moments"], rule["constants"], rule["scalars"]) == ((3, 4, None, None), rule.c, 9)


FUNCTION = re.compile(r"KERNEL\((\w+)\)|NAME\((\w+)\)\(|^#define (\w+)|\b(?!NAME\b)(\w+)\(")
"""The name of a function or macro where it begins; NAME(Rows) is a type."""


@cache
def pieces(engine: str) -> dict[str, str]:
    """The functions and macros of an engine's sources by name, and its kernels as `KERNEL name`."""
    found = dict[str, str]()
    for path in sorted(FOLDERS[engine].iterdir()):
        if path.suffix not in (".inc", ".c", ".cu", ".cuh"):
            continue
        text = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)
        for piece in re.split(r"\n\s*\n(?=\S)", text):
            named = FUNCTION.search(piece)
            kernel, *others = named.groups() if named else (None,)
            name = f"KERNEL {kernel}" if kernel else next(filter(None, others), "")
            if re.search(r"\bop\b", piece):
                found[name] = found.get(name, "") + piece
    return found


OF_A_GATHER = {"rows_of", "row_number", "cast"}
"""The functions that find or cast rows: the `op` that they read is the gather that an operation has
as its x.
"""


def text_of(engine: str, operation: str) -> str:
    """The text of a kernel and of all that it uses; empty if the engine has none of it."""
    others = set[str]() if operation == "gather" else OF_A_GATHER
    known = {name: text for name, text in pieces(engine).items() if name not in others}
    names = ["RULE" if operation.startswith("rule_") else f"KERNEL {operation}"]
    for name in names:
        words = set(re.findall(r"\w+", known.get(name, "")))
        names += [word for word in words & known.keys() if word not in names]
    return "\n".join(known.get(name, "") for name in names)


def read_by(text: str) -> set[tuple[int, int]]:
    """Which places of n, c and p a text reads, where it says so by number."""
    numbered = re.findall(r"\bop(?:->|\.)([ncp])\[(\d+)\]", text)
    given = re.findall(r"\(op, (\d+)[,)]", text)  # array<Real>(op, 2)
    return {("ncp".index(kind), int(i)) for kind, i in numbered} | {(2, int(i)) for i in given}


@pytest.mark.parametrize("operation", FIELDS)
def test_sources_read_the_fields_there_are(operation: str) -> None:
    """No other places, and all of those with a name of their own."""
    texts = [text_of(engine, operation) for engine in FOLDERS]
    if operation == "affine_dx":  # C's function for it is layer_back's, which reads more
        texts = [text.replace("op->n[3]", "").replace("op->p[3]", "") for text in texts]
    read = set[tuple[int, int]]().union(*map(read_by, texts))
    places = FIELDS[operation].places
    for kind, at in places.values():
        if not isinstance(at, int):
            read -= {(kind, i) for i in range(ARRAYS)[at]}
    named = {field for field, (_, at) in places.items() if isinstance(at, int)}
    if operation in AFFINE:
        named -= {"left", "right", "back"}  # cublasLt reads them
    assert read == {places[field] for field in named}


@pytest.mark.parametrize("operation", CASES)
def test_cases_are_given_what_the_fields_say(operation: str) -> None:
    """By hand, in C's order, as its comments have it."""
    for make in CASES[operation]:
        case = make(Given("float32", 3, 4))
        check(Operation(operation, case.n, case.c, tuple(case.p), ()))
