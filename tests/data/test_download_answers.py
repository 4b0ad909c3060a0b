"""What a mirror's answer says of itself, and how much of a file is looked at."""

from __future__ import annotations

import gzip
import hashlib
import urllib.error
import urllib.request
from types import SimpleNamespace

import pytest

from mlpx.data.download import (
    CHUNK_BYTES,
    RemoteFile,
    _content_sha256,
    _Fetch,
    _first_byte,
    _open,
    _total_bytes,
    download_file,
)
from mlpx.errors import DownloadError

URL = "https://mirror.example/x.gz"
WANTED = RemoteFile("x", "", 1000)


@pytest.mark.parametrize(
    ("status", "said", "first"),
    [
        (200, {}, 0),
        (200, {"Content-Range": "bytes 7-9/10"}, 0),
        (206, {"Content-Range": "bytes 0-9/10"}, 0),
        (206, {"Content-Range": "bytes 17-19/20"}, 17),
        (206, {"Content-Range": "bytes */20"}, None),
        (206, {}, None),
    ],
)
def test_an_answer_says_where_it_begins(status, said, first):
    assert _first_byte(SimpleNamespace(status=status, headers=said)) == first


@pytest.mark.parametrize(
    ("said", "total"),
    [({"Content-Length": "0"}, 5), ({"Content-Length": "12"}, 17), ({"Content-Length": "-1"}, None),
     ({"Content-Length": "²"}, None), ({}, None)],
)  # fmt: skip
def test_a_length_is_of_what_is_still_to_come(said, total):
    assert _total_bytes(SimpleNamespace(headers=said), 5) == total


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("content", "seen"), [(b"", 0), (b"ab", 2), (b"abc", 3), (b"abcdef", 4)])
def test_one_byte_more_than_wanted_is_enough_to_tell(tmp_path, packed, content, seen):
    file = tmp_path / "x"
    file.write_bytes(gzip.compress(content) if packed else content)
    assert _content_sha256(file, 3) == hashlib.sha256(content[:seen]).hexdigest()


def test_no_encoding_is_much_longer_than_its_content():
    assert WANTED.limit_bytes == 1010 + CHUNK_BYTES == 1010 + 65_536


@pytest.fixture
def asked(monkeypatch):
    """What the mirror is asked for; it answers with the status that stands first."""
    requests = []

    def answer(request, timeout):
        requests.append((request.full_url, dict(request.header_items()), timeout))
        raise urllib.error.HTTPError(URL, requests[0], "No", {}, None)

    monkeypatch.setattr(urllib.request, "urlopen", answer)
    return requests


@pytest.mark.parametrize(("start", "piece"), [(0, {}), (5, {"Range": "bytes=5-"})])
def test_the_mirror_is_asked_for_the_bytes_themselves(asked, tmp_path, start, piece):
    asked.append(404)
    with pytest.raises(DownloadError, match="answered 404 No"):
        _open(_Fetch(URL, tmp_path / "part", WANTED, 7.0, None), start)
    headers = {"User-agent": "mlpx", "Accept-encoding": "identity", **piece}
    assert asked[1:] == [(URL, headers, 7.0)]


def test_nothing_beyond_a_part_is_no_failure(asked, tmp_path):
    asked.append(416)
    assert _open(_Fetch(URL, tmp_path / "part", WANTED, 7.0, None), 5) is None
    with pytest.raises(DownloadError, match="answered 416 No"):
        _open(_Fetch(URL, tmp_path / "part", WANTED, 7.0, None), 0)


def test_a_mirror_may_be_silent_for_half_a_minute(asked, tmp_path):
    asked.append(503)
    with pytest.raises(DownloadError, match="answered 503 No"):
        download_file(URL, tmp_path / "x.gz", wanted=WANTED)
    assert asked[1][2] == 30.0
