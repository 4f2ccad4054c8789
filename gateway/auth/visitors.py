"""Visitors: people without a login, whom the gateway knows by a signed cookie of its own. Pure, but for the clock.

A cookie's value is ``<id>.<issued at>.<signature>``. The signature covers the cookie's name too, so a cookie that was
set over plain HTTP is none over TLS.

The key of a visitor in a room begins with a control character, which no token's ``sub`` may hold. So no id that an
auth server gives can equal a visitor's key. Operators and logs write a visitor as ``visitor:<id>``.
"""

from __future__ import annotations

import base64
import hmac
import re
import secrets as random
import time
from collections.abc import Callable, Sequence
from typing import Final, Literal, NamedTuple

from gateway.auth.cookies import cookie_values
from gateway.auth.csrf import Headers, Origins
from gateway.auth.mac import hmac_sha256

Identity = Literal["token", "visitor", "either"]
"""Who may have a place in a room: users with a token, visitors, or both."""

MAX_AGE_SECONDS: Final = 86_400
"""How long a cookie is good. It is renewed after half of that."""
PLAIN_COOKIE: Final = "visitor"
SECURE_COOKIE: Final = "__Host-visitor"
"""The name over TLS. Browsers accept it from this very host alone, so no other host can plant one."""
_OWN_NAMES: Final = frozenset({PLAIN_COOKIE.encode(), SECURE_COOKIE.encode()})

_ID_BYTES: Final = 16
_CLOCK_SECONDS: Final = 300
"""How far in the future a cookie may have been issued, because the clocks of instances differ."""
_ID: Final = "[A-Za-z0-9_-]{22}"
_VALUE: Final = re.compile(rf"({_ID})\.([0-9]{{1,12}})\.([A-Za-z0-9_-]{{43}})")
_KEY_PREFIX: Final = "\x1fvisitor:"
_VALUE_BYTES: Final = re.compile(_VALUE.pattern.encode())
_WRITTEN: Final = re.compile(rf"((?:user:)*)visitor:({_ID})")


class Visitor(NamedTuple):
    """A visitor whose cookie is good. ``stale``: the cookie is to be renewed."""

    id: str
    stale: bool


class Found(NamedTuple):
    """What the cookies of a request say: the visitor, if there is one; and how many ``cookies`` have the name."""

    visitor: Visitor | None
    cookies: int


class VisitorCookies:
    """Makes and checks visitors' cookies. ``secrets``: the first one signs, all verify; without any, ``known`` is
    false, and nothing may be asked. ``on_cookie`` is called with what became of each: ``ok``, ``none``, ``invalid``,
    ``several``, ``new`` or ``renewed``. ``clock`` returns epoch seconds."""

    def __init__(
        self,
        secrets: Sequence[str] = (),
        *,
        on_cookie: Callable[[str], None] = lambda outcome: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._on_cookie = on_cookie
        self._clock = clock
        self.set_secrets(secrets)

    @property
    def known(self) -> bool:
        """Whether there is a secret."""
        return bool(self._secrets)

    def set_secrets(self, secrets: Sequence[str]) -> None:
        """The secrets from now on."""
        self._secrets = tuple(secret.encode() for secret in secrets)

    def find(self, headers: Headers, *, secure: bool) -> Found:
        """The visitor whose cookie a request brings. ``secure``: it came over TLS. Two cookies of the name count as
        none: one of them may have been planted by another host or path."""
        values = cookie_values(headers.getall("Cookie", ()), SECURE_COOKIE if secure else PLAIN_COOKIE)
        visitor = self._check(values[0], secure) if len(values) == 1 else None
        if visitor is not None:
            self._on_cookie("ok")
        else:
            self._on_cookie("none" if not values else "invalid" if len(values) == 1 else "several")
        return Found(visitor, len(values))

    def new(self, *, secure: bool) -> str:
        """The ``Set-Cookie`` that makes the client a new visitor."""
        self._on_cookie("new")
        return self._cookie(base64url(random.token_bytes(_ID_BYTES)), secure)

    def renewed(self, visitor: Visitor, *, secure: bool) -> str:
        """The ``Set-Cookie`` with which ``visitor`` stays the same visitor for longer."""
        self._on_cookie("renewed")
        return self._cookie(visitor.id, secure)

    def _check(self, value: str, secure: bool) -> Visitor | None:
        match = _VALUE.fullmatch(value)
        if match is None:
            return None
        visitor, issued, given = match.groups()
        age = self._clock() - int(issued)
        if not -_CLOCK_SECONDS <= age < MAX_AGE_SECONDS:
            return None
        for at, secret in enumerate(self._secrets):
            if hmac.compare_digest(_signature(secret, visitor, issued, secure), given):
                # One signed by a former secret is renewed early, so that this secret can soon be taken away.
                return Visitor(visitor, at > 0 or age >= MAX_AGE_SECONDS / 2)
        return None

    def _cookie(self, visitor: str, secure: bool) -> str:
        issued = str(int(self._clock()))
        value = f"{visitor}.{issued}.{_signature(self._secrets[0], visitor, issued, secure)}"
        name, end = (SECURE_COOKIE, "; Secure") if secure else (PLAIN_COOKIE, "")
        return f"{name}={value}; Path=/; Max-Age={MAX_AGE_SECONDS}; HttpOnly; SameSite=Lax{end}"


def may_set_cookie(method: str, headers: Headers, origins: Origins) -> bool:
    """Whether an answer may set a visitor's cookie.

    Not for what a page of another site causes, unless the user follows a link there: browsers send no Lax cookie with
    such a request, and a new cookie would replace the one there is, so the visitor would lose the place.
    """
    sites = headers.getall("Sec-Fetch-Site", ())
    if not sites:
        named = headers.getall("Origin", ())
        return not named or (len(named) == 1 and origins.is_own(named[0]))
    if len(sites) == 1 and sites[0] in ("same-origin", "same-site", "none"):
        return True
    return (
        method in ("GET", "HEAD")
        and list(headers.getall("Sec-Fetch-Mode", ())) == ["navigate"]
        and list(headers.getall("Sec-Fetch-Dest", ())) == ["document"]
    )


def is_visitor_value(value: bytes) -> bool:
    """Whether a cookie's value has the form of a visitor's, whether its signature counts or not."""
    return _VALUE_BYTES.fullmatch(value) is not None


def is_visitor_cookie(name: bytes) -> bool:
    """Whether a cookie of this name says who a visitor is."""
    return name in _OWN_NAMES


def visitor_key(visitor: str) -> str:
    """The key in rooms of the visitor with this id."""
    return _KEY_PREFIX + visitor


def subject(key: str) -> str:
    """The user of a key as passes name it: the user's id, or ``visitor:<id>``."""
    return f"visitor:{key.removeprefix(_KEY_PREFIX)}" if key.startswith(_KEY_PREFIX) else key


def written(key: str) -> str:
    """A key in a room as people write it. A user whose ``sub`` looks like a visitor's is written ``user:<sub>``."""
    return f"user:{key}" if _WRITTEN.fullmatch(key) else subject(key)


def key_of(text: str) -> str:
    """The key in rooms of a user or visitor as people write it: the opposite of ``written``."""
    match = _WRITTEN.fullmatch(text)
    if match is None:
        return text
    return text.removeprefix("user:") if match[1] else visitor_key(match[2])


def base64url(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _signature(secret: bytes, visitor: str, issued: str, secure: bool) -> str:
    text = f"{SECURE_COOKIE if secure else PLAIN_COOKIE}\n{visitor}\n{issued}"
    return base64url(hmac_sha256(secret, text.encode()))
