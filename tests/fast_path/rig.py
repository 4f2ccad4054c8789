"""Two gateways that differ in ``FAST_PATH`` only, each with a service of its own, and a client that compares them.

``Pair.outcomes`` sends the same bytes to both. An outcome is what the service saw, what the client got, and what was
logged. The outcomes must be equal byte for byte, except for what is different in each request or depends on the clock:
see ``masked``.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from prometheus_client import generate_latest

from gateway.context import OBSERVERS
from tests.fast_path.service import Scripts, Service, pause, service
from tests.support.gateway import Gateways, Running

SECONDS = 20.0
"""How long any one exchange may take."""
LAST = b"GET /open/last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
"""Sent after the request under test, so that its answer shows whether the connection was kept in order."""
_BODILESS = {204, 304}
_COUNTED = re.compile(
    r"gateway_(?!fast_path)\w*(?:request|rejection|token|unchecked|upstream)\w*_(?:total|count)\b"
)
_numbers = count()


@dataclass(frozen=True)
class Case:
    """``sent`` in so many writes. ``answers``: how many final answers are awaited before ``LAST`` is sent. ``end``: the
    client ends its side instead, having sent all."""

    sent: tuple[bytes, ...]
    answers: int = 1
    end: bool = False
    methods: tuple[bytes, ...] = ()
    """Of the requests in ``sent``; by default that of the first."""


def request(line: str | bytes, *headers: bytes, body: bytes = b"", host: bytes = b"Host: h\r\n") -> bytes:
    """A request: each header with its line end."""
    first = line.encode("latin-1") if isinstance(line, str) else line
    return b"".join((first, b" HTTP/1.1\r\n", host, *headers, b"\r\n", body))


def one(line: str | bytes, *headers: bytes, body: bytes = b"", host: bytes = b"Host: h\r\n") -> Case:
    """One request in one write. A body without framing in ``headers`` gets a Content-Length."""
    if body and not any(re.match(rb"(?i)(content-length|transfer-encoding):", each) for each in headers):
        headers = (*headers, b"Content-Length: %d\r\n" % len(body))
    return Case((request(line, *headers, body=body, host=host),))


# -- the client ----------------------------------------------------------------------------------------


class _Client(asyncio.Protocol):
    """Collects what comes, and counts the final answers that are complete."""

    def __init__(self, methods: Sequence[bytes]) -> None:
        self.data = bytearray()
        self.closed = False
        self.answers = 0
        self._methods = list(methods)
        self._at = 0
        self._changed = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.data += data
        while (end := self._end_of_answer()) is not None:
            self._at = end
        self._changed.set()

    def eof_received(self) -> None:
        self.closed = True
        self._changed.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._changed.set()

    async def until(self, answers: int) -> None:
        """Waits for so many final answers, or for the end of the connection."""
        while not self.closed and self.answers < answers:
            self._changed.clear()
            await self._changed.wait()

    async def until_closed(self) -> None:
        while not self.closed:
            self._changed.clear()
            await self._changed.wait()

    def _end_of_answer(self) -> int | None:
        at = self.data.find(b"\r\n\r\n", self._at)
        if at < 0:
            return None
        head, at = bytes(self.data[self._at : at + 4]), at + 4
        status = int(head[9:12])
        if status < 200:
            return at
        method = self._methods[self.answers] if self.answers < len(self._methods) else b"GET"
        length = re.search(rb"(?i)\r\ncontent-length: (\d+)\r\n", head)
        if method == b"HEAD" or status in _BODILESS:
            end: int | None = at
        elif b"\r\nTransfer-Encoding: chunked\r\n" in head:
            end = _end_of_chunks(self.data, at)
        elif length is not None:
            end = at + int(length[1]) if len(self.data) >= at + int(length[1]) else None
        else:
            end = None
        if end is not None:
            self.answers += 1
        return end


def _end_of_chunks(data: bytes | bytearray, at: int) -> int | None:
    while (line := data.find(b"\r\n", at)) >= 0:
        size = int(data[at:line], 16)
        at = line + 2 + size + 2
        if at > len(data):
            return None
        if not size:
            return at
    return None


async def talk(port: int, case: Case) -> bytes:
    """What the gateway at ``port`` sends on one connection until it closes it."""
    methods = case.methods or [case.sent[0].lstrip(b"\r\n").split(b" ", 1)[0]]
    client: _Client
    loop = asyncio.get_running_loop()
    transport, client = await loop.create_connection(lambda: _Client(methods), "127.0.0.1", port)
    try:
        async with asyncio.timeout(SECONDS):
            for number, part in enumerate(case.sent):
                if number:
                    await pause()
                # asyncio would ignore the write, and uvloop raises an error.
                if not transport.is_closing():
                    transport.write(part)
            if case.end and not transport.is_closing():
                transport.write_eof()
            else:
                await client.until(case.answers)
                if not client.closed:
                    transport.write(LAST)
            await client.until_closed()
    finally:
        transport.abort()
    return bytes(client.data)


# -- what must be equal --------------------------------------------------------------------------------

_TRACE = re.compile(rb"(?i)(?<=x-trace-id: )[0-9a-f]{32}|(?<=\"traceId\":\")[0-9a-f]{32}")
_PARENT = re.compile(rb"(?i)(?<=\r\ntraceparent: 00-)([0-9a-f]{32})-[0-9a-f]{16}")
_CLOCK = re.compile(
    rb"(?<=\r\nDate: )[^\r]*|(?<=\"timestamp\":\")[^\"]*|(?<=\"expiresInSeconds\":)\d+|(?<=retry: )\d+"
    rb"|(?<=data-now=\")\d+"
)
# A signed pass differs by the gateway's keys and the second. One that a client has forged does not begin so.
_PASS = re.compile(
    rb"(?<=: queue-pass=)ey[\w.-]+|(?<=: queue-pass-vip=)ey[\w.-]+|(?<=: queue-pass-observed=)ey[\w.-]+"
    rb"|(?<=X-Queue-Pass: )ey[\w.-]+"
    rb'|(?<="pass":")ey[\w.-]+|(?<=; Max-Age=)\d+'
)


def masked(data: bytes, sent: bytes = b"") -> bytes:
    """``data`` without dates, and without the trace ids that the gateway made. A trace id in ``sent`` stays."""

    def trace(match: re.Match[bytes]) -> bytes:
        return match[0] if match[0] in sent else b"TRACE"

    data = _TRACE.sub(trace, _PASS.sub(b"PASS", _CLOCK.sub(b"TIME", data)))
    return _PARENT.sub(lambda match: (match[1] if match[1] in sent else b"TRACE") + b"-SPAN", data)


def unchunked(data: bytes) -> bytes:
    """``data`` with the chunks of each chunked answer joined: where a streamed body is cut depends on the machine."""
    parts, at = [], 0
    while (head := data.find(b"\r\nTransfer-Encoding: chunked\r\n", at)) >= 0:
        begin = data.find(b"\r\n\r\n", head) + 4
        parts += [data[at:begin], b"{"]
        at = begin
        while (line := data.find(b"\r\n", at)) >= 0 and re.fullmatch(rb"[0-9a-f]+", data[at:line]):
            size = int(data[at:line], 16)
            parts.append(data[line + 2 : line + 2 + size])
            at = line + 2 + size + 2
            if not size:
                parts.append(b"}")
                break
    return b"".join((*parts, data[at:]))


@dataclass(frozen=True)
class Outcome:
    """What one gateway did with a case."""

    got: bytes
    """All that the client got."""
    seen: tuple[tuple[bytes, bytes, bool], ...]
    """All that the service saw: head, body, and whether the body was complete."""
    logged: tuple[tuple[tuple[str, Any], ...], ...]
    """The fields of the lines in the access log."""
    reused: tuple[bool, ...] = field(compare=False)
    """Whether each request came on a connection that had served before. With stray bytes behind an answer that depends
    on when they are read, so only some tests compare it."""


@dataclass
class Side:
    """One gateway and its service."""

    gateway: Running
    service: Service
    lines: list[dict[str, Any]] = field(default_factory=list)
    random: re.Pattern[bytes] | None = None
    """What is drawn at random in an answer of this gateway, besides what is always masked."""

    @property
    def port(self) -> int:
        return int(self.gateway.base.rpartition(":")[2])

    @property
    def metrics(self) -> Any:
        return self.gateway.app[OBSERVERS].metrics

    @property
    def exposition(self) -> str:
        """All metrics, as Prometheus reads them."""
        return generate_latest(self.metrics.registry).decode()

    @property
    def counted(self) -> list[str]:
        """The lines of the metrics that count requests and what became of them."""
        return [line for line in self.exposition.splitlines() if _COUNTED.match(line)]

    async def outcome(self, case: Case) -> Outcome:
        """What comes of a case."""
        self.service.seen.clear()
        self.lines.clear()
        got = await talk(self.port, case)
        if self.random is not None:
            got = self.random.sub(b"RANDOM", got)
        async with asyncio.timeout(SECONDS):
            while self.metrics.in_progress:
                await asyncio.sleep(0)
        sent, own = b"".join(case.sent), b":%d" % self.service.port
        seen = tuple(
            (masked(each.head, sent).replace(own, b":PORT"), each.body, each.complete)
            for each in self.service.seen
        )
        logged = tuple(tuple(sorted(line.items())) for line in self.lines)
        reused = tuple(each.reused for each in self.service.seen)
        return Outcome(unchunked(masked(got, sent)).replace(own, b":PORT"), seen, logged, reused)


def _record_log(side: Side) -> None:
    """Writes the gateway's access log into ``side.lines``, without what differs in each request."""

    def write(**facts: Any) -> None:
        del facts["seconds"], facts["trace_id"]
        side.lines.append(facts)

    log = side.gateway.app[OBSERVERS].access_log
    log.enabled, log.write = True, write  # type: ignore[method-assign]


@dataclass
class Pair:
    """The two gateways. ``scripts`` are the answers of both services."""

    fast: Side
    plain: Side
    scripts: Scripts
    gateways: Gateways
    compared: int = 0

    def bearer(self, user: str = "somebody", **claims: Any) -> bytes:
        """An Authorization header."""
        return b"Authorization: Bearer " + self.gateways.issuer.token(user, **claims).encode() + b"\r\n"

    async def outcomes(self, case: Case) -> tuple[Outcome, Outcome]:
        """What comes of a case with the fast path and without."""
        self.compared += 1
        return await asyncio.gather(self.fast.outcome(case), self.plain.outcome(case))

    async def compare(self, case: Case, script: Sequence[Any] | None = None) -> Outcome:
        """Fails unless both gateways do the same. ``script``: what the services answer to ``/open/scripted``."""
        if script is not None:
            self.scripts["/open/scripted"] = tuple(script)
        fast, plain = await self.outcomes(case)
        assert fast == plain, "\n".join(difference(case, fast, plain))
        return plain

    async def compare_all(self, cases: Iterable[Case] | Mapping[str, Case]) -> list[Outcome]:
        """Compares many cases, one after the other, and fails with the differences of all."""
        named = cases.items() if isinstance(cases, Mapping) else [("", case) for case in cases]
        found, outcomes = [], []
        for name, case in named:
            fast, plain = await self.outcomes(case)
            outcomes.append(plain)
            if fast != plain:
                found += [f"-- {name}", *difference(case, fast, plain)]
        assert not found, "\n".join(found[:60])
        return outcomes


def difference(case: Case, fast: Outcome, plain: Outcome) -> list[str]:
    """What the two gateways did not do in the same way, in lines for people."""
    lines = [f"sent  {_short(b' | '.join(case.sent))}"]
    for name in ("got", "seen", "logged"):
        one, other = getattr(fast, name), getattr(plain, name)
        if one != other:
            at = _first_difference(repr(one), repr(other))
            lines += [f"{name} fast  {_short(one)}", f"{name} plain {_short(other)}"]
            lines += [f"{name} fast  there: {_around(one, at)}", f"{name} plain there: {_around(other, at)}"]
    return lines


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) < 1200 else f"{text[:700]} ... {text[-400:]}"


def _first_difference(one: str, other: str) -> int:
    return next(
        (at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )


def _around(value: object, at: int) -> str:
    return repr(value)[max(0, at - 60) : at + 60]


@asynccontextmanager
async def paired(
    gateways: Gateways, routes: str, tls: ssl.SSLContext | None = None, **settings: object
) -> AsyncIterator[Pair]:
    """Starts both gateways, each with keys of its own in Redis. ``{service}`` in ``routes`` is the service's URL.
    ``tls`` is for the services."""
    scripts: Scripts = {}
    number = next(_numbers)
    async with AsyncExitStack() as stack:

        async def side(name: str) -> Side:
            behind = await stack.enter_async_context(service(scripts, tls))
            scheme = "http" if tls is None else "https"
            text = routes.replace("{service}", f"{scheme}://127.0.0.1:{behind.port}")
            options = {"redis_key_prefix": f"{name}-{number}:", "fast_path": name == "fast"}
            # On a busy machine, connections would be too old at one gateway and not at the other.
            options |= {"tracing_sampling_probability": 0, "proxy_keep_alive_seconds": 600} | settings
            running = await stack.enter_async_context(gateways.running(text, **options))
            made = Side(running, behind)
            _record_log(made)
            return made

        yield Pair(await side("fast"), await side("plain"), scripts, gateways)
