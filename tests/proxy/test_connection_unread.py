"""What a peer says last before it closes and resets the connection: it arrives, though a write to the peer fails."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import socket
import ssl
import struct
import termios
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import uvloop
from aiohttp import connector

from gateway.errors import UpstreamUnreachable
from gateway.proxy.connection import UpstreamConnection
from gateway.proxy.pool import UpstreamPool
from gateway.proxy.upstream import UpstreamBase
from gateway.proxy.websocket import accept_of
from gateway.server import socket_buffer
from tests.proxy.rig import gateway_to
from tests.support.certificates import tls_contexts
from tests.support.raw_http import SECONDS

Run = Callable[[Coroutine[None, None, None]], None]

UPLOAD = b"POST / HTTP/1.1\r\nHost: svc\r\nContent-Length: 100000000\r\n\r\n"
REFUSAL = b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
HANDSHAKE = (
    "GET / HTTP/1.1\r\nHost: gw.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
).encode()
SWITCHED = (
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    f"Sec-WebSocket-Accept: {accept_of(KEY)}\r\n\r\n"
).encode()
TURNS = 20


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a coroutine on the one and on the other loop."""

    def run(coroutine: Coroutine[None, None, None]) -> None:
        with asyncio.Runner(loop_factory=request.param) as runner:
            runner.run(coroutine)

    return run


class Refused:
    """A connection of the gateway's to a service on a plain socket, which is as quick as the test wants it to be."""

    def __init__(self, connection: UpstreamConnection, service: socket.socket) -> None:
        self.connection = connection
        self.service = service

    def close(self) -> None:
        """Closes the service's end once all that it said has arrived, but not been read. What it has not read itself
        makes a reset of that."""
        while struct.unpack("i", fcntl.ioctl(self.service, termios.TIOCOUTQ, b"\0" * 4))[0]:
            pass
        self.service.close()

    async def sent(self) -> None:
        """Sends until that fails, as an upload does."""
        with pytest.raises(UpstreamUnreachable):
            await self._send()

    async def _send(self) -> None:
        while True:
            self.connection.send(b"x" * 1000)
            await self.connection.drain(SECONDS)


@asynccontextmanager
async def refused() -> AsyncIterator[Refused]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        async with UpstreamPool() as pool:
            base = UpstreamBase("http", *listening.getsockname())
            connection = await pool.connect(base, SECONDS)
            service, _ = listening.accept()
            with service:
                connection.begin(UPLOAD, body_follows=True)
                service.recv(10)
                try:
                    yield Refused(connection, service)
                finally:
                    connection.close()


async def body_of(connection: UpstreamConnection) -> bytes:
    body = b""
    async with asyncio.timeout(SECONDS):
        while piece := await connection.read():
            body += piece
    return body


def test_an_answer_that_came_before_a_failing_write_is_read(run: Run) -> None:
    async def check() -> None:
        async with refused() as one:
            one.service.sendall(REFUSAL)
            one.close()
            # No turn of the loop lies between the reset and this, so that nothing can have been read before.
            one.connection.send(b"x")
            message = await one.connection.read_head()
            assert message.code == 413
            assert await body_of(one.connection) == b"no"

    run(check())


def test_a_sender_gets_the_error_and_the_answer_stays(run: Run) -> None:
    async def check() -> None:
        async with refused() as one:
            one.service.sendall(REFUSAL)
            one.close()
            await one.sent()
            one.connection.fail(UpstreamUnreachable("the connection was lost while sending"))
            assert (await one.connection.read_head()).code == 413
            assert await body_of(one.connection) == b"no"

    run(check())


def chunks(data: bytes) -> bytes:
    return b"".join(b"64\r\n%b\r\n" % data[at : at + 100] for at in range(0, len(data), 100))


@pytest.mark.parametrize("chunked", [False, True])
def test_a_long_answer_comes_whole_though_reading_had_paused(run: Run, chunked: bool) -> None:
    first, second = b"x" * 140_000, b"y" * 20_000
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: 160000"

    async def check() -> None:
        async with refused() as one:
            one.service.sendall(b"HTTP/1.1 413 No\r\n%b\r\n\r\n" % framing)
            begun = asyncio.get_running_loop().run_in_executor(
                None, one.service.sendall, chunks(first) if chunked else first
            )
            await one.connection.read_head()
            async with asyncio.timeout(SECONDS):
                await begun
                while not one.connection.protocol._reading_paused:
                    await asyncio.sleep(0)
            one.service.sendall(chunks(second) + b"0\r\n\r\n" if chunked else second)
            one.close()
            await one.sent()
            assert await body_of(one.connection) == first + second

    run(check())


def test_of_more_than_is_read_the_answer_breaks_off(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_buffer, "MAX_BYTES", len(REFUSAL) - 1)

    async def check() -> None:
        async with refused() as one:
            one.service.sendall(REFUSAL)
            one.close()
            one.connection.send(b"x")
            await one.connection.read_head()
            with pytest.raises(UpstreamUnreachable):
                await body_of(one.connection)

    run(check())


def test_a_body_without_a_length_is_not_whole_behind_a_reset(run: Run) -> None:
    async def check() -> None:
        async with refused() as one:
            one.service.sendall(b"HTTP/1.0 413 No\r\n\r\nno")
            one.close()
            one.connection.send(b"x")
            await one.connection.read_head()
            with pytest.raises(UpstreamUnreachable):
                await body_of(one.connection)

    run(check())


@pytest.fixture
def server_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """Of a service that the gateway trusts."""
    server, trusting = tls_contexts(tmp_path)
    monkeypatch.setattr(connector, "_SSL_CONTEXT_VERIFIED", trusting)
    return server


def test_over_tls_an_answer_is_read_before_more_is_sent(run: Run, server_tls: ssl.SSLContext) -> None:
    async def check() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            base = UpstreamBase("https", *listening.getsockname())
            accepted = asyncio.create_task(
                asyncio.to_thread(lambda: server_tls.wrap_socket(listening.accept()[0], server_side=True))
            )
            async with UpstreamPool() as pool:
                connection = await pool.connect(base, SECONDS)
                with await accepted as service:
                    service.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    connection.begin(UPLOAD, body_follows=True)
                    service.sendall(REFUSAL)
                    await connection.read_early_response()
                # As behind the next write, which fails.
                connection.fail(UpstreamUnreachable("the connection was lost while sending"))
                assert (await connection.read_head()).code == 413
                assert await body_of(connection) == b"no"
                connection.close()

    run(check())


@pytest.mark.parametrize(("tls", "sizes"), [(True, [16384, 16384, 7232]), (False, [40_000])])
def test_little_is_sent_at_a_time_over_tls(
    run: Run, server_tls: ssl.SSLContext, tls: bool, sizes: list[int]
) -> None:
    async def check() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            base = UpstreamBase("https" if tls else "http", *listening.getsockname())
            accepted = asyncio.create_task(
                asyncio.to_thread(
                    lambda: server_tls.wrap_socket(
                        listening.accept()[0], server_side=True, do_handshake_on_connect=tls
                    )
                )
            )
            async with UpstreamPool() as pool:
                connection = await pool.connect(base, SECONDS)
                with await accepted:
                    assert list(map(len, connection.split(b"x" * 40_000))) == sizes
                connection.close()

    run(check())


@contextmanager
def refusing_server(read: int) -> Iterator[UpstreamBase]:
    """Python's own server: it answers 413 once it has read so many bytes of a body, and closes."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(read)
            self.send_error(413)
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield UpstreamBase("http", "127.0.0.1", server.server_address[1])
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("read", [0, 100_000])
@pytest.mark.parametrize("framing", ["Content-Length: 20000000", "Transfer-Encoding: chunked"])
def test_a_service_that_refuses_large_uploads_is_heard_each_time(run: Run, read: int, framing: str) -> None:
    piece = b"x" * 50_000
    if framing.endswith("chunked"):
        piece = b"%x\r\n%b\r\n" % (len(piece), piece)

    def upload(port: int) -> bytes:
        """Sends until an answer comes, and returns its first line."""
        with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as client:
            sending = threading.Thread(target=send, args=(client,))
            client.sendall(f"POST / HTTP/1.1\r\nHost: gw.test\r\n{framing}\r\n\r\n".encode())
            sending.start()
            try:
                return client.makefile("rb").readline()
            finally:
                with contextlib.suppress(OSError):
                    client.shutdown(socket.SHUT_RDWR)
                sending.join()

    def send(client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            for _ in range(400):
                client.sendall(piece)

    async def check() -> None:
        with refusing_server(read) as base:
            async with gateway_to(base) as gateway:
                for _ in range(TURNS):
                    line = await asyncio.to_thread(upload, gateway.port)
                    assert line.startswith(b"HTTP/1.1 413 "), line

    run(check())


def talk(client: socket.socket, data: bytes) -> None:
    """Goes on to write until that fails."""
    with contextlib.suppress(OSError):
        while True:
            client.sendall(data)


def said_last(peer: socket.socket, end: bytes) -> bool:
    """Whether what the peer says has this end."""
    data = b""
    with contextlib.suppress(ConnectionError):
        while piece := peer.recv(65536):
            data = (data + piece)[-len(end) :]
    return data == end


@pytest.mark.parametrize("service_first", [True, False], ids=["service", "client"])
def test_the_last_message_on_a_websocket_arrives_while_the_other_side_talks(
    run: Run, service_first: bool
) -> None:
    end = b"the last message"

    def turn(port: int, listening: socket.socket) -> bool:
        """The one end says something last and closes, while the other one goes on to talk and listens."""
        with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as client:
            client.sendall(HANDSHAKE)
            service, _ = listening.accept()
            with service:
                service.settimeout(SECONDS)
                head = service.recv(65536)
                while not head.endswith(b"\r\n\r\n"):
                    head += service.recv(65536)
                service.sendall(SWITCHED)
                head = client.recv(65536)
                while not head.endswith(b"\r\n\r\n"):
                    head += client.recv(65536)
                first, other = (service, client) if service_first else (client, service)
                talking = threading.Thread(target=talk, args=(other, b"x" * 10_000))
                talking.start()
                first.recv(100)
                first.sendall(end)
                first.close()
                try:
                    return said_last(other, end)
                finally:
                    with contextlib.suppress(OSError):
                        other.shutdown(socket.SHUT_RDWR)
                    talking.join()

    async def check() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.settimeout(SECONDS)
            base = UpstreamBase("http", *listening.getsockname())
            async with gateway_to(base, websocket=KEY) as gateway:
                for _ in range(TURNS):
                    assert await asyncio.to_thread(turn, gateway.port, listening)

    run(check())
