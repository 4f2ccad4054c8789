"""The circuit breakers of this instance, by name."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection
from typing import Final, NamedTuple

from gateway.resilience.breaker import (
    NO_BREAKER_OBSERVER,
    BreakerObserver,
    BreakerPolicy,
    CircuitBreaker,
    State,
)

_log = logging.getLogger(__name__)

_MESSAGES: Final = {
    State.OPEN.value: "circuit breaker %s is open: too many calls failed or were slow, so calls do not reach the "
    "service for %g s",
    State.CLOSED.value: "circuit breaker %s is closed again: calls reach the service",
}


class BreakerReport(NamedTuple):
    """A breaker: its state, for how many seconds it has been in it, and in how many it lets calls pass again."""

    name: str
    state: str
    seconds: float
    seconds_left: float


class Breakers:
    """Makes breakers as calls need them. Routes that name the same one share it. ``observer`` counts what they do."""

    def __init__(self, observer: BreakerObserver = NO_BREAKER_OBSERVER) -> None:
        self._observer = observer
        self._breakers: dict[str, CircuitBreaker] = {}
        self._states: dict[str, str] = {}
        self._since: dict[str, float] = {}
        """When each breaker came into its state (``monotonic``)."""

    def of(self, policy: BreakerPolicy, route_id: str) -> CircuitBreaker:
        """The breaker of a route. One whose configuration has changed begins anew."""
        name = policy.name or route_id
        breaker = self._breakers.get(name)
        if breaker is None or breaker.config != policy.config:
            if breaker is not None:
                # Results that come late belong to the old breaker, and must not be taken for those of the new one.
                breaker.close()
            call_later = asyncio.get_running_loop().call_later
            breaker = CircuitBreaker(name, policy.config, self, call_later=call_later)
            self._breakers[name] = breaker
        return breaker

    def keep(self, names: Collection[str]) -> None:
        """Forgets all other breakers, and what is counted of them."""
        for name in self._breakers.keys() - set(names):
            self._breakers.pop(name).close()
            self._states.pop(name, None)
            self._since.pop(name, None)
            self.breaker_forgotten(name)

    def report(self) -> list[BreakerReport]:
        """All breakers that have had a call, by name."""
        now = time.monotonic()
        return [
            BreakerReport(name, breaker.state.value, now - self._since[name], breaker.seconds_left)
            for name, breaker in sorted(self._breakers.items())
        ]

    def breaker_state(self, name: str, state: str) -> None:
        """A breaker is in this state now."""
        before = self._states.get(name, State.CLOSED.value)
        if self._states.get(name) != state:
            self._since[name] = time.monotonic()
        self._states[name] = state
        if state != before and state in _MESSAGES:
            open_seconds = self._breakers[name].config.open_seconds
            _log.warning(_MESSAGES[state], *((name, open_seconds) if state == State.OPEN.value else (name,)))
        self._observer.breaker_state(name, state)

    def breaker_call(self, name: str, result: str) -> None:
        """A call ended, or was not permitted."""
        self._observer.breaker_call(name, result)

    def breaker_forgotten(self, name: str) -> None:
        """No route names this breaker any more."""
        self._observer.breaker_forgotten(name)
