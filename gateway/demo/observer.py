"""The observer: sees only what clients see, and counts the rules they can prove broken.

What each rule needs as proof, stated so that delays alone never break it:

* CAPACITY: a stay counts from the moment the client *read* that it is in, to the moment it *sends* its leave
  or (if it walks off) a session's length after its last gated request *left*. A stay with neither counts
  as no time at all. More stays sharing a moment than there are slots is a breach.
* ORDER: somebody is overtaken if a higher ticket was known to be in at T, and either a request of the
  overtaken one *sent after* T was answered "waiting" with the lower ticket, or that one's stream, open since
  before T, told of no admission for ``GRACE`` after T. Somebody let in at once (no ticket) overtakes
  whoever was in line before that lineup was sent and is proven, likewise, to be there after its answer.
* TICKETS: a lineup sent after ticket K was read by anybody must be given more than K.

The rest needs one person's evidence only: see ``watched`` and ``streamwatch``.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from gateway.demo.evidence import Admission, Stay, Wait
from gateway.demo.plan import Limits
from gateway.demo.rules import GRACE, Broken, Ledger, Rule, Verdict
from gateway.demo.seen import Answered, Call, Seen
from gateway.demo.watched import Watched
from gateway.demo.witness import occupancy


@dataclass(frozen=True, slots=True)
class Stall:
    """A time in which the crowd's own process read nothing."""

    start: float
    end: float

    def touches(self, start: float, end: float) -> bool:
        """Whether something that happened between ``start`` and ``end`` may have been read late for it."""
        return self.start <= end and self.end >= start


class Observer:
    """Takes every fact of every person, in the order in which the crowd's process knew them."""

    def __init__(self, limits: Limits, user_ids: Mapping[int, str]) -> None:
        self._limits = limits
        self._ledger = Ledger()
        self._people = {
            number: Watched(number, limits, self._ledger, user_id) for number, user_id in user_ids.items()
        }
        self._tickets = _Tickets(self._ledger)
        self._lag = 0.0
        self._stalls: list[Stall] = []
        self._stalling_since: float | None = None

    def see(self, fact: Seen) -> None:
        """Take the next fact."""
        self._people[fact.person].see(fact, self._lag_by(fact.at))
        if isinstance(fact, Answered) and fact.call is Call.LINEUP and fact.standing.ticket is not None:
            self._tickets.given(fact.standing.ticket, fact)

    def stalling(self, since: float | None) -> None:
        """A stall began at ``since`` and goes on; None: it is over, and ``stalled`` says how long it was."""
        self._stalling_since = since

    def stalled(self, until: float, seconds: float) -> None:
        """The crowd's own process did nothing for this long: not the gateway's fault."""
        self._lag += seconds
        self._stalls.append(Stall(until - seconds, until))

    def _lag_by(self, at: float) -> float:
        """The seconds of all stalls by ``at``, with what has passed of one that is not over."""
        return self._lag + (0.0 if self._stalling_since is None else max(0.0, at - self._stalling_since))

    def verdict(self, now: float, *, final: bool = False) -> Verdict:
        """What is proven by ``now``. ``final`` (once, after the last fact) asks for everybody's whole story."""
        for person in self._people.values():
            person.overdue(now, self._lag_by(now))
            if final:
                person.account(now)
        across = Ledger()
        evidence = {number: person.evidence for number, person in self._people.items()}
        check_capacity(across, self._limits.capacity, [stay for e in evidence.values() for stay in e.stays])
        waits = [(number, wait) for number, e in evidence.items() for wait in e.waits]
        admissions = [admission for e in evidence.values() for admission in e.admissions]
        check_order(across, waits, admissions, now, self._stalls)
        broken = sorted(self._ledger.broken + across.broken, key=lambda one: one.at)
        return Verdict(self._ledger.checks + across.checks, tuple(broken))


def check_capacity(ledger: Ledger, capacity: int, stays: Iterable[Stay]) -> None:
    """Test at each stay's beginning how many certainly are in."""
    for at, inside in occupancy((stay.start, stay.end) for stay in stays):
        detail = f"{inside} in at once, room for {capacity}"
        ledger.check(Rule.CAPACITY, inside <= capacity, at, 0, detail)


def check_order(
    ledger: Ledger,
    waits: Iterable[tuple[int, Wait]],
    admissions: Iterable[Admission],
    now: float,
    stalls: Sequence[Stall],
) -> None:
    """Test for each time in line whether somebody provably was let in ahead of it."""
    ticketed = sorted((a.ticket, a.at) for a in admissions if a.ticket is not None)
    tickets = [ticket for ticket, _ in ticketed]
    # earliest[i]: when the first of the holders of tickets[i:] was known to be in.
    earliest = [math.inf] * (len(ticketed) + 1)
    for index in range(len(ticketed) - 1, -1, -1):
        earliest[index] = min(earliest[index + 1], ticketed[index][1])
    at_once = [a for a in admissions if a.ticket is None]
    for person, wait in waits:
        higher = earliest[bisect.bisect_right(tickets, wait.ticket)]
        overtaken = higher < math.inf and _still_there(wait, higher, now, stalls)
        detail = f"ticket {wait.ticket} was still waiting when a higher one was in"
        ledger.check(Rule.ORDER, not overtaken, higher if overtaken else now, person, detail)
        for admission in at_once:
            if wait.since <= admission.asked and _still_there(wait, admission.at, now, stalls):
                detail = f"ticket {wait.ticket} was waiting when a newcomer was let in at once"
                ledger.check(Rule.ORDER, False, admission.at, person, detail)
                break


def _still_there(wait: Wait, after: float, now: float, stalls: Sequence[Stall]) -> bool:
    if wait.polled > after:
        return True
    grace = GRACE + sum(stall.end - stall.start for stall in stalls if stall.touches(after, after + GRACE))
    return any(start <= after and end >= after + grace for start, end in wait.unheard_until(now))


class _Tickets:
    """Every ticket anybody was given, and the highest known at each moment."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._owners: dict[int, int] = {}
        self._times: list[float] = []
        self._highest: list[int] = []

    def given(self, ticket: int, fact: Answered) -> None:
        owner = self._owners.get(ticket)
        self._check(owner is None, fact, f"ticket {ticket} was given to person {owner} before")
        known = bisect.bisect_right(self._times, fact.sent)
        before = self._highest[known - 1] if known else 0
        self._check(ticket > before, fact, f"ticket {ticket} after {before} was known")
        self._owners[ticket] = fact.person
        self._times.append(fact.at)
        self._highest.append(max(ticket, self._highest[-1] if self._highest else 0))

    def _check(self, holds: bool, fact: Answered, detail: str) -> None:
        self._ledger.check(Rule.TICKETS, holds, fact.at, fact.person, detail)


def describe(broken: Broken, names: Mapping[int, str]) -> str:
    """One line for people."""
    who = names.get(broken.person, "")
    return f"{broken.rule}: {who + ': ' if who else ''}{broken.detail}"
