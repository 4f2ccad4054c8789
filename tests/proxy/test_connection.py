"""One request and its answer on one connection."""

from __future__ import annotations

import asyncio

import pytest

from gateway.errors import UpstreamTimeout, UpstreamUnreachable
from gateway.proxy.connection import UpstreamConnection
from gateway.proxy.pool import UpstreamPool
from tests.support.raw_http import OK, Peer, Upstream, answering, raw_upstream

SHORT = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok"
ASK = b"GET / HTTP/1.1\r\nHost: svc\r\n\r\n"


async def asked(pool: UpstreamPool, upstream: Upstream, *, body_follows: bool = True) -> UpstreamConnection:
    connection = await pool.connect(upstream.base, 1)
    connection.begin(ASK, body_follows=body_follows)
    return connection


async def read_all(connection: UpstreamConnection) -> bytes:
    body = b""
    while piece := await connection.read():
        body += piece
    return body


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (OK, b"ok"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", b"ok"),
        (b"HTTP/1.1 204 No\r\n\r\n", b""),
        (b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", b"ok"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nraw", b"raw"),
    ],
)
async def test_an_answer_is_read_raw_and_the_connection_kept(answer: bytes, body: bytes) -> None:
    async with raw_upstream(answering(answer)) as upstream, UpstreamPool() as pool:
        for turn in range(3):
            connection = await asked(pool, upstream)
            assert (connection.reused, connection.answered) == (turn > 0, False)
            await connection.read_head()
            assert connection.answered
            assert await read_all(connection) == body
            connection.release()
        assert upstream.connections == 1


async def test_interim_heads_come_one_by_one() -> None:
    answer = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\n" + OK
    async with raw_upstream(answering(answer)) as upstream, UpstreamPool() as pool:
        connection = await asked(pool, upstream)
        assert [(await connection.read_head()).code for _ in range(3)] == [100, 103, 200]
        assert connection.read_arrived() == (b"ok", True)
        connection.release()


async def test_what_was_not_read_to_its_end_is_closed_not_kept() -> None:
    async with raw_upstream(answering(SHORT)) as upstream, UpstreamPool() as pool:
        connection = await asked(pool, upstream)
        connection.release()
        connection = await asked(pool, upstream)
        await connection.read_head()
        assert connection.read_arrived() == (b"ok", False)
        connection.release()
        connection.close()
        assert pool._idle == {}


async def test_an_answer_that_says_close_is_not_used_again() -> None:
    answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
    async with raw_upstream(answering(answer)) as upstream, UpstreamPool() as pool:
        for _ in range(2):
            connection = await asked(pool, upstream)
            await connection.read_head()
            assert connection.read_arrived() == (b"ok", True)
            connection.release()
        assert upstream.connections == 2


async def test_a_deadline_ends_the_wait_for_a_head_and_nothing_later() -> None:
    go = asyncio.Event()

    async def talk(upstream: Upstream, peer: Peer) -> None:
        await upstream.head(peer)
        if upstream.connections == 1:
            await peer.reader.read()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
        await go.wait()
        peer.send(b"ok")
        await peer.reader.read()

    async with raw_upstream(talk) as upstream, UpstreamPool() as pool:
        connection = await asked(pool, upstream)
        connection.start_deadline(0.01)
        with pytest.raises(UpstreamTimeout):
            await connection.read_head()
        connection.close()
        connection = await asked(pool, upstream)
        connection.start_deadline(0.5)
        await connection.read_head()
        connection.start_deadline(0.0)
        await asyncio.sleep(0.7)
        go.set()
        assert await read_all(connection) == b"ok"
        connection.release()


async def test_a_failure_reaches_the_reader_of_the_body_too() -> None:
    async with raw_upstream(answering(SHORT)) as upstream, UpstreamPool() as pool:
        connection = await asked(pool, upstream)
        await connection.read_head()
        assert await connection.read() == b"ok"
        reading = asyncio.ensure_future(connection.read())
        await asyncio.sleep(0)
        connection.fail(UpstreamUnreachable("test"))
        with pytest.raises(UpstreamUnreachable, match="test"):
            await reading
        connection.close()


async def test_sending_into_a_lost_connection_is_told() -> None:
    async with raw_upstream(answering(OK, then_close=True)) as upstream, UpstreamPool() as pool:
        connection = await asked(pool, upstream)
        await connection.read_head()
        while connection._protocol.is_connected():
            await asyncio.sleep(0)
        with pytest.raises(UpstreamUnreachable):
            connection.send(b"more")
        connection.close()


async def test_draining_ends_when_the_connection_does_or_nothing_is_taken() -> None:
    async def talk(upstream: Upstream, peer: Peer) -> None:
        await upstream.head(peer)
        await asyncio.Event().wait()

    async with raw_upstream(talk) as upstream, UpstreamPool() as pool:
        connection = await asked(pool, upstream)
        await connection.drain(1)
        connection.send(b"a" * 50_000_000)
        with pytest.raises(UpstreamTimeout):
            await connection.drain(0.05)
        connection.close()


async def test_a_connection_that_is_closing_is_not_taken_again() -> None:
    async with raw_upstream(answering(OK, then_close=True)) as upstream, UpstreamPool() as pool:
        for turn in range(5):
            connection = await asked(pool, upstream)
            assert not connection.reused
            await connection.read_head()
            assert connection.read_arrived() == (b"ok", True)
            connection.release()
            assert upstream.connections == turn + 1
            # Seen to be ended by the upstream, and not yet told so: the moment in which it looks good.
            while connection._protocol.is_connected():
                await asyncio.sleep(0)
