"""Zipkin for the OpenTelemetry SDK: spans as Zipkin's JSON (version 2), posted by the SDK's thread.

OpenTelemetry's own exporter for Zipkin is deprecated, with no fixes after 2026, and its HTTP client would follow the
environment's proxies; the format is small and does not change.
"""

from __future__ import annotations

import json
import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Any, Final

from opentelemetry.sdk.resources import SERVICE_NAME
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind, StatusCode

from gateway.observe.poster import SECONDS, Poster, PostFailed

log = logging.getLogger(__name__)

PEER_SERVICE: Final = "peer.service"
PEER_HOST: Final = "server.address"
PEER_PORT: Final = "server.port"

ATTEMPTS: Final = 4
FIRST_PAUSE_SECONDS: Final = 0.5
"""Between the first two attempts; each further pause is twice as long, and all are jittered. Together they outlast the
restart of a collector."""
LAST_SECONDS: Final = 1.0
"""For a post once the gateway is ending."""

_IN_A_RUN: Final = 16
"""Spans encoded, about 10 µs each, before the interpreter is let go: the event loop may be waiting for it."""

_KINDS: Final = {
    SpanKind.SERVER: "SERVER",
    SpanKind.CLIENT: "CLIENT",
    SpanKind.PRODUCER: "PRODUCER",
    SpanKind.CONSUMER: "CONSUMER",
}
_to_json = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode


def encode(span: ReadableSpan) -> bytes:
    """One span as Zipkin's JSON. Times are in whole microseconds there, and none may be 0."""
    context = span.context
    assert context is not None  # noqa: S101 - finished spans have one
    began, ended = span.start_time or 0, span.end_time or 0
    attributes = dict(span.attributes or {})
    remote = _remote(attributes)
    tags = {name: _text(value) for name, value in attributes.items()}
    if span.status.status_code is StatusCode.ERROR:
        tags["error"] = span.status.description or "error"
    content: dict[str, Any] = {
        "traceId": f"{context.trace_id:032x}",
        "id": f"{context.span_id:016x}",
        "name": span.name,
        "timestamp": max(1, began // 1000),
        "duration": max(1, (ended - began) // 1000),
        "localEndpoint": {"serviceName": str(span.resource.attributes.get(SERVICE_NAME, ""))},
        "tags": tags,
    }
    if span.parent is not None:
        content["parentId"] = f"{span.parent.span_id:016x}"
    if span.kind in _KINDS:
        content["kind"] = _KINDS[span.kind]
    if remote:
        content["remoteEndpoint"] = remote
    if span.events:
        content["annotations"] = [
            {"timestamp": event.timestamp // 1000, "value": event.name} for event in span.events
        ]
    return _to_json(content).encode()


def _remote(attributes: dict[str, Any]) -> dict[str, Any]:
    """Takes out of the attributes what Zipkin has a place of its own for."""
    remote: dict[str, Any] = {}
    if service := attributes.pop(PEER_SERVICE, ""):
        remote["serviceName"] = service
    host = attributes.pop(PEER_HOST, "")
    try:
        remote[f"ipv{ip_address(host).version}"] = host
    except ValueError:
        if host:
            attributes[PEER_HOST] = host
    if port := attributes.pop(PEER_PORT, 0):
        remote["port"] = port
    return remote


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


class ZipkinExporter(SpanExporter):
    """Posts spans to ``endpoint``. Called by one thread, which may wait; whoever makes spans never does.

    ``count`` is told how many spans were ``sent`` and how many ``failed``. A collector that is away costs one warning
    until it is back.
    """

    def __init__(self, endpoint: str, count: Callable[[str, int], None]) -> None:
        self._poster = Poster(endpoint)
        self._count = count
        self._hurry = threading.Event()
        self._away = False
        self.taken = 0
        """Spans that have left the queue, whatever became of them."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Posts these spans; after a few attempts they are given up."""
        self.taken += len(spans)
        encoded = []
        for span in spans:
            encoded.append(encode(span))
            if len(encoded) % _IN_A_RUN == 0:
                time.sleep(0)
        sent = self._post(b"[" + b",".join(encoded) + b"]")
        self._count("sent" if sent else "failed", len(spans))
        return SpanExportResult.SUCCESS if sent else SpanExportResult.FAILURE

    def shutdown(self) -> None:
        """Nothing is posted any more, and what is under way is broken off."""
        self.hurry()
        self._poster.abandon()

    def hurry(self) -> None:
        """The gateway is ending: one short attempt for what is left, and none after one has failed."""
        self._hurry.set()

    def _post(self, body: bytes) -> bool:
        pause = FIRST_PAUSE_SECONDS
        for left in reversed(range(ATTEMPTS)):
            hurried = self._hurry.is_set()
            why, again = self._attempt(body, LAST_SECONDS if hurried else SECONDS)
            if not why:
                self._is_there()
                return True
            self._is_away(why)
            if hurried:
                self._poster.abandon()
                return False
            if not again or not left:
                return False
            self._hurry.wait(pause * random.uniform(0.5, 1.0))
            pause *= 2
        return False

    def _attempt(self, body: bytes, seconds: float) -> tuple[str, bool]:
        """Why it failed, if it did, and whether the same may succeed later."""
        try:
            status = self._poster.post(body, seconds)
        except PostFailed as failed:
            return str(failed), True
        if 200 <= status < 300:
            return "", False
        return f"status {status}", status >= 500 or status == 429

    def _is_away(self, why: str) -> None:
        if not self._away:
            self._away = True
            log.warning("spans can't be sent to ZIPKIN_ENDPOINT: %s (trying again quietly)", why)

    def _is_there(self) -> None:
        if self._away:
            self._away = False
            log.info("spans are sent to ZIPKIN_ENDPOINT again")
