"""The rules that the observations of one person can prove broken: of positions, of a stream, and of the whole visit."""

from __future__ import annotations

from gateway.demo.inference import Inference, Place
from gateway.demo.observations import (
    LEAVING,
    Call,
    EventReceived,
    Observation,
    Outcome,
    QueueStatus,
    RequestFailed,
    RequestSent,
    ResponseReceived,
    StreamClosed,
    StreamOpened,
    VisitFinished,
    outcome_is_proven,
)
from gateway.demo.plan import Limits
from gateway.demo.rules import GRACE, LATE, SWEPT, Ledger, Rule


class PositionChecks:
    """The positions shown under the present ticket: while a person keeps the place, the position never grows."""

    def __init__(self, person: int, ledger: Ledger) -> None:
        self._person = person
        self._ledger = ledger
        self._positions: list[tuple[float, int]] = []

    def reset(self) -> None:
        """The person has a new ticket, and so a new place."""
        self._positions.clear()

    def last_before(self, sent: float) -> int | None:
        """The last position known when a request was sent: its response can only show that position or a lower one."""
        return next((position for at, position in reversed(self._positions) if at <= sent), None)

    def record(self, queue_status: QueueStatus, at: float, earlier: int | None = None) -> None:
        """Check and record a position read at ``at``. ``earlier``: a position that certainly was shown before."""
        position, total, behind = queue_status.position, queue_status.total, queue_status.behind
        if position is None:
            self._check(False, at, "in line without a position")
            return
        back = earlier is not None and position > earlier
        self._check(not back and position >= 1, at, f"position {position} after {earlier}")
        if total is not None and behind is not None:
            self._check(position + behind == total, at, f"{position} + {behind} behind are not {total}")
        self._positions.append((at, position))

    def _check(self, holds: bool, at: float, detail: str) -> None:
        self._ledger.check(Rule.POSITION, holds, at, self._person, detail)


class StreamChecks:
    """One open stream: when its events come, and that nothing follows its end.

    ``lag`` is always the total of seconds for which the crowd's own process was stalled. ``updated``: a status update
    has come; ``position`` is that of the last one.
    """

    def __init__(self, opened: StreamOpened, limits: Limits, ledger: Ledger, lag: float) -> None:
        self.opened = opened
        self.updated = False
        self.position: int | None = None
        self.over = False
        self._last_frame_at = 0.0
        self._limits = limits
        self._ledger = ledger
        self._quiet_since = opened.at
        self._lag_then = lag
        self._end_due_from: float | None = None
        self._silence_reported = False

    def on_event(self, observation: EventReceived, lag: float) -> bool:
        """Take one event. Returns False if it came after the last frame, and so means nothing."""
        after_end = self.over
        detail = f"{observation.name} came after the last frame"
        self._check(Rule.LAST_FRAME, not after_end, observation.at, detail)
        if after_end:
            return False
        if observation.name == "STATUS_UPDATE":
            self._check_pace(observation.at, lag)
            self.updated = True
        elif observation.last:
            self._check_last(observation)
        return True

    def expect_end(self, at: float) -> None:
        """A call answered at ``at`` left the queue: the stream must say so and end."""
        if not self.over:
            self._end_due_from = at

    def on_closed(self, at: float, lag: float, *, by_us: bool) -> None:
        """The stream was closed by the client (``by_us``) or by the gateway, which must do so after a last frame."""
        self.check_overdue(at, lag)
        if self.over:
            in_time = not by_us or at - self._last_frame_at <= GRACE
            self._check(Rule.LAST_FRAME, in_time, at, "the stream stayed open after its last frame")

    def check_overdue(self, now: float, lag: float) -> None:
        """Report what should have come by ``now`` and has not. Each silence is reported once."""
        if self.over:
            return
        if self._late_by(now, lag) > LATE and not self._silence_reported:
            self._silence_reported = True
            self._check(Rule.UPDATES, False, now, self._silence(now))
        if self._end_due_from is not None and now - self._end_due_from - (lag - self._lag_then) > GRACE:
            self._end_due_from = None
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

    def _check_last(self, observation: EventReceived) -> None:
        self.over = True
        self._last_frame_at = observation.at
        detail = f"the last frame {observation.name} had id {observation.id!r}"
        self._check(Rule.LAST_FRAME, observation.id == "end", observation.at, detail)
        if self._end_due_from is not None:
            self._end_due_from = None
            self._check(Rule.TOLD, True, observation.at, "")

    def _check(self, rule: Rule, holds: bool, at: float, detail: str) -> None:
        self._ledger.check(rule, holds, at, self.opened.person, detail)


class UserChecks:
    """Takes the observations of one person in order, and checks what they can prove."""

    def __init__(self, number: int, limits: Limits, ledger: Ledger, user_id: str) -> None:
        self.inference = Inference(limits)
        self.outcome: Outcome | None = None
        self._number = number
        self._limits = limits
        self._ledger = ledger
        self._user_id = user_id
        self._streams: dict[int, StreamChecks] = {}
        self._positions = PositionChecks(number, ledger)
        self._admitted_at = 0.0
        self._asked_to_leave = False
        self._left = False
        self._found_gone = False

    def observe(self, observation: Observation, lag: float) -> None:
        """Take the next observation. ``lag``: seconds for which the crowd's own process was stalled so far."""
        match observation:
            case RequestSent(call=Call.LINEUP):
                self.inference.lineup_sent(observation.at)
            case RequestSent(call=call) if call in LEAVING:
                self._asked_to_leave = True
                self.inference.leave_sent(observation.at)
            case ResponseReceived():
                self._on_response(observation)
            case RequestFailed(call=call) if call in LEAVING:
                self._left = True
                self.inference.leave_unanswered()
            case StreamOpened(status=200):
                self._streams[observation.stream] = StreamChecks(observation, self._limits, self._ledger, lag)
            case EventReceived():
                self._on_event(observation, lag)
            case StreamClosed():
                self._on_closed(observation, lag)
            case VisitFinished():
                self.outcome = observation.outcome

    def check_overdue(self, now: float, lag: float) -> None:
        """Report what should have reached the person by ``now``."""
        for stream in self._streams.values():
            stream.check_overdue(now, lag)

    def check_outcome(self, now: float) -> None:
        """At the end of the run: check that observations prove the outcome of a person who lined up."""
        if not self.inference.lined_up:
            return
        holds = outcome_is_proven(
            self.outcome, admitted=bool(self.inference.admissions), left=self._left, gone=self._found_gone
        )
        self._check(Rule.LOST, holds, now, f"lined up, and ended as: {self.outcome or 'nothing'}")

    def _check(self, rule: Rule, holds: bool, at: float, detail: str) -> None:
        self._ledger.check(rule, holds, at, self._number, detail)

    # --- answers ---

    def _on_response(self, observation: ResponseReceived) -> None:
        if seen_as := observation.identity:
            self._check(Rule.IDENTITY, seen_as == self._user_id, observation.at, f"was taken for {seen_as!r}")
        match observation.call:
            case Call.LINEUP:
                self._on_lineup(observation)
            case Call.STATUS:
                self._on_status(observation)
            case Call.GATED:
                self._on_gated(observation)
            case Call.ANONYMOUS:
                self._check(
                    Rule.GATE,
                    observation.status == 401,
                    observation.at,
                    f"{observation.status} without a token",
                )
            case Call.LEAVE_LINE | Call.LEAVE_SLOT | Call.LEAVE:
                self._on_leave(observation)

    def _on_lineup(self, observation: ResponseReceived) -> None:
        queue_status = observation.queue_status
        if observation.status == 200 and queue_status.state == "WAITING" and queue_status.ticket is not None:
            self._positions.reset()
            self.inference.ticket_received(queue_status.ticket, observation.at)
            self.inference.contacted(observation.sent, observation.at)
            self._positions.record(queue_status, observation.at)
        elif observation.status == 200 and queue_status.state == "ALLOWED_IN":
            self._on_admitted(observation.at, queue_status)
        elif queue_status.code == "OVERLOADED":
            self.inference.lineup_refused()

    def _on_status(self, observation: ResponseReceived) -> None:
        at_least, _ = self.inference.absence(observation.sent)
        away_too_long = self.inference.place is Place.WAITING and at_least > self._limits.absent + SWEPT
        if observation.status in (200, 404) and away_too_long:
            gone = observation.queue_status.state != "WAITING"
            self._check(Rule.ABSENT, gone, observation.at, f"still in line after {at_least:.1f} s away")
        if observation.status == 404:
            self._on_not_in_queue(observation.at)
        elif observation.queue_status.state == "WAITING":
            self._on_waiting(observation.queue_status, observation.sent, observation.at)
        elif observation.queue_status.state == "ALLOWED_IN":
            self._on_admitted(observation.at, observation.queue_status)

    def _on_gated(self, observation: ResponseReceived) -> None:
        outside = self.inference.certainly_out(observation.sent)
        inside = self.inference.certainly_in(observation.at)
        said = f"{observation.status} {observation.queue_status.code}".strip()
        if outside:
            refused = not observation.passed and observation.queue_status.state != "WAITING"
            self._check(Rule.GATE, refused, observation.at, f"certainly not in, and the gate said {said}")
            if not observation.passed:
                self.inference.gone(observation.at)
            return
        if inside:
            self._check(
                Rule.SESSION, observation.passed, observation.at, f"certainly in, and the gate said {said}"
            )
        if observation.passed:
            self._on_admitted(observation.at, observation.queue_status, by_gate=True)
            self.inference.renewed(observation.sent, observation.at)
        elif observation.status == 429 and not inside:
            self._check(Rule.GATE, True, observation.at, "")
            self._on_waiting(observation.queue_status, observation.sent, observation.at)
        elif observation.status == 403 and not inside:
            self._on_not_in_queue(observation.at)

    def _on_leave(self, observation: ResponseReceived) -> None:
        inference = self.inference
        if observation.status in (200, 204):
            self._left = True
            if observation.call is Call.LEAVE_SLOT:
                inference.left_room(observation.sent, observation.at)
            else:
                inference.gone(observation.at)
                for stream in self._streams.values():
                    stream.expect_end(observation.at)
        elif observation.status == 404 and observation.call is Call.LEAVE_LINE:
            inference.not_in_line()
        elif observation.status == 404:
            if inference.was_certainly_in(observation.at):
                self._check(
                    Rule.SESSION, False, observation.at, "certainly in, and there was no slot to leave"
                )
            if inference.not_in_room(observation.at):
                self._check_loss(Rule.LOST, observation.at)

    # --- streams ---

    def _on_event(self, observation: EventReceived, lag: float) -> None:
        if (stream := self._streams.get(observation.stream)) is None:
            return
        first = not stream.updated
        if not stream.on_event(observation, lag):
            return
        match observation.name:
            case "STATUS_UPDATE":
                self._on_status_update(observation, stream, first=first)
            case "ALLOWED_IN":
                self._on_admitted(observation.at, observation.queue_status)
            case "ERROR":
                self._on_error_event(observation, reconnected=observation.stream > 1 and first)

    def _on_status_update(self, observation: EventReceived, stream: StreamChecks, *, first: bool) -> None:
        inference, held, shown = self.inference, self.inference.ticket, observation.queue_status.ticket
        if inference.place is Place.IN:
            stale = observation.at <= self._admitted_at + GRACE
            self._check(
                self._rule_for_waiting(), stale, observation.at, "was shown in line after being let in"
            )
        if inference.place is not Place.WAITING:
            return
        inference.contacted(observation.at, observation.at)
        inference.stream_alive(observation.at)
        rule = Rule.BLIP if first and observation.stream > 1 else Rule.POSITION
        self._check(rule, shown == held, observation.at, f"held ticket {held}, was shown {shown}")
        earlier = stream.position if not first else self._positions.last_before(stream.opened.sent)
        self._positions.record(observation.queue_status, observation.at, earlier)
        stream.position = observation.queue_status.position

    def _on_error_event(self, observation: EventReceived, *, reconnected: bool) -> None:
        code, reason = observation.queue_status.code, observation.queue_status.reason
        if code == "REMOVED" and reason == "LEFT":
            self._check(
                Rule.LOST, self._asked_to_leave, observation.at, "removed as leaving, without having asked"
            )
        elif code == "REMOVED" and reason == "ABSENT":
            self._check(Rule.LOST, False, observation.at, "evicted as absent with an open stream")
            self._found_gone = True
        if code == "NOT_IN_QUEUE" and self.inference.place is Place.WAITING:
            self._check_loss(Rule.BLIP if reconnected else Rule.LOST, observation.at)
        if code in ("REMOVED", "NOT_IN_QUEUE"):
            self.inference.gone(observation.at)

    def _on_closed(self, observation: StreamClosed, lag: float) -> None:
        if (stream := self._streams.pop(observation.stream, None)) is None:
            return
        stream.on_closed(observation.at, lag, by_us=observation.by_us)
        if stream.updated and self.inference.place is Place.WAITING:
            self.inference.contacted(observation.at, observation.at)
        self.inference.stream_ended(observation.at)

    # --- what several kinds of observation prove ---

    def _on_admitted(self, at: float, queue_status: QueueStatus, *, by_gate: bool = False) -> None:
        if self.inference.place is not Place.IN:
            self._admitted_at = at
        self.inference.admitted(at, queue_status.expires_in, by_gate=by_gate)

    def _rule_for_waiting(self) -> Rule:
        return Rule.GATE if self.inference.admitted_by_gate else Rule.SESSION

    def _on_waiting(self, queue_status: QueueStatus, sent: float, at: float) -> None:
        if self.inference.place is Place.IN:
            stale = sent <= self._admitted_at
            self._check(self._rule_for_waiting(), stale, at, "was told to wait after being let in")
        elif self.inference.place is Place.WAITING:
            held, told = self.inference.ticket, queue_status.ticket
            self._check(Rule.POSITION, told == held, at, f"held ticket {held}, was told {told}")
            self.inference.still_waiting(sent)
            self.inference.contacted(sent, at)
            self._positions.record(queue_status, at, self._positions.last_before(sent))
        elif self.inference.place is Place.UNKNOWN and queue_status.ticket is not None:
            # The lineup had no response; this response says what the lineup did.
            self.inference.ticket_received(queue_status.ticket, at)
            self.inference.contacted(sent, at)
            self._positions.record(queue_status, at)

    def _on_not_in_queue(self, at: float) -> None:
        if self.inference.place is Place.WAITING:
            self._check_loss(Rule.LOST, at)
            self.inference.gone(at)

    def _check_loss(self, rule: Rule, at: float) -> None:
        """The person has no place: right only after an absence, or after a session that the client did not know."""
        self._found_gone = True
        self._check(rule, self.inference.may_be_gone(at), at, "neither in line nor in any more")
