"""Why TLS handshakes fail, as the labels of a metric, and who is told of it and of other ends of connections."""

from __future__ import annotations

import ssl
from typing import Final, Protocol

PLAIN_TEXT: Final = "plain_text"
TIMEOUT: Final = "timeout"
CLOSED: Final = "closed"
OTHER: Final = "other"

_OF_REASONS: Final = {
    "version": ("UNSUPPORTED_PROTOCOL", "WRONG_VERSION_NUMBER", "PROTOCOL_VERSION", "UNKNOWN_PROTOCOL"),
    "cipher": ("NO_SHARED_CIPHER", "HANDSHAKE_FAILURE", "NO_SUITABLE", "INSUFFICIENT_SECURITY"),
    "certificate": ("CERTIFICATE", "UNKNOWN_CA", "BAD_CERT"),
}
"""Parts of OpenSSL's names of errors, its own and those that a client has sent, by the reason they stand for."""

REASONS: Final = (PLAIN_TEXT, *_OF_REASONS, TIMEOUT, CLOSED, OTHER)


class ConnectionObserver(Protocol):
    """Is told of connections that end otherwise than by a request or by their client."""

    def handshake_failed(self, reason: str, /) -> None:
        """A TLS handshake failed for one of ``REASONS``."""

    def proxy_header_refused(self) -> None:
        """A trusted proxy sent a malformed header of the PROXY protocol."""

    def idle_connection_displaced(self) -> None:
        """An idle connection was ended for a new one."""


class _NoObserver:
    def handshake_failed(self, reason: str, /) -> None:
        pass

    def proxy_header_refused(self) -> None:
        pass

    def idle_connection_displaced(self) -> None:
        pass


NO_OBSERVER: Final[ConnectionObserver] = _NoObserver()


def reason_of(error: OSError) -> str:
    """The reason for which a handshake failed with this error."""
    if isinstance(error, ssl.SSLError):
        # An error that does not come from OpenSSL has no reason at all.
        name = getattr(error, "reason", None) or ""
        reasons = (reason for reason, parts in _OF_REASONS.items() if any(part in name for part in parts))
        return next(reasons, CLOSED if "EOF" in name else OTHER)
    # asyncio ends a handshake that takes too long with a ConnectionAbortedError of its own, without a number.
    if isinstance(error, TimeoutError) or (isinstance(error, ConnectionAbortedError) and not error.errno):
        return TIMEOUT
    return CLOSED if isinstance(error, ConnectionError) else OTHER
