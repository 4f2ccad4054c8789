"""Calls Eureka: tries several servers until one answers."""

from __future__ import annotations

import asyncio
import base64
import logging
import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Generic, NamedTuple, TypeVar
from urllib.parse import unquote, urlsplit

import aiohttp
from yarl import URL

from gateway.discovery.eureka.messages import BadRegistry
from gateway.name_threads import NameResolver
from gateway.observability.metrics import Metrics

log = logging.getLogger(__name__)

T = TypeVar("T")

MAX_ANSWER_BYTES: Final = 32 * 1024 * 1024
"""About 25,000 instances, after decompression."""
IN_THE_LOOP_BYTES: Final = 64 * 1024
CALL_SECONDS: Final = 5.0
CONNECT_SECONDS: Final = 2.0
RETURN_SECONDS: Final = 300.0
"""How long the gateway uses another server than the first before it tries the first one again."""


_AWAY: Final = frozenset({429, 502, 503, 504})
"""Statuses that a proxy sends if the server behind it is away, and that a server sends if it can't answer now."""


class EurekaAway(Exception):
    """No server sent a usable response. ``answered``: at least one sent an unusable one."""

    answered = False


class _Refused(Exception):
    """An unusable response. ``away``: it only says that the server is away."""

    def __init__(self, why: str, *, away: bool = False) -> None:
        super().__init__(why)
        self.away = away


class EurekaServer(NamedTuple):
    """One server. ``url`` ends in a slash. The credentials are in ``authorization``, not in ``url``."""

    url: str
    host: str
    port: int
    authorization: str | None

    @classmethod
    def parse(cls, url: str) -> EurekaServer:
        """Reads ``http://user:password@host:port/eureka/``, user and password percent-encoded or as they are."""
        parts = urlsplit(url)
        userinfo, _, place = parts.netloc.rpartition("@")
        authorization = None
        if userinfo:
            user, _, password = userinfo.partition(":")
            pair = f"{unquote(user)}:{unquote(password)}".encode()
            authorization = f"Basic {base64.b64encode(pair).decode()}"
        port = parts.port or (443 if parts.scheme == "https" else 80)
        path = parts.path.rstrip("/")
        return cls(f"{parts.scheme}://{place}{path}/", parts.hostname or "", port, authorization)


class EurekaResponse(NamedTuple, Generic[T]):
    """A response: the server that sent it, its status, and the parsed body of a 200 (None for another status)."""

    server: EurekaServer
    status: int
    content: T | None


class EurekaServers:
    """The servers in order of preference.

    The one that answered last is called first. After ``RETURN_SECONDS`` the first in the list is tried again. If none
    answers, a warning is logged once for all kinds of calls together, and a message once they answer again.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        urls: Sequence[str],
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.all = tuple(map(EurekaServer.parse, urls))
        self._session = session
        self._metrics = metrics
        self._clock = clock
        self._current = 0
        self._since = clock()
        self._failing: set[str] = set()

    async def ask(
        self,
        operation: str,
        method: str,
        path: str,
        statuses: frozenset[int],
        *,
        body: bytes | None = None,
        read: Callable[[bytes], T] | None = None,
    ) -> EurekaResponse[T]:
        """Calls one server after the other until one sends a usable response: its status is one of ``statuses``, and if
        that is 200, ``read`` accepts the body without a BadRegistry. ``operation`` is for metrics and the log.

        Raises EurekaAway if no server does.
        """
        reasons: list[str] = []
        away = EurekaAway()
        for index in self._order():
            server = self.all[index]
            try:
                status, data = await self._call(server, method, path, body)
                if status not in statuses:
                    raise _Refused(f"status {status}", away=status in _AWAY)
                content = None
                if read is not None and status == 200:
                    # Parsing a long body on the event loop would hold up all other requests.
                    aside = len(data) > IN_THE_LOOP_BYTES
                    content = await asyncio.to_thread(read, data) if aside else read(data)
            except (aiohttp.ClientError, OSError, BadRegistry, _Refused) as error:
                # Only the type of a library's error is logged, because its text may quote anything.
                why = str(error) if isinstance(error, _Refused | BadRegistry) else type(error).__name__
                reasons.append(f"{server.url}: {why}")
                away.answered = away.answered or _is_answer(error)
                continue
            self._answered(operation, index, reasons)
            return EurekaResponse(server, status, content)
        self._metrics.eureka_call(operation, "failed")
        level = logging.DEBUG if self._failing else logging.WARNING
        self._failing.add(operation)
        log.log(level, "no Eureka server answers (%s); retrying quietly", "; ".join(reasons))
        raise away

    def _order(self) -> Iterator[int]:
        if self._current and self._clock() - self._since > RETURN_SECONDS:
            self._current = 0
            self._since = self._clock()
        first = self._current
        yield first
        yield from (index for index in range(len(self.all)) if index != first)

    def _answered(self, operation: str, index: int, reasons: list[str]) -> None:
        self._metrics.eureka_call(operation, "ok")
        # Without reasons, this call had begun before another call switched to the next server.
        if reasons and index != self._current:
            log.info("going on with Eureka at %s (%s)", self.all[index].url, "; ".join(reasons))
            self._current = index
            self._since = self._clock()
        if operation in self._failing:
            self._failing.remove(operation)
            if not self._failing:
                log.info("Eureka at %s answers again", self.all[index].url)

    async def _call(
        self, server: EurekaServer, method: str, path: str, body: bytes | None
    ) -> tuple[int, bytes]:
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if server.authorization is not None:
            headers["Authorization"] = server.authorization
        async with (
            asyncio.timeout(CALL_SECONDS),
            self._session.request(
                method,
                URL(server.url + path, encoded=True),
                data=body,
                headers=headers,
                # Only the servers that the settings name may say where services are.
                allow_redirects=False,
            ) as response,
        ):
            data = bytearray()
            async for piece in response.content.iter_any():
                data += piece
                if len(data) > MAX_ANSWER_BYTES:
                    raise _Refused("too long an answer")
            return response.status, bytes(data)


def _is_answer(error: Exception) -> bool:
    """Whether the server was reachable, although the call failed."""
    if isinstance(error, _Refused):
        return not error.away
    sent = (aiohttp.ClientPayloadError, aiohttp.ClientResponseError, aiohttp.ClientSSLError)
    return isinstance(error, (BadRegistry, *sent))


def session() -> aiohttp.ClientSession:
    """A session for Eureka. Each call opens a new connection, so that none fails on one that the server has closed.
    The calls are few."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(force_close=True, ttl_dns_cache=10, resolver=NameResolver()),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
        trust_env=False,
    )


def pause(interval: float, failures: int) -> float:
    """Seconds until the next call: ``interval``, or after ``failures`` a shorter pause that doubles from half a second
    up to ``interval``. With jitter, so that gateways don't call at the same time."""
    return min(interval, 0.5 * 2.0 ** min(failures - 1, 20) if failures else interval) * random.uniform(
        0.8, 1.0
    )
