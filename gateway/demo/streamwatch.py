"""The rules of one stream: what comes when, and that nothing follows the end."""

from __future__ import annotations

from gateway.demo.plan import Limits
from gateway.demo.rules import GRACE, LATE, Ledger, Rule
from gateway.demo.seen import Heard, Opened


class StreamWatch:
    """Watches one open stream. ``lag`` is always the total of seconds the crowd's own process was stalled.

    ``updated`` tells whether a status update has come; ``position`` and ``ticket`` are those of the last one.
    """

    def __init__(self, opened: Opened, limits: Limits, ledger: Ledger, lag: float) -> None:
        self.opened = opened
        self.updated = False
        self.position: int | None = None
        self.ticket: int | None = None
        self.over = False
        self._over_at = 0.0
        self._limits = limits
        self._ledger = ledger
        self._quiet_since = opened.at
        self._lag_then = lag
        self._told_by: float | None = None
        self._silence_reported = False

    def heard(self, fact: Heard, lag: float) -> bool:
        """Take one event; False if it came after the last frame and says nothing more."""
        after_end = self.over
        detail = f"{fact.name} came after the last frame"
        self._check(Rule.LAST_FRAME, not after_end, fact.at, detail)
        if after_end:
            return False
        if fact.name == "STATUS_UPDATE":
            self._check_pace(fact.at, lag)
            self.updated = True
        elif fact.last:
            self._check_last(fact)
        return True

    def expect_end(self, at: float) -> None:
        """The client left by a call answered at ``at``: the stream must say so and end."""
        if not self.over:
            self._told_by = at

    def ended(self, at: float, lag: float, *, by_us: bool) -> None:
        """The stream is over, ended by the client or (after a last frame, in good time) by the gateway."""
        self.overdue(at, lag)
        if self.over:
            in_time = not by_us or at - self._over_at <= GRACE
            self._check(Rule.LAST_FRAME, in_time, at, "the stream stayed open after its last frame")

    def overdue(self, now: float, lag: float) -> None:
        """Report what should have come by ``now`` and has not; each silence once."""
        if self.over:
            return
        if self._late_by(now, lag) > LATE and not self._silence_reported:
            self._silence_reported = True
            self._check(Rule.UPDATES, False, now, self._silence(now))
        if self._told_by is not None and now - self._told_by - (lag - self._lag_then) > GRACE:
            self._told_by = None
            self._check(Rule.TOLD, False, now, "left, but the open stream never said so")

    def _late_by(self, at: float, lag: float) -> float:
        # The first update is due at once.
        allowed = self._limits.interval if self.updated else 0.0
        return at - self._quiet_since - (lag - self._lag_then) - allowed

    def _silence(self, at: float) -> str:
        return f"no status update for {at - self._quiet_since:.1f} s"

    def _check_pace(self, at: float, lag: float) -> None:
        if not self._silence_reported:
            in_time = self._late_by(at, lag) <= LATE
            self._check(Rule.UPDATES, in_time, at, self._silence(at))
        self._silence_reported = False
        self._quiet_since = at
        self._lag_then = lag

    def _check_last(self, fact: Heard) -> None:
        self.over = True
        self._over_at = fact.at
        detail = f"the last frame {fact.name} had id {fact.id!r}"
        self._check(Rule.LAST_FRAME, fact.id == "end", fact.at, detail)
        if self._told_by is not None:
            self._told_by = None
            self._check(Rule.TOLD, True, fact.at, "")

    def _check(self, rule: Rule, holds: bool, at: float, detail: str) -> None:
        self._ledger.check(rule, holds, at, self.opened.person, detail)
