"""What a room is told of users who line up, by a call of their own or at its gate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gateway.waiting_room.invitation import Invitation
from gateway.waiting_room.keys import RoomKeys
from gateway.waiting_room.redis.wire import Argument


class Lineup(NamedTuple):
    """A user who is to be lined up, if there is no place yet."""

    user: str
    lane: str
    """In which one, if the user gets a new ticket."""
    invitation: Invitation | None = None
    """That of a user who is not eligible."""
    lines_up: bool = False
    """At the gate: also if the room's ``lineup`` is explicit."""


def invitations_of(keys: RoomKeys, lineups: Sequence[Lineup]) -> tuple[list[str], list[Argument] | None]:
    """The keys of the invitations that scripts get for users of whom one is not eligible, and what they get in place of
    the users. If all are eligible: no key and None."""
    if all(each.invitation is None for each in lineups):
        return [], None
    given = [(each.user, each.invitation) for each in lineups]
    arguments: list[Argument] = [
        part
        for user, found in given
        for part in ((user, found.uses, found.expires_at) if found else (user, "", ""))
    ]
    return [keys.invitation(found.id if found else "") for _, found in given], arguments
