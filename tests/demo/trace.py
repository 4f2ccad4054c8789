"""Traces of observations for tests, in few words: who did what when, and what came back."""

from __future__ import annotations

from collections import Counter

from gateway.demo.observations import (
    Call,
    EventReceived,
    Outcome,
    QueueStatus,
    RequestFailed,
    RequestSent,
    ResponseReceived,
    StreamClosed,
    StreamOpened,
    VisitFinished,
)
from gateway.demo.observer import Observer
from gateway.demo.plan import Limits, plan_run
from gateway.demo.rules import Broken, Rule, Verdict

NOTHING = QueueStatus()
LIMITS = Limits(capacity=2, duration=6.0, absent=5.0, interval=2.0)

# The small sale of the fixture ``statistics``, and two verdicts on it.
PLAN = plan_run(3, 2, 20, seed=5)
NAMES = {1: "Hana", 2: "Noah", 3: "Ada"}
GOOD = Verdict(Counter({Rule.CAPACITY: 3}), ())
BAD = Verdict(Counter({Rule.CAPACITY: 3}), (Broken(Rule.CAPACITY, 103.0, 0, "3 in at once, room for 2"),))
IN = QueueStatus("ALLOWED_IN", expires_in=6.0)


class Trace:
    """Gives an observer a trace. ``at``: when the client knew. A request is sent ``TAKES`` seconds before that."""

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
        self,
        who: int,
        at: float,
        call: Call,
        status: int,
        queue_status: QueueStatus = NOTHING,
        identity: str = "",
    ) -> None:
        sent = at - self.TAKES
        self.observer.observe(RequestSent(who, sent, call))
        self.observer.observe(ResponseReceived(who, at, call, sent, status, queue_status, identity))

    def unanswered(self, who: int, at: float, call: Call) -> None:
        self.observer.observe(RequestSent(who, at - self.TAKES, call))
        self.observer.observe(RequestFailed(who, at, call, at - self.TAKES, "ServerDisconnectedError"))

    def lines_up(self, who: int, at: float, ticket: int, position: int | None = None) -> None:
        self.call(who, at, Call.LINEUP, 200, waiting(ticket, position or ticket))

    def let_in_at_once(self, who: int, at: float) -> None:
        self.call(who, at, Call.LINEUP, 200, QueueStatus(state="ALLOWED_IN", expires_in=6.0))

    def asks(self, who: int, at: float, ticket: int, position: int) -> None:
        self.call(who, at, Call.STATUS, 200, waiting(ticket, position))

    def finds_nothing(self, who: int, at: float) -> None:
        self.call(who, at, Call.STATUS, 404, QueueStatus(code="NOT_IN_QUEUE"))

    def passes(self, who: int, at: float, identity: str = "") -> None:
        self.call(who, at, Call.GATED, 200, identity=identity)

    def told_to_wait(self, who: int, at: float, ticket: int, position: int) -> None:
        queue_status = waiting(ticket, position)
        self.call(who, at, Call.GATED, 429, queue_status)

    def refused(self, who: int, at: float) -> None:
        self.call(who, at, Call.GATED, 403, QueueStatus(code="NOT_IN_QUEUE"))

    def leaves_room(self, who: int, at: float, status: int = 200) -> None:
        self.call(who, at, Call.LEAVE_SLOT, status)

    def leaves_line(self, who: int, at: float, status: int = 200) -> None:
        self.call(who, at, Call.LEAVE_LINE, status)

    def opens(self, who: int, at: float, stream: int = 1) -> None:
        self.observer.observe(StreamOpened(who, at, stream, at - self.TAKES, 200))

    def hears(
        self,
        who: int,
        at: float,
        name: str,
        queue_status: QueueStatus = NOTHING,
        stream: int = 1,
        event_id: str = "",
    ) -> None:
        self.observer.observe(EventReceived(who, at, stream, name, event_id, queue_status))

    def updated(self, who: int, at: float, ticket: int, position: int, stream: int = 1) -> None:
        self.hears(who, at, "STATUS_UPDATE", waiting(ticket, position), stream)

    def let_in(self, who: int, at: float, stream: int = 1) -> None:
        self.hears(who, at, "ALLOWED_IN", QueueStatus(state="ALLOWED_IN", expires_in=6.0), stream, "end")

    def told_off(self, who: int, at: float, code: str, reason: str = "", stream: int = 1) -> None:
        self.hears(who, at, "ERROR", QueueStatus(code=code, reason=reason), stream, "end")

    def closes(self, who: int, at: float, stream: int = 1) -> None:
        self.observer.observe(StreamClosed(who, at, stream, by_us=True))

    def is_closed(self, who: int, at: float, stream: int = 1) -> None:
        self.observer.observe(StreamClosed(who, at, stream, by_us=False))

    def finishes(self, who: int, at: float, outcome: Outcome) -> None:
        self.observer.observe(VisitFinished(who, at, outcome))

    def listens(
        self, who: int, start: float, end: float, ticket: int, position: int, stream: int = 1
    ) -> None:
        """Opens a stream and gets an update on it every two seconds until ``end``."""
        self.opens(who, start, stream)
        at = start
        while at <= end:
            self.updated(who, at, ticket, position, stream)
            at += 2.0


def waiting(ticket: int, position: int, behind: int = 0) -> QueueStatus:
    return QueueStatus("WAITING", ticket, position, position + behind, behind)
