"""Collectors for tests: take spans over real HTTP as Zipkin or a receiver of OTLP does, or behave badly, and remember
what came."""

from __future__ import annotations

import asyncio
import gzip
import json
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, TypeVar

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass
class Collector:
    """``statuses`` are answered in turn, then 202; while ``open`` is clear nothing is answered."""

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    answer: bytes = b""
    posts: list[bytes] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    open: threading.Event = field(default_factory=threading.Event)
    posted: threading.Event = field(default_factory=threading.Event)

    path: ClassVar[str] = "/api/v2/spans"

    @property
    def spans(self) -> list[dict[str, Any]]:
        """All spans of all posts."""
        return [span for body in list(self.posts) for span in json.loads(body)]

    async def until(self, enough: Callable[[list[dict[str, Any]]], bool], seconds: float = 20.0) -> None:
        """Waits for spans that are enough."""
        async with asyncio.timeout(seconds):
            while not enough(self.spans):
                await asyncio.sleep(0.02)


class OtlpCollector(Collector):
    """As a ``Collector``, for OTLP."""

    path = "/v1/traces"

    @property
    def spans(self) -> list[dict[str, Any]]:
        """All spans of all posts: the fields of OTLP's JSON, attributes as a dict, those of the resource in
        ``resource``, and the ids in hexadecimal digits."""
        posts = zip(list(self.posts), list(self.headers), strict=False)
        return [span for body, headers in posts for span in _decoded(body, headers)]


def _decoded(body: bytes, headers: dict[str, str]) -> Iterator[dict[str, Any]]:
    assert headers["content-type"] == "application/x-protobuf"
    if headers.get("content-encoding") == "gzip":
        body = gzip.decompress(body)
    for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        resource = _attributes(of_resource.resource)
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                yield MessageToDict(span) | {
                    "traceId": span.trace_id.hex(),
                    "spanId": span.span_id.hex(),
                    "parentSpanId": span.parent_span_id.hex(),
                    "attributes": _attributes(span),
                    "resource": resource,
                    "scope": of_scope.scope.name,
                }


def _attributes(of: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in of.attributes}


C = TypeVar("C", bound=Collector)


@asynccontextmanager
async def a_collector() -> AsyncIterator[Collector]:
    """A running collector that takes spans as Zipkin does."""
    async with running(Collector()) as collector:
        yield collector


@asynccontextmanager
async def running(collector: C, tls: ssl.SSLContext | None = None) -> AsyncIterator[C]:
    """The collector, running in threads of its own: whatever holds the event loop doesn't hold it."""
    collector.open.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # http.server's name for it
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collector.headers.append({name.lower(): value for name, value in self.headers.items()})
            collector.paths.append(self.path)
            collector.posts.append(body)
            collector.posted.set()
            collector.open.wait()
            try:
                self.send_response(collector.statuses.pop(0) if collector.statuses else 202)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", str(len(collector.answer)))
                self.end_headers()
                self.wfile.write(collector.answer)
            except OSError:
                pass  # whoever asked has gone

        def log_message(self, *args: object) -> None:
            """Silence."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """Silence: handshakes are meant to fail."""

        def finish_request(self, request: Any, client_address: Any) -> None:
            if tls is None:
                super().finish_request(request, client_address)
                return
            # In the connection's own thread: a handshake holds up no other connection.
            with tls.wrap_socket(request, server_side=True) as served:
                super().finish_request(served, client_address)

    server = Server(("127.0.0.1", 0), Handler)
    scheme = "http" if tls is None else "https"
    collector.url = f"{scheme}://127.0.0.1:{server.server_address[1]}{collector.path}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        collector.open.set()
        await asyncio.to_thread(server.shutdown)
        server.server_close()
        thread.join(5)
