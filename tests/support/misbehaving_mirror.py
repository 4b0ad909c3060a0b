"""An HTTP server on the loopback interface that misbehaves on demand."""

from __future__ import annotations

import gzip
import hashlib
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from mlpx.data.download import RemoteFile

CONTENT = b"\0\0\x08\x01\0\x03\0\0" + os.urandom(3 << 16)  # random: gzip does not shrink it
BODY = gzip.compress(CONTENT, mtime=0)
WANTED = RemoteFile("x.gz", hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))
HALF = len(BODY) // 2


class Mirror:
    """A server whose one file is ``body``; ``behave(handler, start)`` may answer otherwise."""

    def __init__(self) -> None:
        self.body = BODY
        self.behave = self.honest
        self.claimed_bytes: int | None = None  # by an endless body
        self.asked: list[str | None] = []  # the Range of each request
        self.hung = threading.Event()
        self.freed = threading.Event()
        mirror = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked = self.headers.get("Range")
                mirror.asked.append(asked)
                mirror.behave(self, int(asked[6:-1]) if asked else 0)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/x.gz"

    def honest(self, handler, start):
        if start >= len(self.body) > 0 and start:
            handler.send_response(416)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        self.head(handler, start, len(self.body) - start)
        handler.wfile.write(self.body[start:])

    def head(self, handler, start, length):
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(self.body) - 1}/*")
        if length is not None:
            handler.send_header("Content-Length", str(length))
        handler.end_headers()

    def ignores_range(self, handler, start):
        self.honest(handler, 0)

    def breaks_off(self, handler, start):
        self.head(handler, start, len(self.body) - start)
        handler.wfile.write(self.body[start : (start + len(self.body)) // 2])

    def without_length(self, handler, start):
        self.head(handler, start, None)
        handler.wfile.write(self.body[start:])

    def missing(self, handler, start):
        handler.send_error(404)

    def hangs_at_once(self, handler, start):
        self.freed.wait(20)

    def hangs_in_the_middle(self, handler, start):
        self.head(handler, start, len(self.body) - start)
        handler.wfile.write(self.body[start:HALF])
        handler.wfile.flush()
        self.hung.set()
        self.freed.wait(20)

    def other_piece(self, handler, start):
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start - 1}-{len(self.body) - 1}/*")
        handler.send_header("Content-Length", str(len(self.body)))
        handler.end_headers()
        handler.wfile.write(self.body)

    def endless(self, handler, start):
        self.head(handler, 0, self.claimed_bytes)
        try:
            while not self.freed.is_set():
                handler.wfile.write(bytes(1 << 16))
        except OSError:
            self.hung.set()  # the other side had enough
