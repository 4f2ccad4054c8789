"""What many streams cost a gateway on one core, over its whole path: tokens it has never seen, presence, updates.

Everybody lines up at another gateway first, so the measured one knows nobody. Streams are opened a few at a time, each
with its first status; then they stay open while the wheel of status updates turns.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import resource
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop

from benchmarks import gateways, tokens, watched_gateway
from benchmarks.freed_slot import StreamReader
from benchmarks.load import Order, requests
from benchmarks.options import Options
from benchmarks.processes import Cores, Unavailable, resident
from benchmarks.report import Limit, Table, limits_table
from gateway.auth.visitors import VisitorCookies

_INTERVAL_SECONDS = 10.0
_TURNS = 3  # of the wheel, so that a heartbeat is among what is measured
_AT_ONCE = 64
_WARM = 200
_PATIENCE_SECONDS = 120.0
_SPARE_FILES = 200
_VISITORS_SECRET = "secret-of-the-visitors-in-benchmarks"
_MOST_VISITORS = 4000


@dataclass(slots=True)
class Figures:
    """What was found; seconds and bytes."""

    opened: int = 0
    opening: float = 0.0
    opening_cpu: float = 0.0
    memory: int = 0
    idle_share: float = 0.0
    share: float = 0.0
    frames: float = 0.0
    opening_hold: float = 0.0
    hold: float = 0.0
    visitors_memory: int = 0


class Watched:
    """The measured gateway."""

    def __init__(self, gateway: gateways.Gateway, file: Path) -> None:
        self.gateway = gateway
        self._file = file

    def cpu(self) -> float:
        """Seconds of CPU so far, all threads."""
        return self.gateway.process.cpu()

    def resident(self) -> int:
        """Bytes of memory it holds."""
        return resident(self.gateway.process.pid)

    async def share(self, seconds: float) -> float:
        """Which part of a core it uses."""
        began, before = time.perf_counter(), self.cpu()
        await asyncio.sleep(seconds)
        return (self.cpu() - before) / (time.perf_counter() - began)

    @contextlib.asynccontextmanager
    async def holds(self) -> AsyncIterator[list[float]]:
        """Yields a list, which has the longest turn of the loop meanwhile (seconds of CPU) behind the block."""
        self._file.unlink(missing_ok=True)
        found: list[float] = []
        os.kill(self.gateway.process.pid, signal.SIGUSR1)
        yield found
        os.kill(self.gateway.process.pid, signal.SIGUSR2)
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while not self._file.exists():
                await asyncio.sleep(0.02)
        found.append(float(self._file.read_text()))


def run(options: Options) -> list[Table]:
    """Open the streams and let the wheel turn."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _SPARE_FILES
    if options.streams > most:
        raise Unavailable(f"at most {most} streams: so many files may be open")
    if options.streams < 3 * _WARM:
        raise Unavailable(f"fewer than {3 * _WARM} streams say nothing")
    cores = Cores.split()
    signed = tokens.signed(tokens.users(options.streams + 1))
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gw-bench-")))
        jwks = stack.enter_context(tokens.jwks())
        stack.enter_context(gateways.redis_server(folder / "redis", cores.rest))
        settings = {
            "jwks": jwks,
            "redis_url": f"unix://{folder}/redis/redis.sock",
            "allowed_in_max_capacity": 1,
            "queue_status_interval_seconds": _INTERVAL_SECONDS,
            # Whoever lines up first may wait for longer until it is their turn to open a stream.
            "queue_absent_seconds": 0,
        }
        # As its own process: what the line-up leaves in memory is no part of a stream.
        with gateways.gateway(folder / "lineup", cores, **settings) as first:
            gateways.admit(first, signed[:1], cores)
            gateways.admit(first, signed[1:], cores)
        holds = folder / "holds"
        program = (watched_gateway.__file__, str(holds))
        measured = stack.enter_context(
            gateways.gateway(folder / "streams", cores, program=program, **settings)
        )
        stack.enter_context(_on(cores.rest))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            figures = runner.run(_measure(Watched(measured, holds), signed[1:]))
    figures.visitors_memory = _memory_of_visitors(min(options.streams, _MOST_VISITORS), cores)
    return [_table(options, figures)]


def _memory_of_visitors(streams: int, cores: Cores) -> int:
    """Bytes of memory of a visitor's stream at a gateway with so many."""
    jar = VisitorCookies((_VISITORS_SECRET,))
    cookies = [jar.new(secure=False).partition(";")[0] for _ in range(streams + 1)]
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gw-bench-")))
        jwks = stack.enter_context(tokens.jwks())
        stack.enter_context(gateways.redis_server(folder / "redis", cores.rest))
        settings = {
            "jwks": jwks,
            "redis_url": f"unix://{folder}/redis/redis.sock",
            "rooms": {"default": {"identity": "visitor"}},
            "visitor_secrets": _VISITORS_SECRET,
            "allowed_in_max_capacity": 1,
            "queue_status_interval_seconds": _INTERVAL_SECONDS,
            "queue_absent_seconds": 0,
        }
        with gateways.gateway(folder / "lineup", cores, **settings) as first:
            gateways.admit(first, (), cores, cookies=cookies[:1])
            gateways.admit(first, (), cores, cookies=cookies[1:])
        measured = stack.enter_context(gateways.gateway(folder / "streams", cores, **settings))
        stack.enter_context(_on(cores.rest))
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_memory(Watched(measured, folder / "holds"), cookies[1:]))


async def _memory(watched: Watched, cookies: Sequence[str]) -> int:
    people: list[StreamReader] = []
    try:
        at = iter(cookies)
        await _open(watched, itertools.islice(at, _WARM), people, by_cookie=True)
        before = watched.resident()
        await _open(watched, at, people, by_cookie=True)
        await asyncio.sleep(_INTERVAL_SECONDS)
        return (watched.resident() - before) // (len(cookies) - _WARM)
    finally:
        for person in people:
            person.transport.abort()  # type: ignore[attr-defined]


async def _measure(watched: Watched, signed: Sequence[str]) -> Figures:
    found = Figures()
    people: list[StreamReader] = []
    try:
        found.idle_share = await watched.share(2.0)
        at = iter(signed)
        await _open(watched, itertools.islice(at, _WARM), people)
        before = watched.resident()
        many = (len(signed) - _WARM) * 2 // 3
        began, cpu = time.perf_counter(), watched.cpu()
        await _open(watched, itertools.islice(at, many), people)
        found.opened = many
        found.opening = time.perf_counter() - began
        found.opening_cpu = watched.cpu() - cpu
        async with watched.holds() as holds:
            await _open(watched, at, people)
        found.opening_hold = holds[0]
        # One turn until what opening left to do is done.
        await asyncio.sleep(_INTERVAL_SECONDS)
        found.memory = (watched.resident() - before) // (len(signed) - _WARM)
        seen, began = _events(people), time.perf_counter()
        found.share = await watched.share(_TURNS * _INTERVAL_SECONDS)
        found.frames = (_events(people) - seen) / (time.perf_counter() - began)
        async with watched.holds() as holds:
            await asyncio.sleep(_TURNS * _INTERVAL_SECONDS)
        found.hold = holds[0]
        return found
    finally:
        for person in people:
            person.transport.abort()  # type: ignore[attr-defined]


async def _open(
    watched: Watched, signed: Iterator[str], people: list[StreamReader], *, by_cookie: bool = False
) -> None:
    """A stream for each token or cookie, ``_AT_ONCE`` of them under way at a time, until each has had its first
    status."""
    loop = asyncio.get_running_loop()
    port = watched.gateway.port

    async def some() -> None:
        for token in signed:
            who = {"cookies" if by_cookie else "tokens": (token,)}
            request = requests(Order(port, "GET", "/api/v1/queue/stream", **who))[0]
            _, person = await loop.create_connection(lambda: StreamReader(request), "127.0.0.1", port)  # noqa: B023 - called at once
            people.append(person)
            await person.opened

    try:
        async with asyncio.timeout(_PATIENCE_SECONDS), asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(some())
    except TimeoutError:
        raise Unavailable(f"only {len(people)} streams opened in {_PATIENCE_SECONDS:g} s") from None


def _events(people: Sequence[StreamReader]) -> int:
    return sum(person.events for person in people)


@contextlib.contextmanager
def _on(cores: frozenset[int]) -> Iterator[None]:
    """This process on ``cores`` for as long as it lasts."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _table(options: Options, found: Figures) -> Table:
    cost = found.opening_cpu / found.opened
    limits = [
        Limit("memory a stream, kB", found.memory / 1000, 4, 3),
        Limit("memory a visitor's stream, kB", found.visitors_memory / 1000, 4, 3),
        Limit("opens a second of CPU", 1 / cost, 4000, at_least=True),
        Limit("share of the core, % CPU", found.share * 100, 4, 2.5),
        Limit("longest hold of the loop, opening, ms CPU", found.opening_hold * 1000, 20, 10),
        Limit("longest hold of the loop, turning, ms CPU", found.hold * 1000, 20, 10),
    ]
    notes = [
        f"opens a second by the clock, with load and Redis on the other core: {found.opened / found.opening:,.0f}",
        f"frames a second while the wheel turned: {found.frames:,.0f}, CPU a frame: "
        f"{found.share / max(found.frames, 1) * 1e6:.1f} µs; share of the core without streams: "
        f"{found.idle_share * 100:.1f} %",
    ]
    title = (
        f"streams: {options.streams:,} at one gateway on one core, tokens never seen, status every "
        f"{_INTERVAL_SECONDS:g} s"
    )
    return limits_table(title, limits, notes)
