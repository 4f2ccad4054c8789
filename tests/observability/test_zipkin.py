"""Spans as Zipkin's JSON, and a collector that refuses, fails, or is not there."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from gateway.observability import zipkin
from gateway.observability.zipkin import ATTEMPTS, ZipkinExporter, encode
from tests.observability.rig import Counts
from tests.support.collector import a_collector

TRACE = 0x00F92F3577B34DA6A3CE929D0E0E4736
SAMPLED = TraceFlags(1)


def span(**changes: Any) -> ReadableSpan:
    facts: dict[str, Any] = {
        "name": "GET seats",
        "context": SpanContext(TRACE, 0xF067AA0BA902B7, is_remote=False, trace_flags=SAMPLED),
        "resource": Resource({"service.name": "gateway-server"}),
        "start_time": 1_795_422_757_276_140_999,
        "end_time": 1_795_422_757_288_485_999,
    }
    return ReadableSpan(**(facts | changes))


PLAIN: dict[str, Any] = {
    "traceId": "00f92f3577b34da6a3ce929d0e0e4736",
    "id": "00f067aa0ba902b7",
    "name": "GET seats",
    "timestamp": 1_795_422_757_276_140,
    "duration": 12_345,
    "localEndpoint": {"serviceName": "gateway-server"},
    "tags": {},
}

ENCODED: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("as little as there can be", {}, {}),
    (
        "a parent",
        {"parent": SpanContext(TRACE, 0xAB, is_remote=True, trace_flags=SAMPLED)},
        {"parentId": "00000000000000ab"},
    ),
    ("a server's", {"kind": SpanKind.SERVER}, {"kind": "SERVER"}),
    ("an internal one has no kind", {"kind": SpanKind.INTERNAL}, {}),
    ("no time at all", {"end_time": 1_795_422_757_276_140_999}, {"duration": 1}),
    ("a clock set back", {"end_time": 1}, {"duration": 1}),
    (
        "tags are texts",
        {"attributes": {"a": 1, "b": True, "c": "x", "d": 1.5}},
        {"tags": {"a": "1", "b": "true", "c": "x", "d": "1.5"}},
    ),
    (
        "an instance with an address",
        {"attributes": {"peer.service": "seats", "server.address": "10.0.0.1", "server.port": 80}},
        {"remoteEndpoint": {"serviceName": "seats", "ipv4": "10.0.0.1", "port": 80}},
    ),
    (
        "an instance with an address of version 6",
        {"attributes": {"peer.service": "seats", "server.address": "::1"}},
        {"remoteEndpoint": {"serviceName": "seats", "ipv6": "::1"}},
    ),
    (
        "an instance with a name",
        {"attributes": {"peer.service": "seats", "server.address": "seats.local", "server.port": 80}},
        {"remoteEndpoint": {"serviceName": "seats", "port": 80}, "tags": {"server.address": "seats.local"}},
    ),
    (
        "an error",
        {"status": Status(StatusCode.ERROR, "UPSTREAM_TIMEOUT")},
        {"tags": {"error": "UPSTREAM_TIMEOUT"}},
    ),
    ("an error without words", {"status": Status(StatusCode.ERROR)}, {"tags": {"error": "error"}}),
    (
        "a moment",
        {"events": [Event("response head", timestamp=1_795_422_757_280_000_000)]},
        {"annotations": [{"timestamp": 1_795_422_757_280_000, "value": "response head"}]},
    ),
]


@pytest.mark.parametrize(
    ("changes", "differences"), [row[1:] for row in ENCODED], ids=[row[0] for row in ENCODED]
)
def test_spans_are_written_as_zipkin_reads_them(changes: dict[str, Any], differences: dict[str, Any]) -> None:
    assert json.loads(encode(span(**changes))) == PLAIN | differences


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipkin, "FIRST_PAUSE_SECONDS", 0.001)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.levelno >= logging.WARNING]


async def test_a_batch_is_one_post_and_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    counts = Counts()
    async with a_collector() as collector:
        exporter = ZipkinExporter(collector.url, counts)
        await asyncio.to_thread(exporter.export, [span(), span(name="redis gate")])
        assert [one["name"] for one in collector.spans] == ["GET seats", "redis gate"]
        assert len(collector.posts) == 1
    assert counts == {"sent": 2}
    assert warnings(caplog) == []


@pytest.mark.parametrize(
    ("statuses", "posts", "outcome"),
    [
        ([503], 2, "sent"),
        ([429, 500, 502], 4, "sent"),
        ([500] * ATTEMPTS, ATTEMPTS, "failed"),
        ([400], 1, "failed"),
        ([404], 1, "failed"),
        ([301], 1, "failed"),
    ],
)
async def test_what_may_pass_is_tried_again_and_what_won_t_is_not(
    statuses: list[int], posts: int, outcome: str, caplog: pytest.LogCaptureFixture
) -> None:
    counts = Counts()
    async with a_collector() as collector:
        collector.statuses = list(statuses)
        await asyncio.to_thread(ZipkinExporter(collector.url, counts).export, [span()])
        assert len(collector.posts) == posts
    assert counts == {outcome: 1}
    [warning] = warnings(caplog)
    assert f"status {statuses[0]}" in warning


async def test_a_collector_that_is_away_costs_one_warning_until_it_is_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    async with a_collector() as collector:
        exporter = ZipkinExporter(collector.url, Counts())
        collector.statuses = [503] * (3 * ATTEMPTS)
        for _ in range(3):
            await asyncio.to_thread(exporter.export, [span()])
        assert len(warnings(caplog)) == 1
        await asyncio.to_thread(exporter.export, [span()])
        assert caplog.records[-1].getMessage() == "spans are sent to ZIPKIN_ENDPOINT again"
        collector.statuses = [503]
        await asyncio.to_thread(exporter.export, [span()])
        assert len(warnings(caplog)) == 2


def test_the_warning_does_not_tell_the_password(caplog: pytest.LogCaptureFixture) -> None:
    ZipkinExporter("http://me:hunter2@127.0.0.1:1/spans", Counts()).export([span()])
    assert warnings(caplog) == [
        "spans can't be sent to ZIPKIN_ENDPOINT: ConnectionRefusedError (trying again quietly)"
    ]


async def test_in_a_hurry_there_is_one_attempt_and_none_after_it_failed() -> None:
    counts = Counts()
    async with a_collector() as collector:
        exporter = ZipkinExporter(collector.url, counts)
        exporter.hurry()
        await asyncio.to_thread(exporter.export, [span()])
        collector.statuses = [503] * 9
        await asyncio.to_thread(exporter.export, [span()])
        await asyncio.to_thread(exporter.export, [span()])
        assert len(collector.posts) == 2
    assert counts == {"sent": 1, "failed": 2}
