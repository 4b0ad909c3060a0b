"""Each kind of column as ONNX operators, from the values of a table to the network's matrix.

Numbers are doubles until they are scaled, as in the encoder, so that large ones lose nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mlpx.errors import InputError
from mlpx.export.onnx.embeddings import columns as columns_of
from mlpx.export.onnx.graph import DOUBLE, FLOAT, INT64, Graph
from mlpx.export.onnx.outputs import ROWS
from mlpx.tables.columns import Boolean, Category, Column, Date, Number
from mlpx.tables.columns.values import LARGEST
from mlpx.tables.encoder import Encoder
from mlpx.tables.exporting.scales import scaled
from mlpx.untrusted import brief

if TYPE_CHECKING:
    from mlpx.tables.saved import TableModel

DAY_S, HOUR_S = 86_400, 3_600
LAST_S = 9e12
"""The largest time in seconds; the encoder's, of 64 bits for microseconds, end beyond it."""


class Parts(NamedTuple):
    """Names of arrays (N, m): doubles, but for the code, which is a float32."""

    measures: list[str]
    flags: list[str]
    codes: list[str]


@dataclass(frozen=True)
class Form:
    """A kind of column in ONNX: its input's dtype, what that takes, in words, and the nodes.

    `nodes(graph, columns, inputs)` adds what makes parts of neighbouring columns and their inputs,
    each (N, 1).
    """

    dtype: Any
    takes: str
    nodes: Callable[[Graph, Sequence[Any], Sequence[str]], Parts]


def matrix(graph: Graph, *, encoder: Encoder, inputs: Mapping[str, str]) -> str:
    """The encoder's matrix (N, width), of inputs that are called as `inputs` says.

    Raises InputError for a column that has no form.
    """
    forms = {name: form_in(name, column) for name, column in encoder.columns.items()}
    for name, form in forms.items():
        graph.input(inputs[name], (ROWS, 1), form.dtype)
    parts = []
    for _, run in groupby(encoder.columns, lambda name: encoder.columns[name].name):
        names = list(run)
        with graph.within(names[0]):
            columns, given = [encoder.columns[n] for n in names], [inputs[n] for n in names]
            parts.append(forms[names[0]].nodes(graph, columns, given))
    with graph.within("columns"):
        return _joined(graph, _added(parts), encoder)


def _joined(graph: Graph, made: Parts, encoder: Encoder) -> str:
    """All of it beside each other, the numbers scaled and, as the encoder does, made float32."""
    parts = []
    if encoder.numbers:
        numbers = _beside(graph, [*made.measures, *made.flags])
        numbers = scaled(graph, numbers, encoder.scales)
        parts.append(graph.add("Cast", [numbers], to=FLOAT))
    x = _beside(graph, [*parts, *made.codes])
    return x if graph.dtype == np.float32 else graph.add("Cast", [x], to=DOUBLE)


def _beside(graph: Graph, parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else graph.add("Concat", parts, axis=1)


def form_in(name: str, column: Column) -> Form:
    """The form of a column called `name`.

    Raises InputError that names it if its kind has none.
    """
    if column.name not in COLUMNS:
        raise InputError(
            f"column {brief(repr(name))} is of kind {column.name!r}, which has no form in ONNX; "
            f"there are forms of {', '.join(COLUMNS)}: train without it (drop = "
            f"[{brief(repr(name))}]), or put a form into mlpx.tables.exporting.nodes.COLUMNS"
        )
    return COLUMNS[column.name]


def numbers(graph: Graph, columns: Sequence[Number], inputs: Sequence[str]) -> Parts:
    """The numbers, or the medians for NaN. An infinite one is taken for the largest."""
    z = _beside(graph, inputs)
    lacking = graph.add("IsNaN", [z])
    medians = np.array([[column.median for column in columns]])
    z = graph.add("Where", [lacking, graph.constant(medians), z])
    z = graph.add("Clip", [z, _double(graph, -LARGEST), _double(graph, LARGEST)])
    flagged = [j for j, column in enumerate(columns) if column.missing]
    if not flagged:
        return Parts([z], [], [])
    if len(flagged) < len(columns):
        lacking = graph.add("Gather", [lacking, graph.constant(np.array(flagged))], axis=1)
    return Parts([z], [graph.add("Cast", [lacking], to=DOUBLE)], [])


def booleans(graph: Graph, columns: Sequence[Boolean], inputs: Sequence[str]) -> Parts:
    """2 z - 1 of 0 and 1, 0 for NaN."""
    z = _beside(graph, inputs)
    sign = graph.add("Mul", [z, _double(graph, 2)])
    sign = graph.add("Sub", [sign, _double(graph, 1)])
    lacking = graph.add("IsNaN", [z])
    return Parts([], [graph.add("Where", [lacking, _double(graph, 0), sign])], [])


def categories(graph: Graph, columns: Sequence[Category], inputs: Sequence[str]) -> Parts:
    """Each by itself."""
    return _added(category(graph, *each) for each in zip(columns, inputs, strict=True))


def dates(graph: Graph, columns: Sequence[Date], inputs: Sequence[str]) -> Parts:
    """Each by itself."""
    return _added(date(graph, *each) for each in zip(columns, inputs, strict=True))


def _added(parts: Iterable[Parts]) -> Parts:
    """All measures, all flags, all codes."""
    kinds = zip(*parts, strict=True)
    return Parts(*([name for names in each for name in names] for each in kinds))


def category(graph: Graph, column: Category, z: str) -> Parts:
    """A code, a sign or a flag for each value; 0 for any other text."""
    count = len(column.values)
    if column.size:
        return Parts([], [], [_looked_up(graph, column, z, np.arange(1.0, count + 1))])
    if count == 2:
        sign = _looked_up(graph, column, z, np.array([-1.0, 1.0]))
        return Parts([], [graph.add("Cast", [sign], to=DOUBLE)], [])
    code = _looked_up(graph, column, z, np.arange(1, count + 1))
    hot = graph.add("Equal", [code, graph.constant(np.arange(1, count + 1)[None])])
    return Parts([], [graph.add("Cast", [hot], to=DOUBLE)], [])


def _looked_up(graph: Graph, column: Category, z: str, values: np.ndarray) -> str:
    """Values, float32 or int64, in the places of the column's; 0 in that of other texts."""
    kind = "float" if values.dtype.kind == "f" else "int64"
    return graph.add(
        "LabelEncoder", [z], domain="ai.onnx.ml", keys_strings=list(column.values),
        **{f"values_{kind}s": values.tolist(), f"default_{kind}": values.dtype.type(0).item()},
    )  # fmt: skip


def date(graph: Graph, column: Date, z: str) -> Parts:
    """The parts of seconds since 1970, or their medians for NaN."""
    lacking = graph.add("IsNaN", [z])
    s = graph.add("Where", [lacking, _double(graph, 0), z])
    s = graph.add("Clip", [s, _double(graph, -LAST_S), _double(graph, LAST_S)])
    whole = graph.add("Cast", [graph.add("Floor", [s])], to=INT64)
    of_day = _whole(graph, "Mod", whole, DAY_S)
    days = _whole(graph, "Div", graph.add("Sub", [whole, of_day]), DAY_S)
    weekday = _whole(graph, "Mod", _whole(graph, "Add", days, 3), 7)  # 1970 began on a Thursday
    parts = [graph.add("Cast", [part], to=DOUBLE) for part in (*_civil(graph, days), weekday)]
    if len(column.medians) > 5:  # with hours
        hour = _whole(graph, "Div", of_day, HOUR_S)
        parts.append(graph.add("Div", [s, _double(graph, DAY_S)]))
        parts.append(graph.add("Cast", [hour], to=DOUBLE))
    else:
        parts.append(graph.add("Cast", [days], to=DOUBLE))
    medians = graph.constant(np.array([column.medians], np.float64))
    filled = graph.add("Where", [lacking, medians, _beside(graph, parts)])
    flags = [graph.add("Cast", [lacking], to=DOUBLE)] if column.missing else []
    return Parts([filled], flags, [])


def _civil(graph: Graph, days: str) -> tuple[str, str, str]:
    """Year, month and day of whole days since 1970, in the Gregorian calendar.

    Years begin in March here, so that the leap day is a year's last; 400 of them, an era, have
    146,097 days. Nothing that is divided is negative.
    """
    z = _whole(graph, "Add", days, 719_468)  # since March 1 of the year 0
    of_era = _whole(graph, "Mod", z, 146_097)
    era = _whole(graph, "Div", graph.add("Sub", [z, of_era]), 146_097)
    of_year = _without_leap_days(graph, of_era)
    year = _whole(graph, "Div", of_year, 365)
    gone = _whole(graph, "Mul", year, 365)
    for sign, every in (("Add", 4), ("Sub", 100)):
        gone = graph.add(sign, [gone, _whole(graph, "Div", year, every)])
    day = graph.add("Sub", [of_era, gone])  # of the year, from 0
    month = _whole(graph, "Div", _whole(graph, "Add", _whole(graph, "Mul", day, 5), 2), 153)
    begun = _whole(graph, "Div", _whole(graph, "Add", _whole(graph, "Mul", month, 153), 2), 5)
    day = _whole(graph, "Add", graph.add("Sub", [day, begun]), 1)
    late = _whole(graph, "Div", month, 10)  # January and February: of the next year
    year = graph.add("Add", [graph.add("Add", [year, _whole(graph, "Mul", era, 400)]), late])
    month = graph.add("Sub", [_whole(graph, "Add", month, 3), _whole(graph, "Mul", late, 12)])
    return year, month, day


def _without_leap_days(graph: Graph, of_era: str) -> str:
    """Days of an era as if no year of it had a leap day."""
    left = of_era
    for sign, every in (("Sub", 1_460), ("Add", 36_524), ("Sub", 146_096)):
        left = graph.add(sign, [left, _whole(graph, "Div", of_era, every)])
    return left


def _whole(graph: Graph, op: str, z: str, n: int) -> str:
    return graph.add(op, [z, graph.constant(np.int64(n))])


def _double(graph: Graph, value: float) -> str:
    return graph.constant(np.float64(value))


def restored(graph: Graph, z: str, *, made: TableModel) -> str:
    """The values (N, 1), double, that standardised ones are; of quantiles (N, q), which become an
    output in ascending order, the middle one.
    """
    target = made.target
    y = graph.add("Mul", [graph.add("Cast", [z], to=DOUBLE), _double(graph, target.std)])
    y = graph.add("Add", [y, _double(graph, target.mean)])
    if made.preset.clamp:
        y = graph.add("Clip", [y, _double(graph, target.low), _double(graph, target.high)])
    count = len(made.quantiles)
    if not count:
        return y
    most = graph.constant(np.array([count]))
    y = graph.add("TopK", [y, most], unused=1, axis=1, largest=0, sorted=1)
    graph.add("Identity", [y], name="quantiles")
    graph.output("quantiles", (ROWS, count), np.float64)
    return columns_of(graph, y, made.middle, made.middle + 1)


COLUMNS: dict[str, Form] = {
    "boolean": Form(np.float64, "1, 0, or NaN where it is missing", booleans),
    "category": Form(str, "text, empty where it is missing", categories),
    "date": Form(np.float64, "seconds since 1970 in UTC, or NaN where it is missing", dates),
    "number": Form(np.float64, "a number, or NaN where it is missing", numbers),
}
"""The form of each kind of column, by its name in `Column.table`."""
