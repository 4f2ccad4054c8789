"""Spans on their way to a receiver: a bounded queue and a thread that sends, both of the OpenTelemetry SDK."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from gateway.observability.spans import Remote, Span

PEER_SERVICE: Final = "peer.service"
PEER_HOST: Final = "server.address"
PEER_PORT: Final = "server.port"

MAX_WAITING: Final = 2048
"""Spans that may wait to be sent, about 2 KB each; beyond that, new ones are dropped and counted."""
MAX_SPANS_PER_POST: Final = 256
EVERY_SECONDS: Final = 1.0
LAST_POST_SECONDS: Final = 1.0
"""Time-out of a post while the gateway is ending."""
LAST_SECONDS: Final = 2.0
"""Seconds that an ending gateway goes on sending waiting spans, and then waits for the post that it broke off."""

_SPAN_KINDS: Final = {"SERVER": SpanKind.SERVER, "CLIENT": SpanKind.CLIENT, "INTERNAL": SpanKind.INTERNAL}
_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_OK: Final = Status(StatusCode.UNSET)
_SCOPE: Final = InstrumentationScope("gateway")

Count = Callable[[str, int], None]
"""Gets an outcome, ``sent``, ``failed`` or ``dropped``, and the number of spans that it counts."""


class SpanSender(SpanExporter):
    """Sends spans to one receiver. One thread calls ``export``, which may wait; any may call the other methods."""

    taken = 0
    """Spans that have left the queue, sent or not."""

    def hurry(self) -> None:
        """The gateway is ending: makes one short attempt for the remaining spans, and none after one has failed."""

    def give_up(self) -> None:
        """Breaks off what is under way. Spans whose outcome is still open count as failed."""


class SpanQueue:
    """Takes spans for one receiver, without waiting. ``count`` gets the number of spans ``dropped``."""

    def __init__(self, sender: SpanSender, count: Count, *, most_waiting: int = MAX_WAITING) -> None:
        self._count = count
        self._most_waiting = most_waiting
        self._given = 0
        self._sender = sender
        # All options are given: the SDK would read any other from environment variables.
        self._processor = BatchSpanProcessor(
            sender,
            max_queue_size=2 * most_waiting,
            schedule_delay_millis=EVERY_SECONDS * 1000,
            max_export_batch_size=min(MAX_SPANS_PER_POST, most_waiting),
            export_timeout_millis=30_000,
        )

    def put(self, span: ReadableSpan) -> None:
        """Takes a span and returns at once. If the queue is full, the span is dropped."""
        # The SDK's queue would also drop spans, but silently; so it never gets full here.
        if self._given - self._sender.taken >= self._most_waiting:
            self._count("dropped", 1)
            return
        self._given += 1
        self._processor.on_end(span)

    async def close(self) -> None:
        """Sends the waiting spans, for a bounded time."""
        loop = asyncio.get_running_loop()
        stopped = asyncio.Event()

        def stop() -> None:
            self._processor.shutdown()  # type: ignore[no-untyped-call]
            with contextlib.suppress(RuntimeError):  # the loop has ended: no task waits any more
                loop.call_soon_threadsafe(stopped.set)

        self._sender.hurry()
        # A daemon thread: the process need not wait for it if a name server blocks it.
        threading.Thread(target=stop, name="tracing stop", daemon=True).start()
        try:
            async with asyncio.timeout(LAST_SECONDS):
                await stopped.wait()
        except TimeoutError:
            self._sender.give_up()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_SECONDS):
                    await stopped.wait()


class SpanExport:
    """The tracer's exporter: puts each span into every queue. ``attributes`` are those of the resource, the gateway's
    own name among them."""

    def __init__(self, queues: list[SpanQueue], attributes: Mapping[str, str]) -> None:
        self._queues = queues
        self._resource = Resource(attributes)

    def export(self, span: Span, /) -> None:
        """Takes a span and returns at once."""
        finished = _finished(span, self._resource)
        for queue in self._queues:
            queue.put(finished)


@contextlib.asynccontextmanager
async def span_export(queues: list[SpanQueue], attributes: Mapping[str, str]) -> AsyncIterator[SpanExport]:
    """Spans that are put in here are sent until the block ends; then all queues are closed at the same time."""
    try:
        yield SpanExport(queues, attributes)
    finally:
        async with asyncio.TaskGroup() as group:
            for queue in queues:
                group.create_task(queue.close())


def _finished(span: Span, resource: Resource) -> ReadableSpan:
    """A span in the SDK's form. It is made after the fact, and only if sampled: this takes 3 µs, the SDK's tracer would
    take 17."""
    context = span.context
    trace = int(context.trace_id, 16)
    parent = None
    if context.parent_id is not None:
        parent = _place(trace, context.parent_id, remote=span.kind == "SERVER")
    began = _nanoseconds(span.began)
    return ReadableSpan(
        name=span.name,
        context=_place(trace, context.span_id, remote=False),
        parent=parent,
        resource=resource,
        instrumentation_scope=_SCOPE,
        attributes=span.tags if span.remote is None else {**span.tags, **_peer(span.remote)},
        events=[Event(name, timestamp=_nanoseconds(at)) for name, at in span.moments],
        kind=_SPAN_KINDS[span.kind],
        status=Status(StatusCode.ERROR, span.error) if span.error else _OK,
        start_time=began,
        end_time=began + _nanoseconds(span.seconds),
    )


def _nanoseconds(seconds: float) -> int:
    """Nanoseconds, exact to the microsecond: a float of epoch seconds is no more precise."""
    return round(seconds * 1e6) * 1000


def _place(trace: int, span_id: str, *, remote: bool) -> SpanContext:
    return SpanContext(trace, int(span_id, 16), remote, _SAMPLED)


def _peer(remote: Remote) -> dict[str, str | int]:
    return {PEER_SERVICE: remote.service, PEER_HOST: remote.host, PEER_PORT: remote.port}
