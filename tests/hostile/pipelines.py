"""Random sound requests behind one another on one connection, and what a client may expect of it.

For each request, in order, there is its own answer, or an answer before it has announced the end and the connection
ends. Anything else, an answer that does not come above all, is a fault. Each request has a trace id of its own, which
every answer repeats: so no answer can be taken for another one's.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import socket
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

ANSWER_SECONDS = 20.0
"""How long an answer may take: a gateway that stays silent for longer is deaf. On a busy machine, seconds are few."""

MOST_BODY = 300_000
"""``MAX_REQUEST_BODY_BYTES`` of the gateway under test."""

METHODS = ("GET", "GET", "GET", "HEAD", "DELETE", "POST", "PROPFIND", "QUERY", "FOO", "VERSION-CONTROL")
"""Also such as aiohttp's parsers do not know. Any of them may have a body."""

QUERIES = (*[""] * 8, "?", "?a=%zz&[b]={c}|^`", "?\u00e9=\ud55c", "?\udcff\udc80=\udcc3")
"""As browsers and tools send them: bytes beyond ASCII too, in UTF-8 or not."""


@dataclass(frozen=True)
class Sent:
    """One request: ``raw`` on the wire, and what may come back. ``echo``: what the answer's body says, if it is the
    service's own. ``kind`` is for the statistics."""

    raw: bytes
    trace: str
    kind: str
    statuses: tuple[int, ...]
    echo: bytes | None = None
    to_head: bool = False
    waits_at: int = 0
    """The length of the head, if the client waits there for "100 Continue" or an answer."""


@dataclass(frozen=True)
class Plan:
    """What one connection sends. ``cuts``: where writes end, within all of it, each with a pause in seconds behind."""

    requests: tuple[Sent, ...]
    cuts: tuple[tuple[int, float], ...]
    reads_late: float = 0.0
    """Seconds before the client reads anything."""

    def __str__(self) -> str:
        lines = [f"reads_late={self.reads_late}"]
        lines += [
            f"{one.kind} {one.trace} ({len(one.raw)} bytes, wants {one.statuses}): {_shown(one.raw)}"
            for one in self.requests
        ]
        return "\n".join([*lines, f"cuts={self.cuts}"])


class Fault(AssertionError):
    """The gateway did what it must not."""


def _shown(raw: bytes) -> str:
    return repr(raw) if len(raw) < 700 else f"{raw[:400]!r} ... {raw[-200:]!r}"


# -- the service ---------------------------------------------------------------------------------------


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    # Cancelled at the end of the test, which asyncio would report.
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
        while await _serve_one(reader, writer):
            pass
    writer.close()


async def _serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    head = await reader.readuntil(b"\r\n\r\n")
    method, target, _ = head.split(b"\r\n", 1)[0].split(b" ")
    what = target.split(b"/")[2]
    length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
    if what == b"early":
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n")
        writer.write(b"" if method == b"HEAD" else b"early")
        await writer.drain()
        return False
    if what == b"slow":
        await asyncio.sleep(random.uniform(0.002, 0.03))
    body = await reader.readexactly(int(length[1])) if length else b""
    if b"\r\nTransfer-Encoding: chunked\r\n" in head:
        while size := int(await reader.readuntil(b"\r\n"), 16):
            body += await reader.readexactly(size)
            await reader.readexactly(2)
        await reader.readexactly(2)
    text = echoed(method.decode(), target.decode("utf-8", "surrogateescape"), body)
    if what == b"none":
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
    elif method == b"HEAD":
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(text))
    elif what == b"chunks":
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for at in range(0, len(text), 7):
            writer.write(b"%x\r\n%b\r\n" % (len(text[at : at + 7]), text[at : at + 7]))
        writer.write(b"0\r\n\r\n")
    else:
        text *= 3000 if what == b"big" else 1
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text))
    await writer.drain()
    return True


def echoed(method: str, target: str, body: bytes) -> bytes:
    """What the service says of a request."""
    sent = target.encode("utf-8", "surrogateescape")
    return b"%b %b %d %08x\n" % (method.encode(), sent, len(body), zlib.crc32(body))


@asynccontextmanager
async def service() -> AsyncIterator[str]:
    """The service behind the gateway; yields its URL."""
    server = await asyncio.start_server(_serve, "127.0.0.1", 0, limit=1 << 20)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


# -- plans ---------------------------------------------------------------------------------------------


@dataclass
class Maker:
    """Makes plans from a seed. ``token`` is sound and its user not in any line."""

    draw: random.Random
    token: str
    made: int = 0
    kinds: Counter[str] = field(default_factory=Counter)

    def plan(self) -> Plan:
        """One connection's requests. The last is always a plain GET, so that all before it have a next one."""
        # Mostly short ones: what a plan has behind an announced end is lost.
        count = self.draw.choice((1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 6, 6, 6, 10, 40))
        requests = (*(self._request() for _ in range(count)), self._plain())
        self.kinds.update(one.kind for one in requests)
        return Plan(requests, self._cuts(requests), self.draw.choice((0, 0, 0, 0, 0.02)))

    def _trace(self) -> str:
        self.made += 1
        return f"{self.made:08x}{self.draw.getrandbits(96) | 1:024x}"

    def _plain(self) -> Sent:
        trace = self._trace()
        target = f"/open/echo/{trace}"
        raw = f"GET {target} HTTP/1.1\r\nHost: h\r\ntraceparent: 00-{trace}-00000000000000a1-00\r\n\r\n"
        return Sent(raw.encode(), trace, "last", (200,), echoed("GET", target, b""))

    def _request(self) -> Sent:
        draw, trace = self.draw, self._trace()
        framing, body, on_wire = self._body()
        headers = [b"Host: h", b"traceparent: 00-%b-00000000000000a1-00" % trace.encode(), *framing]
        version, statuses, to_head, waits = b"1.1", (200,), False, False
        kind = draw.choice(
            (
                "echo",
                "echo",
                "echo",
                "slow",
                "chunks",
                "big",
                "none",
                "early",
                "gated",
                "own",
                "own",
                "unknown",
            )
        )
        method = draw.choice(METHODS if not on_wire else ("POST", "POST", *METHODS))
        target = f"/open/{kind}/{trace}{draw.choice(QUERIES)}"
        echo: bytes | None = None
        if kind == "gated":
            method, target, statuses = "POST", f"/api/v1/reservations/{trace}", (401,)
        elif kind == "unknown":
            target, statuses = f"/nothing/{trace}{draw.choice(QUERIES)}", (401,)
        elif kind == "own":
            # 503: on a busy machine Redis may seem to be away, which is no matter of connections.
            kind, method, target, statuses = draw.choice(
                (
                    ("own status", "GET", "/api/v1/queue/status", (404, 503)),
                    ("own stream", "GET", "/api/v1/queue/stream", (200,)),
                    ("own lineup", "POST", "/api/v1/queue/lineup?room=nowhere", (404,)),
                    ("own leave", "POST", "/api/v1/queue/leave", (204, 400, 413, 503)),
                    ("own health", "GET", "/actuator/health", (200, 503)),
                    ("own file", "GET", "/swagger-ui/index.html", (200,)),
                    ("own method", "PUT", "/api/v1/queue/status", (405,)),
                )
            )
            headers.append(b"Authorization: Bearer " + self.token.encode())
        else:
            statuses = (204,) if kind == "none" else (200,)
            if kind in ("echo", "slow", "chunks", "big") and method != "HEAD":
                echo = echoed(method, target, body) * (3000 if kind == "big" else 1)
            if kind == "early" and body:
                # A service that ends its connection within a body may take its own answer along.
                statuses = (200, 502)
            if len(body) > MOST_BODY:
                statuses, echo = (*statuses, 413), None
        to_head = method == "HEAD"
        if draw.random() < 0.015:
            headers.append(draw.choice((b"Connection: close", b"connection: Close, x")))
        elif draw.random() < 0.05:
            headers += draw.choice(
                (
                    [b"Connection: Upgrade", b"Upgrade: h2c"],
                    [b"Connection: Upgrade", b"Upgrade: tcp"],
                    [
                        b"Connection: Upgrade",
                        b"Upgrade: websocket",
                        b"Sec-WebSocket-Version: 13",
                        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
                    ],
                )
            )
            kind += " upgrade"
        if draw.random() < 0.03 and b"chunked" not in b"".join(framing):
            version = b"1.0"
            if draw.random() < 0.8:
                headers.append(b"Connection: keep-alive")
            if draw.random() < 0.3:
                headers.remove(b"Host: h")
        if on_wire and draw.random() < 0.1:
            headers.append(b"Expect: 100-continue")
            waits = draw.random() < 0.5 and version == b"1.1"
            kind += " expect"
        if draw.random() < 0.1:
            headers.append(b"X-Long: " + b"x" * draw.choice((500, 4000)))
        line = b"%b %b HTTP/%b" % (method.encode(), target.encode("utf-8", "surrogateescape"), version)
        head = b"\r\n".join((line, *headers)) + b"\r\n\r\n"
        if draw.random() < 0.04:
            head = b"\r\n" + head
        return Sent(head + on_wire, trace, kind, statuses, echo, to_head, waits_at=len(head) if waits else 0)

    def _body(self) -> tuple[list[bytes], bytes, bytes]:
        """Header lines, the body, and the body on the wire."""
        draw = self.draw
        form = draw.choice(("none", "none", "none", "length", "length", "chunks", "chunks", "chunks"))
        if form == "none":
            return [], b"", b""
        size = draw.choice((0, 1, 3, 10, 200, 3000, 20_000, 65_536, 70_000, 140_000, 200_000, 310_000))
        if size > 20_000 and draw.random() < 0.6:
            size = draw.randrange(20_000)
        body = (
            draw.randbytes(size)
            if draw.random() < 0.5
            else (b"\r\n\r\nGET /x HTTP/1.1\r\n0\r\n\r\n" * size)[:size]
        )
        if form == "length":
            return [b"Content-Length: %d" % size], body, body
        return [b"Transfer-Encoding: chunked"], body, self._chunks(body)

    def _chunks(self, body: bytes) -> bytes:
        draw, out, at = self.draw, [], 0
        usual = draw.choice((1, 2, 17, 1000, 8192, 70_000, 400_000))
        if len(body) // usual > 6000:
            usual = len(body) // 6000 + 1
        extensions = draw.random() < 0.2
        while at < len(body):
            size = usual if draw.random() < 0.8 else draw.randrange(1, usual + 1)
            piece = body[at : at + size]
            extension = draw.choice((b"", b";a", b';a="b;c"', b";a=b;c")) if extensions and size > 16 else b""
            number = b"%x" if draw.random() < 0.8 else b"00%X"
            out.append(number % len(piece) + extension + b"\r\n" + piece + b"\r\n")
            at += len(piece)
        out.append(draw.choice((b"0", b"0", b"0", b"000", b"0;z", b'0;a="b"')) + b"\r\n")
        if draw.random() < 0.2:
            out.append(
                draw.choice((b"A: b\r\n", b"Host: evil\r\nX-User-Id: admin\r\n", b"X-Content-Length: 5\r\n"))
            )
        return b"".join(out) + b"\r\n"

    def _cuts(self, requests: Sequence[Sent]) -> tuple[tuple[int, float], ...]:
        draw, at, ends = self.draw, 0, []
        for one in requests:
            at += len(one.raw)
            ends.append(at)
        way = draw.choice(("whole", "few", "few", "ends", "ends", "bytes", "requests"))
        if way == "whole":
            places = set()
        elif way == "few":
            places = {draw.randrange(at) for _ in range(draw.randrange(1, 6))}
        elif way == "ends":
            # Where bodies end, and heads: within the last bytes.
            places = {max(1, end - draw.randrange(0, 9)) for end in ends for _ in range(3)}
        elif way == "bytes":
            # A stretch byte by byte, somewhere around an end.
            middle = draw.choice(ends)
            places = set(range(max(1, middle - 60), min(at, middle + 60)))
        else:
            places = set(ends)
        return tuple(
            (
                place,
                draw.choice((0, 0, 0.0005, 0.003))
                if len(places) > 20
                else draw.choice((0, 0.001, 0.004, 0.015)),
            )
            for place in sorted(places)
            if 0 < place < at
        )


# -- the client ----------------------------------------------------------------------------------------


class Source:
    """What comes on a socket. Unlike asyncio's streams it hands out all that came before a reset."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._held = b""

    async def _more(self) -> None:
        data = await asyncio.get_running_loop().sock_recv(self._socket, 1 << 18)
        if not data:
            raise EOFError(f"the end, behind {self._held[:200]!r}")
        self._held += data

    async def until(self, end: bytes) -> bytes:
        """All up to ``end``, that included."""
        while (at := self._held.find(end)) < 0:
            await self._more()
        return self._take(at + len(end))

    async def exactly(self, count: int) -> bytes:
        """So many bytes."""
        while len(self._held) < count:
            await self._more()
        return self._take(count)

    async def rest(self) -> bytes:
        """All until the end of the connection."""
        with contextlib.suppress(EOFError, ConnectionError):
            while True:
                await self._more()
        return self._take(len(self._held))

    def _take(self, count: int) -> bytes:
        data, self._held = self._held[:count], self._held[count:]
        return data


@dataclass
class Client:
    """Sends a plan on one connection and holds the answers against it."""

    plan: Plan
    socket: socket.socket
    answered: int = 0
    went_on: asyncio.Event = field(default_factory=asyncio.Event)
    """Something came back for the request whose client waits."""

    def __post_init__(self) -> None:
        self.source = Source(self.socket)

    async def run(self) -> int:
        """Returns how many requests were answered. Raises Fault."""
        sending = asyncio.ensure_future(self._send())
        try:
            await asyncio.sleep(self.plan.reads_late)
            return await self._read_all()
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def _send(self) -> None:
        loop = asyncio.get_running_loop()
        stream = b"".join(one.raw for one in self.plan.requests)
        stops = dict(self.plan.cuts)
        waits, at = {}, 0
        for one in self.plan.requests:
            if one.waits_at:
                waits[at + one.waits_at] = one
                stops.setdefault(at + one.waits_at, 0.0)
            at += len(one.raw)
        begin = 0
        with contextlib.suppress(ConnectionError):
            for stop in (*sorted(stops), len(stream)):
                await loop.sock_sendall(self.socket, stream[begin:stop])
                begin = stop
                if stop in waits:
                    await self._wait_to_go_on(waits[stop])
                await asyncio.sleep(stops.get(stop, 0.0))

    async def _wait_to_go_on(self, one: Sent) -> None:
        """For "100 Continue" or a final answer, as a client that asked for it does, but not for ever."""
        number = self.plan.requests.index(one)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                while self.answered <= number:
                    self.went_on.clear()
                    await self.went_on.wait()

    async def _read_all(self) -> int:
        for number, one in enumerate(self.plan.requests):
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    closes = await self._read_one(one)
            except TimeoutError:
                raise Fault(f"deaf: no answer to request {number}") from None
            except (EOFError, ConnectionError) as error:
                raise Fault(f"ended without an announcement at request {number}: {error!r}") from None
            self.answered = number + 1
            self.went_on.set()
            if closes:
                await self._read_end()
                return number + 1
        return len(self.plan.requests)

    async def _read_one(self, one: Sent) -> bool:
        while True:
            head = await self.source.until(b"\r\n\r\n")
            line = re.match(rb"HTTP/1\.([01]) (\d{3}) ", head)
            if line is None:
                raise Fault(f"no answer: {head!r}")
            status = int(line[2])
            if status >= 200:
                break
            self.went_on.set()
        fields = dict(re.findall(rb"(?m)^([^:\r\n]+): ([^\r\n]*)\r$", head.lower()))
        body = b""
        if not (one.to_head or status in (204, 304)):
            body = await self._read_body(fields)
        if status not in one.statuses:
            raise Fault(f"status {status} for {one.trace} ({one.kind}): {head!r} {body[:300]!r}")
        if fields.get(b"x-trace-id") != one.trace.encode():
            raise Fault(f"the answer to {fields.get(b'x-trace-id')!r} came for {one.trace}")
        if one.echo is not None and status == 200 and body != one.echo:
            raise Fault(f"the body of {one.trace} is {body[:100]!r} ({len(body)}), not {one.echo[:100]!r}")
        http10 = b" HTTP/1.0\r\n" in one.raw[:300] or line[1] == b"0"
        connection = fields.get(b"connection", b"close" if http10 else b"keep-alive")
        return connection == b"close"

    async def _read_body(self, fields: dict[bytes, bytes]) -> bytes:
        if b"content-length" in fields:
            return await self.source.exactly(int(fields[b"content-length"]))
        if fields.get(b"transfer-encoding") != b"chunked":
            return await self.source.rest()
        body = b""
        while size := int(await self.source.until(b"\r\n"), 16):
            body += await self.source.exactly(size)
            await self.source.exactly(2)
        await self.source.exactly(2)
        return body

    async def _read_end(self) -> None:
        """An announced end has to come, with nothing before it."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                rest = await self.source.rest()
        except TimeoutError:
            raise Fault("announced an end that did not come") from None
        if rest:
            raise Fault(f"something behind the last answer: {rest[:300]!r}")


async def talk(port: int, plan: Plan) -> int:
    """Send a plan. Returns how many requests were answered. Raises Fault."""
    with socket.socket() as sock:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        return await Client(plan, sock).run()


async def smaller(port: int, plan: Plan, seconds: float = 60.0) -> Plan:
    """A plan with as little in it as possible that still fails, found in at most about so many seconds."""

    async def fails(tried: Plan) -> bool:
        for _ in range(2):
            try:
                await talk(port, tried)
            except Fault:
                return True
        return False

    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            for change in (replace(plan, cuts=()), replace(plan, reads_late=0.0)):
                if await fails(change):
                    plan = change
            number = 0
            while number < len(plan.requests) and len(plan.requests) > 1:
                tried = _without(plan, number)
                if await fails(tried):
                    plan = tried
                else:
                    number += 1
            for cut in plan.cuts:
                tried = replace(plan, cuts=tuple(one for one in plan.cuts if one != cut))
                if await fails(tried):
                    plan = tried
    return plan


def _without(plan: Plan, number: int) -> Plan:
    begin = sum(len(one.raw) for one in plan.requests[:number])
    size = len(plan.requests[number].raw)
    cuts = [(at, pause) for at, pause in plan.cuts if at <= begin]
    cuts += [(at - size, pause) for at, pause in plan.cuts if at > begin + size]
    return replace(plan, requests=plan.requests[:number] + plan.requests[number + 1 :], cuts=tuple(cuts))


@dataclass
class Tally:
    """What a run came to."""

    sent: int = 0
    answered: int = 0
    announced: Counter[str] = field(default_factory=Counter)
    """Requests by kind whose answer announced the end."""
    connections: int = 0
    kinds: Counter[str] = field(default_factory=Counter)


async def many(port: int, token: str, seed: int, requests: int, at_once: int = 12) -> Tally:
    """Sends until so many requests are answered, on so many connections at once. Raises Fault with the seed and the
    smallest plan that still fails."""
    maker = Maker(random.Random(seed), token)
    tally = Tally(kinds=maker.kinds)

    async def worker() -> None:
        while tally.answered < requests:
            plan = maker.plan()
            tally.sent += len(plan.requests)
            tally.connections += 1
            try:
                answered = await talk(port, plan)
                tally.answered += answered
                if answered < len(plan.requests):
                    tally.announced[plan.requests[answered - 1].kind] += 1
            except Fault as fault:
                least = await smaller(port, plan)
                raise Fault(f"seed {seed}: {fault}\nthe least that was found to fail:\n{least}") from None

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(worker())
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return tally
