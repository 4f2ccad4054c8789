"""Bytes between the event loop and a peer: those that the peer has sent and the loop has not read, and those that the
loop has written and the peer has not got.

If a peer answers and closes without reading all that was sent to it, its system resets the connection. If the loop
writes before it reads, the write fails, and asyncio and uvloop both drop the connection: the answer stays in the
kernel. In both, the socket is open until ``connection_lost`` has returned, so the bytes that arrived before the reset
can still be read.
"""

from __future__ import annotations

import asyncio
import fcntl
import select
import socket
import struct
import termios
from typing import Final

MAX_BYTES: Final = 1024 * 1024
"""How many bytes are read of a lost connection. The rest of a longer answer is lost, and the answer breaks off."""

_PIECE_BYTES: Final = 64 * 1024
_INT: Final = struct.Struct("=i")


def over_tls(transport: asyncio.BaseTransport | None) -> bool:
    """Whether a connection is encrypted."""
    return transport is not None and transport.get_extra_info("sslcontext") is not None


def read_remaining(transport: asyncio.BaseTransport | None) -> bytes:
    """Takes what the kernel still holds of a lost connection, at most ``MAX_BYTES``. Takes nothing over TLS: only the
    TLS layer can read those bytes, and it no longer exists by then. Call it no later than in ``connection_lost``."""
    return b"" if over_tls(transport) else read_available(_descriptor(transport), MAX_BYTES)


def read_available(descriptor: int, max_bytes: int) -> bytes:
    """Takes what the kernel holds for a socket, at most ``max_bytes`` bytes, without waiting for more."""
    if descriptor < 0:
        return b""
    # uvloop's socket object can't read. The address family given here does not matter for that.
    sock = socket.SocketType(socket.AF_INET, socket.SOCK_STREAM, 0, descriptor)
    pieces = []
    try:
        while max_bytes > 0 and (piece := sock.recv(min(max_bytes, _PIECE_BYTES), socket.MSG_DONTWAIT)):
            pieces.append(piece)
            max_bytes -= len(piece)
    except OSError:
        # Nothing more has arrived, or only the reset is left.
        pass
    finally:
        sock.detach()
    return b"".join(pieces)


def is_readable(transport: asyncio.BaseTransport) -> bool:
    """Whether bytes have arrived that the loop, if it reads, will read in its next iteration."""
    descriptor = _descriptor(transport)
    if descriptor < 0:
        return False
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


def _descriptor(transport: asyncio.BaseTransport | None) -> int:
    connection = None if transport is None else transport.get_extra_info("socket")
    return -1 if connection is None else connection.fileno()


def unsent_bytes(transport: asyncio.Transport) -> int:
    """How many written bytes still wait for the peer. Over TLS these are also the bytes that its system has not
    acknowledged: the transport does not say how many wait below the TLS layer, and if some do, the kernel's buffer is
    full."""
    waiting = transport.get_write_buffer_size()
    return waiting if waiting or not over_tls(transport) else _unacknowledged(_descriptor(transport))


def _unacknowledged(descriptor: int) -> int:
    try:
        # SIOCOUTQ, which has the number of the same call for terminals.
        answer = fcntl.ioctl(descriptor, termios.TIOCOUTQ, b"\0" * _INT.size)
    except (OSError, ValueError):
        # The connection has ended, or this system does not tell.
        return 0
    count: int = _INT.unpack(answer)[0]
    return count


def abort_if_unsent(transport: asyncio.Transport) -> None:
    """Ends a connection at once if bytes still wait for the other side. A connection that has ended is left alone,
    because asyncio accepts no ``abort`` then."""
    if transport.get_write_buffer_size():
        transport.abort()
