"""What is noted of a request, of a batch, and of an admission."""

from __future__ import annotations

import asyncio
import time

import pytest

from gateway.observability.span_clock import SpanClock
from gateway.observability.spans import Remote, TracedCalls, Tracer
from gateway.observability.tracing import TraceContext
from gateway.proxy.upstream import UpstreamBase
from tests.observability.rig import SAMPLED, UNSAMPLED, Kept, S, T


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def tracer(kept: Kept) -> Tracer:
    return Tracer(kept, 1.0)


ANSWERS = [
    ("GET", 200, "", "GET seats", {}, ""),
    ("GET", 404, "", "GET seats", {}, ""),
    ("POST", 403, "NOT_IN_QUEUE", "POST seats", {"gateway.code": "NOT_IN_QUEUE"}, ""),
    ("GET", 500, "", "GET seats", {}, "500"),
    ("GET", 504, "UPSTREAM_TIMEOUT", "GET seats", {"gateway.code": "UPSTREAM_TIMEOUT"}, "UPSTREAM_TIMEOUT"),
    ("GET", 499, "", "GET seats", {}, ""),
    ("eyJhbGciOi", 200, "", "_OTHER seats", {}, ""),
]


@pytest.mark.parametrize(("method", "status", "code", "name", "more", "error"), ANSWERS)
def test_a_request_is_one_span_of_fixed_words(
    method: str,
    status: int,
    code: str,
    name: str,
    more: dict[str, str],
    error: str,
    kept: Kept,
    tracer: Tracer,
) -> None:
    assert tracer.enter(SAMPLED)
    tracer.leave(
        SAMPLED,
        label="seats",
        method=method,
        status=status,
        began=time.perf_counter(),
        seconds=0.25,
        code=code,
    )
    [span] = kept
    assert (span.context, span.kind, span.name, span.error) == (SAMPLED, "SERVER", name, error)
    assert span.seconds == 0.25
    assert span.tags == more | {
        "http.request.method": name.split(maxsplit=1)[0],
        "http.response.status_code": status,
        "gateway.route": "seats",
    } | ({"error.type": error} if error else {})


def test_of_what_is_not_sampled_nothing_is_noted(kept: Kept, tracer: Tracer) -> None:
    assert not tracer.records(UNSAMPLED)
    assert not tracer.enter(UNSAMPLED)
    assert tracer.caller() is None
    assert kept == []


async def test_a_task_works_for_its_own_request_until_that_is_answered(tracer: Tracer) -> None:
    async def one(trace: TraceContext) -> tuple[TraceContext | None, TraceContext | None]:
        tracer.enter(trace)
        await asyncio.sleep(0)
        during = tracer.caller()
        tracer.leave(
            trace, label="x", method="GET", status=200, began=time.perf_counter(), seconds=0.0, code=""
        )
        return during, tracer.caller()

    traces = [TraceContext(T, f"{n:016x}", None, True) for n in range(1, 4)]
    assert await asyncio.gather(*map(one, traces)) == [(trace, None) for trace in traces]


def test_a_call_for_many_is_a_span_of_each_sampled_trace_with_the_size_of_the_batch(
    kept: Kept, tracer: Tracer
) -> None:
    other = TraceContext("a" * 32, "b" * 16, None, True)
    tracer.on_batch("default", "gate", [SAMPLED, other], 37, 0.002, failed=False)
    assert [(one.context.trace_id, one.context.parent_id) for one in kept] == [(T, S), ("a" * 32, "b" * 16)]
    assert len({one.context.span_id for one in kept}) == 2
    assert {one.name for one in kept} == {"redis gate"}
    assert kept[0].remote == Remote("redis")
    assert kept[0].tags["queue.batch.size"] == 37
    assert kept[0].error == ""


def test_a_call_that_failed_says_so(kept: Kept, tracer: Tracer) -> None:
    tracer.on_batch("default", "gate", [SAMPLED], 1, 0.002, failed=True)
    assert kept[0].error == kept[0].tags["error.type"] == "QUEUE_UNAVAILABLE"


def test_an_admission_reaches_back_to_the_lineup(kept: Kept, tracer: Tracer) -> None:
    tracer.admitted(SAMPLED, "default", 12.5)
    [span] = kept
    assert (span.name, span.kind, span.seconds) == ("queue.admission", "INTERNAL", 12.5)
    assert (span.context.trace_id, span.context.parent_id) == (T, S)
    assert span.tags == {"queue.room": "default", "queue.wait_seconds": 12.5}


@pytest.mark.parametrize("grain", [0.0, 1 / 64])
def test_no_span_begins_before_that_of_its_request_or_ends_after_it(kept: Kept, grain: float) -> None:
    # A wall clock that moves on 64 times a second, as some do.
    tracer = Tracer(kept, 1.0, SpanClock(lambda: time.time() // grain * grain if grain else time.time()))
    until = time.perf_counter() + 0.1
    while time.perf_counter() < until:
        began = time.perf_counter()
        tracer.on_batch("default", "gate", [SAMPLED], 1, time.perf_counter() - began, failed=False)
        calls = TracedCalls(tracer, SAMPLED, method="GET", route="seats", service="", headers=[])
        calls.begin(UpstreamBase("http", "10.0.0.1", 80))
        calls.answered(200)
        calls.done(True)
        seconds = time.perf_counter() - began
        tracer.leave(SAMPLED, label="x", method="GET", status=200, began=began, seconds=seconds, code="")
        redis, call, server = kept
        [(_, head)] = call.moments
        # What a float of this size can tell apart.
        least = 1e-6
        assert server.began <= redis.began <= call.began <= head <= call.began + call.seconds + least
        for child in (redis, call):
            assert child.began + child.seconds <= server.began + server.seconds + least
        kept.clear()
