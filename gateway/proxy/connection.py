"""Pooled connections to upstreams: the only module that touches inner parts of aiohttp's client.

aiohttp's connector keeps the pool, resolves names and does TLS; its connection's own parser reads the
answers. What its ``ClientSession`` adds on top (building requests, redirects, cookies, proxies from the
environment, silent repeats) is what a gateway must not have, and most of its cost.

Inner parts relied on, all of aiohttp 3.14: ``BaseConnector.connect`` and ``_factory``;
``ResponseHandler.set_response_params``, ``read``, ``should_close``, ``_payload``, ``_parser`` and
``_drain_helper``; ``ClientRequest.connection_key``.
"""

from __future__ import annotations

import asyncio
import errno
from functools import cached_property, lru_cache, partial
from types import TracebackType
from typing import Any, Self

from aiohttp import ClientError, ClientOSError, ClientTimeout, TCPConnector
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ClientRequest, ConnectionKey
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError, RawResponseMessage
from aiohttp.streams import EMPTY_PAYLOAD, EofStream, StreamReader
from yarl import URL

from gateway.errors import UpstreamError, UpstreamTimeout, UpstreamUnreachable
from gateway.proxy.deadlines import Deadlines
from gateway.proxy.upstream import UpstreamBase

# What an answer may wait for us in memory, per connection, is twice this plus one read of the socket.
_READ_BUFFER_BYTES = 64 * 1024
# Services' heads are trusted more than clients': long cookies and policies are common in them.
_HEAD_LINE_BYTES = 32 * 1024
_HEAD_LINES = 256
# Below five seconds, the shortest keep-alive of common servers: we close first, so that a request
# rarely meets a connection that is being closed from the other side.
_IDLE_SECONDS = 4.0
_DNS_SECONDS = 10
# Ours, not the instance's: it must not be set aside for them.
_LOCAL_FAULTS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EADDRNOTAVAIL})
_BROKEN = (ClientError, HttpProcessingError, OSError, EofStream)


class ConnectFailed(Exception):
    """No connection came about, so nothing was sent.

    ``error`` is what to tell if nobody else can be asked; ``instance_at_fault`` is false where the
    cause is on this side (file descriptors, the limit of connections).
    """

    def __init__(self, error: UpstreamError, *, instance_at_fault: bool) -> None:
        super().__init__(str(error))
        self.error = error
        self.instance_at_fault = instance_at_fault


class _Handler(ResponseHandler):
    """A connection's protocol that knows whether it served before and never leaves a reader waiting."""

    served = False

    def set_exception(self, exc: BaseException, *cause: BaseException) -> None:
        """Also end the body being read: on a malformed chunk aiohttp tells only who waits for a head."""
        body = self._payload
        super().set_exception(exc, *cause)
        if body is not None and not body.is_eof() and body.exception() is None:
            body.set_exception(exc)


class _Target(ClientRequest):
    """The argument ``connect`` wants: it says where to, and is never sent itself."""

    authority: bytes

    @cached_property
    def connection_key(self) -> ConnectionKey:
        return super().connection_key


class UpstreamConnection:
    """One request and its answer on one connection; ends with ``release`` or ``close``.

    ``authority`` is what ``Host`` says for the instance. ``reused``: it carried an answer before, and may
    have been ended by the upstream since. ``answered``: a final head has been read.
    """

    __slots__ = (
        "_body",
        "_connection",
        "_deadlines",
        "_protocol",
        "_until_close",
        "answered",
        "authority",
        "reused",
    )

    def __init__(
        self, connection: Connection, protocol: _Handler, authority: bytes, deadlines: Deadlines
    ) -> None:
        self._connection: Connection | None = connection
        self._protocol = protocol
        self._deadlines = deadlines
        self._body: StreamReader = EMPTY_PAYLOAD
        self._until_close = False
        self.authority = authority
        self.reused = protocol.served
        self.answered = False

    def begin(self, *, body_follows: bool) -> None:
        """Make ready to read one answer; ``body_follows`` is false for HEAD. Call before ``send``."""
        self._protocol.set_response_params(
            skip_payload=not body_follows,
            read_until_eof=True,
            auto_decompress=False,
            read_bufsize=_READ_BUFFER_BYTES,
            max_line_size=_HEAD_LINE_BYTES,
            max_field_size=_HEAD_LINE_BYTES,
            max_headers=_HEAD_LINES,
        )

    def send(self, data: bytes) -> None:
        """Write without waiting. Raises UpstreamUnreachable if the connection is gone."""
        transport = self._protocol.transport
        if transport is None or transport.is_closing():
            raise UpstreamUnreachable("the connection was lost while sending")
        transport.write(data)

    async def drain(self, seconds: float) -> None:
        """Wait until the upstream has taken enough of what was sent.

        Raises UpstreamTimeout when it takes nothing for ``seconds``, UpstreamUnreachable when the
        connection is gone.
        """
        if not self._protocol.writing_paused:
            return
        try:
            async with asyncio.timeout(seconds):
                await self._protocol._drain_helper()
        except TimeoutError:
            raise UpstreamTimeout("response") from None
        except _BROKEN as exc:
            raise UpstreamUnreachable(f"while sending: {type(exc).__name__}") from exc

    def start_deadline(self, seconds: float) -> None:
        """Let ``read_head`` fail with UpstreamTimeout after ``seconds``, unless the head is already there."""
        if not self.answered:
            self._deadlines.set(self, seconds, self._too_late)

    def _too_late(self) -> None:
        self.fail(UpstreamTimeout("response"))

    def fail(self, error: BaseException) -> None:
        """Make whoever reads from this connection get ``error``."""
        self._protocol.set_exception(error)

    async def read_head(self) -> RawResponseMessage:
        """Return the next head, interim ones (1xx) included.

        Raises UpstreamUnreachable when the connection ends or what comes is not HTTP, or the error
        given to ``fail``.
        """
        try:
            message, self._body = await self._protocol.read()
        except _BROKEN as exc:
            raise UpstreamUnreachable(f"no answer: {type(exc).__name__}") from exc
        if message.code >= 200:
            self.answered = True
            self._deadlines.drop(self)
            self._until_close = (
                message.should_close and not message.chunked and "Content-Length" not in message.headers
            )
        return message

    def take(self) -> tuple[bytes, bool]:
        """What has arrived of the body since the last look, and whether that was its end."""
        body = self._body
        try:
            data = body.read_nowait()
        except _BROKEN as exc:
            raise UpstreamUnreachable(f"the body broke off: {type(exc).__name__}") from exc
        ended = body.at_eof()
        if ended and self._until_close:
            self._refuse_reset()
        return data, ended

    async def read(self) -> bytes:
        """The next piece of the body as soon as there is one, empty at its end.

        Raises UpstreamUnreachable when the upstream ends it before it is complete.
        """
        try:
            data = await self._body.readany()
        except (*_BROKEN, RuntimeError) as exc:  # RuntimeError: the transport went before its reader knew
            raise UpstreamUnreachable(f"the body broke off: {type(exc).__name__}") from exc
        if not data and self._until_close:
            self._refuse_reset()
        return data

    def _refuse_reset(self) -> None:
        """A body that ends with the connection is complete only if the connection ended in order."""
        if isinstance(self._protocol.exception(), ClientOSError):
            raise UpstreamUnreachable("the connection was reset within the body")

    def release(self) -> None:
        """Give the connection back to the pool if its answer was read to the end, else close it."""
        if self._connection is None or not self.answered or not self._body.at_eof():
            self.close()
            return
        self._protocol.served = True
        # Without a parser, whatever an idle upstream sends on its own is kept aside and seen by
        # ``should_close``; with the old one it would become the answer to somebody's next request.
        self._protocol._parser = None
        self._connection.release()
        self._connection = None

    def close(self) -> None:
        """End the connection; nothing happens if it was released."""
        if self._connection is not None:
            self._deadlines.drop(self)
            self._connection.close()
            self._connection = None


class UpstreamPool:
    """Keeps connections to upstreams for reuse; an async context manager.

    ``max_per_instance`` bounds the connections to one instance (0: no bound); who waits for one waits
    no longer than the connect time-out.
    """

    def __init__(self, *, max_per_instance: int = 0) -> None:
        self._max_per_instance = max_per_instance
        # Bounded, because instances from a registry come and go.
        self._target = lru_cache(maxsize=1024)(_target)

    async def __aenter__(self) -> Self:
        self._connector = self._make_connector()
        self._fresh = self._make_connector(force_close=True)
        self._deadlines = Deadlines()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._target.cache_clear()
        self._deadlines.close()
        await self._connector.close()
        await self._fresh.close()

    def _make_connector(self, **options: Any) -> TCPConnector:
        if not options:
            options["keepalive_timeout"] = _IDLE_SECONDS
        connector = TCPConnector(
            limit=0, limit_per_host=self._max_per_instance, ttl_dns_cache=_DNS_SECONDS, **options
        )
        connector._factory = partial(_Handler, loop=asyncio.get_running_loop())  # type: ignore[assignment]
        return connector

    async def connect(self, base: UpstreamBase, seconds: float, *, fresh: bool = False) -> UpstreamConnection:
        """Return a connection to ``base`` within ``seconds``; ``fresh`` never takes a pooled one.

        Raises ConnectFailed.
        """
        connector = self._fresh if fresh else self._connector
        target = self._target(base)
        while True:
            try:
                connection = await connector.connect(target, [], _timeouts(seconds))
            except TimeoutError as exc:
                full = connector._available_connections(target.connection_key) <= 0
                raise ConnectFailed(UpstreamTimeout("connect"), instance_at_fault=not full) from exc
            except (ClientError, OSError) as exc:
                raise _connect_failed(exc) from exc
            protocol: _Handler = connection.protocol  # type: ignore[assignment]
            if protocol.served and protocol.should_close:
                connection.close()
                continue
            return UpstreamConnection(connection, protocol, target.authority, self._deadlines)


def _connect_failed(exc: ClientError | OSError) -> ConnectFailed:
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
