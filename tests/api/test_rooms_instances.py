"""Which instances serve a room, as operators see it, over real HTTP."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis

from gateway import __version__
from gateway.cli.main import main
from gateway.context import ROOMS
from gateway.waiting_room import presence
from tests.support.gateway import Gateways, Running
from tests.support.waiting import eventually

ROOM = "/actuator/rooms/default"


@pytest.fixture(autouse=True)
def _quick_beats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(presence.Presence.__init__.__kwdefaults__, "beat", 0.05)


async def instances(gateway: Running) -> dict[str, tuple[int, str]]:
    listed: list[dict[str, Any]] = (await gateway.nobody("GET", ROOM)).json["data"]["instances"]
    return {each["instance"]: (each["streams"], each["version"]) for each in listed}


async def test_each_instance_is_listed_with_its_streams_and_version(
    gateways: Gateways, capsys: pytest.CaptureFixture[str]
) -> None:
    one = await gateways.start()
    async with gateways.running() as other:
        first, second = (each.app[ROOMS]["default"].presence.instance for each in (one, other))
        for user in ("inside", "ann", "bob"):
            await one.user(user).lineup()
        async with other.user("ann").stream() as stream, other.user("ann").stream() as again:
            await stream.until("STATUS_UPDATE")
            await again.until("STATUS_UPDATE")
            wanted = {first: (0, __version__), second: (2, __version__)}

            async def shown() -> bool:
                return await instances(one) == await instances(other) == wanted

            await eventually(shown)
            command = ["room", "show", "--room", "default", "--url", one.nobody.base]
            assert await asyncio.to_thread(main, command, {}) == 0
            told = capsys.readouterr().out
            assert f"{second} (2 streams, version {__version__})" in told
    changed = await one.nobody("GET", "/actuator/rooms")
    assert "instances" in changed.json["data"][0]


async def test_an_instance_that_died_or_reports_nothing_is_not_listed(
    gateways: Gateways, redis: Redis
) -> None:
    one = await gateways.start()
    mine = one.app[ROOMS]["default"].presence.instance
    await eventually(lambda: redis.exists(f"gw:{{default}}:about:{mine}"))
    await redis.zadd("gw:{default}:instances", {"dead": 1, "odd": 1, "older": 9e15})
    await redis.set("gw:{default}:about:odd", "many streams")
    shown = set(await instances(one))
    # On a busy machine the instance may have taken another name; the first one is listed until its report ends.
    assert mine in shown
    assert shown.isdisjoint({"dead", "odd", "older"})
    assert 0 < await redis.pttl(f"gw:{{default}}:about:{mine}") <= 10_000
