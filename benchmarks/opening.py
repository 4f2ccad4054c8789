"""The opening of a room with 100,000 registered users: how long it takes, and for how long it holds Redis and the
gateway's event loop at a time. By a draw, and by arrival."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

from redis import Redis as Client

from benchmarks.gateways import redis_server
from benchmarks.options import Options
from benchmarks.processes import Cores
from benchmarks.report import Limit, Table, limits_table
from gateway.waiting_room.configured import ConfiguredLimits, RoomPolicy
from gateway.waiting_room.keys import RoomKeys
from gateway.waiting_room.observer import NoObserver
from gateway.waiting_room.redis.connection import Redis
from gateway.waiting_room.room import Room
from gateway.waiting_room.rules import Prequeue, RoomRules
from gateway.waiting_room.scripts import load_all
from gateway.waiting_room.state import Phase

USERS = 100_000
Order = Literal["draw", "arrival"]
_ORDERS: tuple[Order, ...] = ("draw", "arrival")
_OPENING_SECONDS, _HELD_MS, _STALL_MS = 5.0, 10.0, 20.0
_AT_ONCE = 5_000
_LOOK_SECONDS, _TURN_SECONDS = 0.02, 0.001


class Opening(NamedTuple):
    """What one opening took: seconds by the clock and of CPU, and the milliseconds for which the longest command held
    Redis, and the longest turn the event loop."""

    seconds: float
    cpu: float
    redis_ms: float
    loop_ms: float


def run(options: Options) -> list[Table]:
    """Openings of each kind."""
    return [_table(order, options.rounds) for order in _ORDERS]


def _table(order: Order, rounds: int) -> Table:
    # Other processes only add time: the fastest of the rounds says most.
    measured = [asyncio.run(_measured(order)) for _ in range(rounds)]
    seconds, cpu, redis_ms, loop_ms = (min(one) for one in zip(*measured, strict=True))
    limits = [
        Limit("seconds", seconds, _OPENING_SECONDS),
        Limit("seconds of CPU, gateway and Redis", cpu, _OPENING_SECONDS),
        Limit("Redis held, ms", redis_ms, _HELD_MS),
        Limit("event loop held, ms of CPU", loop_ms, _STALL_MS),
    ]
    return limits_table(f"opening: {USERS:,} registered users, by {order}", limits)


async def _measured(order: Order) -> Opening:
    with tempfile.TemporaryDirectory(prefix="gw-bench-") as name:
        folder = Path(name)
        with redis_server(folder, Cores.split().server) as client:
            async with _room(folder, order) as room:
                await _register(room)
                await room.operations.set_limits(rules={"opens_at": time.time() - 1})
                # The close belongs to it.
                client.config_set("slowlog-log-slower-than", 0)
                client.config_set("slowlog-max-len", 10_000)
                client.slowlog_reset()
                steps: list[float] = []
                watching = asyncio.create_task(_watch(steps))
                began, cpu = time.perf_counter(), _cpu(client)
                # From here on the room goes on by itself.
                await room.sweep()
                while (await room.opener.record()).phase is not Phase.OPEN:
                    await asyncio.sleep(_LOOK_SECONDS)
                seconds = time.perf_counter() - began
                cpu = _cpu(client) - cpu
                watching.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await watching
                assert client.zcard(room.keys.line) + client.hlen(room.keys.inside) == USERS
                return Opening(seconds, cpu, _held(client), 1000 * max(steps))


@contextlib.asynccontextmanager
async def _room(folder: Path, order: Order) -> AsyncIterator[Room]:
    """A room of which no instance takes care but the benchmark."""
    rules = RoomRules(opens_at=time.time() + 3600, prequeue=7200)
    limits = ConfiguredLimits(100, 240, rules, prequeue=Prequeue(order))
    redis = Redis(f"unix://{folder / 'redis.sock'}", 30.0)
    room = Room(redis, load_all(), RoomKeys("", "sale"), limits, RoomPolicy(), NoObserver())
    async with room.running():
        yield room


async def _register(room: Room) -> None:
    for first in range(0, USERS, _AT_ONCE):
        # As long as the ids of many auth servers, which are UUIDs.
        users = (f"{number:036d}" for number in range(first, first + _AT_ONCE))
        await asyncio.gather(*(room.lineup(user) for user in users))


async def _watch(steps: list[float]) -> None:
    """Seconds of CPU of each turn of the event loop: by the clock they would be those of other processes, too."""
    while True:
        began = time.thread_time()
        await asyncio.sleep(_TURN_SECONDS)
        steps.append(time.thread_time() - began)


def _cpu(client: Client) -> float:
    """Seconds of CPU that this process and Redis have had."""
    used: dict[str, Any] = client.info("cpu")
    return time.process_time() + used["used_cpu_user"] + used["used_cpu_sys"]


def _held(client: Client) -> float:
    """Milliseconds of the longest command."""
    entries: list[Any] = client.slowlog_get(10_000)
    return max(entry["duration"] for entry in entries) / 1000
