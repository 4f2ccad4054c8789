"""A gateway as a process, and a client on raw sockets that says exactly what it is told to say."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from gateway.proxy.websocket import accept_of
from tests.support.raw_service import RawUpstream, Seen
from tests.support.tokens import Issuer

SECONDS = 8.0
"""How long anything may take."""

ROUTES = """
routes:
  - {id: open, uri: "lb://service", predicates: ["Path=/open/**"]}
  - {id: reservations, uri: "lb://service", predicates: ["Path=/api/v1/reservations/**"]}
  - {id: seats, uri: "lb://service", predicates: ["Path=/api/v1/reservation-seats/**"]}
  - {id: loud, uri: "lb://service", predicates: ["Path=/API/**"]}
  - {id: alias, uri: "lb://service", predicates: ["Path=/shop/**"],
     filters: ["RewritePath=/shop/(?<rest>.*), /api/v1/$\\\\{rest}"]}
  - {id: prefix, uri: "lb://service", predicates: ["Path=/x/**"], filters: [StripPrefix=1]}
  - {id: set, uri: "lb://service", predicates: ["Path=/buy/{what}"], filters: ["SetPath=/api/v1/{what}"]}
services:
  service: ["%s"]
gates:
  - calls: [POST /api/v1/reservations, POST /api/v1/reservation-seats/**]
access:
  public: ["/open/**", "/shop/open/**"]
"""


@dataclass
class Answer:
    """One answer as a strict client reads it."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        return str(json.loads(self.body)["error"]["code"])


@dataclass
class Talk:
    """All that came back on one connection. ``rest`` is what is no answer; ``closed``: it was ended by the gateway."""

    answers: list[Answer]
    rest: bytes
    closed: bool

    @property
    def statuses(self) -> list[int]:
        return [answer.status for answer in self.answers]


class Client:
    """One connection."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._held = b""
        self._ended = False

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *parts: bytes) -> None:
        """Each part in a write of its own; the next one when the gateway should have read it."""
        for index, part in enumerate(parts):
            if index:
                time.sleep(0.03)
            try:
                self.socket.sendall(part)
            except OSError:
                return

    def _more(self) -> bool:
        if not self._ended:
            try:
                data = self.socket.recv(65536)
            except ConnectionError:
                data = b""
            self._held += data
            self._ended = not data
        return not self._ended

    def answer(self, *, to_head: bool = False) -> Answer | None:
        """The next answer; None if the connection ended before one was complete."""
        while b"\r\n\r\n" not in self._held:
            if not self._more():
                return None
        head, _, rest = self._held.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        line = re.fullmatch(rb"HTTP/1\.1 ([1-9][0-9][0-9]) [^\r\n\0]*", lines[0])
        assert line, self._held
        fields = [re.fullmatch(rb"([^\s:\0]+): ([^\r\n\0]*)", one) for one in lines[1:]]
        assert None not in fields, head
        names = [one[1].lower().decode() for one in fields if one]
        assert len(set(names) & {"content-length", "transfer-encoding"}) <= 1, head
        assert max(names.count(name) for name in ("content-length", "transfer-encoding")) <= 1, head
        headers = {one[1].decode().lower(): one[2].decode("latin-1") for one in fields if one}
        status = int(line[1])
        self._held = rest
        if status < 200:
            return self.answer(to_head=to_head)
        if to_head or status in {204, 304}:
            return Answer(status, headers, b"")
        body = self._chunks() if "transfer-encoding" in headers else self._sized(headers)
        return None if body is None else Answer(status, headers, body)

    def _sized(self, headers: dict[str, str]) -> bytes | None:
        length = headers.get("content-length")
        while length is None or len(self._held) < int(length):
            if not self._more():
                if length is not None:
                    return None
                length = str(len(self._held))
        body, self._held = self._held[: int(length)], self._held[int(length) :]
        return body

    def _chunks(self) -> bytes | None:
        body = b""
        while True:
            while b"\r\n" not in self._held:
                if not self._more():
                    return None
            line, _, self._held = self._held.partition(b"\r\n")
            size = int(line, 16)
            while len(self._held) < size + 2:
                if not self._more():
                    return None
            assert self._held[size : size + 2] == b"\r\n", self._held
            body, self._held = body + self._held[:size], self._held[size + 2 :]
            if not size:
                return body

    def rest(self, seconds: float = SECONDS) -> tuple[bytes, bool]:
        """What comes until the end, and whether that came in time."""
        self.socket.settimeout(seconds)
        try:
            while self._more():
                pass
        except TimeoutError:
            return self._held, False
        finally:
            self.socket.settimeout(SECONDS)
        return self._held, True


@dataclass
class Gateway:
    """A running gateway and what is behind it."""

    port: int
    parser: str
    upstream: RawUpstream
    issuer: Issuer
    log: Path
    process: subprocess.Popen[bytes]

    def client(self) -> Client:
        return Client(self.port)

    def bearer(self, user: str = "somebody", **claims: Any) -> bytes:
        """An Authorization header."""
        return b"Authorization: Bearer " + self.issuer.token(user, **claims).encode() + b"\r\n"

    def talk(self, sent: Sequence[bytes], *, answers: int, to_head: bool = False, end: bool = False) -> Talk:
        """Send and read so many answers; then the connection must be over if the last one says so, and silent else.

        ``end``: the client ends its side, having sent all.
        """
        got: list[Answer] = []
        with self.client() as client:
            client.send(*sent)
            if end:
                client.socket.shutdown(socket.SHUT_WR)
            while len(got) < answers and (answer := client.answer(to_head=to_head)) is not None:
                got.append(answer)
            over = len(got) < answers or not answers or got[-1].headers.get("connection") == "close"
            rest, closed = client.rest() if over else client.rest(0.005)
        return Talk(got, rest, closed)

    def ask(self, target: str, *headers: bytes, method: str = "GET") -> Answer:
        """One sound request."""
        with self.client() as client:
            client.send(request(f"{method} {target} HTTP/1.1", *headers))
            answer = client.answer(to_head=method == "HEAD")
        assert answer is not None
        return answer

    def behind(self) -> tuple[list[Seen], list[bytes]]:
        """What the service has seen by now, and what it should not have: asks for something and waits until that
        has been through, on every connection to the service that there may be."""
        for number in range(2):
            assert self.ask(f"/open/sentinel/{number}").body == f"GET /open/sentinel/{number}".encode()
        seen, faults = self.upstream.take()
        return [one for one in seen if not one.target.startswith("/open/sentinel")], faults


def request(line: str | bytes, *headers: bytes, body: bytes = b"", host: bytes = b"Host: h\r\n") -> bytes:
    """A request: each header with its line end, whatever it is."""
    first = line.encode("latin-1") if isinstance(line, str) else line
    return first + b"\r\n" + host + b"".join(headers) + b"\r\n" + body


@contextmanager
def key_server(issuer: Issuer) -> Iterator[str]:
    """Publishes the issuer's keys."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(issuer.jwks()).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/keys"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def running(
    folder: Path,
    redis_url: str,
    keys: str,
    upstream: RawUpstream,
    issuer: Issuer,
    *,
    parser: str = "c",
    routes: str = ROUTES,
    before: Sequence[str] = (),
    **settings: str,
) -> Iterator[Gateway]:
    """``python -m gateway serve``; ``before`` are words put before it. ``parser`` is ``c`` or ``python``."""
    routes_file = folder / f"routes-{parser}.yaml"
    routes_file.write_text(routes % upstream.url, encoding="utf-8")
    environ = {
        "PATH": os.environ["PATH"],
        "SERVER_HOST": "127.0.0.1",
        "SERVER_PORT": "0",
        "REDIS_URL": redis_url,
        "REDIS_KEY_PREFIX": f"{parser}:",
        "JWT_JWKS_URI": keys,
        "ROUTES_FILE": str(routes_file),
        "EUREKA_CLIENT_SERVICEURL_DEFAULTZONE": "",
        "ZIPKIN_ENDPOINT": "",
        "DEFAULT_LOCALE": "en",
        "OVERLOAD_LAG_MS": "0",
        "LOG_LEVEL": "DEBUG",
        "SHUTDOWN_GRACE_SECONDS": "1",
    }
    if parser == "python":
        environ["AIOHTTP_NO_EXTENSIONS"] = "1"
    environ.update({name.upper(): value for name, value in settings.items()})
    log = folder / f"{parser}.log"
    with log.open("wb") as output:
        command = [*before, sys.executable, "-m", "gateway", "serve"]
        process = subprocess.Popen(command, cwd=folder, env=environ, stdout=output, stderr=output)
    try:
        port = _port(log, process)
        yield Gateway(port, parser, upstream, issuer, log, process)
    finally:
        process.terminate()
        process.wait(20)


def _port(log: Path, process: subprocess.Popen[bytes]) -> int:
    limit = time.monotonic() + 20
    while time.monotonic() < limit and process.poll() is None:
        found = re.search(r"listening on http://127\.0\.0\.1:(\d+)", log.read_text())
        if found:
            return int(found[1])
        time.sleep(0.01)
    raise RuntimeError(f"the gateway did not start:\n{log.read_text()}")


KEY = "dGhlIHNhbXBsZSBub25jZQ=="
HANDSHAKE = (
    b"Connection: Upgrade, X-User-Id, Traceparent\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: " + KEY.encode() + b"\r\n"
)


SWITCHED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: " + accept_of(KEY).encode() + b"\r\n\r\n"
)


Start = Callable[..., Gateway]
"""The fixture ``start``: starts a gateway with ``running``."""


def emptied(gateway: Gateway) -> Gateway:
    """The gateway, with nothing seen yet by the service behind it, which answers as usual."""
    gateway.upstream.take()
    gateway.upstream.answers.clear()
    return gateway
