"""Requests that come when they come."""

from __future__ import annotations

import asyncio

from benchmarks.arrivals import Arrivals, drive
from tests.benchmarks.rig import OK, counting


def order(port: int, **changes: object) -> Arrivals:
    given = {"port": port, "method": "GET", "path": "/x", "rate": 200.0, "seconds": 0.5, "tokens": ("a", "b")}
    return Arrivals(**given | {"connections": 100} | changes)  # type: ignore[arg-type]


async def test_as_many_are_sent_as_come_and_every_answer_is_counted() -> None:
    async with counting(OK) as server:
        came = await drive(order(server.port))
    assert (came.sent, came.unsent, came.unanswered) == (100, 0, 0)
    assert came.statuses == {"200": 100}
    assert (came.good, came.shed, came.errors) == (100, 0, 0)
    assert server.seen.total() == 100
    assert len(server.seen) == 2
    assert 0 < came.p50 <= came.p99 <= came.worst


async def test_a_reconnect_request_is_no_error() -> None:
    body = b'{"error":{"code":"OVERLOADED"}}'
    head = b"HTTP/1.1 503 Away\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with counting(head + body) as server:
        came = await drive(order(server.port))
    assert came.statuses == {"503 OVERLOADED": 100}
    assert (came.good, came.shed, came.errors) == (0, 100, 0)


async def test_a_request_that_finds_all_connections_busy_is_counted_and_does_not_wait() -> None:
    # A service that reads and never answers, until it hangs up.
    asked = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await asyncio.sleep(0.6)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        came = await drive(order(server.sockets[0].getsockname()[1], connections=2))
    assert asked.is_set()
    assert (came.sent, came.unanswered, came.unsent) == (2, 2, 98)
    assert came.errors == 100
