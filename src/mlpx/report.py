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
        stop, places = 0, []
        for array in arrays:
            places.append(slice(stop, stop + (0 if array is None else array.size)))
            stop = places[-1].stop
            if array is not None:
                self.flat[places[-1]].reshape(array.shape)[...] = array
        host = self.backend.to_numpy(self.flat[:stop])
        return [
            host[place].copy().reshape((0,) if array is None else array.shape)
            for place, array in zip(places, arrays, strict=True)
        ]
