"""Raw upstreams, a bare gateway around the Forwarder, and a raw client, each as a context manager."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from gateway.errors import (
    BadRequest,
    GatewayError,
    NoInstance,
    Overloaded,
    PayloadTooLarge,
    RequestTimeout,
    TooManySlowUploads,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from gateway.proxy.forward import Forwarder
from gateway.proxy.forwarded import TrustedProxies
from gateway.proxy.headers import upstream_headers
from gateway.proxy.load_balancer import Instances, UpstreamBase
from gateway.proxy.plan import ForwardPlan
from gateway.proxy.pool import UpstreamPool
from gateway.proxy.response import ForwardedResponse
from gateway.proxy.uploads import Uploads
from gateway.proxy.websocket import Tunnels
from gateway.server.limits import SERVER_OPTIONS

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
_STATUS = {
    BadRequest: 400,
    RequestTimeout: 408,
    PayloadTooLarge: 413,
    TooManySlowUploads: 429,
    Overloaded: 503,
    UpstreamUnreachable: 502,
    NoInstance: 503,
    UpstreamTimeout: 504,
}


@dataclass
class Upstream:
    """A service of raw sockets: ``connections`` counts those accepted, ``heads`` holds what was asked."""

    base: UpstreamBase
    connections: int = 0
    heads: list[bytes] = field(default_factory=list)

    async def head(self, reader: asyncio.StreamReader) -> bytes:
        """Reads one request's head and keeps it."""
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        return head


@asynccontextmanager
async def raw_upstream(
    talk: Callable[[Upstream, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[Upstream]:
    """Serves each connection with ``talk``; what still talks at the end is cancelled."""
    upstream = Upstream(UpstreamBase("http", "127.0.0.1", 0))
    talking: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        talking.add(task)
        upstream.connections += 1
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await talk(upstream, reader, writer)
        finally:
            writer.close()
            talking.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    upstream.base = UpstreamBase("http", "127.0.0.1", server.sockets[0].getsockname()[1])
    try:
        yield upstream
    finally:
        server.close()
        for task in list(talking):
            task.cancel()
        await asyncio.gather(*talking)


def answering(*answers: bytes, close: bool = False) -> Callable[..., Awaitable[None]]:
    """Talk that gives one answer per request without a body, the last one again and again."""

    async def talk(upstream: Upstream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for turn in range(1000):
            await upstream.head(reader)
            writer.write(answers[min(turn, len(answers) - 1)])
            await writer.drain()
            if close:
                return

    return talk


@asynccontextmanager
async def aiohttp_upstream(
    handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
) -> AsyncIterator[UpstreamBase]:
    """A service that is a real aiohttp server."""
    runner = web.ServerRunner(web.Server(handler, access_log=None, auto_decompress=False))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield UpstreamBase("http", *runner.addresses[0][:2])
    finally:
        await runner.cleanup()


@dataclass
class Gateway:
    """A server that forwards all it gets. ``plan`` overrides fields of the plan; ``errors`` and
    ``responses`` are what the Forwarder raised and returned; ``cancelled`` is set when a call was."""

    port: int
    pool: UpstreamPool
    instances: Instances
    plan: dict[str, Any]
    errors: list[GatewayError] = field(default_factory=list)
    responses: list[ForwardedResponse] = field(default_factory=list)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def response(self) -> ForwardedResponse:
        """The next one that the Forwarder returns, or the last if there is one."""
        while not self.responses:
            self.changed.clear()
            await self.changed.wait()
        return self.responses[-1]


@asynccontextmanager
async def gateway_to(
    target: UpstreamBase | str,
    *,
    services: dict[str, list[str]] | None = None,
    uploads: Uploads | None = None,
    **plan: Any,
) -> AsyncIterator[Gateway]:
    """Runs a bare gateway in front of ``target``. Errors are answered with their code as the body."""
    instances = Instances(services)
    async with UpstreamPool() as pool:
        forwarder = Forwarder(pool, instances, Tunnels(10, 0), uploads=uploads)
        trusted = TrustedProxies()

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            headers = upstream_headers(
                request.raw_headers,
                peer=request.remote or "",
                scheme="http",
                host=request.headers.get("Host", ""),
                trusted=trusted,
            )
            fields = {"base": target, "target": request.raw_path, "headers": headers, **gateway.plan}
            try:
                response = await forwarder.forward(request, ForwardPlan("r", **fields))
            except GatewayError as error:
                gateway.errors.append(error)
                answer = web.Response(status=_STATUS[type(error)], text=error.code)
                answer.force_close()
                return answer
            except asyncio.CancelledError:
                gateway.cancelled.set()
                raise
            gateway.responses.append(response)
            gateway.changed.set()
            return response

        runner = web.ServerRunner(web.Server(handle, access_log=None, **SERVER_OPTIONS))
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            gateway = Gateway(runner.addresses[0][1], pool, instances, plan)
            yield gateway
        finally:
            await runner.shutdown()
            await runner.cleanup()


@dataclass
class Answer:
    """An answer as it came: the head's lines are bytes."""

    line: bytes
    fields: list[tuple[bytes, bytes]]
    body: bytes = b""

    @property
    def status(self) -> int:
        return int(self.line.split(b" ")[1])

    def all(self, name: bytes) -> list[bytes]:
        return [value for other, value in self.fields if other.lower() == name.lower()]


class Client:
    """A client that writes and reads bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def head(self) -> Answer:
        head = await self.reader.readuntil(b"\r\n\r\n")
        line, *rest = head[:-4].split(b"\r\n")
        fields = [tuple(field.split(b": ", 1)) for field in rest]
        return Answer(line, fields)  # type: ignore[arg-type]

    async def chunk(self) -> bytes:
        size = int(await self.reader.readuntil(b"\r\n"), 16)
        return (await self.reader.readexactly(size + 2))[:-2]

    async def answer(self, *, bodiless: bool = False) -> Answer:
        """Reads a whole answer. Raises IncompleteReadError if it breaks off."""
        answer = await self.head()
        if bodiless:
            return answer
        if answer.all(b"Transfer-Encoding"):
            while piece := await self.chunk():
                answer.body += piece
        elif length := answer.all(b"Content-Length"):
            answer.body = await self.reader.readexactly(int(length[0]))
        else:
            answer.body = await self.reader.read()
        return answer

    async def get(
        self, target: str = "/", *, method: str = "GET", extra: bytes = b"", version: str = "1.1"
    ) -> Answer:
        self.send(f"{method} {target} HTTP/{version}\r\nHost: gw.test\r\n".encode() + extra + b"\r\n")
        return await self.answer(bodiless=method == "HEAD")


@asynccontextmanager
async def client_of(gateway: Gateway) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
