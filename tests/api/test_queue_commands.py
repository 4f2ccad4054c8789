"""What services tell the waiting room by headers of their answers, over real HTTP, on the fast path and besides it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from prometheus_client import generate_latest

from gateway.context import OBSERVERS, ROOMS
from gateway.waiting_room.rooms import Rooms
from tests.support.gateway import Answer, Gateways, Running
from tests.support.listening import listening
from tests.support.waiting import eventually

OPERATOR = "operator-token-of-the-tests"
ROUTES = """
routes:
  - {id: all, uri: "%s", predicates: ["Path=/**"]}
gates:
  - {calls: [POST /shop/**, GET /shop/**], renews: [GET /look/**]}
  - {room: vip, calls: [GET /vip]}
rooms:
  default: {capacity: 1, identity: either}
access:
  public: [GET /free/**, GET /look/**]
"""
HEADERS = {"x-queue-command", "x-queue-stock"}

fast_path = pytest.mark.parametrize("fast_path", [True, False])


@pytest_asyncio.fixture
async def shop() -> AsyncIterator[str]:
    """A service whose answers have the headers that the query asks for."""

    async def handle(request: web.Request) -> web.StreamResponse:
        headers: list[tuple[str, str]] = [
            (f"X-Queue-{name.title()}", value)
            for name, value in request.query.items()
            if name in {"command", "stock"}
        ]
        status = int(request.query.get("status", "200"))
        if "early" in request.query:
            assert request.transport is not None
            request.transport.write(b"HTTP/1.1 103 Early Hints\r\nX-Queue-Command: leave\r\nA: b\r\n\r\n")
        if "pieces" not in request.query:
            return web.Response(status=status, headers=headers, text="done")
        response = web.StreamResponse(status=status, headers=headers)
        await response.prepare(request)
        for piece in (b"do", b"ne"):
            await response.write(piece)
            await asyncio.sleep(0.01)
        return response

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    async with listening(web.AppRunner(app, access_log=None, shutdown_timeout=1.0)) as url:
        yield url


async def start(gateways: Gateways, shop: str, **settings: Any) -> Running:
    return await gateways.start(ROUTES % shop, management_token=OPERATOR, **settings)


def dropped(gateway: Running) -> float:
    text = generate_latest(gateway.app[OBSERVERS].metrics.registry).decode()
    [line] = [line for line in text.splitlines() if line.startswith("gateway_queue_commands_dropped_total ")]
    return float(line.split()[1])


def assert_hidden(answer: Answer, body: bytes = b"done") -> None:
    assert not HEADERS & {name.lower() for name in answer.headers}
    assert answer.body == body


@fast_path
@pytest.mark.parametrize(
    ("method", "query"),
    [
        ("POST", "command=leave"),
        ("POST", "command=LEAVE&stock=5"),
        ("GET", "command=leave&pieces"),
        ("GET", "command=leave&early"),
        ("HEAD", "command=leave"),
        ("POST", "command=leave&status=422"),
        ("POST", "command=leave&status=503"),
    ],
)
async def test_a_service_ends_the_callers_session(
    gateways: Gateways, shop: str, fast_path: bool, method: str, query: str
) -> None:
    gateway = await start(gateways, shop, fast_path=fast_path, pass_="true")
    ann, bob = gateway.user("ann"), gateway.user("bob")
    for user in (ann, bob):
        await user.lineup()
    answer = await ann(method, f"/shop/buy?{query}")
    assert answer.status == int(query.partition("status=")[2] or 200)
    assert_hidden(answer, b"" if method == "HEAD" else b"done")
    # With the answer the session is over: its cookie would be of no use, and the next in line has the slot.
    assert "Set-Cookie" not in answer.headers
    assert (await ann(method, "/shop/buy")).status == 403
    assert (await bob(method, "/shop/buy")).status == 200
    assert dropped(gateway) == 0


@fast_path
async def test_a_call_that_renews_ends_the_session_as_well(
    gateways: Gateways, shop: str, fast_path: bool
) -> None:
    gateway = await start(gateways, shop, fast_path=fast_path)
    ann = gateway.user("ann")
    await ann.lineup()
    assert_hidden(await ann("GET", "/look/out?command=leave"))
    assert (await ann.status()).status == 404
    # Of someone without a session there is nothing to end.
    assert_hidden(await gateway.nobody("GET", "/look/out?command=leave"))
    assert dropped(gateway) == 0


@fast_path
async def test_commands_of_other_calls_are_dropped_and_counted(
    gateways: Gateways, shop: str, fast_path: bool
) -> None:
    gateway = await start(gateways, shop, fast_path=fast_path)
    ann = gateway.user("ann")
    await ann.lineup()
    assert_hidden(await ann("GET", "/free/x?command=leave&stock=1"))
    assert dropped(gateway) == 2
    assert_hidden(await ann("GET", "/else?command=leave&pieces"))
    assert dropped(gateway) == 3
    # Unusable ones of gated calls, too.
    assert_hidden(await ann("GET", "/shop/x?command=stay&stock=many"))
    assert dropped(gateway) == 5
    assert (await ann.status()).json["state"] == "ALLOWED_IN"
    assert (await gateway.app[ROOMS]["default"].overview()).stock is None


@fast_path
async def test_it_ends_the_session_in_the_room_of_the_call_alone(
    gateways: Gateways, shop: str, fast_path: bool
) -> None:
    gateway = await start(gateways, shop, fast_path=fast_path)
    ann = gateway.user("ann")
    for room in ("default", "vip"):
        await ann.lineup(room=room)
    assert_hidden(await ann("GET", "/vip?command=leave&stock=3"))
    assert (await ann.status()).json["state"] == "ALLOWED_IN"
    assert (await ann.status(room="vip")).status == 404
    rooms: Rooms = gateway.app[ROOMS]
    await eventually_stock(rooms, "vip", 3)
    assert (await rooms["default"].overview()).stock is None


async def eventually_stock(rooms: Rooms, room: str, wanted: int) -> None:
    async with asyncio.timeout(10):
        while (await rooms[room].overview()).stock != wanted:
            await asyncio.sleep(0.02)


@fast_path
async def test_what_is_left_makes_far_places_unlikely(gateways: Gateways, shop: str, fast_path: bool) -> None:
    gateway = await start(gateways, shop, fast_path=fast_path)
    users = [gateway.user(f"user-{n}") for n in range(5)]
    for user in users:
        await user.lineup()
    assert_hidden(await users[0]("POST", "/shop/buy?stock=1"))
    await eventually_stock(gateway.app[ROOMS], "default", 1)
    # 1 × 1.5 and the one inside: the positions 3 and 4.
    for number, user in enumerate(users[1:], 1):
        for answer in (await user.status(), await user("POST", "/shop/buy")):
            assert answer.json["data"].get("unlikely") is (True if number > 2 else None)
    again = await users[4].lineup()
    assert again.json["data"]["unlikely"] is True
    async with users[4].stream() as stream:
        assert (await stream.until("STATUS_UPDATE")).data["unlikely"] is True


@fast_path
async def test_of_many_numbers_the_last_one_stays(gateways: Gateways, shop: str, fast_path: bool) -> None:
    gateway = await start(gateways, shop, fast_path=fast_path)
    ann = gateway.user("ann")
    await ann.lineup()
    for left in range(30, 0, -1):
        assert_hidden(await ann("POST", f"/shop/buy?stock={left}"))
    await eventually_stock(gateway.app[ROOMS], "default", 1)


async def test_an_operator_sets_and_lifts_the_stock(gateways: Gateways, shop: str) -> None:
    gateway = await start(gateways, shop)
    operator, ann = gateway.with_token(OPERATOR), gateway.user("ann")
    await ann.lineup()

    async def change(**body: Any) -> Any:
        answer = await operator("POST", "/actuator/rooms/default", json=body)
        assert answer.status == 200, answer.json
        return answer.json["data"]["settings"]["stock"]

    assert await change(stock=37) == {"value": 37, "from": "operator"}
    assert await change(capacity=5) == {"value": 37, "from": "operator"}
    await ann("POST", "/shop/buy?stock=5")
    await eventually_stock(gateway.app[ROOMS], "default", 5)
    shown = (await operator("GET", "/actuator/rooms/default")).json["data"]["settings"]["stock"]
    assert shown == {"value": 5, "from": "service"}
    assert await change(stock="12") == {"value": 12, "from": "operator"}
    assert await change(stock=None) == {"value": "off", "from": "default"}
    await change(stock=3)
    assert await change(override=False) == {"value": "off", "from": "default"}
    for wrong in (-1, 1.5, "x", True, 1_000_000_000):
        answer = await operator("POST", "/actuator/rooms/default", json={"stock": wrong})
        assert (answer.status, answer.json["error"]["fields"][0]["field"]) == (400, "stock")


@fast_path
async def test_the_answer_comes_also_while_redis_is_away(
    gateways: Gateways, shop: str, fast_path: bool
) -> None:
    gateway = await start(gateways, shop, fast_path=fast_path, queue_fail_open="true")
    ann, room = gateway.user("ann"), gateway.app[ROOMS]["default"]
    await ann.lineup()
    assert_hidden(await ann("POST", "/shop/buy"))
    room._refused = "as a room whose data another version has"
    await eventually(lambda: room._refused)
    assert_hidden(await ann("POST", "/shop/buy?command=leave&stock=7"))
    room._refused = ""
    assert (await ann.status()).json["state"] == "ALLOWED_IN"
