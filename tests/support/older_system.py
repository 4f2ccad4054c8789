"""What an older system did to a room: scripts that know three keys, and nothing of us."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field

import redis as sync_redis

from gateway.waiting_room.keys import RoomKeys

KEYS = "local line, inside, counter = KEYS[1], KEYS[2], KEYS[3] "

LINEUP = """
if redis.call('HEXISTS', inside, ARGV[1]) == 1 then return 0 end
if redis.call('HLEN', inside) < tonumber(ARGV[2]) then
  redis.call('HSET', inside, ARGV[1], ARGV[3])
  return 0
end
local ticket = redis.call('INCR', counter)
redis.call('ZADD', line, ticket, ARGV[1])
return ticket
"""

PROMOTE = """
local free = tonumber(ARGV[1]) - redis.call('HLEN', inside)
if free <= 0 then return {} end
local popped, users = redis.call('ZPOPMIN', line, free), {}
for at = 1, #popped, 2 do
  redis.call('HSET', inside, popped[at], ARGV[2])
  users[#users + 1] = popped[at]
end
return users
"""

SWEEP = """
local all, gone = redis.call('HGETALL', inside), {}
for at = 1, #all, 2 do
  if tonumber(ARGV[1]) - tonumber(all[at + 1]) >= tonumber(ARGV[2]) then
    redis.call('HDEL', inside, all[at])
    gone[#gone + 1] = all[at]
  end
end
return gone
"""

RENEW = """
if redis.call('HEXISTS', inside, ARGV[1]) == 0 then return 0 end
redis.call('HSET', inside, ARGV[1], ARGV[2])
return 1
"""


@dataclass
class OlderSystem:
    """Every call is one script or command, as the older system's was. Sessions are ``duration`` seconds."""

    client: sync_redis.Redis
    room: RoomKeys
    capacity: int
    duration: float
    entered: set[str] = field(default_factory=set)
    removed: set[str] = field(default_factory=set)
    """Whom it took out of line or hash by their own wish."""
    calls: int = 0

    def _run(self, script: str, *args: object) -> object:
        self.calls += 1
        keys = (self.room.line, self.room.inside, self.room.counter)
        return self.client.eval(KEYS + script, 3, *keys, *args)

    def lineup(self, user: str) -> object:
        """Lets the user in if there is room, whoever waits; else gives a ticket, also to one who has one."""
        self.entered.add(user)
        return self._run(LINEUP, user, self.capacity, int(time.time()))

    def promote(self) -> object:
        """Fills what is free. Nobody did it when a slot was freed, only now and then."""
        return self._run(PROMOTE, self.capacity, int(time.time()))

    def sweep(self) -> object:
        """Ends sessions that are over; it ran every five minutes."""
        return self._run(SWEEP, int(time.time()), self.duration)

    def renew(self, user: str) -> object:
        """The gate."""
        return self._run(RENEW, user, int(time.time()))

    def delete(self, user: str) -> None:
        """Gives up slot and place."""
        self.calls += 1
        self.removed.add(user)
        self.client.hdel(self.room.inside, user)
        self.client.zrem(self.room.line, user)

    def go_on(self, stop: threading.Event, seed: int, seconds: float, others: list[str]) -> None:
        """Its users come, go and renew, and it sweeps and promotes, until told to stop or the time is over.

        ``others`` are users of the new system who also come by here.
        """
        chance = random.Random(seed)
        limit = time.monotonic() + seconds
        number = 0
        while not stop.is_set() and time.monotonic() < limit:
            number += 1
            somebody = chance.choice([*sorted(self.entered - self.removed), *others])
            match chance.choices(("new", "again", "renew", "delete", "promote", "sweep"), (4, 2, 5, 3, 2, 1))[
                0
            ]:
                case "new":
                    self.lineup(f"old-{seed}-{number}")
                case "again":
                    self.lineup(somebody)
                case "renew":
                    self.renew(somebody)
                case "delete" if somebody not in others:
                    self.delete(somebody)
                case "promote":
                    self.promote()
                case _:
                    self.sweep()
            time.sleep(0.005)
