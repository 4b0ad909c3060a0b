"""A mirror: rows of an array on the host, without waiting for the device."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlpx.backend import get_backend


def test_of_host_memory_is_that_memory() -> None:
    x = np.arange(6.0).reshape(3, 2)
    mirror = get_backend("cpu").mirror(x)
    assert mirror.host is x
    assert mirror.fetch(0, 2) == slice(0, 2)


def test_parts_arrive_when_the_device_gets_to_them(fake_cupy: Any) -> None:
    backend = get_backend("cuda")
    x = backend.asarray(np.zeros((6, 2), np.float32))
    mirror = backend.mirror(x)
    backend.synchronize()
    stream = fake_cupy.cuda.Stream(non_blocking=True)
    fake_cupy.counters.reset()
    with stream:
        for start in (0, 2):
            stream.put(lambda at=slice(start, start + 2): x._host[at].fill(7))
            assert mirror.fetch(start, start + 2) == slice(0, 0)
        assert fake_cupy.counters.synchronizations == 0
        stream.run()
        assert mirror.fetch(4, 5) == slice(0, 4)
    np.testing.assert_array_equal(mirror.host[:4], np.full((4, 2), 7))
    counted = fake_cupy.counters
    assert (counted.synchronizations, counted.to_host, counted.to_host_later) == (0, 0, 3)


def test_the_third_last_part_is_awaited(fake_cupy: Any) -> None:
    backend = get_backend("cuda")
    mirror = backend.mirror(backend.asarray(np.ones((4, 1))))
    backend.synchronize()
    with fake_cupy.cuda.Stream(non_blocking=True):
        fake_cupy.counters.reset()
        assert [mirror.fetch(i, i + 1) for i in (0, 1)] == [slice(0, 0)] * 2
        assert mirror.fetch(2, 3) == slice(0, 1)
        assert fake_cupy.counters.synchronizations == 1
        mirror.forget()
        assert mirror.fetch(3, 4) == slice(3, 3)
    np.testing.assert_array_equal(mirror.host[0], [1])
