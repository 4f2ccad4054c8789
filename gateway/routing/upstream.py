"""Where a route leads: ``lb://service`` or ``http://host:port``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from gateway.host_names import can_be_resolved
from gateway.routing.faults import RuleBroken, nearest

_SCHEMES: Final = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
_SERVICE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,126}[A-Za-z0-9])?")
_USER = re.compile(r"(?<=//).*@")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")


@dataclass(frozen=True, slots=True)
class Upstream:
    """``uri`` is as written. ``service`` is the lower-case name behind ``lb://``, None for a fixed address;
    then ``host`` and ``port`` are the address. ``scheme`` is ``http`` or ``https``.
    """

    uri: str
    scheme: str
    service: str | None
    host: str
    port: int


_NO_SCHEMES: Final = {
    "forward": "forward: is known from Spring Cloud Gateway, but not supported here, because the gateway has no pages "
    "that a route could lead to",
    "sticky": "sticky: is known from Spring Cloud Gateway, but not supported here, because the gateway keeps no "
    "sessions that could remember an instance",
}
NOWHERE: Final = "no"
"""Spring's idiom ``no://op`` for a route that never reaches a service, because a filter answers."""


def parse_uri(uri: str) -> Upstream:
    """Parse a route's ``uri``; raises RuleBroken (rule ``uri``).

    As in Spring a path or query behind the address is of no effect: filters say where a request goes.
    """
    if not uri:
        raise RuleBroken("uri", "uri is missing; write lb://service or http://host:port")
    scheme, colon, rest = uri.partition(":")
    scheme = scheme.lower()
    if scheme == NOWHERE and colon:
        return Upstream(uri, NOWHERE, None, "", 0)
    if scheme == "lb" and colon:
        return _balanced(uri, rest)
    if scheme not in _SCHEMES or not rest.startswith("//"):
        near = f"a scheme a route can have{nearest(scheme, ['lb', *_SCHEMES])}"
        what = _NO_SCHEMES.get(scheme, f"{scheme}: is not {near}")
        raise RuleBroken(
            "uri", f"{_shown(uri)}: {what if colon else 'the scheme is missing'}; write lb:// or http(s)://"
        )
    host, port = _address(uri, rest, 443 if _SCHEMES[scheme] == "https" else 80)
    return Upstream(uri, _SCHEMES[scheme], None, host, port)


def _balanced(uri: str, rest: str) -> Upstream:
    """``lb://service`` or, with the scheme to speak to its instances, ``lb:https://service``."""
    scheme, _, name = rest.rpartition("//")
    scheme = scheme.rstrip(":").lower() or "http"
    name = name.partition("/")[0]
    if "//" not in rest or scheme not in _SCHEMES or _SERVICE.fullmatch(name) is None:
        raise RuleBroken("uri", f"{_shown(uri)}: lb:// must be followed by a service's name")
    return Upstream(uri, _SCHEMES[scheme], name.lower(), "", 0)


def _address(uri: str, rest: str, default_port: int) -> tuple[str, int]:
    try:
        parts = urlsplit(rest)
        host, port = parts.hostname or "", parts.port or default_port
    except ValueError:
        host, port, parts = "", 0, urlsplit("")
    if _HOST.fullmatch(host) is None or not can_be_resolved(host) or "@" in parts.netloc:
        raise RuleBroken("uri", f"{_shown(uri)} has no valid host and port")
    return host, port


def _shown(uri: str) -> str:
    """``uri`` for a fault, without a user, who may come with a password."""
    return repr(_USER.sub("", uri))


def parse_instance(url: str) -> str:
    """Check one instance of a service and return it as ``scheme://host:port``; raises RuleBroken (``service``)."""
    scheme, _, rest = url.partition("://")
    try:
        upstream = parse_uri(url)
    except RuleBroken as error:
        raise RuleBroken("service", error.message) from None
    tail = urlsplit("//" + rest)
    if scheme.lower() not in ("http", "https") or tail.path not in ("", "/") or tail.query or tail.fragment:
        raise RuleBroken("service", f"{url!r}: an instance is http(s)://host:port and nothing more")
    host = f"[{upstream.host}]" if ":" in upstream.host else upstream.host
    return f"{upstream.scheme}://{host}:{upstream.port}"
