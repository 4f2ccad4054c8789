"""The gateway's own port over TLS: every kind of call, OpenSSL as the client, new certificates under load, the PROXY
protocol in front of it, and clients that do not speak TLS."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import math
import re
import shutil
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from aiohttp import WSMsgType

from gateway.context import OBSERVERS
from gateway.server import displacement
from gateway.server.certificates import Certificates
from gateway.server.connection import Guard
from gateway.server.listener import Runner, Server, open_port
from gateway.server.tls_port import Turns
from tests.server.test_proxy_protocol import V1, v2
from tests.support.certificate_files import Pair, pair_for, trusting
from tests.support.gateway import Caller, Gateways, Running, Stream
from tests.support.waiting import eventually

ONE, OTHER = pair_for("one"), pair_for("other")
ROUTES = """
routes:
  - {id: home, uri: "%(service)s", predicates: ["Path=/home/**"]}
gates: [{calls: ["/home/gated/**"]}]
rooms: {shop: {identity: visitor}}
access: {public: ["/home/open/**"]}
"""
SECONDS = 10.0


@dataclass
class Secure:
    """A gateway with a further port, over TLS."""

    gateway: Running
    port: int
    certificates: Certificates
    session: aiohttp.ClientSession
    folder: Path

    @property
    def base(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def user(self, name: str) -> Caller:
        return Caller(self.session, self.base, self.gateway.issuer.token(name))

    async def raw(self, data: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection without TLS."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(data)
        return reader, writer

    async def asked(self, header: bytes, request: bytes, *, cut: int = 0) -> bytes:
        """The answer to a request on a connection of its own, with bytes in front of the handshake."""
        reader, writer = await self.raw()
        try:
            if cut:
                writer.write(header[:cut])
                await asyncio.sleep(0.01)
            writer.write(header[cut:])
            await writer.start_tls(trusting(ONE), server_hostname="localhost")
            writer.write(request)
            async with asyncio.timeout(SECONDS):
                return await reader.read()
        finally:
            writer.close()


Start = Callable[..., Awaitable[Secure]]


@pytest.fixture
async def start(gateways: Gateways, tmp_path: Path) -> AsyncIterator[Start]:
    sessions: list[aiohttp.ClientSession] = []

    async def started(routes: str = ROUTES, **changes: object) -> Secure:
        gateway = await gateways.start(routes, **changes)
        certificates = Certificates(*ONE.write(tmp_path))
        assert isinstance(gateway.runner, Runner)
        await open_port(gateway.runner, "127.0.0.1", 0, certificates)
        [port] = {address[1] for address in gateway.runner.addresses} - {int(gateway.base.rpartition(":")[2])}
        connector = aiohttp.TCPConnector(ssl=trusting(ONE, OTHER), limit=0)
        session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=20))
        sessions.append(session)
        return Secure(gateway, port, certificates, session, tmp_path)

    yield started
    for session in sessions:
        await session.close()


def told(gateways: Gateways) -> dict[str, str]:
    return {name.lower(): value for name, value in gateways.service.seen[-1]["headers"]}


def fast_requests(secure: Secure) -> float:
    registry = secure.gateway.app[OBSERVERS].metrics.registry
    return sum(
        sample.value
        for metric in registry.collect()
        for sample in metric.samples
        if sample.name == "gateway_fast_path_requests_total"
    )


@pytest.mark.parametrize("fast", [True, False], ids=["fast", "aiohttp"])
async def test_every_kind_of_call(start: Start, gateways: Gateways, fast: bool) -> None:
    secure = await start(fast_path=fast)
    user = secure.user("a")
    answer = await user("GET", "/home/open/a")
    assert answer.status == 200
    assert told(gateways)["x-forwarded-proto"] == "https"
    assert "proto=https" in told(gateways)["forwarded"]
    assert told(gateways)["x-forwarded-port"] == str(secure.port)
    assert (await user("GET", "/home/gated/a")).status == 403
    assert (await user.lineup()).status == 200
    assert (await user("POST", "/home/gated/a", data=b"x" * 300_000)).json["body"] == "x" * 300_000
    assert (await user("GET", "/home/open/a", headers={"X-Long": "5000"})).headers["X-Long"] == "x" * 5000
    assert (await user("GET", "/nowhere")).status == 404
    assert (fast_requests(secure) > 0) == fast

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield b"y" * 1000

    assert (await user("POST", "/home/open/a", data=pieces())).json["body"] == "y" * 5000
    async with secure.session.ws_connect(
        f"{secure.base}/home/open/ws", headers={"Authorization": f"Bearer {user.token}"}
    ) as socket:
        await socket.send_str("hello" * 50_000)
        assert (await socket.receive(SECONDS)).data == "hello" * 50_000
        await socket.close()
    async with user.stream() as stream:
        assert (await stream.until("ALLOWED_IN")).data["room"] == "default"
        assert await stream.next() is None
    waiting = secure.user("b")
    await waiting.lineup()
    async with waiting.stream() as stream:
        await stream.until("STATUS_UPDATE")
        await user("DELETE", "/api/v1/queue/allowed-in-token")
        await stream.until("ALLOWED_IN")


async def test_a_visitors_cookie_is_the_secure_one(start: Start) -> None:
    secure = await start()
    answer = await Caller(secure.session, secure.base, None).lineup(room="shop")
    assert answer.status == 401
    assert answer.headers["Set-Cookie"].startswith("__Host-visitor=")
    assert "; Secure" in answer.headers["Set-Cookie"]


async def test_one_connection_serves_many_requests(start: Start) -> None:
    secure = await start(fast_path=True)
    reader, writer = await secure.raw()
    await writer.start_tls(trusting(ONE), server_hostname="localhost")
    get = b"GET /home/open/a HTTP/1.1\r\nHost: gw\r\n%b\r\n"
    async with asyncio.timeout(SECONDS):
        for _ in range(20):
            writer.write(get % b"")
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            await reader.readexactly(int(re.search(rb"Content-Length: (\d+)", head)[1]))  # type: ignore[index]
        writer.write(get % b"" * 5 + get % b"Connection: close\r\n")
        assert (await reader.read()).count(b"HTTP/1.1 200 ") == 6
    writer.close()


async def s_client(secure: Secure, *options: str) -> str:
    """What OpenSSL says of the port."""
    executable = shutil.which("openssl")
    if executable is None:
        pytest.skip("openssl is not installed")
    process = await asyncio.create_subprocess_exec(
        executable,
        "s_client",
        "-connect",
        f"127.0.0.1:{secure.port}",
        *options,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(SECONDS):
        said, _ = await process.communicate()
    return said.decode(errors="replace")


async def test_openssl_gets_what_it_should(start: Start) -> None:
    secure = await start()
    said = await s_client(secure, "-alpn", "h2,http/1.1", "-tls1_3")
    assert "CN = one" in said
    assert "ALPN protocol: http/1.1" in said
    assert re.search(r"New, TLSv1\.3", said)
    assert re.search(r"New, TLSv1\.2", await s_client(secure, "-tls1_2"))
    for old in ("-tls1", "-tls1_1"):
        said = await s_client(secure, old, "-cipher", "ALL:@SECLEVEL=0")
        assert "Cipher is (NONE)" in said
    # The gateway goes on.
    assert (await secure.user("a")("GET", "/home/open/a")).status == 200


async def test_new_certificates_come_into_force_under_load_and_no_request_fails(start: Start) -> None:
    secure = await start()
    done = asyncio.Event()
    seen: set[bytes] = set()
    served = 0

    async def kept() -> None:
        """One connection through all changes."""
        nonlocal served
        connector = aiohttp.TCPConnector(ssl=trusting(ONE, OTHER), limit=1)
        async with aiohttp.ClientSession(connector=connector) as session:
            while not done.is_set():
                async with session.get(f"{secure.base}/home/open/a") as answer:
                    assert answer.status == 200
                    served += 1

    async def fresh() -> None:
        """A connection for each request."""
        nonlocal served
        while not done.is_set():
            reader, writer = await secure.raw()
            await writer.start_tls(trusting(ONE, OTHER), server_hostname="localhost")
            shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            writer.write(b"GET /home/open/a HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
            writer.close()
            seen.add(shown)
            served += 1

    async with secure.certificates.watched(0.02), asyncio.TaskGroup() as group:
        for task in (kept, kept, fresh, fresh):
            group.create_task(task())
        for pair in (OTHER, Pair(ONE.certificate, OTHER.private_key), ONE, Pair(b"", b""), OTHER):
            before = served
            pair.write(secure.folder)
            if pair in (ONE, OTHER):
                seen.clear()
                wanted = ssl.PEM_cert_to_DER_cert(pair.certificate.decode())
                await eventually(lambda wanted=wanted: wanted in seen)
            else:
                await eventually(lambda before=before: served > before + 20)
                assert wanted in seen
        done.set()
    assert served > 40


@pytest.mark.parametrize(
    "header", [V1, v2(), v2(more=b"\x04\x00\x03abc" * 50)], ids=["v1", "v2", "v2 with more"]
)
async def test_a_trusted_proxy_names_its_client_before_the_handshake(
    start: Start, gateways: Gateways, header: bytes
) -> None:
    secure = await start(trusted_proxies="127.0.0.1")
    get = (
        b"GET /home/open/a HTTP/1.1\r\nHost: gw\r\nX-Forwarded-For: 203.0.113.1\r\nConnection: close\r\n\r\n"
    )
    for cut in (0, 1, 5, 13, len(header) - 1):
        assert (await secure.asked(header, get, cut=cut)).startswith(b"HTTP/1.1 200 ")
        assert told(gateways)["x-forwarded-for"] == "192.0.2.9"
        assert told(gateways)["x-forwarded-proto"] == "https"


async def test_header_and_handshake_may_come_in_one_segment(start: Start, gateways: Gateways) -> None:
    secure = await start(trusted_proxies="127.0.0.1")
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = trusting(ONE).wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    reader, writer = await secure.raw(v2() + outgoing.read())
    async with asyncio.timeout(SECONDS):
        while not tls.version() or outgoing.pending == 0:
            incoming.write(await reader.read(65536))
            with contextlib.suppress(ssl.SSLWantReadError):
                tls.do_handshake()
        tls.write(b"GET /home/open/a HTTP/1.1\r\nHost: gw\r\n\r\n")
        writer.write(outgoing.read())
        got = b""
        while b"\r\n\r\n" not in got:
            incoming.write(await reader.read(65536))
            with contextlib.suppress(ssl.SSLWantReadError):
                got += tls.read(65536)
    assert got.startswith(b"HTTP/1.1 200 ")
    assert told(gateways)["x-forwarded-for"] == "192.0.2.9"
    writer.close()


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: gw\r\n\r\n",
        b"POST / HTTP/1.1\r\n\r\n",
        V1 + b"GET / HTTP/1.1\r\nHost: gw\r\n\r\n",
        V1 + V1,
        b"PROXY nonsense\r\n",
        b"\0",
        b"\r\n\r\n\0\r\nQUIT\n\x2f\x11\x00\x00",
    ],
)
@pytest.mark.parametrize("trusted", ["127.0.0.1", "192.0.2.7"])
async def test_what_is_not_tls_is_answered_in_plain_text(start: Start, data: bytes, trusted: str) -> None:
    secure = await start(trusted_proxies=trusted)
    reader, writer = await secure.raw(data)
    async with asyncio.timeout(SECONDS):
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"BAD_REQUEST" in answer
    writer.close()
    await eventually(lambda: not server_of(secure).handshakes)


async def test_a_header_of_another_peer_is_refused(start: Start, gateways: Gateways) -> None:
    secure = await start(trusted_proxies="192.0.2.7")
    reader, writer = await secure.raw(v2())
    async with asyncio.timeout(SECONDS):
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
    writer.close()


def server_of(secure: Secure) -> Server:
    server = secure.gateway.runner.server
    assert isinstance(server, Server)
    return server


@pytest.mark.parametrize("data", [b"", b"\x16\x03\x01", V1, V1[:9]])
async def test_a_client_that_does_not_go_on_is_not_waited_for_for_long(start: Start, data: bytes) -> None:
    secure = await start(trusted_proxies="127.0.0.1", request_head_timeout_seconds=0.5)
    reader, writer = await secure.raw(data)
    async with asyncio.timeout(SECONDS):
        assert await reader.read() == b""
    writer.close()
    await eventually(lambda: not server_of(secure).handshakes)


async def test_one_handshake_begins_in_each_iteration_of_the_loop() -> None:
    turns = Turns(asyncio.get_running_loop())
    had: list[int] = []
    for number in range(3):
        turns.take(lambda number=number: had.append(number))  # type: ignore[misc]
    for count in range(1, 4):
        await asyncio.sleep(0)
        assert had == list(range(count))
    turns.take(lambda: turns.take(lambda: had.append(3)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert had == [0, 1, 2, 3]


async def test_handshakes_wait_for_their_turn_and_a_late_or_cancelled_one_ends(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting: list[Callable[[], None]] = []
    monkeypatch.setattr(Turns, "take", lambda _, turn: waiting.append(turn))
    secure = await start()
    call = asyncio.create_task(
        secure.asked(b"", b"GET /home/open/a HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n")
    )
    await eventually(lambda: waiting)
    [turn] = waiting
    turn()
    assert (await call).startswith(b"HTTP/1.1 200 ")
    server = server_of(secure)
    server.limits = dataclasses.replace(server.limits, head_seconds=0.5)
    reader, writer = await secure.raw(b"\x16\x03\x01")
    async with asyncio.timeout(SECONDS):
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
    writer.close()
    assert len(waiting) == 2
    waiting[1]()
    await eventually(lambda: not server_of(secure).handshakes)


async def test_a_client_that_goes_in_the_middle_of_a_handshake_leaves_nothing(start: Start) -> None:
    secure = await start()
    for data in (b"", b"\x16\x03\x01\x02\x00\x01"):
        _, writer = await secure.raw(data)
        await eventually(lambda: server_of(secure).handshakes)
        writer.transport.abort()
        await eventually(lambda: not server_of(secure).handshakes)
    assert (await secure.user("a")("GET", "/home/open/a")).status == 200


async def test_one_too_many_is_told_over_tls(start: Start, nothing_displaced: None) -> None:
    secure = await start(max_connections=1)
    await secure.user("a").lineup()
    async with _waiting_stream(secure):
        get = b"GET %b HTTP/1.1\r\nHost: gw\r\n\r\n"
        answer = await secure.asked(b"", get % b"/home/open/a")
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 5" in answer
        assert (await secure.asked(b"", get % b"/actuator/health/liveness")).startswith(b"HTTP/1.1 200 ")


def upload_in_pieces(port: int, framing: bytes, pieces: list[bytes]) -> bytes:
    """The answer to an upload whose client sends all of it before it reads. Raises OSError if the gateway does not let
    it."""
    with (
        socket.create_connection(("127.0.0.1", port), SECONDS) as plain,
        trusting(ONE).wrap_socket(plain, server_hostname="localhost") as client,
    ):
        client.sendall(b"POST /home/a HTTP/1.1\r\nHost: gw\r\n%b\r\n" % framing)
        for piece in pieces:
            client.sendall(piece)
            # The gateway is to answer meanwhile.
            time.sleep(0.005)
        return client.recv(65536)


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_client_may_send_its_whole_body_before_it_reads_that_it_was_refused(
    start: Start, chunked: bool
) -> None:
    secure = await start()
    piece, count = b"a" * 32_768, 30
    framing = b"Content-Length: %d\r\n" % (count * len(piece))
    pieces = [piece] * count
    if chunked:
        framing = b"Transfer-Encoding: chunked\r\n"
        pieces = [*[b"%x\r\n%b\r\n" % (len(piece), piece)] * count, b"0\r\n\r\n"]
    for _ in range(5):
        answer = await asyncio.to_thread(upload_in_pieces, secure.port, framing, pieces)
        assert answer.startswith(b"HTTP/1.1 401 ")
        assert b"\r\nConnection: close\r\n" in answer


async def test_a_connection_whose_client_sends_on_without_end_is_ended(start: Start) -> None:
    secure = await start()
    began = asyncio.get_running_loop().time()
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.to_thread(
            upload_in_pieces, secure.port, b"Content-Length: 999999999\r\n", [b"a" * 100] * 2000
        )
    assert asyncio.get_running_loop().time() - began < SECONDS


@asynccontextmanager
async def deaf_client(
    secure: Secure, connection: str, length: int = 300_000
) -> AsyncIterator[tuple[Guard, Callable[[], Awaitable[int]]]]:
    """A client that has asked for a long answer, most of which waits in the gateway: the guard of its connection, and
    what reads it and returns how many of its ``length`` bytes came."""
    server, loop = server_of(secure), asyncio.get_running_loop()
    body = b"x" * length
    head = b"POST /home/open/a HTTP/1.1\r\nHost: gw\r\nConnection: %b\r\nContent-Length: %d\r\n\r\n"
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
    with plain:
        await asyncio.to_thread(plain.connect, ("127.0.0.1", secure.port))
        client = await asyncio.to_thread(trusting(ONE).wrap_socket, plain, server_hostname="localhost")
        with client:
            await eventually(lambda: server.guards)
            [guard] = server.guards
            assert guard.transport is not None
            guard.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)
            await asyncio.to_thread(client.sendall, head % (connection.encode(), len(body)) + body)

            def read() -> int:
                count = 0
                while count < len(body) and (data := client.recv(65_536)):
                    count += data.count(b"x")
                return count

            yield guard, lambda: asyncio.wait_for(loop.run_in_executor(None, read), SECONDS)


async def test_an_answer_reaches_a_client_that_takes_longer_for_it_than_the_end_may_take(
    start: Start,
) -> None:
    secure = await start()
    server = server_of(secure)
    server.limits = dataclasses.replace(server.limits, linger_seconds=0.05)
    async with deaf_client(secure, "close") as (guard, read):
        await eventually(lambda: guard.transport is None or guard.transport.is_closing())
        await asyncio.sleep(0.5)
        assert await read() == 300_000
    await eventually(lambda: not server.guards)


async def test_a_client_that_never_takes_its_answer_is_not_waited_for_without_end(start: Start) -> None:
    secure = await start(response_write_timeout_seconds=0.3)
    server = server_of(secure)
    server.limits = dataclasses.replace(server.limits, linger_seconds=0.05)
    async with deaf_client(secure, "close"):
        await eventually(lambda: not server.guards)


async def test_a_client_that_does_not_end_the_connection_is_not_waited_for_for_long(start: Start) -> None:
    secure = await start()
    server = server_of(secure)
    server.limits = dataclasses.replace(server.limits, linger_seconds=0.05)
    async with deaf_client(secure, "close") as (_, read):
        assert await read() == 300_000
        await eventually(lambda: not server.guards)


async def test_no_connection_makes_room_whose_client_still_takes_an_answer(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(displacement, "MIN_IDLE_SECONDS", 0.0)
    secure = await start(max_connections=1)
    async with deaf_client(secure, "keep-alive", 90_000) as (guard, read):
        await eventually(lambda: guard.idle_since < math.inf)
        late = await secure.asked(b"", b"GET /home/open/b HTTP/1.1\r\nHost: gw\r\n\r\n")
        assert late.startswith(b"HTTP/1.1 503 ")
        assert await read() == 90_000
        late = await secure.asked(b"", b"GET /home/open/b HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n")
        assert late.startswith(b"HTTP/1.1 200 ")


async def test_a_stop_ends_streams_and_lets_requests_finish(start: Start, gateways: Gateways) -> None:
    secure = await start()
    await secure.user("a").lineup()
    async with _waiting_stream(secure) as stream:
        assert isinstance(secure.gateway.runner, Runner)
        async with asyncio.timeout(SECONDS):
            await secure.gateway.runner.stop_serving(1.0)
        with pytest.raises((aiohttp.ClientError, OSError)):
            await secure.user("a")("GET", "/home/open/a")
        assert stream.status == 200


@asynccontextmanager
async def _waiting_stream(secure: Secure) -> AsyncIterator[Stream]:
    waiting = secure.user("b")
    await waiting.lineup()
    async with waiting.stream() as stream:
        await stream.until("STATUS_UPDATE")
        yield stream


async def test_a_websocket_that_its_client_closes_reaches_the_service(start: Start) -> None:
    secure = await start()
    token = secure.gateway.issuer.token("a")
    async with secure.session.ws_connect(
        f"{secure.base}/home/open/ws", headers={"Authorization": f"Bearer {token}"}
    ) as socket:
        await socket.close()
        assert (await socket.receive(SECONDS)).type in (WSMsgType.CLOSE, WSMsgType.CLOSED)
