"""A gateway that is told to stop ends within its grace time and a second, whatever is in flight or hangs."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Self

import aiohttp
import pytest
import redis

from tests.support.gateway import Caller
from tests.support.gateway_process import GatewayProcess, gateway_process
from tests.support.raw_http import Client, connected, request
from tests.support.redis_server import RedisServer
from tests.support.tokens import Issuer, serving

GRACE = 1.0
ROUTES = """
routes:
  - {id: open, uri: "%s", predicates: ["Path=/open/**"]}
access:
  public: ["/open/**"]
rooms:
  a: {}
  b: {}
  c: {}
"""
HANDSHAKE = request(
    "GET",
    "/open/ws",
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


class Late:
    """While entered: for how many seconds, in all, the machine had no time: this process was woken up late, or the
    other one stood in line for a processor. A process that hangs does not stand there."""

    def __init__(self, other: asyncio.subprocess.Process) -> None:
        self._other = Path(f"/proc/{other.pid}/schedstat")
        self._own = self._waited = 0.0
        self._began = self._waited_so_far()

    @property
    def seconds(self) -> float:
        return self._own + self._waited

    def _waited_so_far(self) -> float:
        """Nothing once the process is gone."""
        with suppress(OSError, IndexError):
            return int(self._other.read_text().split()[1]) / 1e9
        return 0.0

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *error: object) -> None:
        self._task.cancel()

    async def _watch(self) -> None:
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.02)
            self._own += time.monotonic() - began - 0.02
            self._waited = max(self._waited, self._waited_so_far() - self._began)


@asynccontextmanager
async def service() -> AsyncIterator[str]:
    """A service that never finishes: no head at all, a body without end, or a WebSocket in silence."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if b"/open/download" in head:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nabc")
            elif b"/open/stream" in head:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
            elif b"/open/ws" in head:
                writer.write(
                    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
                )
            while await reader.read(65536):
                pass
        finally:
            writer.close()

    async with hanging(serve) as port:
        yield f"http://127.0.0.1:{port}"


@asynccontextmanager
async def hanging(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]] | None = None,
) -> AsyncIterator[int]:
    """A server that takes connections and says nothing, or what ``serve`` says."""
    tasks: set[asyncio.Task[None]] = set()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65536):
            pass
        writer.close()

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await (serve or silent)(reader, writer)
        writer.close()

    server = await asyncio.start_server(keep, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks)


async def stopped(
    gateway: GatewayProcess, number: signal.Signals = signal.SIGTERM, *, grace: float = GRACE
) -> None:
    async with Late(gateway.process) as late:
        began = time.monotonic()
        gateway.send(number)
        status = await gateway.ended()
        took = time.monotonic() - began
    log = "\n".join(gateway.lines)
    assert status == 0, log
    assert took < grace + 1 + late.seconds, log
    assert "Traceback" not in log


def environ_of(redis_url: str, **more: str) -> dict[str, str]:
    return {
        "REDIS_URL": redis_url,
        "JWT_JWKS_URI": "http://127.0.0.1:1/",
        "SHUTDOWN_GRACE_SECONDS": f"{GRACE:g}",
        **more,
    }


async def waits_for_head(client: Client) -> None:
    client.send(request("GET", "/open/silent"))
    await asyncio.sleep(0.2)


async def downloads(client: Client) -> None:
    client.send(request("GET", "/open/download"))
    assert (await client.head()).status == 200


async def streams(client: Client) -> None:
    client.send(request("GET", "/open/stream"))
    assert (await client.head()).status == 200


async def begins_a_body(client: Client) -> None:
    client.send(request("POST", "/open/upload", "Content-Length: 70000") + b"abc")
    await asyncio.sleep(0.2)


async def uploads(client: Client) -> None:
    client.send(request("POST", "/open/upload", "Content-Length: 700000") + b"a" * 100_000)
    await asyncio.sleep(0.2)


async def begins_a_head(client: Client) -> None:
    client.send(b"GET /open/x HTTP/1.1\r\nHos")
    await asyncio.sleep(0.1)


async def has_a_websocket(client: Client) -> None:
    client.send(HANDSHAKE)
    assert (await client.head()).status == 101


async def reads_nothing(client: Client) -> None:
    for _ in range(50):
        client.send(request("GET", "/v3/api-docs"))
    await asyncio.sleep(0.3)


IN_FLIGHT = [
    waits_for_head,
    downloads,
    streams,
    begins_a_body,
    uploads,
    begins_a_head,
    has_a_websocket,
    reads_nothing,
]


@pytest.mark.parametrize("begin", IN_FLIGHT, ids=lambda begin: begin.__name__)
@pytest.mark.parametrize("grace", [GRACE, 0.0])
async def test_it_ends_in_time_whatever_is_in_flight(
    tmp_path: Path, redis_url: str, begin: Callable[[Client], Awaitable[None]], grace: float
) -> None:
    async with service() as url:
        (tmp_path / "routes.yaml").write_text(ROUTES % url)
        environ = environ_of(redis_url, SHUTDOWN_GRACE_SECONDS=f"{grace:g}")
        async with gateway_process(environ, tmp_path) as gateway, AsyncExitStack() as stack:
            for _ in range(3):
                client = await stack.enter_async_context(connected(gateway.base))
                await begin(client)
            await stopped(gateway, grace=grace)


async def test_what_finishes_within_the_grace_time_is_answered(tmp_path: Path, redis_url: str) -> None:
    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(1.0)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await reader.read()

    async with hanging(late) as port:
        (tmp_path / "routes.yaml").write_text(ROUTES % f"http://127.0.0.1:{port}")
        environ = environ_of(redis_url, SHUTDOWN_GRACE_SECONDS="8")
        async with gateway_process(environ, tmp_path) as gateway, connected(gateway.base) as client:
            client.send(request("GET", "/open/x"))
            await asyncio.sleep(0.2)
            gateway.send(signal.SIGTERM)
            answer = await client.answer()
            assert (answer.status, answer.body, answer.all("Connection")) == (200, b"ok", ["close"])
            assert await gateway.ended() == 0


async def test_half_a_download_without_a_length_does_not_look_complete(
    tmp_path: Path, redis_url: str
) -> None:
    async with service() as url:
        (tmp_path / "routes.yaml").write_text(ROUTES % url)
        async with (
            gateway_process(environ_of(redis_url), tmp_path) as gateway,
            connected(gateway.base) as client,
        ):
            client.send(request("GET", "/open/stream", version="1.0"))
            assert (await client.head()).status == 200
            gateway.send(signal.SIGTERM)
            with pytest.raises(ConnectionResetError):
                await client.rest()


async def test_it_ends_in_time_while_lineups_streams_and_a_hung_redis_wait(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    issuer = Issuer()
    async with serving(issuer) as keys, service() as url, AsyncExitStack() as stack:
        (tmp_path / "routes.yaml").write_text(ROUTES % url)
        with RedisServer() as own:
            environ = environ_of(own.url, REDIS_TIMEOUT_SECONDS="30", JWT_JWKS_URI=keys.uri)
            environ["ALLOWED_IN_MAX_CAPACITY"] = "0"
            gateway = await stack.enter_async_context(gateway_process(environ, tmp_path))
            session = await stack.enter_async_context(aiohttp.ClientSession())
            user = Caller(session, gateway.base, issuer.token("one"))
            async with asyncio.timeout(20):
                while (await user.lineup()).status != 200:  # keys and Redis need a moment
                    await asyncio.sleep(0.02)
            stream = await stack.enter_async_context(user.stream())
            await stream.until("STATUS_UPDATE")
            assert own.process is not None
            own.process.send_signal(signal.SIGSTOP)
            try:
                waiting = [
                    asyncio.ensure_future(Caller(session, gateway.base, issuer.token(name)).lineup(room=room))
                    for name, room in (("two", "a"), ("three", "b"), ("four", "default"))
                ]
                await asyncio.sleep(0.3)
                await stopped(gateway)
                await asyncio.gather(*waiting, return_exceptions=True)
            finally:
                own.process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("grace", [GRACE, 0.0])
async def test_it_ends_in_time_while_eureka_and_the_collector_hang(
    tmp_path: Path, redis_url: str, grace: float
) -> None:
    async with hanging() as eureka, hanging() as collector, service() as url:
        (tmp_path / "routes.yaml").write_text(ROUTES % url)
        environ = environ_of(
            redis_url,
            EUREKA_CLIENT_SERVICEURL_DEFAULTZONE=f"http://127.0.0.1:{eureka}/eureka",
            ZIPKIN_ENDPOINT=f"http://127.0.0.1:{collector}/api/v2/spans",
            TRACING_SAMPLING_PROBABILITY="1",
            SHUTDOWN_GRACE_SECONDS=f"{grace:g}",
        )
        async with gateway_process(environ, tmp_path) as gateway, connected(gateway.base) as client:
            for _ in range(5):
                assert (await client.ask("GET", "/actuator/health/liveness")).status == 200
            await waits_for_head(client)
            await stopped(gateway, grace=grace)


@pytest.mark.parametrize("hangs", [False, True])
async def test_it_ends_in_time_with_an_embedded_redis(tmp_path: Path, hangs: bool) -> None:
    async with service() as url:
        (tmp_path / "routes.yaml").write_text(ROUTES % url)
        environ = environ_of("embedded", EMBEDDED_REDIS_DIR=str(tmp_path / "redis"))
        async with gateway_process(environ, tmp_path) as gateway, connected(gateway.base) as client:
            with redis.Redis(unix_socket_path=str(tmp_path / "redis" / "redis.sock")) as own:
                process = int(own.info("server")["process_id"])
            await waits_for_head(client)
            if hangs:
                os.kill(process, signal.SIGSTOP)
            await stopped(gateway)
        async with asyncio.timeout(10):
            while Path(f"/proc/{process}").exists():
                await asyncio.sleep(0.02)


async def test_a_signal_during_the_start_ends_it(tmp_path: Path, redis_url: str) -> None:
    """Eureka hangs, and the start waits for it."""
    async with hanging() as eureka:
        (tmp_path / "routes.yaml").write_text(ROUTES % "http://127.0.0.1:1")
        environ = environ_of(
            redis_url,
            EUREKA_CLIENT_SERVICEURL_DEFAULTZONE=f"http://127.0.0.1:{eureka}/eureka",
            SHUTDOWN_GRACE_SECONDS="20",
            LOG_LEVEL="DEBUG",
        )
        async with gateway_process(environ, tmp_path, wait=False) as gateway:
            async with asyncio.timeout(20):
                while not gateway.lines:
                    await asyncio.sleep(0.01)
            await stopped(gateway, grace=0)


@pytest.mark.parametrize("again", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_it_at_once(tmp_path: Path, redis_url: str, again: signal.Signals) -> None:
    async with service() as url:
        (tmp_path / "routes.yaml").write_text(ROUTES % url)
        environ = environ_of(redis_url, SHUTDOWN_GRACE_SECONDS="60")
        async with gateway_process(environ, tmp_path) as gateway, connected(gateway.base) as client:
            await waits_for_head(client)
            gateway.send(signal.SIGTERM)
            async with asyncio.timeout(10):
                while not any("stopping: 60 s" in line for line in gateway.lines):
                    await asyncio.sleep(0.01)
            async with Late(gateway.process) as late:
                began = time.monotonic()
                gateway.send(again)
                assert await gateway.ended() == 128 + again
                assert time.monotonic() - began < 1 + late.seconds
            assert any("ending at once" in line for line in gateway.lines)


STUCK = """
import asyncio, json, os, signal, sys, time
from gateway.observability.logging import LineWriter
from gateway.serve import Stop

async def serve():
    stop = Stop({grace}, LineWriter(sys.stdout), own_process=True)
    with stop.signals():
        {held}
        os.kill(os.getpid(), signal.SIGTERM)
        await stop.requested()
        print(json.dumps(time.monotonic()), flush=True)
        {late}

asyncio.run(serve())
"""


@pytest.mark.parametrize(
    ("held", "late"),
    [
        ("pass", "time.sleep(60)"),
        ("asyncio.get_running_loop().run_in_executor(None, time.sleep, 60)", "pass"),
        ("pass", "await asyncio.sleep(60)"),
    ],
    ids=["the loop", "a thread", "a wait"],
)
async def test_whatever_hangs_at_the_end_the_process_ends(held: str, late: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        STUCK.format(grace=0.2, held=held, late=late),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    try:
        began = float(json.loads(await process.stdout.readline()))
        async with Late(process) as late, asyncio.timeout(20):
            assert await process.wait() == 0
            assert time.monotonic() - began < 0.2 + 1 + late.seconds
    finally:
        if process.returncode is None:
            process.kill()
