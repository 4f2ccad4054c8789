"""The headers that Spring Security adds to each answer, for clients and scanners that expect them.

As its writers for WebFlux do it: what an answer says itself is left as it is. Of the three about caching none is added
if one is there, and none to a 304. ``Strict-Transport-Security`` is for clients that came by https only.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from http import HTTPStatus
from typing import Final

from multidict import CIMultiDict

Field = tuple[str, str]
RawField = tuple[bytes, bytes]

CACHING: Final[tuple[Field, ...]] = (
    ("Cache-Control", "no-cache, no-store, max-age=0, must-revalidate"),
    ("Pragma", "no-cache"),
    ("Expires", "0"),
)
_OTHERS: Final[tuple[Field, ...]] = (
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("X-XSS-Protection", "0"),
    ("Referrer-Policy", "no-referrer"),
)
_OVER_TLS: Final[Field] = ("Strict-Transport-Security", "max-age=31536000 ; includeSubDomains")
_OWN_CACHING: Final = "no-store"


class SecurityHeaders:
    """What is added to answers, with ``more`` on top. ``over_tls`` is the same for clients that came by https."""

    def __init__(self, more: tuple[Field, ...] = (), over_tls: SecurityHeaders | None = None) -> None:
        self._others = (*_OTHERS, *more)
        self._all = CIMultiDict((*CACHING, *self._others))
        self.over_tls = over_tls or self
        caching, others = _raw(CACHING), _raw(self._others)
        about_caching = frozenset(name.lower() for name, _ in caching)
        self._watched = about_caching.union(name.lower() for name, _ in others)

        # By which of these few an answer has: there can't be many of such sets.
        @lru_cache(maxsize=1024)
        def missing(said: frozenset[bytes], not_modified: bool) -> tuple[RawField, ...]:
            kept = () if not_modified or said & about_caching else caching
            return (*kept, *(field for field in others if field[0].lower() not in said))

        self._missing = missing

    def added_to(self, names: Iterable[bytes], status: int) -> tuple[RawField, ...]:
        """What an answer of a service lacks. ``names`` are those it has, in lower case."""
        return self._missing(self._watched.intersection(names), status == HTTPStatus.NOT_MODIFIED)

    def complete(self, headers: CIMultiDict[str], status: int, *, own: bool) -> None:
        """Adds what ``headers`` lack. ``own``: of the gateway itself, whose plain ``no-store`` gives way."""
        if own and headers.get("Cache-Control", "").startswith(_OWN_CACHING):
            # Nearly all of them, and none says anything else about the others.
            headers.update(self._all)
            return
        if status != HTTPStatus.NOT_MODIFIED and not any(name in headers for name, _ in CACHING):
            headers.extend(CACHING)
        headers.extend([field for field in self._others if field[0] not in headers])


def security_headers(*, strict_transport: bool) -> SecurityHeaders:
    """All of Spring Security's; ``strict_transport``: ``Strict-Transport-Security`` too, over https."""
    return SecurityHeaders(over_tls=SecurityHeaders((_OVER_TLS,)) if strict_transport else None)


def _raw(fields: Iterable[Field]) -> tuple[RawField, ...]:
    return tuple((name.encode("ascii"), value.encode("ascii")) for name, value in fields)
