"""Where requests to a service go: an instance, or one of its addresses."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}


class UpstreamBase(NamedTuple):
    """Where requests go: ``http`` or ``https``, a host name or address (IPv6 without brackets), a port.

    ``address``: the one of the host's addresses to connect to; empty if ``host`` is an address, or is looked up when a
    connection is made. A named tuple, because it is hashed several times per request.
    """

    scheme: str
    host: str
    port: int
    address: str = ""

    @classmethod
    def parse(cls, url: str) -> UpstreamBase:
        """Reads ``http://host:port``. A path is ignored, as in a route's ``uri``.

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
        """The ``Host`` header for this instance; the scheme's default port is left out."""
        return _authority(self)

    @property
    def configured(self) -> UpstreamBase:
        """The instance as it is configured: without one of its addresses."""
        return self._replace(address="") if self.address else self

    @property
    def has_name(self) -> bool:
        """Whether ``host`` is a name that has to be looked up. Names of this machine itself (``localhost``) do not
        count: their addresses are of two families, and which of them a service listens on is found when connecting."""
        host = self.host.rstrip(".").lower()
        return not (is_ip_address(host) or host == "localhost" or host.endswith(".localhost"))

    def __str__(self) -> str:
        url = f"{self.scheme}://{_authority(self).decode()}"
        return f"{url} ({self.address})" if self.address else url


@lru_cache(maxsize=1024)
def _authority(base: UpstreamBase) -> bytes:
    host = f"[{base.host}]" if ":" in base.host else base.host
    if base.port != _DEFAULT_PORTS.get(base.scheme):
        host = f"{host}:{base.port}"
    return host.encode("idna" if not host.isascii() else "ascii")


def is_ip_address(host: str) -> bool:
    """Whether ``host`` is an address and no name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
