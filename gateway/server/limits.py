"""What one client's connection may take, and how aiohttp's server is started."""

from __future__ import annotations

import resource
from dataclasses import dataclass
from typing import Final

UNLIMITED_FILES: Final = 1_048_576

REST_READ_BYTES: Final = 64 * 1024
"""An answer may come before its request's body is complete. The connection stays open behind it only if the rest of the
body is known to be at most this long: then it is read and dropped."""

# How aiohttp's server must be started for bodies to pass as they are, and for a client that goes away to
# end the call made for it.
SERVER_OPTIONS: Final = {"auto_decompress": False, "handler_cancellation": True, "read_bufsize": 64 * 1024}


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What one connection may take. Times are in seconds, sizes in bytes."""

    head_seconds: float = 10.0
    """From the first byte of a head to its last."""
    idle_seconds: float = 75.0
    """Without a request, before the first and between two."""
    body_seconds: float = 30.0
    """Without a byte of a body that is not complete, while the gateway would take one. ``proxy.uploads`` also holds
    each body that is read to a minimum rate."""
    reader_seconds: float = 60.0
    """How far a client for whom bytes wait may be behind ``reader_rate``; also its longest pause."""
    reader_rate: int = 500
    """What such a client takes at least, in bytes per second; 0 for no minimum."""
    rest_seconds: float = 3600.0
    """For all of a body's rest that is read and dropped behind an early answer; ``body_seconds`` bounds each piece."""
    linger_seconds: float = 2.0
    """Reading on after the last answer, so that it is not lost on the way to a client still sending."""
    line_bytes: int = 8190
    """The request line; also one header, and one line between chunks."""
    head_bytes: int = 64 * 1024
    """All of a head."""
    headers: int = 100


def file_limit() -> int:
    """How many files this process may have open. No limit counts as a million, for it is the number -1 or nearly
    endless."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return UNLIMITED_FILES if soft == resource.RLIM_INFINITY else min(soft, UNLIMITED_FILES)
