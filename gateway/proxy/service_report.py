"""What is known of services and their instances, for metrics, health and operators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

INSTANCE_STATES: Final = ("healthy", "unhealthy", "unknown", "ejected")


class InstanceReport(NamedTuple):
    """One instance, or one address of it. ``state``: one of ``INSTANCE_STATES``; without health checks an instance that
    is not ejected is healthy. ``seconds``: for how long; None if that is not known. ``reason``: why it is not healthy.
    ``share``: the part of its weight that it has while it warms up. ``requests``: those under way."""

    instance: str
    address: str
    state: str
    seconds: float | None
    reason: str
    share: float
    requests: int


class ServiceReport(NamedTuple):
    """A service and its instances."""

    service: str
    instances: Sequence[InstanceReport]

    def count(self, state: str) -> int:
        """How many instances are in this state."""
        return sum(1 for each in self.instances if each.state == state)
