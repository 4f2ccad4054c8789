"""How a service's instances are chosen, and how much it gets at a time. The load balancer carries this out."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

Balance = Literal["round-robin", "least-requests", "hash"]
HashKind = Literal["header", "cookie", "user"]

MAX_EJECTION_SECONDS: Final = 300.0
"""The longest time for which an instance is left out, however often it has failed."""

_LEAST_SHARE: Final = 0.1


@dataclass(frozen=True, slots=True)
class EjectPolicy:
    """An instance is left out after so many ``failures`` in a row, for ``seconds``, and each further time for that much
    longer. ``share``: the part of a service's instances that may be left out for it at a time, from 0 to 1."""

    failures: int = 5
    seconds: float = 30.0
    share: float = 0.5

    def ejection_seconds(self, times: int) -> float:
        """How long an instance is left out that has been left out so many ``times`` before."""
        return min(self.seconds * (times + 1), max(self.seconds, MAX_EJECTION_SECONDS))

    def most_ejected(self, instances: int) -> int:
        """How many of so many instances may be left out."""
        return math.floor(self.share * instances + 1e-9)


@dataclass(frozen=True, slots=True)
class HealthPolicy:
    """Each instance is asked for ``path`` every ``interval`` seconds, and has ``timeout`` seconds for the whole answer.
    After ``unhealthy`` failures in a row it gets no requests; after ``healthy`` passes in a row it gets some again."""

    path: str
    interval: float = 10.0
    timeout: float = 2.0
    unhealthy: int = 3
    healthy: int = 2


@dataclass(frozen=True, slots=True)
class ServicePolicy:
    """``weights`` are those of the configured instances, by URL; others have 1. ``hash_by`` and ``hash_name`` say what
    requests with the same instance have in common. ``max_connections``: requests that the service gets at a time, and
    ``max_waiting``: requests that wait for their turn; 0: no limit of either. ``slow_start``: seconds within which the
    share of a new or recovered instance grows to its full size; 0: it has its full share at once."""

    weights: Mapping[str, int] = field(default_factory=dict)
    balance: Balance = "round-robin"
    hash_by: HashKind | None = None
    hash_name: str = ""
    eject: EjectPolicy | None = None
    max_connections: int = 0
    max_waiting: int = 0
    health: HealthPolicy | None = None
    slow_start: float = 0.0


def slow_shares(policies: Mapping[str, ServicePolicy]) -> dict[str, int]:
    """How many slow uploads, and how many slow downloads, may hold connections of a service, for each service that has
    a bound of its connections. A client that is slow pays hardly anything, so all of them together get a quarter of
    the bound for each kind, and at least one."""
    return {
        service: max(1, policy.max_connections // 4)
        for service, policy in policies.items()
        if policy.max_connections
    }


def slow_start_share(seconds: float, window: float) -> float:
    """The part of its weight that an instance has so many ``seconds`` after it joined or recovered: as in Envoy it
    grows in a straight line from 10 % to the whole, within ``window`` seconds."""
    return 1.0 if seconds >= window else max(_LEAST_SHARE, seconds / window)


def hash_score(key: str, instance: str, weight: float) -> float:
    """Rendezvous hashing: the instance with the highest score gets the requests of ``key``. When an instance comes or
    goes, only its own keys move."""
    digest = hashlib.blake2b(f"{key}\0{instance}".encode("utf-8", "surrogateescape"), digest_size=8).digest()
    # In (0, 1), without its ends.
    share = (int.from_bytes(digest) + 0.5) / 2**64
    return -weight / math.log(share)
