"""A stand-in for an older gateway at work: it answers over HTTP, keeps its streams in memory, tells no others."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from redis.asyncio import Redis

from tests.support.listening import listening
from tests.support.older_system import KEYS, LINEUP
from tests.support.redis_client import open_redis

LINE, INSIDE, COUNTER = "queue:wait", "allowedIn:users", "queue:counter"
SWEEP_LOCK = "job-lock:default:allowedInUserIdsCleanup"
NOTIFICATIONS_LOCK = "job-lock:default:notifyQueueStatusUpdates"
KEPT = 0.8
"""A lock stands for this part of the time from one run to the next."""

_PASS_ON = """
local users = {}
for _ = 1, freed do
  local next = redis.call('ZPOPMIN', line)
  if not next[1] then break end
  redis.call('HSET', inside, next[1], ARGV[1])
  users[#users + 1] = next[1]
end
return users
"""

SWEEP = (
    """
local all, freed = redis.call('HGETALL', inside), 0
for at = 1, #all, 2 do
  if tonumber(all[at + 1]) < ARGV[1] - ARGV[2] then
    freed = freed + redis.call('HDEL', inside, all[at])
  end
end
"""
    + _PASS_ON
)

GIVE_UP = "local freed = redis.call('HDEL', inside, ARGV[2])" + _PASS_ON

_lock_values = itertools.count()


@dataclass
class OlderGateway:
    """One instance. Its sweep comes every ``sweep_every`` seconds, its notifications every ``notify_every``."""

    redis: Redis
    capacity: int
    duration: float
    sweep_every: float
    notify_every: float
    base: str = ""
    promoted: list[str] = field(default_factory=list)
    """Users whom its own scripts took from the line, in that order."""
    sweeps: int = 0
    _streams: dict[str, asyncio.Queue[tuple[str, Any]]] = field(default_factory=dict)
    _transports: set[asyncio.Transport] = field(default_factory=set)
    _dead: bool = False

    async def _run(self, script: str, *args: object) -> Any:
        return await self.redis.eval(KEYS + script, 3, LINE, INSIDE, COUNTER, *args)  # type: ignore[misc]

    def _admitted(self, users: list[str]) -> None:
        """Tells those who have a stream here, and nobody else."""
        self.promoted += users
        for user in users:
            if user in self._streams:
                self._streams[user].put_nowait(("ALLOWED_IN", {"message": "Enter."}))

    async def lineup(self, request: web.Request) -> web.Response:
        ticket = await self._run(LINEUP, _user_of(request), self.capacity, int(time.time()))
        return web.json_response({"success": True, "data": None, "message": f"{ticket}"})

    async def status(self, request: web.Request) -> web.Response:
        return web.json_response({"success": True, "data": await self._place(_user_of(request))})

    async def _place(self, user: str) -> dict[str, int] | None:
        rank, size = await self.redis.zrank(LINE, user), await self.redis.zcard(LINE)
        return None if rank is None else {"totalQueueSize": size, "userPosition": rank + 1}

    async def reserve(self, request: web.Request) -> web.Response:
        """The gate: whoever is in the hash passes, and stays for longer."""
        user = _user_of(request)
        if not await self.redis.hexists(INSIDE, user):
            return web.json_response({}, status=403)
        await self.redis.hset(INSIDE, user, str(int(time.time())))
        return web.json_response({})

    async def give_up(self, request: web.Request) -> web.Response:
        self._admitted(await self._run(GIVE_UP, int(time.time()), _user_of(request)))
        return web.json_response({"success": True})

    async def stream(self, request: web.Request) -> web.StreamResponse:
        user = _user_of(request)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        if request.transport is not None:
            self._transports.add(request.transport)
        news: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        try:
            await response.prepare(request)
            if await self.redis.hexists(INSIDE, user):
                news.put_nowait(("ALLOWED_IN", {"message": "Enter."}))
            else:
                self._streams[user] = news
                news.put_nowait(("STATUS_UPDATE", await self._place(user)))
            name = ""
            while name != "ALLOWED_IN":
                name, data = await news.get()
                await response.write(f"event: {name}\ndata: {json.dumps(data)}\n\n".encode())
            return response
        except (asyncio.CancelledError, ConnectionError):
            # Whoever closes the stream gives the place up, unless this process died before.
            if not self._dead:
                await asyncio.shield(self.redis.zrem(LINE, user))
            raise
        finally:
            if self._streams.get(user) is news:
                del self._streams[user]

    async def sweep(self) -> None:
        """Ends sessions that are over, and gives each of their slots to the next in line."""
        self._admitted(await self._run(SWEEP, int(time.time()), self.duration))
        self.sweeps += 1

    async def notify(self) -> None:
        """Tells everybody with a stream here where they stand."""
        users = await self.redis.zrange(LINE, 0, -1)
        for at, user in enumerate(users):
            if user in self._streams:
                place = {"totalQueueSize": len(users), "userPosition": at + 1}
                self._streams[user].put_nowait(("STATUS_UPDATE", place))

    async def _every(self, seconds: float, lock: str, job: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(seconds)
            value = f"ADDED:{next(_lock_values)}@host"
            if await self.redis.set(lock, value, nx=True, px=int(seconds * KEPT * 1000)):
                await job()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Serves until the end, or until it is killed."""
        app = web.Application()
        app.router.add_post("/api/v1/queue/lineup", self.lineup)
        app.router.add_get("/api/v1/queue/status", self.status)
        app.router.add_get("/api/v1/queue/stream", self.stream)
        app.router.add_delete("/api/v1/queue/allowed-in-token", self.give_up)
        app.router.add_post("/api/v1/reservations", self.reserve)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        async with listening(runner) as self.base:
            self._jobs = [
                asyncio.create_task(self._every(self.sweep_every, SWEEP_LOCK, self.sweep)),
                asyncio.create_task(self._every(self.notify_every, NOTIFICATIONS_LOCK, self.notify)),
            ]
            try:
                yield
            finally:
                await self.kill()

    async def kill(self) -> None:
        """As ``kill -9`` would: nothing more is done, and every connection breaks."""
        self._dead = True
        for job in self._jobs:
            job.cancel()
        await asyncio.gather(*self._jobs, return_exceptions=True)
        for transport in self._transports:
            transport.abort()


@contextlib.asynccontextmanager
async def older_gateway(redis_url: str, **options: Any) -> AsyncIterator[OlderGateway]:
    """One that runs."""
    async with open_redis(redis_url, decode_responses=True) as client:
        older = OlderGateway(client, **options)
        async with older.running():
            yield older


def _user_of(request: web.Request) -> str:
    payload = request.headers["Authorization"].split(".")[1]
    return str(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["sub"])
