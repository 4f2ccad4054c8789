"""Lanes over real HTTP: callers with different tokens wait in lines of their own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from prometheus_client import generate_latest

from gateway.context import OBSERVERS, ROOMS
from gateway.routing import callers
from gateway.waiting_room import lanes
from tests.support.gateway import Caller, Gateways, Running

ROUTES = """
routes:
  - {id: all, uri: "%(service)s", predicates: ["Path=/**"]}
gates:
  - {calls: [POST /buy]}
rooms:
  default:
    capacity: 1
    lanes:
      - {name: members, share: 0.3, claim: tier, values: [gold, silver]}
      - {name: partners, share: 0.2, claim: partner, values: ["true"]}
"""
PLAIN = ROUTES.partition("    lanes:")[0]
OPERATOR = "operator-token-of-the-test"

fast_path = pytest.mark.parametrize("fast_path", [True, False])


async def until(found: Callable[[], Awaitable[Any]], seconds: float = 20) -> Any:
    """What ``found`` returns, once it is true."""
    end = time.monotonic() + seconds
    while not (result := await found()):
        assert time.monotonic() < end
        await asyncio.sleep(0.02)
    return result


async def place(caller: Caller) -> tuple[str, int, int]:
    """Lane, position and how many wait in it, as the lineup says."""
    data = (await caller.lineup()).json["data"]
    return data["lane"], data["userQueuePosition"], data["totalQueueSize"]


async def full(gateway: Running) -> Caller:
    """Someone takes the only slot."""
    inside = gateway.user("inside")
    assert (await inside.lineup()).json["state"] == "ALLOWED_IN"
    return inside


@fast_path
async def test_the_claims_of_the_token_decide_about_the_lane(gateways: Gateways, fast_path: bool) -> None:
    gateway = await gateways.start(ROUTES, fast_path=fast_path)
    await full(gateway)
    assert await place(gateway.user("ann")) == ("default", 1, 1)
    assert await place(gateway.user("bob", tier="silver")) == ("members", 1, 1)
    assert await place(gateway.user("cid", tier=["bronze", "gold"], partner=True)) == ("members", 2, 2)
    assert await place(gateway.user("dan", partner=True)) == ("partners", 1, 1)
    assert await place(gateway.user("eve", tier="bronze")) == ("default", 2, 2)
    # Status and gate say the same.
    status = (await gateway.user("cid").status()).json["data"]
    assert (status["lane"], status["userQueuePosition"], status["usersBehind"]) == ("members", 2, 0)
    refused = await gateway.user("bob")("POST", "/buy")
    assert (refused.status, refused.code, refused.json["data"]["lane"]) == (429, "QUEUE_WAITING", "members")
    # A new ticket brings a new decision.
    assert await place(gateway.user("cid")) == ("default", 3, 3)


@fast_path
async def test_a_room_without_lanes_names_none(gateways: Gateways, fast_path: bool) -> None:
    gateway = await gateways.start(PLAIN, fast_path=fast_path)
    await full(gateway)
    assert "lane" not in (await gateway.user("ann", tier="gold").lineup()).json["data"]


async def test_admissions_follow_the_shares(gateways: Gateways) -> None:
    gateway = await gateways.start(ROUTES)
    inside = await full(gateway)
    by_lane = {"members": {"tier": "gold"}, "partners": {"partner": True}, "default": {}}
    people = {
        f"{lane}-{number}": gateway.user(f"{lane}-{number}", **claims)
        for lane, claims in by_lane.items()
        for number in range(10)
    }
    for person in people.values():
        await person.lineup()
    admitted: list[str] = []
    for _ in range(10):
        await inside("POST", "/api/v1/queue/leave")
        states = {name: (await each.status()).json.get("state") for name, each in people.items()}
        (name,) = (name for name, state in states.items() if state == "ALLOWED_IN" and name not in admitted)
        admitted.append(name)
        inside = people.pop(name)
    counts = {lane: sum(name.startswith(lane) for name in admitted) for lane in by_lane}
    assert counts == {"members": 3, "partners": 2, "default": 5}
    for lane in by_lane:
        assert [name for name in admitted if name.startswith(lane)] == [
            f"{lane}-{number}" for number in range(counts[lane])
        ]


async def test_a_stream_shows_the_numbers_of_the_lane(gateways: Gateways) -> None:
    gateway = await gateways.start(ROUTES, queue_status_interval_seconds=0.5)
    inside = await full(gateway)
    for name in ("ann", "bob"):
        await gateway.user(name).lineup()
    first, second = gateway.user("cid", tier="gold"), gateway.user("dan", tier="gold")
    await first.lineup()
    await second.lineup()
    async with second.stream() as stream:
        update = (await stream.until("STATUS_UPDATE")).data
        assert (update["lane"], update["userQueuePosition"], update["totalQueueSize"]) == ("members", 2, 2)
        await first("POST", "/api/v1/queue/leave")
        while update["userQueuePosition"] != 1:
            update = (await stream.until("STATUS_UPDATE")).data
        assert update["totalQueueSize"] == 1
        await inside("POST", "/api/v1/queue/leave")
        await gateway.user("ann")("POST", "/api/v1/queue/leave")
        await gateway.user("bob")("POST", "/api/v1/queue/leave")
        await stream.until("ALLOWED_IN")


async def test_operators_see_lanes(gateways: Gateways) -> None:
    gateway = await gateways.start(ROUTES, management_token=OPERATOR)
    await full(gateway)
    await gateway.user("ann", tier="gold").lineup()
    operator = gateway.with_token(OPERATOR)
    room = (await operator("GET", "/actuator/rooms/default")).json["data"]
    assert room["lanes"] == [
        {"name": "members", "share": 0.3, "waiting": 1},
        {"name": "partners", "share": 0.2, "waiting": 0},
        {"name": "default", "share": 0.5, "waiting": 0},
    ]
    assert room["settings"]["lanes"] == {"value": "members 0.3, partners 0.2", "from": "file"}
    found = (await operator("GET", "/actuator/rooms/default/users?id=ann")).json["data"]
    assert (found["state"], found["lane"], found["position"]) == ("WAITING", "members", 1)
    page = generate_latest(gateway.app[OBSERVERS].metrics.registry).decode()
    assert 'gateway_room_lane_waiting{lane="members",room="default"} 1.0' in page


async def test_a_lane_that_leaves_the_file_loses_nobody(gateways: Gateways) -> None:
    """An instance without the lane starts beside one with it: users are moved, and both go on."""
    before = await gateways.start(ROUTES)
    await full(before)
    await before.user("ann", tier="gold").lineup()
    await before.user("bob").lineup()
    await before.user("cid", tier="gold").lineup()
    after = await gateways.start(PLAIN)

    async def moved() -> bool:
        data = (await after.user("cid").status()).json["data"]
        return "lane" not in data and bool(data["userQueuePosition"] == 3)

    await until(moved)
    for gateway in (before, after):
        for position, name in enumerate(("ann", "bob", "cid"), 1):
            data = (await gateway.user(name).status()).json["data"]
            assert (data["userQueuePosition"], data["totalQueueSize"]) == (position, 3)
    entries = [entry.reason for entry in await after.app[ROOMS]["default"].history("ann")]
    assert entries[-1] == "LANE"


def test_both_layers_know_the_same_numbers() -> None:
    assert callers.WHOLE_SHARE == lanes.WHOLE


@fast_path
async def test_the_gate_lines_up_in_the_lane_of_the_token(gateways: Gateways, fast_path: bool) -> None:
    routes = ROUTES.replace("    capacity: 1\n", "    capacity: 1\n    lineup: implicit\n")
    gateway = await gateways.start(routes, fast_path=fast_path)
    assert (await gateway.user("inside")("POST", "/buy")).status == 200
    for caller, lane in (
        (gateway.user("ann"), "default"),
        (gateway.user("bob", tier="gold"), "members"),
        (gateway.user("cid", partner=True), "partners"),
    ):
        refused = await caller("POST", "/buy")
        data = refused.json["data"]
        assert (refused.code, data["lane"], data["userQueuePosition"]) == ("QUEUE_WAITING", lane, 1)


async def test_in_front_is_in_front_of_the_own_lane_and_streams_say_who_did_it(gateways: Gateways) -> None:
    gateway = await gateways.start(ROUTES, management_token=OPERATOR, queue_status_interval_seconds=0.5)
    await full(gateway)
    ann, bob, cid = gateway.user("ann"), gateway.user("bob", tier="gold"), gateway.user("cid", tier="gold")
    for caller in (ann, bob, cid):
        await caller.lineup()
    async with bob.stream() as stream:
        assert (await stream.until("STATUS_UPDATE")).data["userQueuePosition"] == 1
        operator = gateway.with_token(OPERATOR)
        answer = await operator("POST", "/actuator/rooms/default/front", json={"user": "cid"})
        data = answer.json["data"]
        assert (answer.status, data["lane"], data["position"], data["ticket"]) == (200, "members", 1, -1)
        async with asyncio.timeout(10):
            while (update := (await stream.until("STATUS_UPDATE")).data)["userQueuePosition"] == 1:
                pass
        assert (update["userQueuePosition"], update["reason"], update["lane"]) == (2, "OPERATOR", "members")
    assert (await ann.status()).json["data"]["userQueuePosition"] == 1


@fast_path
async def test_the_public_room_names_the_lanes(gateways: Gateways, fast_path: bool) -> None:
    gateway = await gateways.start(ROUTES, fast_path=fast_path)
    await full(gateway)

    async def lanes_shown() -> Any:
        return (await gateway.nobody("GET", "/api/v1/queue/rooms/default")).json["data"].get("lanes")

    assert await until(lanes_shown) == [
        {"name": "members", "share": 0.3},
        {"name": "partners", "share": 0.2},
        {"name": "default", "share": 0.5},
    ]
