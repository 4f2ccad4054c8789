"""The metrics that dashboards of Spring Boot and Spring Cloud Gateway read, under their names.

They say of requests what ``metrics`` says as well, with exact statuses; ``uri`` is a route's id or the name of an own
call, where Spring has a path pattern, so that nobody can make labels without end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Final

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from gateway.observe.latency import LatencyHistogram, Series
from gateway.observe.metrics import LATENCY, METHODS

MAX_SECONDS: Final = 60.0
"""``…_max`` is the longest of the last one to two times so long, as Micrometer has it."""

_SERVER: Final = ("error", "exception", "method", "outcome", "status", "uri")
_GATEWAY: Final = ("httpMethod", "httpStatusCode", "outcome", "routeId", "routeUri", "status")
_OUTCOMES: Final = ("UNKNOWN", "INFORMATIONAL", "SUCCESS", "REDIRECTION", "CLIENT_ERROR", "SERVER_ERROR")


class SpringMetrics:
    """Keeps them in ``registry``. ``routes`` says how many routes there are. ``tags`` are labels that all have, with
    their values. All times are in seconds."""

    def __init__(
        self,
        registry: CollectorRegistry,
        routes: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        tags = tags or {}
        self._server = _Timer(
            registry, "http_server_requests_seconds", "Requests answered.", _SERVER, clock, tags
        )
        self._gateway = _Timer(
            registry,
            "spring_cloud_gateway_requests_seconds",
            "Requests that a route matched.",
            _GATEWAY,
            clock,
            tags,
        )
        count = Gauge("spring_cloud_gateway_routes_count", "Routes in force.", tuple(tags), registry=registry)
        (count.labels(**tags) if tags else count).set_function(routes)

    def request(
        self, label: str, method: str, status: int, seconds: float, code: str, route_uri: str | None
    ) -> None:
        """A request was answered. ``label``: a route's id or the name of an own call; ``code``: the error's, if the
        gateway answered with one of its own; ``route_uri``: None for own calls."""
        method = method if method in METHODS else "UNKNOWN"
        outcome = _OUTCOMES[status // 100] if 100 <= status < 600 else "UNKNOWN"
        error = code or "none"
        self._server.observe((error, error, method, outcome, str(status), label), seconds)
        if route_uri is not None:
            series = "SUCCESSFUL" if outcome == "SUCCESS" else outcome
            name = _status_name(status)
            self._gateway.observe((method, str(status), series, label, route_uri, name), seconds)


def _status_name(status: int) -> str:
    try:
        return HTTPStatus(status).name
    except ValueError:
        return "CUSTOM"


class _Timer:
    """A histogram and the gauge of its longest."""

    def __init__(
        self,
        registry: CollectorRegistry,
        name: str,
        doc: str,
        labels: Sequence[str],
        clock: Callable[[], float],
        tags: Mapping[str, str],
    ) -> None:
        labels = (*labels, *tags)
        self._histogram = LatencyHistogram(registry, name, doc, LATENCY, labels)
        self._longest = _Longest(registry, f"{name}_max", doc, labels, clock)
        self._tags = tuple(tags.values())
        self._series: dict[tuple[str, ...], tuple[Series, tuple[str, ...]]] = {}

    def observe(self, values: tuple[str, ...], seconds: float) -> None:
        found = self._series.get(values)
        if found is None:
            tagged = (*values, *self._tags)
            found = self._series[values] = self._histogram.of(*tagged), tagged
        series, tagged = found
        series.observe(seconds)
        self._longest.observe(tagged, seconds)


class _Longest(Collector):
    """The longest by label values, of the present period and the one before."""

    def __init__(
        self,
        registry: CollectorRegistry,
        name: str,
        doc: str,
        labels: Sequence[str],
        clock: Callable[[], float],
    ) -> None:
        self._name = name
        self._doc = doc
        self._labels = tuple(labels)
        self._clock = clock
        self._turned = clock()
        self._now: dict[tuple[str, ...], float] = {}
        self._before: dict[tuple[str, ...], float] = {}
        registry.register(self)

    def observe(self, values: tuple[str, ...], seconds: float) -> None:
        self._turn()
        if seconds > self._now.get(values, -1.0):
            self._now[values] = seconds

    def describe(self) -> Iterable[GaugeMetricFamily]:
        return [GaugeMetricFamily(self._name, self._doc, labels=self._labels)]

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """The numbers so far. Changes nothing, because it may run in another thread than ``observe``."""
        family = GaugeMetricFamily(self._name, self._doc, labels=self._labels)
        passed = self._clock() - self._turned
        periods = (self._now, self._before)[: 2 - min(int(passed // MAX_SECONDS), 2)]
        longest: dict[tuple[str, ...], float] = {}
        for period in periods:
            for values, seconds in dict(period).items():
                longest[values] = max(seconds, longest.get(values, 0.0))
        for values, seconds in longest.items():
            family.add_metric(values, seconds)
        return [family]

    def _turn(self) -> None:
        passed = self._clock() - self._turned
        if passed < MAX_SECONDS:
            return
        self._before = self._now if passed < 2 * MAX_SECONDS else {}
        self._now = {}
        self._turned += passed - passed % MAX_SECONDS
