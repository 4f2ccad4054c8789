"""Connections to upstreams, made by aiohttp's connector, which resolves names and does TLS, and kept for reuse."""

from __future__ import annotations

import asyncio
import errno
import math
from functools import cached_property, lru_cache, partial
from types import TracebackType
from typing import Final, Self

from aiohttp import ClientError, ClientTimeout, TCPConnector
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ClientRequest, ConnectionKey
from aiohttp.connector import Connection
from yarl import URL

from gateway.errors import UpstreamError, UpstreamTimeout, UpstreamUnreachable
from gateway.proxy._aiohttp import connector_of, in_use
from gateway.proxy.connection import Handler, UpstreamConnection, drop_unsent
from gateway.proxy.load_balancer import UpstreamBase
from gateway.server.deadlines import Deadlines

IDLE_SECONDS: Final = 4.0
"""Below five seconds, the shortest keep-alive of common servers: the gateway closes first, so that a request rarely
meets a connection that is being closed from the other side."""

_DNS_SECONDS = 10
# Ours, not the instance's: it must not be set aside for them.
_LOCAL_FAULTS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EADDRNOTAVAIL})


class ConnectFailed(Exception):
    """No connection came about, so nothing was sent.

    ``error`` is what to tell if nobody else can be asked; ``instance_at_fault`` is false where the
    cause is on this side (file descriptors, the limit of connections).
    """

    def __init__(self, error: UpstreamError, *, instance_at_fault: bool) -> None:
        super().__init__(str(error))
        self.error = error
        self.instance_at_fault = instance_at_fault


class _Target(ClientRequest):
    """The argument ``connect`` wants: it says where to, and is never sent itself."""

    authority: bytes

    @cached_property
    def connection_key(self) -> ConnectionKey:
        return super().connection_key


class UpstreamPool:
    """Keeps connections to upstreams for reuse; an async context manager.

    Idle ones are kept here for ``idle`` seconds (0: not at all), the last used first out. aiohttp's connector would
    look at each of them twice per request.
    """

    def __init__(self, idle: float = IDLE_SECONDS) -> None:
        self.keep(idle)
        # Bounded, because instances from a registry come and go.
        self._target = lru_cache(maxsize=1024)(_target)
        self._idle: dict[UpstreamBase, list[tuple[Connection, float]]] = {}
        self._closer: asyncio.TimerHandle | None = None
        self._leaving: set[asyncio.Transport] = set()
        """Connections that are ending, for as long as the upstream may take."""

    async def __aenter__(self) -> Self:
        self._connector = self._make_connector()
        self._deadlines = Deadlines()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._target.cache_clear()
        self._deadlines.close()
        if self._closer is not None:
            self._closer.cancel()
        self._close_idle(before=math.inf)
        # Closed in order, they would wait for services to take what was sent last, which some never do.
        for transport in [*self._leaving, *in_use(self._connector)]:
            drop_unsent(transport)
        self._leaving.clear()
        await self._connector.close()

    def keep(self, idle: float) -> None:
        """Keeps idle connections for so many seconds from now on, those that are idle already included."""
        self._idle_seconds = idle
        self._look_seconds = max(idle / 4, 0.02)

    def _make_connector(self) -> TCPConnector:
        return connector_of(partial(Handler, loop=asyncio.get_running_loop()), dns_seconds=_DNS_SECONDS)

    async def connect(self, base: UpstreamBase, seconds: float, *, fresh: bool = False) -> UpstreamConnection:
        """Return a connection to ``base`` within ``seconds``; ``fresh`` never takes a pooled one.

        Raises ConnectFailed.
        """
        loop = asyncio.get_running_loop()
        target = self._target(base)
        rest = partial(self._rest, base)
        idle = () if fresh else self._idle.get(base, ())
        while idle:
            connection, since = idle.pop()
            protocol: Handler = connection.protocol  # type: ignore[assignment]
            if _usable(protocol) and loop.time() - since < self._idle_seconds:
                return UpstreamConnection(
                    connection, protocol, target.authority, self._deadlines, rest, self._linger
                )
            connection.close()
        try:
            connection = await self._connector.connect(target, [], _timeouts(seconds))
        except TimeoutError as exc:
            raise ConnectFailed(UpstreamTimeout("connect"), instance_at_fault=True) from exc
        except (ClientError, OSError, UnicodeError) as exc:  # the last one for a name that can't be looked up
            raise _connect_failed(exc) from exc
        protocol = connection.protocol  # type: ignore[assignment]
        return UpstreamConnection(connection, protocol, target.authority, self._deadlines, rest, self._linger)

    def _rest(self, base: UpstreamBase, connection: Connection) -> None:
        """Keeps a connection that can serve again, for a while."""
        if not self._idle_seconds:
            connection.close()
            return
        loop = asyncio.get_running_loop()
        self._idle.setdefault(base, []).append((connection, loop.time()))
        if self._closer is None:
            self._closer = loop.call_later(self._look_seconds, self._close_old)

    def _linger(self, transport: asyncio.Transport, seconds: float) -> None:
        self._leaving.add(transport)

        def ended() -> None:
            self._leaving.discard(transport)
            drop_unsent(transport)

        self._deadlines.set(transport, seconds, ended)

    def _close_old(self) -> None:
        loop = asyncio.get_running_loop()
        self._close_idle(before=loop.time() - self._idle_seconds)
        self._closer = loop.call_later(self._look_seconds, self._close_old) if self._idle else None

    def _close_idle(self, before: float) -> None:
        """Closes what has been idle since before then; what the other side has closed goes as well."""
        for base, idle in list(self._idle.items()):
            kept = []
            for connection, since in idle:
                protocol = connection.protocol
                if since >= before and protocol is not None and _usable(protocol):
                    kept.append((connection, since))
                else:
                    connection.close()
            if kept:
                self._idle[base] = kept
            else:
                del self._idle[base]


def _usable(protocol: ResponseHandler) -> bool:
    """Whether a request may go out: for a moment a connection that is closing does not say ``should_close`` yet."""
    return protocol.is_connected() and not protocol.should_close


def _connect_failed(exc: ClientError | OSError | UnicodeError) -> ConnectFailed:
    number = getattr(exc, "errno", None)
    error: UpstreamError = UpstreamUnreachable(f"connecting: {type(exc).__name__} {number}")
    if number == errno.ETIMEDOUT:
        error = UpstreamTimeout("connect")
    return ConnectFailed(error, instance_at_fault=number not in _LOCAL_FAULTS)


def _target(base: UpstreamBase) -> _Target:
    url = URL.build(scheme=base.scheme, host=base.host, port=base.port)
    target = _Target("GET", url, loop=asyncio.get_running_loop())
    target.authority = base.authority
    return target


@lru_cache(maxsize=64)
def _timeouts(connect: float) -> ClientTimeout:
    return ClientTimeout(total=None, connect=connect, sock_connect=connect, ceil_threshold=3600)
