"""Spans by OTLP over HTTP, sent by OpenTelemetry's own exporter.

That exporter encodes, compresses, posts, and repeats posts that may succeed later. What it leaves open is decided here:
no redirect is followed, no proxy and no password of the environment is used, little of an answer is read, and an ending
gateway does not wait for a receiver that is away.
"""

from __future__ import annotations

import logging
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import requests
from google.protobuf.message import DecodeError
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from urllib3.exceptions import HTTPError

from gateway.observability.receivers import OtlpReceiver
from gateway.observability.span_queue import LAST_POST_SECONDS, Count, SpanSender

log = logging.getLogger(__name__)

_SPANS_PER_RUN: Final = 16
"""Spans that are encoded, about 20 µs each, before the interpreter lock is released: the event loop may be waiting for
it."""
_MAX_ANSWER_BYTES: Final = 4096
"""Longer answers are not read: all that counts in one is the number of rejected spans."""

_SILENCED: Final = ("opentelemetry.exporter", "opentelemetry.util.re", "urllib3")
"""Loggers whose lines may hold an address with its query, or a header. What counts in them is logged here."""


class _Refused(requests.RequestException):
    """The receiver's answer is final."""


class _Session(requests.Session):
    """Posts for the exporter, and keeps what became of the last post."""

    def __init__(self) -> None:
        super().__init__()
        # Otherwise proxies, certificates and the passwords of .netrc would come from the environment.
        self.trust_env = False
        # A new connection for each post: one per second costs nothing, and none can have been closed meanwhile.
        self.headers["Connection"] = "close"
        self.hurried = False
        self.fault = ""
        """Why the last post failed; empty if it did not."""
        self.rejected = 0
        """Spans of the last post that the receiver did not take although it took the post."""

    def request(self, method: str, url: str, **options: Any) -> requests.Response:  # type: ignore[override]
        """As of its parent. Raises RequestException also where a repetition would not help."""
        options |= {"allow_redirects": False, "stream": True}
        if self.hurried:
            options["timeout"] = min(options.get("timeout") or LAST_POST_SECONDS, LAST_POST_SECONDS)
        self.rejected = 0
        try:
            response = super().request(method, url, **options)
        except requests.RequestException as error:
            self.fault = type(error).__name__
            if self.hurried:
                raise _Refused from None
            raise
        with response:
            taken = 200 <= response.status_code < 300
            self.fault = "" if taken else f"status {response.status_code}"
            if not taken and (self.hurried or response.is_redirect or response.status_code < 400):
                raise _Refused
            if taken:
                self.rejected = _rejected(response)
        return response


class OtlpExporter(SpanSender):
    """Sends spans to ``receiver``. ``count`` gets the numbers of spans ``sent`` and ``failed``. A receiver that is away
    causes one warning until it is back."""

    def __init__(self, receiver: OtlpReceiver, count: Count) -> None:
        for name in _SILENCED:
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        self._count = count
        self._session = _Session()
        # All options are given: the exporter would read any other from environment variables.
        self._exporter = OTLPSpanExporter(
            endpoint=receiver.endpoint,
            certificate_file=_text(receiver.certificate) or _system_certificates(),
            client_certificate_file=_text(receiver.client_certificate),
            client_key_file=_text(receiver.client_key),
            headers=dict(receiver.headers),
            timeout=receiver.seconds,
            compression=Compression.Gzip if receiver.gzip else Compression.NoCompression,
            session=self._session,
        )
        self._lock = threading.Lock()
        self._open = 0
        """Spans of the batch under way whose outcome has not been counted."""
        self._stopped = False
        self._away = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Posts these spans; drops them if the receiver does not take them in time."""
        with self._lock:
            self.taken += len(spans)
            self._open = len(spans)
        sent = False if self._stopped else self._post(spans)
        with self._lock:
            still_open, self._open = self._open, 0
        rejected = min(self._session.rejected, still_open) if sent else still_open
        if still_open > rejected:
            self._count("sent", still_open - rejected)
        if rejected:
            self._count("failed", rejected)
        return SpanExportResult.SUCCESS if sent else SpanExportResult.FAILURE

    def shutdown(self) -> None:
        """Sends nothing more, and does not wait to repeat a post."""
        self._stopped = True
        self._exporter.shutdown()  # type: ignore[no-untyped-call]

    def hurry(self) -> None:
        """As of its parent."""
        self._session.hurried = True

    def give_up(self) -> None:
        """As of its parent. A post that waits for an answer is left to its thread, whose time is limited."""
        self.shutdown()
        with self._lock:
            still_open, self._open = self._open, 0
        if still_open:
            self._count("failed", still_open)

    def _post(self, spans: Sequence[ReadableSpan]) -> bool:
        try:
            result = self._exporter.export(_InRuns(spans))
        except requests.RequestException:
            result = SpanExportResult.FAILURE
        sent = result is SpanExportResult.SUCCESS
        if sent:
            self._set_available()
        else:
            self._set_away(self._session.fault or "no answer")
            if self._session.hurried:
                self._stopped = True
        return sent

    def _set_away(self, why: str) -> None:
        if not self._away:
            self._away = True
            log.warning("spans can't be sent to OTEL_EXPORTER_OTLP_ENDPOINT: %s (trying again quietly)", why)

    def _set_available(self) -> None:
        if self._away:
            self._away = False
            log.info("spans are sent to OTEL_EXPORTER_OTLP_ENDPOINT again")


class _InRuns(list[ReadableSpan]):
    """Spans between which the interpreter lock is released now and then."""

    def __iter__(self) -> Iterator[ReadableSpan]:
        for number, span in enumerate(super().__iter__(), 1):
            yield span
            if number % _SPANS_PER_RUN == 0:
                time.sleep(0)


def _rejected(response: requests.Response) -> int:
    """How many spans the receiver says that it rejected."""
    length = response.headers.get("Content-Length", "")
    if not (length.isascii() and length.isdigit() and 0 < int(length) <= _MAX_ANSWER_BYTES):
        return 0
    try:
        body = response.raw.read(int(length), decode_content=True)
        rejected: int = ExportTraceServiceResponse.FromString(body).partial_success.rejected_spans
        return max(0, rejected)
    except (HTTPError, OSError, DecodeError):
        return 0


def _system_certificates() -> str | None:
    """Where the system's certificates are; None if it has none: then those of certifi count."""
    paths = ssl.get_default_verify_paths()
    return paths.cafile or paths.capath


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
