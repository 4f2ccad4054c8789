"""A load generator: fixed connections, keep-alive, the next request when an answer is complete.

As a process, ``python -m benchmarks.load``, it reads an ``Order`` as JSON from standard input and writes a ``Load``
as JSON. Good for comparing servers with each other; where the server is faster than it, only CPU figures tell.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import uvloop

from benchmarks.report import percentile

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.I)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked", re.I)
# After this the load is given up: somebody does not answer any more.
_PATIENCE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Order:
    """What to send: ``method`` and ``path`` to 127.0.0.1:``port``, over ``connections``, for ``seconds``.

    ``tokens`` are used in turn as Bearer tokens; without any, no token is sent. ``count`` bounds the number of
    requests (0: by time alone). ``headers`` are further lines of each request. ``cookies`` are used in turn as tokens
    are, in requests of an own page; wrk sends none. Each request has a body of ``body_bytes``. With ``tls`` only wrk
    can be used.
    """

    port: int
    method: str
    path: str
    connections: int = 64
    seconds: float = 3.0
    tokens: Sequence[str] = ()
    count: int = 0
    headers: Sequence[str] = ()
    cookies: Sequence[str] = ()
    body_bytes: int = 0
    tls: bool = False


@dataclass(frozen=True, slots=True)
class Load:
    """What came of it: complete ``answers``, among them ``failed`` ones (no 2xx, or none at all), within ``seconds``.

    ``p50`` and ``p99`` are times in seconds from sending to the complete answer.
    """

    answers: int
    failed: int
    seconds: float
    p50: float
    p99: float


class BrokenAnswer(Exception):
    """What came is no answer whose end can be told."""


def answer_size(data: bytes) -> int | None:
    """The length of the answer that ``data`` begins with, head included; None while that can't be told.

    Chunked answers must come one at a time. Raises BrokenAnswer.
    """
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    if not data.startswith(b"HTTP/1.1 "):
        raise BrokenAnswer(repr(data[:40]))
    head = data[: end + 2]
    if data[9:12] in {b"204", b"304"}:
        return end + 4
    length = _LENGTH.search(head)
    if length is not None:
        return end + 4 + int(length[1])
    if _CHUNKED.search(head):
        return len(data) if data.endswith(b"\r\n0\r\n\r\n") else None
    raise BrokenAnswer("neither a length nor chunks")


def requests(order: Order) -> list[bytes]:
    """The requests of an order, each as it is sent: one for each token or cookie."""
    head = f"{order.method} {order.path} HTTP/1.1\r\nHost: 127.0.0.1:{order.port}\r\n"
    if order.method not in {"GET", "HEAD"}:
        head += f"Content-Length: {order.body_bytes}\r\n"
    head += "".join(f"{line}\r\n" for line in order.headers)
    if order.cookies:
        return [
            f"{head}Sec-Fetch-Site: same-origin\r\nCookie: {each}\r\n\r\n".encode() for each in order.cookies
        ]
    body = b"x" * order.body_bytes
    if not order.tokens:
        return [f"{head}\r\n".encode() + body]
    return [f"{head}Authorization: Bearer {token}\r\n\r\n".encode() + body for token in order.tokens]


class _Run:
    """What all connections of one load share."""

    def __init__(self, order: Order) -> None:
        self.loop = asyncio.get_running_loop()
        self.done: asyncio.Future[None] = self.loop.create_future()
        self.in_progress = 0
        self.answers = 0
        self.failed = 0
        self.times: list[float] = []
        self.ended = 0.0
        self._requests = self._endless(requests(order))
        self._left = order.count or sys.maxsize
        self._until = time.perf_counter() + order.seconds

    @staticmethod
    def _endless(wanted: list[bytes]) -> Iterator[bytes]:
        while True:
            yield from wanted

    def next(self) -> bytes | None:
        """The next request, or None when it is enough."""
        if self._left <= 0 or time.perf_counter() >= self._until:
            return None
        self._left -= 1
        self.in_progress += 1
        return next(self._requests)

    def answered(self, good: bool, seconds: float) -> None:
        self.in_progress -= 1
        self.answers += 1
        self.failed += not good
        self.times.append(seconds)
        self.ended = time.perf_counter()

    def rest(self) -> None:
        """A connection has nothing more to do."""
        if self.in_progress == 0 and not self.done.done():
            self.done.set_result(None)

    def fail(self, error: BaseException) -> None:
        if not self.done.done():
            self.done.set_exception(error)


class _Connection(asyncio.Protocol):
    def __init__(self, run: _Run) -> None:
        self._run = run
        self._rest = b""
        self._sent = 0.0
        self._waiting = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def ask(self) -> None:
        """Send the next request, if there is one."""
        request = self._run.next()
        if request is None:
            self._run.rest()
            return
        self._waiting = True
        self._sent = time.perf_counter()
        self.transport.write(request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        try:
            size = answer_size(data)
        except BrokenAnswer as error:
            self._run.fail(error)
            return
        if size is None or len(data) < size:
            self._rest = data
            return
        self._rest = b""
        self._waiting = False
        self._run.answered(data[9:10] == b"2", time.perf_counter() - self._sent)
        self.ask()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiting:
            self._run.fail(BrokenAnswer(f"the connection was lost: {exc}"))


async def drive(order: Order) -> Load:
    """Do what is ordered. Raises BrokenAnswer, OSError, or TimeoutError if somebody stops answering."""
    run = _Run(order)
    loop = run.loop
    connections = []
    for _ in range(order.connections):
        _, protocol = await loop.create_connection(lambda: _Connection(run), "127.0.0.1", order.port)
        connections.append(protocol)
    began = time.perf_counter()
    try:
        for connection in connections:
            connection.ask()
        async with asyncio.timeout(order.seconds + _PATIENCE_SECONDS):
            await run.done
    finally:
        for connection in connections:
            connection.transport.close()
    return Load(
        run.answers,
        run.failed,
        max(run.ended - began, 1e-9),
        percentile(run.times or [0.0], 0.5),
        percentile(run.times or [0.0], 0.99),
    )


def main() -> int:
    """One order from standard input to one result on standard output; returns the exit status."""
    order = Order(**json.load(sys.stdin))
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            result = runner.run(drive(order))
    except (BrokenAnswer, OSError, TimeoutError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    json.dump(asdict(result), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
