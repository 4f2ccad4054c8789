"""The address of one instance of a service."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple
from urllib.parse import urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}


class UpstreamBase(NamedTuple):
    """Where requests go: ``http`` or ``https``, a host name or address (IPv6 without brackets), a port.

    A named tuple, because it is hashed several times per request.
    """

    scheme: str
    host: str
    port: int

    @classmethod
    def parse(cls, url: str) -> UpstreamBase:
        """Read ``http://host:port``. A path is ignored, as it is in a route's ``uri``.

        Raises ValueError for another scheme, no host, a bad port, or credentials.
        """
        parts = urlsplit(url)
        if parts.scheme not in _DEFAULT_PORTS:
            raise ValueError(f"not http:// or https://: {url!r}")
        if not parts.hostname or parts.username is not None or parts.password is not None:
            raise ValueError(f"not scheme://host:port: {url!r}")
        port = parts.port
        return cls(parts.scheme, parts.hostname, _DEFAULT_PORTS[parts.scheme] if port is None else port)

    @property
    def authority(self) -> bytes:
        """What a ``Host`` header says for this instance; the scheme's default port is left out."""
        return _authority(self)

    def __str__(self) -> str:
        return f"{self.scheme}://{_authority(self).decode()}"


@lru_cache(maxsize=1024)
def _authority(base: UpstreamBase) -> bytes:
    host = f"[{base.host}]" if ":" in base.host else base.host
    if base.port != _DEFAULT_PORTS.get(base.scheme):
        host = f"{host}:{base.port}"
    return host.encode("idna" if not host.isascii() else "ascii")
