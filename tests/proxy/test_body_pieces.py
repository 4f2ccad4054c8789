"""Bodies of known length that arrive in pieces go to their readers past aiohttp's parsers, and end where they must."""

from __future__ import annotations

import asyncio
from random import Random

import aiohttp.client_proto
import aiohttp.http
import pytest
from aiohttp.http_parser import (
    HttpRequestParser,
    HttpRequestParserPy,
    HttpResponseParser,
    HttpResponseParserPy,
)

import gateway.server._aiohttp
from gateway.proxy.pool import UpstreamPool
from tests.proxy.rig import gateway_to
from tests.support.raw_http import OK, Peer, Upstream, raw_upstream, request

SIZE = 600_000
BODY = bytes(range(256)) * (SIZE // 256 + 1)
FIRST = 100_000
# Beside the sizes at which aiohttp and the gateway begin to act differently: nothing, a piece sent beside its head, and
# what a reader holds before it pauses.
EDGES = (0, 0, 1, 2, 4, 16_383, 16_384, 65_536, 131_071, 131_072, 131_073, 262_145)


@pytest.fixture(params=["c", "python"], autouse=True)
def parsers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    of_requests, of_answers = {
        "c": (HttpRequestParser, HttpResponseParser),
        "python": (HttpRequestParserPy, HttpResponseParserPy),
    }[request.param]
    monkeypatch.setattr(aiohttp.web_protocol, "HttpRequestParser", of_requests)
    monkeypatch.setattr(gateway.server._aiohttp, "HttpRequestParser", of_requests)
    monkeypatch.setattr(aiohttp.client_proto, "HttpResponseParser", of_answers)


async def test_the_requests_behind_a_body_in_pieces_are_read() -> None:
    """Twice on one connection: a body whose rest comes with the whole of the next request."""
    begun = asyncio.Event()

    async def talk(upstream: Upstream, peer: Peer) -> None:
        while True:
            head = await upstream.head(peer)
            length = int("".join(head.all("Content-Length")) or 0)
            data = await peer.exactly(min(length, FIRST))
            begun.set()
            upstream.bodies.append(data + await peer.exactly(length - len(data)))
            peer.send(OK)

    async with (
        raw_upstream(talk) as upstream,
        gateway_to(upstream.base) as gateway,
        gateway.client() as client,
    ):
        for _ in range(2):
            begun.clear()
            client.send(request("PUT", "/long", f"Content-Length: {SIZE}") + BODY[:FIRST])
            await begun.wait()
            client.send(
                BODY[FIRST:SIZE] + request("POST", "/short", "Content-Length: 4") + b"body" + request()
            )
            for _ in range(3):
                assert (await client.answer()).body == b"ok"
        assert upstream.bodies == [BODY[:SIZE], b"body", b""] * 2
        assert upstream.connections == 1


async def test_an_early_answer_leaves_the_rest_of_a_body_in_pieces_to_be_dropped() -> None:
    async def talk(upstream: Upstream, peer: Peer) -> None:
        await upstream.head(peer)
        peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await peer.reader.read()

    async with (
        raw_upstream(talk) as upstream,
        gateway_to(upstream.base) as gateway,
        gateway.client() as client,
    ):
        client.send(request("PUT", "/", f"Content-Length: {SIZE}") + BODY[:FIRST])
        head = await client.head()
        assert head.status == 413
        assert head.all("Connection") == ["close"]
        client.send(BODY[FIRST:SIZE])
        assert await client.reader.read() == b""


async def test_a_body_in_pieces_is_whole_even_if_its_reader_comes_after_the_end_of_the_connection() -> None:
    async def talk(upstream: Upstream, peer: Peer) -> None:
        await upstream.head(peer)
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n")
        await peer.writer.drain()
        await seen.wait()
        peer.send(b"in ")
        peer.send(b"two")

    seen = asyncio.Event()
    async with raw_upstream(talk) as upstream, UpstreamPool() as pool:
        connection = await pool.connect(upstream.base, 1)
        connection.begin(request(), body_follows=True)
        await connection.read_head()
        seen.set()
        protocol = connection.protocol
        while protocol.is_connected():
            await asyncio.sleep(0)
        assert connection.read_arrived() == (b"in two", True)
        connection.close()


async def test_a_body_that_ends_early_is_no_whole_body() -> None:
    async def talk(upstream: Upstream, peer: Peer) -> None:
        await upstream.head(peer)
        peer.send(f"HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n".encode() + BODY[: SIZE - 1])

    async with (
        raw_upstream(talk) as upstream,
        gateway_to(upstream.base) as gateway,
        gateway.client() as client,
    ):
        client.send(request())
        assert (await client.head()).status == 200
        assert await client.rest() == BODY[: SIZE - 1]
        assert not getattr(await gateway.outcome(), "complete", True)


async def test_bytes_behind_a_body_in_pieces_cost_the_connection() -> None:
    async def talk(upstream: Upstream, peer: Peer) -> None:
        while True:
            await upstream.head(peer)
            peer.send(f"HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n".encode() + BODY[:FIRST])
            await peer.writer.drain()
            peer.send(BODY[FIRST:SIZE] + OK)

    async with (
        raw_upstream(talk) as upstream,
        gateway_to(upstream.base) as gateway,
        gateway.client() as client,
    ):
        for turn in range(1, 3):
            client.send(request())
            assert (await client.answer()).body == BODY[:SIZE]
            assert upstream.connections == turn


@pytest.mark.parametrize("seed", range(2))
async def test_bodies_keep_their_bounds_however_they_are_cut(seed: int) -> None:
    """Requests one behind the other, and their answers: all are cut anywhere, and near the bounds more often."""
    random = Random(seed)
    bodies = [random.randbytes(random.choice(EDGES)) for _ in range(12)]

    async def talk(upstream: Upstream, peer: Peer) -> None:
        while True:
            body = await peer.body(await upstream.head(peer))
            await send_in_pieces(
                peer, [f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode(), body], random
            )

    async with (
        raw_upstream(talk) as upstream,
        gateway_to(upstream.base) as gateway,
        gateway.client() as client,
        asyncio.TaskGroup() as tasks,
    ):
        parts = [
            part for body in bodies for part in (request("PUT", "/", f"Content-Length: {len(body)}"), body)
        ]
        tasks.create_task(send_in_pieces(client, parts, random))
        for body in bodies:
            assert (await client.answer()).body == body


async def send_in_pieces(peer: Peer, parts: list[bytes], random: Random) -> None:
    """Sends ``parts`` as one, cut in about two pieces a part. Between the pieces the loop may run."""
    data, ends = b"".join(parts), [0]
    for part in parts:
        ends.append(ends[-1] + len(part))
    cuts = {random.choice(ends) + random.randint(-4, 4) for _ in parts}
    cuts |= {random.randrange(len(data)) for _ in parts}
    at = 0
    for cut in (*sorted(cut for cut in cuts if 0 < cut < len(data)), len(data)):
        peer.send(data[at:cut])
        at = cut
        for _ in range(random.randrange(8)):
            await asyncio.sleep(0)
        await peer.writer.drain()
