"""`mlpx predict`: classes, probabilities, files and errors."""

from __future__ import annotations

import pickle

import numpy as np
from bright_images import ROWS
from commanding import mlpx as run

from mlpx import MLP
from mlpx.cli.rows import read_rows


def test_predict_where_and_how_it_is_told(trained, calls, tmp_path):
    np.save(tmp_path / "x.npy", ROWS)
    options = ("--device", "cpu", "--batch-size", 2)
    assert run("predict", trained, tmp_path / "x.npy", *options).stdout == "1\n0\n1\n"
    assert calls == {"load": {"device": "cpu"}, "predict": {"batch_size": 2}}


def test_predict_prints_the_class_of_each_row(trained, tmp_path):
    np.save(tmp_path / "x.npy", ROWS)
    assert run("predict", trained, tmp_path / "x.npy").stdout == "1\n0\n1\n"


def test_predict_takes_images(trained, tmp_path):
    np.save(tmp_path / "x.npy", ROWS.reshape(3, 2, 3))
    assert run("predict", trained, tmp_path / "x.npy").stdout == "1\n0\n1\n"


def test_predict_probabilities(trained, tmp_path):
    np.save(tmp_path / "x.npy", ROWS)
    text = run("predict", trained, tmp_path / "x.npy", "--proba").stdout
    found = np.array([[float(value) for value in line.split()] for line in text.splitlines()])
    wanted = MLP.load(trained / "model.safetensors").predict_proba(ROWS)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_predict_writes_a_file(trained, tmp_path):
    np.save(tmp_path / "x.npy", ROWS)
    found = run("predict", trained, tmp_path / "x.npy", "--out", tmp_path / "y.npy")
    assert found.stdout == ""
    assert np.load(tmp_path / "y.npy").tolist() == [1, 0, 1]
    assert found.stderr == f"{tmp_path / 'y.npy'}: 3 rows, shape (3,), int64\n"
    found = run("predict", trained, tmp_path / "x.npy", "--proba", "--out", tmp_path / "p.npy")
    assert ": 3 rows, shape (3, 2), float32" in found.stderr


def test_predict_does_not_read_the_file_as_a_whole(tmp_path):
    np.save(tmp_path / "x.npy", ROWS.reshape(3, 2, 3))
    rows = read_rows(tmp_path / "x.npy", columns=6)
    assert isinstance(rows, np.memmap)
    assert rows.tolist() == ROWS.tolist()


def refused(trained, path):
    found = run("predict", trained, path)
    assert (found.exit_code, found.stdout, found.stderr.count("\n")) == (1, "", 1)
    return found.stderr


def test_predict_refuses_what_is_no_array_of_numbers(trained, tmp_path):
    assert "does not exist" in refused(trained, tmp_path / "absent.npy")
    np.save(tmp_path / "objects.npy", np.array([{}, {}], dtype=object), allow_pickle=True)
    objects = refused(trained, tmp_path / "objects.npy")
    assert "objects.npy is an array of Python objects, shape (2,)" in objects
    assert "array.astype('float32')" in objects
    assert "allow_pickle" not in objects
    (tmp_path / "pickle.npy").write_bytes(pickle.dumps(1))
    assert "is a pickle, which could run code" in refused(trained, tmp_path / "pickle.npy")
    (tmp_path / "text.npy").write_text("1,2,3")
    assert "numpy.save" in refused(trained, tmp_path / "text.npy")
    (tmp_path / "empty.npy").write_bytes(b"")
    assert "numpy.save" in refused(trained, tmp_path / "empty.npy")
    np.savez(tmp_path / "many.npz", a=ROWS)
    assert "archive" in refused(trained, tmp_path / "many.npz")
    np.save(tmp_path / "words.npy", np.array([["a"] * 6]))
    assert "x " in refused(trained, tmp_path / "words.npy")
    np.save(tmp_path / "small.npy", ROWS.reshape(3, 2, 3)[:, :, :2])
    assert "x.shape = (3, 2, 2); wanted (n, 6)" in refused(trained, tmp_path / "small.npy")
    np.save(tmp_path / "narrow.npy", ROWS[:, :5])
    assert "x has 5 columns" in refused(trained, tmp_path / "narrow.npy")


def test_predict_refuses_a_place_that_is_not_there(trained, tmp_path):
    np.save(tmp_path / "x.npy", ROWS)
    found = run("predict", trained, tmp_path / "x.npy", "--out", tmp_path / "absent" / "y.npy")
    assert (found.exit_code, "cannot write" in found.stderr) == (1, True)
