"""Standard output that fails, or lacks some characters, does not end a training."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest

from mlpx import MLP
from mlpx.training.progress import Outlet


class Dead:
    """Standard output that fails after `lives` more writes."""

    encoding = "utf-8"

    def __init__(self, lives, error):
        self.lives, self.error, self.taken = lives, error, []

    def write(self, text):
        if self.lives == 0:
            raise self.error
        self.lives -= 1
        self.taken.append(text)

    def flush(self):
        pass

    def isatty(self):
        return False


@pytest.mark.parametrize("verbose", [None, 1, 2])
@pytest.mark.parametrize(
    "error", [BrokenPipeError(32, "Broken pipe"), ValueError("I/O operation on closed file.")]
)
def test_a_standard_output_that_dies_does_not_end_a_training(monkeypatch, verbose, error):
    out = Dead(1 if verbose else 0, error)
    monkeypatch.setattr(sys, "stdout", out)
    reason = "Broken pipe" if isinstance(error, OSError) else "closed file"
    with pytest.warns(RuntimeWarning, match=f"cannot be written any more .*{reason}") as warned:
        history = MLP([4, 4]).fit(np.eye(4), np.arange(4), epochs=12, batch_size=2, verbose=verbose)
    assert len(history) == 12
    assert len(warned) == 1


def test_no_standard_output_at_all(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    assert len(MLP([4, 4]).fit(np.eye(4), np.arange(4), epochs=3)) == 3


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437"])
def test_what_the_encoding_does_not_have_is_a_question_mark(encoding):
    content = io.BytesIO()
    out = Outlet(io.TextIOWrapper(content, encoding=encoding))
    for text in ("café ", "模型 ", "done"):
        assert out.write(text) == len(text)
    out.flush()
    cafe = "caf?" if encoding == "ascii" else "café"
    assert content.getvalue().decode(encoding) == f"{cafe} ?? done"


def test_an_outlet_takes_text_alone():
    with pytest.raises(TypeError, match="text is a bytes"):
        Outlet(None).write(b"")
    with pytest.raises(OSError, match="no stream"):
        Outlet(None).fileno()


def test_an_outlet_is_its_stream(tmp_path):
    with (tmp_path / "out").open("w") as stream:
        assert Outlet(stream).fileno() == stream.fileno()


@pytest.mark.parametrize("error", [OSError(28, "No space left"), ValueError("closed file")])
def test_a_stream_that_dies_as_it_is_flushed_is_left(monkeypatch, error):
    def fail():
        raise error

    out = Outlet(stream := Dead(0, error))
    monkeypatch.setattr(stream, "flush", fail)
    with pytest.warns(RuntimeWarning, match=r"be written any more \((No space left|closed file)\)"):
        out.flush()
    out.flush()
    assert out.write("dropped") == 7
