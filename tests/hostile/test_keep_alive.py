"""Ways in which a connection could stop listening without having said so. ``test_pipelines`` looks for others."""

from __future__ import annotations

import asyncio
import socket

import pytest

from gateway.server import listener as server
from gateway.server.limits import ConnectionLimits
from tests.hostile.bare_server import GET, SHORT, beside, site
from tests.hostile.heads import UPGRADE, WEBSOCKET
from tests.hostile.requests import CHUNKED, EMPTY
from tests.hostile.rig import Client, Gateway, request

GATED = "POST /api/v1/reservations HTTP/1.1"
OPEN = "POST /open/a HTTP/1.1"
LARGE = b"%x\r\n%b\r\n" % (140_000, b"x" * 140_000)
SECOND = request("GET /open/second HTTP/1.1")


def second_is_answered(client: Client, first: int) -> None:
    """The request before it with status ``first``, and then SECOND: answered, or its end announced and come."""
    answer = client.answer()
    assert answer is not None
    assert answer.status == first
    if answer.headers.get("connection") == "close":
        assert client.rest() == (b"", True)
        return
    client.send(SECOND)
    answer = client.answer()
    assert answer is not None
    assert answer.body == b"GET /open/second"


@pytest.mark.parametrize(("line", "status"), [(GATED, 401), (OPEN, 200)])
def test_a_large_chunk_leaves_the_connection_as_it_was(gateway: Gateway, line: str, status: int) -> None:
    for _ in range(20):
        with gateway.client() as client:
            client.send(request(line, CHUNKED, body=LARGE + EMPTY))
            second_is_answered(client, status)


@pytest.mark.parametrize(("line", "status"), [(GATED, 401), (OPEN, 200)])
@pytest.mark.parametrize("body", [b"1\r\nx\r\n" + EMPTY, b"1\r\nx\r\n0;z\r\nA: b\r\n\r\n", EMPTY])
def test_the_end_of_a_body_may_come_in_any_two_reads(
    gateway: Gateway, line: str, status: int, body: bytes
) -> None:
    head = request(line, CHUNKED)
    for cut in range(len(body)):
        with gateway.client() as client:
            client.send(head + body[:cut], body[cut:])
            second_is_answered(client, status)


@pytest.mark.parametrize("size", [1, 1000, 60_000])
def test_the_known_rest_of_a_refused_body_is_read_and_dropped(gateway: Gateway, size: int) -> None:
    with gateway.client() as client:
        for _ in range(3):
            client.send(request(GATED, b"Content-Length: %d\r\n" % size))
            answer = client.answer()
            assert answer is not None
            assert (answer.status, answer.headers.get("connection")) == (401, None)
            client.send(b"x" * (size // 2), b"x" * (size - size // 2) + SECOND)
            answer = client.answer()
            assert answer is not None
            assert answer.body == b"GET /open/second"


@pytest.mark.parametrize(
    "headers",
    [
        [b"Content-Length: 5\r\n", b"Expect: 100-continue\r\n"],
        [b"Content-Length: 100000\r\n"],
        [CHUNKED],
        [CHUNKED, b"Expect: 100-continue\r\n"],
        [CHUNKED, UPGRADE],
        [b"Content-Length: 5\r\n", WEBSOCKET],
    ],
)
def test_an_early_answer_to_a_body_that_may_not_come_is_the_last_and_says_so(
    gateway: Gateway, headers: list[bytes]
) -> None:
    with gateway.client() as client:
        client.send(request(GATED, *headers))
        answer = client.answer()
        assert answer is not None
        assert (answer.status, answer.headers["connection"]) == (401, "close")
        assert client.rest() == (b"", True)


def test_the_last_answer_arrives_though_the_body_is_still_being_sent(gateway: Gateway) -> None:
    with gateway.client() as client:
        client.send(request(GATED, b"Content-Length: 30000000\r\n", body=b"x" * 8_000_000))
        answer = client.answer()
        assert answer is not None
        assert (answer.status, answer.headers["connection"]) == (401, "close")


def test_a_parser_that_was_told_to_pause_too_late_goes_on(gateway: Gateway) -> None:
    # The pause for so many chunks comes with the last of them, and is still in force for the next body.
    with gateway.client() as client:
        for chunks, size in ((4097, 5), (4097, 70_000), (40_000, 5)):
            many = request(OPEN, CHUNKED, body=b"1\r\nx\r\n" * chunks + EMPTY)
            client.send(many + request(OPEN, b"Content-Length: %d\r\n" % size, body=b"x" * size) + SECOND)
            for body in (b"POST /open/a", b"POST /open/a", b"GET /open/second"):
                answer = client.answer()
                assert answer is not None
                assert answer.headers.get("connection") != "close"
                assert answer.body == body


@pytest.mark.parametrize("upgrade", [UPGRADE, WEBSOCKET], ids=["h2c", "websocket"])
def test_an_upgrade_anywhere_in_a_full_queue_takes_no_request_along(gateway: Gateway, upgrade: bytes) -> None:
    # The first is served before its body has come, and so counted otherwise than the rest.
    first = request(OPEN, b"Content-Length: 5\r\n")
    for position in range(28, 35):
        queue = [request(f"GET /open/{number} HTTP/1.1") for number in range(40)]
        queue[position] = request(f"GET /open/{position} HTTP/1.1", upgrade)
        with gateway.client() as client:
            client.send(first, b"hello" + b"".join(queue))
            for body in (b"POST /open/a", *(b"GET /open/%d" % number for number in range(40))):
                answer = client.answer()
                assert answer is not None
                assert answer.body == body


def test_health_is_told_in_http_1_0_without_host(gateway: Gateway) -> None:
    with gateway.client() as client:
        client.send(b"GET /actuator/health HTTP/1.0\r\n\r\n")
        answer, closed = client.rest()
    assert closed
    assert b" 200 OK\r\n" in answer[:30]
    assert b'"status":"UP"' in answer


def test_an_absolute_target_gives_the_host_that_a_client_of_http_1_0_did_not_send(gateway: Gateway) -> None:
    with gateway.client() as client:
        client.send(b"GET http://h/open/a HTTP/1.0\r\n\r\n")
        answer, closed = client.rest()
    assert closed
    assert b" 200 OK\r\n" in answer[:40]
    assert [seen.target for seen in gateway.behind()[0]] == ["/open/a"]


def test_a_service_gets_its_own_host_where_the_client_sent_none(gateway: Gateway) -> None:
    with gateway.client() as client:
        client.send(b"GET /open/a HTTP/1.0\r\n\r\n")
        assert client.rest()[1]
    [seen] = gateway.behind()[0]
    assert seen.values("Host") == [gateway.upstream.url.removeprefix("http://")]
    assert seen.values("X-Forwarded-Host") == []
    assert "host=" not in seen.values("Forwarded")[0]


async def test_an_empty_line_behind_a_body_begins_no_head() -> None:
    async with site(SHORT) as here, here.client() as (reader, writer):
        writer.write(b"POST /1 HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx\r\n")
        assert (await asyncio.wait_for(reader.readuntil(b"/1 1"), 3)).startswith(b"HTTP/1.1 200 ")
        # The idle time passes, and no time for a head; nothing is answered that was not asked.
        assert await asyncio.wait_for(reader.read(), 3) == b""


async def test_a_head_on_its_way_is_not_idleness() -> None:
    async with site(SHORT) as here, here.client() as (reader, writer):
        writer.write(GET % 1)
        await asyncio.wait_for(reader.readuntil(b"/1 0"), 3)
        await asyncio.sleep(SHORT.idle_seconds * 0.8)
        writer.write((GET % 2)[:9])
        await asyncio.sleep(SHORT.head_seconds * 0.7)
        writer.write((GET % 2)[9:])
        assert (await asyncio.wait_for(reader.readuntil(b"/2 0"), 3)).startswith(b"HTTP/1.1 200 ")


async def test_an_answer_under_way_when_draining_begins_says_that_it_is_the_last() -> None:
    async with site() as here, here.client() as (reader, writer):
        assert here.server
        here.go.clear()
        writer.write(GET % 1 + GET % 2)
        await here.in_progress.wait()
        here.server.pre_shutdown()
        here.go.set()
        answers = await asyncio.wait_for(reader.read(), 3)
        heads = answers.split(b"HTTP/1.1 ")[1:]
        assert [b"Connection: close" in one for one in heads] == [False, True]


async def test_a_body_under_way_when_the_instance_stops_is_read_to_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "_IDLE_GRACE_SECONDS", 0.05)
    async with (
        site(ConnectionLimits()) as here,
        here.client() as (reader, writer),
        here.client() as (other, _),
    ):
        assert here.server
        writer.write(b"POST /1 HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nx")
        await here.in_progress.wait()
        here.server.pre_shutdown()
        async with beside(lambda: here.server.shutdown(5.0)):  # type: ignore[union-attr]
            # One that is idle is ended after its own time, which shows that this has passed.
            assert await asyncio.wait_for(other.read(), 3) == b""
            writer.write(b"x")
            answer = await asyncio.wait_for(reader.read(), 3)
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"\r\nConnection: close\r\n" in answer
        assert answer.endswith(b"/1 2")


EXTENSIONS = (b"", b";", b";;", b"; a=b", b" ;a", b";a= b", b';a="x" ', b";a=\xff", b';"', b";a,b", b";/")


@pytest.mark.parametrize("extension", EXTENSIONS)
@pytest.mark.parametrize(("line", "status"), [(GATED, 401), (OPEN, 200)])
def test_an_extension_of_a_chunk_leaves_the_connection_as_it_was(
    gateway: Gateway, line: str, status: int, extension: bytes
) -> None:
    """In one write with its head, since aiohttp's request comes into being only after that."""
    with gateway.client() as client:
        client.send(request(line, CHUNKED, body=b"3%b\r\nabc\r\n" % extension + EMPTY))
        second_is_answered(client, status)


@pytest.mark.parametrize("end", [b"XX", b"\n\n", b"\r\r", b"\rX", b"X\n"])
@pytest.mark.parametrize("line", [GATED, OPEN])
def test_a_chunk_that_does_not_end_where_it_should_ends_the_connection(
    gateway: Gateway, line: str, end: bytes
) -> None:
    with gateway.client() as client:
        client.send(request(line, CHUNKED, body=b"3\r\nabc" + end + EMPTY), SECOND)
        answer = client.answer()
        assert answer is not None
        assert answer.status in {400, 401}
        assert answer.headers["connection"] == "close"
        assert client.rest() == (b"", True)


@pytest.mark.parametrize("host", ["xn--a", "xn--", "a.xn--zz--zz", "xn--_.", "[]@", "][@"])
def test_a_target_with_a_host_that_is_none_is_answered_and_the_connection_ends(
    gateway: Gateway, host: str
) -> None:
    with gateway.client() as client:
        client.send(f"GET http://{host}/open/a HTTP/1.1\r\nHost: h\r\n\r\n".encode(), SECOND)
        answer = client.answer()
        assert answer is not None
        assert answer.status == 400
        assert "x-trace-id" in answer.headers


@pytest.mark.parametrize("target", ["/open/a%0A", "*", "http://h", "http://h?x"])
@pytest.mark.parametrize("expected", [b"foo", b"100-continue"])
def test_nothing_is_answered_outside_of_the_middlewares(
    gateway: Gateway, target: str, expected: bytes
) -> None:
    """aiohttp itself answers an expectation where its router finds no route."""
    with gateway.client() as client:
        client.send(
            request(
                f"POST {target} HTTP/1.1", b"Expect: " + expected + b"\r\nContent-Length: 1\r\n", body=b"x"
            )
        )
        answer = client.answer()
        assert answer is not None
        assert answer.status in {400, 401}
        assert "x-trace-id" in answer.headers


def test_an_absolute_target_without_a_path_means_the_root(gateway: Gateway) -> None:
    with gateway.client() as client:
        for target in ("http://h", "http://h/"):
            client.send(request(f"GET {target} HTTP/1.1"))
            answer = client.answer()
            assert answer is not None
            assert (answer.status, answer.code) == (401, "TOKEN_REQUIRED")


async def test_a_client_that_takes_nothing_and_asks_for_nothing_is_cut_off() -> None:
    """So little waits for it that aiohttp never pauses; closing an idle connection would wait for ever."""
    limits = ConnectionLimits(idle_seconds=0.3, slow_client_seconds=0.3, slow_client_rate=0)
    async with site(limits) as here:
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(sock, ("127.0.0.1", here.port))
            await loop.sock_sendall(sock, b"GET /big HTTP/1.1\r\nHost: h\r\n\r\n")
            assert here.server
            async with asyncio.timeout(10):
                while not here.server.guards:
                    await asyncio.sleep(0.01)
                while here.server.guards:
                    await asyncio.sleep(0.01)


async def test_a_rest_that_comes_slowly_keeps_the_promise_of_the_early_answer() -> None:
    limits = ConnectionLimits(body_seconds=0.4)
    async with site(limits) as here, here.client() as (reader, writer):
        here.reads_bodies = False
        writer.write(b"POST /1 HTTP/1.1\r\nHost: h\r\nContent-Length: 20\r\n\r\n")
        assert b"Connection: close" not in await asyncio.wait_for(reader.readuntil(b"/1 0"), 3)
        for _ in range(20):
            # Longer in all than a piece may take.
            await asyncio.sleep(0.05)
            writer.write(b"x")
        writer.write(GET % 2)
        assert await asyncio.wait_for(reader.readuntil(b"/2 0"), 3)
