"""Passes: signed proofs of an admission, which services and proxies check without asking the gateway."""

from __future__ import annotations

import re
import secrets
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, NamedTuple

from gateway.auth.key_ring import KeyRing
from gateway.auth.visitors import subject

PASS_TYPE: Final = "queue-pass+jwt"  # noqa: S105 - the kind of a token
"""The ``typ`` in the header of a pass, so that it is never taken for another token."""
PASS_SECONDS: Final = 600.0
"""The longest life of a pass."""
_MAX_REMEMBERED: Final = 16_384
_DEFAULT_ROOM: Final = "default"
MAX_COOKIE_BYTES: Final = 4096
"""Of the cookies with passes that a browser keeps, in all. A head has a bound, and the gateway refuses every request
with a longer one. Otherwise a user of eighteen rooms with a pass for each would be shut out until the passes end."""
_COOKIE: Final = re.compile(r"[ \t]*(queue-pass(?:-[A-Za-z0-9_-]{1,200})?)=.*")


class Pass(NamedTuple):
    """A pass, and the value of ``Set-Cookie`` that brings it to a browser."""

    token: str
    cookie: str


class _Session(NamedTuple):
    jti: str
    ends_at: float
    expires_at: int
    token: str


class Passes:
    """Issues passes, signed with the key of ``ring`` whose turn it is. ``issuer``: the claim ``iss``."""

    def __init__(self, ring: KeyRing, issuer: str) -> None:
        self._ring = ring
        self._issuer = issuer
        # Room and user → the session as last seen here. A pass is signed once in a second, and keeps its jti.
        self._sessions: OrderedDict[tuple[str, str], _Session] = OrderedDict()

    def issue(
        self,
        room: str,
        user: str,
        *,
        ticket: int,
        expires_in: float,
        fresh: bool = False,
        secure: bool = False,
    ) -> Pass | None:
        """A pass for ``user`` (the key in the room), whose session in ``room`` ends in ``expires_in`` seconds.

        ``ticket``: that of the place in line; 0 if it is unknown or there was none. ``fresh``: the session began just
        now. ``secure``: the client's connection is TLS. None if no key may sign now, or if the session has less than a
        second left.
        """
        now = self._ring.now
        issued_at, expires_at = int(now), int(now + min(expires_in, PASS_SECONDS))
        if expires_at <= issued_at:
            return None
        known = None if fresh else self._sessions.get((room, user))
        if known is not None and known.ends_at <= now:
            known = None
        jti = str(ticket) if ticket else known.jti if known else secrets.token_urlsafe(16)
        if known is not None and (known.jti, known.expires_at) == (jti, expires_at):
            token: str | None = known.token
        else:
            claims = {
                "iss": self._issuer,
                "aud": room,
                "sub": subject(user),
                "iat": issued_at,
                "exp": expires_at,
                "jti": jti,
            }
            token = self._ring.sign(PASS_TYPE, claims)
        if token is None:
            return None
        self._remember((room, user), _Session(jti, now + expires_in, expires_at, token))
        return Pass(token, _cookie(room, token, expires_at - issued_at, secure=secure))

    def _remember(self, key: tuple[str, str], session: _Session) -> None:
        self._sessions[key] = session
        self._sessions.move_to_end(key)
        if len(self._sessions) > _MAX_REMEMBERED:
            self._sessions.popitem(last=False)


def cookie_name(room: str) -> str:
    """The name of the cookie with the pass for ``room``. Names of rooms have letters, digits, ``-`` and ``_`` only."""
    return "queue-pass" if room == _DEFAULT_ROOM else f"queue-pass-{room}"


def superseded(lines: Sequence[str], cookie: str, *, secure: bool = False) -> tuple[str, ...]:
    """The ``Set-Cookie`` lines that take passes for other rooms from a browser which gets ``cookie``, so that its
    passes stay within ``MAX_COOKIE_BYTES``. ``lines``: the values of ``Cookie``; browsers name the oldest first."""
    name, _, rest = cookie.partition("=")
    pairs = (pair for line in lines for pair in line.split(";"))
    held = {found[1]: len(pair) for pair in pairs if (found := _COOKIE.fullmatch(pair)) is not None}
    held.pop(name, None)
    excess = len(name) + len(rest.partition(";")[0]) + sum(held.values()) - MAX_COOKIE_BYTES
    removed = []
    for other, length in held.items():
        if excess <= 0:
            break
        excess -= length
        removed.append(_set_cookie(other, "", 0, secure=secure))
    return tuple(removed)


def _cookie(room: str, token: str, max_age: int, *, secure: bool) -> str:
    return _set_cookie(cookie_name(room), token, max_age, secure=secure)


def _set_cookie(name: str, value: str, max_age: int, *, secure: bool) -> str:
    end = "; Secure" if secure else ""
    return f"{name}={value}; Path=/; Max-Age={max_age}; HttpOnly; SameSite=Lax{end}"
