"""Clients and services on raw sockets that send exactly the bytes they are told to, and read heads and bodies."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from gateway.proxy.upstream import UpstreamBase

SECONDS = 10.0
"""How long any one thing may take."""
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
READ_BYTES = 256 * 1024

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass
class Head:
    """The first line and the fields of a message, in the order they came."""

    line: str
    fields: list[tuple[str, str]]

    def all(self, name: str) -> list[str]:
        """The values of every field of that name."""
        return [value for other, value in self.fields if other.lower() == name.lower()]

    @property
    def status(self) -> int:
        return int(self.line.split(" ")[1])

    @property
    def raw(self) -> bytes:
        """The head as it came."""
        return "\r\n".join((self.line, *map(": ".join, self.fields), "", "")).encode("latin-1")


@dataclass
class Answer(Head):
    """A whole answer."""

    body: bytes = b""


class Peer:
    """One end of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def head(self) -> Head:
        """Reads one head. Raises IncompleteReadError if the connection ends before."""
        async with asyncio.timeout(SECONDS):
            data = await self.reader.readuntil(b"\r\n\r\n")
        line, *rest = data[:-4].decode("latin-1").split("\r\n")
        fields = [text.split(": ", 1) for text in rest]
        return Head(line, [(name, value) for name, value in fields])

    async def until(self, end: bytes) -> bytes:
        """Everything up to ``end``, inclusive."""
        async with asyncio.timeout(SECONDS):
            return await self.reader.readuntil(end)

    async def exactly(self, size: int) -> bytes:
        async with asyncio.timeout(SECONDS):
            return await self.reader.readexactly(size)

    async def chunk(self) -> bytes:
        """Reads one chunk, which is empty at the end of the body."""
        async with asyncio.timeout(SECONDS):
            size = int(await self.reader.readuntil(b"\r\n"), 16)
            data = await self.reader.readexactly(size + 2)
        assert data.endswith(b"\r\n")
        return data[:-2]

    async def body(self, head: Head) -> bytes:
        """Reads the body that the head announces. Raises IncompleteReadError if it breaks off."""
        if head.all("Transfer-Encoding"):
            data = b""
            while piece := await self.chunk():
                data += piece
            return data
        length = head.all("Content-Length")
        return await self.exactly(int(length[0])) if length else b""

    async def rest(self) -> bytes:
        """All that still comes. Raises ConnectionError if the connection is reset."""
        async with asyncio.timeout(SECONDS):
            return await self.reader.read()

    def reset(self) -> None:
        """Ends the connection out of order, as a process does that dies with its machine."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.writer.transport.abort()


class Client(Peer):
    """Says requests and reads answers."""

    async def answer(self, *, bodiless: bool = False) -> Answer:
        """Reads a whole answer; one without framing goes on until the connection ends."""
        head = await self.head()
        if bodiless:
            return Answer(head.line, head.fields)
        framed = head.all("Transfer-Encoding") or head.all("Content-Length")
        return Answer(head.line, head.fields, await self.body(head) if framed else await self.rest())

    async def ask(
        self, method: str = "GET", target: str = "/", *fields: str, body: bytes = b"", version: str = "1.1"
    ) -> Answer:
        """Sends a request, whose framing is in ``fields``, and reads the answer."""
        self.send(request(method, target, *fields, version=version) + body)
        return await self.answer(bodiless=method == "HEAD")


@asynccontextmanager
async def connected(base: str, receive_bytes: int = 0) -> AsyncIterator[Client]:
    """A connection to the server with this URL; it is broken off at the end. ``receive_bytes``: how many bytes of
    answers the client's system keeps; 0: as many as it likes."""
    host, _, port = base.removeprefix("http://").rpartition(":")
    with socket.socket() as sock:
        if receive_bytes:
            # Set before connecting: the other system would still count on the larger window.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (host, int(port)))
        reader, writer = await asyncio.open_connection(sock=sock.dup(), limit=READ_BYTES)
    try:
        yield Client(reader, writer)
    finally:
        writer.transport.abort()


def request(method: str = "GET", target: str = "/", *fields: str, version: str = "1.1") -> bytes:
    """A request's head."""
    return "\r\n".join((f"{method} {target} HTTP/{version}", "Host: gw.test", *fields, "", "")).encode(
        "latin-1"
    )


@dataclass
class Upstream:
    """A service on raw sockets. ``heads`` are those of the requests it got, ``bodies`` what came with them."""

    base: UpstreamBase
    connections: int = 0
    heads: list[Head] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    async def head(self, peer: Peer) -> Head:
        """Reads one request's head and keeps it."""
        head = await peer.head()
        self.heads.append(head)
        return head


Talk = Callable[[Upstream, Peer], Awaitable[None]]


async def stop_accepting(server: asyncio.Server) -> None:
    """Closes the server. If it closed between the acceptance of a connection and the making of its transport, asyncio
    would leave the socket open."""
    loop = asyncio.get_running_loop()
    for each in server.sockets:
        loop.remove_reader(each.fileno())
    # An accepted connection gets its transport in the next turn of the loop, then its task, and then that begins.
    for _ in range(3):
        await asyncio.sleep(0)
    server.close()


@asynccontextmanager
async def raw_upstream(talk: Talk, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Upstream]:
    """Serves each connection with ``talk`` and closes it afterwards."""
    upstream = Upstream(UpstreamBase("http", "127.0.0.1", 0))
    talking: set[asyncio.Task[None]] = set()
    faults: list[Exception] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        talking.add(task)
        upstream.connections += 1
        try:
            await talk(upstream, Peer(reader, writer))
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the gateway ended it, or the test is over
        except Exception as exc:
            faults.append(exc)
        finally:
            writer.close()
            talking.discard(task)

    server = await asyncio.start_server(serve, host, port, limit=READ_BYTES)
    upstream.base = UpstreamBase("http", *server.sockets[0].getsockname()[:2])
    try:
        yield upstream
    finally:
        await stop_accepting(server)
        pending = list(talking)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending)
    if faults:
        raise faults[0]


def answering(*answers: bytes, then_close: bool = False) -> Talk:
    """Gives one answer per request, the last one again and again."""

    async def talk(upstream: Upstream, peer: Peer) -> None:
        while True:
            head = await upstream.head(peer)
            upstream.bodies.append(await peer.body(head))
            peer.send(answers[min(len(upstream.heads), len(answers)) - 1])
            await peer.writer.drain()
            if then_close:
                return

    return talk
