"""A gateway process in the middle of a small sale in which everything that is measured happens."""

from __future__ import annotations

import asyncio
import itertools
import socket
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from tests.support.gateway import ROUTES, Caller, a_service
from tests.support.gateway_process import GatewayProcess, gateway_process
from tests.support.tokens import Issuer, serving

TOKEN = "operator-token-of-the-test"
SETTINGS = {
    "ALLOWED_IN_MAX_CAPACITY": "2",
    "ALLOWED_IN_DURATION_SECONDS": "1.5",
    "QUEUE_ABSENT_SECONDS": "1",
    "QUEUE_HOLD_SECONDS": "2",
    "QUEUE_STATUS_INTERVAL_SECONDS": "0.05",
    "SSE_MAX_BUFFER_BYTES": "1",
    "MANAGEMENT_TOKEN": TOKEN,
    "LOG_FORMAT": "json",
    "ACCESS_LOG_USER": "hash",
    "METRICS_SPRING_NAMES": "true",
}
QUEUE = "/api/v1/queue"

Labels = frozenset[tuple[str, str]]


class Scrape:
    """Samples by name and labels."""

    def __init__(self, text: str) -> None:
        self._samples: dict[str, list[tuple[Labels, float]]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                self._samples.setdefault(sample.name, []).append(
                    (frozenset(sample.labels.items()), sample.value)
                )

    def value(self, name: str, **labels: str) -> float:
        """The sum of all samples of that name that have these labels; 0 of none."""
        wanted = frozenset(labels.items())
        return sum(value for having, value in self._samples.get(name, ()) if wanted <= having)

    def labels(self, name: str) -> set[str]:
        """The names of the labels of a metric."""
        return {label for having, _ in self._samples.get(name, ()) for label, _ in having}


class Scene:
    """The gateway that is watched, and the people in front of it."""

    def __init__(
        self, gateway: GatewayProcess, session: aiohttp.ClientSession, issuer: Issuer, stack: AsyncExitStack
    ) -> None:
        self.gateway = gateway
        self._session = session
        self._issuer = issuer
        self._stack = stack

    def user(self, name: str, **claims: object) -> Caller:
        return Caller(self._session, self.gateway.base, self._issuer.token(name, **claims))

    def with_token(self, token: str | None) -> Caller:
        return Caller(self._session, self.gateway.base, token)

    async def scrape(self, path: str = "/actuator/prometheus") -> Scrape:
        return Scrape((await self.with_token(None)("GET", path)).body.decode())

    async def play(self) -> None:
        """All of it, once."""
        await self._stop_reading()
        await self._ask()
        await self.sell()

    async def _ask(self) -> None:
        """Calls that are answered, refused and not answered; tokens of every kind."""
        nobody, someone = self.with_token(None), self.user("someone")
        for path in ("/api/v1/products/1", "/api/v1/products/2", "/nobody/x", "/refusing/x", "/nowhere"):
            await someone("GET", path)
        await nobody("POST", "/api/v1/reservations")
        await someone("POST", "/api/v1/reservations")
        now = int(time.time())
        await self.user("someone", exp=now - 600)("GET", f"{QUEUE}/status")
        await self.with_token("not.a.token")("GET", f"{QUEUE}/status")

    async def sell(self) -> None:
        """The room fills; people wait, move up, leave, stay away, are thrown out."""
        first, second = self.user("in-1"), self.user("in-2")
        await first.lineup()
        await second.lineup()
        waiting = [self.user(f"waiting-{number}") for number in range(6)]
        for one in waiting:
            await one.lineup()
        await waiting[0]("POST", "/api/v1/reservations")
        # One whose token has expired meanwhile, and who reconnects.
        stream = await self._stack.enter_async_context(
            self.user("waiting-5", exp=int(time.time()) - 600).stream()
        )
        await stream.until("STATUS_UPDATE")
        await first("POST", f"{QUEUE}/leave")
        operator = self.with_token(TOKEN)
        await operator("DELETE", "/actuator/rooms/default/users", params={"id": "waiting-1"})
        # Whoever watches no stream is parked. One of them returns, and the others lose the place.
        await self.user(await self._parked(operator, range(2, 5))).status()
        # The others' sessions end by time, and the one who watches a stream gets in.
        await stream.until("ALLOWED_IN", 20.0)
        # Everybody is out by now: a line that moves, with an estimate that can be wrong.
        await self._move_the_line()

    async def _parked(self, operator: Caller, numbers: Iterable[int]) -> str:
        """The first of these waiting users who is found parked. On a slow machine some may have been admitted."""
        names = itertools.cycle(f"waiting-{number}" for number in numbers)
        async with asyncio.timeout(20):
            for name in names:
                found = await operator("GET", "/actuator/rooms/default/users", params={"id": name})
                if found.json["data"]["state"] == "PARKED":
                    return name
        raise AssertionError("not reached")

    async def _move_the_line(self) -> None:
        crowd = [self.user(f"crowd-{number:02}") for number in range(14)]
        await self._until_empty()
        for one in crowd:
            await one.lineup()
        last = await self._stack.enter_async_context(crowd[-1].stream())
        for one in crowd[:-1]:
            # A place in line or a slot, whichever there is by now.
            await one("DELETE", f"{QUEUE}/allowed-in-token")
            await one("GET", "/api/v1/products/1")
            await asyncio.sleep(0.1)
        await last.until("ALLOWED_IN", 20.0)

    async def _until_empty(self) -> None:
        async with asyncio.timeout(20):
            while (await self.scrape()).value("gateway_room_allowed_in", room="default") > 0:
                await asyncio.sleep(0.1)

    async def _stop_reading(self) -> None:
        """A stream, in a room that lets nobody in, whose reader takes nothing until it is cut off."""
        stuck = self.user("stuck")
        await stuck.lineup(room="shut")
        sock = socket.socket()
        self._stack.callback(sock.close)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, ("127.0.0.1", self.gateway.port))
        head = (
            f"GET {QUEUE}/stream?room=shut HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {stuck.token}\r\n\r\n"
        )
        await loop.sock_sendall(sock, head.encode())


@asynccontextmanager
async def scene(
    folder: Path, redis_url: str, environ: Mapping[str, str] | None = None
) -> AsyncIterator[Scene]:
    """A gateway process with its services, and a second instance that has no keys and shares the room."""
    issuer = Issuer()
    async with AsyncExitStack() as stack:
        keys = await stack.enter_async_context(serving(issuer))
        service = await stack.enter_async_context(a_service())
        (folder / "routes.yaml").write_text(
            ROUTES % {"service": service.url} + "rooms:\n  shut: {capacity: 0}\n"
        )
        settings = {"REDIS_URL": redis_url, "JWT_JWKS_URI": keys.uri} | SETTINGS | dict(environ or {})
        gateway = await stack.enter_async_context(gateway_process(settings, folder))
        session = await stack.enter_async_context(
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        )
        yield Scene(gateway, session, issuer, stack)
