"""The faults of a soak: what each does, and for how long it may keep the truth from people."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.soak.fleet import Site
from tests.support.redis_client import open_redis

Do = Callable[[Site, random.Random], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Fault:
    """``do`` hurts the site, heals it and says what it did. ``weight``: how often it comes, on average, in one round.

    ``blinds``: nobody could be told anything meanwhile. ``forgets``: the room is as good as new afterwards.
    """

    name: str
    do: Do
    weight: float = 1.0
    blinds: bool = False
    forgets: bool = False


async def _kill_gateway(site: Site, rng: random.Random) -> str:
    await site.fleet.end_one(signal.SIGKILL)
    await asyncio.sleep(rng.uniform(0.0, 2.0))
    await site.fleet.start_one()
    return "a gateway was killed, and replaced"


async def _drain_gateway(site: Site, rng: random.Random) -> str:
    await asyncio.gather(site.fleet.start_one(), site.fleet.end_one(signal.SIGTERM))
    return "a gateway was replaced in order"


async def _stop_gateway(site: Site, rng: random.Random) -> str:
    gateway, seconds = rng.choice(site.fleet.running), rng.uniform(0.5, 2.0)
    gateway.send(signal.SIGSTOP)
    await asyncio.sleep(seconds)
    gateway.send(signal.SIGCONT)
    return f"a gateway stood still for {seconds:.1f} s"


async def _freeze_redis(site: Site, rng: random.Random) -> str:
    seconds = rng.uniform(0.5, 3.0)
    site.redis.freeze()
    await asyncio.sleep(seconds)
    site.redis.thaw()
    return f"Redis stood still for {seconds:.1f} s"


async def _restart_redis(site: Site, rng: random.Random) -> str:
    seconds = rng.uniform(0.0, 2.0)
    site.redis.kill()
    await asyncio.sleep(seconds)
    await asyncio.to_thread(site.redis.start)
    return f"Redis was killed and was away for {seconds:.1f} s"


async def _flush_redis(site: Site, rng: random.Random) -> str:
    async with open_redis(site.redis.url) as client:
        await client.flushall()
    return "Redis forgot everything"


async def _cut_events(site: Site, rng: random.Random) -> str:
    cuts = rng.randint(1, 8)
    async with open_redis(site.redis.url) as client:
        for _ in range(cuts):
            await client.client_kill_filter(_type="pubsub")
            await asyncio.sleep(rng.uniform(0.0, 0.3))
    return f"the line of events was cut {cuts} times"


async def _cut_calls(site: Site, rng: random.Random) -> str:
    async with open_redis(site.redis.url) as client:
        await client.client_kill_filter(_type="normal", skipme=True)
    return "all other connections to Redis were cut"


async def _forget_scripts(site: Site, rng: random.Random) -> str:
    async with open_redis(site.redis.url) as client:
        await client.script_flush()
    return "Redis forgot all scripts"


async def _ail(site: Site, rng: random.Random) -> str:
    seconds, mood = rng.uniform(0.3, 1.5), rng.choice(("hang", "break"))
    site.services.turn(mood)
    await asyncio.sleep(seconds)
    site.services.turn("well")
    return f"services did {mood} for {seconds:.1f} s"


async def _auth_ails(site: Site, rng: random.Random) -> str:
    seconds, mood = rng.uniform(0.3, 3.0), rng.choice(("hang", "break"))
    site.keys.turn(mood)
    await asyncio.sleep(seconds)
    site.keys.turn("well")
    return f"the auth server did {mood} for {seconds:.1f} s"


FAULTS = (
    Fault("gateway killed", _kill_gateway, 1.5),
    Fault("gateway drained", _drain_gateway),
    Fault("gateway stopped", _stop_gateway, blinds=True),
    Fault("redis frozen", _freeze_redis, 1.5, blinds=True),
    Fault("redis restarted", _restart_redis, 1.5, blinds=True),
    Fault("redis flushed", _flush_redis, 0.34, forgets=True),
    Fault("events cut", _cut_events, 1.5),
    Fault("calls cut", _cut_calls),
    Fault("scripts forgotten", _forget_scripts, 0.5),
    Fault("services ail", _ail),
    Fault("auth ails", _auth_ails),
)
