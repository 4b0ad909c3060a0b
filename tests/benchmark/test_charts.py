"""What a chart leaves out: marks of other charts, devices that are never ahead, crowded numbers;
and where it puts what it draws.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from mlpx.benchmark.report import charts
from mlpx.benchmark.report import document as documents
from mlpx.benchmark.report.svg import (
    Chart,
    Point,
    Scale,
    Series,
    _grid,
    _marks,
    draw,
    key,
    mark,
    nice_step,
    ticks,
)
from mlpx.benchmark.report.units import rate


def test_a_crossover_is_marked_in_its_own_chart_if_there_is_one(document):
    (crossover,) = document["crossovers"]
    cells = document["cells"]
    ((at, text),) = charts.throughput(cells, document).marks
    assert (at, text) == (
        crossover["batch"]["cuda"]["between"],
        f"cuda is ahead from batch {at:.0f}",
    )
    elsewhere = {**document, "crossovers": [{**crossover, "phase": "predict"}]}
    assert charts.throughput(cells, elsewhere).marks == ()
    never = {"cuda": {"batch": None, "between": None}}
    assert charts.throughput(cells, {"crossovers": [{**crossover, "batch": never}]}).marks == ()


def test_a_batch_that_only_one_device_has_figures_of_has_no_say(document):
    del document["cells"][3]["results"][:]
    (crossover,) = documents.finish(document)["crossovers"]
    where = crossover["batch"]["cuda"]
    assert where["batch"] == 512
    assert where["between"] == pytest.approx(20.8, abs=0.1)  # between 1 and 512


def test_numbers_of_batches_do_not_touch():
    points = tuple(Point(size, 5, 5, 5, "here") for size in (100, 101, 200))
    drawn = draw(Chart("crowded", (Series("one", points, "mlpx"),), rate))
    assert drawn.count('class="tick"') == 3
    assert [f">{size}</text>" in drawn for size in (100, 101, 200)] == [True, False, True]


OURS = Series("a&b", (Point(1, 2, 1, 4, "x"), Point(4, 3, 2, 4, "y")), "mlpx", 1, hollow=True)
PEER = Series("peer", (Point(2, 4, 3, 5, "<z>"),), "torch")


def lines_of(*series, **given):
    """Batches 1, 2, 4 at 127, 341, 555 across; 0 at 296 and 4 at 35 down, 65 pixels for each."""
    return draw(Chart("a & b", series, "{:.1f}".format, log_y=False, **given)).splitlines()


def test_the_grid_stands_where_the_scales_put_it():
    lines = lines_of(OURS, PEER, reference=1.0)
    assert lines[0] == '<svg viewBox="0 0 640 340" role="img" aria-label="a &amp; b">'
    for y in ("296.0", "230.7", "165.4", "100.2", "34.9"):
        assert f'<line class="grid" x1="58" x2="624" y1="{y}" y2="{y}"/>' in lines
    assert '<text class="label" x="50.0" y="104.2" text-anchor="end">3</text>' in lines
    for x in ("126.9", "341.0", "555.1"):
        assert f'<line class="tick" x1="{x}" x2="{x}" y1="296" y2="301"/>' in lines
    assert '<text class="label" x="555.1" y="314.0" text-anchor="middle">4</text>' in lines
    assert '<line class="axis" x1="58" x2="624" y1="296" y2="296"/>' in lines
    assert '<text class="label" x="341.0" y="334.0" text-anchor="middle">batch size</text>' in lines
    assert '<line class="reference" x1="58" x2="624" y1="230.7" y2="230.7"/>' in lines
    wide = lines_of(PEER, reference=8.0, wide=True)
    assert wide[0].startswith('<svg viewBox="0 0 1100 340"')
    assert '<line class="reference" x1="58" x2="1084" y1="34.9" y2="34.9"/>' in wide


def test_ours_are_drawn_last_and_every_figure_with_its_interval():
    lines = lines_of(OURS, PEER)
    first = lines.index('<g class="series torch" style="--hue: var(--torch)">')
    assert lines[first + 1 : first + 6] == [
        '<polyline points="341.0,34.9" stroke-dasharray=""/>',
        "<g><title>peer: &lt;z&gt;</title>"
        '<path class="interval" d="M341.0 100.2V14.0M338.0 100.2H344.0M338.0 14.0H344.0"/>'
        '<circle class="solid" cx="341.0" cy="34.9" r="4.5"/>'
        '<circle class="hit" cx="341.0" cy="34.9" r="11"/></g>',
        "</g>",
        '<g class="series mlpx" style="--hue: var(--mlpx)">',
        '<polyline points="126.9,165.4 555.1,100.2" stroke-dasharray="7 4"/>',
    ]


def test_there_is_room_above_and_below():
    half = Series("half", (Point(1, 0.5, 0.5, 0.5, ""),), "torch")
    assert 'cy="34.9"' in lines_of(half)[-3]
    curve = Series("one", (Point(1, 2, 1, 4, ""),), "torch")
    assert 'd="M341.0 249.9V60.1M' in draw(Chart("logarithms", (curve,), rate))


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [
        (15, 60, [20, 50]),
        (2, 90, [2, 5, 10, 20, 50]),
        (1, 1000, [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]),
        (1, 10_000, [1, 10, 100, 1000, 10_000]),
    ],
)
def test_numbers_on_an_axis_are_round_and_few(low, high, wanted):
    assert ticks(Scale(low, high, 0, 1)) == wanted


def test_even_steps_are_as_long_as_leaves_four():
    assert [nice_step(high) for high in (7.9, 8, 19.9, 20, 39.9, 40)] == [1, 2, 2, 5, 5, 10]


def test_what_a_mark_says_stands_on_the_side_with_room():
    chart = Chart("", (), rate, marks=((319, "a"), (320, "b"), (321, "c")))
    lines = list(_marks(chart, lambda x: x))
    assert lines[0] == '<line class="crossover" x1="319.0" x2="319.0" y1="14" y2="296"/>'
    assert lines[1::2] == [
        f'<text class="note" x="{x}" y="26.0" text-anchor="{anchor}">{text}</text>'
        for x, anchor, text in (
            ("325.0", "start", "a"),
            ("326.0", "start", "b"),
            ("315.0", "end", "c"),
        )
    ]


@pytest.mark.parametrize(
    ("variant", "dash", "points"),
    [
        (1, "7 4", "12.5,2.5 21.5,2.5 21.5,11.5 12.5,11.5"),
        (2, "2 3", "17.0,1.5 22.5,11.5 11.5,11.5"),
        (7, "9 3 2 3", "17.0,1.0 23.0,7.0 17.0,13.0 11.0,7.0"),
    ],
)
def test_a_variant_has_a_dash_and_a_shape(variant, dash, points):
    series = Series("one", (), "jax", variant)
    assert key(series) == (
        '<svg class="key" viewBox="0 0 34 14"><g class="series" style="--hue: var(--jax)">'
        f'<polyline points="1,7 33,7" stroke-dasharray="{dash}"/>'
        f'<polygon class="solid" points="{points}"/></g></svg>'
    )
    assert (
        mark(17, 7, replace(series, hollow=True)) == f'<polygon class="hollow" points="{points}"/>'
    )


@pytest.mark.parametrize(("gap", "shown"), [(33, False), (34, True)])
def test_numbers_are_written_where_they_have_34_pixels(gap, shown):
    chart = Chart("", (), rate)
    told = list(_grid(chart, lambda x: x, Scale(1, 10, 296, 14), [100, 100 + gap]))
    assert any(">100</text>" in line for line in told)
    assert any(f">{100 + gap}</text>" in line for line in told) is shown
    assert not any("reference" in line for line in told)
