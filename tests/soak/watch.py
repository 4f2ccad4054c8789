"""The demo's observer, told of what nobody can know who sees clients only: when a fault was made, and of what kind.

Nothing about capacity, order, tickets, the gate or identity is ever excused. What is:

* An answer of 502, 503 or 504 says as little as none.
* While nobody could be told anything, nothing is late; and a session may have begun as much earlier.
* Who is away is evicted late if an instance has died or taken a new name: its streams count a while longer.
* Whoever could not be heard when leaving can't prove to have left.
* After a flush nobody seen before has anything to claim, and another observer begins with those who come later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from gateway.demo.observations import (
    LEAVING,
    Call,
    EventReceived,
    Observation,
    Outcome,
    RequestFailed,
    ResponseReceived,
    VisitFinished,
)
from gateway.demo.observer import Observer
from gateway.demo.plan import Limits
from gateway.demo.rules import GRACE, Broken, Rule

# Until an instance is taken for dead, and found out to be, and cleared up after.
_CLEARED_UP = 10.0 + 2.0 + 2.0


class Watch:
    """Takes facts, passes them on to the observer of the day, and keeps what is proven."""

    def __init__(self, limits: Limits, user_ids: Mapping[int, str]) -> None:
        self.broken: list[Broken] = []
        self.checks: Counter[Rule] = Counter()
        self.excused: Counter[Rule] = Counter()
        self.outcomes: Counter[Outcome] = Counter()
        self.statuses: Counter[str] = Counter()
        self._limits = limits
        self._unseen = dict(user_ids)
        self._claims: set[int] = set(user_ids)
        self._observer = Observer(limits, user_ids)
        self._blind_since: float | None = None
        self._blind_until = 0.0
        self._blind_for = 0.0
        self._faults: list[float] = []
        self._cant_prove: set[int] = set()

    def see(self, fact: Observation) -> None:
        """Take the next fact."""
        self._unseen.pop(fact.person, None)
        if isinstance(fact, VisitFinished):
            self.outcomes[fact.outcome] += 1
        if isinstance(fact, ResponseReceived):
            self.statuses[f"{fact.status} {fact.queue_status.code}".strip()] += 1
        if fact.person not in self._claims:
            return
        fact = self._as_known(fact)
        if isinstance(fact, RequestFailed) and fact.call in LEAVING | {Call.LINEUP, Call.GATED}:
            self._cant_prove.add(fact.person)
        self._observer.observe(fact)

    def _as_known(self, fact: Observation) -> Observation:
        if (
            isinstance(fact, ResponseReceived)
            and fact.status in {502, 503, 504}
            and fact.queue_status.code != "OVERLOADED"
        ):
            return RequestFailed(fact.person, fact.at, fact.call, fact.sent, str(fact.status))
        if (
            isinstance(fact, EventReceived)
            and fact.name == "ALLOWED_IN"
            and (blind := self._blind_at(fact.at))
        ):
            left = (
                self._limits.duration
                if fact.queue_status.expires_in is None
                else fact.queue_status.expires_in
            )
            return replace(fact, queue_status=replace(fact.queue_status, expires_in=max(0.0, left - blind)))
        return fact

    def _blind_at(self, at: float) -> float:
        """For how long by then, in seconds, something may have been true without anybody being told."""
        if self._blind_since is not None:
            return at - self._blind_since + self._limits.interval + GRACE
        return self._blind_for if at < self._blind_until else 0.0

    def stalled(self, until: float, seconds: float) -> None:
        """This process itself was held up for so long, until then."""
        self._observer.stalled(until, seconds)

    def fault_begins(self, began: float, *, blinds: bool) -> None:
        """A fault is about to be made. What comes before ``fault_over`` is judged in its light already."""
        if blinds:
            self._blind_since = began
            self._observer.stalling(began)

    def fault_over(self, began: float, ended: float, *, blinds: bool) -> None:
        """The fault is over."""
        self._faults.append(ended)
        if blinds:
            self._blind_since = None
            self._observer.stalling(None)
            self._blind_for = ended - began + self._limits.interval + GRACE
            self._blind_until = ended + self._limits.interval + GRACE
            self._observer.stalled(ended, self._blind_for)

    def forgetting(self, now: float) -> None:
        """Redis is about to be flushed: from now on nothing counts."""
        self._keep(now, final=False)
        self._claims = set()

    def forgotten(self) -> None:
        """Redis has been flushed: whoever comes from now on counts."""
        self._claims = set(self._unseen)
        self._observer = Observer(self._limits, dict(self._unseen))

    def room(self, what: str, rule: Rule, at: float) -> None:
        """The room itself, looked at in Redis, breaks a rule."""
        self.broken.append(Broken(rule, at, 0, what))

    def conclude(self, now: float) -> None:
        """After the last fact."""
        self._keep(now, final=True)

    def _keep(self, now: float, *, final: bool) -> None:
        verdict = self._observer.verdict(now, final=final)
        self.checks.update(verdict.checks)
        for broken in verdict.broken:
            if self._explained(broken):
                self.excused[broken.rule] += 1
            else:
                self.broken.append(broken)

    def _explained(self, broken: Broken) -> bool:
        if broken.rule is Rule.ABSENT:
            # From when the person may have had a stream that was counted too long, until asking again.
            away = self._limits.absent + 2 * _CLEARED_UP
            return any(broken.at - away < at < broken.at for at in self._faults)
        if broken.rule is Rule.LOST and broken.detail.startswith("lined up, and ended as"):
            return broken.person in self._cant_prove
        return False
