"""From a freed slot to ALLOWED_IN at the stream of the next, while status updates go on.

Two gateways share one Redis; the people in line have a stream each, turn about at the one and the other. One slot
goes round: who holds it gives it up at the instance where the next one's stream is, or at the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import resource
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import uvloop

from benchmarks import gateways, tokens
from benchmarks.load import Order, answer_size, requests
from benchmarks.options import Options
from benchmarks.processes import Cores, Unavailable
from benchmarks.report import Limit, Table, percentile

SAME, OTHER = "by the same instance", "by another instance"
_OPENED_AT_ONCE = 50
_PATIENCE_SECONDS = 10.0
# Of each wait for the next free slot: the wheel of status updates is met at every point of its turn.
_PAUSE_SECONDS = 0.013
_SPARE_FILES = 200
_AT_MOST_MS, _GOAL_MS = 20.0, 7.0


class StreamReader(asyncio.Protocol):
    """One person's stream; throws away all but the news that they are in."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._tail = b""
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = loop.create_future()
        self.admitted: asyncio.Future[float] = loop.create_future()
        self.events = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        transport.write(self._request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        seen = self._tail + data
        self.events += seen.count(b"event: ") - self._tail.count(b"event: ")
        if b"event: ALLOWED_IN" in seen and not self.admitted.done():
            self.admitted.set_result(now)
        if b"event: STATUS_UPDATE" in seen and not self.opened.done():
            self.opened.set_result(None)
        self._tail = seen[-32:]

    def connection_lost(self, exc: Exception | None) -> None:
        lost = Unavailable(f"a stream ended before its time: {self._tail!r}")
        for future in (self.opened, self.admitted):
            if not future.done():
                future.set_exception(lost)
                future.exception()  # Whoever waits for it still gets it; nobody else is told.


class Caller(asyncio.Protocol):
    """One kept-alive connection for calls, one after the other."""

    def __init__(self) -> None:
        self._data = b""
        self._answer: asyncio.Future[int] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        size = answer_size(self._data)
        if size is not None and len(self._data) >= size and self._answer is not None:
            self._answer.set_result(int(self._data[9:12]))
            self._data = b""

    async def call(self, request: bytes) -> int:
        """Send, and return the answer's status."""
        self._answer = asyncio.get_running_loop().create_future()
        self.transport.write(request)  # type: ignore[attr-defined]
        async with asyncio.timeout(_PATIENCE_SECONDS):
            return await self._answer


@dataclasses.dataclass(slots=True)
class Times:
    """Seconds from sending the call that frees the slot until its answer, and until the next one's ALLOWED_IN."""

    answer: list[float] = dataclasses.field(default_factory=list)
    admitted: list[float] = dataclasses.field(default_factory=list)


def run(options: Options) -> list[Table]:
    """Open the streams, then pass the slot on."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _SPARE_FILES
    if options.streams > most:
        raise Unavailable(f"at most {most} streams: so many files may be open")
    if options.streams < 2 * options.frees + 4:
        options = dataclasses.replace(options, frees=max(1, (options.streams - 4) // 2))
    cores = Cores.split()
    signed = tokens.signed(tokens.users(options.streams + 1))
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gw-bench-")))
        jwks = stack.enter_context(tokens.jwks())
        stack.enter_context(gateways.redis_server(folder / "redis", cores.rest))
        pair = [
            stack.enter_context(
                gateways.gateway(
                    folder / name,
                    cores,
                    jwks=jwks,
                    redis_url=f"unix://{folder}/redis/redis.sock",
                    allowed_in_max_capacity=1,
                )
            )
            for name in ("one", "two")
        ]
        # In order, so that the line is known here: the first is let in.
        gateways.admit(pair[0], signed[:1], cores)
        gateways.admit(pair[0], signed[1:], cores, connections=1)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            times, updates = runner.run(_pass_on([one.port for one in pair], signed, options.frees))
    return [_table(options, times, updates)]


async def _pass_on(ports: Sequence[int], signed: Sequence[str], frees: int) -> tuple[dict[str, Times], float]:
    """Free the slot ``frees`` times in each way. Returns the times, and status updates per second meanwhile."""
    times = {SAME: Times(), OTHER: Times()}
    async with _streams(ports, signed[1:]) as people, _callers(ports) as callers:
        began, before = time.perf_counter(), sum(person.events for person in people)
        for turn in range(2 * frees):
            # people[turn] is next and has a stream at ports[turn % 2].
            case = SAME if turn // 2 % 2 == 0 else OTHER
            at = turn % 2 if case is SAME else 1 - turn % 2
            order = Order(ports[at], "DELETE", "/api/v1/queue/allowed-in-token", tokens=(signed[turn],))
            await asyncio.sleep(_PAUSE_SECONDS)
            freed = time.perf_counter()
            status = await callers[at].call(requests(order)[0])
            if status != 200:
                raise Unavailable(f"freeing the slot was answered with {status}")
            times[case].answer.append(time.perf_counter() - freed)
            async with asyncio.timeout(_PATIENCE_SECONDS):
                times[case].admitted.append(await people[turn].admitted - freed)
        took = time.perf_counter() - began
        updates = sum(person.events for person in people) - before - 2 * frees
        return times, updates / took


@contextlib.asynccontextmanager
async def _streams(ports: Sequence[int], signed: Sequence[str]) -> AsyncIterator[list[StreamReader]]:
    """A stream for each, at the two instances in turn, each with its first status."""
    loop = asyncio.get_running_loop()
    people: list[StreamReader] = []
    try:
        for first in range(0, len(signed), _OPENED_AT_ONCE):
            for number, token in enumerate(signed[first : first + _OPENED_AT_ONCE], first):
                port = ports[number % 2]
                order = Order(port, "GET", "/api/v1/queue/stream", tokens=(token,))
                request = requests(order)[0]
                _, person = await loop.create_connection(lambda: StreamReader(request), "127.0.0.1", port)  # noqa: B023 - called at once
                people.append(person)
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await asyncio.gather(*(person.opened for person in people[first:]))
        yield people
    finally:
        for person in people:
            person.transport.close()


@contextlib.asynccontextmanager
async def _callers(ports: Sequence[int]) -> AsyncIterator[list[Caller]]:
    loop = asyncio.get_running_loop()
    callers = [(await loop.create_connection(Caller, "127.0.0.1", port))[1] for port in ports]
    try:
        yield callers
    finally:
        for caller in callers:
            caller.transport.close()


def _table(options: Options, times: dict[str, Times], updates: float) -> Table:
    rows: list[list[Any]] = [
        [
            name,
            len(of.admitted),
            *(
                round(percentile(values, part) * 1000, 2)
                for values in (of.answer, of.admitted)
                for part in (0.5, 0.99)
            ),
        ]
        for name, of in times.items()
    ]
    columns = ("freed", "times", "answer p50 ms", "answer p99 ms", "ALLOWED_IN p50 ms", "ALLOWED_IN p99 ms")
    title = f"freed_slot: {options.streams:,} streams at two gateways on one core, status every 10 s"
    notes = [
        f"{updates:.0f} status updates a second meanwhile; times run from sending the call that frees the slot"
    ]
    for name, of in times.items():
        limit = Limit(name, percentile(of.admitted, 0.99) * 1000, _AT_MOST_MS, _GOAL_MS)
        notes.append(
            f"target: p99 {name} ≤ {_AT_MOST_MS:g} ms (goal {_GOAL_MS:g}), by the clock: {limit.value:.1f}, "
            f"{limit.verdict}"
        )
    return Table(title, columns, rows, notes)
