"""The limits of one client's connection, and the options for starting aiohttp's server."""

from __future__ import annotations

import resource
from dataclasses import dataclass
from typing import Final

UNLIMITED_FILES: Final = 1_048_576

MAX_DROPPED_BODY_BYTES: Final = 64 * 1024
"""An answer may be sent before its request's body is complete. The connection stays open after it only if the rest of
the body is known to be at most this long; the gateway then reads and drops the rest."""

# Options for aiohttp's server: bodies pass unchanged, and a client's disconnect cancels the call made for it.
SERVER_OPTIONS: Final = {"auto_decompress": False, "handler_cancellation": True, "read_bufsize": 64 * 1024}


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """The limits of one connection. Times are in seconds, sizes in bytes."""

    head_seconds: float = 10.0
    """From the first byte of a head to its last."""
    idle_seconds: float = 75.0
    """Maximum time without a request, before the first and between two."""
    body_seconds: float = 30.0
    """Maximum time without a byte of an incomplete body while the gateway accepts more. ``proxy.uploads`` also enforces
    a minimum rate for each body that is read."""
    slow_client_seconds: float = 60.0
    """How far a client may fall behind ``slow_client_rate`` while bytes wait for it; also its longest pause."""
    slow_client_rate: int = 500
    """The minimum rate of such a client, in bytes per second; 0 for no minimum."""
    dropped_body_seconds: float = 3600.0
    """Maximum time for reading and dropping the rest of a body after an early answer; ``body_seconds`` limits the pause
    between two pieces."""
    linger_seconds: float = 2.0
    """How long to go on reading after the last answer, so that a client that is still sending does not lose the
    answer; over TLS also how long to wait for the client's own end."""
    line_bytes: int = 8190
    """The maximum of the request line, of one header, and of one line between chunks."""
    head_bytes: int = 64 * 1024
    """The maximum of a whole head."""
    headers: int = 100


def file_limit() -> int:
    """How many files this process may have open. No limit counts as a million, because the system reports it as -1 or
    as a huge number."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return UNLIMITED_FILES if soft == resource.RLIM_INFINITY else min(soft, UNLIMITED_FILES)
