"""When each slot of the wheel gets its heartbeat: along with an update if one is due anyway, else by itself."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic


class Pulse:
    """Heartbeats of ``slots`` slots, each ``heartbeat`` seconds after the one before; updates come every ``interval``.

    A heartbeat that goes out with an update costs no write of its own, so it goes with the last update before it is
    late. It may be late by a tenth, for an update that is itself a little late. Where updates don't come, or not often
    enough, it comes by itself; ``period`` says how often to look.
    """

    __slots__ = ("_beaten", "_clock", "_heartbeat", "_interval", "_slack", "period")

    def __init__(
        self, slots: int, heartbeat: float, interval: float, clock: Callable[[], float] = monotonic
    ) -> None:
        self._heartbeat = heartbeat
        self._interval = interval
        self._clock = clock
        # With updates too far apart there is nothing to wait for.
        self._slack = min(heartbeat, interval) / 10 if heartbeat >= interval else 0.0
        self.period = self._slack or heartbeat / 10
        self._beaten = [clock()] * slots

    def goes_along(self, slot: int) -> bool:
        """Whether ``slot`` is to have its heartbeat with the update that it gets now. It counts as given then."""
        now = self._clock()
        if now + self._interval < self._beaten[slot] + self._heartbeat + self._slack:
            return False
        self._beaten[slot] = now
        return True

    def overdue(self) -> list[int]:
        """Slots that are to have their heartbeat by itself. It counts as given then."""
        now = self._clock()
        latest = now - self._heartbeat - self._slack
        slots = [slot for slot, beaten in enumerate(self._beaten) if beaten <= latest]
        for slot in slots:
            self._beaten[slot] = now
        return slots
