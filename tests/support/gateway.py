"""A whole gateway inside the test's own process, over real HTTP, with real services behind it."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import aiohttp
from aiohttp import web

from gateway.app import KEY_RING, create_app
from gateway.context import CONFIGURATION, ROOMS, VISITORS
from gateway.serve import runner_of
from gateway.server.connection import Guard
from gateway.server.listener import Server
from gateway.settings.model import Settings
from tests.support.listening import listening
from tests.support.raw_http import Client, connected
from tests.support.tokens import Issuer, KeyServer, serving
from tests.support.waiting import eventually

ROUTES = """
routes:
  - id: reservations
    uri: lb://reservations
    predicates: ["Path=/api/v1/reservations/**"]
  - id: seats
    uri: lb://reservations
    predicates: ["Path=/api/v1/reservation-seats/**"]
  - id: products
    uri: lb://reservations
    predicates: ["Path=/api/v1/products/**"]
  - id: alias
    uri: lb://reservations
    predicates: ["Path=/shop/**"]
    filters: ["RewritePath=/shop/(?<rest>.*), /api/v1/$\\\\{rest}"]
  - id: nobody
    uri: lb://nobody
    predicates: ["Path=/nobody/**"]
  - id: refusing
    uri: http://127.0.0.1:1
    predicates: ["Path=/refusing/**"]
services:
  reservations: ["%(service)s"]
gates:
  - calls: [POST /api/v1/reservations, POST /api/v1/reservation-seats/**]
access:
  public: [GET /api/v1/products, GET /api/v1/products/*]
"""


@dataclass
class Service:
    """A service that remembers what it was sent and answers 200 with it, and with the header ``X-Long`` where it was
    asked for one of so many characters; WebSockets echo what they are sent. ``answers``: statuses and headers of the
    next answers."""

    url: str = ""
    seen: list[dict[str, Any]] = field(default_factory=list)
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if "Upgrade" in request.headers:
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            async for message in socket:
                await socket.send_str(message.data)
            return socket
        body = await request.read()
        self.seen.append(
            {
                "method": request.method,
                "target": request.raw_path,
                "headers": [(k.decode(), v.decode()) for k, v in request.raw_headers],
                "body": body.decode("latin-1"),
            }
        )
        if self.answers:
            status, headers = self.answers.pop(0)
            return web.json_response(self.seen[-1], status=status, headers=headers)
        long = request.headers.get("X-Long", "")
        return web.json_response(self.seen[-1], headers={"X-Long": "x" * int(long)} if long else None)


@asynccontextmanager
async def a_service() -> AsyncIterator[Service]:
    """A running ``Service``."""
    service = Service()
    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{path:.*}", service.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    async with listening(runner) as service.url:
        yield service


class Caller:
    """One user with a token, talking to one gateway."""

    def __init__(self, session: aiohttp.ClientSession, base: str, token: str | None) -> None:
        self._session = session
        self.base = base
        self.token = token

    async def __call__(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **options: Any
    ) -> Answer:
        """Sends a request and reads the whole answer."""
        own = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        async with self._session.request(
            method, self.base + path, headers=own | dict(headers or {}), allow_redirects=False, **options
        ) as response:
            return Answer(response.status, response.headers, await response.read())

    async def lineup(self, **query: str) -> Answer:
        return await self("POST", "/api/v1/queue/lineup", params=query)

    async def status(self, **query: str) -> Answer:
        return await self("GET", "/api/v1/queue/status", params=query)

    @asynccontextmanager
    async def stream(
        self, *, headers: Mapping[str, str] | None = None, path: str = "/api/v1/queue/stream"
    ) -> AsyncIterator[Stream]:
        """Opens a stream."""
        own = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        async with self._session.get(self.base + path, headers=own | dict(headers or {})) as response:
            yield Stream(response)


@dataclass
class Answer:
    """A whole answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The error's code."""
        return str(self.json["error"]["code"])


@dataclass
class Event:
    """One event of a stream; comments are events without a name."""

    name: str = ""
    data: Any = None
    id: str = ""
    retry: int | None = None
    comment: str = ""


class Stream:
    """Reads events as they come."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self.status = response.status

    async def next(self, seconds: float = 10.0) -> Event | None:
        """The next event or comment; None at the end of the stream."""
        event = Event()
        empty = True
        async with asyncio.timeout(seconds):
            async for raw in self.response.content:
                line = raw.decode().rstrip("\r\n")
                if not line:
                    if not empty:
                        return event
                    continue
                empty = False
                key, _, value = line.partition(":")
                value = value.removeprefix(" ")
                if key == "event":
                    event.name = value
                elif key == "data":
                    event.data = json.loads(value)
                elif key == "id":
                    event.id = value
                elif key == "retry":
                    event.retry = int(value)
                elif key == "":
                    event.comment = value
        return None

    async def until(self, name: str, seconds: float = 10.0) -> Event:
        """The next event of that name."""
        async with asyncio.timeout(seconds):
            while (event := await self.next(seconds)) is not None:
                if event.name == name:
                    return event
        raise AssertionError(f"the stream ended without {name}")


@dataclass
class Running:
    """A gateway that is up, and what belongs to it."""

    base: str
    app: web.Application
    runner: web.AppRunner
    session: aiohttp.ClientSession
    issuer: Issuer
    keys: KeyServer
    routes_file: Path

    def user(self, name: str, **claims: Any) -> Caller:
        """A caller with a token of that user."""
        return Caller(self.session, self.base, self.issuer.token(name, **claims))

    def with_token(self, token: str | None) -> Caller:
        return Caller(self.session, self.base, token)

    @property
    def nobody(self) -> Caller:
        """A caller without a token."""
        return Caller(self.session, self.base, None)

    async def keys_known(self) -> None:
        """Waits until the gateway has keys to sign with; until then its answers carry no pass."""
        await self.nobody("GET", "/api/v1/queue/pass-keys.json")
        await eventually(lambda: self.app[KEY_RING].known, what="keys to sign with")


def settings_for(redis_url: str, keys: str, routes_file: Path, **changes: object) -> Settings:
    """Settings as an operator would give them, nothing of the machine's environment in them."""
    environ = {
        "SERVER_HOST": "127.0.0.1",
        "REDIS_URL": redis_url,
        "JWT_JWKS_URI": keys,
        "ROUTES_FILE": str(routes_file),
        "EUREKA_CLIENT_SERVICEURL_DEFAULTZONE": "",
        "ZIPKIN_ENDPOINT": "",
        "SPRING_CONFIG_IMPORT": "",
        "ALLOWED_IN_MAX_CAPACITY": "1",
        "DEFAULT_LOCALE": "en",
        "OVERLOAD_LAG_MS": "0",
        "ACCESS_LOG": "false",
    }
    environ.update({name.upper(): str(value) for name, value in changes.items()})
    return Settings.from_env(environ)


class Gateways:
    """Starts gateways for one test; all share the issuer, the key server and the services."""

    def __init__(self, folder: Path, redis_url: str) -> None:
        self.issuer = Issuer()
        self.folder = folder
        self.redis_url = redis_url
        self._stack = AsyncExitStack()
        self._started = 0

    async def __aenter__(self) -> Self:
        self.keys = await self._stack.enter_async_context(serving(self.issuer))
        self.service = await self._stack.enter_async_context(a_service())
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    async def start(self, routes: str = ROUTES, **changes: object) -> Running:
        """A gateway with these routes (``%(service)s`` is the service's URL) and settings."""
        return await self._stack.enter_async_context(self.running(routes, **changes))

    @asynccontextmanager
    async def running(self, routes: str = ROUTES, **changes: object) -> AsyncIterator[Running]:
        self._started += 1
        routes_file = self.folder / f"routes-{self._started}.yaml"
        routes_file.write_text(routes % {"service": self.service.url}, encoding="utf-8")
        settings = settings_for(self.redis_url, self.keys.uri, routes_file, **changes)
        app = create_app(settings, {})
        runner = runner_of(app)
        async with (
            listening(runner) as base,
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                timeout=aiohttp.ClientTimeout(total=20),
                auto_decompress=False,
            ) as session,
        ):
            await app[ROOMS].subscription.listening.wait()
            if app[CONFIGURATION].tables.current.table.visitor_rooms:
                await eventually(lambda: app[VISITORS].known)
            yield Running(base, app, runner, session, self.issuer, self.keys, routes_file)


@asynccontextmanager
async def deaf_client(gateway: Running) -> AsyncIterator[tuple[Client, Guard]]:
    """A client that does not read for now, on a connection whose systems keep little; and the connection's guard."""
    server = gateway.runner.server
    assert isinstance(server, Server)
    before = set(server.guards)
    async with connected(gateway.base, receive_bytes=64 * 1024) as client:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await eventually(lambda: server.guards - before)
        [guard] = server.guards - before
        assert guard.transport is not None
        sock = guard.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 128 * 1024)
        yield client, guard
