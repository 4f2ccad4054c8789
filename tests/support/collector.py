"""A collector for tests: takes spans over real HTTP as Zipkin does, or behaves badly, and remembers what came."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Collector:
    """``statuses`` are answered in turn, then 202; while ``open`` is clear nothing is answered."""

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    posts: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    open: threading.Event = field(default_factory=threading.Event)
    posted: threading.Event = field(default_factory=threading.Event)

    @property
    def spans(self) -> list[dict[str, Any]]:
        """All spans of all posts."""
        return [span for body in list(self.posts) for span in json.loads(body)]

    async def until(self, enough: Callable[[list[dict[str, Any]]], bool], seconds: float = 20.0) -> None:
        """Waits for spans that are enough."""
        async with asyncio.timeout(seconds):
            while not enough(self.spans):
                await asyncio.sleep(0.02)


@asynccontextmanager
async def a_collector() -> AsyncIterator[Collector]:
    """A running collector, in threads of its own: whatever holds the event loop doesn't hold it."""
    collector = Collector()
    collector.open.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # http.server's name for it
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collector.posts.append(body)
            collector.headers.append({name.lower(): value for name, value in self.headers.items()})
            collector.posted.set()
            collector.open.wait()
            try:
                self.send_response(collector.statuses.pop(0) if collector.statuses else 202)
                self.end_headers()
            except OSError:
                pass  # whoever asked has gone

        def log_message(self, *args: object) -> None:
            """Silence."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

    server = Server(("127.0.0.1", 0), Handler)
    collector.url = f"http://127.0.0.1:{server.server_address[1]}/api/v2/spans"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        collector.open.set()
        await asyncio.to_thread(server.shutdown)
        server.server_close()
        thread.join(5)
