"""A gateway that is killed at each step of an opening, before the step or right after it; another one goes on."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path

import pytest
import redis as sync_redis

from gateway.draw.formulas import entry_of, order_key, salt_of, seed_of
from gateway.waiting_room.configured import ConfiguredLimits, RoomPolicy
from gateway.waiting_room.keys import RoomKeys
from gateway.waiting_room.observer import NoObserver
from gateway.waiting_room.redis.connection import Redis
from gateway.waiting_room.room import Room
from gateway.waiting_room.rules import Prequeue, RoomRules
from gateway.waiting_room.scripts import load_all
from gateway.waiting_room.state import StateKind
from tests.faults.site import StartSite, preloaded

USERS = 600
"""Three steps of placing."""
STEPS = ("draw", "rank", "open 0", "open 256", "open 512")
"""What a gateway calls in an opening: a script, and for ``open`` how many users are placed before."""

_PRELOAD = """
import os, signal
from gateway.waiting_room.redis.connection import RedisConnection

run, fatal, before = RedisConnection.run, {fatal!r}, {before!r}

async def killed(self, script, keys, args, *rest, **options):
    name = script.name
    # ARGV: four of the room, then the moment, the digest and how many were placed before.
    name += f" {{args[6]}}" if name == "open" else ""
    if before and name == fatal:
        os.kill(os.getpid(), signal.SIGKILL)
    reply = await run(self, script, keys, args, *rest, **options)
    if name == fatal:
        os.kill(os.getpid(), signal.SIGKILL)
    return reply

RedisConnection.run = killed
"""


def killer(folder: Path, step: str, *, before: bool) -> dict[str, str]:
    """The environment of a gateway that is killed at this step."""
    return preloaded(folder, _PRELOAD.format(fatal=step, before=before))


def room_name(step: str, before: bool) -> str:
    return f"{step.replace(' ', '-')}-{'before' if before else 'after'}"


CASES = [(step, before) for step in STEPS for before in (True, False)]


def routes(*names: str) -> str:
    """A file with these rooms; ``opens_at`` is an operator's."""
    rooms = ", ".join(f"{name}: {{capacity: 3, prequeue: {{from: 1h, order: draw}}}}" for name in names)
    return f"routes: []\nrooms: {{{rooms}}}\n"


async def gathered(url: str) -> None:
    """All rooms have their users registered, and an operator has moved the opening to now."""
    limits = ConfiguredLimits(
        3, 60.0, RoomRules(opens_at=time.time() + 600, prequeue=3600.0), prequeue=Prequeue("draw")
    )
    for case in CASES:
        # No gateway: it opens nothing by itself.
        keys = RoomKeys("", room_name(*case))
        room = Room(Redis(url, 5.0), load_all(), keys, limits, RoomPolicy(), NoObserver())
        async with room.running():
            states = await asyncio.gather(*(room.lineup(f"user-{number}") for number in range(USERS)))
            assert {state.kind for state in states} == {StateKind.REGISTERED}
            await room.operations.set_limits(rules={"opens_at": time.time() - 1})


def drawn_order(store: sync_redis.Redis, keys: RoomKeys) -> list[str]:
    """The order that the draw must have, computed in another way."""
    stored = store.hgetall(keys.draw)
    salt_key, secret = bytes.fromhex(stored["salt_key"]), bytes.fromhex(stored["secret"])
    users = [f"user-{number}" for number in range(USERS)]
    entries = {entry_of(keys.room, user, salt_of(salt_key, user)): user for user in users}
    seed = seed_of(secret, bytes.fromhex(stored["root"]))
    return [entries[entry] for entry in sorted(entries, key=lambda entry: order_key(seed, entry))]


def check_before_the_end(store: sync_redis.Redis, keys: RoomKeys) -> None:
    """Nobody is admitted before all are placed, and no user has two places."""
    phase, *numbers = store.hget(keys.settings, "opening").split()
    placed = int(numbers[3])
    line = store.zrange(keys.line, 0, -1, withscores=True)
    if phase == "open":
        assert placed == USERS
        return
    assert store.hlen(keys.inside) == 0
    assert [ticket for _, ticket in line] == list(range(1, placed + 1))
    assert store.zcard(keys.registered) == USERS


def check_opened(store: sync_redis.Redis, keys: RoomKeys) -> None:
    """Every user has exactly the ticket of the draw, and the first ones are in."""
    order = drawn_order(store, keys)
    assert set(store.hgetall(keys.inside)) == set(order[:3])
    line = store.zrange(keys.line, 0, -1, withscores=True)
    assert line == [(user, float(rank)) for rank, user in enumerate(order, 1) if rank > 3]
    assert store.get(keys.counter) == str(USERS)
    assert store.hget(keys.tally, "lineups") == str(USERS)
    assert store.hget(keys.tally, "admitted") == "3"
    assert store.exists(keys.registered) == 0


@pytest.mark.timeout(180)
async def test_an_opening_survives_kill_9_at_every_step(start_site: StartSite, tmp_path: Path) -> None:
    async with start_site(gateways=0) as site:
        await gathered(site.environ["REDIS_URL"])
        for number, case in enumerate(CASES):
            step, before = case
            file = tmp_path / f"{number}.yaml"
            file.write_text(routes(room_name(*case)))
            environ = {
                "ROUTES_FILE": str(file),
                **killer(tmp_path / f"preload-{number}", step, before=before),
            }
            killed = await site.add_gateway(environ, wait=False)
            assert await killed.ended() == -signal.SIGKILL, killed.lines
            check_before_the_end(site.store, RoomKeys("", room_name(*case)))
        file.write_text(routes(*(room_name(*case) for case in CASES)))
        survivor = await site.add_gateway({"ROUTES_FILE": str(file)})
        for case in CASES:
            keys = RoomKeys("", room_name(*case))
            await opened(site.store, keys)
            check_opened(site.store, keys)
        assert survivor.process.returncode is None


async def opened(store: sync_redis.Redis, keys: RoomKeys, seconds: float = 30.0) -> None:
    """Redis can't be waited for, so it is asked again and again."""
    async with asyncio.timeout(seconds):
        while not store.hget(keys.settings, "opening").startswith("open "):
            await asyncio.sleep(0.02)
