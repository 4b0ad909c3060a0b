"""Places in the flat vector: order, alignment, spans, and what is learnt."""

from __future__ import annotations

import numpy as np
import pytest

from mlpx.initializers import Zeros
from mlpx.parameters import ALIGNMENT_BYTES, Layout, Parameter, aligned_zeros


def layout(itemsize: int = 4) -> Layout:
    kinds = {"0.b": "bias", "0.mean": "state", "0.W": "weight", "0.gamma": "norm", "1.W": "weight"}
    sizes = {"0.W": (3, 70), "1.W": (70, 1), "0.b": (70,), "0.gamma": (1,), "0.mean": (65,)}
    return Layout(
        {name: Parameter(name, sizes[name], Zeros(), kind=kind) for name, kind in kinds.items()},  # type: ignore[arg-type]
        itemsize,
    )


@pytest.mark.parametrize("itemsize", [4, 8])
def test_places_are_aligned_apart_and_in_order_of_kind(itemsize: int) -> None:
    found = layout(itemsize)
    order = sorted(found.places, key=lambda name: found.places[name].start)
    assert [name.split(".")[1] for name in order] == ["W", "W", "b", "gamma", "mean"]
    for before, after in zip(order, order[1:], strict=False):
        gap = found.places[after].start - found.places[before].stop
        assert 0 <= gap < ALIGNMENT_BYTES // itemsize
    assert all(p.start * itemsize % ALIGNMENT_BYTES == 0 for p in found.places.values())
    assert found.size * itemsize % ALIGNMENT_BYTES == 0


def test_spans_cover_each_kind_with_its_padding() -> None:
    found = layout()
    spans = [found.span(kind) for kind in ("weight", "bias", "norm", "state")]  # type: ignore[arg-type]
    assert [spans[0].start, *(span.stop for span in spans)] == [0, 384, 512, 576, found.size]
    assert [span.start for span in spans[1:]] == [span.stop for span in spans[:-1]]
    only = Layout({"W": Parameter("W", (3,), Zeros())}, 8)
    assert only.span("state") == slice(0, 0)
    assert only.span("weight") == slice(0, 32)


def test_state_lies_behind_what_is_learnt() -> None:
    found = layout()
    assert found.learnt == found.places["0.mean"].start == 576
    assert len(found) == 210 + 70 + 70 + 1
    flat = np.arange(found.size, dtype=np.float32)
    assert set(found.views(flat)) - set(found.gradients(flat)) == {"0.mean"}
    assert np.shares_memory(found.gradients(flat)["0.W"], flat)
    assert found.gradients(flat)["0.b"][0] == found.places["0.b"].start


def test_views_have_their_shapes_and_write_through() -> None:
    found = layout()
    flat = np.zeros(found.size, dtype=np.float32)
    found.views(flat)["0.W"][2, 69] = 7
    assert flat[209] == 7
    assert found.views(flat)["0.W"].shape == (3, 70)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [0, 1, 1000])
def test_host_memory_is_aligned(dtype: type, size: int) -> None:
    array = aligned_zeros(size, np.dtype(dtype))
    assert array.shape == (size,)
    assert array.dtype == dtype
    assert not array.any()
    assert size == 0 or array.ctypes.data % ALIGNMENT_BYTES == 0
