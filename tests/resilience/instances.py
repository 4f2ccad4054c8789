"""Instances of a service that answer health checks and calls, each in a manner of its own; and names for them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from tests.resilience.rig import answer
from tests.support.raw_http import Head, Peer, Upstream, raw_upstream

OK = answer(200, b"ok")
CHECK = "/health"
GARBAGE = b"\x00\x01 this is not HTTP\r\n\r\n"
HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this"

Manner = bytes | str


@dataclass
class Instance:
    """One instance. ``check`` and ``call`` are manners: the bytes of an answer, after which the connection ends if they
    are no whole answer, or ``hang`` (nothing comes) or ``reset``."""

    check: Manner = OK
    call: Manner = OK
    host: str = "127.0.0.1"
    port: int = 0
    checks: list[Head] = field(default_factory=list)
    calls: list[Head] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    async def talk(self, upstream: Upstream, peer: Peer) -> None:
        while True:
            head = await upstream.head(peer)
            is_check = head.line.split(" ")[1].startswith(CHECK)
            (self.checks if is_check else self.calls).append(head)
            manner = self.check if is_check else self.call
            if manner == "hang":
                await asyncio.sleep(3600)
            if manner == "reset":
                peer.reset()
                return
            assert isinstance(manner, bytes)
            peer.send(manner)
            if manner in (GARBAGE, HALF):
                return

    def behaves(self, manner: Manner) -> None:
        """From now on checks and calls get this."""
        self.check = self.call = manner

    @asynccontextmanager
    async def up(self) -> AsyncIterator[None]:
        """Listens until the block ends: at the same place, if it has listened before."""
        async with raw_upstream(self.talk, self.host, self.port) as upstream:
            self.port = upstream.base.port
            yield


@asynccontextmanager
async def instance(manner: Manner = OK, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Instance]:
    """An instance that listens."""
    one = Instance(manner, manner, host, port)
    async with one.up():
        yield one


@contextmanager
def reserved_port() -> Iterator[int]:
    """A port that no other program gets meanwhile. Connections are refused while no instance listens there."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


@dataclass
class Hosts:
    """A resolver, as a hosts file is one. A name without addresses is not known."""

    names: dict[str, Sequence[str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def look_up(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        addresses = self.names.get(host, ())
        if not addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return addresses
