"""The load generator, against a server that counts."""

from __future__ import annotations

import pytest

from benchmarks.load import BrokenAnswer, Order, answer_size, drive, requests
from tests.benchmarks.rig import OK, counting


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (b"", None),
        (b"HTTP/1.1 200 OK\r\nContent-Le", None),
        (OK, len(OK)),
        (OK[:-1], len(OK)),
        (b"HTTP/1.1 200 OK\r\ncontent-length:2\r\n\r\nok", 39),
        (b"HTTP/1.1 204 No Content\r\nDate: x\r\n\r\n", 36),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", None),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 59),
    ],
)
def test_the_end_of_an_answer_is_told_from_its_head(data: bytes, size: int | None) -> None:
    assert answer_size(data) == size


@pytest.mark.parametrize("data", [b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\nDate: x\r\n\r\n"])
def test_an_answer_without_an_end_is_refused(data: bytes) -> None:
    with pytest.raises(BrokenAnswer):
        answer_size(data)


def test_requests_carry_a_token_each_and_posts_say_that_they_have_no_body() -> None:
    made = requests(Order(80, "POST", "/x", tokens=["a", "b"]))
    assert made == [
        b"POST /x HTTP/1.1\r\nHost: 127.0.0.1:80\r\nContent-Length: 0\r\nAuthorization: Bearer %b\r\n\r\n"
        % token
        for token in (b"a", b"b")
    ]
    [visit] = requests(Order(80, "GET", "/x", cookies=["visitor=v"]))
    assert visit.endswith(b"\r\nSec-Fetch-Site: same-origin\r\nCookie: visitor=v\r\n\r\n")
    [upload] = requests(Order(80, "POST", "/x", headers=["A: b"], tokens=["a"], body_bytes=3))
    assert upload.endswith(b"\r\nContent-Length: 3\r\nA: b\r\nAuthorization: Bearer a\r\n\r\nxxx")
    assert requests(Order(80, "GET", "/x")) == [b"GET /x HTTP/1.1\r\nHost: 127.0.0.1:80\r\n\r\n"]


@pytest.mark.parametrize("piece", [0, 7])
async def test_a_bounded_load_sends_exactly_so_many_requests_over_so_many_connections(piece: int) -> None:
    async with counting(OK, piece) as server:
        load = await drive(Order(server.port, "GET", "/x", connections=5, seconds=30, count=57))
    assert (load.answers, load.failed, server.connections) == (57, 0, 5)
    assert server.seen.total() == 57
    assert 0 < load.p50 <= load.p99 <= load.seconds


async def test_each_token_is_used_once_when_there_are_as_many_as_requests() -> None:
    tokens = [f"t{number}" for number in range(20)]
    async with counting(OK) as server:
        await drive(Order(server.port, "GET", "/x", connections=3, seconds=30, tokens=tokens, count=20))
    assert set(server.seen.values()) == {1}
    assert len(server.seen) == 20


async def test_a_load_by_time_ends_by_itself() -> None:
    async with counting(OK) as server:
        load = await drive(Order(server.port, "GET", "/x", connections=2, seconds=0.05))
    assert load.answers == server.seen.total() > 0


async def test_more_connections_than_requests_are_no_trouble() -> None:
    async with counting(OK) as server:
        load = await drive(Order(server.port, "GET", "/x", connections=8, seconds=30, count=3))
    assert load.answers == 3


async def test_answers_that_are_no_success_are_counted_as_failed() -> None:
    async with counting(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n") as server:
        load = await drive(Order(server.port, "GET", "/x", connections=2, seconds=30, count=10))
    assert (load.answers, load.failed) == (10, 10)


async def test_a_connection_lost_before_its_answer_breaks_the_load_off() -> None:
    async with counting(b"") as server:
        with pytest.raises(BrokenAnswer, match="lost"):
            await drive(Order(server.port, "GET", "/x", connections=2, seconds=30, count=10))
