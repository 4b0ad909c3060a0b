"""Where parameters lie in the flat vector: aligned, by kind, without overlap."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpx import MLP, BatchNorm, Dense
from mlpx.kernels.initializers import Zeros
from mlpx.plan.layout import ALIGNMENT_BYTES, Layout, Parameter, aligned_zeros

SHAPES = st.lists(
    st.tuples(
        st.sampled_from(["weight", "bias", "norm", "state"]),
        st.lists(st.integers(1, 40), min_size=1, max_size=2).map(tuple),
    ),
    min_size=1,
    max_size=8,
)


def layout(parts: list[tuple[str, tuple[int, ...]]], itemsize: int) -> Layout:
    return Layout(
        {str(i): Parameter("p", shape, Zeros(), kind) for i, (kind, shape) in enumerate(parts)},  # type: ignore[arg-type]
        itemsize,
    )


@given(parts=SHAPES, itemsize=st.sampled_from([4, 8]))
def test_places_are_aligned_ordered_and_apart(
    parts: list[tuple[str, tuple[int, ...]]], itemsize: int
) -> None:
    made = layout(parts, itemsize)
    places = list(made.places.values())
    kinds = [place.parameter.kind for place in places]
    assert kinds == sorted(kinds, key=("weight", "bias", "norm", "state").index)
    assert all(place.start * itemsize % ALIGNMENT_BYTES == 0 for place in places)
    stops = [0, *(place.stop for place in places)]
    assert all(place.start >= stop for place, stop in zip(places, stops, strict=False))
    assert made.size * itemsize % ALIGNMENT_BYTES == 0
    assert stops[-1] <= made.size < stops[-1] + ALIGNMENT_BYTES // itemsize


@given(parts=SHAPES)
def test_views_share_the_flat_vector_and_not_each_other(
    parts: list[tuple[str, tuple[int, ...]]],
) -> None:
    made = layout(parts, 4)
    flat = np.zeros(made.size, np.float32)
    for number, (name, view) in enumerate(made.views(flat).items(), start=1):
        assert view.shape == parts[int(name)][1]
        assert np.shares_memory(view, flat)
        assert not view.any(), "overlaps another"
        view[...] = number


@given(parts=SHAPES)
def test_a_span_holds_its_kind_and_nothing_else(
    parts: list[tuple[str, tuple[int, ...]]],
) -> None:
    made = layout(parts, 4)
    covered = np.zeros(made.size, int)
    for kind in ("weight", "bias", "norm", "state"):
        span = made.span(kind)  # type: ignore[arg-type]
        covered[span] += 1
        for place in made.places.values():
            inside = span.start <= place.start and place.stop <= span.stop
            assert inside == (place.parameter.kind == kind)
    assert (covered == 1).all(), "padding belongs to the kind in front of it"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [0, 1, 63, 64, 1000])
def test_aligned_zeros(size: int, dtype: str) -> None:
    for _ in range(5):
        made = aligned_zeros(size, np.dtype(dtype))
        assert made.shape == (size,)
        assert made.dtype == dtype
        assert made.ctypes.data % ALIGNMENT_BYTES == 0 or size == 0
        assert not made.any()
        assert made.flags.c_contiguous


def test_a_models_parameters_are_views_in_order_of_name() -> None:
    model = MLP([3, Dense(4, "relu"), BatchNorm(), 2])
    names = list(model.parameters)
    assert names == sorted(names)
    model.parameters["0.W"][...] = 7
    place = model.layout.places["0.W"]
    assert (model.flat[place.start : place.stop] == 7).all()
    assert model.flat.ctypes.data % ALIGNMENT_BYTES == 0
    assert model.parameter_count == len(model.layout)


@given(parts=SHAPES)
def test_state_lies_behind_what_is_learnt(parts: list[tuple[str, tuple[int, ...]]]) -> None:
    made = layout(parts, 4)
    state = {name for name, place in made.places.items() if place.parameter.kind == "state"}
    assert {n for n, place in made.places.items() if place.start >= made.learnt} == state
    assert made.learnt == made.size - (made.span("state").stop - made.span("state").start)
    assert len(made) == sum(p.parameter.size for n, p in made.places.items() if n not in state)
    flat = np.arange(made.size, dtype=np.float32)
    gradients = made.gradients(flat)
    assert set(gradients) == set(made.places) - state
    for name, view in gradients.items():
        assert view.shape == made.places[name].parameter.shape
        assert view.flat[0] == made.places[name].start
