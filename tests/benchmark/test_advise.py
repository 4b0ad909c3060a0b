"""What is measured for advice."""

from __future__ import annotations

import os

import pytest

from mlpx.benchmark import advise
from mlpx.benchmark.rounds import Rules
from mlpx.benchmark.session import SessionOptions
from mlpx.benchmark.workloads import WORKLOADS


@pytest.mark.parametrize(("processors", "on_a_gpu"), [(8, 2), (1, 1), (None, 1)])
def test_every_device_is_measured_with_the_threads_that_suit_it(processors, on_a_gpu, monkeypatch):
    asked = []

    def run(settings, *, watcher):
        asked.append((settings.devices, settings.threads, settings.batch_sizes, settings.peers))
        return {"cells": []}

    monkeypatch.setattr(advise, "run", run)
    monkeypatch.setattr(advise, "thread_counts", lambda: [1, 3])
    monkeypatch.setattr(os, "cpu_count", lambda: processors)
    given = {
        "batch_sizes": (5,),
        "rules": Rules(),
        "watcher": None,
        "options": SessionOptions((), peers=("jax",)),
    }
    assert advise.survey(WORKLOADS["mnist"], devices=("cpu", "cuda:0"), **given) == []
    wanted = [(("cpu",), 1), (("cpu",), 3), (("cuda:0",), on_a_gpu)]
    assert asked == [(*one, (5,), ()) for one in wanted]
