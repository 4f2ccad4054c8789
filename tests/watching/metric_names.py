"""Every metric that the gateway keeps, read off a registry."""

from __future__ import annotations

from typing import NamedTuple

from prometheus_client import CollectorRegistry

from gateway.observe.metrics import Metrics
from gateway.observe.room_metrics import RoomMetrics
from gateway.observe.spring_metrics import SpringMetrics

_SUFFIXES = {
    "counter": ("_total", "_created"),
    "gauge": ("",),
    "histogram": ("_bucket", "_count", "_sum", "_created"),
}


class Family(NamedTuple):
    """A metric as docs name it (a counter with ``_total``), its type, what it means, and the names of its samples."""

    name: str
    type: str
    doc: str
    samples: frozenset[str]


def families(*, spring: bool = False) -> list[Family]:
    """All of them; ``spring``: those under Spring's names instead."""
    registry = CollectorRegistry()
    if spring:
        SpringMetrics(registry, lambda: 0)
    else:
        metrics = Metrics(registry)
        RoomMetrics(metrics._room_families, "default")
    found = []
    for family in registry.collect():
        samples = frozenset(family.name + suffix for suffix in _SUFFIXES[family.type])
        name = family.name + ("_total" if family.type == "counter" else "")
        found.append(Family(name, family.type, family.documentation, samples))
    return found
