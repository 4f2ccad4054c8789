"""What comes behind an answer belongs to no one: the answer is whole, and the connection serves nobody again."""

from __future__ import annotations

import asyncio

import aiohttp.client_proto
import pytest
from aiohttp.http_parser import HttpResponseParser, HttpResponseParserPy

from tests.proxy.rig import gateway_to
from tests.support.raw_http import OK, Peer, Upstream, raw_upstream, request

EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX-Evil: 1\r\n\r\nEVIL"
STRAY = [
    b"x",
    b"H",
    b"HTTP/1.1 200 OK\r\nX: ",
    EVIL,
    EVIL[:-1],
    EVIL * 3,
    b"\0\1\2",
    b"0\r\n\r\n",
    b"x" * 300_000,
]
ANSWERS = {
    "a length": ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, b"hello"),
    "a length of nothing": ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, b""),
    "chunks": (
        "GET",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        200,
        b"hello",
    ),
    "chunks with a trailer": (
        "GET",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n\r\n",
        200,
        b"hello",
    ),
    "204": ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
    "204 of nothing": ("GET", b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", 204, b""),
    "304": ("GET", b"HTTP/1.1 304 Not Modified\r\n\r\n", 304, b""),
    "304 with a length": ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304, b""),
    "205": ("GET", b"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n", 205, b""),
    "HEAD": ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 200, b""),
    "HEAD of chunks": ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200, b""),
    "HEAD without a length": ("HEAD", b"HTTP/1.1 200 OK\r\n\r\n", 200, b""),
    "a body behind an interim answer": (
        "GET",
        b"HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        200,
        b"hello",
    ),
}


@pytest.fixture(params=[HttpResponseParser, HttpResponseParserPy], ids=["c", "python"], autouse=True)
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aiohttp.client_proto, "HttpResponseParser", request.param)


async def ask(upstream: Upstream, method: str, times: int, *, bodiless: bool) -> list[tuple[int, bytes]]:
    async with gateway_to(upstream.base) as gateway, gateway.client() as client:
        found = []
        for _ in range(times):
            client.send(request(method))
            head = await client.head()
            while head.status == 103:
                head = await client.head()
            assert not head.all("X-Evil")
            found.append((head.status, b"" if bodiless else await client.body(head)))
        assert not client.reader.at_eof()
    return found


@pytest.mark.parametrize("stray", STRAY, ids=range(len(STRAY)))
@pytest.mark.parametrize("name", ANSWERS)
async def test_stray_bytes_in_the_same_write_cost_the_connection_and_nothing_else(
    name: str, stray: bytes
) -> None:
    method, answer, status, body = ANSWERS[name]

    async def talk(upstream: Upstream, peer: Peer) -> None:
        while True:
            upstream.heads.append(await peer.head())
            peer.send(answer + stray)

    async with raw_upstream(talk) as upstream:
        assert await ask(upstream, method, 3, bodiless=not body) == [(status, body)] * 3
    assert upstream.connections == 3


@pytest.mark.parametrize("name", ANSWERS)
async def test_an_answer_with_nothing_behind_it_keeps_its_connection(name: str) -> None:
    method, answer, status, body = ANSWERS[name]
    for size in (1, 2, 3, 7, len(answer)):

        async def talk(upstream: Upstream, peer: Peer, size: int = size) -> None:
            while True:
                await peer.head()
                for at in range(0, len(answer), size):
                    peer.send(answer[at : at + size])
                    await asyncio.sleep(0)

        async with raw_upstream(talk) as upstream:
            assert await ask(upstream, method, 3, bodiless=not body) == [(status, body)] * 3
        # Where a body is announced that must not come, it may come all the same, and late. And without a length nothing
        # says that the service keeps the connection.
        kept = "HEAD" not in name and "304 with" not in name
        assert upstream.connections == (1 if kept else 3)


@pytest.mark.parametrize("cut", range(1, 60, 7))
async def test_stray_bytes_in_pieces_never_become_an_answer(cut: int) -> None:
    async def talk(upstream: Upstream, peer: Peer) -> None:
        await peer.head()
        # What follows the cut comes when the connection might be in use again.
        peer.send(OK + EVIL[:cut])
        await peer.head()
        peer.send(EVIL[cut:] + OK)

    async with raw_upstream(talk) as upstream:
        assert await ask(upstream, "GET", 4, bodiless=False) == [(200, b"ok")] * 4
    assert upstream.connections == 4


@pytest.mark.parametrize(
    "head",
    [b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Content-Length: 005\r\n"],
)
async def test_a_204_that_announces_a_body_ends_its_connection(head: bytes) -> None:
    async def talk(upstream: Upstream, peer: Peer) -> None:
        await peer.head()
        peer.send(b"HTTP/1.1 204 No Content\r\n" + head + b"\r\n")
        # The body comes later, when another request may be on its way.
        await peer.head()
        peer.send(b"5\r\nhello\r\n0\r\n\r\n" + EVIL)

    async with (
        raw_upstream(talk) as upstream,
        gateway_to(upstream.base) as gateway,
        gateway.client() as client,
    ):
        for _ in range(3):
            client.send(request())
            answer = await client.head()
            assert answer.status == 204
            assert not answer.all("Content-Length") + answer.all("Transfer-Encoding")
    assert upstream.connections == 3


async def test_a_service_that_ends_its_lines_in_lf_alone_is_understood_and_not_kept() -> None:
    async def talk(upstream: Upstream, peer: Peer) -> None:
        while True:
            await peer.head()
            peer.send(b"HTTP/1.1 200 OK\nContent-Length: 14\n\nhello\r\n\r\nhello")

    async with raw_upstream(talk) as upstream:
        assert await ask(upstream, "GET", 2, bodiless=False) == [(200, b"hello\r\n\r\nhello")] * 2


async def test_a_long_body_in_many_reads_is_counted_to_its_end() -> None:
    body = bytes(range(256)) * 8192

    async def talk(upstream: Upstream, peer: Peer) -> None:
        while True:
            await peer.head()
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            await peer.writer.drain()

    async with raw_upstream(talk) as upstream:
        assert await ask(upstream, "GET", 3, bodiless=False) == [(200, body)] * 3
    assert upstream.connections == 1


@pytest.mark.parametrize("answer", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 304 Not Modified\r\n"])
async def test_a_late_body_where_none_may_come_is_not_the_next_answer(answer: bytes) -> None:
    """As of a service that answers HEAD as GET, the head first and then the body."""
    method = "HEAD" if b"200" in answer else "GET"

    async def talk(upstream: Upstream, peer: Peer) -> None:
        await peer.head()
        peer.send(answer + b"Content-Length: %d\r\n\r\n" % len(EVIL))
        await peer.head()
        peer.send(EVIL)

    async def others(upstream: Upstream, peer: Peer) -> None:
        while True:
            await peer.head()
            peer.send(OK)

    async def in_turn(upstream: Upstream, peer: Peer) -> None:
        await (talk if upstream.connections == 1 else others)(upstream, peer)

    async with (
        raw_upstream(in_turn) as upstream,
        gateway_to(upstream.base) as gateway,
        gateway.client() as client,
    ):
        client.send(request(method))
        await client.answer(bodiless=True)
        assert (await client.ask()).body == b"ok"
    assert upstream.connections == 2
