"""Instances that are left out for a while: because they take no connection, or because they have failed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from gateway.proxy.upstream import UpstreamBase
from gateway.resilience.services import EjectPolicy

_log = logging.getLogger(__name__)

EJECTION_SECONDS: Final = 5.0
"""Long enough that not every request tries a restarting service, short enough that its return is noticed soon."""
EJECTION_MEMORY_SECONDS: Final = 60.0


class Ejection(NamedTuple):
    """Since when an instance is left out, and why."""

    since: float
    reason: str


class Ejections:
    """The instances that are left out now, of all services. ``clock`` gives seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.until: dict[UpstreamBase, float] = {}
        """Until when each is left out. An entry stays until the instance has taken a connection again."""
        self._notes: dict[UpstreamBase, Ejection] = {}

    def add(self, base: UpstreamBase, until: float, reason: str) -> None:
        """Leaves ``base`` out until then, or longer if it is left out already."""
        now = self._clock()
        # Dropping old entries limits this to the instances that failed in the last minute or so.
        for other in [each for each, end in self.until.items() if end <= now - EJECTION_MEMORY_SECONDS]:
            del self.until[other], self._notes[other]
        if base not in self.until:
            self._notes[base] = Ejection(now, reason)
        self.until[base] = max(until, self.until.get(base, 0.0))

    def end(self, base: UpstreamBase) -> bool:
        """``base`` works again. Returns whether it was left out."""
        if self.until.pop(base, None) is None:
            return False
        note = self._notes.pop(base)
        seconds = self._clock() - note.since
        _log.info("%s gets requests again, after %.1f s: %s", base, seconds, note.reason)
        return True

    def of(self, base: UpstreamBase) -> Ejection | None:
        """Why ``base`` is left out now; None if it is not."""
        if self.until.get(base, 0.0) <= self._clock():
            return None
        return self._notes.get(base)

    def choose(
        self,
        bases: Sequence[UpstreamBase],
        choose: Callable[[Sequence[UpstreamBase]], UpstreamBase],
    ) -> UpstreamBase:
        """What ``choose`` makes of those ``bases`` that are not left out; without any, the one whose time ends
        first."""
        now, until = self._clock(), self.until
        usable = [base for base in bases if until.get(base, 0.0) <= now]
        if not usable:
            return min(bases, key=lambda base: until[base])
        base = choose(usable)
        if base in until:
            # The instance's time is over. Only this request checks whether it works again: if the machine does not even
            # refuse the connection, each request that tries waits for the time-out.
            until[base] = now + EJECTION_SECONDS
        return base


class FailureCount:
    """What is known of an instance that is left out when it fails."""

    __slots__ = ("policy", "row", "service", "times", "until")

    def __init__(self) -> None:
        self.service = ""
        self.policy = EjectPolicy()
        self.row = 0
        """Failures in a row."""
        self.times = 0
        """How often it has been left out in a row."""
        self.until = 0.0

    def failed(self, now: float) -> bool:
        """It has failed once more. Returns whether these are enough to leave it out."""
        self.row += 1
        return self.row >= self.policy.failures and self.until <= now

    def succeeded(self, now: float) -> None:
        """It has answered. After a time without failures, the next ejection is short again."""
        self.row = 0
        if self.times and now >= self.until + self.policy.seconds:
            self.times = 0

    def eject(self, now: float) -> float:
        """It is left out from now on. Returns for how many seconds."""
        seconds = self.policy.ejection_seconds(self.times)
        self.until = now + seconds
        self.times += 1
        self.row = 0
        return seconds
