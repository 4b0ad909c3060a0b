"""The data of a training program: checked, moved to the device, and split into batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mlpx.backend import array_backend
from mlpx.errors import InputError
from mlpx.inputs.arrays import Checks, by_row, check_finite, check_x, together
from mlpx.inputs.codes import check_codes
from mlpx.inputs.targets import ClassWeight, check_y, row_weights
from mlpx.layers import Layer
from mlpx.network.network import Network
from mlpx.program.objective import divides_by_weight
from mlpx.types import Array

DEFAULT_BATCH = 32
Rows = tuple[Array, Array, Array | None]


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Arrays on the model's device: x (n, d_in), y (n,) or (n, d_out), weights (n, 1) or None."""

    x: Array
    y: Array
    weights: Array | None
    resident: bool = field(default=True, kw_only=True)
    """Whether x is in device memory; otherwise it is in host memory that the device can read."""
    origin: np.ndarray | None = field(default=None, kw_only=True)
    """The number of each row in what the caller gave, if these are a part of it."""

    def __len__(self) -> int:
        return len(self.x)

    @property
    def room(self) -> int | None:
        """How many rows are in memory at a time; None for all of them."""
        return None

    def part(self, rows: np.ndarray) -> TrainingData:
        """A copy of some of the rows, in device memory."""
        at = array_backend(self.y).asarray(rows)
        taken = (a if a is None else a[at] for a in (self.x, self.y, self.weights))
        return TrainingData(*taken)

    def apart(self) -> TrainingData:
        """The same data as separate array objects, since x and y may be one array."""
        x, y, weights = (a if a is None else a.view() for a in (self.x, self.y, self.weights))
        return TrainingData(x, y, weights, resident=self.resident)


NOTHING = TrainingData(None, None, None)
"""The data of a program that is not in use."""


def split_batches(layers: Sequence[Layer], rows: int, batch_size: int) -> tuple[int, int]:
    """How many full batches an epoch of `rows` rows has, and the rows of a last, ragged one.

    A last batch with fewer rows than some layer needs is merged into the one before it. Raises
    InputError if full batches are too small for a layer.
    """
    full, last = divmod(rows, batch_size)
    least = max(layer.least_rows for layer in layers)
    if min(batch_size, rows) < least:
        neediest = next(layer for layer in layers if layer.least_rows == least)
        raise InputError(
            f"batch_size = {batch_size} on {rows} row{'s' * (rows > 1)} of data; {neediest.name} "
            f"takes statistics over each batch and needs at least {least} rows: use a larger "
            "batch_size, or layer_norm"
        )
    return (full - 1, last + batch_size) if 0 < last < least else (full, last)


def check_data(
    network: Network, x: Any, y: Any, weights: Any = None, *, prefix: str = "", suffix: str = "",
    finite: bool | None = None, class_weight: ClassWeight = None, absolute: bool = False,
    checks: Checks | None = None,
) -> Rows:  # fmt: skip
    """x, y and the row weights as arrays that `network` accepts, on whatever device they are.

    prefix, suffix: put around their names in messages. finite: whether to check that x and values
    to predict are finite; None means always, and that the caller cannot turn it off. absolute: see
    `row_weights`. Device arrays are only checked when `checks` are settled. Raises InputError,
    InputTypeError.
    """
    name, dtype, backend = f"{prefix}{{}}{suffix}".format, network.dtype, network.backend
    with together(checks) as asked:
        x = check_x(x, columns=network.d_in, backend=backend, name=name("x"))
        if finite is not False:
            check_finite(x, dtype=dtype, name=name("x"), checks=asked, optional=finite is not None)
        check_codes(x, network.codes, name=name("x"), checks=asked)
        y = check_y(
            y, n=len(x), d_out=network.d_out, loss=network.loss, dtype=dtype, backend=backend,
            name=name("y"), finite=finite is not False, checks=asked,
        )  # fmt: skip
        w = row_weights(
            weights, y, d_out=network.d_out, loss=network.loss, dtype=dtype, backend=backend,
            class_weight=class_weight, name=name("sample_weight"), checks=asked, absolute=absolute,
        )  # fmt: skip
    return x, y, w


def prepare_data(
    network: Network,
    x: Any,
    y: Any,
    weights: Any = None,
    *,
    prefix: str = "",
    finite: bool | None = True,
    class_weight: ClassWeight = None,
    checks: Checks | None = None,
    notes: list[str] | None = None,
    trains: bool = True,
    moves_x: bool = True,
) -> TrainingData:
    """Data for `network`, checked by `check_data` and then moved to its device.

    `trains`: whether penalties count; one of them may need the row weights unscaled.
    """
    rows = check_data(
        network, x, y, weights, prefix=prefix, finite=finite, class_weight=class_weight,
        absolute=trains and divides_by_weight(network), checks=checks,
    )  # fmt: skip
    return on_device(network, rows, prefix=prefix, notes=notes, moves_x=moves_x)


def on_device(
    network: Network,
    rows: Rows,
    *,
    prefix: str = "",
    notes: list[str] | None = None,
    moves_x: bool = True,
) -> TrainingData:
    """Checked rows on the network's device; a note is added to `notes` if x does not fit there.

    Without `moves_x`, x stays as it is, where it is.
    """
    (x, y, w), backend, resident = rows, network.backend, True
    if moves_x:
        x, resident = backend.asarray_in_reach(by_row(x))
    if notes is not None and not resident:
        notes.append(
            f"{prefix}x does not fit on {backend.device}: it stays in host memory, and each step "
            "fetches its rows"
        )
    y, w = (None if part is None else backend.asarray(by_row(part)) for part in (y, w))
    return TrainingData(x, y, w, resident=resident)
