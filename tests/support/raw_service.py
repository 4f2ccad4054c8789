"""A service on raw sockets: it writes down every byte, and takes nothing but the strictest HTTP/1.1.

A gateway writes heads in one way only, so whatever is not written in that way (a second length, a line break that is
none, a byte behind a request's end) is a hole. It is kept in ``faults``.
"""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

_LINE = re.compile(
    rb"([!#$%&'*+.^_`|~0-9A-Z-]+) (/[A-Za-z0-9._~:@!$&'()*+,=/%-]*(?:\?[\x21-\x22\x24-\x7e\x80-\xff]*)?) HTTP/1\.1"
)
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+): ([^\x00-\x08\x0a-\x1f\x7f]*)")
_CHUNK = re.compile(rb"([0-9a-f]+)\r\n")


class NotHttp(Exception):
    """What came is not what a gateway may send."""


@dataclass
class Seen:
    """One request as it arrived. ``complete`` is false while its body is not all there."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    raw: bytes
    body: bytes = b""
    complete: bool = False

    def __str__(self) -> str:
        return f"{self.method} {self.target} {self.body.decode('latin-1')}".rstrip()

    def values(self, name: str) -> list[str]:
        return [value for known, value in self.headers if known.lower() == name.lower()]


@dataclass
class RawUpstream:
    """The service. ``answers`` are raw answers by target, and whether the connection stays open behind them; what has
    none gets 200 and is told what it asked."""

    url: str = ""
    seen: list[Seen] = field(default_factory=list)
    faults: list[bytes] = field(default_factory=list)
    answers: dict[str, tuple[bytes, bool]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self) -> tuple[list[Seen], list[bytes]]:
        """What was seen since the last time, and what should not have been."""
        with self._lock:
            seen, faults = self.seen, self.faults
            self.seen, self.faults = [], []
        return seen, faults

    def serve(self, connection: socket.socket) -> None:
        """Everything on one connection, until it ends."""
        source = _Source(connection)
        with connection:
            try:
                while (request := self._head(source)) is not None:
                    for piece in _body(request, source):
                        request.body += piece
                    request.complete = True
                    if not self._answer(request, connection):
                        return
            except NotHttp:
                with self._lock:
                    self.faults.append(source.held)
            except OSError:
                pass

    def _head(self, source: _Source) -> Seen | None:
        head = source.until(b"\r\n\r\n")
        if head is None:
            if source.held:
                raise NotHttp
            return None
        lines = head[:-4].split(b"\r\n")
        line = _LINE.fullmatch(lines[0])
        fields = [_FIELD.fullmatch(one) for one in lines[1:]]
        if line is None or None in fields:
            source.held = head
            raise NotHttp
        headers = [(one[1].decode("latin-1"), one[2].decode("latin-1")) for one in fields if one]
        request = Seen(line[1].decode(), line[2].decode("latin-1"), headers, head)
        if len(request.values("Host")) != 1:
            source.held = head
            raise NotHttp
        with self._lock:
            self.seen.append(request)
        return request

    def _answer(self, request: Seen, connection: socket.socket) -> bool:
        raw, stays = self.answers.get(request.target, (b"", True))
        if not raw:
            text = f"{request.method} {request.target}".encode("latin-1")
            raw = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(text)
            raw += b"" if request.method == "HEAD" else text
        connection.sendall(raw)
        return stays


class _Source:
    """Bytes of a connection, read when needed."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.held = b""

    def _more(self) -> bool:
        data = self._connection.recv(65536)
        self.held += data
        return bool(data)

    def until(self, end: bytes) -> bytes | None:
        while end not in self.held:
            if not self._more():
                return None
        head, _, self.held = self.held.partition(end)
        return head + end

    def exactly(self, count: int) -> bytes:
        while len(self.held) < count:
            if not self._more():
                raise ConnectionError
        data, self.held = self.held[:count], self.held[count:]
        return data


def _body(request: Seen, source: _Source) -> Iterator[bytes]:
    lengths, codings = request.values("Content-Length"), request.values("Transfer-Encoding")
    if len(lengths) + len(codings) > 1 or codings not in ([], ["chunked"]):
        source.held = request.raw
        raise NotHttp
    if lengths:
        yield source.exactly(int(lengths[0]))
    while codings:
        line = source.until(b"\r\n")
        if line is None:
            raise ConnectionError
        size = _CHUNK.fullmatch(line)
        if size is None:
            source.held = line + source.held
            raise NotHttp
        data = source.exactly(int(size[1], 16))
        if source.exactly(2) != b"\r\n":
            raise NotHttp
        if not data:
            return
        yield data


@contextmanager
def raw_upstream() -> Iterator[RawUpstream]:
    """A running one, on a free port."""
    upstream = RawUpstream()
    listening = socket.create_server(("127.0.0.1", 0))
    upstream.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    connections: list[socket.socket] = []

    def accept() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            connections.append(connection)
            threading.Thread(target=upstream.serve, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield upstream
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join(5)
        for connection in connections:
            connection.close()
