"""Sends spans to the receivers that the settings name, Zipkin, one by OTLP, or both; otherwise to nowhere."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Final

from gateway.observability.receivers import OtlpReceiver
from gateway.observability.spans import Tracer

if TYPE_CHECKING:
    from gateway.observability.span_queue import SpanQueue

log = logging.getLogger(__name__)

ZIPKIN: Final = "zipkin"
OTLP: Final = "otlp"


@contextlib.asynccontextmanager
async def tracing(
    zipkin: str | None,
    otlp: OtlpReceiver | None,
    attributes: Mapping[str, str],
    probability: float,
    count: Callable[[str, str, int], None],
) -> AsyncIterator[Tracer]:
    """A tracer that sends spans to ``zipkin``, an address, and to ``otlp``, as far as they are there, until the block
    ends. It never waits for either.

    ``attributes``: those of the gateway as a resource, with ``service.name``. ``count`` gets ``zipkin`` or ``otlp``, an
    outcome (``sent``, ``failed`` or ``dropped``) and a number of spans.
    """
    if zipkin is None and otlp is None:
        yield Tracer(None, probability)
        return
    try:
        queues = _queues(zipkin, otlp, count)
        from gateway.observability.span_queue import span_export  # noqa: PLC0415
    except ImportError as error:
        log.warning("no spans are sent: %s", error)
        yield Tracer(None, probability)
        return
    async with span_export(queues, attributes) as export:
        yield Tracer(export, probability)


def _queues(
    zipkin: str | None, otlp: OtlpReceiver | None, count: Callable[[str, str, int], None]
) -> list[SpanQueue]:
    # Imported here, because only an endpoint needs the libraries.
    from gateway.observability.span_queue import SpanQueue, SpanSender  # noqa: PLC0415

    def counting(receiver: str) -> Callable[[str, int], None]:
        return lambda outcome, spans: count(receiver, outcome, spans)

    senders: list[tuple[SpanSender, Callable[[str, int], None]]] = []
    if zipkin is not None:
        from gateway.observability.zipkin import ZipkinExporter  # noqa: PLC0415

        senders.append((ZipkinExporter(zipkin, counting(ZIPKIN)), counting(ZIPKIN)))
    if otlp is not None:
        from gateway.observability.otlp import OtlpExporter  # noqa: PLC0415

        senders.append((OtlpExporter(otlp, counting(OTLP)), counting(OTLP)))
    return [SpanQueue(sender, counts) for sender, counts in senders]
