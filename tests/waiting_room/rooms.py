"""Rooms as a gateway runs them."""

from __future__ import annotations

from collections.abc import Callable

from gateway.waiting_room.configured import ConfiguredLimits, RoomPolicy
from gateway.waiting_room.keys import RoomKeys
from gateway.waiting_room.observer import NoObserver, RoomObserver
from gateway.waiting_room.redis.connection import Redis
from gateway.waiting_room.room import Room
from gateway.waiting_room.rules import DEFAULTS, RoomRules
from gateway.waiting_room.scripts import load_all

TIMEOUT = 5.0
"""Of each call to Redis, in seconds."""
SCRIPTS = load_all()


MakeRoom = Callable[..., Room]


def make_room(
    place: Redis,
    name: str = "default",
    capacity: int = 2,
    duration: float = 60,
    policy: RoomPolicy | None = None,
    observer: RoomObserver | None = None,
    rules: RoomRules = DEFAULTS,
) -> Room:
    """A room of one instance, not yet running."""
    return Room(
        place,
        SCRIPTS,
        RoomKeys("", name),
        ConfiguredLimits(capacity, duration, rules),
        policy or RoomPolicy(),
        observer or NoObserver(),
    )
