"""Connections to upstreams, kept for reuse. aiohttp's connector creates them, with name resolution and TLS."""

from __future__ import annotations

import asyncio
import errno
import math
from functools import cached_property, lru_cache, partial
from types import TracebackType
from typing import Final, Self, cast

from aiohttp import ClientError, ClientTimeout, TCPConnector
from aiohttp.client_reqrep import ClientRequest, ConnectionKey
from aiohttp.connector import Connection
from yarl import URL

from gateway.errors import UpstreamError, UpstreamTimeout, UpstreamUnreachable
from gateway.proxy._aiohttp import acquired_transports, make_connector
from gateway.proxy.connection import UpstreamConnection
from gateway.proxy.upstream import UpstreamBase
from gateway.proxy.upstream_protocol import UpstreamProtocol
from gateway.proxy.whole_answers import WholeAnswerParser
from gateway.server.deadlines import Deadlines
from gateway.server.socket_buffer import abort_if_unsent
from gateway.service_tls import ServiceTls

IDLE_SECONDS: Final = 4.0
"""Below five seconds, the shortest keep-alive of common servers. So the gateway closes first, and a request is rarely
sent on a connection that the other side is closing."""

_DNS_SECONDS = 10
# Errors of this machine, not of the instance: they must not eject the instance.
_LOCAL_ERRNOS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EADDRNOTAVAIL})


# Connections that differ in TLS are never mixed. The instance alone is the key of those that have no TLS of their own.
_Key = UpstreamBase | tuple[UpstreamBase, ServiceTls]


class ConnectFailed(Exception):
    """No connection could be made, so nothing was sent.

    ``error`` is the error to report if no other instance can be tried. ``instance_failed`` is false if the cause is
    on this side (file descriptors, the limit of connections).
    """

    def __init__(self, error: UpstreamError, *, instance_failed: bool) -> None:
        super().__init__(str(error))
        self.error = error
        self.instance_failed = instance_failed


class _ConnectTarget(ClientRequest):
    """The argument of the connector's ``connect``: it only says where to connect, and is never sent."""

    @cached_property
    def connection_key(self) -> ConnectionKey:
        return super().connection_key


class UpstreamPool:
    """Keeps connections to upstreams for reuse; an async context manager.

    The pool itself keeps idle connections for ``idle`` seconds (0: not at all), and reuses the latest first. aiohttp's
    connector would check each of them twice per request.
    """

    def __init__(self, idle: float = IDLE_SECONDS) -> None:
        self.set_idle_seconds(idle)
        # Bounded, because a registry's instances come and go.
        self._target = lru_cache(maxsize=1024)(_target)
        self._idle: dict[_Key, list[tuple[Connection, UpstreamProtocol, float]]] = {}
        self.in_use: dict[UpstreamBase, int] = {}
        """How many connections to each instance carry a request; instances without any are left out."""
        self._closer: asyncio.TimerHandle | None = None
        self._lingering: set[asyncio.Transport] = set()
        """Connections that are closing, for as long as the upstream may take."""

    async def __aenter__(self) -> Self:
        self._connector = self._make_connector()
        self.deadlines = Deadlines()
        self._loop = asyncio.get_running_loop()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._target.cache_clear()
        self.deadlines.close()
        if self._closer is not None:
            self._closer.cancel()
        self._close_idle(before=math.inf)
        # A graceful close would wait for services to take the last bytes, which some never do.
        for transport in [*self._lingering, *acquired_transports(self._connector)]:
            abort_if_unsent(transport)
        self._lingering.clear()
        await self._connector.close()

    def set_idle_seconds(self, idle: float) -> None:
        """Keeps idle connections for ``idle`` seconds from now on, including those already idle."""
        self._idle_seconds = idle
        self._check_seconds = max(idle / 4, 0.02)

    def _make_connector(self) -> TCPConnector:
        loop = asyncio.get_running_loop()
        return make_connector(
            partial(UpstreamProtocol, loop=loop, whole_answers=WholeAnswerParser(loop)),
            dns_seconds=_DNS_SECONDS,
        )

    async def connect(
        self, base: UpstreamBase, seconds: float, *, fresh: bool = False, tls: ServiceTls | None = None
    ) -> UpstreamConnection:
        """Returns a connection to ``base`` within ``seconds``; with ``fresh`` never a reused one. ``tls``: how TLS is
        spoken to an ``https`` instance, if that is not as the system's certificates say.

        Raises ConnectFailed.
        """
        kept = None if fresh else self.idle(base, tls)
        if kept is not None:
            return kept
        if base.scheme != "https":
            tls = None
        try:
            connection = await self._connector.connect(self._target(base, tls), [], _timeouts(seconds))
        except TimeoutError as exc:
            raise ConnectFailed(UpstreamTimeout("connect"), instance_failed=True) from exc
        except (ClientError, OSError, UnicodeError) as exc:  # UnicodeError: a name that can't be looked up
            raise _connect_failed(exc) from exc
        protocol = cast(UpstreamProtocol, connection.protocol)
        protocol.base = base
        protocol.tls = tls
        protocol.authority = base.authority
        return self._use(connection, protocol)

    def _use(self, connection: Connection, protocol: UpstreamProtocol) -> UpstreamConnection:
        base = protocol.base
        self.in_use[base] = self.in_use.get(base, 0) + 1
        return UpstreamConnection(connection, protocol, self)

    def ended(self, base: UpstreamBase) -> None:
        """A connection to this instance is no longer in use."""
        left = self.in_use[base] - 1
        if left:
            self.in_use[base] = left
        else:
            del self.in_use[base]

    def idle(self, base: UpstreamBase, tls: ServiceTls | None = None) -> UpstreamConnection | None:
        """The idle connection to ``base`` that was used last; None if there is none that can be used. ``tls`` as in
        ``connect``."""
        idle = self._idle.get(base if tls is None or base.scheme != "https" else (base, tls))
        if idle:
            now = self._loop.time()
            while idle:
                connection, protocol, since = idle.pop()
                if _usable(protocol) and now - since < self._idle_seconds:
                    return self._use(connection, protocol)
                connection.close()
        return None

    def take_back(self, connection: Connection, protocol: UpstreamProtocol) -> None:
        """Keeps a connection that can be used again, for a limited time."""
        self.ended(protocol.base)
        if not self._idle_seconds:
            connection.close()
            return
        loop = self._loop
        entry = connection, protocol, loop.time()
        key = protocol.base if protocol.tls is None else (protocol.base, protocol.tls)
        idle = self._idle.get(key)
        if idle is None:
            self._idle[key] = [entry]
        else:
            idle.append(entry)
        if self._closer is None:
            self._closer = loop.call_later(self._check_seconds, self._close_expired)

    def linger(self, transport: asyncio.Transport, seconds: float) -> None:
        """Makes sure that a closing connection has ended after so many seconds."""
        self._lingering.add(transport)

        def ended() -> None:
            self._lingering.discard(transport)
            abort_if_unsent(transport)

        self.deadlines.set(transport, seconds, ended)

    def _close_expired(self) -> None:
        loop = asyncio.get_running_loop()
        self._close_idle(before=loop.time() - self._idle_seconds)
        self._closer = loop.call_later(self._check_seconds, self._close_expired) if self._idle else None

    def _close_idle(self, before: float) -> None:
        """Closes connections that have been idle since before ``before``, and drops those that the other side has
        closed."""
        for key, idle in list(self._idle.items()):
            kept = []
            for connection, protocol, since in idle:
                if since >= before and _usable(protocol):
                    kept.append((connection, protocol, since))
                else:
                    connection.close()
            if kept:
                self._idle[key] = kept
            else:
                del self._idle[key]


def _usable(protocol: UpstreamProtocol) -> bool:
    """Whether a request may be sent. For a moment, a closing connection does not report ``should_close`` yet."""
    transport = protocol.transport
    return transport is not None and not (transport.is_closing() or protocol.should_close)


def _connect_failed(exc: ClientError | OSError | UnicodeError) -> ConnectFailed:
    number = getattr(exc, "errno", None)
    error: UpstreamError = UpstreamUnreachable(f"connecting: {type(exc).__name__} {number}", "connect")
    if number == errno.ETIMEDOUT:
        error = UpstreamTimeout("connect")
    return ConnectFailed(error, instance_failed=number not in _LOCAL_ERRNOS)


def _target(base: UpstreamBase, tls: ServiceTls | None) -> _ConnectTarget:
    url = URL.build(scheme=base.scheme, host=base.address or base.host, port=base.port)
    # With one of the host's addresses nothing is looked up, and the certificate must still be that of the host.
    name = base.host if base.address else None
    loop = asyncio.get_running_loop()
    if tls is None:
        return _ConnectTarget("GET", url, loop=loop, server_hostname=name)
    return _ConnectTarget("GET", url, loop=loop, ssl=tls.context, server_hostname=tls.server_name or name)


@lru_cache(maxsize=64)
def _timeouts(connect: float) -> ClientTimeout:
    return ClientTimeout(total=None, connect=connect, sock_connect=connect, ceil_threshold=3600)
