"""Spans in Zipkin's JSON (version 2), in one POST at a time."""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from opentelemetry.sdk.resources import SERVICE_NAME
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.trace import SpanKind, StatusCode

from gateway.observability.span_queue import LAST_POST_SECONDS, PEER_HOST, PEER_PORT, PEER_SERVICE, SpanSender

SECONDS: Final = 5.0
"""Time-out for connecting, and for each piece of an answer."""


class PostFailed(Exception):
    """There was no answer. The text says in one word why, without the address, which may contain a password."""


class Poster:
    """Posts JSON to ``url`` (``http`` or ``https``; user and password in it are sent as Basic credentials).

    Call ``post`` from one thread only; ``abandon`` may be called from any other.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname  # noqa: S101 - the settings let nothing else pass
        self._host = parts.hostname
        self._port = parts.port
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        # A new connection for each post: one per second costs nothing, and none can have been closed meanwhile.
        self._headers = {"Content-Type": "application/json", "Connection": "close"}
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
            self._headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        self._connection: HTTPConnection | None = None
        self._abandoned = False

    def post(self, body: bytes, seconds: float = SECONDS) -> int:
        """The status of the answer; its body is not read. Redirects are not followed. Raises PostFailed."""
        if self._abandoned:
            raise PostFailed("closed")
        connection = self._connect(seconds)
        self._connection = connection
        try:
            connection.request("POST", self._target, body, self._headers)
            return connection.getresponse().status
        except (OSError, HTTPException) as error:
            raise PostFailed(type(error).__name__) from None
        except ValueError:
            if not self._abandoned:
                raise
            raise PostFailed("closed") from None
        finally:
            self._connection = None
            connection.close()

    def abandon(self) -> None:
        """Breaks off the post under way; nothing is posted any more."""
        self._abandoned = True
        connection = self._connection
        sock = None if connection is None else connection.sock
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _connect(self, seconds: float) -> HTTPConnection:
        if self._tls is not None:
            return HTTPSConnection(self._host, self._port, timeout=seconds, context=self._tls)
        return HTTPConnection(self._host, self._port, timeout=seconds)


log = logging.getLogger(__name__)

ATTEMPTS: Final = 4
FIRST_PAUSE_SECONDS: Final = 0.5
"""The pause between the first two attempts. Each further pause is twice as long, and all are jittered. Together they
outlast the restart of a collector."""

_SPANS_PER_RUN: Final = 16
"""Spans that are encoded, about 10 µs each, before the interpreter lock is released: the event loop may be waiting for
it."""

_KINDS: Final = {
    SpanKind.SERVER: "SERVER",
    SpanKind.CLIENT: "CLIENT",
    SpanKind.PRODUCER: "PRODUCER",
    SpanKind.CONSUMER: "CONSUMER",
}
_to_json = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode


def encode(span: ReadableSpan) -> bytes:
    """One span as Zipkin's JSON. Its times are whole microseconds, and none may be 0."""
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
    """Removes from the attributes those that Zipkin has a field of its own for, and returns that field's content."""
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


class ZipkinExporter(SpanSender):
    """Posts spans to ``endpoint``. Called by one thread, which may wait; the code that makes spans never waits.

    ``count`` gets the numbers of spans ``sent`` and ``failed``. A collector that is away causes one warning until it is
    back.
    """

    def __init__(self, endpoint: str, count: Callable[[str, int], None]) -> None:
        self._poster = Poster(endpoint)
        self._count = count
        self._hurry = threading.Event()
        self._away = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Posts these spans; drops them after a few failed attempts."""
        self.taken += len(spans)
        encoded = []
        for span in spans:
            encoded.append(encode(span))
            if len(encoded) % _SPANS_PER_RUN == 0:
                time.sleep(0)
        sent = self._post(b"[" + b",".join(encoded) + b"]")
        self._count("sent" if sent else "failed", len(spans))
        return SpanExportResult.SUCCESS if sent else SpanExportResult.FAILURE

    def shutdown(self) -> None:
        """Stops posting, and breaks off the post under way."""
        self.hurry()
        self._poster.abandon()

    def hurry(self) -> None:
        """The gateway is ending: makes one short attempt for the remaining spans, and none after one has failed."""
        self._hurry.set()

    def give_up(self) -> None:
        """As ``shutdown``; the thread that posts counts what it could not send."""
        self.shutdown()

    def _post(self, body: bytes) -> bool:
        pause = FIRST_PAUSE_SECONDS
        for left in reversed(range(ATTEMPTS)):
            hurried = self._hurry.is_set()
            why, again = self._attempt(body, LAST_POST_SECONDS if hurried else SECONDS)
            if not why:
                self._set_available()
                return True
            self._set_away(why)
            if hurried:
                self._poster.abandon()
                return False
            if not again or not left:
                return False
            self._hurry.wait(pause * random.uniform(0.5, 1.0))
            pause *= 2
        return False

    def _attempt(self, body: bytes, seconds: float) -> tuple[str, bool]:
        """Why the post failed (empty if it did not), and whether the same post may succeed later."""
        try:
            status = self._poster.post(body, seconds)
        except PostFailed as failed:
            return str(failed), True
        if 200 <= status < 300:
            return "", False
        return f"status {status}", status >= 500 or status == 429

    def _set_away(self, why: str) -> None:
        if not self._away:
            self._away = True
            log.warning("spans can't be sent to ZIPKIN_ENDPOINT: %s (trying again quietly)", why)

    def _set_available(self) -> None:
        if self._away:
            self._away = False
            log.info("spans are sent to ZIPKIN_ENDPOINT again")
