"""Limits how many slow clients may keep services waiting for the end of their answers.

The gateway holds some 300 KB of an answer, and both systems hold what fits into their buffers. Only when these are full
does a service wait for the client. Only that time counts, and only until the service has sent everything.

One leaky bucket measures each answer. Its level, the *lead*, begins at five seconds. Waiting for the client drains it,
each byte that the client takes fills it at 16 KiB/s, and it never exceeds its initial level. When it is empty, the
download is *slow*, until the lead is full again. Slow downloads are counted for each client and for each service. One
above the limit is broken off, because its head has already been sent.

The client's connection limits how slow a client may be at all: see ``server.write_timeout``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Final

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from gateway.proxy.uploads import FULL_SPEED, decrement, least_of, network_of, try_increment
from gateway.server.tcp_acknowledged import acknowledged

LEAD_SECONDS: Final = 5.0
"""Longer than for uploads, because the bytes that a client takes become visible in steps: see ``acknowledged``."""

_MIN_MEASURED_SECONDS: Final = 0.05


@dataclass(frozen=True, slots=True)
class DownloadLimits:
    """The maximum number of slow downloads at a time; 0 allows none. The defaults are those of the settings."""

    per_client: int = 16
    per_service: int = 64


class Downloads:
    """Counts the slow downloads of an instance, for each client and for each service."""

    def __init__(self, limits: DownloadLimits | None = None) -> None:
        self.limits = limits or DownloadLimits()
        self.by_client: dict[str, int] = {}
        """Slow downloads by client; clients without any are left out."""
        self.by_service: dict[Hashable, int] = {}
        self._shares: Mapping[str, int] = {}

    def limit_services(self, shares: Mapping[str, int]) -> None:
        """Services that may have fewer slow downloads than ``limits`` say, and how many, from now on."""
        self._shares = shares

    def most_at(self, service: Hashable) -> int:
        """How many slow downloads ``service`` may have."""
        return least_of(self.limits.per_service, self._shares, service)

    def begin(
        self, request: web.BaseRequest, client: str, service: Hashable, too_many: Callable[[], None]
    ) -> Download:
        """Starts to measure the answer to ``request``, which the client did not take at once; ``close`` must follow.

        ``client`` is the client's address. ``too_many`` ends the answer: it is called if the download is slow and the
        limit is reached.
        """
        return Download(self, request, client, service, too_many)


class Download:
    """The rest of one answer, sent at the client's speed."""

    __slots__ = (
        "_client",
        "_downloads",
        "_lead",
        "_loop",
        "_request",
        "_service",
        "_since",
        "_slow",
        "_taken",
        "_timer",
        "_too_many",
    )

    def __init__(
        self,
        downloads: Downloads,
        request: web.BaseRequest,
        client: str,
        service: Hashable,
        too_many: Callable[[], None],
    ) -> None:
        self._downloads = downloads
        self._request = request
        self._client = client
        self._service = service
        self._too_many = too_many
        self._loop = asyncio.get_running_loop()
        self._lead = LEAD_SECONDS
        self._slow = False
        self._taken = self._bytes_taken()
        self._since = 0.0
        self._timer: asyncio.TimerHandle | None = None

    async def drain(self, writer: AbstractStreamWriter) -> None:
        """Waits until the client has taken enough of what was written. Raises ConnectionError if the connection is
        lost."""
        self._since = self._loop.time()
        self._set_timer()
        try:
            await writer.drain()
        finally:
            self._stop_timer()
        waited = self._loop.time() - self._since
        if self._slow or waited > _MIN_MEASURED_SECONDS:
            self._account(waited)

    def close(self) -> None:
        """Stops counting the download: the service has sent everything, or the download has ended."""
        self._stop_timer()
        if self._slow:
            self._slow = False
            decrement(self._downloads.by_client, self._client)
            decrement(self._downloads.by_service, self._service)

    def _set_timer(self) -> None:
        self._timer = self._loop.call_later(LEAD_SECONDS if self._slow else self._lead, self._measure)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _measure(self) -> None:
        now = self._loop.time()
        waited, self._since = now - self._since, now
        self._account(waited)
        if self._request.transport is not None:
            self._set_timer()

    def _bytes_taken(self) -> int:
        transport = self._request.transport
        if transport is None:
            return 0
        count = acknowledged(transport)
        if count is None:
            # An approximation: the bytes that this system has accepted for the client.
            count = self._request.writer.output_size - transport.get_write_buffer_size()
        return count

    def _account(self, waited: float) -> None:
        before, self._taken = self._taken, self._bytes_taken()
        gained = max(0, self._taken - before) / FULL_SPEED
        self._lead = max(0.0, min(LEAD_SECONDS, self._lead - waited + gained))
        if self._slow:
            if self._lead >= LEAD_SECONDS:
                self.close()
        elif not self._lead:
            self._count()

    def _count(self) -> None:
        downloads, limits = self._downloads, self._downloads.limits
        client = network_of(self._client)
        if not try_increment(downloads.by_client, client, limits.per_client):
            self._too_many()
        elif not try_increment(downloads.by_service, self._service, downloads.most_at(self._service)):
            decrement(downloads.by_client, client)
            self._too_many()
        else:
            self._client = client
            self._slow = True
