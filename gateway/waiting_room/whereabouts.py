"""Where one user stands, as operators see it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from gateway.waiting_room.history import ENDS, HistoryEntry, parse_history


class Whereabouts(NamedTuple):
    """The reply of the script ``find``. None where something is unknown or does not apply.

    ``since``: of the admission, or of parking. ``last_seen``: the last sighting in line, or the last gated request.
    Both in epoch milliseconds. ``instances``: those at which the user has an open stream.
    """

    state: str
    """``NONE``, ``REGISTERED``, ``WAITING``, ``PARKED`` or ``ALLOWED_IN``."""
    ticket: int | None
    position: int | None
    since: int | None
    last_seen: int | None
    endings: tuple[HistoryEntry, ...] = ()
    """When and why slots and places of the user ended, the last one first."""
    instances: tuple[str, ...] = ()


def parse_whereabouts(reply: Sequence[Any]) -> Whereabouts:
    """The parts of the reply that follow the summary."""
    state = reply[0].decode()
    ticket, position, since, last_seen = (None if number == b"" else int(number) for number in reply[1:5])
    endings = [each for each in parse_history(reply[5].decode("ascii", "replace")) if each.event in ENDS]
    return Whereabouts(state, ticket, position, since, last_seen, tuple(reversed(endings)))
