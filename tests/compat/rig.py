"""A gateway process with a service, an auth server and a Redis, for one test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from aiohttp import WSMsgType, web

from tests.support.gateway import Caller
from tests.support.gateway_process import GatewayProcess, gateway_process
from tests.support.listening import listening
from tests.support.raw_http import Client, connected
from tests.support.tokens import Issuer, serving

ROUTES = """
routes:
  - id: shop
    uri: lb://shop
    predicates: ["Path=/shop/**"]
    filters: [StripPrefix=1, "AddResponseHeader=X-Route, shop"]
  - {id: buy, uri: "lb://shop", predicates: ["Path=/buy/**"]}
  - {id: refusing, uri: "http://127.0.0.1:1", predicates: ["Path=/refusing/**"]}
services:
  shop: ["%s"]
gates:
  - {room: default, calls: ["POST /buy/**"]}
access:
  public: ["/shop/**", "/refusing/**"]
"""

PIECE = bytes(range(256)) * 256
PIECES = 32
"""A large body is so many pieces of 64 KiB."""


@dataclass
class Shop:
    """The service. ``sent_on`` is set for the stream to go on; ``peers`` are the connections it was called on."""

    url: str = ""
    sent_on: asyncio.Event = field(default_factory=asyncio.Event)
    peers: set[object] = field(default_factory=set)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.peers.add(request.transport and request.transport.get_extra_info("peername"))
        match request.path:
            case "/socket":
                return await self._socket(request)
            case "/large":
                return await self._large(request)
            case "/stream":
                return await self._stream(request)
            case "/none":
                return web.Response(status=204)
        body = await request.read()
        return web.Response(body=request.method.encode() + b" " + body)

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=("chat",))
        await socket.prepare(request)
        async for message in socket:
            if message.data == "bye":
                await socket.close(code=4000)
            elif message.type is WSMsgType.TEXT:
                await socket.send_str(message.data)
            elif message.type is WSMsgType.BINARY:
                await socket.send_bytes(message.data)
        return socket

    async def _large(self, request: web.Request) -> web.StreamResponse:
        received = await request.read()
        response = web.StreamResponse()
        if "length" in request.query:
            response.content_length = len(PIECE) * PIECES
        response.headers["X-Received"] = str(len(received))
        await response.prepare(request)
        for _ in range(PIECES):
            await response.write(PIECE)
        return response

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"data: 1\n\n")
        await self.sent_on.wait()
        await response.write(b"data: 2\n\n")
        return response


@dataclass
class Site:
    """What belongs to one test. ``gateways`` share the Redis."""

    session: aiohttp.ClientSession
    issuer: Issuer
    shop: Shop
    gateways: list[GatewayProcess]

    @property
    def base(self) -> str:
        return self.gateways[0].base

    def user(self, name: str, gateway: int = 0) -> Caller:
        """A caller with a token of that user, at one of the gateways."""
        return Caller(self.session, self.gateways[gateway].base, self.issuer.token(name))

    def bearer(self, token: str | None) -> Caller:
        """A caller with this token, or with none."""
        return Caller(self.session, self.base, token)

    def connection(self) -> AbstractAsyncContextManager[Client]:
        """One connection to the gateway, on which the test says the bytes itself."""
        return connected(self.base)


@asynccontextmanager
async def a_site(
    folder: Path, redis_url: str, *, gateways: int = 1, algorithms: Sequence[str] = ("RS256",), **environ: str
) -> AsyncIterator[Site]:
    """Starts it all. Whatever Python warns of in a gateway ends it, and with it the test."""
    issuer, shop = Issuer(algorithm=algorithms[0]), Shop()
    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{path:.*}", shop.handle)
    async with AsyncExitStack() as stack:
        keys = await stack.enter_async_context(serving(issuer))
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        shop.url = await stack.enter_async_context(listening(runner))
        (folder / "routes.yaml").write_text(ROUTES % shop.url)
        settings = {
            "REDIS_URL": redis_url,
            "JWT_JWKS_URI": keys.uri,
            "JWT_ALGORITHMS": ",".join(algorithms),
            "ALLOWED_IN_MAX_CAPACITY": "1",
            "OVERLOAD_LAG_MS": "0",
            **environ,
        }
        running = [
            await stack.enter_async_context(gateway_process(settings, folder, wait=False))
            for _ in range(gateways)
        ]
        for gateway in running:
            await gateway.ready()
        session = await stack.enter_async_context(
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20), auto_decompress=False)
        )
        yield Site(session, issuer, shop, running)
