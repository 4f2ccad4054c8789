"""What rooms without anyone in them cost: a gateway with 1,000 rooms, 20 of them busy, beside one with 25 busy rooms.

A busy room has users inside and in line, and a caller who asks ten times a second. Both gateways run at the same time,
each with a Redis of its own, and are measured in turn.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.request import urlopen

from redis import Redis as Client

from benchmarks import gateways, tokens
from benchmarks.freed_slot import Caller
from benchmarks.load import Order, requests
from benchmarks.options import Options
from benchmarks.processes import Cores, Unavailable
from benchmarks.report import Limit, Table

ROOMS, BUSY, AGAINST = 1000, 20, 25
USERS: Final = 30
CAPACITY: Final = 10
CALLS_PER_SECOND: Final = 10
_AT_MOST: Final = 1.0
_WINDOW_SECONDS: Final = 10.0
"""At least: at so little load, a tick of the process's clock is a percent of a second's CPU."""
_QUIET_SECONDS: Final = 90.0
"""How long rooms without anyone in them may take until they run no more."""


@dataclass(slots=True)
class Side:
    """One of the two gateways, with what each measurement found: µs of CPU a second of the gateway and of Redis, and
    its connections to Redis."""

    name: str
    busy: Sequence[str]
    gateway: gateways.Gateway
    redis: Client
    cpu: list[float] = field(default_factory=list)
    redis_cpu: list[float] = field(default_factory=list)
    connections: int = 0


def run(options: Options) -> list[Table]:
    """Make the rooms, keep some of them busy, and measure."""
    cores = Cores.split()
    signed = tokens.signed(tokens.users(USERS))
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gw-bench-")))
        jwks = stack.enter_context(tokens.jwks())
        many = stack.enter_context(_side(folder / "many", cores, jwks, f"{ROOMS:,} rooms, {BUSY} busy", BUSY))
        few = stack.enter_context(_side(folder / "few", cores, jwks, f"{AGAINST} rooms, all busy", AGAINST))
        asyncio.run(_measure(many, few, signed, options))
    return [table(many, few)]


@contextlib.contextmanager
def _side(folder: Path, cores: Cores, jwks: str, name: str, busy: int) -> Iterator[Side]:
    with gateways.redis_server(folder / "redis", cores.rest) as redis:
        rooms = {"concert-*": {"capacity": CAPACITY, "duration": "2h"}}
        url = f"unix://{folder}/redis/redis.sock"
        with gateways.gateway(folder, cores, jwks=jwks, redis_url=url, rooms=rooms) as gateway:
            yield Side(name, [f"concert-busy-{number}" for number in range(busy)], gateway, redis)


async def _measure(many: Side, few: Side, signed: Sequence[str], options: Options) -> None:
    for side in (many, few):
        async with _caller(side) as caller:
            for room in side.busy:
                for token in signed:
                    await _call(caller, side, "POST", f"lineup?room={room}", token)
    async with _caller(many) as caller:
        for number in range(ROOMS - BUSY):
            await _call(caller, many, "POST", f"lineup?room=concert-idle-{number}", signed[0])
            await _call(caller, many, "DELETE", f"allowed-in-token?room=concert-idle-{number}", signed[0])
    await _until_quiet(many)
    callers = [
        asyncio.create_task(_keep_busy(side, room, signed[0])) for side in (many, few) for room in side.busy
    ]
    try:
        await asyncio.sleep(1.0)
        for _ in range(options.rounds):
            for side in (many, few):
                await _measure_once(side, max(options.seconds, _WINDOW_SECONDS))
        for caller in callers:
            if caller.done():
                caller.result()
    finally:
        for caller in callers:
            caller.cancel()
        await asyncio.gather(*callers, return_exceptions=True)


async def _measure_once(side: Side, seconds: float) -> None:
    began, cpu, redis_cpu = time.perf_counter(), side.gateway.process.cpu(), _cpu(side.redis)
    await asyncio.sleep(seconds)
    took = time.perf_counter() - began
    side.cpu.append((side.gateway.process.cpu() - cpu) / took * 1e6)
    side.redis_cpu.append((_cpu(side.redis) - redis_cpu) / took * 1e6)
    # But this one.
    side.connections = len(side.redis.client_list()) - 1


async def _until_quiet(side: Side) -> None:
    """Waits until no room runs but those with users in them."""
    address = f"http://127.0.0.1:{side.gateway.port}/actuator/rooms"
    loop = asyncio.get_running_loop()
    until = loop.time() + _QUIET_SECONDS
    shown = 0
    while loop.time() < until:
        shown = await loop.run_in_executor(None, _rooms_shown, address)
        if shown == 1 + len(side.busy):
            return
        await asyncio.sleep(1.0)
    raise Unavailable(f"{shown} rooms still run: {side.gateway.process.tail()}")


def _rooms_shown(address: str) -> int:
    with urlopen(address, timeout=30) as answer:
        return len(json.load(answer)["data"])


@contextlib.asynccontextmanager
async def _caller(side: Side) -> AsyncIterator[Caller]:
    loop = asyncio.get_running_loop()
    _, caller = await loop.create_connection(Caller, "127.0.0.1", side.gateway.port)
    try:
        yield caller
    finally:
        caller.transport.close()


async def _call(caller: Caller, side: Side, method: str, call: str, token: str) -> None:
    order = Order(side.gateway.port, method, f"/api/v1/queue/{call}", tokens=(token,))
    status = await caller.call(requests(order)[0])
    if status != 200:
        raise Unavailable(f"{method} {call} was answered with {status}")


async def _keep_busy(side: Side, room: str, token: str) -> None:
    async with _caller(side) as caller:
        while True:
            await _call(caller, side, "GET", f"status?room={room}", token)
            await asyncio.sleep(1 / CALLS_PER_SECOND)


def _cpu(client: Client) -> float:
    used: dict[str, Any] = client.info("cpu")
    return float(used["used_cpu_user"] + used["used_cpu_sys"])


def table(many: Side, few: Side) -> Table:
    """The costs of both, and their ratio: the median of the rounds' ratios."""
    rows = [
        [
            side.name,
            round(statistics.median(side.cpu)),
            round(statistics.median(side.redis_cpu)),
            side.connections,
        ]
        for side in (many, few)
    ]
    ratio = statistics.median(one / other for one, other in zip(many.cpu, few.cpu, strict=True))
    limit = Limit("the first, in CPU of the second", ratio, _AT_MOST)
    note = f"target: {limit.name} ≤ {_AT_MOST:g}: {ratio:.2f}, {limit.verdict}"
    title = f"rooms: {USERS} users in each busy room, {CALLS_PER_SECOND} calls a second to each"
    return Table(title, ("", "gateway µs/s", "Redis µs/s", "connections"), rows, [note])
