"""Calls of a room's scripts name the keys of its lanes; see ``lua_scripts/includes/lanes.lua``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from gateway.errors import QueueUnavailable
from gateway.waiting_room.keys import RoomKeys
from gateway.waiting_room.lanes import Lane, parse_lanes
from gateway.waiting_room.redis.connection import RedisConnection, Replication
from gateway.waiting_room.redis.wire import Argument
from gateway.waiting_room.scripts import Script

_REFUSED = re.compile(r"LANES ([\w:,-]+)", re.ASCII)


class LaneKeys:
    """The keys of the lanes that one room has, as far as this instance knows: from its route file, and from Redis.

    Another instance may have brought other lanes into force. Then the script answers which, and is called again.
    """

    def __init__(self, keys: RoomKeys, text: str) -> None:
        """``text``: lanes as in ``RoomRules``."""
        self._room = keys
        self._names: dict[str, None] = {}
        self._keys: tuple[str, ...] = ()
        self.add(text)

    def add(self, text: str) -> bool:
        """Names these lanes from now on, too. Returns whether one of them was new."""
        known = len(self._names)
        self._names.update((lane.name, None) for lane in _lanes(text))
        self._keys = self._room.of_lanes(self._names)
        return len(self._names) > known

    def wanted(self, lanes: Iterable[str]) -> str:
        """The lanes of users who line up, in their order, as scripts read them; empty if the room has none."""
        return " ".join(lanes) if self._names else ""

    async def run(
        self,
        link: RedisConnection,
        script: Script,
        keys: tuple[str, ...],
        args: Sequence[Argument],
        size: int = 1,
        replication: Replication | None = None,
    ) -> Any:
        """The reply of a script of the room. Raises QueueUnavailable."""
        try:
            return await link.run(script, (*keys, *self._keys), args, size, replication)
        except QueueUnavailable as error:
            found = _REFUSED.search(error.reason)
            if found is None or not self.add(found[1]):
                raise
        return await link.run(script, (*keys, *self._keys), args, size, replication)


def _lanes(text: str) -> tuple[Lane, ...]:
    try:
        return parse_lanes(text)
    except ValueError:
        return ()
