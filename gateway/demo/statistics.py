"""Figures from the observations: how many people are where, how fast it goes, and what just happened."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.demo.observations import (
    INTERRUPTED,
    LEAVING,
    Call,
    EventReceived,
    Observation,
    Outcome,
    RequestFailed,
    RequestSent,
    ResponseReceived,
    StreamClosed,
    VisitFinished,
)
from gateway.demo.observer import describe
from gateway.demo.plan import Limits, Plan
from gateway.demo.rules import Verdict

TIMED = frozenset({Call.BROWSE, Call.LINEUP, Call.STATUS, Call.GATED, Call.PAY}) | LEAVING

# Seconds after which a leave and an admission have nothing to do with each other.
HANDED_ON_WITHIN = 1.0
# Seconds of the curve of admissions.
SPARK_SECONDS = 40


def percentile(values: list[float], percent: float) -> float | None:
    """The value below which ``percent`` of the sorted values lie (nearest rank); None if there are none."""
    if not values:
        return None
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(len(ranked) * percent / 100))]


@dataclass(slots=True)
class _UserRecord:
    """What is known about one person."""

    ticket: int | None = None
    position: int | None = None
    lined_up_at: float = 0.0
    shown: list[tuple[float, float]] = field(default_factory=list)
    admitted: bool = False
    tab_closed_at: float | None = None
    gone_when_back: bool = False


@dataclass(slots=True)
class Statistics:
    """Takes all observations. ``opened``: when the sale opened, on the clock of the observations."""

    limits: Limits
    names: Mapping[int, str]
    opened: float
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
    news: deque[tuple[float, str]] = field(default_factory=lambda: deque(maxlen=50))
    _freed: list[float] = field(default_factory=list)
    _records: dict[int, _UserRecord] = field(default_factory=dict)

    def observe(self, observation: Observation) -> None:
        """Take the next observation."""
        record = self._records.setdefault(observation.person, _UserRecord())
        match observation:
            case RequestSent(call=Call.LEAVE_SLOT | Call.LEAVE):
                if self.inside.pop(observation.person, None) is not None:
                    self._freed.append(observation.at)
            case ResponseReceived():
                self._on_response(observation, record)
            case RequestFailed(why=why) if why != INTERRUPTED:
                self.unanswered += 1
            case EventReceived():
                self._on_event(observation, record)
            case StreamClosed(by_us=True) if observation.person in self.in_line:
                record.tab_closed_at = observation.at
            case VisitFinished():
                self._on_finished(observation, record)

    def admissions_by_second(self, now: float, seconds: int) -> list[int]:
        """How many were let in during each of the last whole seconds, oldest first."""
        counts = [0] * seconds
        for at, _ in reversed(self.admissions):
            age = int(now - at)
            if age >= seconds:
                break
            counts[seconds - 1 - age] += 1
        return counts

    def users_inside(self, now: float) -> int:
        """How many are in, as far as clients know: a session that was not used for its length is over."""
        return sum(now < last + self.limits.duration for last in self.inside.values())

    def evicted(self) -> int:
        """How many had lost the place in line when they looked again after closing the tab."""
        return sum(
            record.gone_when_back and not self._was_overtaken(record) for record in self._records.values()
        )

    def _was_overtaken(self, record: _UserRecord) -> bool:
        """Whether a higher ticket was let in before this one could be evicted. Then this one was let in too."""
        deadline = (record.tab_closed_at or 0.0) + self.limits.absent
        return any(
            ticket is not None and record.ticket is not None and ticket > record.ticket and at < deadline
            for at, ticket in self.admissions
        )

    def _add_news(self, at: float, text: str) -> None:
        self.news.append((at - self.opened, text))

    def _name(self, person: int) -> str:
        return self.names.get(person, f"person {person}")

    def _record_estimate(self, observation: ResponseReceived | EventReceived, record: _UserRecord) -> None:
        """Keep an estimated wait that was shown with the present ticket."""
        if (
            observation.queue_status.estimated_wait is not None
            and observation.queue_status.ticket == record.ticket
        ):
            record.shown.append((observation.at, observation.queue_status.estimated_wait))

    def _on_response(self, observation: ResponseReceived, record: _UserRecord) -> None:
        self.requests += 1
        if observation.call in TIMED:
            self.latencies.append(observation.at - observation.sent)
        if observation.call is Call.LINEUP and observation.status == 200:
            self._on_lined_up(observation, record)
        elif observation.call is Call.STATUS and observation.queue_status.state == "ALLOWED_IN":
            self._on_admitted(observation, record)
        elif (
            observation.call is Call.STATUS and observation.status == 404 and record.tab_closed_at is not None
        ):
            record.gone_when_back = True
            self._add_news(
                observation.at,
                f"{self._name(observation.person)} looked again after a while away: the place is gone",
            )
        elif observation.call is Call.GATED and observation.passed:
            self._on_gate_passed(observation)
        elif observation.call in (Call.GATED, Call.ANONYMOUS):
            reason = f"{observation.status} {observation.queue_status.code}".strip()
            self.turned_away[reason] += 1
            when = " after leaving" if record.admitted else ""
            self._add_news(
                observation.at,
                f"{self._name(observation.person)} tried the gate{when} and was turned away: {reason}",
            )
        if observation.queue_status.code == "OVERLOADED":
            self.turned_away["503 OVERLOADED"] += 1
        self._record_estimate(observation, record)

    def _on_lined_up(self, observation: ResponseReceived, record: _UserRecord) -> None:
        if observation.queue_status.state == "ALLOWED_IN":
            self._on_admitted(observation, record)
            return
        if record.ticket is not None:
            text = f"lined up again: ticket {record.ticket} became {observation.queue_status.ticket}"
            self._add_news(observation.at, f"{self._name(observation.person)} {text}")
        else:
            record.lined_up_at = observation.at
        record.ticket, record.position = observation.queue_status.ticket, observation.queue_status.position
        record.tab_closed_at = None
        record.shown.clear()
        self.in_line.add(observation.person)

    def _on_admitted(self, observation: ResponseReceived | EventReceived, record: _UserRecord) -> None:
        if observation.person in self.inside:
            return
        if observation.person in self.in_line:
            self.in_line.discard(observation.person)
            self.waits.append(observation.at - record.lined_up_at)
            for at, estimate in record.shown:
                real = max(observation.at - at, 0.001)
                self.estimate_errors.append(abs(estimate - real) / real)
            record.shown.clear()
            if len(self.waits) == 1:
                self._add_news(
                    observation.at,
                    f"{self._name(observation.person)} is the first from the line to be let in",
                )
        record.admitted = True
        self.inside[observation.person] = observation.at
        self.admissions.append((observation.at, record.ticket))

    def _record_handover(self, at: float) -> None:
        """A person in line learns of the admission at ``at``: the slot was free since the latest leave was sent.

        Not measured: slots that no known person took (empty line, closed tab), and sessions that expired.
        """
        while self._freed:
            free_for = at - self._freed.pop()
            if 0 <= free_for <= HANDED_ON_WITHIN:
                self.handovers.append(free_for)
                return
            self._freed.clear()

    def _on_gate_passed(self, observation: ResponseReceived) -> None:
        if observation.person in self.inside:
            self.inside[observation.person] = observation.at
        if observation.status == 409:
            self.sold_out += 1
            if self.sold_out % 10 == 1:
                self._add_news(observation.at, f"{self._name(observation.person)} found the seat taken")

    def _on_event(self, observation: EventReceived, record: _UserRecord) -> None:
        self.events += 1
        if observation.name == "ALLOWED_IN":
            self._record_handover(observation.at)
            self._on_admitted(observation, record)
        elif observation.name == "STATUS_UPDATE":
            record.position = observation.queue_status.position
            self._record_estimate(observation, record)
            if record.tab_closed_at is not None:
                self.blips += 1
                status = observation.queue_status
                text = f"is back, still ticket {status.ticket}, position {status.position}"
                self._add_news(observation.at, f"{self._name(observation.person)} {text}")
                record.tab_closed_at = None
        elif observation.name == "ERROR":
            self.in_line.discard(observation.person)

    def _on_finished(self, observation: VisitFinished, record: _UserRecord) -> None:
        self.outcomes[observation.outcome] += 1
        self.in_line.discard(observation.person)
        if observation.outcome in (Outcome.GAVE_UP, Outcome.WALKED_OFF, Outcome.PLACE_GONE):
            where = f", at position {record.position}" if observation.outcome is Outcome.GAVE_UP else ""
            self._add_news(observation.at, f"{self._name(observation.person)} {observation.outcome}{where}")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All figures at one moment, as plain values. Times in seconds; None where nothing has been measured."""

    elapsed: float
    seconds: float
    people: int
    capacity: int
    waiting: int
    inside: int
    done: int
    outcomes: Mapping[Outcome, int]
    admissions_by_second: tuple[int, ...]
    wait_p50: float | None
    wait_p95: float | None
    handover_p50: float | None
    handover_p95: float | None
    latency_p50: float | None
    latency_p95: float | None
    requests: int
    events: int
    checks: int
    broken: int
    latest_broken: str
    news: tuple[tuple[float, str], ...]


def snapshot(plan: Plan, statistics: Statistics, verdict: Verdict, now: float) -> Snapshot:
    """The figures at ``now`` (the crowd's clock)."""
    return Snapshot(
        elapsed=now - statistics.opened,
        seconds=plan.seconds,
        people=plan.people,
        capacity=plan.limits.capacity,
        waiting=len(statistics.in_line),
        inside=statistics.users_inside(now),
        done=statistics.outcomes.total(),
        outcomes=dict(statistics.outcomes),
        admissions_by_second=tuple(statistics.admissions_by_second(now, SPARK_SECONDS)),
        wait_p50=percentile(statistics.waits, 50),
        wait_p95=percentile(statistics.waits, 95),
        handover_p50=percentile(statistics.handovers, 50),
        handover_p95=percentile(statistics.handovers, 95),
        latency_p50=percentile(statistics.latencies, 50),
        latency_p95=percentile(statistics.latencies, 95),
        requests=statistics.requests,
        events=statistics.events,
        checks=verdict.total,
        broken=len(verdict.broken),
        latest_broken=describe(verdict.broken[-1], statistics.names) if verdict.broken else "",
        news=tuple(statistics.news),
    )
