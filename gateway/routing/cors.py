"""Spring's CORS configuration (``globalcors``, or ``cors`` in a route's metadata), parsed and checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from gateway.routing.faults import RuleBroken, unknown

_KEYS: Final = {
    "allowedorigins": "allowed_origins",
    "allowedoriginpatterns": "allowed_origin_patterns",
    "allowedmethods": "allowed_methods",
    "allowedheaders": "allowed_headers",
    "exposedheaders": "exposed_headers",
    "allowcredentials": "allow_credentials",
    "allowprivatenetwork": "allow_private_network",
    "maxage": "max_age",
}
_SHOWN: Final = (
    "allowedOrigins, allowedOriginPatterns, allowedMethods, allowedHeaders, exposedHeaders, allowCredentials, "
    "allowPrivateNetwork, maxAge"
)
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^\s/]+|null", re.IGNORECASE)
# A method, a header's name, or "*".
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# Commas within the ports of a pattern divide nothing.
_COMMA = re.compile(r",(?![^\[\]]*\])")
_PORTS = re.compile(r"(.*):\[(\*|\d{1,5}(?:,\d{1,5})*)\]")


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
        name = _KEYS.get(key.replace("-", "").replace("_", "").lower())
        if name is None:
            raise RuleBroken("cors", unknown("CORS key", key, _SHOWN.split(", ")))
        if name in ("allow_credentials", "allow_private_network"):
            read[name] = _flag(key, value)
        elif name == "max_age":
            read[name] = _seconds(key, value)
        else:
            read[name] = _texts(value)
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
    if rule.allow_credentials and "*" in rule.exposed_headers:
        return (
            "exposedHeaders '*' with allowCredentials exposes nothing: for a request with credentials browsers read "
            "'*' as the name of a header; name the headers",
        )
    return ()


def _texts(value: object) -> tuple[str, ...]:
    items = value if isinstance(value, list) else _COMMA.split(str("" if value is None else value))
    return tuple(text for item in items if (text := str(item).strip()))


def _flag(key: str, value: object) -> bool:
    text = str(value).lower()
    if text not in ("true", "false"):
        raise RuleBroken("cors", f"{key} must be true or false, not {value!r}")
    return text == "true"


def _seconds(key: str, value: object) -> int:
    match = re.fullmatch(r"(?:PT)?(\d{1,9})(s|m|h)?", str(value), re.IGNORECASE)
    if match is None:
        raise RuleBroken("cors", f"{key} must be a number of seconds, not {value!r}")
    return int(match[1]) * {"s": 1, "m": 60, "h": 3600}[(match[2] or "s").lower()]


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
