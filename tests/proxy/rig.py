"""A bare gateway: the Forwarder behind a server, without application, routes and middlewares."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
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
from gateway.proxy.forward import REPEATABLE_METHODS, Forwarder
from gateway.proxy.forwarded import direct_origin
from gateway.proxy.headers import upstream_headers
from gateway.proxy.load_balancer import Instances
from gateway.proxy.plan import ForwardPlan
from gateway.proxy.pool import IDLE_SECONDS, UpstreamPool
from gateway.proxy.response import ForwardedResponse
from gateway.proxy.uploads import Uploads
from gateway.proxy.upstream import UpstreamBase
from gateway.proxy.websocket import Tunnels
from gateway.server.limits import SERVER_OPTIONS
from gateway.server.listener import Server
from tests.support.listening import listening
from tests.support.raw_http import OK, READ_BYTES, SECONDS, Client, Peer, Upstream

_STATUS = {
    BadRequest: 400,
    RequestTimeout: 408,
    PayloadTooLarge: 413,
    TooManySlowUploads: 429,
    UpstreamUnreachable: 502,
    NoInstance: 503,
    Overloaded: 503,
    UpstreamTimeout: 504,
}


@asynccontextmanager
async def aiohttp_upstream(
    handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
) -> AsyncIterator[UpstreamBase]:
    """A service that is an aiohttp server."""
    server = web.Server(handler, access_log=None, auto_decompress=False)
    async with listening(web.ServerRunner(server, shutdown_timeout=1.0)) as url:
        yield UpstreamBase.parse(url)


@dataclass
class Gateway:
    """A server that forwards all it gets. ``plan`` has further fields of each call's plan and may be changed."""

    pool: UpstreamPool
    instances: Instances
    plan: dict[str, Any]
    url: str = ""
    outcomes: asyncio.Queue[web.StreamResponse | BaseException] = field(default_factory=asyncio.Queue)
    """How each call ended, in that order: the answer that was forwarded, the error, or the cancellation."""
    errors: list[GatewayError] = field(default_factory=list)
    """The errors among them."""

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    async def outcome(self) -> web.StreamResponse | BaseException:
        """How the next call ended."""
        async with asyncio.timeout(SECONDS):
            return await self.outcomes.get()

    async def response(self) -> ForwardedResponse:
        """The answer that was forwarded of the next call."""
        outcome = await self.outcome()
        assert isinstance(outcome, ForwardedResponse)
        return outcome

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        """A connection to it."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=READ_BYTES)
        try:
            yield Client(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


@asynccontextmanager
async def gateway_to(
    base: UpstreamBase | str,
    *,
    services: dict[str, list[str]] | None = None,
    uploads: Uploads | None = None,
    repeatable: Collection[str] = REPEATABLE_METHODS,
    idle: float = IDLE_SECONDS,
    guarded: bool = True,
    **plan: Any,
) -> AsyncIterator[Gateway]:
    """Runs one in front of ``base``; ``plan`` has further fields of the plan. Errors are answered with their code.

    Without ``guarded`` the server is aiohttp's, so that requests which the gateway's own server would refuse come to
    the Forwarder.
    """
    async with UpstreamPool(idle) as pool:
        gateway = Gateway(pool, Instances(services), {"base": base, **plan})
        forwarder = Forwarder(pool, gateway.instances, Tunnels(10, 0), uploads=uploads, repeatable=repeatable)

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            headers = upstream_headers(
                request.raw_headers,
                direct_origin(request.remote or "", "http", request.headers.get("Host", "")),
                peer_trusted=False,
            )
            target = {"target": request.raw_path, "headers": headers}
            try:
                answer = await forwarder.forward(request, ForwardPlan("route", **target | gateway.plan))
            except GatewayError as error:
                gateway.errors.append(error)
                gateway.outcomes.put_nowait(error)
                refusal = web.Response(status=_STATUS[type(error)], text=error.code)
                refusal.force_close()
                return refusal
            except BaseException as error:
                gateway.outcomes.put_nowait(error)
                raise
            gateway.outcomes.put_nowait(answer)
            return answer

        server = Server(handle) if guarded else web.Server(handle, access_log=None, **SERVER_OPTIONS)
        async with listening(web.ServerRunner(server, shutdown_timeout=1.0)) as gateway.url:
            yield gateway


async def keeping(upstream: Upstream, peer: Peer) -> None:
    """Reads whatever comes, and answers once it has a whole body of a length, as a server with threads does."""
    while True:
        head = await peer.head()
        upstream.heads.append(head)
        left = int((head.all("Content-Length") or ["0"])[0])
        while left:
            data = await peer.reader.read(min(left, 65536))
            if not data:
                return
            left -= len(data)
        peer.send(OK)
