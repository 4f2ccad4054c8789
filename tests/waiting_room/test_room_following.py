"""A room beside an older system, as Python offers it: which rooms follow, what it costs, what the log says."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from redis.asyncio import Redis as Client

from gateway.errors import QueueUnavailable
from gateway.waiting_room.configured import ConfiguredLimits, RoomPolicy
from gateway.waiting_room.keys import RoomKeys
from gateway.waiting_room.observer import NoObserver
from gateway.waiting_room.redis.connection import Redis
from gateway.waiting_room.room import Room
from gateway.waiting_room.state import Sign, StateKind, Summary
from tests.support.older_gateway import NOTIFICATIONS_LOCK
from tests.support.redis_client import open_redis
from tests.support.redis_server import StartRedis
from tests.waiting_room.rooms import SCRIPTS, make_room

POLICY = RoomPolicy(follow="auto")


class Calls(NoObserver):
    """Remembers which scripts were called."""

    def __init__(self) -> None:
        self.scripts: list[str] = []

    def on_call(self, script: str, seconds: float, size: int, failed: bool, /) -> None:
        self.scripts.append(script)


@contextmanager
def without_presence(room: Room, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leaves the first call to whoever needs it."""

    async def idle() -> None:
        await asyncio.Event().wait()

    with monkeypatch.context() as patched:
        patched.setattr(room.presence, "_keep", idle)
        yield


@pytest.mark.parametrize("call", ["lineup", "leave", "limits"])
async def test_no_user_is_promoted_before_an_older_system_was_looked_for(
    place: Redis, redis: Client, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    await redis.set(NOTIFICATIONS_LOCK, "ADDED:now@host")
    calls = Calls()
    room = make_room(place, capacity=5, policy=POLICY, observer=calls)
    await redis.zadd(room.keys.line, {"old-1": 1, "old-2": 2})
    with without_presence(room, monkeypatch):
        async with room.running():
            if call == "lineup":
                assert (await room.lineup("ann")).kind is StateKind.WAITING
            elif call == "leave":
                await room.leave("ann", "both")
            else:
                await room.operations.set_limits(capacity=7)
            assert (await room.overview()).promoted == 0
    assert calls.scripts[:2] == ["configure", call]
    assert (await redis.zrange(room.keys.line, 0, 1)) == ["old-1", "old-2"]
    assert room.following is not None
    assert room.following.sign is Sign.NOTIFICATIONS


async def test_no_request_needs_a_further_call(place: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls()
    room = make_room(place, policy=POLICY, observer=calls)
    with without_presence(room, monkeypatch):
        async with room.running():
            for _ in range(3):
                await room.lineup("ann")
                await room.status("ann")
                await room.enter("ann")
                await room.leave("ann", "both")
    assert calls.scripts == ["configure", *["lineup", "status", "gate", "leave"] * 3]


@pytest.mark.parametrize("follow", ["auto", "on"])
@pytest.mark.parametrize("keys", [RoomKeys("", "vip"), RoomKeys("shop:", "default")], ids=["vip", "prefix"])
async def test_no_other_room_follows(place: Redis, redis: Client, keys: RoomKeys, follow: str) -> None:
    await redis.set(NOTIFICATIONS_LOCK, "ADDED:now@host")
    await redis.zadd(keys.line, {"old-1": 1})
    policy = RoomPolicy(follow=follow)  # type: ignore[arg-type]
    room = Room(place, SCRIPTS, keys, ConfiguredLimits(2, 60), policy, NoObserver())
    async with room.running():
        summary = await room.sweep(scan=500)
    assert summary.following is None
    assert summary.waiting == 0


async def test_the_log_says_when_it_begins_and_when_it_ends_once(
    place: Redis, redis: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "gateway.waiting_room.room")
    room = make_room(place, policy=RoomPolicy(follow="auto", follow_seconds=0.2))
    async with room.running():
        await redis.set(NOTIFICATIONS_LOCK, "ADDED:now@host")
        for _ in range(3):
            await room.sweep()
        assert "because it takes the lock of its notifications" in caplog.text
        async with asyncio.timeout(10):
            while (await room.sweep()).following:
                await asyncio.sleep(0.02)
        await room.sweep()
    assert len(caplog.records) == 2
    assert "no sign of the older system any more" in caplog.messages[1]


async def test_an_answer_that_comes_late_tells_nothing_old(
    place: Redis, redis: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "gateway.waiting_room.room")
    await redis.set(NOTIFICATIONS_LOCK, "ADDED:now@host")
    room = make_room(place, policy=POLICY)
    async with room.running():
        summary: Summary = await room.sweep()
        room._note_summary(summary._replace(now=summary.now - 1, following=None))
    assert room.following == summary.following
    assert len(caplog.records) == 1


async def test_a_user_of_redis_who_may_not_read_the_locks_sweeps_all_the_same(
    start_redis: StartRedis,
) -> None:
    server = start_redis()
    async with open_redis(server.url) as client:
        await client.execute_command(
            "ACL",
            "SETUSER",
            "gateway",
            "on",
            ">secret",
            "~queue:*",
            "~allowedIn:*",
            "~gw:*",
            "allchannels",
            "+@all",
        )
        await client.set(NOTIFICATIONS_LOCK, "ADDED:now@host")
        room = make_room(Redis(server.url.replace("unix://", "unix://gateway:secret@"), 5.0), policy=POLICY)
        async with room.running():
            assert (await room.sweep()).following is None
            assert (await room.lineup("ann")).kind is StateKind.ADMITTED
            await client.execute_command("ACL", "SETUSER", "gateway", "~job-lock:default:*")
            assert (await room.sweep()).following is not None


async def test_without_redis_a_lineup_fails_as_ever(start_redis: StartRedis) -> None:
    server = start_redis()
    room = make_room(Redis(server.url, 0.5), policy=POLICY)
    server.kill()
    async with room.running():
        with pytest.raises(QueueUnavailable):
            await room.lineup("ann")
