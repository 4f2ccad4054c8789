"""The observer: sees only what clients see, and counts the rules that this proves broken.

These rules need the observations of several people. Each is stated so that delays alone never break it:

* CAPACITY: a stay begins when the client has *read* that it is in. It ends when the client *sends* its leave, or a
  session's length after its last gated request was *sent*. A stay with neither has no length. A breach: more stays at
  one moment than there are slots.
* ORDER: a person is overtaken if a higher ticket was known to be in at time T, and the person still waited after T. The
  proof is a request *sent after* T that was answered "waiting" with the lower ticket; or a stream, open since before T,
  that announced no admission for ``GRACE`` after T. A person who is let in at once (no ticket) overtakes those who were
  in line before that lineup was sent, if the same proof shows that they still waited after its response.
* TICKETS: a lineup sent after any client has read ticket K must be given more than K.

``user_checks`` has the rules that need the observations of one person only.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from gateway.demo.inference import Admission, Stay, Wait, overlap_counts
from gateway.demo.observations import Call, Observation, ResponseReceived
from gateway.demo.plan import Limits
from gateway.demo.rules import GRACE, Broken, Ledger, Rule, Verdict
from gateway.demo.user_checks import UserChecks


@dataclass(frozen=True, slots=True)
class Stall:
    """A time in which the crowd's own process was held up and read nothing."""

    start: float
    end: float

    def touches(self, start: float, end: float) -> bool:
        """Whether the stall may have delayed the reading of what happened between ``start`` and ``end``."""
        return self.start <= end and self.end >= start


class Observer:
    """Takes all observations of all people, in the order in which the crowd's process made them."""

    def __init__(self, limits: Limits, user_ids: Mapping[int, str]) -> None:
        self._limits = limits
        self._ledger = Ledger()
        self._people = {
            number: UserChecks(number, limits, self._ledger, user_id) for number, user_id in user_ids.items()
        }
        self._tickets = _TicketChecks(self._ledger)
        self._lag = 0.0
        self._stalls: list[Stall] = []
        self._stalling_since: float | None = None

    def observe(self, observation: Observation) -> None:
        """Take the next observation."""
        self._people[observation.person].observe(observation, self._lag_by(observation.at))
        if (
            isinstance(observation, ResponseReceived)
            and observation.call is Call.LINEUP
            and observation.queue_status.ticket is not None
        ):
            self._tickets.check(observation.queue_status.ticket, observation)

    def stalling(self, since: float | None) -> None:
        """A stall began at ``since`` and goes on. None: it is over, and ``stalled`` says how long it was."""
        self._stalling_since = since

    def stalled(self, until: float, seconds: float) -> None:
        """The crowd's own process was held up for ``seconds``, which is not the gateway's fault."""
        self._lag += seconds
        self._stalls.append(Stall(until - seconds, until))

    def _lag_by(self, at: float) -> float:
        """Seconds of all stalls by ``at``, including the stall that still goes on."""
        return self._lag + (0.0 if self._stalling_since is None else max(0.0, at - self._stalling_since))

    def verdict(self, now: float, *, final: bool = False) -> Verdict:
        """What is proven by ``now``. ``final`` (once, after the last observation) checks all outcomes too."""
        for person in self._people.values():
            person.check_overdue(now, self._lag_by(now))
            if final:
                person.check_outcome(now)
        across = Ledger()
        inferences = {number: person.inference for number, person in self._people.items()}
        check_capacity(
            across, self._limits.capacity, [stay for one in inferences.values() for stay in one.stays]
        )
        waits = [(number, wait) for number, one in inferences.items() for wait in one.waits]
        admissions = [admission for one in inferences.values() for admission in one.admissions]
        check_order(across, waits, admissions, now, self._stalls)
        broken = sorted(self._ledger.broken + across.broken, key=lambda one: one.at)
        return Verdict(self._ledger.checks + across.checks, tuple(broken))


def check_capacity(ledger: Ledger, capacity: int, stays: Iterable[Stay]) -> None:
    """Check at the start of each stay how many people certainly are in."""
    for at, inside in overlap_counts((stay.start, stay.end) for stay in stays):
        detail = f"{inside} in at once, room for {capacity}"
        ledger.check(Rule.CAPACITY, inside <= capacity, at, 0, detail)


def check_order(
    ledger: Ledger,
    waits: Iterable[tuple[int, Wait]],
    admissions: Iterable[Admission],
    now: float,
    stalls: Sequence[Stall],
) -> None:
    """Check for each time in line that no one provably was let in ahead of it."""
    ticketed = sorted((a.ticket, a.at) for a in admissions if a.ticket is not None)
    tickets = [ticket for ticket, _ in ticketed]
    # earliest[i]: when the first holder of one of tickets[i:] was known to be in.
    earliest = [math.inf] * (len(ticketed) + 1)
    for index in range(len(ticketed) - 1, -1, -1):
        earliest[index] = min(earliest[index + 1], ticketed[index][1])
    at_once = [a for a in admissions if a.ticket is None]
    for person, wait in waits:
        higher = earliest[bisect.bisect_right(tickets, wait.ticket)]
        overtaken = higher < math.inf and _still_waiting(wait, higher, now, stalls)
        detail = f"ticket {wait.ticket} was still waiting when a higher one was in"
        ledger.check(Rule.ORDER, not overtaken, higher if overtaken else now, person, detail)
        for admission in at_once:
            if wait.since <= admission.asked and _still_waiting(wait, admission.at, now, stalls):
                detail = f"ticket {wait.ticket} was waiting when a newcomer was let in at once"
                ledger.check(Rule.ORDER, False, admission.at, person, detail)
                break


def _still_waiting(wait: Wait, after: float, now: float, stalls: Sequence[Stall]) -> bool:
    if wait.polled > after:
        return True
    grace = GRACE + sum(stall.end - stall.start for stall in stalls if stall.touches(after, after + GRACE))
    return any(start <= after and end >= after + grace for start, end in wait.streams_until(now))


class _TicketChecks:
    """All tickets given out, and the highest one known at each moment."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._owners: dict[int, int] = {}
        self._times: list[float] = []
        self._highest: list[int] = []

    def check(self, ticket: int, observation: ResponseReceived) -> None:
        owner = self._owners.get(ticket)
        self._check(owner is None, observation, f"ticket {ticket} was given to person {owner} before")
        known = bisect.bisect_right(self._times, observation.sent)
        before = self._highest[known - 1] if known else 0
        self._check(ticket > before, observation, f"ticket {ticket} after {before} was known")
        self._owners[ticket] = observation.person
        self._times.append(observation.at)
        self._highest.append(max(ticket, self._highest[-1] if self._highest else 0))

    def _check(self, holds: bool, observation: ResponseReceived, detail: str) -> None:
        self._ledger.check(Rule.TICKETS, holds, observation.at, observation.person, detail)


def describe(broken: Broken, names: Mapping[int, str]) -> str:
    """The breach in one line, with the person's name from ``names``."""
    who = names.get(broken.person, "")
    return f"{broken.rule}: {who + ': ' if who else ''}{broken.detail}"
