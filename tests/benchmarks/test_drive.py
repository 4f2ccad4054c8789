"""Reading what wrk prints, and running loads as processes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

import pytest

from benchmarks.drive import Watched, by_ourselves, by_wrk, has_wrk, measure, parse_wrk
from benchmarks.load import Load, Order
from benchmarks.processes import Cores, Unavailable
from benchmarks.servers import python_server
from tests.benchmarks.rig import OK, counting

PRINTED = """Running 2s test @ http://127.0.0.1:8080/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     2.33ms    1.28ms  31.33ms   91.28%
    Req/Sec    28.16k     3.19k   31.85k    85.00%
  Latency Distribution
     50%    2.08ms
     75%    2.49ms
     90%    3.16ms
     99%  812.50us
  56080 requests in 2.00s, 9.36MB read
"""
TROUBLE = """  Socket errors: connect 1, read 2, write 3, timeout 4
  Non-2xx or 3xx responses: 5
Requests/sec:  28013.32
"""


def test_what_wrk_prints_is_read() -> None:
    assert parse_wrk(PRINTED) == Load(56080, 0, 2.0, pytest.approx(2.08e-3), pytest.approx(812.5e-6))


def test_errors_and_refusals_count_as_failed() -> None:
    assert parse_wrk(PRINTED + TROUBLE).failed == 15


def test_anything_else_is_no_result() -> None:
    with pytest.raises(Unavailable, match="unable to connect"):
        parse_wrk("unable to connect to 127.0.0.1:1 Connection refused")


async def test_our_load_runs_as_a_process_of_its_own() -> None:
    async with counting(OK) as server:
        order = Order(server.port, "GET", "/x", connections=2, seconds=30, count=10)
        load = await asyncio.to_thread(by_ourselves, order, Cores.split())
    assert (load.answers, load.failed, server.seen.total()) == (10, 0, 10)


async def test_a_load_without_a_server_says_so() -> None:
    async with counting(OK) as server:
        port = server.port
    with pytest.raises(Unavailable, match="broke off"):
        await asyncio.to_thread(by_ourselves, Order(port, "GET", "/", count=1), Cores.split())


@pytest.mark.skipif(not has_wrk(), reason="wrk is not installed")
@pytest.mark.parametrize(("tokens", "kinds"), [((), 1), (("a", "b", "c"), 3)])
async def test_wrk_sends_the_same_requests(tokens: tuple[str, ...], kinds: int) -> None:
    async with counting(OK) as server:
        order = Order(server.port, "POST", "/x", connections=2, seconds=1, tokens=tokens)
        load = await asyncio.to_thread(by_wrk, order, Cores.split())
    assert load.answers > 0
    assert load.failed == 0
    assert len(server.seen) == kinds
    assert all(head.startswith("POST /x HTTP/1.1\r\n") for head in server.seen)
    assert all(("Authorization: Bearer " in head) == bool(tokens) for head in server.seen)


async def test_a_measurement_tells_what_the_server_cost() -> None:
    async with counting(OK) as server:
        order = Order(server.port, "GET", "/x", connections=4, seconds=30, count=2000)
        sample = await asyncio.to_thread(measure, order, Watched(os.getpid()), Cores.split(), own=True)
    assert sample.answers == 2000
    assert sample.cpu > 0
    assert sample.redis_cpu == 0


@pytest.mark.skipif(not has_wrk(), reason="wrk is not installed")
async def test_wrk_sends_headers_with_each_token() -> None:
    async with counting(OK) as server:
        order = Order(
            server.port, "GET", "/x", connections=2, seconds=1, tokens=["a", "b"], headers=["X-Y: z"]
        )
        load = await asyncio.to_thread(by_wrk, order, Cores.split())
    assert load.failed == 0
    assert {"X-Y: z" in head and "Authorization: Bearer " in head for head in server.seen} == {True}
    assert len(server.seen) == 2


@pytest.mark.parametrize("load", [by_ourselves, by_wrk])
async def test_uploads_are_answered_once_they_have_come(load: Callable[[Order, Cores], Load]) -> None:
    if load is by_wrk and not has_wrk():
        pytest.skip("wrk is not installed")
    with python_server("upload", Cores.split().rest) as service:
        order = Order(
            service.port, "POST", "/x", connections=2, seconds=1, tokens=["a", "b"], body_bytes=300_000
        )
        done = await asyncio.to_thread(load, order, Cores.split())
    assert done.answers > 2
    assert done.failed == 0


def test_only_wrk_speaks_tls() -> None:
    with pytest.raises(Unavailable, match="TLS"):
        measure(Order(1, "GET", "/", tls=True), Watched(os.getpid()), Cores.split(), own=True)
