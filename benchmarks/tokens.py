"""Signed tokens in any number, and the key set that goes with them."""

from __future__ import annotations

import contextlib
import functools
import json
import multiprocessing
import os
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from gateway.demo.services import Signer


@functools.cache
def _signer() -> Signer:
    return Signer()


def users(count: int, prefix: str = "user") -> list[str]:
    """Names of so many users."""
    return [f"{prefix}-{number:07d}" for number in range(count)]


def signed(names: Sequence[str]) -> list[str]:
    """An RS256 token for each, in order, good for hours; many are signed on all cores.

    Call it before any thread is started: it forks.
    """
    if len(names) < 500:
        return [_token(name) for name in names]
    # Workers inherit the key, because it can't be sent to them.
    _signer()
    with multiprocessing.get_context("fork").Pool(len(os.sched_getaffinity(0))) as pool:
        return pool.map(_token, names, chunksize=100)


def _token(name: str) -> str:
    return _signer().token(name, "USER", seconds=6 * 3600)


@contextlib.contextmanager
def jwks() -> Iterator[str]:
    """Publish the key set on a loopback port; yields its address."""
    body = json.dumps(_signer().jwks()).encode()

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/.well-known/jwks.json"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
