"""Numbers of the device that the host reads together."""

from __future__ import annotations

import numpy as np

from mlpx.backend import Backend
from mlpx.types import Array


class Report:
    """Room on the device for up to `size` numbers, which come to the host in one transfer."""

    def __init__(self, backend: Backend, size: int) -> None:
        self.backend = backend
        self.flat = backend.empty(size, np.float64)

    def read(self, *arrays: Array | None) -> list[np.ndarray]:
        """A host copy of each array, in float64, empty for None; waits for the device once."""
        stop, places = 0, list[tuple[slice, tuple[int, ...]]]()
        for array in arrays:
            shape = (0,) if array is None else array.shape
            start, stop = stop, stop + (0 if array is None else array.size)
            places.append((slice(start, stop), shape))
            if array is not None:
                self.flat[start:stop].reshape(shape)[...] = array
        host = np.array(self.backend.to_numpy(self.flat[:stop]))  # which may be flat itself
        return [host[place].reshape(shape) for place, shape in places]
