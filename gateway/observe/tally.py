"""A counter for what happens thousands of times a second; see ``latency`` for why it is not ``prometheus_client``'s."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector


class Tally(Collector):
    """Counts by the values of one label, which are few. Count from one thread only; collecting may happen in any."""

    def __init__(self, registry: CollectorRegistry, name: str, doc: str, label: str) -> None:
        self._name = name
        self._doc = doc
        self._labels = (label,)
        self.counts: Counter[str] = Counter()
        """To be added to by whoever counts often."""
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
