"""How many of the written bytes a client's system has acknowledged.

The size of a transport's buffer does not show this. Linux calls a socket writable again only once a third of its send
buffer is free, which may be megabytes. A client that reads steadily then seems to take nothing for minutes.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Final

_TCP_INFO: Final = getattr(socket, "TCP_INFO", None)
_ACKNOWLEDGED: Final = struct.Struct("=120xQ")
"""``tcpi_bytes_acked`` in Linux's ``struct tcp_info``, since 4.1."""


def acknowledged(transport: asyncio.BaseTransport) -> int | None:
    """The bytes that the client's system has acknowledged since the connection began; None if this system does not
    report it. When a client stops reading, its system goes on to acknowledge bytes until its buffer is full. It may
    then wait until some of the buffer is free: a sixteenth of it, or one packet."""
    connection = transport.get_extra_info("socket")
    if connection is None or _TCP_INFO is None:
        return None
    try:
        # uvloop's socket object would create a whole new socket. The address family given here does not matter.
        sock = socket.SocketType(socket.AF_INET, socket.SOCK_STREAM, 0, connection.fileno())
    except OSError:
        return None
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _ACKNOWLEDGED.size)
    except OSError:
        return None
    finally:
        sock.detach()
    if len(info) < _ACKNOWLEDGED.size:
        return None
    # Systems that only imitate Linux leave the field at 0.
    count: int = _ACKNOWLEDGED.unpack(info)[0]
    return count or None
