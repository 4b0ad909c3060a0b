"""Rows that `mlpx predict` reads: as text or NPY, from a file or standard input."""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from mlpx import MLP
from mlpx.cli import app
from mlpx.cli.rows import as_rows, parse, read_rows
from mlpx.errors import DataFormatError

ROWS = np.array([[1.5, -2.0, 3e-4], [4.0, 5.0, 6.0]])


@pytest.mark.parametrize(
    "text",
    [
        "1.5,-2,3e-4\n4,5,6\n",
        "1.5, -2 , 0.0003\n\n4,5,6",
        "1.5 -2\t0.0003\n  4 5 6  \n",
        "a,b,c\r\n1.5,-2,3e-4\r\n4,5,6\r\n",
        'a b c\n"1.5" "-2" 3e-4\n4 5 6\n',
        "\ufeff1.5,-2,3e-4\n4,5,6\n",
        "sepal length\tsepal width\tpetal, cm\n1.5\t-2\t3e-4\n4\t 5\t6\n",
        '"len, cm",w,"a ""high"" one"\n"1.5",-2,3e-4\n4,5,6\n',
        '"len, cm"\tw\th\n1.5\t"-2"\t3e-4\n4\t5\t6\n',
        '"sepal length"  w h\n1.5 -2 3e-4\n4 5 6\n',
    ],
)
def test_numbers_in_lines(text):
    assert parse(text.encode(), "it", columns=3).tolist() == ROWS.tolist()


def test_only_rows_that_are_images_get_another_shape():
    for shape, columns, wanted in (
        ((5, 2, 3), 6, (5, 6)), ((5, 2, 3), 7, (5, 2, 3)), ((5, 6), 6, (5, 6)), ((5,), 1, (5,)),
    ):  # fmt: skip
        assert as_rows(np.zeros(shape), columns).shape == wanted


def test_no_lines_are_no_rows():
    for text in ("", "\n\n", "a,b,c\n"):
        assert parse(text.encode(), "it", columns=3).shape == (0, 3)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"1,2,3\n\n1,x,3\n", "it, line 3: 'x' is no number"),
        (b"1,2,3\n1,,3\n", "it, line 2: '' is no number"),
        (b"1,2,3\n1,2\n", "it, line 2 has 2 numbers; the lines before have 3"),
        (b"1\t2\t3\n1\t\t3\n", "it, line 2: '' is no number"),
        (b"a b\tc d\n1\t2\n", "it, line 1: 'a b' is no number"),
        (b"1;2;3\n", "it, line 1: '1;2;3' is no number"),
        (b"1,b,3\n", "it, line 1: 'b' is no number"),
        (b"1,2,3\n1,1_000,3\n", "it, line 2: '1_000' is no number"),
        ("1,2,3\n1,\u0662,3\n".encode(), "it, line 2: '\u0662' is no number"),
        (b'1,2,"3\n4,5,6\n', "it, which holds something else than numbers"),
        (b"\x80\x04\xff", "it is neither an array written by numpy.save nor lines of numbers"),
    ],
)
def test_a_line_that_is_none_is_named(content, words):
    with pytest.raises(DataFormatError, match=f"^{words}$"):
        parse(content, "it", columns=3)


def test_files_by_their_ending(tmp_path):
    for name in ("x.csv", "x.txt", "x.CSV"):
        (tmp_path / name).write_text("1.5,-2,3e-4\n4,5,6\n")
        assert read_rows(tmp_path / name, columns=3).tolist() == ROWS.tolist()
    np.save(tmp_path / "none.npy", np.zeros((0, 1, 3)))
    assert read_rows(tmp_path / "none.npy", columns=3).shape == (0, 3)


@pytest.mark.parametrize("name", ["cut.npy", "cut"])
def test_an_array_that_is_cut_off(name, tmp_path):
    np.save(tmp_path / "whole.npy", ROWS)
    (tmp_path / name).write_bytes((tmp_path / "whole.npy").read_bytes()[:-8])
    with pytest.raises(
        DataFormatError, match=rf"{name}: its header declares .+, 176 bytes .+ has 168"
    ):
        read_rows(tmp_path / name, columns=3)


def test_lines_as_long_as_they_may_be():
    """A field of the csv module has at most 131,072 characters, and so would a whole line."""
    for between, quote in (" ", ""), ("\t", ""), (",", '"'):
        line = between.join([f"{quote}1.25{quote}"] * 40_000)
        assert parse(line.encode(), "it", columns=40_000).shape == (1, 40_000)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes have no names here")
@pytest.mark.parametrize("name", ["pipe", "pipe.npy", "pipe.csv"])
@pytest.mark.parametrize("kind", ["text", "array"])
def test_a_pipe_is_read_as_standard_input_is(name, kind, tmp_path):
    content = io.BytesIO(b"1.5,-2,3e-4\n4,5,6\n")
    if kind == "array":
        np.save(content, ROWS)
    os.mkfifo(tmp_path / name)
    writer = threading.Thread(
        target=(tmp_path / name).write_bytes, args=[content.getvalue()], daemon=True
    )
    writer.start()
    assert read_rows(tmp_path / name, columns=3).tolist() == ROWS.tolist()
    writer.join()


@pytest.mark.skipif(not os.path.exists("/dev/fd"), reason="open files have no names here")
def test_an_open_file_by_its_number(tmp_path):
    (tmp_path / "x.csv").write_text("1.5,-2,3e-4\n4,5,6\n")
    with open(tmp_path / "x.csv") as stream:
        assert read_rows(Path(f"/dev/fd/{stream.fileno()}"), columns=3).tolist() == ROWS.tolist()


def test_standard_input_and_empty_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    MLP([3, 2], seed=1).save("model.safetensors")
    wanted = MLP([3, 2], seed=1).predict(ROWS).tolist()

    def predict(*options, stdin=b""):
        found = CliRunner(env={"COLUMNS": "200", "TERM": "dumb"}).invoke(
            app, ["predict", *options], input=stdin
        )
        return found.exit_code, found.stdout.split() or found.stderr

    content = io.BytesIO()
    np.save(content, ROWS)
    lines = b"1.5,-2,3e-4\n4,5,6\n"
    for stdin in (lines, b"PK,a,b\n" + lines, content.getvalue()):
        assert predict("model.safetensors", "-", stdin=stdin) == (0, list(map(str, wanted)))
    assert predict("model.safetensors", "-") == (0, "")
    archive = io.BytesIO()
    np.savez(archive, a=ROWS)
    code, text = predict("model.safetensors", "-", stdin=archive.getvalue())
    assert (code, "standard input is an archive of arrays" in text) == (1, True)
    for options in (("", "-"), ("model.safetensors", ""), ("model.safetensors", "-", "--out", "")):
        code, text = predict(*options)
        assert (code, "the name is empty" in text) == (2, True)


@pytest.mark.parametrize("option", ["--out", "--csv-log", "--resume", "--data-dir"])
def test_train_wants_names(option):
    found = CliRunner(env={"COLUMNS": "200", "TERM": "dumb"}).invoke(
        app, ["train", "digits", option, ""]
    )
    assert found.exit_code == 2
    assert "the name is empty" in found.stderr
