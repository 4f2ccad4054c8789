"""Names of a room's keys in Redis, in one place.

Room ``default`` keeps the three keys that older systems use. All other keys begin with ``gw:{room}:``; the braces keep
a room other than ``default`` in one slot of Redis Cluster.
"""

from __future__ import annotations

DEFAULT_ROOM = "default"


class RoomKeys:
    """The keys of one room. ``prefix`` is put before each of them."""

    def __init__(self, prefix: str, room: str) -> None:
        self.prefix = prefix
        self.room = room
        own = f"{prefix}gw:{{{room}}}:"
        if room == DEFAULT_ROOM:
            self.line = f"{prefix}queue:wait"
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
        self.lineups = own + "lineups"
        self.last_lineups = own + "last-lineups"
        self.registered = own + "registered"
        self.draw = own + "draw"
        self.drawn = own + "drawn"
        self.audit = own + "audit"
        self.watch = own + "watch"
        self.instances = own + "instances"
        self.sweep_lock = own + "sweep-lock"
        self.mark = own + "mark"
        self.events = own + "events"
        self._here = own + "here:"
        self._invitation = own + "invitation:"

    def invitation(self, identifier: str) -> str:
        """How often the invitation has been used; it expires with it."""
        return self._invitation + identifier

    def here(self, instance: str) -> str:
        """The set of users with an open stream at ``instance``."""
        return self._here + instance

    @property
    def common(self) -> tuple[str, ...]:
        """KEYS[1] to KEYS[16] of every script of a room, in the order of ``includes/room.lua``."""
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
            self.registered,
        )
