"""Requests that come when they come, whether or not earlier ones are answered: people, not a load generator's loop.

As a process, ``python -m benchmarks.arrivals``, it reads an ``Arrivals`` as a line of JSON from standard input, opens
its connections, writes the line ``ready``, begins when it reads another line, and writes a ``Came`` as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import uvloop

from benchmarks.load import BrokenAnswer, Order, answer_size, requests
from benchmarks.report import percentile

_TICK_SECONDS = 0.005
_CODE = re.compile(rb'"code":"(\w+)"')
# What is not answered so long after the last one was sent never will be.
_PATIENCE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Arrivals:
    """``rate`` requests a second for ``seconds``, to 127.0.0.1:``port``; ``tokens`` are used in turn.

    Each takes an idle one of ``connections`` that were opened before, so that opening them, which is as dear here as
    there, is no part of it. ``yields``: how nice the process is to others on its core, in steps of ``nice``. ``tick``:
    seconds between two looks at what is due; a measured time is too long by at most that.
    """

    port: int
    method: str
    path: str
    rate: float
    seconds: float
    tokens: Sequence[str]
    connections: int = 4000
    yields: int = 0
    tick: float = _TICK_SECONDS


@dataclass(frozen=True, slots=True)
class Came:
    """What came of it. ``statuses`` counts answers by status and error code, ``unanswered`` what got none, ``unsent``
    what found all connections busy. ``p50``, ``p99`` and ``worst`` are seconds from when a request was due to its
    complete answer, of those that were a success."""

    sent: int
    seconds: float
    statuses: dict[str, int]
    unanswered: int
    unsent: int
    p50: float
    p99: float
    worst: float

    @property
    def good(self) -> int:
        """Answers that were a success."""
        return sum(count for status, count in self.statuses.items() if status.startswith("2"))

    @property
    def shed(self) -> int:
        """Those who were sent away because the instance is overloaded."""
        return self.statuses.get("503 OVERLOADED", 0)

    @property
    def errors(self) -> int:
        """Everything that was neither."""
        return sum(self.statuses.values()) - self.good - self.shed + self.unanswered + self.unsent


class _Connection(asyncio.Protocol):
    def __init__(self, run: _Run) -> None:
        self._run = run
        self._rest = b""
        self._due = 0.0
        self.busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def ask(self, request: bytes, due: float) -> None:
        self._due = due
        self.busy = True
        self.transport.write(request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self._rest += data
        try:
            size = answer_size(self._rest)
        except BrokenAnswer:
            self.transport.close()
            return
        if size is not None and len(self._rest) >= size:
            status = self._rest[9:12].decode()
            if not status.startswith("2") and (code := _CODE.search(self._rest)):
                status += f" {code[1].decode()}"
            self._rest = b""
            self.busy = False
            self._run.answered(self, status, time.perf_counter() - self._due)

    def connection_lost(self, exc: Exception | None) -> None:
        self._run.lost(self)


class _Run:
    def __init__(self, order: Arrivals) -> None:
        self.order = order
        self.loop = asyncio.get_running_loop()
        self.idle: deque[_Connection] = deque()
        self.open: set[_Connection] = set()
        self.statuses: Counter[str] = Counter()
        self.times: list[float] = []
        self.sent = self.unanswered = self.unsent = 0
        self.quiet = asyncio.Event()

    def answered(self, connection: _Connection, status: str, seconds: float) -> None:
        self.statuses[status] += 1
        if status.startswith("2"):
            self.times.append(seconds)
        self.idle.append(connection)
        self._look()

    def lost(self, connection: _Connection) -> None:
        self.open.discard(connection)
        if connection.busy:
            self.unanswered += 1
        self._look()

    def _look(self) -> None:
        if self.sent == sum(self.statuses.values()) + self.unanswered:
            self.quiet.set()

    def send(self, request: bytes, due: float) -> None:
        while self.idle:
            connection = self.idle.popleft()
            if connection in self.open:
                self.sent += 1
                connection.ask(request, due)
                return
        self.unsent += 1

    async def open_all(self) -> None:
        """Opens all connections, a few at a time."""
        while len(self.open) < self.order.connections:
            lot = min(100, self.order.connections - len(self.open))
            made = await asyncio.gather(
                *(
                    self.loop.create_connection(lambda: _Connection(self), "127.0.0.1", self.order.port)
                    for _ in range(lot)
                )
            )
            self.open.update(connection for _, connection in made)
        self.idle.extend(self.open)


async def drive(order: Arrivals, ready: Callable[[], object] = bool) -> Came:
    """Do what is ordered, once ``ready``, called when all connections are open, has returned."""
    wanted = requests(Order(order.port, order.method, order.path, tokens=order.tokens))
    run = _Run(order)
    await run.open_all()
    await asyncio.to_thread(ready)
    began = time.perf_counter()
    number, count = 0, int(order.rate * order.seconds)
    while number < count:
        now = time.perf_counter()
        while number < count and began + number / order.rate <= now:
            run.send(wanted[number % len(wanted)], began + number / order.rate)
            number += 1
        await asyncio.sleep(order.tick)
    seconds = time.perf_counter() - began
    run.quiet.clear()
    run._look()
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await run.quiet.wait()
    except TimeoutError:
        run.unanswered += run.sent - sum(run.statuses.values()) - run.unanswered
    unanswered = run.unanswered
    for connection in tuple(run.open):
        connection.busy = False
        connection.transport.close()
    times = run.times or [0.0]
    return Came(
        run.sent,
        seconds,
        dict(run.statuses),
        unanswered,
        run.unsent,
        percentile(times, 0.5),
        percentile(times, 0.99),
        max(times),
    )


def main() -> int:
    """One order from standard input to one result on standard output; returns the exit status."""
    order = Arrivals(**json.loads(sys.stdin.readline()))
    os.nice(order.yields)

    def ready() -> None:
        print("ready", flush=True)
        sys.stdin.readline()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        came = runner.run(drive(order, ready))
    json.dump(asdict(came), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
