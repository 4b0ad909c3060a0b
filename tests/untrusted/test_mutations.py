"""Valid files spoilt in many ways: each is refused by our own error, or can be used."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from hostile import Format, examine, prepare
from hostile.formats import FORMATS
from hostile.mutations import spoilt_input
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

MANY, FEW = 1500, 120


@pytest.fixture(params=FORMATS.values(), ids=FORMATS)
def format(request: pytest.FixtureRequest) -> Format:
    found: Format = request.param
    return found


def _try(format: Format, folder: Path, examples: int) -> None:
    path, answers = prepare(format, folder), []

    @settings(max_examples=examples, suppress_health_check=list(HealthCheck))
    @given(rng=st.randoms(use_true_random=False))
    def test(rng: Random) -> None:
        answers.append(examine(format, format.file_of(spoilt_input(format, rng)), path))

    test()
    assert len(set(answers)) > 10
    if examples == MANY:  # of a few there may be none that is spoilt so little
        assert "" in answers


def test_a_spoilt_file_is_refused_or_can_be_used(format: Format, tmp_path: Path) -> None:
    _try(format, tmp_path, FEW)


@pytest.mark.slow
def test_thousands_of_spoilt_files(format: Format, tmp_path: Path) -> None:
    _try(format, tmp_path, MANY)


def test_a_valid_file_can_be_used(format: Format, tmp_path: Path) -> None:
    path = prepare(format, tmp_path)
    assert {examine(format, format.file_of(data), path) for data in format.inputs()} == {""}
