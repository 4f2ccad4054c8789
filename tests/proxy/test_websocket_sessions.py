"""WebSockets behind a gate end with the session that let them in."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import WSCloseCode, WSMsgType, web

from gateway.app import WAITING_ROOMS
from gateway.context import OBSERVERS, ROOMS, SESSIONS
from tests.support.gateway import Gateways, Running
from tests.support.listening import listening
from tests.support.waiting import eventually

pytestmark = pytest.mark.redis

ROUTES = """
routes:
  - {id: chat, uri: "%(service)s", predicates: ["Path=/gated/**,/free/**,/lasting/**,/renewing/**,/concerts/**"]}
gates:
  - {room: default, calls: ["GET /gated/**"], renews: ["GET /renewing/**"]}
  - {room: default, calls: ["GET /lasting/**"], websocket: outlive}
  - {room: "concert-{id}", calls: ["GET /concerts/{id}/**"]}
rooms:
  "concert-*": {}
  default: {bypass: [{name: staff, claim: role, values: [staff]}]}
"""


class Chat:
    """A service that echoes, and keeps the close codes that it got."""

    def __init__(self) -> None:
        self.codes: asyncio.Queue[int | None] = asyncio.Queue()
        self.got: list[str] = []
        self.open = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(max_msg_size=0)
        await socket.prepare(request)
        self.open += 1
        async for message in socket:
            self.got.append(message.data)
            await socket.send_str(message.data)
        self.open -= 1
        self.codes.put_nowait(socket.close_code)
        return socket


@pytest.fixture
async def chat(gateways: Gateways) -> AsyncIterator[Chat]:
    chat, app = Chat(), web.Application()
    app.router.add_get("/{path:.*}", chat.handle)
    async with listening(web.AppRunner(app, access_log=None, shutdown_timeout=1.0)) as gateways.service.url:
        yield chat


@asynccontextmanager
async def connected(
    gateway: Running, path: str, user: str = "a", **claims: Any
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    headers = {"Authorization": f"Bearer {gateway.issuer.token(user, **claims)}"}
    async with gateway.session.ws_connect(gateway.base + path, headers=headers) as socket:
        await socket.send_str("hello")
        assert (await socket.receive(10)).data == "hello"
        yield socket


def ended(gateway: Running, by: str) -> float:
    registry = gateway.app[OBSERVERS].metrics.registry
    return registry.get_sample_value("gateway_websockets_ended_total", {"route": "chat", "by": by}) or 0.0


async def closed_by_gateway(
    gateway: Running, chat: Chat, socket: aiohttp.ClientWebSocketResponse, *, others: int = 0
) -> None:
    """Waits until both sides have been told that the session is over."""
    message = await socket.receive(10)
    assert (message.type, message.data) == (WSMsgType.CLOSE, WSCloseCode.POLICY_VIOLATION)
    assert message.extra == "the session in the waiting room is over"
    async with asyncio.timeout(10):
        assert await chat.codes.get() == WSCloseCode.POLICY_VIOLATION
    await eventually(lambda: ended(gateway, "session") == 1)
    assert len(gateway.app[SESSIONS]) == others


async def test_one_ends_when_its_user_leaves(gateways: Gateways, chat: Chat) -> None:
    gateway = await gateways.start(ROUTES)
    user = gateway.user("a")
    await user.lineup()
    async with connected(gateway, "/gated/x") as socket:
        assert (await user("DELETE", "/api/v1/queue/allowed-in-token")).status == 200
        await closed_by_gateway(gateway, chat, socket)


async def test_one_ends_when_an_operator_removes_its_user(gateways: Gateways, chat: Chat) -> None:
    gateway = await gateways.start(ROUTES)
    await gateway.user("a").lineup()
    async with connected(gateway, "/gated/x") as socket:
        await gateway.app[ROOMS]["default"].operations.remove(["a"])
        await closed_by_gateway(gateway, chat, socket)


@pytest.mark.parametrize("gone", [False, True], ids=["left", "forgotten"])
async def test_one_of_a_room_that_calls_have_made_ends_with_its_session_and_with_the_room(
    gateways: Gateways, chat: Chat, gone: bool
) -> None:
    gateway = await gateways.start(ROUTES)
    user, others = gateway.user("a"), gateway.user("b")
    assert (await user("POST", "/api/v1/queue/lineup?room=concert-7")).status == 200
    await others.lineup()
    async with connected(gateway, "/concerts/7/x") as socket, connected(gateway, "/gated/x", "b") as other:
        if gone:
            # Redis has lost it, as after a restart without a file.
            room = gateway.app[ROOMS]["concert-7"]
            await room._link("presence").call("DEL", *room.keys.common)
        else:
            await user("POST", "/api/v1/queue/leave?room=concert-7")
        await closed_by_gateway(gateway, chat, socket, others=1)
        await other.send_str("still here")
        assert (await other.receive(10)).data == "still here"


@pytest.mark.parametrize("limits", [{"allowed_in_duration_seconds": 2}, {"queue_max_session_seconds": 2}])
async def test_one_ends_when_the_session_expires(
    gateways: Gateways, chat: Chat, limits: dict[str, object]
) -> None:
    gateway = await gateways.start(ROUTES, **limits)
    await gateway.user("a").lineup()
    async with connected(gateway, "/gated/x") as socket:
        await closed_by_gateway(gateway, chat, socket)


async def test_gated_calls_keep_it_and_messages_do_not(gateways: Gateways, chat: Chat) -> None:
    gateway = await gateways.start(ROUTES, allowed_in_duration_seconds=2)
    user, loop = gateway.user("a"), asyncio.get_running_loop()
    await user.lineup()
    async with connected(gateway, "/gated/x") as socket:
        until = loop.time() + 4
        while loop.time() < until:
            async with connected(gateway, "/gated/x"):
                pass
            await asyncio.sleep(0.5)
        await socket.send_str("still here")
        assert (await socket.receive(10)).data == "still here"
        until = loop.time() + 10
        message = None
        while loop.time() < until and (message is None or message.type is WSMsgType.TEXT):
            with contextlib.suppress(ConnectionError):
                await socket.send_str("talk")
            message = await socket.receive(10)
        assert message is not None
        assert message.data == WSCloseCode.POLICY_VIOLATION


async def test_a_new_session_of_the_same_user_does_not_keep_it(gateways: Gateways, chat: Chat) -> None:
    gateway = await gateways.start(ROUTES)
    user = gateway.user("a")
    await user.lineup()
    async with connected(gateway, "/gated/x") as socket:
        watch = gateway.app[SESSIONS]
        await eventually(lambda: all(each.began for each in watch._watched))
        await user("DELETE", "/api/v1/queue/allowed-in-token")
        await asyncio.sleep(0.01)  # two sessions in one millisecond would be one
        assert (await user.lineup()).status == 200
        assert (await gateway.app[ROOMS]["default"].operations.find("a")).state == "ALLOWED_IN"
        await closed_by_gateway(gateway, chat, socket)


@pytest.mark.parametrize(
    ("path", "claims"),
    [("/free/x", {}), ("/renewing/x", {}), ("/lasting/x", {}), ("/gated/x", {"role": "staff"})],
)
async def test_no_other_one_is_watched(
    gateways: Gateways, chat: Chat, path: str, claims: dict[str, str]
) -> None:
    gateway = await gateways.start(ROUTES)
    user = gateway.user("a")
    await user.lineup()
    async with connected(gateway, path, **claims) as socket:
        assert len(gateway.app[SESSIONS]) == 0
        await user("DELETE", "/api/v1/queue/allowed-in-token")
        await socket.send_str("still here")
        assert (await socket.receive(10)).data == "still here"


@pytest.mark.parametrize("mode", ["off", "observe"])
async def test_a_room_that_lets_everyone_pass_ends_none(gateways: Gateways, chat: Chat, mode: str) -> None:
    gateway = await gateways.start(ROUTES, allowed_in_max_capacity=2)
    user = gateway.user("a")
    await user.lineup()
    await gateway.user("b").lineup()
    room = gateway.app[ROOMS]["default"]
    async with connected(gateway, "/gated/x") as socket, connected(gateway, "/gated/x", "b") as other:
        await room.operations.set_limits(rules={"mode": mode})
        await user("DELETE", "/api/v1/queue/allowed-in-token")
        rounds = _rounds(gateway)
        await eventually(lambda: _rounds(gateway) >= rounds + 2)
        for each in (socket, other):
            await each.send_str("still here")
            assert (await each.receive(10)).data == "still here"
        await room.operations.set_limits(rules={"mode": "on"})
        await room.operations.remove(["a"])
        await closed_by_gateway(gateway, chat, socket, others=1)
        await other.send_str("still here")
        assert (await other.receive(10)).data == "still here"


def _rounds(gateway: Running) -> float:
    registry = gateway.app[OBSERVERS].metrics.registry
    labels = {"script": "sessions"}
    return registry.get_sample_value("gateway_script_seconds_count", labels) or 0.0


async def test_nothing_is_asked_while_nothing_is_watched_and_once_a_second_for_many(
    gateways: Gateways, chat: Chat
) -> None:
    gateway = await gateways.start(ROUTES, allowed_in_max_capacity=40)
    assert _rounds(gateway) == 0
    users = [f"u{number}" for number in range(40)]
    await asyncio.gather(*(gateway.user(user).lineup() for user in users))
    headers = [{"Authorization": f"Bearer {gateway.issuer.token(user)}"} for user in users]
    sockets = await asyncio.gather(
        *(gateway.session.ws_connect(gateway.base + "/gated/x", headers=each) for each in headers)
    )
    await eventually(lambda: all(each.began for each in gateway.app[SESSIONS]._watched))
    before = _rounds(gateway)
    for _ in range(50):
        await asyncio.gather(*(socket.send_str("x") for socket in sockets))
        await asyncio.sleep(0.02)
    assert _rounds(gateway) - before <= 4
    await asyncio.gather(*(socket.close() for socket in sockets))
    await eventually(lambda: len(gateway.app[SESSIONS]) == 0)


async def test_a_side_that_does_not_answer_the_close_is_cut_off(
    gateways: Gateways, chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.proxy.websocket._CLOSE_SECONDS", 0.3)
    gateway = await gateways.start(ROUTES)
    user = gateway.user("a")
    await user.lineup()
    async with connected(gateway, "/gated/x") as socket:
        # Half a frame: its end never comes.
        writer = socket._writer.transport
        writer.write(b"\x81\xfe")
        await asyncio.sleep(0.1)
        await user("DELETE", "/api/v1/queue/allowed-in-token")
        message = await socket.receive(10)
        assert message.data == WSCloseCode.POLICY_VIOLATION
        await eventually(lambda: ended(gateway, "session") == 1)
    assert chat.got == ["hello"]


async def test_while_redis_is_away_nothing_ends(gateways: Gateways, chat: Chat) -> None:
    gateway = await gateways.start(ROUTES)
    user = gateway.user("a")
    await user.lineup()
    async with connected(gateway, "/gated/x") as socket:
        room = gateway.app[WAITING_ROOMS].rooms["default"]
        room._refused = "away, as far as this room goes"
        await asyncio.sleep(1.5)
        await socket.send_str("still here")
        assert (await socket.receive(10)).data == "still here"
        room._refused = ""
        await room.operations.remove(["a"])
        await closed_by_gateway(gateway, chat, socket)
