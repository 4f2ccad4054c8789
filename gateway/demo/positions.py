"""The rule of positions: as long as the place is kept, the number shown never grows."""

from __future__ import annotations

from gateway.demo.rules import Ledger, Rule
from gateway.demo.seen import Standing


class Positions:
    """What one person was told of the place held under the present ticket."""

    def __init__(self, person: int, ledger: Ledger) -> None:
        self._person = person
        self._ledger = ledger
        self._told: list[tuple[float, int]] = []

    def restart(self) -> None:
        """A new ticket, a new place."""
        self._told.clear()

    def before(self, sent: float) -> int | None:
        """The last position known when a request left: its answer can only be that or less."""
        return next((position for at, position in reversed(self._told) if at <= sent), None)

    def told(self, standing: Standing, at: float, earlier: int | None = None) -> None:
        """A position read at ``at``, which comes after ``earlier`` beyond doubt."""
        position, total, behind = standing.position, standing.total, standing.behind
        if position is None:
            self._check(False, at, "in line without a position")
            return
        back = earlier is not None and position > earlier
        self._check(not back and position >= 1, at, f"position {position} after {earlier}")
        if total is not None and behind is not None:
            self._check(position + behind == total, at, f"{position} + {behind} behind are not {total}")
        self._told.append((at, position))

    def _check(self, holds: bool, at: float, detail: str) -> None:
        self._ledger.check(Rule.POSITION, holds, at, self._person, detail)
