"""Names of a room's keys in Redis, in one place.

Room ``default`` keeps the three keys that older systems use. All other keys begin with ``gw:{room}:``. In a Redis
Cluster the braces keep a room in one slot, and spread rooms over the nodes. There room ``default`` has such keys only,
unless the prefix has a hash tag, which keeps all rooms in one slot.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

DEFAULT_ROOM = "default"


_OLD_LINE = "queue:wait"


def _hashed(client: str) -> str:
    """What stands for an address or a user in the name of a key."""
    return sha256(client.encode()).hexdigest()[:32]


def has_hash_tag(prefix: str) -> bool:
    """Whether Redis Cluster keeps all keys with this prefix in one slot."""
    tag, end, _ = prefix.partition("{")[2].partition("}")
    return bool(tag and end)


class DirectoryKeys:
    """The keys of the list of rooms that calls have made. They are in the slot of room ``default``."""

    def __init__(self, prefix: str) -> None:
        own = f"{prefix}gw:{{{DEFAULT_ROOM}}}:rooms"
        self.rooms = own
        self.version = own + "-version"
        self.at_work = own + "-at-work"
        self._of_client = own + "-of:"

    def of_client(self, client: str) -> str:
        """The rooms that this client has made. The key holds a hash of the client alone."""
        return self._of_client + _hashed(client)


class RoomKeys:
    """The keys of one room. ``prefix`` is put before each of them. ``cluster``: they are in a Redis Cluster."""

    def __init__(self, prefix: str, room: str, *, cluster: bool = False) -> None:
        self.prefix = prefix
        self.room = room
        own = f"{prefix}gw:{{{room}}}:"
        if room == DEFAULT_ROOM and (not cluster or has_hash_tag(prefix)):
            self.line = prefix + _OLD_LINE
            self.inside = f"{prefix}allowedIn:users"
            self.counter = f"{prefix}queue:counter"
        else:
            self.line = own + "line"
            self.inside = own + "inside"
            self.counter = own + "counter"
        self.settings = own + "settings"
        self.activity = own + "activity"
        self.absent = own + "absent"
        self.streams = own + "streams"
        self.pace = own + "pace"
        self.tally = own + "tally"
        self.since = own + "since"
        self.marks = own + "marks"
        self.parked = own + "parked"
        self.tickets = own + "tickets"
        self.claims = own + "claims"
        self.missed = own + "missed"
        self.history = own + "history"
        self.ended = own + "ended"
        self.lineups = own + "lineups"
        self.last_lineups = own + "last-lineups"
        self.registered = own + "registered"
        self.draw = own + "draw"
        self.drawn = own + "drawn"
        self.audit = own + "audit"
        self.watch = own + "watch"
        self.minutes = own + "minutes"
        self.instances = own + "instances"
        self.sweep_lock = own + "sweep-lock"
        self.mark = own + "mark"
        self.events = own + "events"
        self._here = own + "here:"
        self._several = own + "several:"
        self._about = own + "about:"
        self._invitation = own + "invitation:"
        self._address = own + "address:"
        self._lanes = own + "lanes"
        self._lane = own + "lane:"

    def about(self, instance: str) -> str:
        """What ``instance`` reports of itself; it expires without a heartbeat."""
        return self._about + instance

    def invitation(self, identifier: str) -> str:
        """How often the invitation has been used; it expires with it."""
        return self._invitation + identifier

    def of_lanes(self, names: Iterable[str]) -> tuple[str, ...]:
        """The last keys of every script of a room with these lanes beside ``default``, as ``includes/lanes.lua`` has
        them; none without lanes."""
        lanes = tuple(self._lane + name for name in names)
        return (self._lanes, *lanes) if lanes else ()

    @property
    def shared(self) -> bool:
        """Whether an older system would use the same three keys."""
        return self.line == _OLD_LINE

    def here(self, instance: str) -> str:
        """The set of users with an open stream at ``instance``."""
        return self._here + instance

    def several(self, instance: str) -> str:
        """How many streams users have open at ``instance``, of those who have more than one."""
        return self._several + instance

    def neighbours(self, address: str) -> str:
        """The visitors who lined up from this address, of which the key holds a hash alone."""
        return self.of_address(_hashed(address))

    def of_address(self, hashed: str) -> str:
        """``neighbours`` of an address, by its hash."""
        return self._address + hashed

    @property
    def others(self) -> tuple[str, ...]:
        """The keys that are not in ``common`` and have one name each."""
        known = {
            self.prefix,
            self.room,
            *self.common,
            self.events,
            self.sweep_lock,
            self.instances,
            self.drawn,
        }
        return tuple(key for name, key in vars(self).items() if not name.startswith("_") and key not in known)

    @property
    def common(self) -> tuple[str, ...]:
        """KEYS[1] to KEYS[18] of every script of a room, in the order of ``includes/room.lua``."""
        return (
            self.line,
            self.inside,
            self.counter,
            self.settings,
            self.activity,
            self.absent,
            self.streams,
            self.pace,
            self.tally,
            self.since,
            self.marks,
            self.parked,
            self.tickets,
            self.claims,
            self.missed,
            self.history,
            self.ended,
            self.registered,
        )
