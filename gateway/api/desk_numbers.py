"""What the desk shows of a room and of the routes. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final

from gateway.api.room_report import minute_object
from gateway.api.rooms import room_object
from gateway.observability.route_numbers import RouteNumbers
from gateway.waiting_room.instances import Instance
from gateway.waiting_room.report import Minute, Report, together
from gateway.waiting_room.rules import Value

RECENT_MINUTES: Final = 6
"""Minutes over which waits and errors of estimates are shown as present ones."""

_MINUTE_MS: Final = 60_000
ROUTE_SAMPLES: Final = 13
"""With one each five seconds, those of the last minute."""


def room_now(
    name: str,
    report: Report,
    settings: Mapping[str, tuple[Value, str]],
    instances: Sequence[Instance],
) -> dict[str, Any]:
    """The room as it is, how fast users come and go, and how long those waited who were admitted lately."""
    summary, minutes = report
    now_ms = round(summary.now * 1000)
    recent = together(minutes[-RECENT_MINUTES:])
    last_wait = summary.wait_at(summary.waiting) if summary.waiting else None
    content = room_object(name, summary, settings)
    content["instances"] = [
        {
            "instance": each.name,
            "streams": each.streams,
            "version": each.version,
            "lagMs": None if each.lag is None else round(each.lag * 1000),
        }
        for each in instances
    ]
    content["now"] = {
        "at": now_ms,
        "arrivalsPerMinute": _rounded(_a_minute(minutes, "arrivals", now_ms)),
        "admissionsPerMinute": _rounded(_a_minute(minutes, "admissions", now_ms)),
        "waitP50": _rounded(recent.wait(0.5)),
        "waitP95": _rounded(recent.wait(0.95)),
        "estimateError": None if recent.estimate_error is None else round(recent.estimate_error, 3),
        "lastInLineWaits": None if last_wait is None else round(last_wait),
    }
    return content


def history(minutes: Sequence[Minute]) -> list[dict[str, Any]]:
    """The minutes for the charts."""
    return [minute_object(minute) for minute in minutes]


def _a_minute(minutes: Sequence[Minute], name: str, now_ms: int) -> float:
    """A count over the last sixty seconds: that of the minute under way, and the share of the last one that is not yet
    a minute ago."""
    present = minutes[-1]
    elapsed = min(1.0, max(0.0, (now_ms - present.at) / _MINUTE_MS))
    before = minutes[-2] if len(minutes) > 1 else None
    earlier = 0 if before is None else getattr(before, name)
    return float(getattr(present, name) + earlier * (1 - elapsed))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


class RouteWindow:
    """The numbers of routes within the last minute, from samples of their totals. ``add`` is called every few seconds;
    bounded by ``ROUTE_SAMPLES`` and the number of routes."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, Mapping[str, RouteNumbers]]] = deque(maxlen=ROUTE_SAMPLES)

    def add(self, at: float, totals: Mapping[str, RouteNumbers]) -> None:
        """The totals at the time ``at``, in seconds."""
        self._samples.append((at, totals))

    def shown(self, routes: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
        """Each of these routes, given as id and address of the service."""
        (began, first), (ended, last) = self._samples[0], self._samples[-1]
        minutes = max(ended - began, 1.0) / 60
        found = []
        for route, uri in routes:
            numbers = last.get(route, RouteNumbers()).since(first.get(route, RouteNumbers()))
            found.append(
                {
                    "route": route,
                    "uri": uri,
                    "requestsPerMinute": round(numbers.requests / minutes, 1),
                    "errorsPerMinute": round(numbers.failures / minutes, 1),
                    "latencyP50": _ms(numbers.latency(0.5)),
                    "latencyP95": _ms(numbers.latency(0.95)),
                }
            )
        return found


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)
