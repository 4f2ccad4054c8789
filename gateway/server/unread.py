"""What a peer has sent and the loop has not read.

A peer that answers, closes, and has not read all that was sent to it makes its system reset the connection. If the
loop writes before it reads, the write fails, and both asyncio and uvloop give the connection up: the answer stays in
the kernel. Until ``connection_lost`` has returned the socket is open in both, and what came before the reset can still
be read.
"""

from __future__ import annotations

import asyncio
import select
import socket
from typing import Final

MOST_BYTES: Final = 1024 * 1024
"""How much is read of a connection that is lost. Of a longer answer the rest is lost, and the answer breaks off."""

_PIECE_BYTES: Final = 64 * 1024


def over_tls(transport: asyncio.BaseTransport | None) -> bool:
    """Whether a connection is encrypted."""
    return transport is not None and transport.get_extra_info("sslcontext") is not None


def unread_of(transport: asyncio.BaseTransport | None) -> bytes:
    """Takes what the kernel still holds of a connection that was lost, at most ``MOST_BYTES``; nothing of one over TLS,
    whose bytes only the TLS layer can read, which is gone by then. Call it no later than in ``connection_lost``."""
    return b"" if over_tls(transport) else unread_at(_descriptor(transport), MOST_BYTES)


def unread_at(descriptor: int, most: int) -> bytes:
    """Takes what the kernel holds for a socket, at most so many bytes, without waiting for more."""
    if descriptor < 0:
        return b""
    # uvloop's stand-in for a socket can't read; what family the socket is said to have does not matter for that.
    bare = socket.SocketType(socket.AF_INET, socket.SOCK_STREAM, 0, descriptor)
    pieces = []
    try:
        while most > 0 and (piece := bare.recv(min(most, _PIECE_BYTES), socket.MSG_DONTWAIT)):
            pieces.append(piece)
            most -= len(piece)
    except OSError:
        # There is no more, or only the reset is left.
        pass
    finally:
        bare.detach()
    return b"".join(pieces)


def has_come(transport: asyncio.BaseTransport) -> bool:
    """Whether the loop will read something in its next turn, if it reads at all."""
    descriptor = _descriptor(transport)
    if descriptor < 0:
        return False
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


def _descriptor(transport: asyncio.BaseTransport | None) -> int:
    connection = None if transport is None else transport.get_extra_info("socket")
    return -1 if connection is None else connection.fileno()
