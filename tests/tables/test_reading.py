"""Files become tables: what they are is found out, and what is wrong is named with its line."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import os
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlpx.errors import DataFormatError, DataNotFoundError, InputError, InputTypeError
from mlpx.tables import reading
from mlpx.tables.delimited import Form, read_delimited
from mlpx.tables.reading import read_table

PLAIN = "age,job,paid\n39,clerk,1.5\n50,?,2.5\n,cook,\n"
ROWS = {"age": [39, 50, None], "job": ["clerk", None, "cook"], "paid": [1.5, 2.5, None]}


@pytest.fixture
def write(tmp_path):
    def written(content: str | bytes, name: str = "t.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return written


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_and_the_end_of_a_line_are_found(write, delimiter, end):
    text = PLAIN.replace(",", delimiter).replace("\n", end)
    assert read_table(write(text)).to_pydict() == ROWS


def test_a_delimiter_that_is_given_is_not_looked_for(write):
    path = write("a:b;c\n1:2;3\n")
    assert read_table(path, delimiter=":").to_pydict() == {"a": [1], "b;c": ["2;3"]}
    assert read_table(write("a,b\n1,2\n", "t.tsv")).column_names == ["a,b"]


def test_a_comma_in_numbers_between_semicolons_is_a_point(write):
    assert read_table(write("a;b\n1,5;x\n2,5;y\n"))["a"].to_pylist() == [1.5, 2.5]
    assert read_table(write("1,5;x\n2,5;y\n"))["column 1"].to_pylist() == [1.5, 2.5]
    assert read_table(write("a;b\n1,5;1.5\n2,5;2.5\n"))["b"].to_pylist() == [1.5, 2.5]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a,b\n1,2\n", ["a", "b"]),
        ("a,b\nx,y\n", ["a", "b"]),
        (" a , b \n1,2\n", ["a", "b"]),
        ("1,b\n1,2\n", ["column 1", "column 2"]),
        ("a,1e5\nb,2\n", ["column 1", "column 2"]),
        ("x,x\nx,y\n", ["column 1", "column 2"]),
        ("x,\nx,y\n", ["column 1", "column 2"]),
        (",a,b\n0,x,2\n1,y,3\n", ["column 1", "a", "b"]),
        ('"a\nb",c\n1,2\n', ["a\nb", "c"]),
        ("\n\na,b\n1,2\n", ["a", "b"]),
    ],
)
def test_the_header_is_found(write, text, names):
    assert read_table(write(text)).column_names == names


def test_whether_there_is_a_header_can_be_said(write):
    path = write("a,b\nx,y\n")
    assert read_table(path, header=False).to_pydict() == {
        "column 1": ["a", "x"],
        "column 2": ["b", "y"],
    }
    assert read_table(write("1,2\n3,4\n"), header=True).to_pydict() == {"1": [3], "2": [4]}


def test_lines_in_front_can_be_left_out(write):
    path = write("|1x3 Cross validator\n1, a\n2, b\n")
    with pytest.raises(DataFormatError, match=r"line 2 has 2 fields.* has 1 .*skip=1"):
        read_table(path)
    assert read_table(path, skip=1).to_pydict() == {"column 1": [1, 2], "column 2": ["a", "b"]}
    with pytest.raises(DataFormatError, match="is empty after the 9 lines to skip"):
        read_table(path, skip=9)


def test_blanks_around_fields_do_not_count(write):
    table = read_table(write("a, b, c\n1 , x , ?\n 2,  ?,  7\n3,, NA \n"))
    assert table.to_pydict() == {"a": [1, 2, 3], "b": ["x", None, None], "c": [None, 7, None]}


@pytest.mark.parametrize(
    "token", ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?", " ?", "  NA ", '""']
)
def test_what_stands_for_a_missing_value(write, token):
    table = read_table(write(f"a,b\n1,x\n{token},{token}\n"))
    assert table.to_pydict() == {"a": [1, None], "b": ["x", None]}


def test_the_only_column_may_have_missing_values(write):
    assert read_table(write("a\n1\n\n3\n"))["a"].to_pylist() == [1, None, 3]


def test_types_are_found_in_all_rows(write):
    n = 20_000
    rows = [f"{i},{i},{i % 2 == 0}" for i in range(n)]
    rows[-1] = f"{n}.5,word,true"
    table = read_table(write("a,b,c\n" + "\n".join(rows)))
    assert table.schema.types == [pa.float64(), pa.large_string(), pa.bool_()]
    assert table["b"].to_pylist()[:2] == ["0", "1"]


def test_whole_numbers_beyond_int64_become_floats(write):
    table = read_table(write("a,b\n9223372036854775808,9223372036854775807\n1,2\n"))
    assert table.to_pydict() == {"a": [2.0**63, 1.0], "b": [2**63 - 1, 2]}


def test_quotes_hold_delimiters_and_ends_of_lines(write):
    table = read_table(write('a,b\n"x, ""y""","1\n2"\nz,3\n'))
    assert table.to_pydict() == {"a": ['x, "y"', "z"], "b": ["1\n2", "3"]}


def test_only_some_columns_in_the_order_that_is_wanted(write):
    path = write(PLAIN)
    assert read_table(path, columns=["paid", "age"]).column_names == ["paid", "age"]
    assert read_table(path, columns="paid").column_names == ["paid"]
    with pytest.raises(InputError, match=r"t.csv has no column 'jobs'; did you mean 'job'"):
        read_table(path, columns=["jobs"])
    for columns in ([], ["age", "age"]):
        with pytest.raises(InputError, match="wanted some, each once"):
            read_table(path, columns=columns)


def test_columns_that_stay_text(write):
    path = write("zip,when,n\n01, true,1\n?, ?,2\n02,2024-01-01,3\n")
    table = read_table(path, texts=["zip", "when", "none"])
    assert table["zip"].to_pylist() == ["01", None, "02"]
    assert table["when"].to_pylist() == ["true", None, "2024-01-01"]
    assert table["n"].to_pylist() == [1, 2, 3]
    assert read_table(path)["zip"].to_pylist() == [1, None, 2]
    blank = write("zip,n\n 01,1\n ?,2\n")
    assert read_table(blank, texts="zip")["zip"].to_pylist() == ["01", None]


@pytest.mark.parametrize("name", ["t.csv.gz", "t.txt.bz2", "T.CSV.zst", "t.data", "t.test.gz"])
def test_packed_files(write, name):
    packed = {
        ".gz": gzip.compress,
        ".bz2": bz2.compress,
        ".zst": lambda data: pa.compress(data, "zstd", asbytes=True),
    }
    pack = packed.get(Path(name).suffix, bytes)
    assert read_table(write(pack(PLAIN.encode()), name)).to_pydict() == ROWS


@pytest.mark.parametrize(
    ("content", "name", "said"),
    [
        (b"", "t.csv", "t.csv is empty"),
        (b"\n\n  \n", "t.csv", "t.csv is empty"),
        (b"a,b\n", "t.csv", "has a header and no rows"),
        (b"a,b\n\n\n", "t.csv", "has a header and no rows"),
        (b"", "t.csv.gz", "t.csv.gz is empty"),
        (b"a,b\n1,2\n3\n4,5\n", "t.csv", "line 3 has 1 field; the header has 2"),
        (b"a,b\n1,2\n3,4,5\n", "t.csv", "line 3 has 3 fields; the header has 2"),
        (b"1,2\n3,4\n\n5,6,7\n", "t.csv", "line 4 has 3 fields; the first row has 2"),
        (b'a,b\n"x\ny",1\n2\n', "t.csv", "line 4 has 1 field; the header has 2"),
        (b"\na,b\n1,2\n3\n", "t.csv", "line 4 has 1 field; the header has 2"),
        (b"a,b\r\n1,2\r\n3\r\n", "t.csv", "line 3 has 1 field; the header has 2"),
        (
            "a,b\n1,é\n2,ü\n".encode("latin-1"),
            "t.csv",
            "line 2 is not UTF-8 .byte 0xe9 at 6.*latin",
        ),
        ("a,b\n1,é\n".encode("utf-16"), "t.csv", "looks like utf-16"),
        (b"a,b\n\0,1\n", "t.csv", "bytes of zero"),
        (b"a,b,a\n1,2,3\n", "t.csv", "the header names 'a' 2 times"),
        (b"PAR0", "t.parquet", "t.parquet is not a readable Parquet file"),
        (b"", "t.parquet", "t.parquet is not a readable Parquet file"),
        (b"no", "t.feather", "t.feather is not a readable Feather file"),
        (b"no", "t.arrow", "t.arrow is not a readable Arrow file"),
        (gzip.compress(b"a,b\n1,2\n" * 99, mtime=0)[:-9], "t.csv.gz", "truncated or damaged"),
        (b"no", "t.csv.bz2", "not a readable bz2 file"),
        (b"no", "t.csv.zst", "not a readable zst file"),
        (b"no", "t.xlsx", "t.xlsx is of no known format; wanted .csv, .tsv"),
        (b"no", "t", "t is of no known format"),
        (b"no", "t.parquet.gz", "t.parquet.gz is of no known format"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_line(write, content, name, said):
    with pytest.raises(DataFormatError, match=said) as refused:
        read_table(write(content, name))
    assert name in str(refused.value)


def test_the_line_is_right_far_down(write):
    path = write("a,b\n" + "1,2\n" * 300_000 + "3\n")
    with pytest.raises(DataFormatError, match="line 300002 has 1 field"):
        read_table(path)


def test_a_bad_byte_beyond_the_first_pieces_is_found_where_it_is(write):
    line = "é" * 999 + "\n"
    text = "a\n" + line * 2000
    content = text.encode() + b"\xe9\n"
    at = len(text.encode())
    with pytest.raises(DataFormatError, match=rf"line 2002 is not UTF-8 \(byte 0xe9 at {at}\)"):
        read_table(write(content))


def test_other_encodings(write):
    path = write("a,b\n1,é\n".encode("latin-1"))
    assert read_table(path, encoding="latin-1")["b"].to_pylist() == ["é"]
    assert (
        read_table(write("a,b\n1,é\n".encode("utf-16")), encoding="utf-16")["b"][0].as_py() == "é"
    )
    assert read_table(write("\ufeffa,b\n1,é\n")).column_names == ["a", "b"]
    for unknown in ("latin-99", "rot13", "\0"):
        with pytest.raises(InputError, match=r"encoding = .* is not known; wanted utf-8"):
            read_table(path, encoding=unknown)
    with pytest.raises(DataFormatError, match="line 2 is not shift-jis"):
        read_table(write(b"a\n\xff\xff\n"), encoding="shift-jis")


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"delimiter": ",,"}, InputError, "must be one character"),
        ({"delimiter": '"'}, InputError, "must be one character"),
        ({"skip": -1}, InputError, "skip = -1"),
        ({"skip": 1.5}, InputTypeError, "skip = 1.5"),
    ],
)
def test_options_that_cannot_be(write, options, error, said):
    with pytest.raises(error, match=said):
        read_table(write(PLAIN), **options)


@pytest.mark.parametrize("pack", [bz2.compress, partial(pa.compress, codec="zstd", asbytes=True)])
def test_a_packed_file_that_holds_too_much_is_refused(write, pack, monkeypatch):
    packed = pack(b"1,2\n" * (1 << 16))
    path = write(packed, "t.csv.bz2" if packed.startswith(b"BZ") else "t.csv.zst")
    assert read_table(path).num_rows == 1 << 16
    monkeypatch.setattr(reading, "FREE_BYTES", 10_000)
    with pytest.raises(DataFormatError, match=r"more than [\d,]+ bytes, as only a bomb"):
        read_table(path)


@pytest.mark.parametrize("name", ["t.csv", "t.parquet", "t.csv.gz", "t.csv.bz2", "folder/t.tsv"])
def test_a_file_that_is_not_there(tmp_path, name):
    with pytest.raises(DataNotFoundError, match="no such file"):
        read_table(tmp_path / name)


def test_a_pipe_is_no_table(tmp_path):
    for name in ("t.csv", "t.csv.bz2", "t.parquet"):
        os.mkfifo(tmp_path / name)
        with pytest.raises(DataFormatError, match="is not a regular file"):
            read_table(tmp_path / name)


@pytest.mark.parametrize("name", ["t.parquet", "t.feather", "t.arrow", "stream.arrow"])
def test_the_formats_of_pyarrow(tmp_path, name):
    table, path = pa.table(ROWS), tmp_path / name
    if name == "t.parquet":
        pa.parquet.write_table(table, path)
    elif name == "t.feather":
        pa.feather.write_feather(table, path)
    else:
        opened = pa.ipc.new_file if name == "t.arrow" else pa.ipc.new_stream
        with opened(path, table.schema) as writer:
            writer.write_table(table)
    assert read_table(path).to_pydict() == ROWS
    assert read_table(path, columns=["job"]).column_names == ["job"]
    with pytest.raises(InputError, match="no column 'jobb'"):
        read_table(path, columns=["jobb"])


def test_names_twice_and_no_rows_in_a_binary_file(tmp_path):
    path = tmp_path / "t.arrow"
    for table, said in (
        (pa.table([[1], [2]], names=["a", "a"]), "2 columns called 'a'"),
        (pa.table({"a": pa.array([], pa.int64())}), "has no rows"),
    ):
        with pa.ipc.new_file(path, table.schema) as writer:
            writer.write_table(table)
        with pytest.raises(DataFormatError, match=said):
            read_table(path)


def test_a_folder_is_its_tables_one_after_the_other(write, tmp_path):
    write("a,b\n1,x\n2,y\n", "1.csv")
    write("b,a\nz,2.5\n", "2.csv")
    write("", "_SUCCESS.csv")
    write("", ".hidden.csv")
    write("notes", "notes.md")
    pa.parquet.write_table(pa.table({"a": [None, 4], "b": [None, "w"]}), tmp_path / "3.parquet")
    table = read_table(tmp_path)
    assert table.to_pydict() == {"a": [1, 2, 2.5, None, 4], "b": ["x", "y", "z", None, "w"]}
    assert read_table(tmp_path, columns=["b"]).column_names == ["b"]


def test_a_column_that_is_text_in_one_file_is_text_in_all(write, tmp_path):
    write("a,b,c\n1,2024-01-01,true\n", "1.csv")
    write("a,b,c\nx,2024-01-01 10:00:00,7\n", "2.csv")
    table = read_table(tmp_path)
    assert table["a"].to_pylist() == ["1", "x"]
    assert table["c"].to_pylist() == ["true", "7"]
    assert pa.types.is_timestamp(table["b"].type)


def test_files_of_a_folder_whose_columns_differ_are_named(write, tmp_path):
    write("a,b\n1,x\n", "1.csv")
    write("a,c\n1,x\n", "2.csv")
    with pytest.raises(DataFormatError, match=r"2.csv lacks 'b' and has 'c', unlike 1.csv"):
        read_table(tmp_path)


def test_a_folder_without_tables(write, tmp_path):
    write("notes", "notes.md")
    with pytest.raises(DataNotFoundError, match="has no tables; wanted files"):
        read_table(tmp_path)


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)


@settings(max_examples=30)
@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=8))
def test_any_texts_are_read_as_they_were_written(rows):
    file = io.StringIO(newline="")
    csv.writer(file, quoting=csv.QUOTE_ALL).writerows([("first", "second"), *rows])
    form = Form(delimiter=",", header=True)
    table = read_delimited(file.getvalue().encode(), "t.csv", columns=None, form=form)
    assert table.num_rows == len(rows)
    for name, values in zip(("first", "second"), zip(*rows, strict=True), strict=True):
        column = table[name]
        if column.type in (pa.string(), pa.large_string()):
            for value, found in zip(values, column.to_pylist(), strict=True):
                assert found in (value.strip(), None)


@settings(max_examples=20)
@given(st.lists(st.one_of(st.none(), st.floats(allow_nan=False)), min_size=1, max_size=20))
def test_numbers_are_read_to_the_bit(values):
    lines = [f"{'' if value is None else repr(value)},x" for value in values]
    content = "a,b\n" + "\n".join(lines) + "\n"
    column = read_delimited(content.encode(), "t.csv", columns=None, form=Form())["a"]
    expected = np.array([np.nan if value is None else value for value in values])
    found = np.array(column.cast(pa.float64()).to_pylist(), float)
    assert (found.view("u8") == expected.view("u8"))[~np.isnan(expected)].all()
    assert np.isnan(found[np.isnan(expected)]).all()


BYTES = st.lists(
    st.sampled_from([b"a", b"1", b"-.5", b",", b";", b"\t", b'"', b"\n", b"\r", b" ", b"?", b"\xe9",
                     b"\xc3\xa9", b"\0", b"NA", b"2024-02-30", b"true", b"inf", b"1e999"]),
    max_size=40,
)  # fmt: skip


@settings(max_examples=300)
@given(BYTES, st.sampled_from([None, True, False]), st.sampled_from(["utf-8", "latin-1", "utf-16"]))
def test_any_bytes_are_a_table_or_a_refusal(pieces, header, encoding):
    form = Form(header=header, encoding=encoding)
    try:
        table = read_delimited(b"".join(pieces), "t.csv", columns=None, form=form)
    except DataFormatError:
        return
    assert len(table) > 0
    assert len(set(table.column_names)) == table.num_columns


def test_a_table_with_very_many_columns(write):
    names = [f"a long name of column {i}" for i in range(20_000)]
    table = read_table(write(",".join(names) + "\n" + ",".join(["1"] * 20_000) + "\n"))
    assert table.column_names == names


def test_a_field_that_is_too_long_is_refused(write):
    with pytest.raises(DataFormatError, match="a field of more than 131,072 characters"):
        read_table(write("a" * 200_000 + ",b\n1,2\n"))


def test_columns_that_cannot_be_joined_are_refused(tmp_path):
    for name, values in (("1", [[1]]), ("2", [["x"]])):
        pa.parquet.write_table(pa.table({"a": values}), tmp_path / f"{name}.parquet")
    with pytest.raises(DataFormatError, match="cannot be joined"):
        read_table(tmp_path)


def test_decimals_and_floats_are_joined(tmp_path):
    for name, values in (("1", pa.array([1], pa.decimal128(5, 2))), ("2", pa.array([0.5]))):
        pa.parquet.write_table(pa.table({"a": values}), tmp_path / f"{name}.parquet")
    assert read_table(tmp_path)["a"].to_pylist() == [1.0, 0.5]
