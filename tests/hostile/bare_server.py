"""The gateway's server alone, with short limits, in the test's own process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from gateway.server.limits import ConnectionLimits
from gateway.server.listener import Server
from tests.support.listening import listening

SHORT = ConnectionLimits(
    head_seconds=0.3,
    idle_seconds=0.4,
    body_seconds=0.3,
    slow_client_seconds=0.4,
    linger_seconds=0.3,
    head_bytes=16_384,
)


GET = b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n"
BIG = b"x" * 8_000_000


@dataclass
class Site:
    """A server with short limits. Handlers wait for ``go``; ``in_progress`` is set when one has begun."""

    port: int = 0
    server: Server | None = None
    go: asyncio.Event = field(default_factory=asyncio.Event)
    in_progress: asyncio.Event = field(default_factory=asyncio.Event)
    served: list[str] = field(default_factory=list)
    turned_away: int = 0
    reads_bodies: bool = True

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if (fault := getattr(request, "fault", None)) is not None:
            return web.Response(status=400, text=fault)
        self.in_progress.set()
        await self.go.wait()
        try:
            length = len(await request.content.read()) if self.reads_bodies else 0
        except web.RequestPayloadError:
            return web.Response(status=400, text="no body")
        self.served.append(request.path)
        if request.path == "/big":
            return web.Response(body=BIG)
        return web.Response(text=f"{request.path} {length}")

    def away(self) -> None:
        self.turned_away += 1

    @asynccontextmanager
    async def client(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()


@asynccontextmanager
async def site(
    limits: ConnectionLimits = SHORT, descriptors: int | None = None, most: int | None = None
) -> AsyncIterator[Site]:
    here = Site()
    here.go.set()
    here.server = Server(here.handle, limits, descriptors=descriptors, most=most, on_full=here.away)
    runner = web.ServerRunner(here.server, shutdown_timeout=0.1)
    async with listening(runner) as url:
        here.port = int(url.rpartition(":")[2])
        try:
            yield here
        finally:
            here.go.set()


@asynccontextmanager
async def beside(work: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    task = asyncio.ensure_future(work())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
