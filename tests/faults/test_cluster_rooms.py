"""Rooms that are spread over the nodes of a real cluster, and the death of one of the nodes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from redis.crc import key_slot

from gateway.waiting_room.keys import RoomKeys
from tests.support.gateway import Gateways, Running
from tests.support.redis_fleet import Cluster, Member, cluster
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(240)

ROOMS = ["default", *(f"concert-{number}" for number in range(9))]
PEOPLE = 4
"""In each room. One is allowed in, the others wait."""
RECOVERY = 60.0
"""Seconds from the death of a node until its replica answers for all of its rooms."""
ROUTES = "routes: []\nrooms: {" + ", ".join(f"{room}: {{capacity: 1}}" for room in ROOMS) + "}\n"


def owner(nodes: Cluster, room: str) -> Member:
    return nodes.owner(key_slot(RoomKeys("", room, cluster=True).line.encode()))


async def line_up_in(gateway: Running, room: str) -> dict[str, int]:
    """The ticket of each user of the room; 0 of the one who is allowed in."""
    tickets = {}
    for number in range(PEOPLE):
        user = f"{room}-{number}"
        answer = await gateway.user(user).lineup(room=room)
        assert answer.status == 200, answer.json
        tickets[user] = answer.json["data"]["ticket"] if answer.json["state"] == "WAITING" else 0
    return tickets


async def tickets_in(gateway: Running, room: str) -> dict[str, int] | None:
    """The same by their statuses; None as long as Redis does not answer."""
    found = {}
    for number in range(PEOPLE):
        answer = await gateway.user(f"{room}-{number}").status(room=room)
        if answer.status == 503:
            return None
        assert answer.status == 200, answer.json
        found[f"{room}-{number}"] = answer.json["data"]["ticket"] if answer.json["state"] == "WAITING" else 0
    return found


async def test_rooms_are_on_all_nodes_and_a_fail_over_loses_nobody_whose_change_was_replicated(
    tmp_path: Path,
) -> None:
    with cluster(replicas_of_each=1) as nodes:
        async with Gateways(tmp_path, nodes.url()) as gateways:
            gateway = await gateways.start(ROUTES, redis_wait_replicas=1, redis_timeout_seconds=2)
            owners = {room: owner(nodes, room) for room in ROOMS}
            assert len(set(map(id, owners.values()))) == 3
            # Each lineup is answered once a replica has it.
            before = dict(
                zip(ROOMS, await asyncio.gather(*(line_up_in(gateway, room) for room in ROOMS)), strict=True)
            )
            for room, node in owners.items():
                with node.client as store:
                    keys = RoomKeys("", room, cluster=True)
                    assert store.zcard(keys.line) == PEOPLE - 1
                    assert store.hlen(keys.inside) == 1
                    assert store.keys("queue:wait") == []
            victim = owners["default"]
            lost = [room for room in ROOMS if owners[room] is victim]
            others = [room for room in ROOMS if owners[room] is not victim]
            victim.kill()
            # Also while the node is away, and its probe fails, the rooms of the others go on.
            for room in others:
                assert await tickets_in(gateway, room) == before[room]
            for room in lost:
                after = await eventually(lambda room=room: tickets_in(gateway, room), RECOVERY, room)
                assert after == before[room]
            for room in ROOMS:
                assert owner(nodes, room) is not victim
                # The next in line gets the slot, and is told at the node that is there now.
                first = gateway.user(f"{room}-0")
                dropped = await first("DELETE", f"/api/v1/queue/allowed-in-token?room={room}")
                assert dropped.status == 200
                answer = await gateway.user(f"{room}-1").status(room=room)
                assert answer.json["state"] == "ALLOWED_IN"


async def test_with_a_tag_in_the_prefix_all_rooms_are_on_one_node(tmp_path: Path) -> None:
    with cluster() as nodes:
        async with Gateways(tmp_path, nodes.url()) as gateways:
            gateway = await gateways.start(ROUTES, redis_key_prefix="{gw}:")
            for room in ROOMS:
                await line_up_in(gateway, room)
            sizes = []
            for node in nodes.servers:
                with node.client as store:
                    sizes.append(len(store.keys("*gw:*")))
            assert sorted(size > 0 for size in sizes) == [False, False, True]
            with nodes.owner(key_slot(b"{gw}:")).client as store:
                assert store.zcard("{gw}:queue:wait") == PEOPLE - 1


async def test_events_of_rooms_at_any_node_reach_streams(tmp_path: Path) -> None:
    with cluster() as nodes:
        async with Gateways(tmp_path, nodes.url()) as gateways:
            one, other = await gateways.start(ROUTES), await gateways.start(ROUTES)
            for room in ROOMS[:6]:
                inside, waiting = one.user(f"{room}-0"), other.user(f"{room}-1")
                await inside.lineup(room=room)
                await waiting.lineup(room=room)
                async with waiting.stream(path=f"/api/v1/queue/stream?room={room}") as stream:
                    await stream.until("STATUS_UPDATE")
                    await inside("DELETE", f"/api/v1/queue/allowed-in-token?room={room}")
                    await stream.until("ALLOWED_IN")
