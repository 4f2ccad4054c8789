"""Operators put users in front, over real HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.gateway import Gateways

OPERATOR = "operator-token-of-the-tests"
FRONT = "/actuator/rooms/default/front"


async def test_the_user_and_all_behind_hear_of_it_live(gateways: Gateways) -> None:
    gateway = await gateways.start(
        management_token=OPERATOR, allowed_in_max_capacity=0, queue_status_interval_seconds="0.2"
    )
    ann, bob, cid = (gateway.user(name) for name in ("ann", "bob", "cid"))
    for user in (ann, bob, cid):
        await user.lineup()
    operator = gateway.with_token(OPERATOR)
    async with ann.stream() as first, cid.stream() as last:
        await first.until("STATUS_UPDATE")
        assert (await last.until("STATUS_UPDATE")).data["userQueuePosition"] == 3
        answer = await operator("POST", FRONT, json={"user": "cid", "reason": "came first"})
        assert answer.status == 200
        found = answer.json["data"]
        assert (found["state"], found["ticket"], found["position"]) == ("WAITING", -1, 1)
        while (update := await last.until("STATUS_UPDATE")).data["userQueuePosition"] == 3:
            pass
        assert (update.data["ticket"], update.data["userQueuePosition"]) == (-1, 1)
        assert "reason" not in update.data
        while (update := await first.until("STATUS_UPDATE")).data["userQueuePosition"] == 1:
            pass
        assert (update.data["userQueuePosition"], update.data["reason"]) == (2, "OPERATOR")
        assert "reason" not in (await first.until("STATUS_UPDATE")).data
        await operator("POST", "/actuator/rooms/default", json={"capacity": 1})
        # The stream accepts the admission by the lower ticket.
        assert (await last.until("ALLOWED_IN")).data["room"] == "default"
    history = (await cid("GET", "/api/v1/queue/history")).json["data"]
    assert [(each["event"], each["ticket"]) for each in history] == [
        ("JOINED", 3),
        ("FRONT", -1),
        ("PROMOTED", -1),
    ]
    audit = (await operator("GET", "/actuator/rooms/default/audit")).json["data"]
    assert audit[1] | {"at": 0} == {
        "at": 0,
        "by": "management",
        "act": "front",
        "setting": None,
        "from": "3",
        "to": "-1",
        "reason": "came first",
        "user": "cid",
    }


async def test_a_removal_right_after_it_says_why(gateways: Gateways) -> None:
    """Also to a stream that does not know the new ticket yet."""
    gateway = await gateways.start(
        management_token=OPERATOR, allowed_in_max_capacity=0, queue_status_interval_seconds="60"
    )
    ann, operator = gateway.user("ann"), gateway.with_token(OPERATOR)
    await gateway.user("bob").lineup()
    await ann.lineup()
    async with ann.stream() as stream:
        await stream.until("STATUS_UPDATE")
        await operator("POST", FRONT, json={"user": "ann"})
        await operator("DELETE", "/actuator/rooms/default/users?id=ann")
        assert (await stream.until("ERROR")).data["reason"] == "OPERATOR"


@pytest.mark.parametrize("user", ["ann", "nobody", "visitor:AAAAAAAAAAAAAAAAAAAAAA"])
async def test_only_users_in_line_can_be_put_in_front(gateways: Gateways, user: str) -> None:
    gateway = await gateways.start(management_token=OPERATOR)
    await gateway.user("ann").lineup()
    answer = await gateway.with_token(OPERATOR)("POST", FRONT, json={"user": user})
    assert (answer.status, answer.code) == (404, "NOT_IN_QUEUE")


@pytest.mark.parametrize(
    ("body", "faults"),
    [
        ({}, ["user"]),
        ({"user": ""}, ["user"]),
        ({"user": 5}, ["user"]),
        ({"user": "a\u0001"}, ["user"]),
        ({"user": "ann", "until": 5}, ["until"]),
        ({"user": "ann", "reason": 3}, ["reason"]),
    ],
)
async def test_what_is_no_order_is_refused(
    gateways: Gateways, body: dict[str, Any], faults: list[str]
) -> None:
    gateway = await gateways.start(management_token=OPERATOR)
    operator = gateway.with_token(OPERATOR)
    answer = await operator("POST", FRONT, json=body)
    assert answer.status == 400
    assert [fault["field"] for fault in answer.json["error"]["fields"]] == faults
    assert (await operator("POST", FRONT)).status == 400
