"""Accepts connections over TLS, with what a trusted proxy may say of the client before the TLS handshake.

asyncio's own server begins with the handshake, and so can't read the PROXY protocol first. The bytes of that protocol
are taken out of the kernel exactly; everything after them is left to asyncio.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from gateway.server.certificates import Certificates
from gateway.server.deadlines import Deadlines
from gateway.server.handshake_failures import PLAIN_TEXT, TIMEOUT, ConnectionObserver, reason_of
from gateway.server.limits import ConnectionLimits
from gateway.server.proxy_protocol import (
    MAX_V2_BYTES,
    Header,
    MalformedHeader,
    may_begin,
    own_bytes,
    read_header,
)
from gateway.server.socket_buffer import read_available

log = logging.getLogger(__name__)

_ACCEPT_BATCH: Final = 64
_ACCEPT_PAUSE_SECONDS: Final = 0.5
_CLIENT_HELLO: Final = 0x16
"""The first byte of every connection over TLS."""
_READ_BYTES: Final = 64 * 1024
_SHUTDOWN_SECONDS: Final = 86_400.0
"""asyncio breaks off an answer that takes longer than this to send after ``close``. So this time is long, and the code
that closes a connection sets a shorter deadline, which a slow client extends: see ``closing``."""
_NO_DESCRIPTORS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

SPEAKS_TLS: Final = "this port speaks TLS: use https"


class TlsServer(Protocol):
    """The server of the connections, as this module uses it."""

    limits: ConnectionLimits
    loop: asyncio.AbstractEventLoop
    deadlines: Deadlines
    handshakes: set[Handshake]
    """The connections that are not over TLS yet."""
    observer: ConnectionObserver

    def may_shake_hands(self, connection: socket.socket, /) -> bool:
        """Whether a new connection is worth a handshake; if not, it is counted as refused."""

    def trusts(self, peer: str, /) -> bool:
        """Whether the peer is a proxy that may name its client."""

    def guard_of(self, client: tuple[str, int] | None, /) -> asyncio.Protocol:
        """The protocol of a new connection. ``client``: whom a proxy has named as the client."""

    def refusal_of(self, remote: str, fault: str, /) -> bytes:
        """The answer to a connection that can't be read."""


class TlsPort:
    """Accepts connections on one listening socket."""

    def __init__(self, server: TlsServer, listening: socket.socket, certificates: Certificates) -> None:
        self._server = server
        self._listening = listening
        self._certificates = certificates
        self._loop = server.loop
        self._resume: asyncio.TimerHandle | None = None
        self._turns = Turns(server.loop)
        self._loop.add_reader(listening, self._accept)

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        """The listening socket, until the port is closed."""
        return () if self._listening.fileno() < 0 else (self._listening,)

    def close(self) -> None:
        """Accepts no more connections."""
        if self._resume is not None:
            self._resume.cancel()
        if self._listening.fileno() >= 0:
            self._loop.remove_reader(self._listening)
            self._listening.close()

    def _accept(self) -> None:
        for _ in range(_ACCEPT_BATCH):
            try:
                connection, _ = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _NO_DESCRIPTORS:
                    raise
                log.warning("no connection can be accepted at the moment: %s", error.strerror)
                self._loop.remove_reader(self._listening)
                self._resume = self._loop.call_later(
                    _ACCEPT_PAUSE_SECONDS, self._loop.add_reader, self._listening, self._accept
                )
                return
            connection.setblocking(False)
            if self._server.may_shake_hands(connection):
                Handshake(self._server, connection, self._certificates, self._turns).begin()
            else:
                connection.close()


class Turns:
    """Calls back in turn, once in each iteration of the event loop.

    The gateway signs for each handshake, which takes a millisecond or two. If it answered all clients of a crowd in the
    same iteration, all others would wait for that long.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[Callable[[], None]] = deque()

    def take(self, turn: Callable[[], None]) -> None:
        """Calls ``turn`` soon. It is called even if it is no longer needed."""
        if not self._waiting:
            self._loop.call_soon(self._next)
        self._waiting.append(turn)

    def _next(self) -> None:
        turn = self._waiting.popleft()
        if self._waiting:
            self._loop.call_soon(self._next)
        turn()


class Handshake:
    """One connection until it is over TLS."""

    def __init__(
        self, server: TlsServer, connection: socket.socket, certificates: Certificates, turns: Turns
    ) -> None:
        self._server = server
        self._connection = connection
        self._certificates = certificates
        self._turns = turns
        peer = connection.getpeername() if _is_connected(connection) else ("", 0)
        self._remote = str(peer[0])
        self._may_name_client = server.trusts(self._remote)
        self._client: tuple[str, int] | None = None
        self._header = b""
        self._task: asyncio.Task[None] | None = None
        self.idle_since = server.loop.time()
        """When it began, as a time of the loop's clock."""
        self.had_request = False

    def begin(self) -> None:
        """Waits for the first bytes."""
        server = self._server
        server.handshakes.add(self)
        server.loop.add_reader(self._connection, self._read)
        server.deadlines.set(self, server.limits.head_seconds, self._time_out)

    def displace(self) -> bool:
        """Ends the connection for a new one."""
        self.cancel()
        return True

    def cancel(self) -> None:
        """Ends the connection."""
        if self._task is not None:
            self._task.cancel()
        else:
            self._end()

    def _time_out(self) -> None:
        self._server.observer.handshake_failed(TIMEOUT)
        self._end()

    def _read(self) -> None:
        try:
            first = self._connection.recv(MAX_V2_BYTES, socket.MSG_PEEK)
            if not first:
                self._end()
            elif first[0] == _CLIENT_HELLO and not self._header:
                # Until its turn, only the deadline and the end of the server concern it.
                self._server.loop.remove_reader(self._connection)
                self._turns.take(self._shake_hands)
            elif self._may_name_client and may_begin(self._header + first):
                self._read_header(first)
            else:
                self._server.observer.handshake_failed(PLAIN_TEXT)
                self._refuse(SPEAKS_TLS)
        except (BlockingIOError, InterruptedError):
            pass
        except MalformedHeader as error:
            self._server.observer.proxy_header_refused()
            self._refuse(str(error))
        except OSError:
            self._end()

    def _read_header(self, new: bytes) -> None:
        seen = self._header + new
        header: Header | None = read_header(seen)
        size = own_bytes(seen) if header is None else header.size
        # Exactly the bytes of the header: those behind it are for the handshake.
        self._header += self._connection.recv(size - len(self._header))
        if header is not None and len(self._header) == header.size:
            self._may_name_client, self._client, self._header = False, header.client, b""

    def _shake_hands(self) -> None:
        if self not in self._server.handshakes:
            return
        self._server.deadlines.drop(self)
        self._task = self._server.loop.create_task(self._upgrade(), name="tls handshake")

    async def _upgrade(self) -> None:
        server = self._server
        client = self._client
        try:
            await server.loop.connect_accepted_socket(
                lambda: server.guard_of(client),
                self._connection,
                ssl=self._certificates.context,
                ssl_handshake_timeout=server.limits.head_seconds,
                ssl_shutdown_timeout=_SHUTDOWN_SECONDS,
            )
        except (OSError, TimeoutError) as error:
            log.debug("a TLS handshake failed: %s", error)
            server.observer.handshake_failed(reason_of(error))
            self._connection.close()
        except asyncio.CancelledError:
            self._connection.close()
            raise
        finally:
            server.handshakes.discard(self)

    def _refuse(self, fault: str) -> None:
        """Answers in plain text, since the client does not speak TLS."""
        with contextlib.suppress(OSError):
            read_available(self._connection.fileno(), _READ_BYTES)
            self._connection.send(self._server.refusal_of(self._remote, fault))
            self._connection.shutdown(socket.SHUT_WR)
        self._end()

    def _end(self) -> None:
        self._server.handshakes.discard(self)
        self._server.deadlines.drop(self)
        if self._connection.fileno() >= 0:
            self._server.loop.remove_reader(self._connection)
            self._connection.close()


def _is_connected(connection: socket.socket) -> bool:
    try:
        connection.getpeername()
    except OSError:
        return False
    return True
