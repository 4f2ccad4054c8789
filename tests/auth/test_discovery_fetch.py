from __future__ import annotations

import pytest
from aiohttp import ClientSession

from gateway.auth.discovery import FetchFailed, http_fetch
from gateway.auth.key_set import MAX_DOCUMENT_BYTES
from tests.support.tokens import KeyServer, jwks_uri, reserved_port


@pytest.mark.parametrize("size", [0, 1, MAX_DOCUMENT_BYTES])
async def test_the_document_comes_as_it_was_sent(
    server: KeyServer, session: ClientSession, size: int
) -> None:
    server.body = b"x" * size
    assert await http_fetch(session)(server.uri) == server.body


@pytest.mark.parametrize(
    ("status", "size", "why"),
    [
        (200, MAX_DOCUMENT_BYTES + 1, "too long"),
        (200, 20 * MAX_DOCUMENT_BYTES, "too long"),
        (204, 0, "status 204"),
        (301, 0, "status 301"),
        (404, 0, "status 404"),
        (500, 0, "status 500"),
    ],
)
async def test_any_other_answer_is_a_failure(
    server: KeyServer, session: ClientSession, status: int, size: int, why: str
) -> None:
    server.status, server.body, server.headers = status, b"x" * size, {"Location": "/.well-known/jwks.json"}
    with pytest.raises(FetchFailed, match=why):
        await http_fetch(session)(server.uri)
    assert server.requests == 1


async def test_a_server_that_is_away_is_a_failed_fetch(session: ClientSession) -> None:
    with reserved_port() as sock, pytest.raises(FetchFailed, match="ClientConnectorError"):
        await http_fetch(session)(jwks_uri(sock))
