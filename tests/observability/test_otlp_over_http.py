"""A gateway that sends its spans by OTLP, alone or to Zipkin, too: on the fast path and without it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from yarl import URL

from gateway.context import OBSERVERS
from gateway.observability import span_queue
from tests.support.collector import OtlpCollector, a_collector, running
from tests.support.gateway import Answer, Gateways, Running

T = "4bf92f3577b34da6a3ce929d0e0e4736"
S = "00f067aa0ba902b7"
SECRET = "t0ps3cret"


@pytest.fixture
async def collector(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[OtlpCollector]:
    """A receiver of OTLP, to which spans are sent ten times a second."""
    monkeypatch.setattr(span_queue, "EVERY_SECONDS", 0.1)
    async with running(OtlpCollector()) as collector:
        yield collector


async def traced(gateways: Gateways, collector: OtlpCollector, **changes: object) -> Running:
    """A gateway that records each request."""
    settings: dict[str, object] = {
        "otel_exporter_otlp_endpoint": collector.url.removesuffix("/v1/traces"),
        "tracing_sampling_probability": 1,
    }
    return await gateways.start(**(settings | changes))


def of(answer: Answer, spans: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The spans of the trace that the answer names: that of the request, then the first begun. When a request began is
    computed when it ends, and may be after its parts if the machine is busy."""
    mine = [span for span in spans if span["traceId"] == answer.headers["X-Trace-Id"]]
    return sorted(mine, key=lambda span: ("SERVER" not in span["kind"], int(span["startTimeUnixNano"])))


@pytest.mark.parametrize("fast_path", [True, False])
async def test_the_spans_of_a_gated_call_have_kinds_parents_and_conventional_attributes(
    gateways: Gateways, collector: OtlpCollector, fast_path: bool
) -> None:
    gateway = await traced(
        gateways,
        collector,
        fast_path=fast_path,
        otel_service_name="edge",
        otel_resource_attributes="deployment.environment.name=test%20floor",
    )
    ann = gateway.user("ann")
    await ann.lineup()
    answer = await ann("POST", "/api/v1/reservations", headers={"traceparent": f"00-{T}-{S}-01"})
    assert answer.status == 200
    await collector.until(lambda spans: len(of(answer, spans)) == 3)
    server, redis, call = of(answer, collector.spans)
    kinds = [span["kind"].removeprefix("SPAN_KIND_") for span in (server, redis, call)]
    assert kinds == ["SERVER", "CLIENT", "CLIENT"]
    assert [span["name"] for span in (server, redis, call)] == [
        "POST reservations",
        "redis gate",
        "POST reservations",
    ]
    assert [span["parentSpanId"] for span in (server, redis, call)] == [S, server["spanId"], server["spanId"]]
    assert server["attributes"] == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "gateway.route": "reservations",
    }
    assert redis["attributes"]["db.system.name"] == "redis"
    assert redis["attributes"]["queue.batch.size"] == 1
    service = URL(gateways.service.url)
    address = {"server.address": "127.0.0.1", "server.port": service.port}
    assert call["attributes"] == server["attributes"] | address | {"peer.service": "reservations"}
    [resource] = {tuple(sorted(span["resource"].items())) for span in collector.spans}
    assert dict(resource).keys() == {"deployment.environment.name", "service.name", "service.version"}
    assert dict(resource)["service.name"] == "edge"
    assert dict(resource)["deployment.environment.name"] == "test floor"


@pytest.mark.parametrize("fast_path", [True, False])
async def test_a_failed_call_says_what_failed(
    gateways: Gateways, collector: OtlpCollector, fast_path: bool
) -> None:
    gateway = await traced(gateways, collector, fast_path=fast_path)
    answer = await gateway.user("ann")("GET", "/refusing/a")
    assert answer.status == 502
    await collector.until(lambda spans: len(of(answer, spans)) == 2)
    for span in of(answer, collector.spans):
        assert span["attributes"]["error.type"] == "UPSTREAM_UNREACHABLE"
        assert span["status"] == {"code": "STATUS_CODE_ERROR", "message": "UPSTREAM_UNREACHABLE"}


async def test_zipkin_gets_the_same_spans_beside(gateways: Gateways, collector: OtlpCollector) -> None:
    async with a_collector() as zipkin:
        gateway = await traced(gateways, collector, zipkin_endpoint=zipkin.url)
        answer = await gateway.user("ann")("GET", "/api/v1/products/1")
        await collector.until(lambda spans: len(of(answer, spans)) == 2)
        await zipkin.until(lambda spans: len(of_zipkin(answer, spans)) == 2)
        assert {span["spanId"] for span in of(answer, collector.spans)} == {
            span["id"] for span in of_zipkin(answer, zipkin.spans)
        }
    count = gateway.app[OBSERVERS].metrics.registry.get_sample_value
    for receiver in ("otlp", "zipkin"):
        assert count("gateway_trace_spans_total", {"receiver": receiver, "outcome": "sent"})


def of_zipkin(answer: Answer, spans: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [span for span in spans if span["traceId"] == answer.headers["X-Trace-Id"]]


async def test_one_that_hangs_holds_up_neither_requests_nor_the_other(
    gateways: Gateways, collector: OtlpCollector
) -> None:
    async with a_collector() as zipkin:
        gateway = await traced(gateways, collector, zipkin_endpoint=zipkin.url)
        ann = gateway.user("ann")
        collector.open.clear()
        await ann("GET", "/api/v1/products/1")
        # From here on the thread that sends by OTLP is stuck.
        await asyncio.to_thread(collector.posted.wait)
        lags = []
        for _ in range(50):
            began = time.monotonic()
            answers = await asyncio.gather(*(ann("GET", "/api/v1/products/1") for _ in range(40)))
            lags.append(time.monotonic() - began)
            assert {answer.status for answer in answers} == {200}
        assert sorted(lags)[25] < 5, "half of the rounds wait for something"
        await zipkin.until(lambda spans: len(of_zipkin(answers[-1], spans)) == 2)
    count = gateway.app[OBSERVERS].metrics.registry.get_sample_value
    assert (count("gateway_trace_spans_total", {"receiver": "otlp", "outcome": "dropped"}) or 0) > 0
    assert not count("gateway_trace_spans_total", {"receiver": "zipkin", "outcome": "dropped"})


async def test_no_token_cookie_query_path_or_user_reaches_the_receiver(
    gateways: Gateways, collector: OtlpCollector
) -> None:
    gateway = await traced(gateways, collector, otel_exporter_otlp_headers=f"authorization=Bearer%20{SECRET}")
    ann = gateway.user("user-s3cret")
    headers = {"Cookie": "session=c00kie-s3cret", "X-Other": "header-s3cret"}
    answers = [
        await ann(method, path, headers=headers)
        for method, path in [
            ("POST", "/api/v1/reservations/path-s3cret?query=q-s3cret"),
            ("GET", "/refusing/path-s3cret?a=q-s3cret"),
            ("GET", "/api/v1/queue/status?room=room-s3cret"),
        ]
    ]
    await collector.until(lambda spans: all(of(one, spans) for one in answers))
    assert b"s3cret" not in b"\n".join(collector.posts).lower()
    assert {one["authorization"] for one in collector.headers} == {f"Bearer {SECRET}"}
