"""Where spans go: to the endpoint, or nowhere, and never in the way of the start."""

from __future__ import annotations

import sys
import time

import pytest

from gateway.observability.export import tracing
from tests.observability.rig import CountsOfReceivers
from tests.support.collector import a_collector

NAME = {"service.name": "gateway-server"}


async def test_without_an_endpoint_decisions_are_made_and_nothing_is_noted() -> None:
    async with tracing(None, None, NAME, 1.0, CountsOfReceivers()) as tracer:
        trace = tracer.begin({})
        assert trace.sampled
        assert not tracer.records(trace)
        assert not tracer.enter(trace)
        assert tracer.caller() is None


async def test_without_the_library_it_is_said_once_and_ids_still_flow(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for module in ("zipkin", "span_queue"):
        monkeypatch.delitem(sys.modules, f"gateway.observability.{module}", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    async with tracing("http://127.0.0.1:1/", None, NAME, 1.0, CountsOfReceivers()) as tracer:
        trace = tracer.begin({})
        assert len(trace.trace_id) == 32
        assert not tracer.records(trace)
    assert ["no spans are sent" in one.getMessage() for one in caplog.records] == [True]


async def test_with_an_endpoint_sampled_requests_arrive_there() -> None:
    counts = CountsOfReceivers()
    async with a_collector() as collector:
        async with tracing(collector.url, None, NAME, 1.0, counts) as tracer:
            trace = tracer.begin({})
            assert tracer.enter(trace)
            tracer.leave(
                trace,
                label="seats",
                method="GET",
                status=200,
                began=time.perf_counter(),
                seconds=0.1,
                code="",
            )
        assert [one["id"] for one in collector.spans] == [trace.span_id]
    assert counts == {("zipkin", "sent"): 1}
