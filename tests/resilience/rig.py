"""Services on raw sockets that misbehave, and a whole gateway in front of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from gateway.app import METRICS
from tests.support.gateway import Running
from tests.support.raw_http import Answer, Head, Peer, Upstream, connected, raw_upstream


def answer(status: int, body: bytes = b"", *fields: str) -> bytes:
    """A whole answer."""
    head = "".join(f"{each}\r\n" for each in (f"Content-Length: {len(body)}", *fields))
    return f"HTTP/1.1 {status} Said\r\n{head}\r\n".encode() + body


@dataclass
class Call:
    """One request that came to a service."""

    method: str
    target: str
    head: Head
    body: bytes


@dataclass
class Scripted:
    """A service that gives one answer after the other; the last one repeats.

    Besides the bytes of an answer, an entry may be ``reset`` or ``close`` (the connection ends without an answer) or
    ``hang`` (nothing comes until ``released`` is set). After an answer with ``X-Dies`` the connection ends.
    """

    answers: list[bytes | str]
    url: str = ""
    calls: list[Call] = field(default_factory=list)
    heads: list[Head] = field(default_factory=list)
    """Of all requests, also of those whose bodies are still to come."""
    released: asyncio.Event = field(default_factory=asyncio.Event)
    """Set to let a service that hangs end."""

    def next(self) -> bytes | str:
        return self.answers[min(len(self.calls), len(self.answers)) - 1]

    async def talk(self, upstream: Upstream, peer: Peer) -> None:
        while True:
            head = await upstream.head(peer)
            self.heads.append(head)
            method, target, _ = head.line.split(" ")
            self.calls.append(Call(method, target, head, await peer.body(head)))
            said = self.next()
            if said == "hang":
                await self.released.wait()
                return
            if said == "reset":
                peer.reset()
                return
            if said == "close":
                return
            assert isinstance(said, bytes)
            peer.send(said.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if method == "HEAD" else said)
            if b"X-Dies" in said:
                return


@asynccontextmanager
async def scripted(*answers: bytes | str) -> AsyncIterator[Scripted]:
    """Runs a service with these answers."""
    service = Scripted(list(answers))
    async with raw_upstream(service.talk) as upstream:
        service.url = str(upstream.base)
        yield service


def routes(
    services: Sequence[Scripted | str],
    filters: Sequence[Any],
    *,
    metadata: Mapping[str, Any] | None = None,
    more: Sequence[Mapping[str, Any]] = (),
    services_too: Mapping[str, Any] | None = None,
) -> str:
    """A route file: everything below ``/a`` to the service with these instances, through ``filters``, open to all."""
    urls = [each if isinstance(each, str) else each.url for each in services]
    route = {
        "id": "a",
        "uri": "lb://a",
        "predicates": ["Path=/a/**"],
        "filters": list(filters),
        "metadata": dict(metadata or {}),
    }
    return json.dumps(
        {
            "routes": [route, *more],
            "services": {"a": urls, **(services_too or {})},
            "access": {"public": ["/**"]},
        }
    ).replace("%", "%%")


def counted(gateway: Running, name: str) -> dict[tuple[str, ...], float]:
    """The samples of a metric, by the values of its labels in the order of their names."""
    return {
        tuple(value for _, value in sorted(sample.labels.items())): sample.value
        for family in gateway.app[METRICS].registry.collect()
        for sample in family.samples
        if sample.name == name
    }


async def ask(
    gateway: Running, method: str = "GET", target: str = "/a/x", *fields: str, body: bytes | None = None
) -> Answer:
    """One call on a connection of its own."""
    async with connected(gateway.base) as client:
        framing = () if body is None else (f"Content-Length: {len(body)}",)
        return await client.ask(method, target, *framing, *fields, body=body or b"")
