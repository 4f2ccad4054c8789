"""The headers that Spring Security adds to each answer, for clients and scanners that expect them.

The rules are those of Spring Security's writers for WebFlux. A header that an answer already has stays as it is. The
three caching headers are added only if the answer has none of them, and never to a 304. ``Strict-Transport-Security``
is only for clients that came by https.
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
    """The headers added to answers, with ``more`` in addition. ``over_tls`` is the same for clients that came by
    https. ``others``: in place of those that do not concern caching."""

    def __init__(
        self,
        more: tuple[Field, ...] = (),
        over_tls: SecurityHeaders | None = None,
        others: tuple[Field, ...] = _OTHERS,
    ) -> None:
        self._others = (*others, *more)
        self._all = CIMultiDict((*CACHING, *self._others))
        self.over_tls = over_tls or self
        caching, raw_others = _raw(CACHING), _raw(self._others)
        about_caching = frozenset(name.lower() for name, _ in caching)
        self._names = about_caching.union(name.lower() for name, _ in raw_others)

        # Cached by which of these few headers an answer has: there are few such sets.
        @lru_cache(maxsize=1024)
        def missing(present: frozenset[bytes], not_modified: bool) -> tuple[RawField, ...]:
            kept = () if not_modified or present & about_caching else caching
            return (*kept, *(field for field in raw_others if field[0].lower() not in present))

        self._missing = missing

    def missing_from(self, names: Iterable[bytes], status: int) -> tuple[RawField, ...]:
        """The headers that a service's answer lacks. ``names`` are those it has, in lower case."""
        return self._missing(self._names.intersection(names), status == HTTPStatus.NOT_MODIFIED)

    def add_missing(self, headers: CIMultiDict[str], status: int, *, own: bool) -> None:
        """Adds what ``headers`` lack. ``own``: an answer of the gateway itself, whose plain ``no-store`` is
        replaced."""
        if own and headers.get("Cache-Control", "").startswith(_OWN_CACHING):
            # Nearly all of the gateway's answers. Pages have some of the other headers, and theirs stay.
            stated = [(name, headers[name]) for name, _ in self._others if name in headers]
            headers.update(self._all)
            if stated:
                headers.update(stated)
            return
        if status != HTTPStatus.NOT_MODIFIED and not any(name in headers for name, _ in CACHING):
            headers.extend(CACHING)
        headers.extend([field for field in self._others if field[0] not in headers])


def security_headers(*, strict_transport: bool) -> SecurityHeaders:
    """All headers of Spring Security; with ``strict_transport`` also ``Strict-Transport-Security``, over https."""
    return SecurityHeaders(over_tls=SecurityHeaders((_OVER_TLS,)) if strict_transport else None)


def _raw(fields: Iterable[Field]) -> tuple[RawField, ...]:
    return tuple((name.encode("ascii"), value.encode("ascii")) for name, value in fields)
