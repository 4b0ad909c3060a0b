from __future__ import annotations

import gzip
import hashlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from misbehaving_mirror import BODY, CONTENT, HALF, WANTED, Mirror

from mlpx.data.download import download_file
from mlpx.errors import DownloadError, InputError


@pytest.fixture
def mirror(monkeypatch) -> Iterator[Mirror]:
    monkeypatch.setenv("no_proxy", "*")
    mirror = Mirror()
    thread = threading.Thread(target=mirror.server.serve_forever, args=(0.02,))
    thread.start()
    yield mirror
    mirror.freed.set()
    mirror.server.shutdown()
    mirror.server.server_close()
    thread.join()


@pytest.fixture
def target(tmp_path) -> Path:
    return tmp_path / "cache" / "x.gz"  # the folder is not there yet


def part_of(target: Path) -> Path:
    return target.with_name("x.gz.part")


def fetch(mirror: Mirror, target: Path, **settings) -> Path:
    return download_file(mirror.url, target, wanted=WANTED, **settings)


@contextmanager
def fails(*parts: str) -> Iterator[None]:
    with pytest.raises(DownloadError) as caught:
        yield
    for part in parts:
        assert part in str(caught.value)


def leave_part(target: Path, content: bytes) -> None:
    target.parent.mkdir()
    part_of(target).write_bytes(content)


def arrived(target: Path) -> bool:
    return target.read_bytes() == BODY and not part_of(target).exists()


def test_brings_the_file_and_reports_progress(mirror, target):
    seen = []
    assert fetch(mirror, target, progress=lambda *at: seen.append(at)) == target
    assert arrived(target)
    assert mirror.asked == [None]
    assert seen[-1] == (len(BODY), len(BODY))
    assert seen == sorted(set(seen))


def test_what_is_there_is_left_alone(mirror, target):
    target.parent.mkdir()
    target.write_bytes(b"mine")
    fetch(mirror, target)
    assert target.read_bytes() == b"mine"
    assert mirror.asked == []


def test_a_mirror_may_serve_the_file_unpacked(mirror, target):
    mirror.body = CONTENT
    fetch(mirror, target)
    assert target.read_bytes() == CONTENT


def test_a_mirror_need_not_say_the_length(mirror, target):
    mirror.behave = mirror.without_length
    fetch(mirror, target)
    assert arrived(target)


def test_continues_a_part(mirror, target):
    leave_part(target, BODY[:1000])
    seen = []
    fetch(mirror, target, progress=lambda *at: seen.append(at))
    assert arrived(target)
    assert mirror.asked == ["bytes=1000-"]
    assert seen[0][0] > 1000
    assert seen[-1] == (len(BODY), len(BODY))


def test_starts_over_where_range_is_ignored(mirror, target):
    mirror.behave = mirror.ignores_range
    leave_part(target, BODY[:1000])
    fetch(mirror, target)
    assert arrived(target)
    assert mirror.asked == ["bytes=1000-"]


def test_a_complete_part_needs_no_more_bytes(mirror, target):
    leave_part(target, BODY)
    fetch(mirror, target)
    assert arrived(target)
    assert mirror.asked == [f"bytes={len(BODY)}-"]


@pytest.mark.parametrize(
    "left",
    [b"\0" * 1000, BODY + b"more", b"\0" * len(BODY)],
    ids=["some", "more", "as much"],  # BODY has the time in it
)
def test_a_part_of_something_else_is_fetched_anew(mirror, target, left):
    leave_part(target, left)
    fetch(mirror, target)
    assert arrived(target)
    assert mirror.asked == [f"bytes={len(left)}-", None]


def test_another_piece_than_asked_for_is_not_appended(mirror, target):
    mirror.behave = mirror.other_piece
    leave_part(target, BODY[:1000])
    seen = []
    fetch(mirror, target, progress=lambda done, _: seen.append(done))
    assert arrived(target)
    assert mirror.asked == ["bytes=1000-", None]
    assert seen == sorted(set(seen))  # nothing was taken from the first answer


def test_a_truncated_body_is_kept_and_continued(mirror, target):
    mirror.behave = mirror.breaks_off
    with fails(mirror.url, f"closed after {HALF} of {len(BODY)} bytes", "run again"):
        fetch(mirror, target)
    assert not target.exists()
    assert part_of(target).read_bytes() == BODY[:HALF]
    mirror.behave = mirror.honest
    fetch(mirror, target)
    assert arrived(target)
    assert mirror.asked == [None, f"bytes={HALF}-"]


def test_a_wrong_checksum_leaves_nothing(mirror, target):
    other = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
    mirror.body = gzip.compress(other, mtime=0)
    with fails(mirror.url, hashlib.sha256(other).hexdigest(), f"wanted {WANTED.sha256}"):
        fetch(mirror, target)
    assert not target.exists()
    assert not part_of(target).exists()
    assert mirror.asked == [None]


@pytest.mark.parametrize(
    ("body", "part"),
    [
        (os.urandom(len(BODY)), f"wanted {WANTED.sha256}"),
        (b"\x1f\x8b" + os.urandom(len(BODY) - 2), "truncated or damaged"),
        (BODY[:-4], "truncated or damaged"),
        (BODY + b"more", "truncated or damaged"),
        (gzip.compress(CONTENT + b"\0"), f"wanted {WANTED.sha256}"),
        (b"<!doctype html><title>Sign in to this network</title>", f"wanted {WANTED.sha256}"),
        (b"", "an empty answer"),
    ],
    ids=["garbage", "gzip garbage", "cut", "trailing", "longer content", "portal", "empty"],
)
def test_refuses_other_content(mirror, target, body, part):
    mirror.body = body
    with fails(mirror.url, "delivered something else", part):
        fetch(mirror, target)
    assert [each.name for each in target.parent.iterdir()] == ["x.gz.lock"]


@pytest.mark.parametrize("claimed_bytes", [None, 1 << 40])
def test_a_body_without_end_is_cut_off(mirror, target, claimed_bytes):
    mirror.behave, mirror.claimed_bytes = mirror.endless, claimed_bytes
    seen = []
    with fails("delivered something else"):
        fetch(mirror, target, progress=lambda done, _: seen.append(done))
    assert max(seen) < len(BODY) + (1 << 18)
    assert mirror.hung.wait(5)
    assert not part_of(target).exists()


def test_404_names_the_url(mirror, target):
    mirror.behave = mirror.missing
    with fails(mirror.url, "404"):
        fetch(mirror, target)
    assert not part_of(target).exists()


@pytest.mark.parametrize("how", ["hangs_at_once", "hangs_in_the_middle"])
def test_a_silent_mirror_is_given_up(mirror, target, how):
    mirror.behave = getattr(mirror, how)
    start_s = time.monotonic()
    with fails(mirror.url, "said nothing for 0.3 s"):
        fetch(mirror, target, timeout_s=0.3)
    assert 0.2 < time.monotonic() - start_s < 5
    assert not target.exists()
    if how == "hangs_in_the_middle":
        assert part_of(target).read_bytes() == BODY[:HALF]


def test_nobody_listens(target):
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.server_close()  # its port is free again
    with fails("x: [Errno 111] Connection refused"):
        download_file(f"http://127.0.0.1:{server.server_port}/x", target, wanted=WANTED)


@pytest.mark.parametrize(
    "url", ["file:///etc/hostname", "ftp://a/b", "mirror.example/x", "http://"]
)
def test_only_http(target, url):
    with pytest.raises(InputError, match=re.escape(repr(url))):
        download_file(url, target, wanted=WANTED)
    assert not target.parent.exists()


def test_a_full_disk_is_named(mirror, target):
    target.parent.mkdir()
    part_of(target).symlink_to("/dev/full")
    with fails(str(target), "No space left on device", "XDG_CACHE_HOME"):
        fetch(mirror, target)
    assert not target.exists()


def test_a_cache_that_cannot_be_written_is_named(mirror, tmp_path):
    (tmp_path / "cache").write_bytes(b"a file where the folder should be")
    with fails(str(tmp_path / "cache"), "cannot write", "XDG_CACHE_HOME"):
        fetch(mirror, tmp_path / "cache" / "x.gz")


CHILD = """
import signal, sys
from mlpx.data.download import RemoteFile, download_file
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
url, path, sha256, content_bytes = sys.argv[1:]
download_file(url, path, wanted=RemoteFile("x.gz", sha256, int(content_bytes)))
"""


@contextmanager
def child(mirror: Mirror, target: Path) -> Iterator[subprocess.Popen]:
    arguments = [mirror.url, str(target), WANTED.sha256, str(WANTED.content_bytes)]
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, *arguments], stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.xdist_group("alone")
def test_ctrl_c_leaves_a_part_to_continue(mirror, target):
    mirror.behave = mirror.hangs_in_the_middle
    with child(mirror, target) as process:
        assert mirror.hung.wait(20)
        while not (part_of(target).exists() and part_of(target).stat().st_size):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert "KeyboardInterrupt" in errors
    assert not target.exists()
    left = part_of(target).read_bytes()
    assert left == BODY[: len(left)] != b""
    mirror.behave = mirror.honest
    fetch(mirror, target)
    assert arrived(target)
    assert mirror.asked == [None, f"bytes={len(left)}-"]


@pytest.mark.xdist_group("alone")
def test_two_processes_fetch_it_once(mirror, target):
    def slowly(handler, start):
        mirror.head(handler, start, len(BODY) - start)
        handler.wfile.write(BODY[start:HALF])
        handler.wfile.flush()
        mirror.hung.set()
        mirror.freed.wait(20)
        handler.wfile.write(BODY[HALF:])

    mirror.behave = slowly
    with child(mirror, target) as first:
        assert mirror.hung.wait(20)
        with child(mirror, target) as second:
            time.sleep(1.0)  # long enough for it to ask, if it would
            assert second.poll() is None
            mirror.freed.set()
            assert (first.wait(20), second.wait(20)) == (0, 0)
    assert arrived(target)
    assert mirror.asked == [None]
