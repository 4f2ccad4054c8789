"""Traces for the observer's tests, told in a few words: who did what when, and what came back."""

from __future__ import annotations

from gateway.demo.observer import Observer
from gateway.demo.plan import Limits
from gateway.demo.rules import Rule, Verdict
from gateway.demo.seen import (
    Answered,
    Call,
    Ended,
    Finished,
    Heard,
    Opened,
    Outcome,
    Sent,
    Standing,
    Unanswered,
)

NOTHING = Standing()
LIMITS = Limits(capacity=2, duration=6.0, absent=5.0, interval=2.0)


class Story:
    """Tells an observer a trace. ``at`` is when a client knew; requests leave ``TAKES`` seconds before that."""

    TAKES = 0.1

    def __init__(self, people: int = 9, limits: Limits = LIMITS) -> None:
        self.observer = Observer(limits, {number: f"person-{number}" for number in range(1, people + 1)})
        self._now = 0.0
        self._positions: dict[int, tuple[int, int]] = {}

    def verdict(self, now: float, *, final: bool = False) -> Verdict:
        return self.observer.verdict(now, final=final)

    def broken(self, now: float, *, final: bool = False) -> list[Rule]:
        return [one.rule for one in self.verdict(now, final=final).broken]

    def call(
        self, who: int, at: float, call: Call, status: int, standing: Standing = NOTHING, identity: str = ""
    ) -> None:
        sent = at - self.TAKES
        self.observer.see(Sent(who, sent, call))
        self.observer.see(Answered(who, at, call, sent, status, standing, identity))

    def unanswered(self, who: int, at: float, call: Call) -> None:
        self.observer.see(Sent(who, at - self.TAKES, call))
        self.observer.see(Unanswered(who, at, call, at - self.TAKES, "ServerDisconnectedError"))

    def lines_up(self, who: int, at: float, ticket: int, position: int | None = None) -> None:
        self.call(who, at, Call.LINEUP, 200, waiting(ticket, position or ticket))

    def let_in_at_once(self, who: int, at: float) -> None:
        self.call(who, at, Call.LINEUP, 200, Standing(state="ALLOWED_IN", expires_in=6.0))

    def asks(self, who: int, at: float, ticket: int, position: int) -> None:
        self.call(who, at, Call.STATUS, 200, waiting(ticket, position))

    def finds_nothing(self, who: int, at: float) -> None:
        self.call(who, at, Call.STATUS, 404, Standing(code="NOT_IN_QUEUE"))

    def passes(self, who: int, at: float, identity: str = "") -> None:
        self.call(who, at, Call.GATED, 200, identity=identity)

    def told_to_wait(self, who: int, at: float, ticket: int, position: int) -> None:
        standing = waiting(ticket, position)
        self.call(who, at, Call.GATED, 429, standing)

    def refused(self, who: int, at: float) -> None:
        self.call(who, at, Call.GATED, 403, Standing(code="NOT_IN_QUEUE"))

    def leaves_room(self, who: int, at: float, status: int = 200) -> None:
        self.call(who, at, Call.LEAVE_SLOT, status)

    def leaves_line(self, who: int, at: float, status: int = 200) -> None:
        self.call(who, at, Call.LEAVE_LINE, status)

    def opens(self, who: int, at: float, stream: int = 1) -> None:
        self.observer.see(Opened(who, at, stream, at - self.TAKES, 200))

    def hears(
        self,
        who: int,
        at: float,
        name: str,
        standing: Standing = NOTHING,
        stream: int = 1,
        event_id: str = "",
    ) -> None:
        self.observer.see(Heard(who, at, stream, name, event_id, standing))

    def updated(self, who: int, at: float, ticket: int, position: int, stream: int = 1) -> None:
        self.hears(who, at, "STATUS_UPDATE", waiting(ticket, position), stream)

    def let_in(self, who: int, at: float, stream: int = 1) -> None:
        self.hears(who, at, "ALLOWED_IN", Standing(state="ALLOWED_IN", expires_in=6.0), stream, "end")

    def told_off(self, who: int, at: float, code: str, reason: str = "", stream: int = 1) -> None:
        self.hears(who, at, "ERROR", Standing(code=code, reason=reason), stream, "end")

    def closes(self, who: int, at: float, stream: int = 1) -> None:
        self.observer.see(Ended(who, at, stream, by_us=True))

    def is_closed(self, who: int, at: float, stream: int = 1) -> None:
        self.observer.see(Ended(who, at, stream, by_us=False))

    def finishes(self, who: int, at: float, outcome: Outcome) -> None:
        self.observer.see(Finished(who, at, outcome))

    def listens(
        self, who: int, start: float, end: float, ticket: int, position: int, stream: int = 1
    ) -> None:
        """Opens a stream and gets an update on it every two seconds until ``end``."""
        self.opens(who, start, stream)
        at = start
        while at <= end:
            self.updated(who, at, ticket, position, stream)
            at += 2.0


def waiting(ticket: int, position: int, behind: int = 0) -> Standing:
    return Standing("WAITING", ticket, position, position + behind, behind)
