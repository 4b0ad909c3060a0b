"""The text of the functions with which a module of plain NumPy begins and ends, for a table."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any

from mlpx.errors import InputError
from mlpx.export.plain.code import texts
from mlpx.export.plain.literals import WIDTH, listed, literal
from mlpx.tables.columns import Boolean, Category, Column, Date, Number
from mlpx.tables.columns.values import MISSING
from mlpx.tables.encoder import Encoder
from mlpx.tables.exporting import functions
from mlpx.tables.scaling import Scaling
from mlpx.untrusted import brief

if TYPE_CHECKING:
    from mlpx.tables.saved import TableModel

IMPORTS = "from datetime import UTC, date, datetime\n"
PARTS = "Parts = tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]"
INDENT = " " * 8
MANY = 100
"""More values are not listed, but read from the file of parameters."""


@dataclass
class Code:
    """Names of functions that are called, and lines that define names in capitals."""

    called: set[str] = field(default_factory=set)
    constants: list[str] = field(default_factory=list)
    reads: bool = False
    """Whether something is read from the header of the file of parameters."""

    def told(self, part: str) -> str:
        """What the header says of the encoder."""
        self.reads = True
        return f'ENCODER["{part}"]'


def prepare_text(encoder: Encoder) -> str:
    """The text of `prepare`, which makes the matrix of columns, and of what it calls.

    Raises InputError for a column or a scaling that has no form.
    """
    code = Code()
    calls = [line for name, column in encoder.columns.items() for line in _call(code, name, column)]
    scaling = list(_scaling(code, encoder.scales))
    body = "\n".join([*calls, "    ]", JOIN, *scaling, "    return x.astype(np.float32)"])
    parts = texts(code.called, functions)
    head = [PARTS, *_missing("\n".join(parts)), *code.constants]
    prepare = PREPARE.format(width=encoder.width) + body
    needs = IMPORTS if "time_of" in "".join(parts) else ""
    read = [ENCODER] if code.reads else []
    return needs + "\n\n\n".join([prepare, "\n".join(head), *read, *parts])


PREPARE = '''
def prepare(columns: Any) -> np.ndarray:
    """The rows (n, {width}) for the network: measures, flags and codes.

    columns: arrays or lists (n,) by name, in a dict or a data frame. Others are ignored.
    """
    parts = [
'''.lstrip()
JOIN = """    measures, flags, codes = (sum(each, []) for each in zip(*parts, strict=True))
    x = np.stack([*measures, *flags, *codes], axis=1, dtype=np.float64)"""


ENCODER = '''
def encoder() -> dict[str, Any]:
    """What the header of the file beside this one says of the table's columns."""
    content = Path(__file__).with_suffix(".safetensors").read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    found: dict[str, Any] = json.loads(header["__metadata__"]["mlpx"])["about"]["table"]["encoder"]
    return found


ENCODER = encoder()
'''.strip()


def _missing(text: str) -> list[str]:
    """The texts that stand for no value, if what is copied needs them."""
    return listed("MISSING = (", MISSING, ")") if "MISSING" in text else []


def _call(code: Code, name: str, column: Column) -> list[str]:
    """The lines of a column's call."""
    if column.name not in COLUMNS:
        raise InputError(
            f"column {brief(repr(name))} is of kind {column.name!r}, which has no form in plain "
            f"NumPy; there are forms of {', '.join(COLUMNS)}: train without it (drop = "
            f"[{brief(repr(name))}]), or put a form into mlpx.tables.exporting.code.COLUMNS"
        )
    function, values, options = COLUMNS[column.name](column)
    code.called.add(function)
    given = "".join(f", {key}={value!r}" for key, value in options.items() if value is not False)
    begin = f"{function}(columns, {literal(name)}"
    if len(values) > MANY:
        lines = [f'{begin}, dict({code.told("columns")})[{literal(name)}]["values"]{given}),']
    elif not values:
        lines = [f"{begin}{given}),"]
    else:
        comma = "," if len(values) == 1 else ""
        lines = listed(f"{begin}, (", values, f"{comma}){given}),", width=WIDTH - len(INDENT))
    return [textwrap.indent(line, INDENT) for line in lines]


Called = tuple[str, Sequence[Any], dict[str, Any]]
"""A function, what values it is given, and further options, of which False is left out."""


def number(column: Number) -> Called:
    """The number or the median."""
    flag, tolerant = column.missing > 0, column.tolerant
    return "number", (), {"median": column.median, "flag": flag, "tolerant": tolerant}


def boolean(column: Boolean) -> Called:
    """A sign."""
    return "boolean", (), {}


def category(column: Category) -> Called:
    """A code, a sign, or flags."""
    if column.size:
        return "code", column.values, {}
    return "one_of_two" if len(column.values) == 2 else "one_hot", column.values, {}


def date(column: Date) -> Called:
    """The parts of the date or their medians."""
    return "moment", column.medians, {"flag": column.missing > 0, "tolerant": column.tolerant}


def _scaling(code: Code, scales: Sequence[Scaling]) -> Iterable[str]:
    """The lines that scale the numbers; neighbours of one kind are scaled together."""
    first = 0
    for name, of in groupby(scales, lambda scale: scale.name):
        if name not in SCALINGS:
            raise InputError(
                f"the scaling {name!r} has no form in plain NumPy; there are forms of "
                f"{', '.join(SCALINGS)}; to add one, put a function into "
                "mlpx.tables.exporting.code.SCALINGS"
            )
        run = list(of)
        z = f"x[:, {first}:{first + len(run)}]"
        value = SCALINGS[name](code, z, run, f"_{first}" if first else "")
        if value != z:
            yield f"    {z} = {value}"
        first += len(run)


def plain(code: Code, z: str, scales: Sequence[Any], mark: str) -> str:
    """z itself."""
    return z


def moved(code: Code, z: str, scales: Sequence[Any], mark: str) -> str:
    """A call with the centers and the factors of all columns."""
    function = scales[0].name
    code.called.add(function)
    for name, values in (
        ("CENTERS", [scale.center for scale in scales]),
        ("FACTORS", [scale.factor for scale in scales]),
    ):
        code.constants += listed(f"{name}{mark} = np.array([", values, "])")
    return f"{function}({z}, CENTERS{mark}, FACTORS{mark})"


def quantile(code: Code, z: str, scales: Sequence[Any], mark: str) -> str:
    """A call with the edges and the scores of each column, of which there are too many to list."""
    code.called.add("quantile")
    first, end = z.removeprefix("x[:, ").removesuffix("]").split(":")
    return f"quantile({z}, {code.told('scales')}[{first}:{end}])"


def finish_text(made: TableModel) -> str:
    """The text of `finish`, which makes values of standardised ones, and of what else there is."""
    target, clamp = made.target, made.preset.clamp
    within = ", within those of the training rows" if clamp else ""
    column = f"values(z)[:, {made.middle}]"
    finish = FINISH.format(
        column=column,
        within=within,
        z="np.sort(z, axis=1)" if made.quantiles else "z",
        std=repr(target.std),
        mean=repr(target.mean),
        end=f"np.clip(y, {target.low!r}, {target.high!r})" if clamp else "y",
    )
    asked = QUANTILES.format(quantiles=made.quantiles) if made.quantiles else ""
    return asked + finish


FINISH = '''
def finish(z: np.ndarray) -> np.ndarray:
    """The predicted values (n,) for the outputs z of the network."""
    return {column}


def values(z: np.ndarray) -> np.ndarray:
    """The values that standardised ones are{within}."""
    y = {z}.astype(np.float64) * {std} + {mean}
    return {end}
'''
QUANTILES = '''
def predict_quantiles(columns: Any) -> np.ndarray:
    """The quantiles {quantiles} for each row, in ascending order."""
    return values(outputs(prepare(columns)))

'''


COLUMNS: dict[str, Callable[[Any], Called]] = {
    "boolean": boolean, "category": category, "date": date, "number": number,
}  # fmt: skip
"""The form of each kind of column, by its name in `Column.table`."""
SCALINGS: dict[str, Callable[[Code, str, Sequence[Any], str], str]] = {
    "plain": plain, "quantile": quantile, "robust": moved, "standard": moved,
}  # fmt: skip
"""The form of each scaling, by its name in `Scaling.table`."""
