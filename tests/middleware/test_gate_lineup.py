"""Lineup at the gate, over real HTTP, on the fast path and through the application."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import web
from prometheus_client import generate_latest

from gateway.context import OBSERVERS, ROOMS
from tests.api.test_queue_visitors import Browser
from tests.support.gateway import Answer, Gateways, Running
from tests.support.listening import listening
from tests.support.waiting import eventually

TOKEN = "operator-token-of-the-tests"
ROUTES = """
routes:
  - {id: all, uri: "%%(service)s", predicates: ["Path=/shop/**"]}
gates:
  - {calls: [POST /shop/buy, GET /shop/page], renews: [GET /shop/basket]}
  - {room: open, calls: [GET /shop/open]}
  - {room: both, calls: [POST /shop/both]}
rooms:
  default: {capacity: 1, lineup: implicit%s}
  open: {capacity: 1, lineup: implicit, identity: visitor%s}
  both: {capacity: 1, lineup: implicit, identity: either}
"""

fast_path = pytest.mark.parametrize("fast_path", [True, False])


def routes(default: str = "", visitors: str = "") -> str:
    return ROUTES % (default, visitors)


def calls(gateway: Running) -> dict[str, int]:
    """How often each script that answers users has been called."""
    families = gateway.app[OBSERVERS].metrics.registry.collect()
    return {
        sample.labels["script"]: int(sample.value)
        for family in families
        for sample in family.samples
        if sample.name == "gateway_script_seconds_count"
        and sample.labels["script"] in {"gate", "arrive", "lineup", "reserve", "move"}
    }


def waits(answer: Answer, position: int) -> bool:
    assert (answer.status, answer.code) == (429, "QUEUE_WAITING"), answer.json
    assert answer.headers["Retry-After"]
    assert answer.json["state"] == "WAITING"
    return bool(answer.json["data"]["userQueuePosition"] == position)


@fast_path
async def test_the_gate_lets_in_or_lines_up_in_one_call_of_redis(gateways: Gateways, fast_path: bool) -> None:
    gateway = await gateways.start(routes(), fast_path=fast_path)
    ann, bob, cid = (gateway.user(name) for name in ("ann", "bob", "cid"))
    assert (await ann("POST", "/shop/buy")).status == 200
    assert waits(await bob("POST", "/shop/buy"), 1)
    assert waits(await cid("GET", "/shop/page"), 2)
    assert waits(await bob("POST", "/shop/buy"), 1)
    assert (await ann("GET", "/shop/page")).status == 200
    assert calls(gateway) == {"arrive": 5}
    assert (await bob.status()).json["data"]["userQueuePosition"] == 1
    assert (await ann("DELETE", "/api/v1/queue/allowed-in-token")).status == 200
    assert (await bob("POST", "/shop/buy")).status == 200
    assert waits(await cid("POST", "/shop/buy"), 1)


@fast_path
async def test_calls_that_only_renew_and_the_queues_own_calls_line_nobody_up(
    gateways: Gateways, fast_path: bool
) -> None:
    gateway = await gateways.start(routes(), fast_path=fast_path)
    ann = gateway.user("ann")
    assert (await ann("GET", "/shop/basket")).status == 200
    assert (await ann("GET", "/shop/page", headers={"Sec-Purpose": "prefetch"})).code == "PREFETCH_REFUSED"
    assert (await ann("POST", "/api/v1/queue/claim")).code == "NOT_ALLOWED_IN"
    assert (await ann.status()).code == "NOT_IN_QUEUE"
    assert (await gateway.nobody("POST", "/shop/buy")).code == "TOKEN_REQUIRED"


@fast_path
async def test_who_is_refused_at_lineup_is_refused_at_the_gate(gateways: Gateways, fast_path: bool) -> None:
    gateway = await gateways.start(
        routes(", max_waiting: 1, eligible: {claim: tier, values: [gold]}"),
        fast_path=fast_path,
        invite_secrets="a-secret-of-the-tests",
        management_token=TOKEN,
    )
    gold = [gateway.user(f"gold-{n}", tier="gold") for n in range(3)]
    assert (await gold[0]("POST", "/shop/buy")).status == 200
    assert (await gateway.user("ann")("POST", "/shop/buy")).code == "NOT_ELIGIBLE"
    for query in ("invite=a&invite=b", "invite=%25zz", "x=%zz"):
        assert (await gateway.user("ann")("GET", f"/shop/page?{query}")).code == "NOT_ELIGIBLE"
        # The query is the service's: a user who is inside passes.
        assert (await gold[0]("GET", f"/shop/page?{query}")).status == 200
    operator = gateway.with_token(TOKEN)
    made = await operator("POST", "/actuator/rooms/default/invite", json={"user": "ann"})
    assert waits(await gateway.user("ann")("POST", f"/shop/buy?invite={made.json['data']['invite']}"), 1)
    # The place that the invitation has brought needs none any more.
    assert waits(await gateway.user("ann")("POST", "/shop/buy"), 1)
    assert (await gold[1]("POST", "/shop/buy")).code == "ROOM_FULL"
    for act, code in (("close", "ROOM_CLOSED"), ("reopen", "ROOM_FULL"), ("sold-out", "SOLD_OUT")):
        assert (await operator("POST", f"/actuator/rooms/default/{act}")).status == 200
        assert (await gold[1]("POST", "/shop/buy")).code == code
    assert (await gold[0]("POST", "/shop/buy")).status == 200


@fast_path
async def test_too_many_lineups(gateways: Gateways, fast_path: bool) -> None:
    gateway = await gateways.start(routes(", lineups_per_minute: 1"), fast_path=fast_path)
    ann = gateway.user("ann")
    assert (await ann("POST", "/shop/buy")).status == 200
    assert (await ann("POST", "/shop/buy")).status == 200
    await ann("POST", "/api/v1/queue/leave")
    refused = await ann("POST", "/shop/buy")
    assert (refused.status, refused.code) == (429, "TOO_MANY_LINEUPS")


@fast_path
async def test_in_the_pre_queue_the_gate_registers(gateways: Gateways, fast_path: bool) -> None:
    prequeue = ", opens_at: '2126-12-01T20:00:00+09:00', prequeue: {from: 999999h, order: draw}"
    gateway = await gateways.start(routes(prequeue), fast_path=fast_path)
    answer = await gateway.user("ann")("POST", "/shop/buy")
    assert (answer.status, answer.code, answer.json["state"]) == (429, "QUEUE_WAITING", "REGISTERED")
    assert answer.json["data"]["registered"] == 1
    assert answer.json["data"]["receipt"].count(".") == 2
    # Then the gate only says so; lining up again brings the receipt.
    answer = await gateway.user("ann")("POST", "/shop/buy")
    assert answer.json["state"] == "REGISTERED"
    assert gateways.service.seen == []


@fast_path
async def test_an_operator_switches_it_while_the_gateway_runs(gateways: Gateways, fast_path: bool) -> None:
    gateway = await gateways.start(management_token=TOKEN, fast_path=fast_path)
    ann, room = gateway.user("ann"), gateway.app[ROOMS]["default"]
    assert (await ann("POST", "/api/v1/reservations")).code == "NOT_IN_QUEUE"
    operator = gateway.with_token(TOKEN)
    await operator("POST", "/actuator/rooms/default", json={"lineup": "implicit"})
    await eventually(lambda: room.implicit)
    assert (await ann("POST", "/api/v1/reservations")).status == 200
    await operator("POST", "/actuator/rooms/default", json={"lineup": None})
    await eventually(lambda: not room.implicit)
    assert (await ann("POST", "/api/v1/reservations")).status == 200
    assert (await gateway.user("bob")("POST", "/api/v1/reservations")).code == "NOT_IN_QUEUE"


async def test_the_environment_sets_it_for_all_rooms(gateways: Gateways) -> None:
    gateway = await gateways.start(queue_lineup="implicit", allowed_in_max_capacity=0)
    assert waits(await gateway.user("ann")("POST", "/api/v1/reservations"), 1)


@fast_path
async def test_an_observed_room_lines_up_and_lets_everyone_pass(gateways: Gateways, fast_path: bool) -> None:
    gateway = await gateways.start(routes(", mode: observe, max_waiting: 1"), fast_path=fast_path)
    for name in ("ann", "bob", "cid"):
        assert (await gateway.user(name)("POST", "/shop/buy")).status == 200
    assert (await gateway.user("bob").status()).json["data"]["userQueuePosition"] == 1
    text = generate_latest(gateway.app[OBSERVERS].metrics.registry).decode()
    for code in ("QUEUE_WAITING", "ROOM_FULL"):
        assert f'gateway_room_would_refuse_total{{code="{code}",room="default"}} 1.0' in text


@fast_path
async def test_a_crowd_at_the_gate_keeps_the_capacity_and_every_place(
    gateways: Gateways, fast_path: bool
) -> None:
    # A slow machine may keep Redis from answering within the usual second.
    gateway = await gateways.start(routes(), fast_path=fast_path, redis_timeout_seconds=20)
    users = [gateway.user(f"user-{n}") for n in range(60)]
    answers = await asyncio.gather(*(user("POST", "/shop/buy") for user in users for _ in range(2)))
    assert Counter(answer.status for answer in answers) == {200: 2, 429: 118}
    places = {}
    for user, answer in zip((user for user in users for _ in range(2)), answers, strict=True):
        if answer.status == 429:
            places.setdefault(id(user), set()).add(answer.json["data"]["ticket"])
    # Two calls of a user at a time bring one ticket.
    assert sorted(places.values(), key=min) == [{ticket} for ticket in range(1, 60)]


@fast_path
async def test_visitors_are_lined_up_with_their_cookie(gateways: Gateways, fast_path: bool) -> None:
    gateway = await gateways.start(routes(), fast_path=fast_path)
    ann, bob = Browser(gateway), Browser(gateway)
    for browser in (ann, bob):
        assert (await browser("GET", "/shop/open")).code == "COOKIE_REQUIRED"
    assert (await ann("GET", "/shop/open")).status == 200
    assert waits(await bob("GET", "/shop/open"), 1)
    assert calls(gateway) == {"arrive": 2}


@fast_path
async def test_the_bound_of_an_address_holds_at_the_gate(gateways: Gateways, fast_path: bool) -> None:
    gateway = await gateways.start(routes(visitors=", places_per_address: 2"), fast_path=fast_path)
    browsers = [Browser(gateway) for _ in range(3)]
    for browser in browsers:
        await browser("GET", "/shop/open")
    assert (await browsers[0]("GET", "/shop/open")).status == 200
    assert calls(gateway) == {"gate": 1, "reserve": 1, "arrive": 1}
    # Who is inside pays for no check.
    assert (await browsers[0]("GET", "/shop/open")).status == 200
    assert calls(gateway) == {"gate": 2, "reserve": 1, "arrive": 1}
    assert waits(await browsers[1]("GET", "/shop/open"), 1)
    refused = await browsers[2]("GET", "/shop/open")
    assert (refused.status, refused.code) == (429, "TOO_MANY_PLACES")


@pytest_asyncio.fixture
async def challenger() -> AsyncIterator[tuple[str, list[str]]]:
    """A service that vouches for the first visitor who asks; its address, and who has asked."""
    asked: list[str] = []

    async def handle(request: web.Request) -> web.Response:
        asked.append(json.loads(await request.read())["visitor"])
        return web.Response(status=200 if asked[-1] == asked[0] else 403)

    app = web.Application()
    app.router.add_post("/ask", handle)
    async with listening(web.AppRunner(app, access_log=None)) as base:
        yield f"{base}/ask", asked


@fast_path
async def test_a_challenge_comes_before_the_place(
    gateways: Gateways, challenger: tuple[str, list[str]], fast_path: bool
) -> None:
    url, asked = challenger
    challenge = f", challenge: {{url: '{url}', fail: closed}}"
    gateway = await gateways.start(routes(visitors=challenge), fast_path=fast_path)
    ann, bob = Browser(gateway), Browser(gateway)
    for browser in (ann, bob):
        await browser("GET", "/shop/open")
    assert (await ann("GET", "/shop/open")).status == 200
    assert (await ann("GET", "/shop/open")).status == 200
    assert (await bob("GET", "/shop/open")).code == "CHALLENGE_REQUIRED"
    assert asked == [ann.id, bob.id]


@fast_path
async def test_a_visitor_who_signs_in_brings_the_place_along(gateways: Gateways, fast_path: bool) -> None:
    gateway = await gateways.start(routes(), fast_path=fast_path)
    kim = gateway.user("kim")
    browser, other = Browser(gateway), Browser(gateway)
    for each in (browser, other):
        await each("POST", "/shop/both")
    assert (await other("POST", "/shop/both")).status == 200
    assert waits(await browser("POST", "/shop/both"), 1)
    behind = gateway.user("behind")
    assert waits(await behind("POST", "/shop/both"), 2)
    cookie = {"Cookie": f"visitor={browser.cookies['visitor']}", "Sec-Fetch-Site": "same-origin"}
    assert waits(await kim("POST", "/shop/both", headers=cookie), 1)
    assert (await kim.status(room="both")).json["data"]["userQueuePosition"] == 1
    # The session of the other comes along as well, and the call of the user passes.
    lee = gateway.user("lee")
    cookie["Cookie"] = f"visitor={other.cookies['visitor']}"
    assert (await lee("POST", "/shop/both", headers=cookie)).status == 200
    assert waits(await other("POST", "/shop/both"), 3)
