"""Answers whose status a route replaces: each has as many bytes as its head says, whatever the service answered."""

from __future__ import annotations

import pytest

from tests.proxy.rig import gateway_to
from tests.support.raw_http import Answer, Client, answering, raw_upstream, request

ANSWERS = {
    "200 with a length": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "200 in chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "200 without a body": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "201 with a length": b"HTTP/1.1 201 Created\r\nContent-Length: 5\r\n\r\nhello",
    "204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "204 with a length": b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
    "205 with a length": b"HTTP/1.1 205 Reset Content\r\nContent-Length: 5\r\n\r\nhello",
    "205 without a body": b"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n",
    "206 with a length": b"HTTP/1.1 206 Partial\r\nContent-Range: bytes 0-4/9\r\nContent-Length: 5\r\n\r\nhello",
    "302 with a length": b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 5\r\n\r\nhello",
    "304": b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\n\r\n',
    "304 with a length": b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\nContent-Length: 5\r\n\r\n',
    "404 with a length": b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nhello",
    "500 in chunks": b"HTTP/1.1 500 Oops\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
}
STATUSES = [None, 200, 204, 205, 304, 404]
CALLS = [("GET", "1.1"), ("GET", "1.0"), ("HEAD", "1.1"), ("POST", "1.1")]
_WITHOUT_BODY = {204, 304}


async def _ask(client: Client, method: str, version: str) -> Answer:
    """One answer as RFC 9112, 6.3 has clients read it: no body after HEAD, in a 204 and in a 304."""
    client.send(request(method, "/", "Connection: keep-alive", version=version))
    head = await client.head()
    bodiless = method == "HEAD" or head.status in _WITHOUT_BODY
    if bodiless:
        return Answer(head.line, head.fields)
    framed = head.all("Content-Length") or head.all("Transfer-Encoding")
    return Answer(head.line, head.fields, await client.body(head) if framed else await client.rest())


@pytest.mark.parametrize(("method", "version"), CALLS)
@pytest.mark.parametrize("answered", ANSWERS)
async def test_the_next_answer_on_the_connection_is_the_next_requests(
    answered: str, method: str, version: str
) -> None:
    whole = ANSWERS[answered]
    head, _, body = whole.partition(b"\r\n\r\n")
    answer = head + b"\r\n\r\n" if method == "HEAD" else whole
    for status in STATUSES:
        async with (
            raw_upstream(answering(answer)) as upstream,
            gateway_to(upstream.base, status=status) as gateway,
            gateway.client() as client,
        ):
            for _ in range(2):
                got = await _ask(client, method, version)
                assert got.status == (status or int(whole.split()[1]))
                assert (got.body == b"hello") is _has_body(got.status, method, body)
                lengths = got.all("Content-Length")
                if method != "HEAD" and not (got.status == 304 and answered.startswith("304")):
                    assert lengths in ([], [str(len(got.body))]), (status, got)
                if got.status == 204:
                    assert not lengths
                    assert not got.all("Transfer-Encoding")
                if got.all("Connection") == ["close"]:
                    assert await client.rest() == b""
                    break
            else:
                assert len(upstream.heads) == 2


def _has_body(status: int, method: str, body: bytes) -> bool:
    return b"hello" in body and method != "HEAD" and status not in {204, 205, 304}


@pytest.mark.parametrize("answered", ["204 with a length", "304 with a length"])
async def test_an_answer_without_a_body_that_becomes_a_200_says_that_it_is_empty(answered: str) -> None:
    async with (
        raw_upstream(answering(ANSWERS[answered])) as upstream,
        gateway_to(upstream.base, status=200) as gateway,
        gateway.client() as client,
    ):
        got = await _ask(client, "GET", "1.1")
        assert (got.all("Content-Length"), got.all("Transfer-Encoding")) == (["0"], [])


async def test_the_length_that_a_service_gives_its_own_304_is_kept() -> None:
    async with (
        raw_upstream(answering(ANSWERS["304 with a length"])) as upstream,
        gateway_to(upstream.base) as gateway,
        gateway.client() as client,
    ):
        assert (await _ask(client, "GET", "1.1")).all("Content-Length") == ["5"]
