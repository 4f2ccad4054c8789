"""Sends spans to Zipkin if the settings name one; otherwise to nowhere."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Callable

from gateway.observability.spans import Tracer

log = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def tracing(
    endpoint: str | None, service: str, probability: float, count: Callable[[str, int], None]
) -> AsyncIterator[Tracer]:
    """A tracer that sends spans to ``endpoint``, if there is one, until the block ends. It never waits for Zipkin.

    ``service`` is the gateway's name in Zipkin; ``count`` gets the numbers of spans ``sent``, ``failed`` and
    ``dropped``.
    """
    if endpoint is None:
        yield Tracer(None, probability)
        return
    try:
        # Imported here, because only an endpoint needs it.
        from gateway.observability.zipkin import span_queue  # noqa: PLC0415
    except ImportError as error:
        log.warning("no spans are sent: %s", error)
        yield Tracer(None, probability)
        return
    async with span_queue(endpoint, service, count) as queue:
        yield Tracer(queue, probability)
