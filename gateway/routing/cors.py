"""Spring's CORS configuration (``globalcors``, or ``cors`` in a route's metadata), parsed and checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gateway.routing.faults import RuleBroken, unknown

_KEYS: Final = {
    "allowedorigins": "allowed_origins",
    "allowedoriginpatterns": "allowed_origin_patterns",
    "allowedmethods": "allowed_methods",
    "allowedheaders": "allowed_headers",
    "exposedheaders": "exposed_headers",
    "allowcredentials": "allow_credentials",
    "maxage": "max_age",
}
_SHOWN: Final = (
    "allowedOrigins, allowedOriginPatterns, allowedMethods, allowedHeaders, exposedHeaders, allowCredentials, "
    "maxAge"
)
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^\s/]+|null", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class CorsRule:
    """What one set of paths allows other origins. Empty tuples allow nothing, ``"*"`` in them everything.

    ``allowed_methods`` defaults to GET and HEAD as in Spring; ``max_age`` is in seconds, None leaves it out.
    """

    allowed_origins: tuple[str, ...] = ()
    allowed_origin_patterns: tuple[str, ...] = ()
    allowed_methods: tuple[str, ...] = ("GET", "HEAD")
    allowed_headers: tuple[str, ...] = ()
    exposed_headers: tuple[str, ...] = ()
    allow_credentials: bool = False
    max_age: int | None = None


def parse_cors(values: Mapping[str, object]) -> CorsRule:
    """Make a rule of plain values as in the file; raises RuleBroken (rule ``cors``)."""
    read: dict[str, object] = {}
    for key, value in values.items():
        name = _KEYS.get(key.replace("-", "").replace("_", "").lower())
        if name is None:
            raise RuleBroken("cors", unknown("CORS key", key, _SHOWN.split(", ")))
        if name == "allow_credentials":
            read[name] = _flag(key, value)
        elif name == "max_age":
            read[name] = _seconds(key, value)
        else:
            read[name] = _texts(value)
    rule = CorsRule(**read)  # type: ignore[arg-type]
    if rule.allow_credentials and "*" in rule.allowed_origins:
        raise RuleBroken(
            "cors", "allowCredentials with the origin '*' is refused by every browser; name the origins"
        )
    for origin in rule.allowed_origins:
        if origin != "*" and _ORIGIN.fullmatch(origin) is None:
            raise RuleBroken("cors", f"{origin!r} is no origin; write scheme://host[:port] without a path")
    return rule


def _texts(value: object) -> tuple[str, ...]:
    items = value if isinstance(value, list) else str("" if value is None else value).split(",")
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
