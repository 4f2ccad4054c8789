"""Finding the master that real sentinels name and the owner of a slot of a real cluster."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from redis.crc import key_slot

from gateway.errors import QueueUnavailable, SettingsError
from gateway.waiting_room.configured import ConfiguredLimits
from gateway.waiting_room.redis.availability import RedisState
from gateway.waiting_room.redis.connection import Redis, RedisConnection, Replication
from gateway.waiting_room.rooms import Rooms
from gateway.waiting_room.scripts import Script
from gateway.waiting_room.state import StateKind
from tests.support.redis_fleet import PATIENCE, Cluster, Watched, cluster, free_port, until, watched

TIMEOUT = 5.0
KEY = "{gw}:n"
SLOT = key_slot(KEY.encode())

pytestmark = [pytest.mark.redis, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def secured() -> Iterator[Watched]:
    """A master, a replica and sentinels who want passwords, for tests that change nothing of it."""
    with watched(1, password="pass/word", sentinel_password="other@word") as servers:
        yield servers


@pytest.fixture(scope="module")
def nodes() -> Iterator[Cluster]:
    """Three nodes; a test that moves the slot moves it back."""
    with cluster() as servers:
        yield servers


@contextlib.asynccontextmanager
async def a_link(redis: Redis, key: str = KEY) -> AsyncIterator[RedisConnection]:
    link = redis.link(key=key)
    try:
        yield link
    finally:
        await link.close()


async def in_the_end(call: Callable[[], Awaitable[Any]]) -> Any:
    """The reply, however often it can't be had meanwhile."""
    limit = time.monotonic() + PATIENCE
    while True:
        try:
            return await call()
        except QueueUnavailable:
            assert time.monotonic() < limit
            await asyncio.sleep(0.05)


# -- sentinels ------------------------------------------------------------------------------------------


async def test_sentinels_name_the_master_each_with_passwords_of_their_own(secured: Watched) -> None:
    url = secured.url(":pass%2Fword@", "?sentinel_password=other%40word")
    async with a_link(Redis(url, TIMEOUT)) as link:
        role, *_ = await link.call("ROLE")
        assert role == b"master"


@pytest.mark.parametrize(
    ("credentials", "query"),
    [(":wrong@", "?sentinel_password=other%40word"), (":pass%2Fword@", "?sentinel_password=wrong")],
)
async def test_a_wrong_password_is_said_without_the_password(
    secured: Watched, credentials: str, query: str
) -> None:
    async with a_link(Redis(secured.url(credentials, query), TIMEOUT)) as link:
        with pytest.raises(QueueUnavailable, match="AuthenticationError") as caught:
            await link.call("PING")
    assert "wrong" not in caught.value.reason
    assert "127.0.0.1" not in caught.value.reason


async def test_a_database_that_the_master_does_not_have_is_said(secured: Watched) -> None:
    url = secured.url(":pass%2Fword@", "?sentinel_password=other%40word")
    async with a_link(Redis(url.replace("/0?", "/99?"), TIMEOUT)) as link:
        with pytest.raises(QueueUnavailable, match="there is no database 99, which REDIS_URL"):
            await link.call("PING")


async def test_a_service_that_no_sentinel_knows_is_said(secured: Watched) -> None:
    url = secured.url(":pass%2Fword@", "?sentinel_password=other%40word").replace("/tickets/", "/others/")
    async with a_link(Redis(url, TIMEOUT)) as link:
        with pytest.raises(QueueUnavailable, match="no master of that name"):
            await link.call("PING")


async def test_sentinels_that_are_away_or_hang_are_passed_over(secured: Watched) -> None:
    url = secured.url(":pass%2Fword@", "?sentinel_password=other%40word")
    hung = secured.sentinels[0].process
    url = url.replace("://:pass%2Fword@", f"://:pass%2Fword@127.0.0.1:{free_port()},")
    hung.send_signal(signal.SIGSTOP)
    try:
        async with a_link(Redis(url, TIMEOUT)) as link:
            assert await link.call("PING") == b"PONG"
            await link.close()
            # Whoever was of no help is asked last from now on.
            began = time.monotonic()
            assert await link.call("PING") == b"PONG"
            assert time.monotonic() - began < TIMEOUT / 2
    finally:
        hung.send_signal(signal.SIGCONT)


async def test_the_probe_gets_past_a_sentinel_that_takes_longer_than_the_probe_waits(
    secured: Watched,
) -> None:
    hung = secured.sentinels[0].process
    redis = Redis(secured.url(":pass%2Fword@", "?sentinel_password=other%40word"), 120.0)
    states: asyncio.Queue[RedisState] = asyncio.Queue()
    hung.send_signal(signal.SIGSTOP)
    try:
        async with redis.probing(KEY, states.put_nowait), asyncio.timeout(PATIENCE):
            # The first sentinel would be waited for a minute.
            assert (await states.get()).away == "no answer"
            assert await states.get() == RedisState()
    finally:
        hung.send_signal(signal.SIGCONT)


async def test_a_server_that_is_no_master_is_not_taken_for_one(secured: Watched) -> None:
    """A sentinel that has not noticed yet names a server that became a replica."""
    replica = next(server for server in secured.servers if server.role() == "slave")

    async def name_the_replica(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"tickets\r\n")
        writer.write(b"*2\r\n$9\r\n127.0.0.1\r\n$5\r\n%d\r\n" % replica.port)
        await reader.read()
        writer.close()

    async with await asyncio.start_server(name_the_replica, "127.0.0.1", 0) as server:
        place = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with a_link(Redis(f"redis+sentinel://:pass%2Fword@{place}/tickets", TIMEOUT)) as link:
            with pytest.raises(QueueUnavailable, match="what was named is no master"):
                await link.call("PING")


@pytest.mark.parametrize(
    "reply",
    [
        b":1\r\n",
        b"*0\r\n",
        b"*1\r\n$1\r\na\r\n",
        b"*2\r\n$2\r\n\xff\xfe\r\n$2\r\n80\r\n",
        b"*2\r\n$1\r\na\r\n$1\r\nb\r\n",
        b"*2\r\n$1\r\na\r\n$5\r\n99999\r\n",
        b"*2\r\n:1\r\n:2\r\n",
        b"*2\r\n$24\r\n127.0.0.1/0?a=b@evil.test\r\n$2\r\n80\r\n",
        b"*1\r\n*1\r\n:1\r\n",
        b"*1\r\n*3\r\n:0\r\n:16383\r\n:7\r\n",
        b"*1\r\n" * 5000,
    ],
)
@pytest.mark.parametrize("form", ["sentinel", "cluster"])
async def test_a_guide_that_answers_nonsense_is_one_that_knows_nothing(form: str, reply: bytes) -> None:
    ended = asyncio.Event()
    talking = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal talking
        talking += 1
        ended.clear()
        with contextlib.suppress(ConnectionError):
            while command := await reader.read(1024):
                writer.write(reply if b"SLOTS" in command or b"SENTINEL" in command else b"+OK\r\n")
        writer.close()
        talking -= 1
        if not talking:
            ended.set()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        path = "/tickets" if form == "sentinel" else ""
        async with a_link(Redis(f"redis+{form}://:secret@127.0.0.1:{port}{path}", TIMEOUT)) as link:
            with pytest.raises(QueueUnavailable) as caught:
                await link.call("PING")
        async with asyncio.timeout(TIMEOUT):
            await ended.wait()
    assert "evil" not in caught.value.reason


async def test_links_leave_a_master_of_the_past_as_soon_as_one_of_them_has_found_another(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    with watched(1) as servers:
        old, new = servers.servers
        redis = Redis(servers.url(), TIMEOUT)
        async with a_link(redis, "one") as first, a_link(redis, "two") as second:
            for link in (first, second):
                await link.call("SET", "n", "old")
            old.freeze()
            await asyncio.to_thread(until, lambda: new.role() == "master", "another master")
            await in_the_end(lambda: first.call("SET", "n", "new"))
            # The old one would answer nothing now, and once thawed what is no longer true.
            assert await second.call("GET", "n") == b"new"
    assert [record.message for record in caplog.records] == [
        f"Redis: the master is 127.0.0.1:{server.port}" for server in (old, new)
    ]


async def test_callers_in_a_crowd_do_not_become_a_crowd_of_questions() -> None:
    asked = 0

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with a_link(Redis(f"redis+sentinel://127.0.0.1:{port}/tickets", TIMEOUT)) as link:
            began, calls = time.monotonic(), 0
            while time.monotonic() - began < 1.0:
                with pytest.raises(QueueUnavailable):
                    await link.call("PING")
                calls += 1
                await asyncio.sleep(0)
    assert calls > 50
    assert 1 < asked <= 11


async def test_without_replicas_in_step_a_call_that_waits_for_them_says_so() -> None:
    with watched(1) as servers:
        replica = next(server for server in servers.servers if server.role() == "slave")
        async with a_link(Redis(servers.url(), 1.0)) as link:
            script = Script("count", "return redis.call('INCR', KEYS[1])", "0" * 40)
            assert await link.run(script, ("n",), (), replication=Replication(1, "mark")) == 1
            with replica.client as client:
                assert client.get("n") == "1"
            replica.freeze()
            try:
                with pytest.raises(QueueUnavailable, match="0 of 1 replicas"):
                    await link.run(script, ("n",), (), replication=Replication(1, "mark"))
                # It is done all the same: the answer means "unknown".
                assert await link.call("GET", "n") == b"2"
            finally:
                replica.thaw()
            assert (
                await in_the_end(lambda: link.run(script, ("n",), (), replication=Replication(1, "mark")))
                >= 3
            )


# -- a cluster ------------------------------------------------------------------------------------------


async def test_each_key_is_found_on_its_node(nodes: Cluster) -> None:
    redis = Redis(nodes.url(), TIMEOUT)
    homes = set()
    for key in ("{a}", "{b}", "{c}", "{d}", "{e}", "{f}"):
        async with a_link(redis, key) as link:
            await link.call("SET", key, key)
        owner = nodes.owner(key_slot(key.encode()))
        homes.add(owner.port)
        with owner.client as client:
            assert client.execute_command("GET", key) == key
    assert len(homes) > 1


async def test_a_link_follows_its_slot_and_every_call_is_done_once(nodes: Cluster) -> None:
    old = nodes.owner(SLOT)
    new = next(server for server in nodes.servers if server is not old)
    done = 0
    async with a_link(Redis(nodes.url(), TIMEOUT)) as link:
        script = Script("count", "return {redis.call('INCR', KEYS[1]), redis.call('GET', KEYS[2])}", "1" * 40)

        async def count() -> None:
            nonlocal done
            done += 1
            reply = await link.run(script, (KEY, "{gw}:other"), ())
            assert reply[0] == done

        for source, target in ((old, new), (new, old)):
            await count()
            moving = asyncio.create_task(asyncio.to_thread(nodes.move, SLOT, source, target))
            # One key is there already and the other never was: a script is told to try again until it is over.
            while not moving.done():
                await count()
            await moving
            await count()
            assert nodes.owner(SLOT) is target


async def test_a_slot_that_never_stops_moving_costs_the_time_out_and_no_more(nodes: Cluster) -> None:
    owner = nodes.owner(SLOT)
    other = next(server for server in nodes.servers if server is not owner)
    with owner.client as client, other.client as of_other:
        client.execute_command(
            "CLUSTER", "SETSLOT", SLOT, "MIGRATING", of_other.execute_command("CLUSTER", "MYID")
        )
        try:
            async with a_link(Redis(nodes.url(), 0.5)) as link:
                began = time.monotonic()
                with pytest.raises(QueueUnavailable):
                    await link.call("SET", "{gw}:new", "x")
                assert time.monotonic() - began < 5
        finally:
            client.execute_command("CLUSTER", "SETSLOT", SLOT, "STABLE")


async def test_one_server_of_a_cluster_by_its_own_address_says_that_the_slot_is_elsewhere(
    nodes: Cluster,
) -> None:
    other = next(server for server in nodes.servers if server is not nodes.owner(SLOT))
    async with a_link(Redis(f"redis://127.0.0.1:{other.port}", TIMEOUT)) as link:
        with pytest.raises(QueueUnavailable, match="slot is elsewhere"):
            await link.call("SET", KEY, 1)


@pytest.mark.parametrize("prefix", ["", "gw:", "{gw", "{tag}:"])
async def test_with_and_without_a_hash_tag_rooms_start_on_a_cluster(nodes: Cluster, prefix: str) -> None:
    rooms = Rooms(Redis(nodes.url(), TIMEOUT), prefix=prefix)
    await rooms.provide({"default": ConfiguredLimits(1, 60.0), "vip": ConfiguredLimits(1, 60.0)})
    async with rooms.running():
        for room in rooms:
            assert (await room.lineup(f"{prefix}-user")).kind in {StateKind.ADMITTED, StateKind.ALLOWED_IN}


async def test_with_an_empty_hash_tag_rooms_do_not_start_on_a_cluster(nodes: Cluster) -> None:
    for prefix in ("{}gw:", "{}{gw}:"):
        for url in (nodes.url(), "redis+cluster://127.0.0.1:1"):
            with pytest.raises(SettingsError, match="hash tag") as caught:
                async with Rooms(Redis(url, TIMEOUT), prefix=prefix).running():
                    pass
            assert caught.value.variable == "REDIS_KEY_PREFIX"


async def test_several_rooms_work_on_a_cluster_and_events_arrive_from_whichever_node(
    nodes: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    heard: asyncio.Queue[Any] = asyncio.Queue()

    def hear(events: Any) -> None:
        for event in events:
            heard.put_nowait((event.room, event.user, event.kind))

    rooms = Rooms(Redis(nodes.url(), TIMEOUT), prefix="{gw}:", on_events=hear)
    await rooms.provide({"default": ConfiguredLimits(1, 60), "vip": ConfiguredLimits(1, 60)})
    # At a node that has none of the rooms, whose scripts publish elsewhere.
    far = next(server for server in nodes.servers if server is not nodes.owner(SLOT))
    rooms.subscription._near = next(
        f"{{{number}}}" for number in range(999) if nodes.owner(key_slot(f"{{{number}}}".encode())) is far
    )
    async with rooms.running(), asyncio.timeout(PATIENCE):
        await rooms.subscription.listening.wait()
        for name in ("default", "vip"):
            room = rooms[name]
            assert (await room.lineup("ann")).kind is StateKind.ADMITTED
            assert (await room.lineup("bob")).kind is StateKind.WAITING
            assert (await room.status("bob")).position == 1
            assert (await room.enter("ann")).allowed_in
            await room.leave("ann", "slot")
            assert await heard.get() == (name, "bob", "ADMITTED")
        assert not (await rooms["vip"].sweep(scan=500)).more
    assert not caplog.records


@pytest.mark.parametrize(
    "url",
    [
        "redis://host?nonsense=secret",
        "redis+sentinel://host/tickets?nonsense=secret",
        "redis+cluster://host?socket_timeout=secret",
    ],
)
async def test_a_parameter_that_there_is_not_stops_the_start(url: str) -> None:
    with pytest.raises(SettingsError, match=r"REDIS_URL=.*hidden") as caught:
        Redis(url, TIMEOUT)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["redis://host", "redis+sentinel://host/tickets", "redis+cluster://host"])
@pytest.mark.parametrize("error", [TypeError, AttributeError])
def test_a_fault_of_programming_is_never_told_as_one_of_the_address(
    url: str, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise error("unexpected keyword argument")

    # As with a version of redis-py that lacks what is used.
    monkeypatch.setattr("gateway.waiting_room.redis.wire.ConnectionPool", broken)
    with pytest.raises(error, match="unexpected keyword"):
        Redis(url, TIMEOUT)
