"""Fetching the key set over HTTP: bounded, and from nowhere but where the settings say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import ClientError, ClientSession

from .jwks import FetchFailed, reason_of
from .key_set import MAX_DOCUMENT_BYTES

if TYPE_CHECKING:
    from .jwks import Fetch


def http_fetch(session: ClientSession) -> Fetch:
    """A ``Fetch`` over this session; ``Jwks`` adds the time limit.

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
                    raise FetchFailed(f"status {response.status}")
                body = bytearray()
                async for chunk in response.content.iter_any():
                    body += chunk
                    if len(body) > MAX_DOCUMENT_BYTES:
                        raise FetchFailed("too long")
                return bytes(body)
        except ClientError as error:
            raise FetchFailed(reason_of(error)) from error

    return fetch
