"""Which requests the fast path serves, and how both gateways count, trace and end them."""

from __future__ import annotations

import asyncio
import gc
import re
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from gateway.app import FAST_PATH
from gateway.context import RequestContext
from gateway.fast_path import executor
from gateway.fast_path.executor import PlainCall
from gateway.observability import span_queue
from tests.fast_path.rig import LAST, Case, Pair, Side, masked, one, paired, request, talk
from tests.fast_path.routes import ROUTES
from tests.fast_path.service import Do, pause
from tests.support.collector import a_collector
from tests.support.gateway import Gateways, deaf_client
from tests.support.raw_http import Client, connected
from tests.support.redis_server import RedisServer
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="package")

MIB = b"x" * (1 << 20)
WEBSOCKET = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


@asynccontextmanager
async def own_pair(folder: Path, server: RedisServer, **settings: object) -> AsyncIterator[Pair]:
    """A pair for one test, with keys of its own in Redis."""
    async with Gateways(folder, server.url) as gateways, paired(gateways, ROUTES, **settings) as pair:
        yield pair


# -- which requests ------------------------------------------------------------------------------------


def served_fast(pair: Pair) -> Counter[str]:
    """The metric, by route."""
    line = re.compile(r'^gateway_fast_path_requests_total\{route="([^"]+)"\} (\d+)', re.MULTILINE)
    found = line.findall(pair.fast.exposition)
    return Counter({route: int(number) for route, number in found})


FAST = {
    "a public call": ("open", one("GET /open/a")),
    "a query": ("open", one("GET /open/a?b=%zz&c=d/e")),
    "HEAD": ("open", one("HEAD /open/a")),
    "a body": ("open", one("POST /open/a", body=b"hello")),
    "a body of 65,536 bytes": ("open", one("PUT /open/a", body=b"a" * 65_536)),
    "a call without a token": ("private", one("GET /private/a")),
    "a gated call without a token": ("reservations", one("POST /api/v1/reservations")),
    "an unreachable service": ("refusing", one("GET /refusing/a")),
    "no instance": ("nobody", one("GET /nobody/a")),
    "a filter": ("edited", one("GET /edited/a/b")),
    "an origin": ("open", one("GET /open/a", b"Origin: https://shop.example\r\n")),
    "status": ("queue.status", one("GET /api/v1/queue/status")),
    "lineup": ("queue.lineup", one("POST /api/v1/queue/lineup")),
}
NOT_FAST = {
    "a WebSocket": one("GET /open/a", WEBSOCKET),
    "chunks": one("POST /open/a", b"Transfer-Encoding: chunked\r\n", body=b"5\r\nhello\r\n0\r\n\r\n"),
    "OPTIONS": one("OPTIONS /open/a"),
    "a body of 65,537 bytes": one("POST /open/a", body=b"a" * 65_537),
    "an expectation": one("POST /open/a", b"Expect: 100-continue\r\n", body=b"hello"),
    "a body in another write": Case((request("POST /open/a", b"Content-Length: 1\r\n"), b"a")),
    "HTTP/1.0": Case((b"GET /open/a HTTP/1.0\r\nHost: h\r\n\r\n",)),
    "an escape": one("GET /open/%61"),
    "a dot": one("GET /open/.a"),
    "an answer of a route": one("GET /redirect/a"),
    "leaving": one("POST /api/v1/queue/leave"),
    "a page": one("GET /actuator/info"),
}


async def routes_served_fast(pair: Pair, case: Case) -> Counter[str]:
    """The routes of the requests of ``case`` that the fast path served."""
    before = served_fast(pair)
    outcome = await pair.compare(case)
    last = any(head.startswith(b"GET /open/last ") for head, *_ in outcome.seen)
    return served_fast(pair) - before - Counter(open=int(last))


@pytest.mark.parametrize("name", FAST)
async def test_plain_requests_are_served_fast(usual: Pair, name: str) -> None:
    route, case = FAST[name]
    assert await routes_served_fast(usual, case) == Counter({route: 1})


@pytest.mark.parametrize("name", NOT_FAST)
async def test_other_requests_are_not(usual: Pair, name: str) -> None:
    assert await routes_served_fast(usual, NOT_FAST[name]) == Counter()


async def test_with_a_token_too(usual: Pair) -> None:
    for who in (
        usual.bearer("new"),
        usual.bearer("new", jti="another"),
        b"Authorization: Bearer garbage\r\n",
    ):
        assert await routes_served_fast(usual, one("GET /private/a", who)) == Counter(private=1)


@pytest.mark.parametrize("part", ["/a", "a", "?a", "a/"])
async def test_a_long_request_line_is_judged_in_linear_time(usual: Pair, part: str) -> None:
    """A judgement in quadratic time would take longer than pytest's timeout."""
    fast_path = usual.fast.gateway.app[FAST_PATH]
    for end in ("", " HTTP/1.1", "\\ HTTP/1.1"):
        fast_path.may_serve(f"GET /{part * 200_000}{end}\r\n".encode(), 2_000_000)


@pytest.mark.parametrize("broken", ["account", "head_for", "refusal_response"])
async def test_a_fault_of_its_own_leaves_no_client_waiting(
    usual: Pair, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def fail(*args: object, **options: object) -> None:
        raise ZeroDivisionError

    await talk(usual.fast.port, Case((LAST,)))
    monkeypatch.setattr(executor, broken, fail)
    target = "/private/a" if broken == "refusal_response" else "/open/a"
    async with connected(usual.fast.gateway.base) as client:
        client.send(request(f"GET {target}"))
        with suppress(ConnectionError):
            await client.rest() if broken != "head_for" else await client.answer()
    assert not usual.fast.metrics.in_progress


async def test_refusals_leave_no_cycles_to_the_garbage_collector(usual: Pair) -> None:
    """Under load they would wait for it by thousands, each with the headers of its request."""
    refused = [
        Case((request("GET /private/a"), LAST)),
        Case((request("GET /private/a", usual.bearer("x")[:-9] + b"\r\n"), LAST)),
    ]
    for case in refused:
        await talk(usual.fast.port, case)
        gc.collect()
        gc.disable()
        try:
            await talk(usual.fast.port, case)
            gc.set_debug(gc.DEBUG_SAVEALL)
            gc.collect()
            left = [each for each in gc.garbage if isinstance(each, PlainCall | RequestContext)]
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
        assert left == []


async def test_nothing_is_served_fast_by_a_gateway_without_the_path(usual: Pair) -> None:
    await usual.compare(one("GET /open/a"))
    assert "gateway_fast_path_requests_total{" not in usual.plain.exposition


async def test_both_count_the_same(tmp_path: Path, own_redis: RedisServer) -> None:
    async with own_pair(tmp_path, own_redis) as pair:
        who = pair.bearer("counted")
        expired = pair.bearer("counted", exp=1)
        forged = who[:-9] + b"AAAAAAA\r\n"
        strange = pair.bearer("counted", headers={"kid": "strange"})
        for call in (
            "GET /open/a",
            "GET /private/a",
            "POST /api/v1/reservations",
            "GET /nobody/a",
            "GET /nothing",
        ):
            await pair.compare_all(
                [one(call, header) for header in (b"", who, who, expired, forged, strange)]
            )
        assert pair.fast.counted == pair.plain.counted
        assert len(pair.plain.counted) > 10


# -- clients that leave --------------------------------------------------------------------------------


async def lines_after_leaving(side: Side, sent: bytes, arrived: asyncio.Event | None) -> list[dict[str, Any]]:
    """Sends a request, and leaves once it has arrived at the service (or, without an event, is under way)."""
    side.lines.clear()
    async with connected(side.gateway.base) as client:
        client.send(sent)
        if arrived is not None:
            await asyncio.wait_for(arrived.wait(), 10)
        else:
            await eventually(lambda: side.metrics.in_progress)
            await pause()
    await eventually(lambda: side.lines and not side.metrics.in_progress)
    return side.lines


@pytest.mark.parametrize("kept", [True, False], ids=["a kept connection", "a new connection"])
@pytest.mark.parametrize(
    "script", [(Do.NEVER,), (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\na", Do.NEVER)]
)
async def test_a_client_that_leaves_while_the_service_is_awaited(
    usual: Pair, kept: bool, script: Sequence[Any]
) -> None:
    usual.scripts["/open/left"] = tuple(script)
    logged = []
    for side in (usual.fast, usual.plain):
        for writer in list(side.service.open):
            writer.close()
        await eventually(lambda side=side: not side.service.open)
        if kept:
            await talk(side.port, Case((LAST,)))
        side.service.arrived.clear()
        logged.append(list(await lines_after_leaving(side, request("GET /open/left"), side.service.arrived)))
        await eventually(lambda side=side: not side.service.open, what="the end of the service's connection")
    assert logged[0] == logged[1]
    if len(script) == 1:
        assert (logged[0][0]["status"], logged[0][0]["end"]) == (499, "aborted")


@pytest.mark.parametrize("size", [1, 9], ids=["in part", "whole"])
async def test_a_client_that_leaves_as_the_answer_begins(usual: Pair, size: int) -> None:
    """The gateway reads both in one iteration of its event loop."""
    usual.scripts["/open/left"] = (Do.NEVER,)
    for side in (usual.fast, usual.plain):
        for writer in list(side.service.open):
            writer.close()
        await eventually(lambda side=side: not side.service.open)
        await talk(side.port, Case((LAST,)))
        side.lines.clear()
        side.service.arrived.clear()
        async with connected(side.gateway.base) as client:
            client.send(request("GET /open/left"))
            await side.service.arrived.wait()
            await pause()
            client.writer.transport.abort()
            # The first turn closes the client's socket.
            await asyncio.sleep(0)
            [answering] = side.service.open
            answering.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n" + b"a" * size)
        await eventually(lambda side=side: side.lines and not side.metrics.in_progress)
        assert len(side.lines) == 1
        if size == 9:
            # The connection is idle for the gateway, but the script of this service never reads on.
            answering.close()
        await eventually(lambda side=side: not side.service.open, what="the end of the service's connection")


async def test_a_client_that_leaves_while_redis_is_awaited(tmp_path: Path) -> None:
    with RedisServer() as server:
        async with own_pair(tmp_path, server, redis_timeout_seconds="20") as pair:
            who, logged = pair.bearer("leaving"), []
            await pair.compare(one("POST /api/v1/queue/lineup", who))
            server.freeze()
            try:
                for call in ("POST /api/v1/reservations", "GET /api/v1/queue/status"):
                    for side in (pair.fast, pair.plain):
                        [line] = await lines_after_leaving(side, request(call, who), None)
                        assert (line["status"], line["end"]) == (499, "aborted")
                        logged.append(line)
                        assert side.service.seen[1:] == []
            finally:
                server.thaw()
            assert logged[0] == logged[1]
            assert logged[2] == logged[3]
            await pair.compare(one("POST /api/v1/reservations", who))


# -- clients that do not read --------------------------------------------------------------------------


async def test_a_client_that_does_not_read_holds_the_service_back(usual: Pair) -> None:
    length = 48 * len(MIB)
    usual.scripts["/open/large"] = (b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length, *[MIB] * 48)
    for side in (usual.fast, usual.plain):
        side.service.written = 0
        async with connected(side.gateway.base) as client:
            client.send(request("GET /open/large"))
            head = await client.head()
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            await until_still(side)
            assert side.service.written < length / 2
            client.writer.transport.resume_reading()  # type: ignore[attr-defined]
            assert len(await client.body(head)) == length
            client.send(LAST)
            assert (await client.answer()).status == 200


async def until_still(side: Side) -> None:
    """Until the service has written nothing for many turns of the loop."""
    before = -1
    while before != side.service.written:
        before = side.service.written
        for _ in range(20):
            await pause()


@pytest.mark.parametrize(("size", "requests"), [(1 << 20, 40), (16_000, 1200)])
async def test_a_client_that_asks_and_asks_and_does_not_read_is_not_read(
    usual: Pair, size: int, requests: int
) -> None:
    body = b"x" * size
    usual.scripts["/open/again"] = (b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + body,)
    for side in (usual.fast, usual.plain):
        side.service.seen.clear()
        async with connected(side.gateway.base) as client:
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            for _ in range(requests):
                client.send(request("GET /open/again"))
                await pause()
            await until_still(side)
            assert len(side.service.seen) < requests - 10
            client.writer.transport.resume_reading()  # type: ignore[attr-defined]
            for _ in range(requests):
                assert len((await client.answer()).body) == size


@pytest.mark.parametrize(
    "target",
    ["/private/a", "/private/%61", "/nothing", "/v3/api-docs", "/swagger-ui/index.html", "/actuator/health"],
)
async def test_own_answers_do_not_pile_up_for_a_client_that_does_not_read(usual: Pair, target: str) -> None:
    for side in (usual.fast, usual.plain):
        async with deaf_client(side.gateway) as (client, guard):
            sent = 0
            while not guard.writing_paused:
                client.send(request(f"GET {target}"))
                await pause()
                sent += 1
            assert guard.transport is not None
            waiting = guard.transport.get_write_buffer_size()
            for _ in range(100):
                client.send(request(f"GET {target}"))
                await pause()
            assert guard.transport.get_write_buffer_size() == waiting, (
                "written although the client does not read"
            )
            client.writer.transport.resume_reading()  # type: ignore[attr-defined]
            statuses = {(await client.answer()).status for _ in range(sent + 100)}
            assert len(statuses) == 1


# -- traces --------------------------------------------------------------------------------------------


async def test_no_call_is_traced_as_part_of_another_one(
    tmp_path: Path, own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A traced call has opened the connection to the service on which a call that is not traced is answered. A gated
    call waits behind that one."""
    monkeypatch.setattr(span_queue, "EVERY_SECONDS", 0.05)
    async with (
        a_collector() as collector,
        own_pair(tmp_path, own_redis, zipkin_endpoint=collector.url) as pair,
    ):
        who = pair.bearer("inside")
        await pair.compare(one("POST /api/v1/queue/lineup", who))
        pair.scripts["/open/slow"] = (Do.WAIT, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        for name, side in (("1", pair.fast), ("2", pair.plain)):

            def parent(number: int, flags: str, name: str = name) -> bytes:
                return f"traceparent: 00-{name}{number:031x}-b7ad6b7169203331-{flags}\r\n".encode()

            def traced(name: str = name) -> list[dict[str, Any]]:
                return [span for span in collector.spans if span["traceId"][0] == name]

            for writer in list(side.service.open):
                writer.close()
            await eventually(lambda side=side: not side.service.open)
            async with connected(side.gateway.base) as first, connected(side.gateway.base) as client:
                first.send(request("GET /open/a", parent(1, "01")))
                await first.answer()
                side.service.arrived.clear()
                client.send(request("GET /open/slow", parent(2, "00")))
                await side.service.arrived.wait()
                client.send(request("POST /api/v1/reservations", who, parent(3, "00")))
                await pause()
                side.service.go_on.set()
                assert [(await client.answer()).status for _ in range(2)] == [200, 200]
                # The spans are sent in their order.
                first.send(request("GET /open/a", parent(4, "01")))
                await first.answer()
            await eventually(lambda traced=traced: len(traced()) >= 4)
            assert {span["name"] for span in traced()} == {"GET open"}


def shape(spans: list[dict[str, Any]]) -> list[Any]:
    """Spans without ids, times and ports; each with its parent's name."""
    names = {span["id"]: span["name"] for span in spans}
    return sorted(
        repr(
            (
                span["name"],
                span.get("kind", ""),
                names.get(span.get("parentId", ""), "-"),
                {
                    name: re.sub(r"127\.0\.0\.1:\d+", "", value)
                    for name, value in sorted(span.get("tags", {}).items())
                },
                {key: value for key, value in span.get("remoteEndpoint", {}).items() if key != "port"},
            )
        )
        for span in spans
    )


async def test_a_sampled_trace_has_the_same_spans(
    tmp_path: Path, own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(span_queue, "EVERY_SECONDS", 0.05)
    async with (
        a_collector() as collector,
        own_pair(tmp_path, own_redis, zipkin_endpoint=collector.url) as pair,
    ):
        pair.scripts["/open/broken"] = (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\na", Do.PAUSE, Do.END)
        pair.scripts["/open/end"] = (Do.END,)
        who = pair.bearer("traced")
        calls = (
            "GET /open/a",
            "GET /open/a",
            "POST /open/a",
            "GET /open/broken",
            "GET /open/end",
            "GET /private/a",
            "POST /api/v1/queue/lineup",
            "GET /api/v1/queue/status",
            "POST /api/v1/reservations",
            "GET /refusing/a",
            "GET /nobody/a",
            "GET /edited/a/b",
        )
        for number, call in enumerate(calls):
            shapes = []
            for token in (b"", who):
                for name, side in (("1", pair.fast), ("2", pair.plain)):
                    trace = f"{name}{number:015x}{len(token):016x}"
                    parent = f"traceparent: 00-{trace}-b7ad6b7169203331-01\r\n".encode()
                    await talk(side.port, one(call, token, parent))

                    def spans(trace: str = trace) -> list[dict[str, Any]]:
                        return [span for span in collector.spans if span["traceId"] == trace]

                    await eventually(
                        lambda spans=spans: any(span.get("kind") == "SERVER" for span in spans())
                    )
                    shapes.append(shape(spans()))
            assert shapes[0] == shapes[1], call
            assert shapes[2] == shapes[3], call


# -- the end of the process ----------------------------------------------------------------------------


async def test_a_draining_gateway_says_that_its_answer_is_the_last(
    tmp_path: Path, own_redis: RedisServer
) -> None:
    async with own_pair(tmp_path, own_redis) as pair:
        pair.scripts["/open/slow"] = (Do.WAIT, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        pair.scripts["/open/parts"] = (
            Do.WAIT,
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no",
            Do.PAUSE,
            b"k",
        )
        got = []
        for side in (pair.fast, pair.plain):
            async with connected(side.gateway.base) as one_client, connected(side.gateway.base) as other:
                clients: list[Client] = [one_client, other]
                for client, target in zip(clients, ("/open/slow", "/open/parts"), strict=True):
                    side.service.arrived.clear()
                    client.send(request(f"GET {target}"))
                    await side.service.arrived.wait()
                ending = asyncio.ensure_future(side.gateway.runner.stop_serving(10))  # type: ignore[attr-defined]
                await eventually(lambda side=side: side.gateway.runner.server.draining)
                side.service.go_on.set()
                for client in clients:
                    data = await client.rest()
                    assert b"\r\nConnection: close\r\n" in data
                    assert data.endswith(b"\r\n\r\nok")
                    got.append(masked(data))
                await ending
                assert not side.metrics.in_progress
        assert got[:2] == got[2:]
