"""The queue of spans: it never waits, never grows beyond its bound, and ends in a bounded time."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import AbstractAsyncContextManager

from gateway.observability.span_queue import (
    LAST_SECONDS,
    MAX_SPANS_PER_POST,
    MAX_WAITING,
    SpanExport,
    SpanQueue,
    span_export,
)
from gateway.observability.spans import Remote, Span
from gateway.observability.tracing import TraceContext
from gateway.observability.zipkin import ZipkinExporter
from tests.observability.rig import Counts
from tests.support.collector import a_collector

T = "4bf92f3577b34da6a3ce929d0e0e4736"
SERVER = TraceContext(T, "00f067aa0ba902b7", None, True)


NAME = {"service.name": "gateway-server"}


def queue_to(url: str, counts: Counts, most_waiting: int = MAX_WAITING) -> SpanQueue:
    return SpanQueue(ZipkinExporter(url, counts), counts, most_waiting=most_waiting)


def exported_to(url: str, counts: Counts) -> AbstractAsyncContextManager[SpanExport]:
    return span_export([queue_to(url, counts)], NAME)


def span(name: str = "GET seats", context: TraceContext = SERVER) -> Span:
    return Span(context, "SERVER", name, 1_795_422_757.25, 0.5, {"gateway.route": "seats"})


async def test_everything_a_span_says_arrives() -> None:
    call = Span(
        TraceContext(T, "a" * 16, SERVER.span_id, True),
        "CLIENT",
        "GET seats",
        1_795_422_757.25,
        0.125,
        {"gateway.route": "seats"},
        Remote("seat-service", "127.0.0.1", 8101),
        "UPSTREAM_TIMEOUT",
        [("response head", 1_795_422_757.5)],
    )
    counts = Counts()
    async with a_collector() as collector:
        async with exported_to(collector.url, counts) as export:
            export.export(call)
        [found] = collector.spans
    assert found == {
        "traceId": T,
        "id": "a" * 16,
        "parentId": SERVER.span_id,
        "kind": "CLIENT",
        "name": "GET seats",
        "timestamp": 1_795_422_757_250_000,
        "duration": 125_000,
        "localEndpoint": {"serviceName": "gateway-server"},
        "remoteEndpoint": {"serviceName": "seat-service", "ipv4": "127.0.0.1", "port": 8101},
        "annotations": [{"timestamp": 1_795_422_757_500_000, "value": "response head"}],
        "tags": {"gateway.route": "seats", "error": "UPSTREAM_TIMEOUT"},
    }
    assert counts == {"sent": 1}


async def test_spans_leave_by_themselves_within_a_moment() -> None:
    async with a_collector() as collector, exported_to(collector.url, Counts()) as export:
        export.export(span())
        await collector.until(lambda spans: len(spans) == 1)


async def test_a_collector_that_hangs_costs_spans_and_no_time() -> None:
    counts = Counts()
    async with a_collector() as collector:
        collector.open.clear()
        queue = queue_to(collector.url, counts, most_waiting=100)
        export = SpanExport([queue], NAME)
        export.export(span())
        # Now its thread is stuck in the first post.
        await asyncio.to_thread(collector.posted.wait)
        cpu = time.thread_time()
        for _ in range(1000):
            export.export(span())
        assert time.thread_time() - cpu < 1.0
        assert counts == {"dropped": 900}
        async with asyncio.timeout(2 * LAST_SECONDS + 20):
            await queue.close()
    assert counts["dropped"] + counts["failed"] == 1001


async def test_a_collector_that_is_not_there_holds_no_end() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/api/v2/spans"
        counts = Counts()
        async with asyncio.timeout(30), exported_to(address, counts) as export:
            for _ in range(3 * MAX_SPANS_PER_POST):
                export.export(span())
    assert counts == {"failed": 3 * MAX_SPANS_PER_POST}


async def test_what_waits_at_the_end_is_sent_first() -> None:
    counts = Counts()
    async with a_collector() as collector:
        async with exported_to(collector.url, counts) as export:
            for number in range(3 * MAX_SPANS_PER_POST):
                export.export(span(str(number)))
        assert [one["name"] for one in collector.spans] == [str(n) for n in range(3 * MAX_SPANS_PER_POST)]
    assert counts == {"sent": 3 * MAX_SPANS_PER_POST}
