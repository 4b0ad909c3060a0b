"""`study`: the encoder and the target of a stream's rows, found in one pass over them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from mlpx.errors import InputError
from mlpx.records import require, require_count
from mlpx.tables.columns.category import ONE_HOT
from mlpx.tables.encoder import SCALINGS, Encoder
from mlpx.tables.scaling import Scaling
from mlpx.tables.streaming import order
from mlpx.tables.streaming.facts import Facts
from mlpx.tables.streaming.memory import SAMPLE_ROWS, SAMPLE_SHARE, decoded_bytes, give_back
from mlpx.tables.streaming.stream import BLOCK_ROWS, ParquetStream, joined
from mlpx.tables.streaming.target_facts import TargetFacts
from mlpx.tables.table import require_columns
from mlpx.tables.target import Target, present

HELD_ROWS, HELD_SHARE = 1 << 16, 16
"""At most so many rows are held out, as they are in memory, and one part in so many of it."""
BLOCK_SHARE = 32
"""What is looked at in one go takes at most one part in so many of the memory."""
AT_ONCE = 32
"""So many small tables are put together."""
HELD, SAMPLE = 1, 2
"""What rows are drawn for: the item of the random words."""


class Study(NamedTuple):
    """What was found."""

    encoder: Encoder
    target: Target
    stream: ParquetStream
    """The rows to train on: those with a target that are not held out."""
    validation: Any
    """The rows that are held out, a pyarrow.Table; None if none are."""


class Gathered:
    """Rows that are put together as they come: of many small tables, the columns' descriptions
    would take more than what is in them.
    """

    def __init__(self) -> None:
        self.tables, self.few = list[Any](), list[Any]()

    def add(self, table: Any) -> None:
        """Put these rows behind the others."""
        self.few.append(table)
        if len(self.few) == AT_ONCE:
            self.tables.append(joined(self.few).combine_chunks())
            self.few = []

    def all(self) -> list[Any]:
        """The rows so far, as tables."""
        return [*self.tables, *self.few]


@dataclass
class Pass:
    """What is collected while all rows pass by."""

    facts: dict[str, Facts]
    target: TargetFacts
    sample: Gathered = field(default_factory=Gathered)
    witnesses: Gathered = field(default_factory=Gathered)
    """Rows that the sample must have."""
    held: Gathered = field(default_factory=Gathered)
    left_out: list[np.ndarray] = field(default_factory=list)
    """The numbers of the rows that are not trained on."""
    without_target: int = 0
    trained: int = 0


def study(
    stream: ParquetStream,
    *,
    target: str,
    task: str = "auto",
    drop: Iterable[str] = (),
    kinds: Mapping[str, str] | None = None,
    scaling: str = "robust",
    one_hot: int = ONE_HOT,
    validation_share: float = 0.0,
    sample_rows: int = SAMPLE_ROWS,
    memory_bytes: int | None = None,
) -> Study:
    """The encoder and the target of all rows of a stream, read once, as `Encoder.fit` and
    `Target.fit` find them; of no more rows than `sample_rows` to the bit.

    Of more, kinds, medians and quartiles are those of a sample: one row drawn from each of
    `sample_rows` equal parts, so that the share of rows below a quartile is off by less than one
    over twice the root of their number (0.14 %); and the rows with the least and the largest number
    of a column and the first one without a value. Exact are how many values are missing, the least
    and the largest number, categories, classes, and the mean and deviation of a target of values;
    only of a column with more than 200,000 categories the most frequent ones are those that are so
    throughout.

    validation_share: rows held out, one drawn from each of as many equal parts, at most 65,536.
    Rows without a target are left out. memory_bytes: of it the sample takes an eighth at most, and
    rows held out a sixteenth.

    Raises InputError for what Encoder.fit and Target.fit refuse, DataError as the stream does.
    """
    require("validation_share", validation_share, least=0.0, below=1.0)
    require_count("sample_rows", sample_rows, least=2)
    require_columns(stream.schema.empty_table(), [target])
    most, held_rows = BLOCK_ROWS, HELD_ROWS
    if memory_bytes is not None:
        require_count("memory_bytes", memory_bytes)
        rows = int(memory_bytes / decoded_bytes(stream))
        sample_rows = max(2, min(sample_rows, rows // SAMPLE_SHARE))
        held_rows = min(held_rows, rows // HELD_SHARE)
        most = max(1, min(BLOCK_ROWS, rows // BLOCK_SHARE))
    dropped = [drop] if isinstance(drop, str) else [name for name in drop if name != target]
    kinds = dict(kinds or {})
    require_columns(stream.schema.empty_table(), [*dropped, *kinds])
    names = [name for name in stream.schema.names if name not in (target, *dropped)]
    facts = {name: Facts(name, wanted=kinds.get(name)) for name in names}
    seen = Pass(facts, TargetFacts(target))
    held = min(round(validation_share * len(stream)), held_rows)
    give_back()
    read = stream.select([*names, target])
    for numbers, table, chosen in _drawn(read, held, sample_rows, most):
        _look(seen, stream, numbers, table, chosen)
    options = {"drop": dropped, "kinds": kinds, "scaling": scaling, "one_hot": one_hot}
    return _found(seen, stream, task, options)


def _drawn(
    stream: ParquetStream, held: int, sample_rows: int, most: int
) -> Iterator[tuple[np.ndarray, Any, np.ndarray]]:
    """The numbers of rows, the rows, and for each HELD, SAMPLE, both or 0."""
    n, first = len(stream), 0
    rows = {
        HELD: order.spread_out(n, held, seed=stream.seed, item=HELD),
        SAMPLE: order.spread_out(n, min(n, sample_rows + held), seed=stream.seed, item=SAMPLE),
    }
    for numbers, table in stream.in_order(most=most):
        chosen = np.zeros(len(numbers), np.int8)
        for what, places in rows.items():
            low, high = np.searchsorted(places, [first, first + len(numbers)])
            chosen[places[low:high] - first] |= what
        first += len(numbers)
        yield numbers, table, chosen


def _look(
    seen: Pass, stream: ParquetStream, numbers: np.ndarray, table: Any, chosen: np.ndarray
) -> None:
    there = present(table[seen.target.name])
    held = there & ((chosen & HELD) > 0)
    trained = there & ~held
    seen.held.add(table.filter(pa.array(held)))
    seen.left_out.append(numbers[~trained])
    seen.without_target += int((~there).sum())
    rows = numbers[trained]
    if not len(rows):
        return
    if len(rows) < len(table):
        table, chosen = table.filter(pa.array(trained)), chosen[trained]
    seen.sample.add(table.take(pa.array(np.flatnonzero(chosen & SAMPLE))))
    seen.trained += len(rows)

    def says(row: int) -> str:
        return stream.files.says(int(rows[row]))

    seen.target.look(table[seen.target.name], says)
    wanted = [row for name, facts in seen.facts.items() for row in facts.look(table[name], says)]
    if wanted:
        wanted = [row for row in np.unique(wanted).tolist() if not chosen[row] & SAMPLE]
        seen.witnesses.add(table.take(pa.array(wanted, pa.int64())))


def _found(seen: Pass, stream: ParquetStream, task: str, options: dict[str, Any]) -> Study:
    name = seen.target.name
    if not seen.trained:
        raise InputError(f"the target {name!r} has no values in the {len(stream):,} rows")
    sample = joined(seen.sample.all())
    whole = len(sample) == seen.trained
    if whole:
        target = Target.fit(sample[name], task=task, name=name)
    else:
        found = Target.fit(seen.target.sample(sample[name]), task=task, name=name)
        target, sample = (
            seen.target.correct(found),
            joined([*seen.sample.all(), *seen.witnesses.all()]),
        )
    target = _missing(target, seen.without_target)
    for column in options["drop"]:  # they were not read
        sample = sample.append_column(column, pa.nulls(len(sample)))
    names = [each for each in stream.schema.names if each != name]
    encoder = Encoder.fit(sample.select(names), **options)
    if not whole:
        encoder = _corrected(encoder, sample, seen)
    validation = joined(seen.held.all())
    left_out = np.concatenate(seen.left_out)
    rest = stream.without(left_out) if len(left_out) else stream.cut()
    return Study(encoder, target, rest, validation if len(validation) else None)


def _missing(target: Target, count: int) -> Target:
    if not count:
        return target
    s = "s" if count > 1 else ""
    note = f"{count:,} row{s} without a target {target.name!r} left out"
    return replace(target, missing=count, notes=(note, *target.notes))


def _corrected(encoder: Encoder, sample: Any, seen: Pass) -> Encoder:
    """An encoder of a sample, with what all rows say; the sample is scaled by that."""
    columns = {name: seen.facts[name].correct(found) for name, found in encoder.columns.items()}
    measure, flag = SCALINGS[encoder.scaling]
    measures, flags = list[Scaling](), list[Scaling]()
    for name, column in columns.items():
        encoded = column.encode(sample[name], name=name)
        measures += [measure.fit(z) for z in encoded.continuous]
        flags += [flag.fit(z) for z in encoded.flags]
    note = (
        f"kinds, medians and quartiles are those of {len(sample):,} of {seen.trained:,} rows; what "
        "is missing, categories and the range are those of all"
    )
    more = [
        each for name, found in encoder.columns.items() for each in seen.facts[name].notes(found)
    ]
    notes = (note, *encoder.notes, *more)
    return Encoder(columns, (*measures, *flags), encoder.scaling, encoder.dropped, notes)
