"""What one client, or all of them together, may take: time, memory and connections."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from gateway.auth.tokens import MAX_TOKEN_CHARS
from gateway.server.limits import ConnectionLimits
from gateway.server.listener import max_descriptors
from tests.hostile.bare_server import BIG, GET, POST, SHORT, Site, beside, site
from tests.support.waiting import eventually


async def seconds_of(work: Awaitable[object]) -> float:
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with asyncio.timeout(10):
        await work
    return loop.time() - began


async def dripping(writer: asyncio.StreamWriter, byte: bytes, every: float) -> None:
    """Sends a byte now and then until nobody takes it."""
    try:
        while True:
            writer.write(byte)
            await writer.drain()
            await asyncio.sleep(every)
    except ConnectionError:
        pass


async def test_the_longest_token_is_read_from_its_header() -> None:
    head = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nAuthorization: Bearer "
    async with site() as here, here.client() as (reader, writer):
        writer.write(head + b"x" * MAX_TOKEN_CHARS + b"\r\n\r\n")
        assert (await asyncio.wait_for(reader.read(), 3)).startswith(b"HTTP/1.1 200 ")
    assert len("Authorization: Bearer ") + MAX_TOKEN_CHARS == ConnectionLimits().line_bytes


async def test_a_head_has_its_time_however_it_drips() -> None:
    async with site() as here, here.client() as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: h\r\nA: ")
        async with beside(lambda: dripping(writer, b"b", 0.05)):
            answer = await asyncio.wait_for(reader.readuntil(b"in time"), 2)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert here.served == []


async def test_a_slow_head_does_not_harm_the_request_before_it() -> None:
    async with site() as here, here.client() as (reader, writer):
        here.go.clear()
        writer.write(GET % 1 + b"GET /2")
        await here.in_progress.wait()
        await asyncio.sleep(0.6)
        here.go.set()
        answers = await asyncio.wait_for(reader.read(), 3)
        assert answers.count(b"HTTP/1.1 200 OK") == answers.count(b"HTTP/1.1 400 ") == 1
        assert answers.index(b"/1 0") < answers.index(b" 400 ")


@pytest.mark.parametrize("first", [b"", GET % 1], ids=["before any request", "after one"])
async def test_a_connection_without_requests_is_ended(first: bytes) -> None:
    async with site() as here, here.client() as (reader, writer):
        writer.write(first)
        took = await seconds_of(reader.read())
        assert 0.3 < took < 2
        assert len(here.served) == bool(first)


async def test_a_body_that_stops_coming_is_given_up() -> None:
    async with site() as here, here.client() as (reader, writer):
        writer.write(POST + b"x" * 1000)
        answer = await asyncio.wait_for(reader.read(), 3)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"connection: close" in answer.lower()


async def test_a_body_that_comes_slowly_is_waited_for() -> None:
    async with site() as here, here.client() as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(8):
            await asyncio.sleep(0.1)
            writer.write(b"1\r\nx\r\n")
        writer.write(b"0\r\n\r\n")
        assert (await asyncio.wait_for(reader.readuntil(b"/ 8"), 3)).startswith(b"HTTP/1.1 200 ")


async def test_a_body_that_the_handler_does_not_read_is_not_the_clients_fault() -> None:
    async with site() as here, here.client() as (reader, writer):
        here.go.clear()
        writer.write(POST + b"x" * 1_000_000)
        await here.in_progress.wait()
        await asyncio.sleep(0.7)
        here.go.set()
        assert (await asyncio.wait_for(reader.readuntil(b"/ 1000000"), 3)).startswith(b"HTTP/1.1 200 ")


async def test_a_client_that_ends_its_sending_has_gone() -> None:
    async with site() as here, here.client() as (reader, writer):
        here.go.clear()
        writer.write(GET % 1)
        await here.in_progress.wait()
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), 3) == b""
        assert here.served == []


async def test_a_client_that_takes_nothing_is_cut_off() -> None:
    async with site() as here:
        assert here.server
        with socket.create_connection(("127.0.0.1", here.port)) as sock:
            sock.sendall(b"GET /big HTTP/1.1\r\nHost: h\r\n\r\n")
            await seconds_of(eventually(lambda: here.served == ["/big"]))
            assert await seconds_of(eventually(lambda: not here.server.guards)) < 3  # type: ignore[union-attr]


@asynccontextmanager
async def taking(here: Site, size: int, every: float) -> AsyncIterator[asyncio.Task[None]]:
    """A client that asks for the big answer and steadily takes ``size`` bytes of it; the task ends with the connection.

    Its own buffer is small, so that the gateway hears of what it takes at once.
    """
    loop = asyncio.get_running_loop()
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * 1024)
        sock.setblocking(False)
        await loop.sock_connect(sock, ("127.0.0.1", here.port))
        await loop.sock_sendall(sock, b"GET /big HTTP/1.1\r\nHost: h\r\n\r\n")

        async def take() -> None:
            # A connection that is cut off ends only behind what is under way already.
            while here.server and here.server.guards and await loop.sock_recv(sock, size):
                await asyncio.sleep(every)

        task = asyncio.create_task(take())
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("rate", [0, 10_000])
async def test_a_client_that_takes_steadily_is_not_cut_off_though_its_socket_stays_full(rate: int) -> None:
    async with site(replace(SHORT, slow_client_rate=rate)) as here, taking(here, 8192, 0.05) as task:
        # It takes some 150 KB a second, and the socket has room again after more than a megabyte.
        await asyncio.sleep(4 * SHORT.slow_client_seconds)
        assert not task.done()
        assert here.server
        assert here.server.guards


async def test_a_client_below_the_minimum_rate_is_cut_off_however_steadily_it_takes() -> None:
    async with site(replace(SHORT, slow_client_rate=2_000_000)) as here, taking(here, 8192, 0.05) as task:
        assert await seconds_of(asyncio.wait([task])) < 3


async def test_a_client_that_takes_little_gets_all() -> None:
    async with site() as here, here.client() as (reader, writer):
        writer.write(b"GET /big HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        got = 0
        while data := await reader.read(512 * 1024):
            got += len(data)
            await asyncio.sleep(0.05)
        assert got > len(BIG)


async def test_the_last_answer_arrives_though_the_client_still_sends() -> None:
    async with site() as here, here.client() as (reader, writer):
        writer.write(b"garbage\r\n\r\n" + b"x" * 3_000_000)
        answer = await asyncio.wait_for(reader.read(), 3)
        assert answer.startswith(b"HTTP/1.1 400 ")


async def test_a_client_that_sends_on_after_the_last_answer_is_cut_off() -> None:
    async with site() as here, here.client() as (reader, writer):
        writer.write(b"garbage\r\n\r\n")
        assert (await asyncio.wait_for(reader.read(), 3)).startswith(b"HTTP/1.1 400 ")
        assert await seconds_of(dripping(writer, b"x" * 1000, 0.02)) < 3


async def test_a_head_that_is_too_long_is_refused_as_it_comes() -> None:
    async with site() as here, here.client() as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n")
        for number in range(20):
            writer.write(b"A%d: %b\r\n" % (number, b"b" * 1000))
            await asyncio.sleep(0.005)
        assert (await asyncio.wait_for(reader.readuntil(b"too long"), 3)).startswith(b"HTTP/1.1 400 ")


async def test_requests_behind_one_another_wait_outside() -> None:
    count = 20_000
    async with site() as here, here.client() as (reader, writer):
        assert here.server
        here.go.clear()
        writer.write(b"".join(GET % number for number in range(count)))
        await here.in_progress.wait()
        await asyncio.sleep(0.1)
        [connection] = here.server.guards
        assert len(connection._pending) <= 512 * 1024
        here.go.set()
        for number in range(count):
            await asyncio.wait_for(reader.readuntil(b"/%d 0" % number), 5)
        assert here.served == [f"/{number}" for number in range(count)]


async def test_one_connection_too_many_is_told_so_and_ended() -> None:
    with open(os.devnull) as probe:
        lowest = probe.fileno()
    # A client's own end takes a descriptor too.
    async with site(ConnectionLimits(), descriptors=lowest + 24) as here:
        clients = [await asyncio.open_connection("127.0.0.1", here.port) for _ in range(20)]
        try:
            answers = []
            for reader, writer in clients:
                writer.write(GET % 1)
                answers.append((await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 3))[:12])
            assert set(answers) == {b"HTTP/1.1 200", b"HTTP/1.1 503"}
            assert answers == sorted(answers)
            assert here.turned_away == answers.count(b"HTTP/1.1 503")
            reader, _ = clients[-1]
            assert await asyncio.wait_for(reader.read(), 3) == b""
        finally:
            for _, writer in clients:
                writer.transport.abort()
        await seconds_of(eventually(lambda: here.server is not None and not here.server.guards))
        async with here.client() as (reader, writer):
            writer.write(GET % 2)
            assert (await asyncio.wait_for(reader.readuntil(b"/2 0"), 3)).startswith(b"HTTP/1.1 200 ")


def test_some_descriptors_are_kept_for_everything_but_clients() -> None:
    import resource  # noqa: PLC0415 - only here

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft - max(64, soft // 10) < max_descriptors() <= soft - 64


STREAM = b"GET /api/v1/queue/stream?access_token=x HTTP/1.1\r\nHost: h\r\n\r\n"


@pytest.mark.parametrize(
    ("late", "cut"),
    [(False, 0), (True, 0), (True, 1), (True, 10), (True, 24), (True, 25)],
    ids=["with its request", "that asks later", *("that asks in two pieces",) * 4],
)
async def test_a_stream_on_one_connection_too_many_is_asked_to_come_back(late: bool, cut: int) -> None:
    async with site(ConnectionLimits(), descriptors=0) as here, here.client() as (reader, writer):
        if late:
            await seconds_of(eventually(lambda: len(here.server._undecided) == 1))  # type: ignore[union-attr]
        if cut:
            writer.write(STREAM[:cut])
            await asyncio.sleep(0.05)
        writer.write(STREAM[cut:])
        answer = await asyncio.wait_for(reader.read(), 3)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"\r\nContent-Type: text/event-stream\r\n" in head
        assert b"\r\nConnection: close" in head
        assert re.fullmatch(rb"retry: \d{4,5}\n: no room here\n\n", body)
        assert b"\r\nContent-Length: %d\r\n" % len(body) in head
        assert here.served == []
        assert here.turned_away == 1


async def test_a_silent_client_on_an_excess_connection_is_refused_soon() -> None:
    async with site(ConnectionLimits(), descriptors=0) as here:
        clients = [await asyncio.open_connection("127.0.0.1", here.port) for _ in range(40)]
        try:
            for reader, _ in clients:
                assert (await asyncio.wait_for(reader.read(), 3)).startswith(b"HTTP/1.1 503 ")
            assert here.server is not None
            assert not here.server._undecided
        finally:
            for _, writer in clients:
                writer.transport.abort()


async def test_a_client_that_leaves_an_excess_connection_is_dropped() -> None:
    async with site(ConnectionLimits(), descriptors=0) as here:
        assert here.server is not None
        async with here.client():
            await seconds_of(eventually(lambda: len(here.server._undecided) == 1))  # type: ignore[union-attr]
        await seconds_of(eventually(lambda: not here.server._undecided))  # type: ignore[union-attr]


PROBE = b"GET /actuator/health/liveness HTTP/1.1\r\nHost: h\r\n\r\n"


@pytest.mark.parametrize("cut", [0, 2, 10, 21, 30, len(PROBE) - 1])
@pytest.mark.parametrize(
    "request_",
    [
        PROBE,
        PROBE.replace(b"GET", b"HEAD"),
        PROBE.replace(b"GET", b"OPTIONS"),
        PROBE.replace(b"/liveness", b""),
    ],
)
async def test_a_full_server_answers_a_request_for_health_and_nothing_behind_it(
    request_: bytes, cut: int
) -> None:
    async with site(ConnectionLimits(linger_seconds=0.1), descriptors=0) as here:
        async with here.client() as (reader, writer):
            if cut:
                writer.write(request_[:cut])
                await seconds_of(eventually(lambda: len(here.server._undecided) == 1))  # type: ignore[union-attr]
                await asyncio.sleep(0.02)
            writer.write(request_[cut:])
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 3)
            assert head.startswith(b"HTTP/1.1 200 OK\r\n")
            assert b"\r\nConnection: close\r\n" in head
            writer.write(PROBE)
            # The connection is closed already, or this closes it.
            with contextlib.suppress(ConnectionError):
                await asyncio.wait_for(reader.read(), 3)
        await seconds_of(eventually(lambda: not here.server.probes))  # type: ignore[union-attr]
        assert len(here.served) == 1
        assert here.turned_away == 0


@pytest.mark.parametrize(
    "other",
    [
        PROBE + PROBE,
        PROBE.replace(b"health", b"healthy"),
        PROBE.replace(b"health", b"rooms"),
        PROBE.replace(b"GET", b"POST"),
        PROBE.replace(b"/liveness", b"/../rooms"),
        PROBE.replace(b"Host: h", b"Host: " + b"h" * 5000),
        PROBE[:-2],
    ],
    ids=lambda other: str(other[:40]),
)
async def test_a_full_server_answers_no_other_request(other: bytes) -> None:
    async with (
        site(ConnectionLimits(linger_seconds=0.1), descriptors=0) as here,
        here.client() as (reader, writer),
    ):
        writer.write(other)
        assert (await asyncio.wait_for(reader.read(), 3)).startswith(b"HTTP/1.1 503 ")
        assert here.served == []
        assert here.turned_away == 1


async def test_a_full_server_answers_only_a_few_requests_for_health_at_a_time() -> None:
    async with site(ConnectionLimits(linger_seconds=0.1), descriptors=0) as here:
        here.go.clear()
        clients = [await asyncio.open_connection("127.0.0.1", here.port) for _ in range(12)]
        try:
            for _, writer in clients:
                writer.write(PROBE)
            await seconds_of(eventually(lambda: here.turned_away == 4))
            here.go.set()
            answers = [await asyncio.wait_for(reader.readline(), 3) for reader, _ in clients]
            assert (
                sorted(answers)
                == [b"HTTP/1.1 200 OK\r\n"] * 8 + [b"HTTP/1.1 503 Service Unavailable\r\n"] * 4
            )
        finally:
            for _, writer in clients:
                writer.transport.abort()
        await seconds_of(eventually(lambda: not here.server.probes))  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "more",
    [
        b"",
        b"Content-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Expect: 100-continue\r\nContent-Length: 9\r\n",
        b"Connection: Upgrade\r\nUpgrade: websocket\r\n",
    ],
    ids=lambda more: str(more[:20]),
)
async def test_a_request_for_health_that_was_answered_holds_no_place(more: bytes) -> None:
    limits = ConnectionLimits(linger_seconds=60.0, body_seconds=60.0)
    async with site(limits, descriptors=0) as here:
        here.reads_bodies = False
        assert here.server is not None
        clients = [await asyncio.open_connection("127.0.0.1", here.port) for _ in range(8)]
        try:
            for reader, writer in clients:
                writer.write(PROBE[:-2] + more + b"\r\n")
                answer = await asyncio.wait_for(reader.readuntil(b"/liveness 0"), 3)
                assert b"HTTP/1.1 200 OK\r\n" in answer
            # None of the clients has closed its end.
            await seconds_of(eventually(lambda: not here.server.probes))  # type: ignore[union-attr]
            async with here.client() as (reader, writer):
                writer.write(PROBE)
                assert (await asyncio.wait_for(reader.readline(), 3)).startswith(b"HTTP/1.1 200 ")
            assert here.turned_away == 0
        finally:
            for _, writer in clients:
                writer.transport.abort()


async def test_requests_for_health_take_no_place_from_clients() -> None:
    async with site(ConnectionLimits(linger_seconds=0.1), most=1) as here:
        here.go.clear()
        async with here.client() as (_, first):
            first.write(GET % 1)
            await seconds_of(here.in_progress.wait())
            async with here.client() as (reader, probe):
                probe.write(PROBE)
                await seconds_of(eventually(lambda: len(here.server.probes) == 1))  # type: ignore[union-attr]
                first.transport.abort()
                await seconds_of(eventually(lambda: len(here.server.guards) == 1))  # type: ignore[union-attr]
                async with here.client() as (other, writer):
                    writer.write(GET % 2)
                    here.go.set()
                    assert (await asyncio.wait_for(other.readline(), 3)).startswith(b"HTTP/1.1 200 ")
                assert (await asyncio.wait_for(reader.readline(), 3)).startswith(b"HTTP/1.1 200 ")
