"""Each kind of column as ONNX operators, from the values of a table to the network's matrix.

Numbers are doubles until they are scaled, as in the encoder, so that large ones lose nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mlpx.errors import InputError
from mlpx.export.onnx.embeddings import columns
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

    `nodes(graph, column, z)` adds what makes parts of the input z (N, 1).
    """

    dtype: Any
    takes: str
    nodes: Callable[[Graph, Any, str], Parts]


def matrix(graph: Graph, *, encoder: Encoder, inputs: Mapping[str, str]) -> str:
    """The encoder's matrix (N, width), of inputs that are called as `inputs` says.

    Raises InputError for a column that has no form.
    """
    forms = {name: form_in(name, column) for name, column in encoder.columns.items()}
    for name, form in forms.items():
        graph.input(inputs[name], (ROWS, 1), form.dtype)
    made = Parts([], [], [])
    for name, column in encoder.columns.items():
        with graph.within(name):
            parts = forms[name].nodes(graph, column, inputs[name])
        for every, new in zip(made, parts, strict=True):
            every += new
    with graph.within("columns"):
        return _joined(graph, made, encoder)


def _joined(graph: Graph, made: Parts, encoder: Encoder) -> str:
    """All parts beside each other, the numbers scaled; rounded to float32 as the encoder's are."""
    parts = []
    if encoder.numbers:
        numbers = _beside(graph, [*made.measures, *made.flags])
        numbers = scaled(graph, numbers, encoder.scales)
        parts.append(graph.add("Cast", [numbers], to=FLOAT))
    x = _beside(graph, [*parts, *made.codes])
    return x if graph.dtype == np.float32 else graph.add("Cast", [x], to=DOUBLE)


def _beside(graph: Graph, parts: list[str]) -> str:
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


def number(graph: Graph, column: Number, z: str) -> Parts:
    """The number, or the median for NaN. An infinite one is taken for the largest."""
    lacking = graph.add("IsNaN", [z])
    z = graph.add("Where", [lacking, _double(graph, column.median), z])
    z = graph.add("Clip", [z, _double(graph, -LARGEST), _double(graph, LARGEST)])
    return Parts([z], _flags(graph, column, lacking), [])


def boolean(graph: Graph, column: Boolean, z: str) -> Parts:
    """2 z - 1 of 0 and 1, 0 for NaN."""
    sign = graph.add("Mul", [z, _double(graph, 2)])
    sign = graph.add("Sub", [sign, _double(graph, 1)])
    lacking = graph.add("IsNaN", [z])
    return Parts([], [graph.add("Where", [lacking, _double(graph, 0), sign])], [])


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
    return Parts([filled], _flags(graph, column, lacking), [])


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


def _flags(graph: Graph, column: Number | Date, lacking: str) -> list[str]:
    """Whether the value is missing, if it was so in training rows."""
    return [graph.add("Cast", [lacking], to=DOUBLE)] if column.missing else []


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
    return columns(graph, y, made.middle, made.middle + 1)


COLUMNS: dict[str, Form] = {
    "boolean": Form(np.float64, "1, 0, or NaN where it is missing", boolean),
    "category": Form(str, "text, empty where it is missing", category),
    "date": Form(np.float64, "seconds since 1970 in UTC, or NaN where it is missing", date),
    "number": Form(np.float64, "a number, or NaN where it is missing", number),
}
"""The form of each kind of column, by its name in `Column.table`."""
