"""Two gateway processes on one Redis with its append-only file, services behind them, and people before them."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import redis as sync_redis

from gateway.waiting_room.keys import RoomKeys
from tests.faults.people import Person
from tests.support.gateway import ROUTES, Service, a_service
from tests.support.gateway_process import GatewayProcess, gateway_process
from tests.support.redis_server import RedisServer
from tests.support.tokens import Issuer, KeyServer, serving
from tests.waiting_room.rules import Seen, assert_rules, look

INTERVAL = 0.5
"""The status interval of all sites, in seconds."""
GRACE = 1.5
"""What a machine that does other things may add to it."""
KEYS = RoomKeys("", "default")

_PRELOAD = """
import gateway.waiting_room.presence as presence
presence.Presence.__init__.__kwdefaults__.update(beat=0.2, dead=1.0)
"""


def preloaded(folder: Path, text: str) -> dict[str, str]:
    """The environment that makes a Python process run ``text`` before anything else."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(text)
    return {"PYTHONPATH": str(folder)}


def quick_to_judge(folder: Path) -> dict[str, str]:
    """A gateway that takes others for dead after one second instead of ten."""
    return preloaded(folder, _PRELOAD)


@dataclass
class Site:
    """What is up. ``gateways`` may be killed and added to; people go to those that still run."""

    redis: RedisServer | None
    store: sync_redis.Redis
    service: Service
    issuer: Issuer
    keys: KeyServer
    session: aiohttp.ClientSession
    environ: dict[str, str]
    folder: Path
    stack: AsyncExitStack
    capacity: int
    duration: float
    gateways: list[GatewayProcess] = field(default_factory=list)
    people: list[Person] = field(default_factory=list)
    room: RoomKeys = KEYS

    def bases(self) -> Sequence[str]:
        """Addresses of the gateways that run."""
        return [each.base for each in self.gateways if each.process.returncode is None]

    async def add_gateway(
        self, environ: Mapping[str, str] | None = None, prefix: Sequence[str] = (), *, wait: bool = True
    ) -> GatewayProcess:
        """Starts one more. ``wait``: until it listens; a gateway that is to die may do so before."""
        running = gateway_process(self.environ | dict(environ or {}), self.folder, prefix=prefix, wait=wait)
        gateway = await self.stack.enter_async_context(running)
        self.gateways.append(gateway)
        return gateway

    def person(self, name: str, **claims: Any) -> Person:
        """Somebody who has done nothing yet."""
        person = Person(name, self.issuer.token(name, **claims), self.session, self.bases)
        self.people.append(person)
        return person

    async def crowd(self, count: int, prefix: str = "person") -> list[Person]:
        """So many people lined up one after the other, each with a stream that has had its first word."""
        people = [self.person(f"{prefix}-{number:03d}") for number in range(count)]
        for person in people:
            answer = await person.lineup()
            assert answer.status == 200, answer.body
        waiting = [person for person in people if not person.inside]
        for person in waiting:
            person.watch()
        await asyncio.gather(*(person.updated(10.0) for person in waiting))
        return people

    def look(self) -> Seen:
        """The room as Redis has it."""
        return look(
            SimpleNamespace(  # type: ignore[arg-type] - just what is looked at
                keys=self.room,
                lanes=(),
                client=self.store,
                capacity=self.capacity,
                duration=round(self.duration * 1000),
            )
        )

    # -- what must hold -------------------------------------------------------------------------------

    def assert_room(self) -> Seen:
        """The rules that Redis alone can prove, at any moment."""
        seen = self.look()
        assert_rules(seen)
        assert len(seen.inside) <= seen.capacity
        assert not seen.idle, f"{len(seen.inside)} in, {len(seen.line)} waiting"
        tickets = list(seen.line.values())
        assert tickets == sorted(set(tickets))
        assert not tickets or int(seen.counter or 0) >= max(tickets)
        return seen

    async def assert_truth(self, people: Iterable[Person], within: float = INTERVAL + GRACE) -> None:
        """Everybody's stream says within one interval what Redis says, and so does every gateway.

        Nobody may come or go meanwhile.
        """
        people = list(people)
        waiting = [person for person in people if person.ticket is not None and not person.inside]
        seen = self.assert_room()
        order = list(seen.line)
        for person in waiting:
            assert person.name in seen.line, f"{person.name} is lost"
            assert seen.line[person.name] == person.ticket, person.name
        truths = [
            {
                "ticket": person.ticket,
                "userQueuePosition": order.index(person.name) + 1,
                "totalQueueSize": len(order),
            }
            for person in waiting
        ]
        await asyncio.gather(
            *(person.says(truth, within) for person, truth in zip(waiting, truths, strict=True))
        )
        assert list(self.assert_room().line) == order
        for person in people:
            if person.inside:
                assert person.name in seen.inside, f"{person.name} was told to be in, and is not"
        for base in self.bases():
            for person in (*waiting[:1], *waiting[-1:]):
                answer = await person.status(base=base)
                assert answer.json["data"]["userQueuePosition"] == order.index(person.name) + 1

    async def assert_gate(self, people: Iterable[Person]) -> None:
        """At every gateway: who is in passes, who waits is told so, a stranger is refused."""
        people = list(people)
        stranger = self.person("stranger")
        insider = next(person for person in people if person.inside)
        waiting = next(person for person in people if person.ticket is not None)
        for base in self.bases():
            answers = [await person.gated(base=base) for person in (insider, waiting, stranger)]
            assert [answer.status for answer in answers] == [200, 429, 403]

    async def assert_moves_on(self, people: Iterable[Person], count: int | None = None) -> None:
        """Whoever is in leaves, and the next ones are told at once, strictly in the order of their tickets."""
        people = list(people)
        inside = [person for person in people if person.inside]
        line = sorted(
            (person for person in people if not person.inside and person.ticket is not None),
            key=lambda person: person.ticket or 0,
        )
        for person in line[:count]:
            answer = await inside.pop(0).leave()
            assert answer.status == 200, answer.body
            last = await person.told(INTERVAL + GRACE)
            assert last.name == "ALLOWED_IN", last
            assert last.id == "end"
            inside.append(person)
        self.assert_room()

    async def room_is(self, holds: Callable[[Seen], object], seconds: float, what: str) -> Seen:
        """Redis can't be waited for, so it is asked again and again."""
        limit = time.monotonic() + seconds
        while not holds(seen := self.look()):
            assert time.monotonic() < limit, f"not within {seconds:g} s: {what}; {seen}"
            await asyncio.sleep(0.02)
        return seen


def memory(gateway: GatewayProcess) -> float:
    """Resident memory in MB."""
    pages = int(Path(f"/proc/{gateway.process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def files_of(gateway: GatewayProcess) -> int:
    """How many files it has open."""
    return len(os.listdir(f"/proc/{gateway.process.pid}/fd"))


def settings_of(redis_url: str, keys: str, routes: Path, *, capacity: int, duration: float) -> dict[str, str]:
    """A gateway's environment: short times, and on a busy machine nobody is an overload."""
    return {
        "REDIS_URL": redis_url,
        "JWT_JWKS_URI": keys,
        "ROUTES_FILE": str(routes),
        "ALLOWED_IN_MAX_CAPACITY": str(capacity),
        "ALLOWED_IN_DURATION_SECONDS": str(duration),
        "QUEUE_STATUS_INTERVAL_SECONDS": str(INTERVAL),
        "SSE_HEARTBEAT_SECONDS": "1",
        "OVERLOAD_LAG_MS": "0",
        "ACCESS_LOG": "false",
        "SHUTDOWN_GRACE_SECONDS": "1.5",
    }


@asynccontextmanager
async def a_site(
    folder: Path,
    redis: RedisServer,
    *,
    gateways: int = 2,
    capacity: int = 2,
    duration: float = 60.0,
    routes: str = ROUTES,
    **settings: object,
) -> AsyncIterator[Site]:
    """Starts it all, and takes it down. ``settings`` are those of every gateway, in lower case."""
    issuer = Issuer()
    async with AsyncExitStack() as stack:
        keys = await stack.enter_async_context(serving(issuer))
        service = await stack.enter_async_context(a_service())
        routes_file = folder / "routes.yaml"
        routes_file.write_text(routes % {"service": service.url})
        environ = settings_of(redis.url, keys.uri, routes_file, capacity=capacity, duration=duration)
        environ |= {name.upper(): str(value) for name, value in settings.items()}
        session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        store = stack.enter_context(sync_redis.Redis.from_url(redis.url, decode_responses=True))
        async with AsyncExitStack() as processes:
            site = Site(
                redis, store, service, issuer, keys, session, environ, folder, processes, capacity, duration
            )
            # Streams and pooled connections go before the gateways, which would wait for them.
            processes_and_session = processes.push_async_callback
            await asyncio.gather(*(site.add_gateway() for _ in range(gateways)))
            processes_and_session(session.close)
            site.room = RoomKeys(environ.get("REDIS_KEY_PREFIX", ""), "default")
            try:
                yield site
            finally:
                await asyncio.gather(*(person.close() for person in site.people))
                # Before the gateways that were added later, too.
                await session.close()


StartSite = Callable[..., AbstractAsyncContextManager[Site]]
"""The fixture ``start_site``: ``a_site`` on a Redis of its own."""
