"""The room as Redis has it, looked at again and again: the rules that two looks prove broken, without any grace."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from redis.asyncio import Redis

from gateway.demo.rules import Rule

# All in one call, since rules hold between calls only.
_LOOK = """
return {
  redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES'), redis.call('HKEYS', KEYS[2]),
  redis.call('ZRANGE', KEYS[3], 0, -1), redis.call('HGETALL', KEYS[4]),
}
"""
_KEYS = ("queue:wait", "allowedIn:users", "gw:{default}:activity", "gw:{default}:tally")
# What takes somebody out of the line or out of the room.
_WAYS_OUT = (b"left", b"evicted", b"removed", b"expired")


@dataclass(frozen=True, slots=True)
class Look:
    """One look. ``gone`` is how many have ever left or been removed, from line or room."""

    line: dict[bytes, float]
    inside: frozenset[bytes]
    index: frozenset[bytes]
    gone: int


async def look(client: Redis) -> Look:
    """Looks. Raises RedisError or OSError."""
    line, inside, index, tally = await client.eval(_LOOK, len(_KEYS), *_KEYS)
    counts = dict(zip(tally[::2], tally[1::2], strict=True))
    return Look(
        {user: float(ticket) for user, ticket in zip(line[::2], line[1::2], strict=True)},
        frozenset(inside),
        frozenset(index),
        sum(int(counts.get(way, 0)) for way in _WAYS_OUT),
    )


class RoomWatch:
    """Compares each look with the one before. ``say(rule, what)`` is called for each breach."""

    def __init__(self, capacity: int, say: Callable[[Rule, str], None]) -> None:
        self._capacity = capacity
        self._say = say
        self._before: Look | None = None
        self.looks = 0
        self.emptied = False
        """Set while the room is being emptied: what was before says nothing about what comes."""

    def renew(self) -> None:
        """The room has been emptied; what comes now counts again."""
        self._before = None
        self.emptied = False

    def see(self, now: Look) -> None:
        """Takes the next look."""
        if self.emptied:
            self._before = None
            return
        self.looks += 1
        before, self._before = self._before, now
        for rule, what in (*self._at_once(now), *(self._since(before, now) if before else ())):
            self._say(rule, what)

    def _at_once(self, now: Look) -> Iterator[tuple[Rule, str]]:
        if len(now.inside) > self._capacity:
            yield Rule.CAPACITY, f"{len(now.inside)} in, room for {self._capacity}"
        if both := now.inside & now.line.keys():
            yield Rule.LOST, f"{both} both in line and in"
        if now.inside != now.index:
            yield Rule.SESSION, f"index out of step: {now.inside ^ now.index}"
        if now.line and len(now.inside) < self._capacity:
            yield Rule.ORDER, f"{self._capacity - len(now.inside)} slots idle, {len(now.line)} waiting"
        if len(set(now.line.values())) < len(now.line):
            yield Rule.TICKETS, "a ticket was given out twice"

    def _since(self, before: Look, now: Look) -> Iterator[tuple[Rule, str]]:
        stayed = [ticket for user, ticket in now.line.items() if before.line.get(user) == ticket]
        first = min(stayed, default=None)
        for user in now.inside - before.inside:
            # Whoever was not in line before came after those who were, and still are.
            ticket = before.line.get(user)
            if first is not None and (ticket is None or ticket > first):
                yield Rule.ORDER, f"{user!r} with ticket {ticket} is in, and ticket {first} still waits"
        vanished = before.line.keys() - now.line.keys() - now.inside
        if len(vanished) > now.gone - before.gone:
            yield Rule.LOST, f"{len(vanished)} are gone, {now.gone - before.gone} have left or were removed"
