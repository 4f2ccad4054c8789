"""What happened to one user in a room. The scripts keep it, see ``includes/history.lua``."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

MAX_ENTRIES: Final = 50
"""Entries that a room keeps of a user; ``includes/history.lua`` has the same number."""

EVENTS: Final = (
    "REGISTERED",
    "JOINED",
    "ADMITTED",
    "MOVED",
    "PARKED",
    "RETURNED",
    "PROMOTED",
    "CLAIMED",
    "FRONT",
    "EXPIRED",
    "LEFT",
    "REMOVED",
)
"""``ADMITTED``: at once, without a place in line. ``PROMOTED``: from the line. ``MOVED``: lined up again, to the end of
the line, or got another user's slot or place. ``FRONT``: an operator put the user in front of all others."""

REASONS: Final = ("ABSENT", "OPERATOR", "SOLD_OUT", "UNCLAIMED", "ELSEWHERE", "TRANSFER", "LANE")
"""``ELSEWHERE``: another system with the same Redis did it. ``TRANSFER``: slot or place went on to another user, or
came from one: a visitor has signed in, or goes on at another device. ``LANE``: the user's lane was taken out of the
route file, and the place is now in lane ``default``."""

ENDS: Final = frozenset({"EXPIRED", "LEFT", "REMOVED"})
"""Events after which a user has neither slot nor place."""

_ENTRY = re.compile("([0-9a-f]{1,14})\\.(-?[0-9a-f]{1,14}) ([A-Z_]+)(?: ([A-Z_]+))?[,;]")


class HistoryEntry(NamedTuple):
    """One change of a user's state. ``at`` in epoch milliseconds. ``reason`` and ``ticket`` are None where there is
    none."""

    at: int
    event: str
    reason: str | None
    ticket: int | None


def parse_history(text: str) -> list[HistoryEntry]:
    """The entries of a text, the oldest first. Ignores what is no entry. An entry of a later version may have words
    that are not listed here."""
    return [
        HistoryEntry(int(at, 16), event, reason or None, int(ticket, 16) or None)
        for at, ticket, event, reason in _ENTRY.findall(text)
    ]
