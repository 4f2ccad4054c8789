"""A stream's world without Redis: a room that does what the test says, a real server, bare sockets."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from gateway.errors import QueueUnavailable
from gateway.server.detached_connections import DetachedConnections
from gateway.server.limits import ConnectionLimits
from gateway.sse.hub import Hub, StreamTimings
from gateway.sse.registry import StreamLimit
from gateway.sse.response import EventStream
from gateway.sse.subscriber import Subscriber
from tests.support.waiting import eventually

STILL = StreamTimings(status_interval=3600.0, heartbeat=3600.0, streams_per_user=3)
"""Nothing happens by itself."""


@dataclass(frozen=True, slots=True)
class State:
    kind: str = "WAITING"
    ticket: int | None = 1
    position: int | None = 1
    total: int = 1
    behind: int = 0
    estimated_wait: float | None = None
    wait_range: tuple[float, float] | None = None
    paused: bool = False
    unlikely: bool = False
    notice: object = None
    expires_in: float = 0.0
    claim_by: int = 0
    lane: str = ""


NONE = State("NONE", None, None)
ALLOWED_IN = State("ALLOWED_IN", None, None, expires_in=240.0)


@dataclass(frozen=True, slots=True)
class Event:
    user: str
    ticket: int | None
    kind: str = "ADMITTED"
    reason: str | None = None
    expires_in: float = 240.0
    claim_by: int = 0


@dataclass
class Room:
    """States by user; ``open`` cleared holds every reply back, ``away`` makes every read fail."""

    states: dict[str, State] = field(default_factory=dict)
    calls: list[list[str]] = field(default_factory=list)
    away: bool = False
    broken: bool = False
    open: asyncio.Event = field(default_factory=asyncio.Event)
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.open.set()

    def status(self, user: str) -> asyncio.Future[State]:
        return asyncio.ensure_future(self._status(user))

    async def _status(self, user: str) -> State:
        return (await self.statuses([user]))[0]

    async def statuses(self, users: Sequence[str]) -> list[State]:
        self.calls.append(list(users))
        read = [self.states.get(user, NONE) for user in users]
        self.asked.set()
        await self.open.wait()
        await asyncio.sleep(0)
        if self.broken:
            raise RuntimeError("a fault of ours")
        if self.away:
            raise QueueUnavailable("away")
        return read


@dataclass
class Told:
    """What presence and counts were told, in order."""

    log: list[str] = field(default_factory=list)
    turns: list[str] = field(default_factory=list)
    counts: list[tuple[str, int]] = field(default_factory=list)
    open: int = 0
    written: int = 0

    def arrived(self, user: str) -> None:
        self.log.append(f"+{user}")

    def departed(self, user: str) -> None:
        self.log.append(f"-{user}")

    def counted(self, user: str, streams: int) -> None:
        self.counts.append((user, streams))

    def stream_opened(self) -> None:
        self.open += 1

    def stream_closed(self) -> None:
        self.open -= 1
        self.log.append("closed")

    def frames(self, count: int) -> None:
        self.written += count

    def slow_client_cut_off(self) -> None:
        self.log.append("cut_off")

    def turned(self, outcome: str, seconds: float) -> None:
        assert seconds >= 0
        self.turns.append(outcome)


class Words:
    """Renders events; counts how often a status was rendered."""

    def __init__(self) -> None:
        self.rendered = 0
        self.personal = False
        self.told = ""

    def status(self, state: State, languages: str, reason: str = "") -> str:
        self.rendered += 1
        return json.dumps(
            {"room": "default", "ticket": state.ticket, "userQueuePosition": state.position}
            | ({"reason": reason} if reason else {})
            | ({"notice": f"{state.notice} {languages}"} if state.notice else {}),
            separators=(",", ":"),
        )

    def notice(self, languages: str) -> str:
        return json.dumps({"notice": f"{self.told} {languages}"} if self.told else {})

    def allowed_in(
        self, expires_in: float, locale: str, user: str = "", ticket: int = 0, claim_by: int = 0
    ) -> dict[str, object]:
        message = {"ko": "입장 가능합니다.", "en": "You may enter."}[locale]
        own: dict[str, object] = {"pass": f"{user}:{ticket}"} if self.personal else {}
        if claim_by:
            own["claimBy"] = claim_by
        return {"message": message, "room": "default", "expiresInSeconds": int(expires_in), **own}

    def error(self, code: str, reason: str | None, locale: str) -> dict[str, object]:
        return {"code": code, "message": locale} | ({"reason": reason} if reason else {})


@dataclass(frozen=True, slots=True)
class Block:
    """One event as a browser sees it; ``event`` is empty for a block that shows nothing."""

    event: str = ""
    data: dict[str, object] | None = None
    last_id: str | None = None
    retry: int | None = None
    comments: tuple[str, ...] = ()


def parse(text: str) -> Block:
    """One block, by the rules of the HTML standard."""
    fields: dict[str, str] = {}
    comments = []
    for line in text.split("\n"):
        name, _, value = line.partition(":")
        if name:
            fields[name] = value.removeprefix(" ")
        elif line:
            comments.append(value.strip())
    return Block(
        event=fields.get("event", ""),
        data=json.loads(fields["data"]) if "data" in fields else None,
        last_id=fields.get("id"),
        retry=int(fields["retry"]) if "retry" in fields else None,
        comments=tuple(comments),
    )


class Tab:
    """A reader on a bare connection that speaks as much HTTP as it needs."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._text = b""
        self.status = 0
        self.headers: dict[str, str] = {}

    async def get(self, path: str, version: str = "1.1", *headers: str) -> Tab:
        """Asks for ``path`` and reads the answer's head."""
        head = [f"GET {path} HTTP/{version}", "Host: test", *headers, "", ""]
        self._writer.write("\r\n".join(head).encode())
        answer = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        self.status = int(answer[0].split()[1])
        self.headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in answer[1:] if line)}
        self._text = b""
        return self

    async def next(self) -> Block | None:
        """The next block, or ``None`` once the body has ended properly."""
        while b"\n\n" not in self._text:
            piece = await self._piece()
            if not piece:
                assert not self._text, self._text
                return None
            self._text += piece
        block, _, self._text = self._text.partition(b"\n\n")
        return parse(block.decode())

    async def rest(self) -> list[Block]:
        """All blocks up to the end of the body."""
        blocks = []
        while block := await self.next():
            blocks.append(block)
        return blocks

    async def closed(self) -> bool:
        """Waits for the server to close the connection."""
        return await self._reader.read() == b""

    async def _piece(self) -> bytes:
        if self.headers.get("transfer-encoding") != "chunked":
            return await self._reader.read(65536)
        size = int(await self._reader.readline(), 16)
        return (await self._reader.readexactly(size + 2))[:-2]

    def close(self) -> None:
        self._writer.close()


class World:
    """A hub behind a real server on a port of its own."""

    def __init__(
        self, timings: StreamTimings, *, stream_limit: int, max_buffer: int, limits: ConnectionLimits
    ) -> None:
        self.room = Room()
        self.told = Told()
        self.words = Words()
        self.stream_limit = StreamLimit(stream_limit)
        self.kept: list[tuple[float, float]] = []
        """First estimates shown, and how long it really took."""
        self.hub = Hub(
            self.room,
            self.told,
            self.words,
            self.stream_limit,
            timings=timings,
            counts=self.told,
            on_run=self.told.turned,
            on_admitted=lambda first_estimate, real: self.kept.append((first_estimate, real)),
        )
        self.max_buffer = max_buffer
        self.connections = DetachedConnections(limits)
        self.ended: list[tuple[bool, int, str]] = []
        """Streams whose connection is lost: whether anything was written, bytes of the body, and how it ended."""
        self.address = ("", 0)
        self.server: web.Server
        self._open: list[Tab] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        stream = EventStream(headers={"X-Extra": "1"})
        query = request.query
        opened = await stream.start(
            request,
            user=query["user"],
            locale=query.get("locale", "ko"),
            max_buffer=self.max_buffer,
            connections=self.connections,
            on_end=lambda one: self.ended.append((one.begun, one.body_length, one.end)),
        )
        if opened is not None:
            self.hub.serve(opened)
        return stream

    async def subscriber(
        self, user: str = "kim", version: str = "1.1", *headers: str, locale: str = "ko"
    ) -> Tab:
        """Opens a stream for ``user``."""
        connection = await asyncio.open_connection(*self.address)
        subscriber = Tab(*connection)
        self._open.append(subscriber)
        return await subscriber.get(f"/stream?user={user}&locale={locale}", version, *headers)

    @asynccontextmanager
    async def deaf(self, user: str) -> AsyncIterator[tuple[Subscriber, socket.socket]]:
        """A waiting user's stream over a connection with the smallest of buffers, that never reads."""
        self.room.states[user] = State(ticket=99)
        with socket.socket() as connection:
            connection.setblocking(False)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(connection, self.address)
            head = f"GET /stream?user={user} HTTP/1.1\r\nHost: test\r\n\r\n"
            await loop.sock_sendall(connection, head.encode())
            await eventually(
                lambda: any(subscriber.ticket == 99 for subscriber in self.hub._registry.subscribers())
            )
            yield (
                next(
                    subscriber for subscriber in self.hub._registry.subscribers() if subscriber.user == user
                ),
                connection,
            )

    async def gone(self, count: int = 0) -> None:
        """Waits until no more than ``count`` streams are left."""
        await eventually(lambda: len(self.hub) <= count)

    def close(self) -> None:
        for subscriber in self._open:
            subscriber.close()


@asynccontextmanager
async def world(
    timings: StreamTimings = STILL,
    *,
    stream_limit: int = 10_000,
    max_buffer: int = 65536,
    handler_cancellation: bool = True,
    limits: ConnectionLimits = ConnectionLimits(),  # noqa: B008 - frozen
) -> AsyncIterator[World]:
    """A running world; on leaving it all of its connections are closed."""
    here = World(timings, stream_limit=stream_limit, max_buffer=max_buffer, limits=limits)
    async with serving(here.handle, handler_cancellation=handler_cancellation) as (host, port, here.server):
        here.address = (host, port)
        try:
            async with here.hub.running():
                yield here
                await here.hub.drain(0.0)
        finally:
            here.close()
            # Bounded, so that a test that failed ends.
            async with asyncio.timeout(5.0):
                await eventually(lambda: not here.connections)


@asynccontextmanager
async def serving(
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
    *,
    handler_cancellation: bool = True,
    on_prepare: Callable[[web.Request, web.StreamResponse], Awaitable[None]] | None = None,
) -> AsyncIterator[tuple[str, int, web.Server]]:
    """A server that gives every request to ``handler``; its host, port and aiohttp's own view of it."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    if on_prepare is not None:
        app.on_response_prepare.append(on_prepare)
    runner = web.AppRunner(app, handler_cancellation=handler_cancellation, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        assert runner.server is not None
        yield *runner.addresses[0][:2], runner.server
    finally:
        await runner.cleanup()


class Line:
    """Keeps what it is given; ``waiting`` bytes are said not to have been read yet."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.waiting = 0
        self.closing = False
        self.aborted = False

    def write(self, data: bytes) -> None:
        self.sent.append(data)

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.aborted = self.closing = True

    def is_closing(self) -> bool:
        return self.closing

    def get_write_buffer_size(self) -> int:
        return self.waiting
