"""Redis that hangs is found out by the probe, for all at once; what it refuses is told apart from its absence."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from gateway.errors import QueueUnavailable
from gateway.waiting_room.configured import ConfiguredLimits
from gateway.waiting_room.redis import availability
from gateway.waiting_room.redis.availability import Availability, Probe, RedisState
from gateway.waiting_room.redis.connection import Redis, RedisConnection
from gateway.waiting_room.redis.wire import send_command
from gateway.waiting_room.rooms import Rooms
from tests.support.redis_server import RedisServer

KEY = "gw:{default}:mark"
LONG = 30.0
"""A time-out that no test waits for."""


class Watched:
    """A probed Redis, with the states that were told, each of which can be awaited."""

    def __init__(self, server: RedisServer, timeout: float = LONG) -> None:
        self.redis = Redis(server.url, timeout)
        self.states: asyncio.Queue[RedisState] = asyncio.Queue()

    async def next(self, seconds: float = 10.0) -> RedisState:
        return await asyncio.wait_for(self.states.get(), seconds)


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as one:
        yield one


async def watch(
    stack: AsyncExitStack, server: RedisServer, timeout: float = LONG
) -> tuple[Watched, RedisConnection]:
    watched = Watched(server, timeout)
    await stack.enter_async_context(watched.redis.probing(KEY, watched.states.put_nowait))
    assert await watched.next() == RedisState()
    link = watched.redis.link()
    stack.push_async_callback(link.close)
    return watched, link


async def test_a_redis_that_hangs_is_away_within_two_seconds_and_ends_all_waits(
    server: RedisServer, stack: AsyncExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gateway")
    watched, link = await watch(stack, server)
    assert await link.call("PING") == b"PONG"
    server.freeze()
    try:
        began, wall = time.monotonic(), time.time()
        waiting = [asyncio.create_task(link.call("PING")) for _ in range(3)]
        state = await watched.next()
        assert time.monotonic() - began < 2.0
        assert state.away == "no answer"
        assert wall - 1.0 <= state.away_since <= time.time()
        # Their own time-out is far away.
        for call in waiting:
            with pytest.raises(QueueUnavailable):
                await asyncio.wait_for(call, 1.0)
        for _ in range(100):
            # By hand: a call that waited for anything would raise nothing here.
            with pytest.raises(QueueUnavailable, match="Redis is away: no answer") as refused:
                link.call("PING").send(None)
            assert 1.0 <= refused.value.retry_after <= 4.0
    finally:
        server.thaw()
    assert await watched.next(2.0) == RedisState()
    assert await link.call("PING") == b"PONG"
    lines = [record.message for record in caplog.records if record.levelno >= logging.INFO]
    assert [line.partition(":")[0].partition(" after")[0] for line in lines] == [
        "Redis is there",
        "Redis is away",
        "Redis is back",
    ]


async def test_a_redis_that_is_gone_is_away_at_once_and_back_when_it_is(
    server: RedisServer, stack: AsyncExitStack
) -> None:
    watched, link = await watch(stack, server)
    server.kill()
    assert (await watched.next(2.0)).away.startswith("Redis: ")
    with pytest.raises(QueueUnavailable, match="away"):
        await link.call("PING")
    server.start()
    assert await watched.next(2.0) == RedisState()
    assert await link.call("PING") == b"PONG"


async def test_a_redis_that_was_never_there_is_away_and_its_first_answer_ends_that(
    server: RedisServer, stack: AsyncExitStack
) -> None:
    server.kill()
    watched = Watched(server)
    await stack.enter_async_context(watched.redis.probing(KEY, watched.states.put_nowait))
    assert (await watched.next(2.0)).away
    server.start()
    assert await watched.next(2.0) == RedisState()


async def test_one_connection_asks_while_redis_hangs(server: RedisServer, stack: AsyncExitStack) -> None:
    watched, link = await watch(stack, server)
    links = [watched.redis.link() for _ in range(20)]
    for one in links:
        stack.push_async_callback(one.close)
        await one.call("PING")
    server.freeze()
    try:
        await watched.next()
        for _ in range(5):
            for one in links:
                with pytest.raises(QueueUnavailable):
                    await one.call("PING")
    finally:
        server.thaw()
    await watched.next()
    # Links whose wait was cut off would have to connect again; these had no call under way.
    received = int((await link.call("INFO", "stats")).partition(b"total_connections_received:")[2].split()[0])
    assert received <= 20 + 8


@pytest.mark.parametrize(
    ("option", "value", "reason"),
    [("maxmemory", 1, "memory"), ("min-replicas-to-write", 1, "replicas")],
)
async def test_a_redis_that_refuses_writes_is_there_and_says_why(
    server: RedisServer,
    stack: AsyncExitStack,
    caplog: pytest.LogCaptureFixture,
    option: str,
    value: int,
    reason: str,
) -> None:
    watched, link = await watch(stack, server)
    await link.call("CONFIG", "SET", option, value)
    state = await watched.next(2.0)
    assert (state.away, state.refuses) == ("", reason)
    assert await link.call("PING") == b"PONG"
    assert await link.call("GET", KEY) is None
    await link.call("CONFIG", "SET", option, 0)
    assert await watched.next(2.0) == RedisState()
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 2
    assert await link.call("EXISTS", KEY) == 0


@pytest.mark.parametrize(("policy", "lines"), [("allkeys-lru", 1), ("volatile-lru", 0), ("noeviction", 0)])
async def test_a_redis_that_may_drop_lines_is_warned_of_once(
    start_redis: Any, stack: AsyncExitStack, caplog: pytest.LogCaptureFixture, policy: str, lines: int
) -> None:
    # Without a time to live nothing of a room is dropped by the policies for what has one.
    await watch(stack, start_redis("--maxmemory-policy", policy))
    await asyncio.sleep(2 * availability.PROBE_SECONDS)
    assert [policy in record.message for record in caplog.records] == [True] * lines


async def test_a_replica_that_takes_no_writes_is_told_apart(
    server: RedisServer, stack: AsyncExitStack
) -> None:
    watched, link = await watch(stack, server)
    await link.call("REPLICAOF", "127.0.0.1", 1)
    assert (await watched.next(2.0)).refuses == "read-only"


NO_DATABASE = "database 99, which REDIS_URL (or SPRING_DATA_REDIS_DATABASE) names"


@pytest.mark.parametrize(
    ("acl", "why"),
    [
        ((), f"there is no {NO_DATABASE}: its setting databases says how many there are"),
        (("-select",), f"its user may not SELECT {NO_DATABASE}"),
    ],
)
async def test_a_database_that_is_not_there_is_told_in_words_of_the_setting(
    server: RedisServer, acl: tuple[str, ...], why: str
) -> None:
    if acl:
        link = Redis(server.url, LONG).link()
        await link.call("ACL", "SETUSER", "default", *acl)
        await link.close()
    redis = Redis(f"{server.url}?db=99", LONG)
    states: asyncio.Queue[RedisState] = asyncio.Queue()
    async with redis.probing(KEY, states.put_nowait), asyncio.timeout(10):
        assert (await states.get()).away == f"Redis: {why}"
        with pytest.raises(QueueUnavailable, match=r"there is no database 99|may not SELECT database 99"):
            await redis.link().call("PING")
    # The connections that were given up are closed in the next turn of the loop.
    await asyncio.sleep(0)


async def test_a_redis_user_who_may_not_probe_is_no_outage(
    server: RedisServer, stack: AsyncExitStack
) -> None:
    watched, link = await watch(stack, server)
    await link.call("ACL", "SETUSER", "default", "-setrange", "-ping")
    for _ in range(3):
        await link.call("GET", KEY)
        await asyncio.sleep(availability.PROBE_SECONDS)
    assert watched.states.empty()
    assert watched.redis.availability.state == RedisState()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A probe that asks twice as often and waits half as long."""
    monkeypatch.setattr(availability, "PROBE_SECONDS", availability.PROBE_SECONDS / 2)
    monkeypatch.setattr(availability, "DEADLINE_SECONDS", availability.DEADLINE_SECONDS / 2)


@pytest.mark.parametrize(("deadlines", "times"), [(1.2, 3), (7.0, 1)])
async def test_an_event_loop_that_stands_still_during_a_question_is_no_silence_of_redis(
    server: RedisServer,
    stack: AsyncExitStack,
    quick: None,
    monkeypatch: pytest.MonkeyPatch,
    deadlines: float,
    times: int,
) -> None:
    held_up = asyncio.Event()

    async def ask_and_stand_still(connection: Any, *command: Any) -> Any:
        reply = asyncio.ensure_future(send_command(connection, *command))
        await asyncio.sleep(0)
        time.sleep(availability.DEADLINE_SECONDS * deadlines)
        held_up.set()
        return await reply

    # As by default, the time-out is as long as the deadline.
    watched, _ = await watch(stack, server, availability.DEADLINE_SECONDS)
    with monkeypatch.context() as patched:
        patched.setattr("gateway.waiting_room.redis.connection.send_command", ask_and_stand_still)
        for _ in range(times):
            held_up.clear()
            await held_up.wait()
    await asyncio.sleep(2 * availability.PROBE_SECONDS)
    assert watched.states.empty()


async def test_a_call_whose_answer_came_while_the_event_loop_stood_still_has_its_answer(
    server: RedisServer,
) -> None:
    link = Redis(server.url, 0.2).link()
    assert await link.call("PING") == b"PONG"
    for _ in range(3):
        call = asyncio.create_task(link.call("INCR", "calls"))
        # The command is sent in the task's first step.
        await asyncio.sleep(0)
        time.sleep(0.4)
        assert await call
    # A Redis that is silent as well takes no longer than the time-out, and a moment.
    server.freeze()
    try:
        call = asyncio.create_task(link.call("INCR", "calls"))
        await asyncio.sleep(0)
        time.sleep(0.4)
        with pytest.raises(QueueUnavailable, match="did not answer in time"):
            await asyncio.wait_for(call, 2.0)
    finally:
        server.thaw()
        await link.close()


async def test_an_event_loop_that_stood_still_is_no_silence_of_redis(
    server: RedisServer, stack: AsyncExitStack, quick: None
) -> None:
    watched, link = await watch(stack, server)
    for _ in range(6):
        # Longer than the deadline, at any moment of the question.
        time.sleep(availability.DEADLINE_SECONDS * 1.1)
        await asyncio.sleep(0.26 * availability.PROBE_SECONDS)
    ends = time.monotonic() + 4 * availability.DEADLINE_SECONDS
    while time.monotonic() < ends:
        # And an overload: each turn of the loop takes long.
        time.sleep(availability.DEADLINE_SECONDS * 0.4)
        await asyncio.sleep(0)
    assert watched.states.empty()
    assert await link.call("PING") == b"PONG"


async def test_a_fault_of_the_gateway_is_no_outage_and_the_probe_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    found = Availability()
    states: asyncio.Queue[RedisState] = asyncio.Queue()
    faults = [TypeError("a fault of ours")]

    async def send_command() -> str:
        if faults:
            raise faults.pop()
        return ""

    async with Probe(send_command, found, states.put_nowait).running():
        assert await asyncio.wait_for(states.get(), 5.0) == RedisState()
    assert "a fault of ours" in caplog.text
    assert "away" not in caplog.text


async def test_streams_are_read_anew_when_a_redis_that_hung_is_back(
    server: RedisServer, stack: AsyncExitStack
) -> None:
    restored: asyncio.Queue[str] = asyncio.Queue()
    states: asyncio.Queue[RedisState] = asyncio.Queue()
    rooms = Rooms(
        Redis(server.url, LONG),
        on_restored=lambda: restored.put_nowait(rooms.redis_state.away),
        on_redis=states.put_nowait,
    )
    await rooms.provide({"default": ConfiguredLimits(2, 60)})
    await stack.enter_async_context(rooms.running())
    assert await asyncio.wait_for(restored.get(), 10.0) == ""
    assert await asyncio.wait_for(states.get(), 10.0) == RedisState()
    server.freeze()
    try:
        assert (await asyncio.wait_for(states.get(), 10.0)).away
    finally:
        server.thaw()
    # Nothing was missed by the connection for events, but what was read meanwhile failed at once.
    assert await asyncio.wait_for(restored.get(), 10.0) == ""


async def test_a_redis_that_is_busy_with_a_script_is_away_until_it_is_done(
    server: RedisServer, stack: AsyncExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    watched, link = await watch(stack, server)
    await link.call("CONFIG", "SET", "lua-time-limit", 1)
    other = watched.redis.link()
    stack.push_async_callback(other.close)
    endless = asyncio.create_task(other.call("EVAL", "while true do end", 0))
    assert (await watched.next(2.0)).away == "busy with a script"
    with pytest.raises(QueueUnavailable, match="busy with a script"):
        await link.call("PING")
    # It answers, but no call of the gateway.
    await asyncio.sleep(3 * availability.PROBE_SECONDS)
    assert watched.states.empty()
    with pytest.raises(QueueUnavailable):
        await endless
    killer = await watched.redis.connection()
    await send_command(killer, "SCRIPT", "KILL")
    await killer.disconnect(nowait=True)
    assert await watched.next(2.0) == RedisState()
    assert await link.call("PING") == b"PONG"
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 2


async def test_a_replica_that_serves_nothing_without_its_master_is_known(
    server: RedisServer, stack: AsyncExitStack
) -> None:
    watched, link = await watch(stack, server)
    await link.call("CONFIG", "SET", "replica-serve-stale-data", "no")
    await link.call("REPLICAOF", "127.0.0.1", 1)
    state = await watched.next(2.0)
    # Redis 6 refuses the write before it looks for the master.
    assert (state.away, state.refuses) in {("a replica without its master", ""), ("", "read-only")}


async def test_a_script_that_redis_refuses_is_one_line_and_shows_until_it_is_taken_again(
    server: RedisServer,
    stack: AsyncExitStack,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(availability, "REFUSED_SECONDS", 1.5)
    caplog.set_level(logging.WARNING, "gateway")
    rooms = Rooms(Redis(server.url, LONG))
    await rooms.provide({"default": ConfiguredLimits(1, 60)})
    await stack.enter_async_context(rooms.running())
    room = rooms["default"]
    for user in ("insider", "waiting"):
        await room.lineup(user)

    def lines() -> list[str]:
        return [record.message.partition(",")[0] for record in caplog.records]

    async def until(count: int) -> None:
        async with asyncio.timeout(10.0):
            while len(lines()) < count:
                await asyncio.sleep(0.05)

    operator = await rooms._redis.connection()
    await send_command(operator, "ACL", "SETUSER", "default", "-zadd")
    for _ in range(3):
        with pytest.raises(QueueUnavailable):
            await room.enter("insider")
    assert "gate" in rooms.refused_scripts
    await asyncio.sleep(2.0)
    assert len(lines()) == 1
    assert lines()[0].startswith("Redis refuses the script ")
    assert rooms.redis_state == RedisState()
    await send_command(operator, "ACL", "SETUSER", "default", "+zadd")
    await until(2)
    assert rooms.refused_scripts == []
    assert lines()[1] == "Redis refuses no script any more"
    # What the probe meets itself has a line already.
    await send_command(operator, "CONFIG", "SET", "min-replicas-to-write", 1)
    await until(3)
    with pytest.raises(QueueUnavailable):
        await room.enter("insider")
    assert rooms.refused_scripts == []
    await operator.disconnect(nowait=True)


async def test_a_redis_that_takes_no_more_clients_shows_though_the_probe_is_answered(
    server: RedisServer, stack: AsyncExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "gateway.waiting_room.redis.availability")
    rooms = Rooms(Redis(server.url, LONG))
    await rooms.provide({"default": ConfiguredLimits(1, 60)})
    operator = await rooms._redis.connection()
    await stack.enter_async_context(rooms.running())
    room = rooms["default"]
    await room.lineup("insider")

    async def clients() -> dict[str, str]:
        """The last command of each, by number."""
        listed = (await send_command(operator, "CLIENT", "LIST")).decode().splitlines()
        facts = [dict(part.split("=", 1) for part in line.split()) for line in listed]
        return {each["id"]: each["cmd"].partition("|")[0] for each in facts}

    async with asyncio.timeout(10.0):
        while "setrange" not in (found := await clients()).values():
            await asyncio.sleep(0.05)
    # The operator's own, and the probe's.
    others = [number for number, command in found.items() if command not in {"client", "setrange"}]
    await send_command(operator, "CONFIG", "SET", "maxclients", 2)
    for each in others:
        await send_command(operator, "CLIENT", "KILL", "ID", each)

    async def fails() -> bool:
        try:
            await room.lineup("insider")
        except QueueUnavailable:
            return True
        return False

    def lines() -> list[str]:
        return [record.message.partition(",")[0] for record in caplog.records]

    async with asyncio.timeout(10.0):
        while "lineup" not in rooms.failing_scripts:
            assert await fails()
            await asyncio.sleep(0.05)
        # The sweep fails, too.
        while len(rooms.failing_scripts) < 2:
            await asyncio.sleep(0.05)
    assert rooms.redis_state == RedisState()
    assert len(lines()) == 1
    assert lines()[0].startswith("Redis answers the probe")
    await send_command(operator, "CONFIG", "SET", "maxclients", 10_000)
    async with asyncio.timeout(15.0):
        while await fails() or rooms.failing_scripts:
            await asyncio.sleep(0.05)
        while len(lines()) < 2:
            await asyncio.sleep(0.05)
    assert lines()[1:] == ["no script of Redis fails any more"]
    await operator.disconnect(nowait=True)


def test_one_failure_and_what_is_called_no_more_are_not_told(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(availability.time, "monotonic", lambda: now)
    found = Availability()
    found.note_failure("leave", "closed")
    now = 0.9
    found.note_failure("leave", "closed")
    assert found.failing_scripts == []
    found.note_success("leave")
    assert not caplog.records
    found.note_failure("leave", "closed")
    now = 2.0
    found.note_failure("leave", "closed")
    assert found.failing_scripts == ["leave"]
    now = 2.0 + availability.REFUSED_SECONDS
    found.forget_failures()
    assert found.failing_scripts == []
    assert len(caplog.records) == 2
