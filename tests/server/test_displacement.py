"""As many connections as there may be: new clients take the place of idle ones."""

from __future__ import annotations

import asyncio
import math
from contextlib import AsyncExitStack

import pytest

from gateway.context import OBSERVERS
from gateway.server import displacement
from gateway.server.connection import Guard
from gateway.server.displacement import MAX_EXAMINED, MAX_LEAVING, MIN_IDLE_SECONDS, Displacement
from gateway.server.listener import Server
from gateway.server.socket_buffer import unsent_bytes
from tests.server.test_tls_port import ONE, Secure, Start
from tests.server.test_tls_port import start as start  # noqa: PLC0414 - a fixture
from tests.support.certificate_files import trusting
from tests.support.gateway import Gateways, Running
from tests.support.raw_http import SECONDS, Client, connected, request
from tests.support.waiting import eventually

ROUTES = """
routes:
  - {id: open, uri: "SERVICE", predicates: ["Path=/open/**"]}
access:
  public: ["/open/**"]
"""
MOST = 5


class Idle:
    """A connection that has been idle since a moment."""

    def __init__(self, since: float, *, arriving: bool = False, had_request: bool = True) -> None:
        self.idle_since = since
        self.had_request = had_request
        self.arriving = arriving
        self.ended = False

    def displace(self) -> bool:
        self.ended = not self.arriving
        return self.ended


def ended(connections: list[Idle]) -> list[int]:
    return [at for at, one in enumerate(connections) if one.ended]


async def test_the_connection_that_was_idle_longest_makes_room() -> None:
    now = asyncio.get_running_loop().time()
    connections = [Idle(now - seconds) for seconds in (5, 9, 7, 0.5 * MIN_IDLE_SECONDS)]
    assert Displacement(connections).make_room()
    assert ended(connections) == [1]


async def test_connections_that_never_had_a_request_make_room_first() -> None:
    now = asyncio.get_running_loop().time()
    connections = [Idle(now - 9), Idle(now - 2, had_request=False), Idle(now - 8)]
    room = Displacement(connections)
    assert room.make_room()
    assert ended(connections) == [1]
    assert room.make_room()
    assert ended(connections) == [0, 1]


async def test_connections_with_a_request_and_those_idle_for_a_moment_stay() -> None:
    now = asyncio.get_running_loop().time()
    connections = [Idle(math.inf), Idle(now - 0.5 * MIN_IDLE_SECONDS), Idle(now - 9, arriving=True)]
    assert not Displacement(connections).make_room()
    assert ended(connections) == []
    connections.append(Idle(now - 8))
    assert Displacement(connections).make_room()
    assert ended(connections) == [3]


async def test_all_connections_are_looked_at_in_turn_and_few_at_a_time() -> None:
    now = asyncio.get_running_loop().time()
    connections = [Idle(math.inf) for _ in range(3 * MAX_EXAMINED)]
    room = Displacement(connections)
    for _ in range(2):
        connections[MAX_EXAMINED + 7] = one = Idle(now - 9)
        assert [room.make_room() for _ in range(3)] == [False, True, False]
        assert one.ended


async def test_few_connections_that_made_room_are_open_at_a_time() -> None:
    now = asyncio.get_running_loop().time()
    connections = [Idle(now - 9) for _ in range(MAX_LEAVING + 1)]
    room = Displacement(connections)
    assert all(room.make_room() for _ in range(MAX_LEAVING))
    assert (room.leaving, room.make_room()) == (MAX_LEAVING, False)
    connections.remove(next(one for one in connections if one.ended))
    assert room.make_room()
    assert all(one.ended for one in connections)


def server_of(gateway: Running) -> Server:
    server = gateway.runner.server
    assert isinstance(server, Server)
    return server


def guards_of(gateway: Running) -> set[Guard]:
    return server_of(gateway).guards


def displaced(gateway: Running) -> float | None:
    return gateway.app[OBSERVERS].metrics.registry.get_sample_value(
        "gateway_idle_connections_displaced_total"
    )


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection makes room however short it has been idle."""
    monkeypatch.setattr(displacement, "MIN_IDLE_SECONDS", 0.0)


async def opened(gateway: Running, stack: AsyncExitStack) -> Client:
    """One more connection, on which nothing was asked yet."""
    before = set(guards_of(gateway))
    client = await stack.enter_async_context(connected(gateway.base))
    await eventually(lambda: guards_of(gateway) - before)
    return client


@pytest.mark.parametrize("trusted", ["", "127.0.0.1"], ids=["client", "trusted proxy"])
@pytest.mark.parametrize(
    "sent", [b"", b"G", b"GET /a HTTP/1.1\r\nHo"], ids=["nothing", "a letter", "half a head"]
)
async def test_a_client_that_holds_all_connections_without_a_request_does_not_keep_others_out(
    gateways: Gateways, at_once: None, trusted: str, sent: bytes
) -> None:
    gateway = await gateways.start(
        ROUTES.replace("SERVICE", gateways.service.url), max_connections=MOST, trusted_proxies=trusted
    )
    async with AsyncExitStack() as stack:
        for _ in range(3 * MOST):
            idle = await opened(gateway, stack)
            idle.send(sent)
            async with connected(gateway.base) as client:
                assert (await client.ask("GET", "/open/a")).status == 200
            await eventually(lambda: len(guards_of(gateway)) <= MOST)
    assert (displaced(gateway) or 0) >= 2 * MOST


async def test_an_idle_connection_ends_in_order_and_busy_ones_go_on(
    gateways: Gateways, at_once: None
) -> None:
    gateway = await gateways.start(ROUTES.replace("SERVICE", gateways.service.url), max_connections=3)
    busy = []
    async with AsyncExitStack() as stack:

        async def occupy(client: Client) -> None:
            idle = sum(guard.idle_since < math.inf for guard in guards_of(gateway))
            client.send(request("POST", "/open/a", "Content-Length: 1"))
            busy.append(client)
            await eventually(lambda: sum(guard.idle_since < math.inf for guard in guards_of(gateway)) < idle)

        await occupy(await opened(gateway, stack))
        await occupy(await opened(gateway, stack))
        idle = await opened(gateway, stack)
        assert (await idle.ask("GET", "/open/a")).status == 200
        new = await opened(gateway, stack)
        assert await idle.rest() == b""
        await occupy(new)
        async with connected(gateway.base) as late:
            late.send(request("GET", "/open/a"))
            assert (await late.head()).status == 503
        for client in busy:
            client.send(b"x")
            assert (await client.answer()).status == 200


async def test_a_connection_that_was_just_used_stays(
    gateways: Gateways, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(displacement, "MIN_IDLE_SECONDS", 60.0)
    gateway = await gateways.start(ROUTES.replace("SERVICE", gateways.service.url), max_connections=1)
    async with connected(gateway.base) as first:
        assert (await first.ask("GET", "/actuator/health/liveness")).status == 200
        async with connected(gateway.base) as late:
            late.send(request("GET", "/open/a"))
            assert (await late.head()).status == 503
        assert (await first.ask("GET", "/actuator/health/liveness")).status == 200
    assert displaced(gateway) == 0


async def test_a_client_that_still_takes_an_answer_is_not_idle(gateways: Gateways, at_once: None) -> None:
    gateway = await gateways.start(ROUTES.replace("SERVICE", gateways.service.url), max_connections=1)
    async with AsyncExitStack() as stack:
        await opened(gateway, stack)
        [guard] = guards_of(gateway)
        assert guard.transport is not None
        guard.transport.pause_reading()
        guard.transport.set_write_buffer_limits(high=1 << 30)
        guard.transport.write(b"x" * (8 << 20))
        assert guard.idle_since == math.inf
        assert not guard.displace()
        async with connected(gateway.base) as late:
            late.send(request("GET", "/open/a"))
            assert (await late.head()).status == 503


async def test_idle_connections_make_room_when_file_descriptors_are_used_up(
    gateways: Gateways, at_once: None
) -> None:
    gateway = await gateways.start(ROUTES.replace("SERVICE", gateways.service.url))
    async with AsyncExitStack() as stack:
        await opened(gateway, stack)
        server_of(gateway)._descriptors = 0
        for _ in range(3):
            client = await opened(gateway, stack)
            assert (await client.ask("GET", "/open/a")).status == 200
    assert displaced(gateway) == 3


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def over_tls(secure: Secure, stack: AsyncExitStack) -> Streams:
    """One more connection over TLS, on which nothing was asked yet."""
    reader, writer = await secure.raw()
    stack.callback(writer.transport.abort)
    await writer.start_tls(trusting(ONE), server_hostname="localhost")
    return reader, writer


async def ask(connection: Streams) -> None:
    reader, writer = connection
    writer.write(b"GET /home/open/a HTTP/1.1\r\nHost: gw\r\n\r\n")
    async with asyncio.timeout(SECONDS):
        assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")


async def test_idle_connections_make_room_over_tls(start: Start, at_once: None) -> None:
    secure = await start(max_connections=MOST)
    async with AsyncExitStack() as stack:
        for _ in range(3 * MOST):
            await ask(await over_tls(secure, stack))
            await eventually(lambda: len(guards_of(secure.gateway)) <= MOST)


async def test_connects_that_never_speak_tls_end_no_connection_that_had_a_request(
    start: Start, at_once: None
) -> None:
    secure = await start(max_connections=MOST)
    server = server_of(secure.gateway)
    async with AsyncExitStack() as stack:
        clients = []
        while len(server.guards) < MOST:
            clients.append(await over_tls(secure, stack))
            await ask(clients[-1])
        served = set(server.guards)
        silent = []
        for _ in range(5 * MOST):
            silent.append(await secure.raw())
            stack.callback(silent[-1][1].transport.abort)
        await eventually(lambda: len(server.handshakes) == 16 and displaced(secure.gateway) == 5 * MOST - 16)
        assert server.guards == served
        # A client that does speak TLS takes the place of one of them, and then of a connection that is idle.
        await ask(await over_tls(secure, stack))
        assert len(server.handshakes) <= 16


async def test_one_client_over_tls_ends_one_connection_when_file_descriptors_are_used_up(
    start: Start, at_once: None
) -> None:
    secure = await start()
    server = server_of(secure.gateway)
    async with AsyncExitStack() as stack:
        clients = [await over_tls(secure, stack) for _ in range(2)]
        for client in clients:
            await ask(client)
        await eventually(lambda: all(not unsent_bytes(guard.transport) for guard in server.guards))
        server._descriptors = 0
        await ask(await over_tls(secure, stack))
        assert displaced(secure.gateway) == 1
