"""Spans by OTLP: what a real receiver decodes, and a receiver that refuses, fails, hangs, or is not there."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http import trace_exporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.trace import ReadableSpan

from gateway.observability.otlp import OtlpExporter
from gateway.observability.receivers import OtlpReceiver, is_otlp_installed
from gateway.observability.span_queue import (
    LAST_SECONDS,
    MAX_SPANS_PER_POST,
    SpanExport,
    SpanQueue,
    span_export,
)
from gateway.observability.spans import Remote, Span
from gateway.observability.tracing import TraceContext
from tests.observability.rig import Counts
from tests.support.authority import Authority, demanding_server
from tests.support.collector import OtlpCollector, running

T = "4bf92f3577b34da6a3ce929d0e0e4736"
SERVER = TraceContext(T, "00f067aa0ba902b7", "b" * 16, True)
RESOURCE = {"service.name": "edge", "service.version": "1.2"}
SECRET = "t0ps3cret"


def span(name: str = "GET seats", context: TraceContext = SERVER, **changes: Any) -> Span:
    return Span(context, "SERVER", name, 1_795_422_757.25, 0.5, {"gateway.route": "seats"}, **changes)


def receiver(collector: OtlpCollector, **changes: Any) -> OtlpReceiver:
    return OtlpReceiver(collector.url, **({"seconds": 5.0} | changes))


async def sent(target: OtlpReceiver, counts: Counts, *spans: Span) -> None:
    """Sends these spans and closes the queue."""
    queue = SpanQueue(OtlpExporter(target, counts), counts)
    async with asyncio.timeout(30), span_export([queue], RESOURCE) as export:
        for each in spans:
            export.export(each)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]


async def test_a_receiver_decodes_everything_a_span_says() -> None:
    call = Span(
        TraceContext(T, "a" * 16, SERVER.span_id, True),
        "CLIENT",
        "GET seats",
        1_795_422_757.25,
        0.125,
        {"http.request.method": "GET", "http.response.status_code": 504, "error.type": "UPSTREAM_TIMEOUT"},
        Remote("seat-service", "10.0.0.7", 8101),
        "UPSTREAM_TIMEOUT",
        [("response head", 1_795_422_757.5)],
    )
    wait = Span(SERVER.child(), "INTERNAL", "queue.admission", 1.0, 2.5, {"queue.wait_seconds": 2.5})
    counts = Counts()
    async with running(OtlpCollector()) as collector:
        await sent(receiver(collector), counts, call, span(), wait)
        found = {each["kind"]: each for each in collector.spans}
    assert found["SPAN_KIND_CLIENT"] == {
        "traceId": T,
        "spanId": "a" * 16,
        "parentSpanId": SERVER.span_id,
        # The parent is of this process.
        "flags": 0x100,
        "kind": "SPAN_KIND_CLIENT",
        "name": "GET seats",
        "startTimeUnixNano": "1795422757250000000",
        "endTimeUnixNano": "1795422757375000000",
        "attributes": {
            "http.request.method": "GET",
            "http.response.status_code": 504,
            "error.type": "UPSTREAM_TIMEOUT",
            "peer.service": "seat-service",
            "server.address": "10.0.0.7",
            "server.port": 8101,
        },
        "events": [{"timeUnixNano": "1795422757500000000", "name": "response head"}],
        "status": {"code": "STATUS_CODE_ERROR", "message": "UPSTREAM_TIMEOUT"},
        "resource": RESOURCE,
        "scope": "gateway",
    }
    server = found["SPAN_KIND_SERVER"]
    # The parent is of another process.
    assert (server["parentSpanId"], server["flags"], server["status"]) == ("b" * 16, 0x300, {})
    assert found["SPAN_KIND_INTERNAL"]["attributes"] == {"queue.wait_seconds": 2.5}
    assert counts == {"sent": 3}


async def test_headers_and_password_are_sent_and_the_environment_s_are_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login me password {SECRET}\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    async with running(OtlpCollector()) as collector:
        await sent(receiver(collector, headers=(("x-tenant", "blue, green"),)), Counts(), span())
        [headers] = collector.headers
        assert headers["x-tenant"] == "blue, green"
        assert "authorization" not in headers
        assert headers["user-agent"].startswith("OTel")
        url = collector.url.replace("http://", "http://me:hunter2@")
        await sent(OtlpReceiver(url), Counts(), span())
        assert collector.headers[-1]["authorization"] == "Basic bWU6aHVudGVyMg=="
        assert len(collector.spans) == 2


async def test_posts_may_be_compressed() -> None:
    async with running(OtlpCollector()) as collector:
        await sent(receiver(collector, gzip=True), Counts(), *[span()] * 50)
        assert collector.headers[0]["content-encoding"] == "gzip"
        assert len(collector.spans) == 50


async def test_what_may_succeed_later_is_repeated() -> None:
    counts = Counts()
    async with running(OtlpCollector()) as collector:
        collector.statuses = [503]
        queue = SpanQueue(OtlpExporter(receiver(collector, seconds=20.0), counts), counts)
        async with span_export([queue], RESOURCE) as export:
            export.export(span())
            await collector.until(lambda spans: len(spans) == 2)
    assert counts == {"sent": 1}


@pytest.mark.parametrize("status", [301, 308, 400, 401, 404, 413])
async def test_what_is_refused_for_good_is_posted_once_and_counted(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    counts = Counts()
    async with running(OtlpCollector()) as collector:
        collector.statuses = [status]
        exporter = OtlpExporter(receiver(collector), counts)
        await asyncio.to_thread(exporter.export, finished(2))
        assert collector.paths == ["/v1/traces"]
    assert counts == {"failed": 2}
    assert warnings(caplog) == [
        f"spans can't be sent to OTEL_EXPORTER_OTLP_ENDPOINT: status {status} (trying again quietly)"
    ]


async def test_spans_that_the_receiver_rejects_are_counted() -> None:
    answer = ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = 3
    counts = Counts()
    async with running(OtlpCollector()) as collector:
        collector.answer = answer.SerializeToString()
        exporter = OtlpExporter(receiver(collector), counts)
        await asyncio.to_thread(exporter.export, finished(5))
        collector.answer = b"\xff" * 100
        await asyncio.to_thread(exporter.export, finished(5))
        collector.answer = b"\n" * 1_000_000
        await asyncio.to_thread(exporter.export, finished(5))
    assert counts == {"sent": 12, "failed": 3}


async def test_a_receiver_that_is_away_causes_one_warning_until_it_is_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    async with running(OtlpCollector()) as collector:
        exporter = OtlpExporter(receiver(collector, seconds=0.5), Counts())
        collector.statuses = [503] * 3
        for _ in range(3):
            await asyncio.to_thread(exporter.export, finished(1))
        assert len(warnings(caplog)) == 1
        await asyncio.to_thread(exporter.export, finished(1))
        assert caplog.records[-1].getMessage() == "spans are sent to OTEL_EXPORTER_OTLP_ENDPOINT again"
        collector.statuses = [400]
        await asyncio.to_thread(exporter.export, finished(1))
        assert len(warnings(caplog)) == 2


@pytest.mark.parametrize("header", [SECRET, f"{SECRET}\n", f"{SECRET}é", f"{SECRET}\u1234"])
async def test_no_log_tells_a_header_a_password_or_a_query(
    header: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Settings let no header through that can't be sent; here they come all the same."""
    caplog.set_level(logging.DEBUG)
    counts = Counts()
    async with running(OtlpCollector()) as collector:
        host = collector.url.removeprefix("http://")
        for url in (
            f"http://me:{SECRET}@{host}?key={SECRET}",
            f"http://me:{SECRET}@127.0.0.1:1/?key={SECRET}",
        ):
            collector.statuses = [401]
            target = OtlpReceiver(url, headers=(("authorization", header),), seconds=0.5)
            await sent(target, counts, span())
    assert counts["failed"] >= 1
    assert caplog.records
    assert SECRET not in caplog.text


async def test_a_receiver_that_hangs_costs_spans_and_no_time() -> None:
    counts = Counts()
    async with running(OtlpCollector()) as collector:
        collector.open.clear()
        queue = SpanQueue(OtlpExporter(receiver(collector, seconds=600.0), counts), counts, most_waiting=100)
        export = SpanExport([queue], RESOURCE)
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
        assert counts == {"dropped": 900, "failed": 1}
        collector.open.set()
        await asyncio.to_thread(lambda: None)
    assert counts["dropped"] + counts["failed"] <= 1001


async def test_a_receiver_that_is_not_there_holds_no_end() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        target = OtlpReceiver(f"http://127.0.0.1:{silent.getsockname()[1]}/v1/traces", seconds=600.0)
        counts = Counts()
        await sent(target, counts, *[span()] * (3 * MAX_SPANS_PER_POST))
    assert counts == {"failed": 3 * MAX_SPANS_PER_POST}


async def test_what_waits_at_the_end_is_sent_first() -> None:
    counts = Counts()
    names = [str(number) for number in range(3 * MAX_SPANS_PER_POST)]
    async with running(OtlpCollector()) as collector:
        await sent(receiver(collector), counts, *map(span, names))
        assert [one["name"] for one in collector.spans] == names
    assert counts == {"sent": len(names)}


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority("collector authority")


async def test_tls_is_checked_in_both_directions(
    authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = authority.issue("the gateway").write(tmp_path, "client")
    strangers = Authority("strangers")
    own = {"certificate": authority.write(tmp_path), "client_certificate": files[0], "client_key": files[1]}
    both = tmp_path / "both.pem"
    both.write_bytes(files[0].read_bytes() + files[1].read_bytes())
    tries: list[tuple[dict[str, Path | None], str]] = [
        (own, "sent"),
        (own | {"client_certificate": both, "client_key": None}, "sent"),
        (own | {"client_certificate": None, "client_key": None}, "failed"),
        (own | {"certificate": strangers.write(tmp_path, "strangers")}, "failed"),
        (own | {"certificate": None}, "failed"),
    ]
    async with running(OtlpCollector(), demanding_server(authority, ("127.0.0.1",), tmp_path)) as collector:
        for files_of_try, outcome in tries:
            counts = Counts()
            # What fails is repeated until the time is over; what succeeds needs a handshake's time.
            seconds = 20.0 if outcome == "sent" else 0.5
            exporter = OtlpExporter(receiver(collector, seconds=seconds, **files_of_try), counts)
            await asyncio.to_thread(exporter.export, finished(1))
            assert counts == {outcome: 1}, files_of_try
        assert len(collector.spans) == 2
    assert any("SSLError" in warning for warning in warnings(caplog))


async def test_a_renewed_client_certificate_counts_at_the_next_post(
    authority: Authority, tmp_path: Path
) -> None:
    certificate, key = Authority("strangers").issue("the gateway").write(tmp_path, "client")
    counts = Counts()
    async with running(OtlpCollector(), demanding_server(authority, ("127.0.0.1",), tmp_path)) as collector:
        exporter = OtlpExporter(
            receiver(
                collector,
                # A connection that fails is repeated for so long.
                seconds=3.0,
                certificate=authority.write(tmp_path),
                client_certificate=certificate,
                client_key=key,
            ),
            counts,
        )
        await asyncio.to_thread(exporter.export, finished(1))
        authority.issue("the gateway").write(tmp_path, "client")
        await asyncio.to_thread(exporter.export, finished(1))
    assert counts == {"failed": 1, "sent": 1}


def test_the_exporter_is_opentelemetry_s_own() -> None:
    assert is_otlp_installed()
    exporter = OtlpExporter(OtlpReceiver("http://127.0.0.1:1/"), Counts())
    assert isinstance(vars(exporter)["_exporter"], trace_exporter.OTLPSpanExporter)


def finished(count: int) -> list[ReadableSpan]:
    """So many spans in the SDK's form."""
    kept: list[ReadableSpan] = []

    class Queue:
        def put(self, span: ReadableSpan) -> None:
            kept.append(span)

    export = SpanExport([Queue()], RESOURCE)  # type: ignore[list-item]
    for _ in range(count):
        export.export(span())
    return kept
