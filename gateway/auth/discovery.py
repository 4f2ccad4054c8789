"""Fetches documents of the authorization server within limits, and discovers the address of its key set.

Follows OpenID Connect Discovery and RFC 8414. Addresses come from the settings or the issuer's document only.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit, urlunsplit

from aiohttp import ClientError, ClientSession

from gateway.auth.encoding import InvalidJson, decode_document, repeats
from gateway.auth.key_set import MAX_DOCUMENT_BYTES

Fetch = Callable[[str], Awaitable[bytes]]
"""URI → document. Raises FetchFailed or OSError while the auth server is away; see ``http_fetch``."""


class FetchFailed(Exception):
    """The auth server returned no usable document. The text is for log and health: it holds no secret.

    ``status`` is the response's status if it was not 200.
    """

    def __init__(self, reason: str, status: int | None = None) -> None:
        super().__init__(reason)
        self.status = status


def reason_of(error: Exception) -> str:
    """Why a fetch failed, for the log. Not the error's own text, because it may quote an address with a password."""
    name = type(error).__name__
    number = error.errno if isinstance(error, OSError) else None
    return f"{os.strerror(number)} ({name})" if number is not None and number > 0 else name


def http_fetch(session: ClientSession) -> Fetch:
    """A ``Fetch`` over this session; the caller adds the time limit.

    Redirects are not followed, because only the operator decides where keys come from. Raises ``FetchFailed`` for any
    status but 200, a body that is too long, every connection error, and an empty address.
    """

    async def fetch(uri: str) -> bytes:
        if not uri:
            raise FetchFailed("JWT_JWKS_URI is not set")
        try:
            async with session.get(
                uri, allow_redirects=False, headers={"Accept": "application/json"}
            ) as response:
                if response.status != 200:
                    raise FetchFailed(f"status {response.status}", response.status)
                body = bytearray()
                async for chunk in response.content.iter_any():
                    body += chunk
                    if len(body) > MAX_DOCUMENT_BYTES:
                        raise FetchFailed("too long")
                return bytes(body)
        except ClientError as error:
            raise FetchFailed(reason_of(error)) from error

    return fetch


_log = logging.getLogger(__name__)

_OPENID: Final = "/.well-known/openid-configuration"
_OAUTH: Final = "/.well-known/oauth-authorization-server"
_MAX_URI_CHARS: Final = 2048
_SHOWN_CHARS: Final = 200
_TOO_MANY_REQUESTS: Final = 429


class InvalidIssuerDocument(Exception):
    """An address or a document that the gateway does not accept. The text is for log and health."""


@dataclass(frozen=True, slots=True)
class IssuerLocation:
    """An issuer whose discovery document names the address of its keys."""

    issuer: str

    def __str__(self) -> str:
        return f"the issuer {_without_user(self.issuer)}"


class Discovery:
    """Discovers the key set of ``location``.

    The document may be at one of several addresses. The one that had it is tried first the next time.
    """

    def __init__(self, location: IssuerLocation, fetch: Fetch) -> None:
        self._location = location
        self._fetch = fetch
        self._found: str | None = None
        self._documents: list[str] | None = None
        self._failures = 0

    async def key_set(self, limit: float) -> str:
        """The address of the key set. Each call fetches the issuer's document, within ``limit`` seconds. While it can't
        be read, the address that it named last stays in force.

        Raises FetchFailed, OSError or TimeoutError if the document could never be read.
        """
        try:
            async with asyncio.timeout(limit):
                self._found = await self._discover()
        except (FetchFailed, OSError, TimeoutError) as error:
            if self._found is None:
                raise
            self._failures += 1
            _log.log(
                logging.WARNING if self._failures == 1 else logging.DEBUG,
                "the document of %s could not be read: %s; its keys are taken from where they were before "
                "(retrying quietly)",
                self._location,
                str(error) if isinstance(error, FetchFailed) else reason_of(error),
            )
        else:
            if self._failures:
                _log.info("the document of %s again after %d failures", self._location, self._failures)
            self._failures = 0
        return self._found

    async def _discover(self) -> str:
        if self._documents is None:
            try:
                self._documents = document_urls(self._location.issuer)
            except InvalidIssuerDocument as error:
                raise FetchFailed(f"{error}, so that its keys can't be found: set JWT_JWKS_URI") from None
        why = []
        for document in self._documents:
            try:
                text = await self._fetch(document)
                found = await asyncio.to_thread(_key_set_of, text, self._location.issuer)
            except FetchFailed as error:
                # The server refuses, is overloaded or is unreachable: the next address would fail the same way.
                if error.status is None or error.status == _TOO_MANY_REQUESTS or error.status >= 500:
                    raise
                why.append(f"{urlsplit(document).path}: {error}")
            except InvalidIssuerDocument as error:
                why.append(f"{urlsplit(document).path}: {error}")
            else:
                self._documents.remove(document)
                self._documents.insert(0, document)
                return found
        raise FetchFailed("; ".join(why))


def document_urls(issuer: str) -> list[str]:
    """The addresses at which the issuer's document may be: the well-known path behind the issuer's, and before it.

    Raises Unsound if the issuer can have no such address.
    """
    parts = _address(issuer, "the issuer")
    if parts.query or "?" in issuer:
        raise InvalidIssuerDocument("the issuer has a query")
    path = parts.path.rstrip("/")
    places = (path + _OPENID, _OPENID + path, _OAUTH + path)
    return [urlunsplit((parts.scheme, parts.netloc, place, "", "")) for place in dict.fromkeys(places)]


def _key_set_of(document: bytes, issuer: str) -> str:
    """The address of the key set that an issuer's document names.

    Raises Unsound if it is no discovery document, or another issuer's.
    """
    try:
        members = decode_document(document)
    except InvalidJson as error:
        raise InvalidIssuerDocument(f"it is not a JSON object: {error}") from None
    for name in ("issuer", "jwks_uri"):
        if repeats(members, name):
            raise InvalidIssuerDocument(f"its member {name} occurs twice")
    named = members.get("issuer")
    if named != issuer:
        hint = _hint(named, issuer)
        raise InvalidIssuerDocument(
            f"it is of the issuer {_quoted(named)}, which is not the one that is set{hint}"
        )
    uri = members.get("jwks_uri")
    if not isinstance(uri, str):
        raise InvalidIssuerDocument("it has no jwks_uri")
    scheme = _address(uri, "its jwks_uri").scheme
    if scheme != "https" and issuer.lower().startswith("https:"):
        raise InvalidIssuerDocument("its jwks_uri is not https, as the issuer is")
    return uri


def _address(text: str, what: str) -> SplitResult:
    if len(text) > _MAX_URI_CHARS:
        raise InvalidIssuerDocument(f"{what} is longer than {_MAX_URI_CHARS} characters")
    if not text.isascii() or not text.isprintable() or " " in text or "\\" in text:
        raise InvalidIssuerDocument(f"{what} has characters that no address has")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise InvalidIssuerDocument(f"{what} is no address") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        raise InvalidIssuerDocument(f"{what} is no http:// or https:// address")
    if "@" in parts.netloc:
        raise InvalidIssuerDocument(f"{what} has a user in it")
    if "#" in text:
        raise InvalidIssuerDocument(f"{what} has a fragment")
    return parts


def _hint(named: object, issuer: str) -> str:
    if isinstance(named, str) and named.rstrip("/") == issuer.rstrip("/"):
        return " (they differ in the slash at the end)"
    if isinstance(named, str) and "{tenantid}" in named:
        return " (it is the document of all tenants: set the address of one)"
    return ""


def _quoted(named: Any) -> str:
    return repr(_without_user(named)[:_SHOWN_CHARS]) if isinstance(named, str) else "(none)"


def _without_user(address: str) -> str:
    """An address without user, password, query and fragment; for log and health."""
    scheme, separator, rest = address.partition("?")[0].partition("#")[0].partition("://")
    if not separator:
        return address
    host, slash, path = rest.partition("/")
    return scheme + separator + host.rpartition("@")[2] + slash + path
