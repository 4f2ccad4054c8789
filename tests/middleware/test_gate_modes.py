"""The modes of a room: on, off and observe, as users meet them at the gate and at the queue's own calls."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from gateway.context import OBSERVERS, ROOMS
from gateway.errors import QueueUnavailable
from gateway.middleware.gate import check_unavailable
from gateway.observability.metrics import Metrics
from gateway.settings.model import Settings
from gateway.waiting_room.redis.connection import Redis
from gateway.waiting_room.rules import RoomRules
from tests.support.gateway import Answer, Caller, Gateways, Running
from tests.support.redis_server import StartRedis
from tests.support.waiting import eventually
from tests.waiting_room.rooms import make_room

TOKEN = "an-operators-token"
BUY = ("POST", "/api/v1/reservations")


async def set_mode(gateway: Running, mode: str | bool | None) -> Answer:
    operator = gateway.with_token(TOKEN)
    return await operator("POST", "/actuator/rooms/default", json={"mode": mode})


async def state(user: Caller) -> str:
    answer = await user.status()
    return str(answer.json["state"]) if answer.status == 200 else answer.code


def counted(gateway: Running, name: str) -> dict[str, float]:
    """The samples of a metric, by their labels as text."""
    lines = generate_latest(gateway.app[OBSERVERS].metrics.registry).decode().splitlines()
    found = [line.rpartition(" ") for line in lines if line.startswith(name)]
    return {labels.removeprefix(name): float(value) for labels, _, value in found}


async def test_off_lets_everyone_with_a_token_in_and_takes_nothing(gateways: Gateways) -> None:
    gateway = await gateways.start(management_token=TOKEN, queue_mode="off")
    # Until Redis has said so once, it is asked: an operator may have set another mode.
    await eventually(lambda: gateway.app[ROOMS]["default"].off)
    users = [gateway.user(f"u{n}") for n in range(4)]
    for user in users:
        assert (await user(*BUY)).status == 200
        answer = await user.lineup()
        assert answer.json | {"state": "ALLOWED_IN", "expiresInSeconds": 240} == answer.json
        assert await state(user) == "ALLOWED_IN"
        async with user.stream() as stream:
            assert await stream.until("ALLOWED_IN")
    assert (await gateway.nobody(*BUY)).code == "TOKEN_REQUIRED"
    room = (await gateway.with_token(TOKEN)("GET", "/actuator/rooms/default")).json["data"]
    assert (room["waiting"], room["allowedIn"]) == (0, 0)
    assert room["settings"]["mode"] == {"value": "off", "from": "environment"}


async def test_every_instance_hears_of_another_mode_within_a_second(gateways: Gateways) -> None:
    here, there = [await gateways.start(management_token=TOKEN) for _ in range(2)]
    users = [there.user(f"u{n}") for n in range(2)]
    for user in users:
        await user.lineup()
    assert (await users[1](*BUY)).status == 429
    assert (await set_mode(here, "off")).json["data"]["settings"]["mode"]["value"] == "off"
    # The very next call asks Redis, and so hears of it.
    assert (await users[1](*BUY)).status == 200
    assert await state(users[1]) == "ALLOWED_IN"
    await set_mode(here, True)
    room = there.app[ROOMS]["default"]
    await eventually(lambda: not room.off, seconds=2.5)
    assert await state(users[1]) == "WAITING"
    assert (await users[1](*BUY)).status == 429
    assert (await users[0](*BUY)).status == 200


async def test_a_stream_ends_when_the_room_is_switched_off(gateways: Gateways) -> None:
    gateway = await gateways.start(management_token=TOKEN, queue_status_interval_seconds=0.2)
    await gateway.user("inside").lineup()
    waiting = gateway.user("waiting")
    await waiting.lineup()
    async with waiting.stream() as stream:
        assert await stream.until("STATUS_UPDATE")
        await set_mode(gateway, "off")
        assert await stream.until("ALLOWED_IN")


async def test_observe_lets_pass_and_counts_what_it_would_have_refused(gateways: Gateways) -> None:
    gateway = await gateways.start(queue_mode="observe")
    inside, waiting, stranger = (gateway.user(name) for name in ("inside", "waiting", "stranger"))
    assert (await inside.lineup()).json["state"] == "ALLOWED_IN"
    assert (await waiting.lineup()).json["state"] == "WAITING"
    for user in (inside, waiting, waiting, stranger):
        assert (await user(*BUY)).status == 200
    assert counted(gateway, "gateway_room_would_refuse_total") == {
        '{code="QUEUE_WAITING",room="default"}': 2.0,
        '{code="NOT_IN_QUEUE",room="default"}': 1.0,
    }
    assert await state(stranger) == "NOT_IN_QUEUE"
    assert (await gateway.nobody(*BUY)).code == "TOKEN_REQUIRED"


@pytest.mark.parametrize(
    ("mode", "status"), [("on", 503), ("off", 200), ("observe", 200)], ids=["on", "off", "observe"]
)
async def test_what_each_mode_does_without_redis(
    tmp_path: Path, start_redis: StartRedis, mode: str, status: int
) -> None:
    server = start_redis()
    async with Gateways(tmp_path, server.url) as gateways:
        gateway = await gateways.start(queue_mode=mode, redis_timeout_seconds=0.3)
        room = gateway.app[ROOMS]["default"]
        await eventually(lambda: room.mode == mode and room.off is (mode == "off"))
        server.kill()
        answer = await gateway.user("ann")(*BUY)
        assert answer.status == status
        refused = counted(gateway, "gateway_room_would_refuse_total")
        assert refused == ({'{code="QUEUE_UNAVAILABLE",room="default"}': 1.0} if mode == "observe" else {})


@pytest.mark.parametrize(("mode", "passes"), [("on", False), ("off", True), ("observe", True)])
def test_until_redis_is_heard_the_instances_own_setting_counts(mode: str, passes: bool) -> None:
    room = make_room(Redis("redis://127.0.0.1:1", 0.1), rules=RoomRules(mode=mode))
    metrics, error = Metrics(CollectorRegistry()), QueueUnavailable("away")
    assert (room.mode, room.off) == (mode, False)
    refused = pytest.raises(QueueUnavailable) if not passes else contextlib.nullcontext()
    with refused:
        check_unavailable(room, error, Settings.from_env({}), False, metrics)


async def test_bounds_are_told_with_the_time_to_come_back(gateways: Gateways) -> None:
    gateway = await gateways.start(queue_max_waiting=1, queue_lineups_per_minute=2, allowed_in_max_capacity=0)
    first, second = gateway.user("first"), gateway.user("second")
    assert (await first.lineup()).json["state"] == "WAITING"
    full = await second.lineup()
    assert (full.status, full.code) == (503, "ROOM_FULL")
    assert 1 <= int(full.headers["Retry-After"]) <= 15
    assert (await first.lineup()).status == 200
    often = await first.lineup()
    assert (often.status, often.code) == (429, "TOO_MANY_LINEUPS")
    assert 50 <= int(often.headers["Retry-After"]) <= 60
    assert await state(first) == "WAITING"
