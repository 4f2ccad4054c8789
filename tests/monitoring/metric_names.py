"""Every metric that the gateway keeps, read off a registry."""

from __future__ import annotations

from typing import NamedTuple

from prometheus_client import CollectorRegistry

from gateway.observability.metrics import Metrics
from gateway.observability.spring_names import SpringMetrics

_SUFFIXES = {
    "counter": ("_total", "_created"),
    "gauge": ("",),
    "histogram": ("_bucket", "_count", "_sum", "_created"),
}


class Family(NamedTuple):
    """A metric as docs name it (a counter with ``_total``), its type, labels, and the names of its samples."""

    name: str
    type: str
    labels: tuple[str, ...]
    samples: frozenset[str]


def families(*, spring: bool = False) -> list[Family]:
    """All of them; ``spring``: those under Spring's names instead."""
    registry = CollectorRegistry()
    if spring:
        SpringMetrics(registry, lambda: 0)
    else:
        Metrics(registry)
    labels = {
        name: tuple(getattr(collector, "_labelnames", getattr(collector, "_labels", ())))
        for collector, known_as in registry._collector_to_names.items()
        for name in known_as
    }
    found = []
    for family in registry.collect():
        samples = frozenset(family.name + suffix for suffix in _SUFFIXES[family.type])
        name = family.name + ("_total" if family.type == "counter" else "")
        found.append(Family(name, family.type, labels[family.name], samples))
    return found
