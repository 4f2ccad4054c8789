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
class ServicePolicy:
    """``weights`` are those of the configured instances, by URL; others have 1. ``hash_by`` and ``hash_name`` say what
    requests with the same instance have in common. ``max_connections``: requests that the service gets at a time, and
    ``max_waiting``: requests that wait for their turn; 0: no limit of either."""

    weights: Mapping[str, int] = field(default_factory=dict)
    balance: Balance = "round-robin"
    hash_by: HashKind | None = None
    hash_name: str = ""
    eject: EjectPolicy | None = None
    max_connections: int = 0
    max_waiting: int = 0


def hash_score(key: str, instance: str, weight: int) -> float:
    """Rendezvous hashing: the instance with the highest score gets the requests of ``key``. When an instance comes or
    goes, only its own keys move."""
    digest = hashlib.blake2b(f"{key}\0{instance}".encode("utf-8", "surrogateescape"), digest_size=8).digest()
    # In (0, 1), without its ends.
    share = (int.from_bytes(digest) + 0.5) / 2**64
    return -weight / math.log(share)
