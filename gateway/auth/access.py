"""Which token counts for which call, and which calls are open without one. Pure policy.

    call                    Authorization   form field   ?access_token=   cookie
    GET  …/queue/status     yes                                            yes
    GET  …/queue/stream     yes                           yes              yes
    POST …/queue/leave      yes             yes                            yes, from an own page only
    everything else         yes

The first of a row that is there counts, good or bad: what a page says on purpose comes before what a
browser adds by itself.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

from gateway.errors import CsrfRejected, TokenInvalid
from gateway.query import values_of

QUEUE_PATH: Final = "/api/v1/queue"
STATUS_CALL: Final = ("GET", QUEUE_PATH + "/status")
STREAM_CALL: Final = ("GET", QUEUE_PATH + "/stream")
LEAVE_CALL: Final = ("POST", QUEUE_PATH + "/leave")
TOKEN_PARAMETER: Final = "access_token"  # noqa: S105

_COOKIE_CALLS: Final = frozenset({STATUS_CALL, STREAM_CALL, LEAVE_CALL})
_MAX_QUERY_FIELDS: Final = 100
# Quoted or not; inside no blanks, quotes, commas, backslashes and controls.
_COOKIE_VALUE: Final = re.compile(r'"([!#-+\--\[\]-~]*)"|([!#-+\--\[\]-~]*)')


class Source(enum.Enum):
    """Where a token was found."""

    HEADER = "header"
    FORM = "form"
    QUERY = "query"
    COOKIE = "cookie"


class Credential(NamedTuple):
    """The one token that counts for a call, and where it came from. Its text is kept out of ``repr``."""

    token: str
    source: Source

    def __repr__(self) -> str:
        return f"Credential({self.source})"


class Headers(Protocol):
    """Request headers: names in any case, all values in order (a ``CIMultiDictProxy`` is one)."""

    def getall(self, key: str, default: Any, /) -> Sequence[str]: ...


class CallRule(Protocol):
    """A public rule: whether it opens this call. ``path`` is the canonical path; a GET rule opens HEAD."""

    def opens(self, method: str, path: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class Access:
    """Who may call what without a token: what a rule in ``public`` opens, the queue's calls never."""

    public: Sequence[CallRule]

    def is_open(self, method: str, path: str, *, gated: bool = False) -> bool:
        """Whether the call needs no token. A gated call always needs one, whatever the public rules say."""
        if gated or path == QUEUE_PATH or path.startswith(QUEUE_PATH + "/"):
            return False
        return any(rule.opens(method, path) for rule in self.public)


def find_credential(
    method: str,
    path: str,
    headers: Headers,
    *,
    query: str = "",
    form: Sequence[str] = (),
    cookie_name: str | None = None,
) -> Credential | None:
    """The token that counts for this call, or ``None`` if it has none.

    ``query`` is the raw query without "?", ``form`` all values of the body's ``access_token`` fields,
    ``cookie_name`` the cookie that may carry a token (``None`` or "" = none may). Raises ``TokenInvalid``
    where one source holds several tokens: the service behind might believe the other one. Raises ``BadRequest``
    where the query must be read and is malformed.
    """
    authorization = headers.getall("Authorization", ())
    if authorization:
        token = bearer(authorization)
        if token is not None:
            return Credential(token, Source.HEADER)
    call = (method, path)
    if call not in _COOKIE_CALLS:
        return None
    if call == LEAVE_CALL and (token := _only(form)):
        return Credential(token, Source.FORM)
    if call == STREAM_CALL and (token := _only(_query_values(query))):
        return Credential(token, Source.QUERY)
    if cookie_name and (token := _only(_cookie_values(headers.getall("Cookie", ()), cookie_name))):
        return Credential(token, Source.COOKIE)
    return None


def check_origin(
    method: str, path: str, credential: Credential, headers: Headers, allowed_origin: Callable[[str], bool]
) -> None:
    """Refuse (``CsrfRejected``) a leave that only a cookie vouches for, unless one of our own pages sent it.

    A browser says so itself in ``Sec-Fetch-Site: same-origin``; an older one names an ``Origin``, which
    ``allowed_origin`` judges. "null" is everybody's origin and never allowed.
    """
    if credential.source is not Source.COOKIE or (method, path) != LEAVE_CALL:
        return
    if list(headers.getall("Sec-Fetch-Site", ())) == ["same-origin"]:
        return
    origins = headers.getall("Origin", ())
    if len(origins) == 1 and origins[0] not in ("", "null") and allowed_origin(origins[0]):
        return
    raise CsrfRejected


def bearer(values: Sequence[str]) -> str | None:
    """The token in the values of ``Authorization``, or ``None``. Raises ``TokenInvalid`` where there are several."""
    if len(values) > 1:
        raise TokenInvalid("several Authorization headers")
    scheme, _, rest = values[0].strip(" \t").partition(" ")
    return rest.strip(" ") if scheme.lower() == "bearer" else None


def _only(values: Sequence[str]) -> str | None:
    if len(values) > 1:
        raise TokenInvalid("several tokens in one place")
    return values[0] if values else None


def _query_values(query: str) -> list[str]:
    if query.count("&") >= _MAX_QUERY_FIELDS:
        raise TokenInvalid("too many fields in the query")
    return values_of(query, TOKEN_PARAMETER)


def _cookie_values(lines: Sequence[str], wanted: str) -> list[str]:
    """The values of a cookie as browsers write it (RFC 6265): a semicolon ends a cookie, in quotes too.

    What such a cookie can't hold is none. So the rest of another cookie whose quotes have a semicolon between them,
    which older readers take for one value, does not stand against the cookie that is really there.
    """
    found = []
    for line in lines:
        for pair in line.split(";"):
            name, _, value = pair.partition("=")
            if name.strip(" \t") == wanted:
                whole = _COOKIE_VALUE.fullmatch(value.strip(" \t"))
                if whole is not None:
                    found.append(whole[1] if whole[1] is not None else whole[2])
    return found
