"""Rooms that calls make, over real HTTP, by either executor and by two gateways."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from prometheus_client import generate_latest
from redis.asyncio import Redis as Client

from gateway.context import OBSERVERS
from tests.api.test_queue_visitors import Browser
from tests.support.gateway import Caller, Gateways, Running

ROUTES = """
routes:
  - {id: shop, uri: "lb://shop", predicates: ["Path=/shop/**"]}
services: {shop: ["%(service)s"]}
gates:
  - room: "concert-{id}"
    calls: ["POST /shop/concerts/{id}/orders"]
    renews: ["GET /shop/concerts/{id}"]
  - {room: "seat-{query.seat}", calls: [POST /shop/seats]}
rooms:
  "concert-*": {capacity: 1, duration: 60s}
  "seat-*": {capacity: 1, mode: observe}
  concert-vip: {capacity: 2}
"""
QUEUE = "/api/v1/queue"
ORDER = "/shop/concerts/{}/orders"
TOKEN = "operators-only"
fast_path = pytest.mark.parametrize("fast_path", [True, False], ids=["fast", "aiohttp"])


def operator(gateway: Running) -> Callable[..., Awaitable[Any]]:
    return gateway.with_token(TOKEN)


@fast_path
async def test_a_place_is_one_in_the_room_that_the_call_names(gateways: Gateways, fast_path: bool) -> None:
    gateway = await gateways.start(ROUTES, fast_path=fast_path)
    ann, bob = gateway.user("ann"), gateway.user("bob")
    refused = await ann("POST", ORDER.format(17))
    assert (refused.status, refused.code) == (403, "NOT_IN_QUEUE")
    lined_up = await ann("POST", f"{QUEUE}/lineup?room=concert-17")
    assert lined_up.json["state"] == "ALLOWED_IN"
    for _ in range(2):
        assert (await ann("POST", ORDER.format(17))).status == 200
    assert dict(gateways.service.seen[-1]["headers"])["X-Queue-Room"] == "concert-17"
    assert (await ann("POST", ORDER.format(18))).code == "NOT_IN_QUEUE"
    waiting = await bob("POST", f"{QUEUE}/lineup?room=concert-17")
    assert waiting.json["state"] == "WAITING"
    turned_away = await bob("POST", ORDER.format(17))
    assert (turned_away.status, turned_away.json["data"]["room"]) == (429, "concert-17")
    # In another room there is space.
    assert (await bob("POST", f"{QUEUE}/lineup?room=concert-18")).json["state"] == "ALLOWED_IN"
    assert (await bob("POST", ORDER.format(18))).status == 200


@fast_path
async def test_calls_of_the_queue_in_a_room_that_no_lineup_has_made(
    gateways: Gateways, redis: Client, fast_path: bool
) -> None:
    gateway = await gateways.start(ROUTES, fast_path=fast_path)
    ann = gateway.user("ann")
    for method, path, status, code in (
        ("GET", "status", 404, "NOT_IN_QUEUE"),
        ("POST", "claim", 404, "NOT_ALLOWED_IN"),
        ("DELETE", "waiting-token", 404, "NOT_IN_QUEUE"),
        ("DELETE", "allowed-in-token", 404, "NOT_ALLOWED_IN"),
        ("GET", "stream", 404, "NOT_IN_QUEUE"),
        ("GET", "draw", 404, "NO_DRAW"),
    ):
        answer = await ann(method, f"{QUEUE}/{path}?room=concert-17")
        assert (answer.status, answer.code) == (status, code), path
    assert (await ann("POST", f"{QUEUE}/leave?room=concert-17")).status == 204
    assert (await ann("GET", f"{QUEUE}/history?room=concert-17")).json["data"] == []
    assert [key async for key in redis.scan_iter(match="*concert-17*")] == []


@fast_path
@pytest.mark.parametrize(
    "room", ["concert-", "concert-a%%20b", "concert-" + "x" * 41, "concert-%%C3%%BC", "cinema-1"]
)
async def test_a_name_that_no_room_may_have_is_not_found(
    gateways: Gateways, fast_path: bool, room: str
) -> None:
    gateway = await gateways.start(ROUTES, fast_path=fast_path)
    for method, call in (("POST", "lineup"), ("GET", "status"), ("GET", "stream")):
        answer = await gateway.user("ann")(method, f"{QUEUE}/{call}?room={room.replace('%%', '%')}")
        assert (answer.status, answer.code) == (404, "ROOM_NOT_FOUND")


@fast_path
@pytest.mark.parametrize("name", ["a.b", "17.json", "x" * 41])
async def test_a_gated_call_that_names_no_possible_room_is_not_found(
    gateways: Gateways, fast_path: bool, name: str
) -> None:
    gateway = await gateways.start(ROUTES, fast_path=fast_path)
    answer = await gateway.user("ann")("POST", ORDER.format(name))
    assert (answer.status, answer.code) == (404, "ROOM_NOT_FOUND")
    assert gateways.service.seen == []


@fast_path
async def test_a_room_named_by_the_query_is_read_once(gateways: Gateways, fast_path: bool) -> None:
    gateway = await gateways.start(ROUTES, fast_path=fast_path)
    ann = gateway.user("ann")
    for query, status, code in (
        ("", 404, "ROOM_NOT_FOUND"),
        ("?seat=", 404, "ROOM_NOT_FOUND"),
        ("?seat=a&seat=a", 400, "BAD_REQUEST"),
    ):
        answer = await ann("POST", f"/shop/seats{query}")
        assert (answer.status, answer.code) == (status, code), query
    # The rooms of this template are only observed, also one that does not exist.
    assert (await ann("POST", "/shop/seats?seat=A-9")).status == 200
    assert dict(gateways.service.seen[-1]["headers"])["X-Queue-Room"] == "seat-A-9"


@fast_path
async def test_a_second_gateway_lets_in_whom_the_first_has_admitted(
    gateways: Gateways, fast_path: bool
) -> None:
    one = await gateways.start(ROUTES, fast_path=fast_path)
    other = await gateways.start(ROUTES, fast_path=fast_path)
    await one.user("ann")("POST", f"{QUEUE}/lineup?room=concert-17")
    assert (await other.user("ann")("POST", ORDER.format(17))).status == 200
    await one.user("bob")("POST", f"{QUEUE}/lineup?room=concert-17")
    async with other.user("bob").stream(path=f"{QUEUE}/stream?room=concert-17") as stream:
        await stream.until("STATUS_UPDATE")
        await one.user("ann")("DELETE", f"{QUEUE}/allowed-in-token?room=concert-17")
        assert (await stream.until("ALLOWED_IN")).data["room"] == "concert-17"
    assert (await other.user("bob")("POST", ORDER.format(17))).status == 200


async def assert_third_room_is_refused(user: Caller) -> None:
    for number in range(2):
        assert (await user("POST", f"{QUEUE}/lineup?room=concert-{number}")).status == 200
    refused = await user("POST", f"{QUEUE}/lineup?room=concert-2")
    assert (refused.status, refused.code) == (503, "TOO_MANY_ROOMS")
    assert 5 <= int(refused.headers["Retry-After"]) <= 15


@fast_path
async def test_too_many_rooms(gateways: Gateways, fast_path: bool) -> None:
    gateway = await gateways.start(ROUTES, fast_path=fast_path, queue_max_rooms=2)
    ann = gateway.user("ann")
    await assert_third_room_is_refused(ann)
    health = await gateway.nobody("GET", "/actuator/health")
    assert health.json["components"]["redis"]["details"]["roomsMade"] == 2
    # A room that the file names is none of them.
    assert (await ann("POST", f"{QUEUE}/lineup?room=concert-vip")).status == 200


@fast_path
async def test_one_user_makes_so_many_rooms_and_no_more(gateways: Gateways, fast_path: bool) -> None:
    gateway = await gateways.start(ROUTES, fast_path=fast_path, queue_rooms_per_client=2)
    ann = gateway.user("ann")
    await assert_third_room_is_refused(ann)
    # Another user at the same address has made none yet.
    assert (await gateway.user("bob")("POST", f"{QUEUE}/lineup?room=concert-2")).status == 200
    assert (await ann("POST", f"{QUEUE}/lineup?room=concert-2")).status == 200


async def test_without_a_bound_one_user_makes_rooms_at_will(gateways: Gateways) -> None:
    gateway = await gateways.start(ROUTES, queue_rooms_per_client=0)
    ann = gateway.user("ann")
    for number in range(60):
        assert (await ann("POST", f"{QUEUE}/lineup?room=concert-{number}")).status == 200


async def test_the_visitors_of_one_address_make_so_many_rooms_and_no_more(gateways: Gateways) -> None:
    gateway = await gateways.start(
        'routes: []\nrooms: {"concert-*": {identity: either}}\n',
        queue_rooms_per_client=2,
        trusted_proxies="127.0.0.1",
    )

    async def lineup(address: str, number: int) -> str:
        path = f"{QUEUE}/lineup?room=concert-{number}"
        visitor = Browser(gateway, {"X-Forwarded-For": address})
        assert (await visitor("POST", path)).code == "COOKIE_REQUIRED"
        answer = await visitor("POST", path)
        return "" if answer.status == 200 else answer.code

    assert await lineup("2001:db8::1", 1) == ""
    assert await lineup("2001:db8::2", 2) == ""
    assert await lineup("2001:db8::3", 3) == "TOO_MANY_ROOMS"
    assert await lineup("2001:db8:0:1::1", 3) == ""
    assert await lineup("2001:db8::3", 3) == ""
    # A user with a token at that address counts alone.
    user = gateway.user("ann")
    forwarded = {"X-Forwarded-For": "2001:db8::1"}
    answer = await user("POST", f"{QUEUE}/lineup?room=concert-4", headers=forwarded)
    assert answer.status == 200


async def test_operators_change_one_room_and_that_makes_it(gateways: Gateways) -> None:
    gateway = await gateways.start(ROUTES, management_token=TOKEN)
    act = operator(gateway)
    path = "/actuator/rooms/concert-17"
    assert (await act("GET", path)).code == "ROOM_NOT_FOUND"
    changed = await act("POST", path, json={"capacity": 3})
    assert (changed.status, changed.json["data"]["capacity"]) == (200, 3)
    assert (await act("POST", f"{path}/close")).json["data"]["closed"] is True
    refused = await gateway.user("ann")("POST", f"{QUEUE}/lineup?room=concert-17")
    assert (refused.status, refused.json["data"]["room"]) == (503, "concert-17")
    assert (await act("POST", f"{path}/reopen")).status == 200
    for name in ("ann", "bob", "cem"):
        answer = await gateway.user(name)("POST", f"{QUEUE}/lineup?room=concert-17")
        assert answer.json["state"] == "ALLOWED_IN"
    assert (await act("GET", path)).json["data"]["allowedIn"] == 3
    shown = [room["room"] for room in (await act("GET", "/actuator/rooms")).json["data"]]
    assert sorted(shown) == ["concert-17", "concert-vip", "default"]
    assert (await act("POST", "/actuator/rooms/cinema-1", json={"capacity": 3})).code == "ROOM_NOT_FOUND"


async def test_all_rooms_of_an_entry_have_one_label_in_the_metrics(gateways: Gateways) -> None:
    gateway = await gateways.start(ROUTES)
    for number in range(5):
        for name in ("ann", "bob"):
            await gateway.user(name)("POST", f"{QUEUE}/lineup?room=concert-{number}")
            await gateway.user(name)("POST", "/shop/seats?seat=9")
    body = generate_latest(gateway.app[OBSERVERS].metrics.registry).decode()
    text = "\n".join(
        line for line in body.splitlines() if "concert" in line or "seat" in line or "_made" in line
    )
    assert 'gateway_room_waiting{room="concert-*"} 5.0' in text
    assert 'gateway_room_allowed_in{room="concert-*"} 5.0' in text
    assert 'gateway_room_capacity{room="concert-*"} 5.0' in text
    assert 'gateway_room_lineups_total{room="concert-*"} 5.0' in text
    assert 'gateway_room_would_refuse_total{code="NOT_IN_QUEUE",room="seat-*"} 10.0' in text
    assert "gateway_rooms_made 5.0" in text
    assert "concert-0" not in text
    assert "seat-9" not in text


async def test_a_room_comes_and_goes_while_gateways_run(gateways: Gateways, redis: Client) -> None:
    gateway = await gateways.start(ROUTES, queue_room_idle_seconds=1, management_token=TOKEN)
    ann = gateway.user("ann")
    for _ in range(2):
        assert (await ann("POST", f"{QUEUE}/lineup?room=concert-17")).status == 200
        assert (await ann("DELETE", f"{QUEUE}/allowed-in-token?room=concert-17")).status == 200
        async with asyncio.timeout(20):
            while [key async for key in redis.scan_iter(match="*{concert-17}*")]:
                await asyncio.sleep(0.05)
        assert (await ann("GET", f"{QUEUE}/status?room=concert-17")).code == "NOT_IN_QUEUE"
        assert (await operator(gateway)("GET", "/actuator/rooms/concert-17")).code == "ROOM_NOT_FOUND"


@fast_path
async def test_without_redis_the_gate_of_a_room_that_is_not_known_refuses(
    gateways: Gateways, fast_path: bool, start_redis: Any
) -> None:
    server = start_redis()
    gateways.redis_url = server.url
    gateway = await gateways.start(ROUTES, fast_path=fast_path, redis_timeout_seconds=0.5)
    server.kill()
    answer = await gateway.user("ann")("POST", ORDER.format(17))
    assert (answer.status, answer.code) == (503, "QUEUE_UNAVAILABLE")
    # Rooms that are only observed let the call pass.
    assert (await gateway.user("ann")("POST", "/shop/seats?seat=9")).status == 200
    server.start()
