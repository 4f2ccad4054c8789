"""The operator's desk in a browser: its cookie, what each change must bring, and the hosts it answers. Does no I/O.

A session is a random token in a cookie. Redis holds its hash, and a *proof* made of the token and the operator's entry.
So a reader of Redis can't sign in, and a session ends when the operator's entry changes or goes.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Sequence
from hashlib import sha256
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from gateway.auth.cookies import cookie_values
from gateway.auth.operators import Operator

SESSION_SECONDS: Final = 12 * 3600
PLAIN_COOKIE: Final = "desk"
SECURE_COOKIE: Final = "__Host-desk"
"""Over TLS. The prefix makes browsers accept it only over TLS and from this very host."""
PATH: Final = "/desk"

_TOKEN: Final = re.compile("desk-[A-Za-z0-9_-]{43}")
_TOKEN_BYTES: Final = re.compile(_TOKEN.pattern.encode())
_NAMES: Final = frozenset({PLAIN_COOKIE.encode(), SECURE_COOKIE.encode()})


def new_token() -> str:
    """The token of a new session: 256 random bits."""
    return f"desk-{secrets.token_urlsafe(32)}"


def token_of(cookies: Sequence[str], *, secure: bool) -> str | None:
    """The session's token in the values of ``Cookie``; None without one. ``secure``: the request came over TLS. Two
    cookies of the name count as none: one of them may have been planted by another host or path."""
    values = cookie_values(cookies, SECURE_COOKIE if secure else PLAIN_COOKIE)
    return values[0] if len(values) == 1 and _TOKEN.fullmatch(values[0]) else None


def cookie(token: str, *, secure: bool) -> str:
    """The ``Set-Cookie`` for a session; with an empty token the one that removes the cookie."""
    seconds = SESSION_SECONDS if token else 0
    if secure:
        return f"{SECURE_COOKIE}={token}; Path=/; Max-Age={seconds}; Secure; HttpOnly; SameSite=Strict"
    return f"{PLAIN_COOKIE}={token}; Path={PATH}; Max-Age={seconds}; HttpOnly; SameSite=Strict"


def is_desk_cookie(name: bytes) -> bool:
    """Whether a cookie of this name may be that of a session."""
    return name in _NAMES


def is_desk_token(value: bytes) -> bool:
    """Whether a cookie's value has the form of a session's token. A service may have a cookie of the same name."""
    return _TOKEN_BYTES.fullmatch(value) is not None


def hash_of(token: str) -> str:
    """By what Redis knows the session."""
    return sha256(token.encode()).hexdigest()


def proof_of(token: str, operator: Operator) -> str:
    """What shows that the session is one of this operator, with the operator's present entry."""
    entry = f"{operator.name}\n{operator.role}\n{operator.sha256.hex()}"
    return hmac.new(token.encode(), entry.encode(), sha256).hexdigest()


def csrf_token_of(token: str) -> str:
    """What each change must send as ``X-CSRF-Token``. Only the desk's own page can read it."""
    return hmac.new(token.encode(), b"csrf", sha256).hexdigest()


def may_change(token: str, given: Sequence[str]) -> bool:
    """Whether these values of ``X-CSRF-Token`` are the right one."""
    # A header may hold bytes that are no UTF-8.
    return len(given) == 1 and hmac.compare_digest(
        given[0].encode("utf-8", "surrogateescape"), csrf_token_of(token).encode()
    )


def answers_host(host: str, hosts: Sequence[str]) -> bool:
    """Whether the desk answers requests with this ``Host``: one of ``hosts``, or a name of the machine itself. Against
    DNS rebinding: a page of an attacker whose name leads to the gateway has another host."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    name = name.lower().removesuffix(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    if name in {each.lower() for each in hosts}:
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
