"""The report of a room: its numbers minute by minute, as ``includes/minutes.lua`` keeps them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, Self

from gateway.waiting_room.spread import ERRORS, WAITS, added
from gateway.waiting_room.state import Summary

MAX_MINUTES: Final = 1440
"""Minutes that Redis keeps: a day; ``includes/minutes.lua`` has the same number."""

_MINUTE_MS: Final = 60_000


class Minute(NamedTuple):
    """What happened in a room within a minute, or within several, and how the room stood at its end."""

    at: int
    """Its beginning, in epoch milliseconds."""
    arrivals: int = 0
    """Lineups that led to a place or a slot; those of a pre-queue count when it opens."""
    admissions: int = 0
    promoted: int = 0
    """Of these, admissions from the line."""
    left: int = 0
    """Users who gave up a slot or a place."""
    parked: int = 0
    """Times that an absent user was parked."""
    evicted: int = 0
    """Users who lost a place as absent, or for a slot that they did not claim."""
    waiting: int = 0
    inside: int = 0
    absent: int = 0
    """Parked users at the end of the minute."""
    waits: Mapping[int, int] = {}
    """Admissions from the line by the class of their wait, see ``WAITS``."""
    errors: Mapping[int, int] = {}
    """Admissions by the class of the error of the first estimate, see ``ERRORS``."""

    @classmethod
    def of(cls, numbers: Mapping[str, Any]) -> Self:
        """The minute with these numbers, as Redis holds them."""

        def count(name: str) -> int:
            value = numbers.get(name, 0)
            return int(value) if isinstance(value, int | float) else 0

        def classes(kind: str) -> dict[int, int]:
            found = (name.partition(":") for name in numbers if name.startswith(f"{kind}:"))
            return {int(at): count(f"{kind}:{at}") for _, _, at in found if at.isdecimal()}

        admitted, promoted = count("admitted"), count("promoted")
        return cls(
            at=count("minute") * _MINUTE_MS,
            arrivals=count("lineups") + max(0, admitted - promoted),
            admissions=admitted,
            promoted=promoted,
            left=count("left"),
            parked=count("parkings"),
            evicted=count("evicted") + count("unclaimed"),
            waiting=count("waiting"),
            inside=count("inside"),
            absent=count("absent"),
            waits=classes("wait"),
            errors=classes("error"),
        )

    def wait(self, share: float) -> float | None:
        """The wait in seconds that ``share`` of those admitted from the line did not exceed; None without any."""
        return WAITS.quantile(share, self.waits)

    @property
    def estimate_error(self) -> float | None:
        """The median, over users admitted while they had a stream, of how far the first estimate that they were shown
        was off, as a share of the real wait; None without any."""
        return ERRORS.quantile(0.5, self.errors)


class Report(NamedTuple):
    """How a room stands, and its minutes, as ``parse_report`` returns them."""

    summary: Summary
    minutes: list[Minute]


def parse_report(reply: Sequence[Any], minutes: int) -> list[Minute]:
    """The last ``minutes`` minutes, the oldest first and the one under way last, from the first in which something
    happened. Those in which nothing happened are in between."""
    present, under_way, *earlier = reply[1:]
    known: dict[int, Minute] = {}
    for text in (*earlier, under_way):
        found = Minute.of(json.loads(text))
        before = known.get(found.at)
        known[found.at] = found if before is None else together([before, found])
    last = present * _MINUTE_MS
    newest = known[max(known)]
    first = max(min(known), last - (minutes - 1) * _MINUTE_MS)
    # In a minute that is not known nothing happened, in a room without anyone. The present one goes on as the last.
    known.setdefault(last, Minute(last, waiting=newest.waiting, inside=newest.inside, absent=newest.absent))
    return [known.get(at) or Minute(at) for at in range(first, last + 1, _MINUTE_MS)]


def together(minutes: Sequence[Minute]) -> Minute:
    """Several minutes as one: counts are added, and the room stands as at the end of the last one."""
    last = minutes[-1]
    return last._replace(
        at=minutes[0].at,
        **{
            name: sum(getattr(minute, name) for minute in minutes)
            for name in ("arrivals", "admissions", "promoted", "left", "parked", "evicted")
        },
        waits=added(minute.waits for minute in minutes),
        errors=added(minute.errors for minute in minutes),
    )
