"""Figures for people to look at, from what clients saw: who is where, how fast, and what just happened."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.demo.plan import Limits
from gateway.demo.seen import (
    INTERRUPTED,
    LEAVING,
    Answered,
    Call,
    Ended,
    Finished,
    Heard,
    Outcome,
    Seen,
    Sent,
    Unanswered,
)

TIMED = frozenset({Call.BROWSE, Call.LINEUP, Call.STATUS, Call.GATED, Call.PAY}) | LEAVING

# Seconds after which a leave and an admission have nothing to do with each other.
HANDED_ON_WITHIN = 1.0


def percentile(values: list[float], percent: float) -> float | None:
    """The value below which ``percent`` of the sorted values lie (nearest rank); None of nothing."""
    if not values:
        return None
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(len(ranked) * percent / 100))]


@dataclass(slots=True)
class _Card:
    """What is known of one person."""

    ticket: int | None = None
    position: int | None = None
    lined_up_at: float = 0.0
    shown: list[tuple[float, float]] = field(default_factory=list)
    admitted: bool = False
    tab_closed_at: float | None = None
    gone_when_back: bool = False


@dataclass(slots=True)
class Stats:
    """Takes every fact. ``opened`` is when the sale opened, on the clock of the facts."""

    limits: Limits
    names: Mapping[int, str]
    opened: float
    arrived: set[int] = field(default_factory=set)
    in_line: set[int] = field(default_factory=set)
    inside: dict[int, float] = field(default_factory=dict)
    admissions: list[tuple[float, int | None]] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    estimate_errors: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    handovers: list[float] = field(default_factory=list)
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    turned_away: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    events: int = 0
    unanswered: int = 0
    sold_out: int = 0
    blips: int = 0
    happened: deque[tuple[float, str]] = field(default_factory=lambda: deque(maxlen=50))
    _freed: list[float] = field(default_factory=list)
    _cards: dict[int, _Card] = field(default_factory=dict)

    def see(self, fact: Seen) -> None:
        """Take the next fact."""
        card = self._cards.setdefault(fact.person, _Card())
        self.arrived.add(fact.person)
        match fact:
            case Sent(call=Call.LEAVE_SLOT | Call.LEAVE):
                if self.inside.pop(fact.person, None) is not None:
                    self._freed.append(fact.at)
            case Answered():
                self._answered(fact, card)
            case Unanswered(why=why) if why != INTERRUPTED:
                self.unanswered += 1
            case Heard():
                self._heard(fact, card)
            case Ended(by_us=True) if fact.person in self.in_line:
                card.tab_closed_at = fact.at
            case Finished():
                self._finished(fact, card)

    def rate(self, now: float, seconds: int) -> list[int]:
        """How many were let in during each of the last whole seconds, oldest first."""
        counts = [0] * seconds
        for at, _ in reversed(self.admissions):
            age = int(now - at)
            if age >= seconds:
                break
            counts[seconds - 1 - age] += 1
        return counts

    def shopping(self, now: float) -> int:
        """How many are in, as far as clients know: a session nobody used for its length is over."""
        return sum(now < last + self.limits.duration for last in self.inside.values())

    def evicted(self) -> int:
        """How many had lost the place in line when they looked again after closing the tab."""
        return sum(card.gone_when_back and not self._passed_over(card) for card in self._cards.values())

    def _passed_over(self, card: _Card) -> bool:
        """Whether a higher ticket was let in before this one could be evicted: then it was let in, unseen."""
        deadline = (card.tab_closed_at or 0.0) + self.limits.absent
        return any(
            ticket is not None and card.ticket is not None and ticket > card.ticket and at < deadline
            for at, ticket in self.admissions
        )

    def _say(self, at: float, text: str) -> None:
        self.happened.append((at - self.opened, text))

    def _name(self, person: int) -> str:
        return self.names.get(person, f"person {person}")

    def _note_estimate(self, fact: Answered | Heard, card: _Card) -> None:
        """What was shown of the wait counts for the ticket it was shown with."""
        if fact.standing.estimated_wait is not None and fact.standing.ticket == card.ticket:
            card.shown.append((fact.at, fact.standing.estimated_wait))

    def _answered(self, fact: Answered, card: _Card) -> None:
        self.requests += 1
        if fact.call in TIMED:
            self.latencies.append(fact.at - fact.sent)
        if fact.call is Call.LINEUP and fact.status == 200:
            self._lined_up(fact, card)
        elif fact.call is Call.STATUS and fact.standing.state == "ALLOWED_IN":
            self._let_in(fact, card)
        elif fact.call is Call.STATUS and fact.status == 404 and card.tab_closed_at is not None:
            card.gone_when_back = True
            self._say(
                fact.at, f"{self._name(fact.person)} looked again after a while away: the place is gone"
            )
        elif fact.call is Call.GATED and fact.passed:
            self._gate_passed(fact)
        elif fact.call in (Call.GATED, Call.ANONYMOUS):
            reason = f"{fact.status} {fact.standing.code}".strip()
            self.turned_away[reason] += 1
            when = " after leaving" if card.admitted else ""
            self._say(
                fact.at, f"{self._name(fact.person)} tried the gate{when} and was turned away: {reason}"
            )
        if fact.standing.code == "OVERLOADED":
            self.turned_away["503 OVERLOADED"] += 1
        self._note_estimate(fact, card)

    def _lined_up(self, fact: Answered, card: _Card) -> None:
        if fact.standing.state == "ALLOWED_IN":
            self._let_in(fact, card)
            return
        if card.ticket is not None:
            text = f"lined up again: ticket {card.ticket} became {fact.standing.ticket}"
            self._say(fact.at, f"{self._name(fact.person)} {text}")
        else:
            card.lined_up_at = fact.at
        card.ticket, card.position, card.tab_closed_at = fact.standing.ticket, fact.standing.position, None
        card.shown.clear()
        self.in_line.add(fact.person)

    def _let_in(self, fact: Answered | Heard, card: _Card) -> None:
        if fact.person in self.inside:
            return
        if fact.person in self.in_line:
            self.in_line.discard(fact.person)
            self.waits.append(fact.at - card.lined_up_at)
            for at, estimate in card.shown:
                real = max(fact.at - at, 0.001)
                self.estimate_errors.append(abs(estimate - real) / real)
            card.shown.clear()
            if len(self.waits) == 1:
                self._say(fact.at, f"{self._name(fact.person)} is the first from the line to be let in")
        card.admitted = True
        self.inside[fact.person] = fact.at
        self.admissions.append((fact.at, card.ticket))

    def _handed_on(self, at: float) -> None:
        """Somebody in line hears of being let in: from the leave sent last to here is how long a slot was free.

        Slots that nobody visible took (an empty line, a closed tab) and sessions that ran out are left aside.
        """
        while self._freed:
            free_for = at - self._freed.pop()
            if 0 <= free_for <= HANDED_ON_WITHIN:
                self.handovers.append(free_for)
                return
            self._freed.clear()

    def _gate_passed(self, fact: Answered) -> None:
        if fact.person in self.inside:
            self.inside[fact.person] = fact.at
        if fact.status == 409:
            self.sold_out += 1
            if self.sold_out % 10 == 1:
                self._say(fact.at, f"{self._name(fact.person)} found the seat taken")

    def _heard(self, fact: Heard, card: _Card) -> None:
        self.events += 1
        if fact.name == "ALLOWED_IN":
            self._handed_on(fact.at)
            self._let_in(fact, card)
        elif fact.name == "STATUS_UPDATE":
            card.position = fact.standing.position
            self._note_estimate(fact, card)
            if card.tab_closed_at is not None:
                self.blips += 1
                text = f"is back, still ticket {fact.standing.ticket}, position {fact.standing.position}"
                self._say(fact.at, f"{self._name(fact.person)} {text}")
                card.tab_closed_at = None
        elif fact.name == "ERROR":
            self.in_line.discard(fact.person)

    def _finished(self, fact: Finished, card: _Card) -> None:
        self.outcomes[fact.outcome] += 1
        self.in_line.discard(fact.person)
        if fact.outcome in (Outcome.GAVE_UP, Outcome.WALKED_OFF, Outcome.PLACE_GONE):
            where = f", at position {card.position}" if fact.outcome is Outcome.GAVE_UP else ""
            self._say(fact.at, f"{self._name(fact.person)} {fact.outcome}{where}")
