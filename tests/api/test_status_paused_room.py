"""A room that admits no one says so, and shows no wait, wherever a caller is told of the place in line."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.gateway import Caller, Gateways
from tests.support.redis_client import open_redis

TOKEN = "operators-only"
ROOM = "/actuator/rooms/default"


async def clock_has_moved(redis_url: str) -> None:
    """Returns in a later millisecond of Redis's clock."""
    async with open_redis(redis_url) as redis:

        async def milliseconds() -> int:
            seconds, microseconds = await redis.time()
            return int(seconds) * 1000 + int(microseconds) // 1000

        began = await milliseconds()
        while await milliseconds() == began:
            pass


async def places(user: Caller) -> list[dict[str, Any]]:
    """The status objects of status, lineup, gate and stream."""
    status, lineup = await user.status(), await user.lineup()
    gate = await user("POST", "/api/v1/reservations")
    assert (status.status, lineup.status, gate.status) == (200, 200, 429)
    async with user.stream() as stream:
        update = await stream.until("STATUS_UPDATE")
    return [status.json["data"], lineup.json["data"], gate.json["data"], update.data]


@pytest.mark.parametrize(
    ("close", "open_again"), [({"paused": True}, {"paused": False}), ({"capacity": 0}, {"capacity": 1})]
)
async def test_while_a_room_admits_no_one_it_says_paused_and_estimates_nothing(
    gateways: Gateways, redis_url: str, close: dict[str, Any], open_again: dict[str, Any]
) -> None:
    gateway = await gateways.start(management_token=TOKEN, queue_relineup="keep")
    operator = gateway.with_token(TOKEN)
    first, second, third = (gateway.user(name) for name in ("first", "second", "third"))
    for user in (first, second, third):
        assert (await user.lineup()).status == 200
    # One admission from the line, so that there is something to estimate by: a pace needs a time above 0, and Redis's
    # clock is read in milliseconds.
    await clock_has_moved(redis_url)
    assert (await first("DELETE", "/api/v1/queue/allowed-in-token")).status == 200
    for place in await places(third):
        assert "paused" not in place
        assert place["estimatedWaitSeconds"] >= 1
    room = (await operator("POST", ROOM, json=close)).json["data"]
    assert "estimatedWaitSeconds" not in room
    for place in await places(third):
        assert place["paused"] is True
        assert "estimatedWaitSeconds" not in place
    room = (await operator("POST", ROOM, json=open_again)).json["data"]
    assert "estimatedWaitSeconds" in room
    for place in await places(third):
        assert "paused" not in place
        assert place["estimatedWaitSeconds"] >= 1


async def test_an_open_stream_hears_of_a_pause_and_of_its_end(gateways: Gateways) -> None:
    gateway = await gateways.start(management_token=TOKEN, queue_status_interval_seconds=0.2)
    operator = gateway.with_token(TOKEN)
    first, second = gateway.user("first"), gateway.user("second")
    for user in (first, second):
        await user.lineup()

    async with second.stream() as stream:
        for paused in (True, False):
            await operator("POST", ROOM, json={"paused": paused})
            while (await stream.until("STATUS_UPDATE")).data.get("paused", False) is not paused:
                pass
        await first("DELETE", "/api/v1/queue/allowed-in-token")
        assert (await stream.until("ALLOWED_IN")).name == "ALLOWED_IN"
