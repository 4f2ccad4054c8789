"""How often callers may call a route: a bucket of tokens for each caller. ``rate_limit.lua`` has the rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

KeyKind = Literal["user", "address", "visitor", "header"]


@dataclass(frozen=True, slots=True)
class RateLimitPolicy:
    """A limit of a route. ``key``: what tells callers apart; ``header`` is the name if that is a header.

    A bucket gets ``replenish_rate`` tokens a second and holds ``burst_capacity``; a call takes ``requested_tokens``.
    ``status`` is that of a refusal. A caller without a key gets ``empty_key_status``; None: passes. Names and defaults
    are Spring Cloud Gateway's.
    """

    replenish_rate: int
    burst_capacity: int = 1
    requested_tokens: int = 1
    key: KeyKind = "user"
    header: str = ""
    status: int = 429
    empty_key_status: int | None = 403
