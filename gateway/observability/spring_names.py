"""Metrics under Spring's names: Micrometer's for Prometheus, and the JSON of ``/actuator/metrics``."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final, NamedTuple

from prometheus_client import CollectorRegistry, Gauge, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from gateway.observability.instruments import LATENCY, LatencyHistogram, Series
from gateway.observability.metrics import METHODS

MAX_SECONDS: Final = 60.0
"""``…_max`` is the longest duration of a period of one to two times this length, as in Micrometer."""

_SERVER: Final = ("error", "exception", "method", "outcome", "status", "uri")
_GATEWAY: Final = ("httpMethod", "httpStatusCode", "outcome", "routeId", "routeUri", "status")
OWN_LABELS: Final = frozenset({*_SERVER, *_GATEWAY, "le", "quantile"})
"""Names that are not allowed for a tag of all metrics."""
_OUTCOMES: Final = ("UNKNOWN", "INFORMATIONAL", "SUCCESS", "REDIRECTION", "CLIENT_ERROR", "SERVER_ERROR")


class SpringMetrics:
    """Keeps the metrics in ``registry``. ``routes`` returns the number of routes. ``tags`` are labels of all metrics,
    with their values. All times are in seconds."""

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
        """A request was answered. ``label``: a route's id, or the name of one of the gateway's own calls; ``code``: the
        error's, if the gateway answered with an error of its own; ``route_uri``: None for the gateway's own calls."""
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
    """A histogram, and a gauge of its longest duration."""

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
        self._longest = _MaxGauge(registry, f"{name}_max", doc, labels, clock)
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


class _MaxGauge(Collector):
    """The longest duration by label values, of the present period and the one before."""

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
        self._rotate()
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

    def _rotate(self) -> None:
        passed = self._clock() - self._turned
        if passed < MAX_SECONDS:
            return
        self._before = self._now if passed < 2 * MAX_SECONDS else {}
        self._now = {}
        self._turned += passed - passed % MAX_SECONDS


Pair = tuple[str, str]

COUNT: Final = "COUNT"
TOTAL: Final = "TOTAL"
TOTAL_TIME: Final = "TOTAL_TIME"
MAX: Final = "MAX"
VALUE: Final = "VALUE"

_MIN_SECONDS: Final = 1.0
_UNITS: Final = ("seconds", "bytes")


class _Known(NamedTuple):
    """Micrometer's name and unit for a metric of Prometheus's Python client, and the factor between the two units."""

    name: str
    unit: str
    factor: float = 1.0


_MICROMETER: Final = {
    "process_cpu_seconds": _Known("process.cpu.time", "ns", 1e9),
    "process_start_time_seconds": _Known("process.start.time", "seconds"),
    "process_open_fds": _Known("process.files.open", "files"),
    "process_max_fds": _Known("process.files.max", "files"),
}


class MeterSeries(NamedTuple):
    """One combination of tags, with its numbers by statistic."""

    tags: Mapping[str, str]
    numbers: dict[str, float]


class Meter(NamedTuple):
    """One meter; ``unit`` is empty if it has none."""

    name: str
    description: str
    unit: str
    series: Sequence[MeterSeries]


class Processor:
    """The share of the machine's processors that this process uses."""

    def __init__(self) -> None:
        self._at, self._spent = time.monotonic(), time.process_time()
        self._usage = 0.0

    def usage(self) -> float:
        """From 0 to 1 (all processors of the machine), since the last reading that is at least one second old."""
        now, spent = time.monotonic(), time.process_time()
        if now - self._at >= _MIN_SECONDS:
            share = (spent - self._spent) / (now - self._at) / processors()
            self._usage = min(1.0, max(0.0, share))
            self._at, self._spent = now, spent
        return self._usage


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def meters_of(families: Iterable[Metric], usage: float) -> dict[str, Meter]:
    """All meters by name, sorted by name: those of ``families`` and those of the process, including ``usage``. Meters
    without a number yet are left out, as in Spring."""
    metrics = {metric.name: metric for metric in families}
    longest = {f"{name}_max" for name, metric in metrics.items() if metric.type == "histogram"}
    found = [
        _meter(metric, metrics.get(f"{name}_max") if metric.type == "histogram" else None)
        for name, metric in metrics.items()
        if name not in longest
    ]
    found += _of_machine(usage)
    started = next((each for each in found if each.name == "process.start.time" and each.series), None)
    if started is not None:
        up = time.time() - started.series[0].numbers[VALUE]
        found.append(_gauge("process.uptime", "How long this process has been running.", up, "seconds"))
    by_name = {each.name: each for each in found if each.series}
    return dict(sorted(by_name.items()))


def meter_json(meter: Meter, tags: Sequence[Pair]) -> dict[str, Any] | None:
    """Spring's answer for the series that have all of ``tags``, combined; None if there are none."""
    chosen = [each for each in meter.series if all(each.tags.get(key) == value for key, value in tags)]
    if not chosen:
        return None
    numbers: dict[str, float] = {}
    available: dict[str, set[str]] = {}
    asked = {key for key, _ in tags}
    for series in chosen:
        for statistic, number in series.numbers.items():
            before = numbers.get(statistic)
            if before is None:
                numbers[statistic] = number
            else:
                numbers[statistic] = max(before, number) if statistic == MAX else before + number
        for key, value in series.tags.items():
            if key not in asked:
                available.setdefault(key, set()).add(value)
    answer: dict[str, Any] = {"name": meter.name, "description": meter.description}
    if meter.unit:
        answer["baseUnit"] = meter.unit
    answer["measurements"] = [
        {"statistic": statistic, "value": _json_number(number)} for statistic, number in numbers.items()
    ]
    answer["availableTags"] = [
        {"tag": key, "values": sorted(values)} for key, values in sorted(available.items())
    ]
    return answer


def _meter(metric: Metric, longest: Metric | None) -> Meter:
    name, unit, factor = _MICROMETER.get(metric.name) or _dotted(metric.name)
    statistics = {
        metric.name: VALUE,
        f"{metric.name}_total": COUNT,
        f"{metric.name}_count": COUNT,
        f"{metric.name}_sum": TOTAL_TIME if unit == "seconds" else TOTAL,
    }
    series: dict[tuple[Pair, ...], MeterSeries] = {}
    for sample in metric.samples:
        statistic = statistics.get(sample.name)
        if statistic is not None:
            found = series.setdefault(tuple(sample.labels.items()), MeterSeries(sample.labels, {}))
            found.numbers[statistic] = sample.value * factor
    if longest is not None:
        # A series without a request for a while has no longest duration.
        seconds = {tuple(sample.labels.items()): sample.value for sample in longest.samples}
        for key, each in series.items():
            each.numbers[MAX] = seconds.get(key, 0.0)
    return Meter(name, metric.documentation, unit, list(series.values()))


def _dotted(name: str) -> _Known:
    words = name.split("_")
    unit = words.pop() if words[-1] in _UNITS else ""
    return _Known(".".join(words), unit)


def _of_machine(usage: float) -> list[Meter]:
    return [
        _gauge("process.cpu.usage", "How busy this process keeps the processors, from 0 to 1.", usage),
        _gauge("system.cpu.count", "Processors that this process may use.", float(processors())),
        _gauge("system.load.average.1m", "The machine's load average of a minute.", os.getloadavg()[0]),
    ]


def _gauge(name: str, description: str, value: float, unit: str = "") -> Meter:
    return Meter(name, description, unit, [MeterSeries({}, {VALUE: value})])


def _json_number(number: float) -> float | str:
    """JSON has no notation for infinite numbers and NaN; Spring writes a text for them."""
    if math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"
