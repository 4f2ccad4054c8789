"""Where one user stands, as operators see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from gateway.waiting_room.history import ENDS, HistoryEntry, parse_history


class Whereabouts(NamedTuple):
    """The reply of the script ``find``. None where something is unknown or does not apply.

    ``since``: of the admission, or of parking. ``last_seen``: the last sighting in line, or the last gated request.
    Both in epoch milliseconds. ``streams``: how many the user has open, by instance.
    """

    state: str
    """``NONE``, ``REGISTERED``, ``WAITING``, ``PARKED`` or ``ALLOWED_IN``."""
    ticket: int | None
    position: int | None
    since: int | None
    last_seen: int | None
    endings: tuple[HistoryEntry, ...] = ()
    """When and why slots and places of the user ended, the last one first."""
    streams: Mapping[str, int] = {}
    lane: str | None = None
    """Of a user in line, parked or registered, if the room has lanes."""


def parse_whereabouts(reply: Sequence[Any]) -> Whereabouts:
    """The parts of the reply that follow the summary."""
    state = reply[0].decode()
    ticket, position, since, last_seen = (None if number == b"" else int(number) for number in reply[1:5])
    endings = [each for each in parse_history(reply[5].decode("ascii", "replace")) if each.event in ENDS]
    lane = reply[6].decode() or None
    return Whereabouts(state, ticket, position, since, last_seen, tuple(reversed(endings)), lane=lane)


def count_of(stored: bytes | None) -> int:
    """How many streams a user has at an instance that has some, from what the instance has said; one unless it has said
    more."""
    text = (stored or b"").decode("ascii", "replace")
    return max(1, int(text)) if text.isdecimal() and len(text) < 10 else 1
