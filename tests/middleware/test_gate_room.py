"""Services learn through which room's gate a call came, over real HTTP."""

from __future__ import annotations

import pytest

from tests.support.gateway import Gateways

ROUTES = """
routes:
  - {id: all, uri: "%(service)s", predicates: ["Path=/**"],
     filters: ["AddRequestHeader=X-Queue-Room, of-a-filter"]}
gates:
  - {calls: [POST /buy], renews: [GET /look]}
  - {room: vip, calls: [POST /vip, POST /twice]}
access:
  public: [GET /open]
rooms:
  vip:
    bypass: [{name: staff, claim: role, values: [staff]}]
"""
SPELLINGS = ("X-Queue-Room", "x-queue-room", "X_Queue_Room", "X.Queue.Room", "XQueueRoom", "x~queue~room")


@pytest.mark.parametrize("fast_path", [True, False])
async def test_services_learn_the_room_from_the_gateway_alone(gateways: Gateways, fast_path: bool) -> None:
    gateway = await gateways.start(ROUTES, fast_path=fast_path, allowed_in_max_capacity=5)
    user, staff = gateway.user("ann"), gateway.user("bob", role="staff")
    await user.lineup()
    await user.lineup(room="vip")
    for caller, method, path, rooms in (
        (user, "POST", "/buy", ["default"]),
        (user, "POST", "/vip", ["vip"]),
        (staff, "POST", "/vip", ["vip"]),
        # Such a call needs no place, so that a room would say too much.
        (user, "GET", "/look", []),
        (user, "GET", "/elsewhere", []),
        (gateway.nobody, "GET", "/open", []),
    ):
        for forged in ({}, *({name: "forged"} for name in SPELLINGS), {"Connection": "X-Queue-Room"}):
            assert (await caller(method, path, headers=forged)).status == 200
            headers = gateways.service.seen[-1]["headers"]
            assert [value for name, value in headers if name == "X-Queue-Room"] == rooms, (path, forged)
            assert not any(value in ("forged", "of-a-filter") for _, value in headers)
