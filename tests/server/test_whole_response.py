"""The gateway's own answers on the wire."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from gateway.server import whole_response
from gateway.server.listener import Server
from gateway.server.whole_response import JsonResponse, PlainAnswer, WholeResponse
from tests.support.listening import listening

REQUESTS = 400
BODY = b'"' + b"x" * 100_000 + b'"'


async def test_backpressure_stops_serving_a_client_that_does_not_read_and_loses_no_answer() -> None:
    served = 0

    async def handle(_request: web.BaseRequest) -> web.StreamResponse:
        nonlocal served
        served += 1
        return JsonResponse(BODY)

    async with listening(web.ServerRunner(Server(handle), shutdown_timeout=1.0)) as base:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(base.rpartition(":")[2]), limit=1000)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * REQUESTS)
        before = -1
        while before != served:
            before = served
            await asyncio.sleep(0.3)
        # What two kernels take, and no more.
        assert 0 < served < REQUESTS / 2
        for _ in range(REQUESTS):
            head = await reader.readuntil(b"\r\n\r\n")
            assert b"Content-Length: %d\r\n" % len(BODY) in head
            assert await reader.readexactly(len(BODY)) == BODY
        assert served == REQUESTS
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize(
    ("asked", "connection", "has_body"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", None, True),
        (b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", None, False),
        (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"close", True),
        (b"GET / HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n", b"keep-alive", True),
        (b"GET / HTTP/1.0\r\nHost: x\r\n\r\n", None, True),
    ],
)
async def test_it_is_framed_as_the_client_can_read_it(
    asked: bytes, connection: bytes | None, has_body: bool
) -> None:
    async def handle(_request: web.BaseRequest) -> web.StreamResponse:
        return JsonResponse(b"{}", status=503, headers={"Retry-After": "3"})

    async with listening(web.ServerRunner(Server(handle), shutdown_timeout=1.0)) as base:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(base.rpartition(":")[2]))
        writer.write(asked)
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        assert lines[0].split(b" ", 1)[1] == b"503 Service Unavailable"
        assert b"Retry-After: 3" in lines
        assert b"Content-Length: 2" in lines
        found = [line.removeprefix(b"Connection: ") for line in lines if line.startswith(b"Connection: ")]
        assert found == ([] if connection is None else [connection])
        if has_body:
            assert await reader.readexactly(2) == b"{}"
        if connection == b"close" or b"HTTP/1.0\r\nHost: x\r\n\r\n" in asked:
            assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("keep_alive", [True, False])
@pytest.mark.parametrize("bodiless", [True, False])
def test_a_plain_answer_is_the_same_as_a_whole_response(
    monkeypatch: pytest.MonkeyPatch, keep_alive: bool, bodiless: bool
) -> None:
    monkeypatch.setattr(whole_response, "rfc822_formatted_time", lambda: "Thu, 01 Jan 2026 00:00:00 GMT")
    fields = {"Content-Type": "text/plain", "X-A": "a b", "X-Empty": ""}
    raw = [(name.encode(), value.encode()) for name, value in fields.items()]
    plain = PlainAnswer(b"body\n", raw).serialized(keep_alive=keep_alive, bodiless=bodiless)
    assert plain == WholeResponse(b"body\n", headers=fields).serialized(
        keep_alive=keep_alive, bodiless=bodiless
    )


@pytest.mark.parametrize(
    "value", [b"a\r\nX-B: c", b"a\nb", b"a\r", b"\0", b"\x7f", b"\x0b", "\u2028".encode(), b"\x85"]
)
def test_a_plain_answer_takes_no_value_that_a_reader_may_take_for_two_lines(value: bytes) -> None:
    for field in ((b"X-A", value), (b"X-A" + value, b"b")):
        with pytest.raises(ValueError, match="line break"):
            PlainAnswer(b"\n", [field]).serialized(keep_alive=True)
