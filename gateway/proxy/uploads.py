"""Reads request bodies at the client's speed, and limits how many slow clients there may be.

Only the time counts in which the gateway waits for the client. While the service is slow, the gateway reads nothing,
and the client's clock stands still.

Two leaky buckets measure each body. Waiting drains them, each byte that arrives fills them, and neither exceeds its
initial level:

* The *patience* begins at ``timeout`` seconds and is filled at the minimum rate. When it is empty, the body is refused.
* The *lead* begins at two seconds and is filled at 16 KiB/s. When it is empty, the upload is *slow*, until the lead is
  full again. Slow uploads are counted for each client and for each service.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network
from typing import Any, Final

from aiohttp import web
from aiohttp.http import HttpProcessingError

from gateway.errors import BadRequest, Overloaded, RequestTimeout, TooManySlowUploads
from gateway.server.framing import BODY_TOO_LATE, BodyTooSlow

LEAD_SECONDS: Final = 2.0
FULL_SPEED: Final = 16 * 1024
"""Bytes per second. An upload at this speed or above is never slow."""

BROKEN_BODY: Final = "the body is malformed or incomplete"

_RETRY_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """How slowly a body may arrive. The defaults are those of the settings.

    ``timeout``: seconds that a client may be behind the minimum rate; also the longest pause. ``min_rate``: bytes per
    second, 0 for no minimum. ``per_client`` and ``per_service``: the maximum number of slow uploads at a time; 0 allows
    none.
    """

    timeout: float = 30.0
    min_rate: int = 500
    per_client: int = 16
    per_service: int = 64


class Uploads:
    """Counts the slow uploads of an instance, for each client and for each service."""

    def __init__(self, limits: UploadLimits | None = None) -> None:
        self.limits = limits or UploadLimits()
        self.by_client: dict[str, int] = {}
        """Slow uploads by client; clients without any are left out."""
        self.by_service: dict[Hashable, int] = {}
        """Slow uploads by service, if the service already has a part of the body."""
        self._shares: Mapping[str, int] = {}

    def limit_services(self, shares: Mapping[str, int]) -> None:
        """Services that may have fewer slow uploads than ``limits`` say, and how many, from now on."""
        self._shares = shares

    def most_at(self, service: Hashable) -> int:
        """How many slow uploads ``service`` may have."""
        return least_of(self.limits.per_service, self._shares, service)

    def begin(self, request: web.BaseRequest, client: str) -> Upload:
        """Starts to read the body of ``request``; ``close`` must follow. ``client`` is the client's address."""
        return Upload(self, request, network_of(client))


class Upload:
    """The body of one request, read at the client's speed."""

    __slots__ = (
        "_client",
        "_content",
        "_counted_at",
        "_lead",
        "_limits",
        "_loop",
        "_patience",
        "_request",
        "_service",
        "_slow",
        "_uploads",
    )

    def __init__(self, uploads: Uploads, request: web.BaseRequest, client: str) -> None:
        self._uploads = uploads
        self._limits = uploads.limits
        self._request = request
        self._content = request.content
        self._client = client
        self._service: Hashable = None
        self._counted_at: Hashable = None
        self._slow = False
        self._patience = self._limits.timeout
        self._lead = LEAD_SECONDS
        self._loop = asyncio.get_running_loop()

    async def piece(self) -> bytes:
        """The next piece as soon as there is one; empty at the end.

        Raises RequestTimeout if the client is too slow, TooManySlowUploads or Overloaded if it is slow and the limit is
        reached, BadRequest if the body is malformed or the client has gone.
        """
        while True:
            began = self._loop.time()
            try:
                data = self._content.read_nowait()
                if not (data or self._content.at_eof()):
                    # Only waiting takes a time-out.
                    async with asyncio.timeout(
                        self._patience if self._slow else min(self._patience, self._lead)
                    ):
                        data = await self._content.readany()
            except TimeoutError:
                self._account(self._loop.time() - began, 0)
            except BodyTooSlow:
                raise RequestTimeout(BODY_TOO_LATE) from None
            except (web.RequestPayloadError, HttpProcessingError, ConnectionError) as error:
                raise BadRequest(BROKEN_BODY) from error
            except RuntimeError as error:
                if self._request.transport is not None:
                    raise
                # aiohttp raises this if the client disconnected before the reader noticed.
                raise BadRequest(BROKEN_BODY) from error
            else:
                if data and not self._content.at_eof():
                    self._account(self._loop.time() - began, len(data))
                return data

    def assign_service(self, service: Hashable) -> None:
        """From now on the body goes to ``service``. Raises Overloaded if it is slow and the service has too many slow
        uploads."""
        self._service = service
        if self._slow:
            self._count_at_service()

    def close(self) -> None:
        """Stops counting the upload: it is complete, given up, or no longer slow."""
        if self._slow:
            self._slow = False
            decrement(self._uploads.by_client, self._client)
        if self._counted_at is not None:
            decrement(self._uploads.by_service, self._counted_at)
            self._counted_at = None

    def _account(self, waited: float, size: int) -> None:
        limits = self._limits
        # Without a minimum rate, any byte restores all of the patience.
        gained = size / limits.min_rate if limits.min_rate else size * limits.timeout
        self._patience = min(limits.timeout, self._patience - waited + gained)
        if self._patience <= 0:
            raise RequestTimeout(BODY_TOO_LATE)
        self._lead = max(0.0, min(LEAD_SECONDS, self._lead - waited + size / FULL_SPEED))
        if self._slow:
            if self._lead >= LEAD_SECONDS:
                self.close()
        elif not self._lead:
            self._count()

    def _count(self) -> None:
        if not try_increment(self._uploads.by_client, self._client, self._limits.per_client):
            raise TooManySlowUploads(_RETRY_SECONDS)
        self._slow = True
        self._count_at_service()

    def _count_at_service(self) -> None:
        if self._service is None:
            return
        most = self._uploads.most_at(self._service)
        if not try_increment(self._uploads.by_service, self._service, most):
            raise Overloaded(_RETRY_SECONDS)
        self._counted_at = self._service


def least_of(limit: int, shares: Mapping[str, int], service: Hashable) -> int:
    """``limit``, or what ``shares`` say of ``service`` if that is less."""
    return min(limit, shares.get(service, limit)) if isinstance(service, str) else limit


def try_increment(counts: dict[Any, int], key: Hashable, limit: int) -> bool:
    count = counts.get(key, 0)
    if count >= limit:
        return False
    counts[key] = count + 1
    return True


def decrement(counts: dict[Any, int], key: Hashable) -> None:
    # Entries that reach zero are removed, because addresses and services come and go.
    if counts[key] == 1:
        del counts[key]
    else:
        counts[key] -= 1


def network_of(client: str) -> str:
    """What counts as one client: an IPv4 address, or the /64 of an IPv6 address, which one machine may use as a
    whole."""
    if ":" not in client:
        return client
    try:
        address = IPv6Address(client)
    except ValueError:
        return client
    return str(address.ipv4_mapped or IPv6Address(int(address) >> 64 << 64))


def site_of(client: str) -> str:
    """The /48 of an IPv6 address, which providers give to one customer; empty for other addresses."""
    try:
        return str(IPv6Network((network_of(client), 48), strict=False))
    except ValueError:
        return ""


def sharer_of(client: str) -> str:
    """Whom the places count for that clients share: an IPv4 address, or the /48 of an IPv6 address. A client with a /48
    has 65,536 networks, and would get a place for each."""
    return client if ":" not in client else site_of(client) or network_of(client)
