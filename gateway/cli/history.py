"""A user's history in a room, as ``gateway room history`` and ``gateway room find`` show it."""

from __future__ import annotations

from typing import Any

from gateway.cli.texts import escaped, moment

_WORDS = {
    "REGISTERED": "registered before the opening",
    "JOINED": "joined the line",
    "ADMITTED": "was admitted at once",
    "MOVED": "moved",
    "PARKED": "was parked, and keeps the ticket",
    "RETURNED": "returned to the line with the same ticket",
    "PROMOTED": "was admitted from the line",
    "CLAIMED": "claimed the slot",
    "FRONT": "was put in front of the line by an operator",
    "EXPIRED": "lost the slot: the session ended",
    "LEFT": "left",
    "REMOVED": "was removed",
}
_BECAUSE = {
    "ABSENT": "there was no sign of the user for too long",
    "UNCLAIMED": "the slot was not claimed in time",
    "SOLD_OUT": "an operator said that the room is sold out",
    "OPERATOR": "an operator did it, see the audit",
    "ELSEWHERE": "another system with the same Redis did it",
    "LANE": "the route file has the lane no longer, and the place is in lane default now",
    "TRANSFER": "slot or place went from one user to the other, by a sign-in or to another device",
}


def history_line(entry: dict[str, Any]) -> str:
    """One entry of a user's history in one line, with its codes and in words."""
    event, reason, ticket = entry["event"], entry["reason"], entry["ticket"]
    words = _WORDS.get(event, "")
    if event == "MOVED" and reason is None:
        words = "lined up again, and so moved to the end of the line"
    if reason is not None:
        words += f": {_BECAUSE.get(reason, reason)}"
    number = "" if ticket is None else f"ticket {ticket}"
    return escaped(f"{moment(entry['at'])}  {event:9} {number:14} {words}").replace("\n", "\\n").rstrip()
