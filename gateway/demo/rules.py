"""The rules that the observer checks, their tolerances, and the ledger of checks and breaches."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

# Seconds from the gateway's decision to the moment at which the client has read the event, at most.
GRACE = 1.5
# Seconds a status update may be late.
LATE = 2.0
# Seconds by which the end of a session or of an absence may differ from what the client computes.
EDGE = 0.5
# Seconds by which Redis's clock and the crowd's may drift apart within a session.
DRIFT = 0.1
# Seconds after which the sweep must have evicted an absent person.
SWEPT = 3.0


class Rule(StrEnum):
    """What a client may rely on. The value is the rule in words, as the summary shows it."""

    CAPACITY = "never more people in than the room holds"
    ORDER = "let in strictly in the order of the tickets"
    TICKETS = "tickets only grow, and none is given out twice"
    POSITION = "nobody who keeps the place moves back"
    BLIP = "a lost connection costs neither place nor ticket"
    LOST = "nobody in line is lost"
    SESSION = "whoever is in is neither refused nor sent back"
    GATE = "whoever is not in does not pass the gate"
    LAST_FRAME = "nothing follows a stream's last frame"
    UPDATES = "status updates keep coming"
    TOLD = "whoever leaves is told on the open stream"
    ABSENT = "whoever is away too long holds no place"
    IDENTITY = "services see exactly who is calling"
    DOORS = "a room's doors hold what the operator said"
    BOUNDS = "no more wait, or line up, than may"
    HISTORY = "the history says what happened to a user"


@dataclass(frozen=True, slots=True)
class Broken:
    """One proven breach.

    ``at``: seconds of the crowd's clock. ``person``: the person whose observations prove it; 0: several. ``detail``:
    what was observed.
    """

    rule: Rule
    at: float
    person: int
    detail: str


@dataclass(slots=True)
class Ledger:
    """Counts checks and keeps breaches."""

    checks: Counter[Rule] = field(default_factory=Counter)
    broken: list[Broken] = field(default_factory=list)

    def check(self, rule: Rule, holds: bool, at: float, person: int, detail: str) -> None:
        """Count one test of ``rule``; where it does not hold, keep the breach."""
        self.checks[rule] += 1
        if not holds:
            self.broken.append(Broken(rule, at, person, detail))


@dataclass(frozen=True, slots=True)
class Verdict:
    """How often each rule was tested, and every breach, oldest first."""

    checks: Counter[Rule]
    broken: tuple[Broken, ...]

    @property
    def total(self) -> int:
        """How many checks were made in all."""
        return self.checks.total()
