"""How much of what was written a client has taken.

The size of a transport's buffer does not tell: Linux calls a socket writable again only once a third of its send buffer
is free, which may be megabytes, and a client that reads steadily seems to take nothing for minutes.
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
    """The bytes that the client's system has acknowledged since the connection began; None if the own system does not
    say. The client's system goes on to acknowledge what fits into its buffer when the client no longer reads, and may
    then wait until some of it is free: a sixteenth of the buffer, or one packet."""
    connection = transport.get_extra_info("socket")
    if connection is None or _TCP_INFO is None:
        return None
    try:
        # uvloop's stand-in makes a whole new socket for this. What family it is said to have does not matter here.
        bare = socket.SocketType(socket.AF_INET, socket.SOCK_STREAM, 0, connection.fileno())
    except OSError:
        return None
    try:
        info = bare.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _ACKNOWLEDGED.size)
    except OSError:
        return None
    finally:
        bare.detach()
    if len(info) < _ACKNOWLEDGED.size:
        return None
    # Systems that only imitate Linux leave it at 0.
    count: int = _ACKNOWLEDGED.unpack(info)[0]
    return count or None
