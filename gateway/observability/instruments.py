"""A histogram and a counter for events that happen thousands of times a second."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

LATENCY: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""The upper ends, in seconds, of the buckets for times of requests."""


class LatencyHistogram(Collector):
    """Durations in seconds by label values. Observe from one thread only; collecting may happen in any."""

    def __init__(
        self,
        registry: CollectorRegistry,
        name: str,
        doc: str,
        buckets: Sequence[float],
        labels: Sequence[str],
    ) -> None:
        self._name = name
        self._doc = doc
        self._labels = tuple(labels)
        self._bounds = tuple(buckets)
        self._names = [
            floatToGoString(bound)  # type: ignore[no-untyped-call]
            for bound in (*self._bounds, float("inf"))
        ]
        self._series: dict[tuple[str, ...], Series] = {}
        registry.register(self)

    def of(self, *values: str) -> Series:
        """The series with these label values; a frequent caller should keep it."""
        series = self._series.get(values)
        if series is None:
            series = self._series[values] = Series(self._bounds)
        return series

    def counts(self) -> list[tuple[tuple[str, ...], list[int]]]:
        """The series so far: label values, and how many durations each bucket holds."""
        return [(values, list(series.counts)) for values, series in dict(self._series).items()]

    def describe(self) -> Iterable[HistogramMetricFamily]:
        """What ``collect`` will give, without numbers."""
        return [HistogramMetricFamily(self._name, self._doc, labels=self._labels)]

    def collect(self) -> Iterable[HistogramMetricFamily]:
        """The numbers so far."""
        family = HistogramMetricFamily(self._name, self._doc, labels=self._labels)
        # dict() copies in one step. list(….items()) doesn't: up to Python 3.11 the garbage collector may run in it, and
        # give way to the thread that observes.
        for values, series in dict(self._series).items():
            so_far, buckets = 0, []
            for bound, count in zip(self._names, series.counts, strict=True):
                so_far += count
                buckets.append((bound, so_far))
            family.add_metric(values, buckets, series.total)
        return [family]


class Series:
    """One combination of label values."""

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        """Counts one duration in seconds; a duration equal to a bound is counted in that bound's bucket."""
        self.counts[bisect_left(self._bounds, seconds)] += 1
        self.total += seconds


class Tally(Collector):
    """Counts by the values of one label, which are few. Count from one thread only; collecting may happen in any."""

    def __init__(self, registry: CollectorRegistry, name: str, doc: str, label: str) -> None:
        self._name = name
        self._doc = doc
        self._labels = (label,)
        self.counts: Counter[str] = Counter()
        """For frequent callers, which add to it directly."""
        registry.register(self)

    def describe(self) -> Iterable[CounterMetricFamily]:
        """What ``collect`` will give, without numbers."""
        return [CounterMetricFamily(self._name, self._doc, labels=self._labels)]

    def collect(self) -> Iterable[CounterMetricFamily]:
        """The numbers so far."""
        family = CounterMetricFamily(self._name, self._doc, labels=self._labels)
        for value, count in dict(self.counts).items():
            family.add_metric((value,), count)
        return [family]


class Census(Collector):
    """A gauge whose series come and go: they are counted whenever they are collected, by ``read``, in any thread."""

    def __init__(self, registry: CollectorRegistry, name: str, doc: str, labels: Sequence[str]) -> None:
        self._name = name
        self._doc = doc
        self._labels = tuple(labels)
        self.read: Callable[[], Iterable[tuple[Sequence[str], float]]] = lambda: ()
        """Returns the values of the labels, and the number, of each series."""
        registry.register(self)

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """What ``collect`` will give, without numbers."""
        return [GaugeMetricFamily(self._name, self._doc, labels=self._labels)]

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """The numbers now."""
        family = GaugeMetricFamily(self._name, self._doc, labels=self._labels)
        for values, number in self.read():
            family.add_metric(values, number)
        return [family]
