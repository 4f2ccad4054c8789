"""The rules that one person's own observations can prove broken."""

from __future__ import annotations

from gateway.demo.evidence import Evidence, Place
from gateway.demo.plan import Limits
from gateway.demo.positions import Positions
from gateway.demo.rules import GRACE, SWEPT, Ledger, Rule
from gateway.demo.seen import (
    LEAVING,
    Answered,
    Call,
    Ended,
    Finished,
    Heard,
    Opened,
    Outcome,
    Seen,
    Sent,
    Standing,
    Unanswered,
    adds_up,
)
from gateway.demo.streamwatch import StreamWatch


class Watched:
    """One person under observation: takes the facts one by one and tests what they can prove."""

    def __init__(self, number: int, limits: Limits, ledger: Ledger, user_id: str) -> None:
        self.evidence = Evidence(limits)
        self.outcome: Outcome | None = None
        self._number = number
        self._limits = limits
        self._ledger = ledger
        self._user_id = user_id
        self._streams: dict[int, StreamWatch] = {}
        self._positions = Positions(number, ledger)
        self._known_in_at = 0.0
        self._asked_to_leave = False
        self._left = False
        self._found_gone = False

    def see(self, fact: Seen, lag: float) -> None:
        """Take the next fact; ``lag`` is the total of seconds the crowd's own process was stalled so far."""
        match fact:
            case Sent(call=Call.LINEUP):
                self.evidence.asks(fact.at)
            case Sent(call=call) if call in LEAVING:
                self._asked_to_leave = True
                self.evidence.leaves(fact.at)
            case Answered():
                self._answered(fact)
            case Unanswered(call=call) if call in LEAVING:
                self._left = True
                self.evidence.may_have_left()
            case Opened(status=200):
                self._streams[fact.stream] = StreamWatch(fact, self._limits, self._ledger, lag)
            case Heard():
                self._heard(fact, lag)
            case Ended():
                self._ended(fact, lag)
            case Finished():
                self.outcome = fact.outcome

    def overdue(self, now: float, lag: float) -> None:
        """Report what should have reached this person by ``now``."""
        for stream in self._streams.values():
            stream.overdue(now, lag)

    def account(self, now: float) -> None:
        """At the very end: does this person's story add up, from lining up to its outcome?"""
        if not self.evidence.lined_up:
            return
        holds = adds_up(
            self.outcome, admitted=bool(self.evidence.admissions), left=self._left, gone=self._found_gone
        )
        self._check(Rule.LOST, holds, now, f"lined up, and ended as: {self.outcome or 'nothing'}")

    def _check(self, rule: Rule, holds: bool, at: float, detail: str) -> None:
        self._ledger.check(rule, holds, at, self._number, detail)

    # --- answers ---

    def _answered(self, fact: Answered) -> None:
        if seen_as := fact.identity:
            self._check(Rule.IDENTITY, seen_as == self._user_id, fact.at, f"was taken for {seen_as!r}")
        match fact.call:
            case Call.LINEUP:
                self._lineup(fact)
            case Call.STATUS:
                self._status(fact)
            case Call.GATED:
                self._gated(fact)
            case Call.ANONYMOUS:
                self._check(Rule.GATE, fact.status == 401, fact.at, f"{fact.status} without a token")
            case Call.LEAVE_LINE | Call.LEAVE_SLOT | Call.LEAVE:
                self._leave(fact)

    def _lineup(self, fact: Answered) -> None:
        standing = fact.standing
        if fact.status == 200 and standing.state == "WAITING" and standing.ticket is not None:
            self._positions.restart()
            self.evidence.waits_with(standing.ticket, fact.at)
            self.evidence.sighted(fact.sent, fact.at)
            self._positions.told(standing, fact.at)
        elif fact.status == 200 and standing.state == "ALLOWED_IN":
            self._admit(fact.at, standing)
        elif standing.code == "OVERLOADED":
            self.evidence.not_asked()

    def _status(self, fact: Answered) -> None:
        at_least, _ = self.evidence.unseen(fact.sent)
        away_too_long = self.evidence.place is Place.WAITING and at_least > self._limits.absent + SWEPT
        if fact.status in (200, 404) and away_too_long:
            gone = fact.standing.state != "WAITING"
            self._check(Rule.ABSENT, gone, fact.at, f"still in line after {at_least:.1f} s away")
        if fact.status == 404:
            self._nowhere(fact.at)
        elif fact.standing.state == "WAITING":
            self._told_to_wait(fact.standing, fact.sent, fact.at)
        elif fact.standing.state == "ALLOWED_IN":
            self._admit(fact.at, fact.standing)

    def _gated(self, fact: Answered) -> None:
        outside = self.evidence.certainly_out(fact.sent)
        inside = self.evidence.certainly_in(fact.at)
        said = f"{fact.status} {fact.standing.code}".strip()
        if outside:
            refused = not fact.passed and fact.standing.state != "WAITING"
            self._check(Rule.GATE, refused, fact.at, f"certainly not in, and the gate said {said}")
            if not fact.passed:
                self.evidence.gone(fact.at)
            return
        if inside:
            self._check(Rule.SESSION, fact.passed, fact.at, f"certainly in, and the gate said {said}")
        if fact.passed:
            self._admit(fact.at, fact.standing, slipped=True)
            self.evidence.renewed(fact.sent, fact.at)
        elif fact.status == 429 and not inside:
            self._check(Rule.GATE, True, fact.at, "")
            self._told_to_wait(fact.standing, fact.sent, fact.at)
        elif fact.status == 403 and not inside:
            self._nowhere(fact.at)

    def _leave(self, fact: Answered) -> None:
        evidence = self.evidence
        if fact.status in (200, 204):
            self._left = True
            if fact.call is Call.LEAVE_SLOT:
                evidence.left_room(fact.sent, fact.at)
            else:
                evidence.gone(fact.at)
                for stream in self._streams.values():
                    stream.expect_end(fact.at)
        elif fact.status == 404 and fact.call is Call.LEAVE_LINE:
            evidence.not_in_line()
        elif fact.status == 404:
            if evidence.was_certainly_in(fact.at):
                self._check(Rule.SESSION, False, fact.at, "certainly in, and there was no slot to leave")
            if evidence.not_in_room(fact.at):
                self._judge_gone(Rule.LOST, fact.at)

    # --- streams ---

    def _heard(self, fact: Heard, lag: float) -> None:
        if (stream := self._streams.get(fact.stream)) is None:
            return
        first = not stream.updated
        if not stream.heard(fact, lag):
            return
        match fact.name:
            case "STATUS_UPDATE":
                self._update(fact, stream, first=first)
            case "ALLOWED_IN":
                self._admit(fact.at, fact.standing)
            case "ERROR":
                self._told_off(fact, reconnected=fact.stream > 1 and first)

    def _update(self, fact: Heard, stream: StreamWatch, *, first: bool) -> None:
        evidence, held, shown = self.evidence, self.evidence.ticket, fact.standing.ticket
        if evidence.place is Place.IN:
            stale = fact.at <= self._known_in_at + GRACE
            self._check(self._not_in_after_all(), stale, fact.at, "was shown in line after being let in")
        if evidence.place is not Place.WAITING:
            return
        evidence.sighted(fact.at, fact.at)
        evidence.listens(fact.at)
        rule = Rule.BLIP if first and fact.stream > 1 else Rule.POSITION
        self._check(rule, shown == held, fact.at, f"held ticket {held}, was shown {shown}")
        earlier = stream.position if not first else self._positions.before(stream.opened.sent)
        self._positions.told(fact.standing, fact.at, earlier)
        stream.position = fact.standing.position

    def _told_off(self, fact: Heard, *, reconnected: bool) -> None:
        code, reason = fact.standing.code, fact.standing.reason
        if code == "REMOVED" and reason == "LEFT":
            self._check(Rule.LOST, self._asked_to_leave, fact.at, "removed as leaving, without having asked")
        elif code == "REMOVED" and reason == "ABSENT":
            self._check(Rule.LOST, False, fact.at, "evicted as absent with an open stream")
            self._found_gone = True
        if code == "NOT_IN_QUEUE" and self.evidence.place is Place.WAITING:
            self._judge_gone(Rule.BLIP if reconnected else Rule.LOST, fact.at)
        if code in ("REMOVED", "NOT_IN_QUEUE"):
            self.evidence.gone(fact.at)

    def _ended(self, fact: Ended, lag: float) -> None:
        if (stream := self._streams.pop(fact.stream, None)) is None:
            return
        stream.ended(fact.at, lag, by_us=fact.by_us)
        if stream.updated and self.evidence.place is Place.WAITING:
            self.evidence.sighted(fact.at, fact.at)
        self.evidence.stops_listening(fact.at)

    # --- what several kinds of fact say alike ---

    def _admit(self, at: float, standing: Standing, *, slipped: bool = False) -> None:
        if self.evidence.place is not Place.IN:
            self._known_in_at = at
        self.evidence.admitted(at, standing.expires_in, slipped=slipped)

    def _not_in_after_all(self) -> Rule:
        return Rule.GATE if self.evidence.slipped_in else Rule.SESSION

    def _told_to_wait(self, standing: Standing, sent: float, at: float) -> None:
        if self.evidence.place is Place.IN:
            stale = sent <= self._known_in_at
            self._check(self._not_in_after_all(), stale, at, "was told to wait after being let in")
        elif self.evidence.place is Place.WAITING:
            held, told = self.evidence.ticket, standing.ticket
            self._check(Rule.POSITION, told == held, at, f"held ticket {held}, was told {told}")
            self.evidence.still_waiting(sent)
            self.evidence.sighted(sent, at)
            self._positions.told(standing, at, self._positions.before(sent))
        elif self.evidence.place is Place.UNSURE and standing.ticket is not None:
            # The lineup's own answer was lost; this one says what it did.
            self.evidence.waits_with(standing.ticket, at)
            self.evidence.sighted(sent, at)
            self._positions.told(standing, at)

    def _nowhere(self, at: float) -> None:
        if self.evidence.place is Place.WAITING:
            self._judge_gone(Rule.LOST, at)
            self.evidence.gone(at)

    def _judge_gone(self, rule: Rule, at: float) -> None:
        """Neither in line nor in: in order only after an absence, or a session nobody knew of."""
        self._found_gone = True
        self._check(rule, self.evidence.may_be_gone(at), at, "neither in line nor in any more")
