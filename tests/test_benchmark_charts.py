"""What a chart leaves out: marks of other charts, devices that are never ahead, crowded numbers."""

from __future__ import annotations

import pytest

from mlpx.benchmark import charts
from mlpx.benchmark import document as documents
from mlpx.benchmark.svg import Chart, Point, Series, draw
from mlpx.benchmark.units import rate

pytest_plugins = ["reporting"]


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
