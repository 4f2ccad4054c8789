"""A service in the test's own event loop that records every request and answers as its script says."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum, auto

READ_BYTES = 4 * 1024 * 1024
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_TURNS = 6
_LENGTH = re.compile(rb"(?i)\r\nContent-Length: (\d+)\r\n")
_CHUNKED = re.compile(rb"(?i)\r\nTransfer-Encoding: chunked\r\n")


class Do(Enum):
    """What a script does besides sending bytes."""

    PAUSE = auto()
    """Lets the gateway read what was sent before."""
    EARLY = auto()
    """At the beginning: does not wait for the body of the request."""
    DIE_IF_REUSED = auto()
    """Closes the connection unless this is its first request."""
    END = auto()
    """Closes the connection."""
    RESET = auto()
    """Closes the connection out of order."""
    WAIT = auto()
    """Waits for ``Service.go_on``."""
    NEVER = auto()
    """Sends nothing more, and waits until the gateway closes the connection."""


Script = Sequence[bytes | Do]
Scripts = dict[str, Script]


async def pause() -> None:
    """Lets every connection of this event loop read what has been written to it."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)


@dataclass
class SeenRequest:
    """One request, as the service got it. ``body`` is empty until it is ``complete``."""

    head: bytes
    body: bytes = b""
    complete: bool = False
    reused: bool = False
    """Whether its connection has carried a request before."""

    @property
    def words(self) -> list[str]:
        """Method, target and version."""
        return self.head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")


@dataclass
class Service:
    """``scripts`` are answers by path, without the query. Any other path gets 200 and an echo of the request line."""

    scripts: Scripts
    port: int = 0
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    """Set with each request."""
    written: int = 0
    """Bytes of answers that the connections have taken."""
    seen: list[SeenRequest] = field(default_factory=list)
    open: set[asyncio.StreamWriter] = field(default_factory=set)
    _serving: set[asyncio.Task[None]] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves one connection until it ends."""
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        self.open.add(writer)
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                reused = False
                while await self._serve_one(reader, writer, reused):
                    reused = True
        finally:
            writer.close()
            self.open.discard(writer)
            self._serving.discard(task)

    async def _serve_one(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, reused: bool
    ) -> bool:
        request = SeenRequest(await reader.readuntil(b"\r\n\r\n"), reused=reused)
        self.seen.append(request)
        self.arrived.set()
        method, target, _ = request.words
        script = self.scripts.get(target.partition("?")[0])
        if script is None or script[:1] != (Do.EARLY,):
            await _read_body(request, reader)
        if script is None:
            text = f"{method} {target} {len(request.body)}".encode("latin-1")
            script = [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(text)]
            script += [] if method == "HEAD" else [text]
        return await self._answer(script, reader, writer, reused)

    async def _answer(
        self, script: Script, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, reused: bool
    ) -> bool:
        for step in script:
            if isinstance(step, bytes):
                writer.write(step)
                await writer.drain()
                self.written += len(step)
            elif step is Do.PAUSE:
                await pause()
            elif step is Do.END or (step is Do.DIE_IF_REUSED and reused):
                return False
            elif step is Do.RESET:
                sock = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                writer.transport.abort()
                return False
            elif step is Do.WAIT:
                await self.go_on.wait()
            elif step is Do.NEVER:
                await reader.read()
                return False
        return True

    async def stop(self) -> None:
        """Ends all connections."""
        serving = list(self._serving)
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving)


async def _read_body(request: SeenRequest, reader: asyncio.StreamReader) -> None:
    length, body = _LENGTH.search(request.head), b""
    if length is not None:
        body = await reader.readexactly(int(length[1]))
    elif _CHUNKED.search(request.head) is not None:
        while size := int(await reader.readuntil(b"\r\n"), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readexactly(2)
    request.body, request.complete = body, True


@asynccontextmanager
async def service(scripts: Scripts, tls: ssl.SSLContext | None = None) -> AsyncIterator[Service]:
    """A running service on a free port."""
    running = Service(scripts)
    server = await asyncio.start_server(running.serve, "127.0.0.1", 0, limit=READ_BYTES, ssl=tls)
    running.port = server.sockets[0].getsockname()[1]
    try:
        yield running
    finally:
        server.close()
        await running.stop()
