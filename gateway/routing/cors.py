"""Spring's CORS configuration (``globalcors``, or ``cors`` in a route's metadata), parsed and checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from gateway.routing.calls import METHODS
from gateway.routing.document import plain_name
from gateway.routing.faults import RuleBroken, unknown
from gateway.routing.model import CORS_RULE
from gateway.routing.value_types import ValueType

_CAPITAL = re.compile(r"[A-Z]")
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^\s/]+|null", re.IGNORECASE)
# A method, a header's name, or "*".
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# Commas within the ports of a pattern divide nothing.
_COMMA = re.compile(r",(?![^\[\]]*\])")
_PORTS = re.compile(r"(.*):\[(\*|\d{1,5}(?:,\d{1,5})*)\]")

# What browsers send: a name without empty labels, or an IPv6 address.
_SENT = re.compile(
    r"([a-z][a-z0-9+.-]*)://(?:[a-z0-9_~-]+(?:\.[a-z0-9_~-]+)*\.?|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?"
)
_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}
_LAST_PORT: Final = 65_535


@dataclass(frozen=True, slots=True)
class CorsRule:
    """What one set of paths allows other origins. Empty tuples allow nothing, ``"*"`` in them everything.

    ``allowed_methods`` defaults to GET and HEAD as in Spring; ``max_age`` is in seconds, None leaves it out.
    ``origin_regexes`` are the patterns, compiled.
    """

    allowed_origins: tuple[str, ...] = ()
    allowed_origin_patterns: tuple[str, ...] = ()
    allowed_methods: tuple[str, ...] = ("GET", "HEAD")
    allowed_headers: tuple[str, ...] = ()
    exposed_headers: tuple[str, ...] = ()
    allow_credentials: bool = False
    allow_private_network: bool = False
    max_age: int | None = None
    origin_regexes: tuple[re.Pattern[str], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        compiled = tuple(map(_compile_origin, self.allowed_origin_patterns))
        object.__setattr__(self, "origin_regexes", compiled)


def parse_cors(values: Mapping[str, object]) -> CorsRule:
    """Make a rule of plain values as in the file; raises RuleBroken (rule ``cors``)."""
    read: dict[str, object] = {}
    for key, value in values.items():
        known = CORS_RULE.by_plain_name.get(plain_name(key))
        if known is None:
            raise RuleBroken("cors", unknown("CORS key", key, CORS_RULE.names))
        name = _CAPITAL.sub(lambda letter: f"_{letter[0].lower()}", known.name)
        read[name] = _single(key, value, known.holds) if isinstance(known.holds, ValueType) else _texts(value)
    rule = CorsRule(**read)  # type: ignore[arg-type]
    # They are written into answers: anything else would break every one of them, or be a header of its own.
    for name in (*rule.allowed_methods, *rule.allowed_headers, *rule.exposed_headers):
        if _NAME.fullmatch(name) is None:
            raise RuleBroken("cors", f"{name!r} is neither a method's nor a header's name")
    if rule.allow_credentials and "*" in rule.allowed_origins:
        raise RuleBroken(
            "cors", "allowCredentials with the origin '*' is refused by every browser; name the origins"
        )
    if rule.allow_private_network and "*" in rule.allowed_origins:
        raise RuleBroken(
            "cors",
            "allowPrivateNetwork with the origin '*' opens a private network to every page; name the origins",
        )
    for origin in rule.allowed_origins:
        if origin != "*" and _ORIGIN.fullmatch(origin) is None:
            raise RuleBroken("cors", f"{origin!r} is no origin; write scheme://host[:port] without a path")
    return rule


def hardly_meant(rule: CorsRule) -> tuple[str, ...]:
    """What is allowed in a rule but does not work as its author must expect, each as a text."""
    found = []
    if rule.allow_credentials and "*" in rule.exposed_headers:
        found.append(
            "exposedHeaders '*' with allowCredentials exposes nothing: for a request with credentials browsers read "
            "'*' as the name of a header; name the headers"
        )
    for key, origins, why_never in (
        ("allowedOrigins", rule.allowed_origins, _why_no_origin),
        ("allowedOriginPatterns", rule.allowed_origin_patterns, _why_no_pattern),
    ):
        found += (f"{key}: {each!r} {why}" for each in origins if each != "*" and (why := why_never(each)))
    for method in rule.allowed_methods:
        if method != "*" and method not in METHODS:
            upper = method.upper()
            said = f"write {upper}" if upper in METHODS else unknown("method", method, METHODS)
            found.append(
                f"allowedMethods: {method!r} allows nothing, since methods are compared with regard to case: {said}"
            )
    return tuple(found)


def _why_no_origin(origin: str) -> str:
    """Why no browser sends an origin, and what to do; empty if one may."""
    if "*" in origin:
        return "is no pattern, so that it matches nothing: write it under allowedOriginPatterns"
    return "" if origin.lower() == "null" else _why_never(origin.lower())


def _why_no_pattern(pattern: str) -> str:
    """Why a pattern matches no origin that a browser sends, or fewer than it seems to, and what to do; or empty."""
    scheme, mark, rest = pattern.partition("://")
    if not mark:
        return (
            "matches nothing: '*' ends before a slash, so write the scheme too, as in https://*.example.com"
        )
    ports = _PORTS.fullmatch(pattern)
    host = rest
    if ports is not None:
        host = ports[1].partition("://")[2]
        for port in () if ports[2] == "*" else ports[2].split(","):
            if why := _why_never(f"{scheme}://a:{port}"):
                return f"{why} (port {port})"
    elif rest.endswith(":*"):
        host = rest[:-2]
        # Servers of developers have a port of their own.
        if host not in ("localhost", "127.0.0.1", "[::1]"):
            return "matches only origins with a port, and browsers send none for 443 and 80: write :[*] for any or none"
    if pattern != pattern.lower():
        return "matches nothing: browsers send origins in small letters"
    # Digits may stand for a star in a name as well as in a port.
    return _why_never(f"{'http' if scheme == '*' else scheme.replace('*', 'a')}://{host.replace('*', '1')}")


def _why_never(origin: str) -> str:
    """Why no browser sends an origin in small letters, and what to do; empty if one may."""
    if not origin.isascii():
        return "matches nothing: browsers send names beyond ASCII as xn--…"
    if "/" in origin.partition("://")[2]:
        return "matches nothing: an origin has no path, and no slash at its end"
    found = _SENT.fullmatch(origin)
    if found is None:
        return "matches nothing: no browser sends such an origin; write scheme://host[:port]"
    scheme, port = found.groups()
    if port is None:
        return ""
    if port == _DEFAULT_PORTS.get(scheme):
        return f"matches nothing: browsers leave out the port {port} of {scheme}; leave it out too"
    return "" if str(int(port)) == port and int(port) <= _LAST_PORT else f"matches nothing: {port} is no port"


def _texts(value: object) -> tuple[str, ...]:
    items = value if isinstance(value, list) else _COMMA.split(str("" if value is None else value))
    return tuple(text for item in items if (text := str(item).strip()))


def _single(key: str, value: object, of: ValueType[object]) -> object:
    read = of.read(str(value))
    if read is None:
        raise RuleBroken("cors", f"{key} must be {of.wanted}, not {value!r}")
    return read


def _compile_origin(pattern: str) -> re.Pattern[str]:
    """``*`` is any number of characters but ends before a path would begin; ``:[8080,8081]`` at the end is one of these
    ports, ``:[*]`` any or none."""
    if pattern == "*":
        return re.compile(".*")
    ports = ""
    if (match := _PORTS.fullmatch(pattern)) is not None:
        pattern = match[1]
        ports = r"(?::\d+)?" if match[2] == "*" else f":(?:{match[2].replace(',', '|')})"
    first, *others = map(re.escape, pattern.split("*"))
    # What stands between two stars is taken where it comes first, and never looked for again: linear time.
    between = "".join(f"(?>[^/]*?{text})" for text in others[:-1])
    return re.compile(first + between + (f"[^/]*{others[-1]}" if others else "") + ports)
