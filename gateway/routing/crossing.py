"""What a page of another origin may do: one request against one CORS rule. Pure; Spring's decisions.

==================================  ==============================================================
the request                         the answer
==================================  ==============================================================
no ``Origin``, or our own           goes on; says only that answers vary by origin
a preflight, all of it allowed      answered here, with what is allowed
another request, origin and method  goes on; its answer says that the page may read it
anything else                       refused, in words the page can't read
==================================  ==============================================================
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from gateway.routing.cors import CorsRule

Headers = tuple[tuple[str, str], ...]

_VARY: Final[Headers] = (
    ("Vary", "Origin"),
    ("Vary", "Access-Control-Request-Method"),
    ("Vary", "Access-Control-Request-Headers"),
)
_ORIGIN = re.compile(
    r"([A-Za-z][A-Za-z0-9+.-]*)://([A-Za-z0-9._~-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::([0-9]{1,5}))?"
)
# What may be said back to whoever asks: a header's name and nothing else.
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}


class Crossing(NamedTuple):
    """Whether the request may go on, and the headers of its answer, whatever that is."""

    allowed: bool
    headers: Headers


class Asked(NamedTuple):
    """What of a request counts. ``origins`` are all its ``Origin`` headers; ``own`` says that they name the gateway
    itself. ``method_wanted`` and ``headers_wanted`` are a preflight's, None and "" if not there. ``from_outside``: a
    browser asks whether a page of a public network may call into a private one."""

    method: str
    origins: Sequence[str]
    own: bool = False
    method_wanted: str | None = None
    headers_wanted: str = ""
    from_outside: bool = False

    @property
    def is_preflight(self) -> bool:
        """Whether a browser asks what it may send."""
        return self.method == "OPTIONS" and bool(self.origins) and self.method_wanted is not None


def judge(rule: CorsRule, asked: Asked) -> Crossing:
    """Decides about one request on a path that ``rule`` is for."""
    if not asked.origins or asked.own:
        return Crossing(True, _VARY)
    origin = asked.origins[0] if len(asked.origins) == 1 else ""
    allowed_origin = _allowed_origin(rule, origin)
    preflight = asked.is_preflight
    methods = _allowed_methods(rule, (asked.method_wanted or "") if preflight else asked.method)
    wanted = _names(asked.headers_wanted) if preflight else []
    names = _allowed_names(rule, wanted)
    if allowed_origin is None or not methods or (wanted and not names):
        return Crossing(False, _VARY)
    headers = [*_VARY, ("Access-Control-Allow-Origin", allowed_origin)]
    if preflight:
        headers.append(("Access-Control-Allow-Methods", ",".join(methods)))
        if names:
            headers.append(("Access-Control-Allow-Headers", ", ".join(names)))
    if rule.exposed_headers:
        headers.append(("Access-Control-Expose-Headers", ", ".join(rule.exposed_headers)))
    if rule.allow_credentials:
        headers.append(("Access-Control-Allow-Credentials", "true"))
    if preflight and asked.from_outside and rule.allow_private_network:
        headers.append(("Access-Control-Allow-Private-Network", "true"))
    if preflight and rule.max_age is not None:
        headers.append(("Access-Control-Max-Age", str(rule.max_age)))
    return Crossing(True, tuple(headers))


def acts_for_user(rule: CorsRule | None, origin: str) -> bool:
    """Whether a page of ``origin`` may act with the cookies of whoever looks at it."""
    return rule is not None and rule.allow_credentials and _allowed_origin(rule, origin) is not None


def is_own(origin: str, scheme: str, host: str, port: str) -> bool:
    """Whether ``origin`` is where the request itself went, which is no other origin. ``host`` may have a port, which
    does not count: ``port`` does."""
    match = _ORIGIN.fullmatch(origin)
    if match is None:
        return False
    of_scheme = match[1].lower()
    name = host if host.endswith("]") else re.sub(r":\d*\Z", "", host)
    return (of_scheme, match[2].lower(), match[3] or _DEFAULT_PORTS.get(of_scheme)) == (
        scheme,
        name.lower(),
        port,
    )


def _allowed_origin(rule: CorsRule, origin: str) -> str | None:
    """What to say is allowed: the origin, or ``*``; None if it is not."""
    if not origin or not origin.isascii():
        return None
    if "*" in rule.allowed_origins:
        return "*"
    lowered = origin.lower()
    if any(lowered == each.lower() for each in rule.allowed_origins):
        return origin
    # "null" is the origin of every sandboxed page, so that a pattern never means it.
    if _ORIGIN.fullmatch(origin) and any(each.fullmatch(origin) for each in rule.origin_regexes):
        return origin
    return None


def _allowed_methods(rule: CorsRule, wanted: str) -> tuple[str, ...]:
    if "*" in rule.allowed_methods:
        return (wanted,) if _NAME.fullmatch(wanted) else ()
    return rule.allowed_methods if wanted in rule.allowed_methods else ()


def _names(text: str) -> list[str]:
    return [name for part in text.split(",") if (name := part.strip())]


def _allowed_names(rule: CorsRule, wanted: list[str]) -> list[str]:
    """Those of the wanted headers that are allowed; the browser holds the rest against its page."""
    if "*" in rule.allowed_headers:
        return [name for name in wanted if _NAME.fullmatch(name)]
    known = {name.lower() for name in rule.allowed_headers}
    return [name for name in wanted if name.lower() in known]
