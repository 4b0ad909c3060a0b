"""The fixture of the tests of ONNX files."""

from __future__ import annotations

from functools import partial

import pytest
from onnx_answers import answer


@pytest.fixture
def told(tmp_path):
    """What a model's file answers: see `onnx_answers.answer`."""
    return partial(answer, tmp_path / "model.onnx")
