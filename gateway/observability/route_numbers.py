"""Totals of one route: its requests, those that failed, and how long its services took."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Self

from gateway.observability.instruments import LATENCY, LatencyHistogram

_FAILED = "5xx"


class RouteNumbers(NamedTuple):
    """Totals since the start. ``failures``: answers with 5xx, whether of a service or of the gateway. ``latencies``:
    answers of services by the buckets of ``LATENCY``."""

    requests: int = 0
    failures: int = 0
    latencies: tuple[int, ...] = (0,) * (len(LATENCY) + 1)

    def since(self, before: Self) -> RouteNumbers:
        """What has come since the totals were as in ``before``."""
        pairs = zip(self.latencies, before.latencies, strict=True)
        return RouteNumbers(
            self.requests - before.requests,
            self.failures - before.failures,
            tuple(now - then for now, then in pairs),
        )

    def latency(self, share: float) -> float | None:
        """The time in seconds that ``share`` of the services' answers did not exceed, taking those of one bucket for
        evenly spread; None without any."""
        total = sum(self.latencies)
        wanted, seen, low = share * total, 0, 0.0
        for bound, count in zip(LATENCY, self.latencies, strict=False):
            if count and seen + count >= wanted:
                return low + (bound - low) * (wanted - seen) / count
            seen, low = seen + count, bound
        return low if total else None


def route_numbers(requests: LatencyHistogram, upstream: LatencyHistogram) -> Mapping[str, RouteNumbers]:
    """The totals of each route so far."""
    found: dict[str, RouteNumbers] = {}
    for (route, _, status), counts in requests.counts():
        before = found.get(route, RouteNumbers())
        count = sum(counts)
        failed = count if status == _FAILED else 0
        found[route] = before._replace(requests=before.requests + count, failures=before.failures + failed)
    for (route,), counts in upstream.counts():
        found[route] = found.get(route, RouteNumbers())._replace(latencies=tuple(counts))
    return found
