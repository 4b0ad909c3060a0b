from __future__ import annotations

import gzip
import hashlib
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from mlpx.data import DATASETS, load_dataset, write_idx
from mlpx.data.datasets import DIGITS_TRAIN, digits_order
from mlpx.data.images import IdxImages, cache_dir
from mlpx.errors import (
    DataFormatError,
    DataNotFoundError,
    DownloadError,
    InputError,
    MissingExtraError,
    UnknownNameError,
)

X = np.arange(3 * 2 * 4, dtype=np.uint8).reshape(3, 2, 4)
ARRAYS = {
    "train-x.gz": X,
    "train-y.gz": np.array([0, 1, 1], np.uint8),
    "test-x.gz": X[:2] + 100,
    "test-y.gz": np.array([1, 0], np.uint8),
}


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def tiny(tmp_path, monkeypatch) -> Path:
    """A folder with the files of the data set ``tiny``, which is in the table, and nowhere else."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    for name in ("MLPX_DATA", "MLPX_MIRROR"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "files"
    folder.mkdir()
    files = []
    for name, array in ARRAYS.items():
        write_idx(folder / name, array)
        content = gzip.decompress((folder / name).read_bytes())
        files.append((name, hashlib.sha256(content).hexdigest(), len(content)))
    source = IdxImages("http://127.0.0.1:9/tiny", tuple(files), ("cat", "dog"))
    monkeypatch.setitem(DATASETS, "tiny", source)
    return folder


@pytest.fixture
def mirror(tmp_path):
    """URL of a server for everything under ``tmp_path``."""
    handler = partial(QuietHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def is_tiny(data) -> bool:
    assert data.x_train.tolist() == X.reshape(3, 8).tolist()
    assert data.x_test.tolist() == (X[:2].reshape(2, 8) + 100).tolist()
    assert (data.y_train.tolist(), data.y_test.tolist()) == ([0, 1, 1], [1, 0])
    assert (data.x_train.dtype, data.y_train.dtype) == (np.uint8, np.int64)
    assert (data.name, data.class_names) == ("tiny", ("cat", "dog"))
    assert (data.image_shape, data.scale) == ((2, 4), 1 / 255)
    return True


def test_files_directly_in_data_dir(tiny):
    assert is_tiny(load_dataset("tiny", data_dir=str(tiny), download=False))


def test_files_in_a_subfolder_go_before_files_beside_it(tiny):
    (tiny / "tiny").mkdir()
    for name in ARRAYS:
        (tiny / name).rename(tiny / "tiny" / name)
        (tiny / name).write_bytes(b"of another data set")
    assert is_tiny(load_dataset("tiny", data_dir=tiny, download=False))


def test_unpacked_files(tiny):
    for name in ARRAYS:
        content = gzip.decompress((tiny / name).read_bytes())
        (tiny / name).unlink()
        (tiny / name).with_suffix("").write_bytes(content)
    assert is_tiny(load_dataset("tiny", data_dir=tiny, download=False))


def test_places_are_searched_in_order_and_may_share_the_files(tiny, tmp_path, monkeypatch):
    env, cache = tmp_path / "env", tmp_path / "cache" / "mlpx" / "tiny"
    for folder in (env, cache):
        folder.mkdir(parents=True)
    monkeypatch.setenv("MLPX_DATA", str(env))
    (tiny / "train-y.gz").rename(env / "train-y.gz")
    (tiny / "test-y.gz").rename(cache / "test-y.gz")
    (env / "train-x.gz").write_bytes(b"not looked at: data_dir goes first")
    (cache / "train-y.gz").write_bytes(b"not looked at: MLPX_DATA goes first")
    assert is_tiny(load_dataset("tiny", data_dir=tiny, download=False))


def test_nothing_found_says_what_to_put_where(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("MLPX_DATA", str(tmp_path / "env"))
    (tiny / "test-x.gz").rename(tmp_path / "elsewhere")
    with pytest.raises(DataNotFoundError) as caught:
        load_dataset("tiny", data_dir=tiny, download=False)
    message = str(caught.value)
    assert f"put test-x.gz (gzip, or unpacked without .gz) into {tiny / 'tiny'};" in message
    assert f"looked in {tiny}, {tmp_path / 'env'}, {tmp_path / 'cache' / 'mlpx'} " in message
    assert "http://127.0.0.1:9/tiny/" in message
    assert "train-x.gz" not in message
    assert "\n" not in message


def test_no_network_and_no_file_says_what_to_put_where(tiny, tmp_path):
    with pytest.raises(DownloadError) as caught:
        load_dataset("tiny", mirror="http://127.0.0.1:9/a//")
    message = str(caught.value)
    assert "http://127.0.0.1:9/a/train-x.gz: " in message
    assert message.endswith("http://127.0.0.1:9/a/")
    assert "refused" in message
    assert f"put {', '.join(ARRAYS)} (gzip" in message
    assert str(tmp_path / "cache" / "mlpx" / "tiny") in message


def test_what_is_missing_is_downloaded_once(tiny, tmp_path, mirror):
    partly = tmp_path / "partly"
    partly.mkdir()
    (tiny / "test-y.gz").rename(partly / "test-y.gz")
    seen = []
    data = load_dataset(
        "tiny",
        data_dir=partly,
        mirror=f"{mirror}/files/",
        progress=lambda done, total: seen.append((done, total)),
    )
    assert is_tiny(data)
    assert len(seen) == 3
    assert (cache_dir() / "tiny" / "train-x.gz").is_file()
    assert not (cache_dir() / "tiny" / "test-y.gz").exists()
    (tmp_path / "files").rename(tmp_path / "gone")
    assert is_tiny(load_dataset("tiny", data_dir=partly, download=False))


def test_the_mirror_in_the_environment_holds_the_name(tiny, tmp_path, mirror, monkeypatch):
    tiny.rename(tmp_path / "tiny")
    monkeypatch.setenv("MLPX_MIRROR", mirror + "/{name}")
    assert is_tiny(load_dataset("tiny"))


def test_the_mirror_argument_goes_before_the_environment(tiny, mirror, monkeypatch):
    monkeypatch.setenv("MLPX_MIRROR", "http://127.0.0.1:9")
    assert is_tiny(load_dataset("tiny", mirror=mirror + "/files"))


def test_a_mirror_must_be_http(tiny):
    with pytest.raises(InputError, match="wanted http://"):
        load_dataset("tiny", mirror=tiny.as_uri())


def test_a_found_file_with_another_sum_is_refused(tiny):
    other = X.copy()
    other[0, 0, 0] ^= 1
    write_idx(tiny / "train-x.gz", other)
    found = hashlib.sha256(gzip.decompress((tiny / "train-x.gz").read_bytes())).hexdigest()
    with pytest.raises(DataFormatError) as caught:
        load_dataset("tiny", data_dir=tiny)
    message = str(caught.value)
    for part in (str(tiny / "train-x.gz"), found, DATASETS["tiny"].files[0][1], "remove that file"):
        assert part in message


def test_a_data_dir_that_is_not_there_is_refused(tiny):
    with pytest.raises(DataNotFoundError, match=r"nowhere', which is not a folder"):
        load_dataset("tiny", data_dir=tiny / "nowhere")


def test_the_cache_follows_xdg(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_dir() == tmp_path / "mlpx"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for unusable in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", unusable)
        assert cache_dir() == tmp_path / "home" / ".cache" / "mlpx"


def test_an_unknown_name_is_refused_with_a_suggestion():
    with pytest.raises(UnknownNameError, match="did you mean 'fashion-mnist'"):
        load_dataset("fashion_mnist")


def test_the_table_of_names():
    assert list(DATASETS) == ["digits", "mnist", "fashion-mnist"]
    for name in ("mnist", "fashion-mnist"):
        source = DATASETS[name]
        assert len(source.class_names) == 10
        assert [size for _, _, size in source.files] == [
            16 + 60000 * 784,
            8 + 60000,
            16 + 10000 * 784,
            8 + 10000,
        ]
        assert all(len(bytes.fromhex(sha256)) == 32 for _, sha256, _ in source.files)


def test_digits_are_split_once_and_for_all():
    data = load_dataset("digits")
    assert data.x_train.shape == (1437, 64)
    assert data.x_test.shape == (360, 64)
    assert (data.x_train.dtype, data.x_train.max()) == (np.uint8, 16)
    assert (data.x_train * data.scale).max() == 1.0
    assert (data.image_shape, data.class_names) == ((8, 8), tuple("0123456789"))
    assert np.bincount(data.y_test, minlength=10).min() >= 25
    digest = hashlib.sha256(data.x_test.tobytes() + data.y_test.astype("<i8").tobytes())
    assert digest.hexdigest() == "bc19771a3544d8ddb7f95889907549d4013764ec473f843143ff39589b6af456"


def test_digits_hold_every_example_once():
    bundle = pytest.importorskip("sklearn.datasets").load_digits()
    data = load_dataset("digits")
    order = digits_order(1797)
    assert sorted(order) == list(range(1797))
    assert np.array_equal(data.x_train, bundle.data[order[:DIGITS_TRAIN]])
    assert np.array_equal(data.y_test, bundle.target[order[DIGITS_TRAIN:]])


def test_digits_without_sklearn_name_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(MissingExtraError, match=r"'digits' needs scikit-learn.*mlpx\[sklearn\]"):
        load_dataset("digits")


def test_real_mnist(data_dir):
    if not (data_dir / "mnist").is_dir():
        pytest.skip(f"no MNIST: {data_dir / 'mnist'} is absent")
    data = load_dataset("mnist", data_dir=data_dir, download=False)
    assert (data.x_train.shape, data.x_test.shape) == ((60000, 784), (10000, 784))
    assert (data.x_train.dtype, data.image_shape) == (np.uint8, (28, 28))
    assert data.y_train[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert data.y_test[:4].tolist() == [7, 2, 1, 0]
    assert (data.x_train * np.float32(data.scale)).mean() == pytest.approx(0.1307, abs=1e-4)


def test_importing_the_package_is_cheap():
    program = """
import sys, numpy
before = set(sys.modules)
import mlpx.data
for name in sorted({each.partition(".")[0] for each in set(sys.modules) - before}):
    if name not in sys.stdlib_module_names: print(name)
print("urllib.request" in sys.modules)
"""
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    *packages, has_urllib = found.stdout.split()
    assert set(packages) <= {"mlpx", "numpy"}  # numpy: parts that it loads when asked for
    assert has_urllib == "False"
