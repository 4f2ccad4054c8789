"""The circuit breakers of this instance, by name."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Final

from gateway.resilience.breaker import (
    NO_BREAKER_OBSERVER,
    BreakerObserver,
    BreakerPolicy,
    CircuitBreaker,
    State,
)

_log = logging.getLogger(__name__)

_SAID: Final = {
    State.OPEN.value: "circuit breaker %s is open: too many calls failed or were slow, so calls do not reach the "
    "service for %g s",
    State.CLOSED.value: "circuit breaker %s is closed again: calls reach the service",
}


class Breakers:
    """Makes breakers as calls need them. Routes that name the same one share it. ``observer`` counts what they do."""

    def __init__(self, observer: BreakerObserver = NO_BREAKER_OBSERVER) -> None:
        self._observer = observer
        self._breakers: dict[str, CircuitBreaker] = {}

    def of(self, policy: BreakerPolicy, route_id: str) -> CircuitBreaker:
        """The breaker of a route. One whose configuration has changed begins anew."""
        name = policy.name or route_id
        breaker = self._breakers.get(name)
        if breaker is None or breaker.config != policy.config:
            breaker = self._breakers[name] = CircuitBreaker(name, policy.config, self)
        return breaker

    def keep(self, names: Collection[str]) -> None:
        """Forgets all other breakers."""
        self._breakers = {name: breaker for name, breaker in self._breakers.items() if name in names}

    def breaker_state(self, name: str, state: str) -> None:
        """A breaker is in this state now."""
        known = self._breakers.get(name)
        if known is not None and state in _SAID:
            _log.warning(_SAID[state], *((name, known.config.open_seconds) if state == "open" else (name,)))
        self._observer.breaker_state(name, state)

    def breaker_call(self, name: str, result: str) -> None:
        """A call ended, or was not permitted."""
        self._observer.breaker_call(name, result)
