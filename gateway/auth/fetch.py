"""Fetching documents of the auth server over HTTP: bounded, and from nowhere but where the caller says."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable

from aiohttp import ClientError, ClientSession

from .key_set import MAX_DOCUMENT_BYTES

Fetch = Callable[[str], Awaitable[bytes]]
"""URI → document. Raises FetchFailed or OSError while the auth server is away; see ``http_fetch``."""


class FetchFailed(Exception):
    """The auth server gave no usable document. The text is for log and health: it holds no secret.

    ``status`` is that of its answer, if it was another than 200.
    """

    def __init__(self, reason: str, status: int | None = None) -> None:
        super().__init__(reason)
        self.status = status


def reason_of(error: Exception) -> str:
    """Why a fetch failed, for the log. Not the error's own text, which may quote an address with a password in it."""
    name = type(error).__name__
    number = error.errno if isinstance(error, OSError) else None
    return f"{os.strerror(number)} ({name})" if number is not None and number > 0 else name


def http_fetch(session: ClientSession) -> Fetch:
    """A ``Fetch`` over this session; the caller adds the time limit.

    Redirects are not followed: where keys come from is the operator's decision alone. Raises
    ``FetchFailed`` for any status but 200, a body that is too long, every fault of the connection, and where there is
    no address.
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
