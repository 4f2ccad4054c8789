"""One request's trace: to the service, in the answer, in the collector, and nothing in it that is nobody's business."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.context import OBSERVERS
from gateway.observability import span_queue
from tests.support.collector import Collector, a_collector
from tests.support.gateway import ROUTES, Answer, Gateways, Running

T = "4bf92f3577b34da6a3ce929d0e0e4736"
S = "00f067aa0ba902b7"


@pytest.fixture
async def collector(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Collector]:
    """A collector, to which spans are sent ten times a second."""
    monkeypatch.setattr(span_queue, "EVERY_SECONDS", 0.1)
    async with a_collector() as running:
        yield running


async def traced(gateways: Gateways, collector: Collector, **changes: object) -> Running:
    """A gateway that records each request."""
    settings: dict[str, object] = {"zipkin_endpoint": collector.url, "tracing_sampling_probability": 1}
    return await gateways.start(**(settings | changes))


def of(answer: Answer, spans: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The spans of the trace that the answer names: that of the request, then the first begun. When a request began is
    computed when it ends, and may be after its parts if the machine is busy."""
    mine = [span for span in spans if span["traceId"] == answer.headers["X-Trace-Id"]]
    return sorted(mine, key=lambda span: (span.get("kind") != "SERVER", int(span["timestamp"])))


def sent_to_service(gateways: Gateways, name: str) -> list[str]:
    """Values of that header in the newest request that the service got."""
    return [value for key, value in gateways.service.seen[-1]["headers"] if key.lower() == name]


# What the client sends → what the service is told: the trace, whether it is sampled, tracestate.
CLIENTS: list[tuple[dict[str, str], str, str, list[str]]] = [
    ({"traceparent": f"00-{T}-{S}-01", "tracestate": "a=1,b=2"}, T, "01", ["a=1,b=2"]),
    ({"traceparent": f"00-{T}-{S}-00"}, T, "00", []),
    ({"b3": f"{T}-{S}-1"}, T, "01", []),
    ({"b3": f"{S}-{S}-0"}, S.zfill(32), "00", []),
    ({"X-B3-TraceId": T, "X-B3-SpanId": S, "X-B3-Sampled": "1"}, T, "01", []),
    ({"X_B3_TraceId": T, "X_B3_SpanId": S, "X_B3_Sampled": "1"}, "", "01", []),
    ({"traceparent": "broken", "tracestate": "a=1"}, "", "01", []),
    ({}, "", "01", []),
]


@pytest.mark.parametrize(("headers", "trace", "flags", "state"), CLIENTS)
async def test_a_service_is_told_our_place_in_the_clients_trace_and_nothing_of_the_clients_own(
    headers: dict[str, str],
    trace: str,
    flags: str,
    state: list[str],
    gateways: Gateways,
    collector: Collector,
) -> None:
    gateway = await traced(gateways, collector)
    answer = await gateway.user("ann")("GET", "/api/v1/products/1", headers=headers)
    assert answer.status == 200
    [parent] = sent_to_service(gateways, "traceparent")
    version, told, span, told_flags = parent.split("-")
    assert (version, told_flags) == ("00", flags)
    assert told == (trace or told) == answer.headers["X-Trace-Id"]
    assert span != S
    assert sent_to_service(gateways, "tracestate") == state
    names = {name.lower().replace("_", "-") for name, _ in gateways.service.seen[-1]["headers"]}
    assert not {name for name in names if name == "b3" or name.startswith("x-b3")}


async def test_a_trace_shows_which_call_waited_for_which(gateways: Gateways, collector: Collector) -> None:
    gateway = await traced(gateways, collector)
    ann = gateway.user("ann")
    await ann.lineup()
    answer = await ann("POST", "/api/v1/reservations", headers={"traceparent": f"00-{T}-{S}-01"})
    assert answer.status == 200
    await collector.until(lambda spans: len(of(answer, spans)) == 3)
    server, redis, call = of(answer, collector.spans)
    assert (server["kind"], server["name"], server["parentId"]) == ("SERVER", "POST reservations", S)
    assert (redis["kind"], redis["name"], redis["parentId"]) == ("CLIENT", "redis gate", server["id"])
    assert redis["tags"]["queue.batch.size"] == "1"
    assert (call["kind"], call["parentId"]) == ("CLIENT", server["id"])
    assert call["remoteEndpoint"]["serviceName"] == "reservations"
    [told] = sent_to_service(gateways, "traceparent")
    assert told == f"00-{T}-{call['id']}-01"
    assert server["duration"] >= call["duration"]
    assert server["timestamp"] <= redis["timestamp"] <= call["timestamp"]


async def test_an_admission_is_part_of_the_trace_of_the_lineup(
    gateways: Gateways, collector: Collector
) -> None:
    gateway = await traced(gateways, collector)
    other = await traced(gateways, collector)
    ann, bob = gateway.user("ann"), gateway.user("bob")
    await ann.lineup()
    answer = await bob.lineup()
    # The stream is at another instance than the one that put bob in line.
    async with other.user("bob").stream() as stream:
        await stream.until("STATUS_UPDATE")
        await ann("DELETE", "/api/v1/queue/allowed-in-token")
        await stream.until("ALLOWED_IN")
    await collector.until(lambda spans: any(one["name"] == "queue.admission" for one in spans))
    [admission] = [one for one in collector.spans if one["name"] == "queue.admission"]
    assert admission["traceId"] == answer.headers["X-Trace-Id"]
    server = of(answer, collector.spans)[0]
    assert (server["name"], admission["parentId"]) == ("POST queue.lineup", server["id"])
    assert admission["tags"]["queue.room"] == "default"
    assert float(admission["tags"]["queue.wait_seconds"]) == pytest.approx(
        admission["duration"] / 1e6, abs=0.002
    )


@pytest.mark.parametrize("fast_path", [True, False])
async def test_a_wait_begun_at_the_gate_belongs_to_the_call_that_began_it(
    gateways: Gateways, collector: Collector, fast_path: bool
) -> None:
    gateway = await traced(gateways, collector, fast_path=fast_path, queue_lineup="implicit")
    ann, bob = gateway.user("ann"), gateway.user("bob")
    await ann.lineup()
    first, *repeated = [await bob("POST", "/api/v1/reservations") for _ in range(3)]
    # Calls that are not recorded begin no wait, nor do repetitions of theirs.
    cid = gateway.user("cid")
    await cid("POST", "/api/v1/reservations", headers={"traceparent": f"00-{T}-{S}-00"})
    repeated.append(await cid("POST", "/api/v1/reservations"))
    assert {answer.code for answer in (first, *repeated)} == {"QUEUE_WAITING"}
    await ann("DELETE", "/api/v1/queue/allowed-in-token")
    await bob("DELETE", "/api/v1/queue/allowed-in-token")
    last = await cid("POST", "/api/v1/reservations")
    assert last.status == 200
    await collector.until(lambda spans: len(of(last, spans)) == 3 and len(of(first, spans)) == 3)
    [admission] = [one for one in collector.spans if one["name"] == "queue.admission"]
    server = of(first, collector.spans)[0]
    assert (server["name"], admission["traceId"], admission["parentId"]) == (
        "POST reservations",
        first.headers["X-Trace-Id"],
        server["id"],
    )
    assert admission["timestamp"] + admission["duration"] >= max(
        one["timestamp"] for answer in repeated for one in of(answer, collector.spans)
    )


async def test_each_answer_names_its_trace_once_in_the_header_and_the_envelope(
    gateways: Gateways, collector: Collector
) -> None:
    gateway = await traced(gateways, collector, tracing_sampling_probability=0)
    ann = gateway.user("ann")
    calls = [
        ("POST", "/api/v1/queue/lineup", 200),
        ("POST", "/api/v1/queue/leave", 204),
        ("GET", "/api/v1/queue/status", 404),
        ("GET", "/nowhere", 404),
        ("GET", "/a%2e%2e%2fb", 400),
        ("GET", "/refusing/a", 502),
        ("GET", "/actuator/health", 200),
        ("GET", "/api/v1/products/1", 200),
        ("HEAD", "/api/v1/products/1", 200),
    ]
    for method, path, status in calls:
        answer = await ann(method, path)
        assert answer.status == status, path
        [trace] = answer.headers.getall("X-Trace-Id")  # type: ignore[attr-defined]
        assert len(trace) == 32
        if b"traceId" in answer.body:
            assert answer.json["traceId"] == trace
    async with ann.stream(headers={"traceparent": f"00-{T}-{S}-00"}) as stream:
        assert stream.response.headers["X-Trace-Id"] == T


async def test_a_services_own_header_of_that_name_gives_way(gateways: Gateways, collector: Collector) -> None:
    routes = ROUTES.replace(
        'predicates: ["Path=/api/v1/products/**"]',
        'predicates: ["Path=/api/v1/products/**"]\n    filters: ["AddResponseHeader=x-trace-id, theirs"]',
    )
    gateway = await gateways.start(routes)
    answer = await gateway.user("ann")("GET", "/api/v1/products/1", headers={"b3": f"{T}-{S}-0"})
    assert answer.headers.getall("X-Trace-Id") == [T]  # type: ignore[attr-defined]


async def test_a_client_that_wants_no_recording_gets_none(gateways: Gateways, collector: Collector) -> None:
    gateway = await traced(gateways, collector)
    ann = gateway.user("ann")
    unwanted = await ann("GET", "/api/v1/products/1", headers={"b3": "0"})
    wanted = await ann("GET", "/api/v1/products/1")
    await collector.until(lambda spans: len(of(wanted, spans)) == 2)
    assert of(unwanted, collector.spans) == []


async def test_a_connection_refused_is_a_call_with_an_error(gateways: Gateways, collector: Collector) -> None:
    gateway = await traced(gateways, collector)
    answer = await gateway.user("ann")("GET", "/refusing/a")
    await collector.until(lambda spans: len(of(answer, spans)) == 2)
    server, call = of(answer, collector.spans)
    assert server["tags"]["error"] == call["tags"]["error"] == "UPSTREAM_UNREACHABLE"
    assert call["remoteEndpoint"] == {"serviceName": "127.0.0.1", "ipv4": "127.0.0.1", "port": 1}


async def test_no_token_cookie_query_path_or_user_reaches_the_collector(
    gateways: Gateways, collector: Collector
) -> None:
    gateway = await traced(gateways, collector, jwt_cookie_name="session")
    ann = gateway.user("user-s3cret")
    headers = {"Cookie": "session=c00kie-s3cret", "User-Agent": "agent-s3cret", "X-Other": "header-s3cret"}
    await ann.lineup()
    answers = [
        await ann(method, path, headers=headers, data=b"body-s3cret")
        for method, path in [
            ("POST", "/api/v1/reservations/path-s3cret?query=q-s3cret"),
            ("GET", "/path-s3cret?access_token=q-s3cret"),
            ("S3CRET", "/api/v1/products/path-s3cret"),
            ("GET", "/refusing/path-s3cret?a=q-s3cret"),
            ("GET", "/api/v1/queue/status?room=room-s3cret"),
        ]
    ]
    query = f"/api/v1/queue/stream?access_token={ann.token}"
    async with gateway.with_token(None).stream(path=query) as stream:
        await stream.until("ALLOWED_IN")
    last = await ann("GET", "/api/v1/products/1")
    await collector.until(lambda spans: all(of(one, spans) for one in (*answers, last)))
    text = b"\n".join(collector.posts).lower()
    assert b"queue.stream" in text
    assert b"s3cret" not in text
    assert str(ann.token).partition(".")[0].lower().encode() not in text


async def test_a_hanging_collector_costs_no_request_any_time_and_is_counted(
    gateways: Gateways, collector: Collector
) -> None:
    gateway = await traced(gateways, collector)
    ann = gateway.user("ann")
    collector.open.clear()
    await ann("GET", "/api/v1/products/1")
    # From here on the sending thread is stuck.
    await asyncio.to_thread(collector.posted.wait)
    lags = []
    for _ in range(50):
        began = time.monotonic()
        answers = await asyncio.gather(*(ann("GET", "/api/v1/products/1") for _ in range(40)))
        lags.append(time.monotonic() - began)
        assert {answer.status for answer in answers} == {200}
    assert sorted(lags)[25] < 5, "half of the rounds wait for something"
    registry = gateway.app[OBSERVERS].metrics.registry
    assert (
        registry.get_sample_value("gateway_trace_spans_total", {"receiver": "zipkin", "outcome": "dropped"})
        or 0
    ) > 0


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:1/api/v2/spans", "http://no.such.host.invalid:9411/"])
async def test_a_collector_that_is_away_keeps_nothing_from_working(endpoint: str, gateways: Gateways) -> None:
    async with gateways.running(zipkin_endpoint=endpoint, tracing_sampling_probability=1) as gateway:
        ann = gateway.user("ann")
        assert (await ann.lineup()).status == 200
        assert (await ann("POST", "/api/v1/reservations")).status == 200
