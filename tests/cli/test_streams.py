"""The command line where a stream is a terminal, or is not there."""

from __future__ import annotations

import errno
import io
import os
import sys
import warnings
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

import mlpx.cli
from mlpx.cli import complain, downloads, told
from mlpx.cli.downloads import download_display
from mlpx.cli.streams import name_streams, outlived_stdout, spoken_warnings
from mlpx.data import download
from mlpx.errors import DataError


class Terminal(io.StringIO):
    """Somebody is looking."""

    def isatty(self):
        return True


def looked_at(monkeypatch):
    """Standard error, which is a terminal from now on."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "stderr", Terminal())
    return sys.stderr


def test_a_bar_is_drawn_from_the_first_byte_on(monkeypatch):
    terminal = looked_at(monkeypatch)
    with download_display() as show:
        assert terminal.getvalue() == ""
        show(1000, 4000)
        started = terminal.getvalue()
        show(3000, 4000)
    assert "downloading" in started
    assert "3.0/4.0 kB" in terminal.getvalue()[len(started) :]
    assert "\x1b[2K" in terminal.getvalue().rpartition("kB")[2]  # it leaves no trace


def broken_off():
    """A download of unknown length that ends with a failure."""
    with download_display() as show:
        show(2000, None)
        show(5000, None)
        raise DataError("the mirror is down")


def test_a_bar_of_unknown_length_goes_with_a_failure(monkeypatch):
    terminal, bars, start = looked_at(monkeypatch), [], downloads._start
    monkeypatch.setattr(downloads, "_start", lambda: bars.append(start()) or bars[-1])
    with pytest.raises(DataError):
        broken_off()
    assert len(bars) == 1
    assert "5.0/? kB" in terminal.getvalue()
    assert "\x1b[2K" in terminal.getvalue().rpartition("kB")[2]


def test_nothing_is_drawn_where_nothing_came_in_or_nobody_looks(monkeypatch):
    terminal = looked_at(monkeypatch)
    with download_display():
        pass
    assert terminal.getvalue() == ""
    for stream in (io.StringIO(), None):
        monkeypatch.setattr(sys, "stderr", stream)
        with download_display() as show:
            assert show is None


def test_where_files_cannot_be_locked_each_download_has_a_part_of_its_own(monkeypatch, tmp_path):
    parts = []

    def fetch(wanted):
        parts.append(wanted.part.name)
        assert not list(tmp_path.glob("*.lock"))
        wanted.part.write_bytes(b"all of it")

    monkeypatch.setattr(download, "sys", SimpleNamespace(platform="win32"))
    monkeypatch.setattr(download, "_fetch_checked", fetch)
    download.download_file("http://mirror/x.gz", tmp_path / "x.gz", wanted=None)
    assert parts == [f"x.gz.{os.getpid()}.part"]
    assert [path.name for path in tmp_path.iterdir()] == ["x.gz"]
    assert (tmp_path / "x.gz").read_bytes() == b"all of it"


@pytest.mark.parametrize("streams", [(None, None), (io.StringIO(), io.StringIO())])
def test_streams_that_are_closed_or_of_another_kind_do_no_harm(monkeypatch, streams):
    for name, stream in zip(("stdout", "stderr"), streams, strict=True):
        monkeypatch.setattr(sys, name, stream)
    monkeypatch.setattr(sys, "argv", ["mlpx", "--version"])
    monkeypatch.setattr(mlpx.cli, "asking_allowed", nullcontext)  # this process goes on
    with pytest.raises(SystemExit) as ended:
        mlpx.cli.main()
    assert ended.value.code == 0
    if streams[0] is not None:
        assert streams[0].getvalue() == f"mlpx {mlpx.__version__}\n"


class Full(io.RawIOBase):
    """A stream on a disk that is full."""

    def writable(self):
        return True

    def write(self, data):
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("through", [False, True])
@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_a_full_stream_is_named(monkeypatch, name, through):
    """Also where Python does not buffer (PYTHONUNBUFFERED)."""
    for each in ("stdout", "stderr"):
        monkeypatch.setattr(sys, each, None)
    raw = Full() if through else io.BufferedWriter(Full())
    monkeypatch.setattr(sys, name, io.TextIOWrapper(raw, encoding="ascii", write_through=through))
    name_streams()
    stream = getattr(sys, name)
    assert (stream.encoding, stream.write_through) == ("ascii", through)
    with pytest.raises(OSError, match="No space") as failed:
        print("häh", file=stream, flush=True)
    called = {"stdout": "standard output", "stderr": "standard error"}[name]
    assert told(failed.value) == f"No space left on device: {called}"


def test_no_control_character_reaches_the_terminal(capsys):
    text = "\x1b[2J\u2028\x9b of a file"
    complain(told(OSError(2, "No such file", text)))
    complain(text)
    with spoken_warnings():
        warnings.warn(text, UserWarning, stacklevel=1)
    shown = r"\x1b[2J\u2028\x9b of a file"
    assert capsys.readouterr().err.splitlines() == [
        f"error: No such file: {shown}", f"error: {shown}", "note: \\x1b[2J \\x9b of a file",
    ]  # fmt: skip


def test_streams_are_named_once(monkeypatch):
    under = io.TextIOWrapper(io.BytesIO(), encoding="latin-1", line_buffering=True)
    monkeypatch.setattr(sys, "stdout", under)
    monkeypatch.setattr(sys, "stderr", None)
    name_streams()
    named = sys.stdout
    named.reconfigure(errors="strict")
    name_streams()
    assert (sys.stdout, named.errors, named.line_buffering) == (named, "replace", True)
    named.write("é → e\n")
    assert under.buffer.getvalue() == "é ? e\n".encode("latin-1")


def test_no_output_needs_no_care(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    with outlived_stdout():
        assert sys.stdout is None


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (MemoryError(), "out of memory"),
        (MemoryError("the GPU is full"), "the GPU is full"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (OSError(), "OSError"),
        (
            ImportError("x.so"),
            "a part of this installation cannot be loaded: x.so",
        ),
        (DataError("a\n b"), "a b"),
        (DataError("a  b"), "a  b"),  # a name with two blanks
    ],
)
def test_every_failure_has_a_line(error, line):
    assert told(error) == line


def test_what_python_was_told_about_warnings_holds(monkeypatch, capsys):
    monkeypatch.setattr(sys, "warnoptions", ["ignore"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with spoken_warnings():
            warnings.warn("not told", UserWarning, stacklevel=1)
        monkeypatch.setattr(sys, "warnoptions", [])
        with spoken_warnings():
            warnings.warn("told", UserWarning, stacklevel=1)
    assert capsys.readouterr().err == "note: told\n"
