"""One connection to Redis: bounded waits, and nothing repeated behind one's back."""

from __future__ import annotations

import asyncio
import hashlib
import time
from typing import Any

import pytest
import redis as sync_redis
from redis.asyncio import Redis as Client
from redis.exceptions import ResponseError

from gateway.errors import QueueUnavailable
from gateway.waiting_room.redis.connection import Redis, RedisConnection
from gateway.waiting_room.redis.wire import pack_command
from gateway.waiting_room.scripts import Script
from tests.support.redis_server import RedisServer

COUNT = Script("count", "return redis.call('INCR', KEYS[1])", "0" * 40)


@pytest.fixture
def calls() -> list[tuple[str, int, bool]]:
    return []


@pytest.fixture
async def fragile(server: RedisServer, calls: list[tuple[str, int, bool]]) -> Any:
    """A link with a short time-out to a server that the test may harm."""
    link = Redis(server.url, 0.3).link(lambda name, _, size, failed: calls.append((name, size, failed)))
    yield link
    await link.close()


async def test_commands_are_answered_in_turn(link: RedisConnection) -> None:
    replies = await asyncio.gather(*(link.call("INCR", "n") for _ in range(100)))
    assert replies == list(range(1, 101))


async def test_an_unknown_script_is_sent_again_once_and_known_then(
    link: RedisConnection, redis: Client
) -> None:
    sha = hashlib.sha1(COUNT.text.encode(), usedforsecurity=False).hexdigest()
    script = Script("count", COUNT.text, sha)
    assert await link.run(script, ("n",), ()) == 1
    assert await link.run(script, ("n",), ()) == 2
    await redis.script_flush()
    assert await link.run(script, ("n",), ()) == 3
    stats = await redis.info("commandstats")
    assert stats["cmdstat_eval"]["calls"] >= 2


async def test_an_error_of_the_script_is_told_and_the_link_goes_on(link: RedisConnection) -> None:
    with pytest.raises(QueueUnavailable, match="script bad: OH"):
        await link.run(Script("bad", "return redis.error_reply('OH no')", "2" * 40), (), ())
    assert await link.call("PING") == b"PONG"


async def test_a_call_whose_reply_is_lost_with_the_server_is_not_repeated(
    server: RedisServer, fragile: RedisConnection
) -> None:
    assert await fragile.call("PING") == b"PONG"
    server.freeze()
    call = asyncio.create_task(fragile.call("INCR", "n"))
    await asyncio.sleep(0.05)
    server.kill()
    with pytest.raises(QueueUnavailable):
        await call
    server.start()
    assert await fragile.call("GET", "n") is None


async def test_a_call_that_was_executed_but_not_answered_is_not_repeated(
    server: RedisServer, fragile: RedisConnection, calls: list[tuple[str, int, bool]]
) -> None:
    """The reply is lost by closing the connection from the server's side after the command has run."""
    script = Script(
        "slow", "redis.call('INCR', KEYS[1]) local n = 0 while n < 1e8 do n = n + 1 end return n", "3" * 40
    )
    with pytest.raises(QueueUnavailable, match="in time"):
        await fragile.run(script, ("n",), (), size=7)
    deadline = time.monotonic() + 30
    while True:
        try:
            assert await fragile.call("GET", "n") == b"1"
            break
        except (QueueUnavailable, ResponseError):  # still at it, or BUSY with it
            assert time.monotonic() < deadline
    assert calls == [("slow", 7, True)]


async def test_a_frozen_server_costs_the_time_out_and_no_more(
    server: RedisServer, fragile: RedisConnection
) -> None:
    await fragile.call("PING")
    server.freeze()
    began = time.monotonic()
    results = await asyncio.gather(*(fragile.call("INCR", "n") for _ in range(5)), return_exceptions=True)
    assert time.monotonic() - began < 1.5
    assert all(isinstance(result, QueueUnavailable) for result in results)
    server.thaw()
    with sync_redis.Redis.from_url(server.url) as client:
        # Frozen, the server had taken in at most what was on its way; nothing is sent again after the thaw.
        assert int(client.get("n") or 0) <= 1
    assert await fragile.call("PING") == b"PONG"


async def test_connecting_is_bounded_too(server: RedisServer, fragile: RedisConnection) -> None:
    server.freeze()
    with pytest.raises(QueueUnavailable):
        await asyncio.wait_for(fragile.call("PING"), 2)
    server.thaw()
    assert await fragile.call("PING") == b"PONG"


async def test_a_server_that_is_away_is_told_at_once_and_found_again(
    server: RedisServer, fragile: RedisConnection
) -> None:
    server.kill()
    with pytest.raises(QueueUnavailable):
        await fragile.call("PING")
    server.start()
    assert await fragile.call("PING") == b"PONG"


async def test_a_connection_hung_up_while_idle_does_not_cost_a_call(
    server: RedisServer, fragile: RedisConnection
) -> None:
    await fragile.call("PING")
    with sync_redis.Redis.from_url(server.url) as client:
        client.client_kill_filter(_type="normal", skipme=True)
    await asyncio.sleep(0.05)
    assert await fragile.call("INCR", "n") == 1


async def test_a_cancelled_call_leaves_no_reply_to_the_next(
    server: RedisServer, fragile: RedisConnection
) -> None:
    await fragile.call("SET", "secret", "one's own")
    server.freeze()
    call = asyncio.create_task(fragile.call("GET", "secret"))
    await asyncio.sleep(0.02)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    server.thaw()
    assert await fragile.call("PING") == b"PONG"


async def test_a_master_that_became_a_replica_is_left(
    start_redis: Any, fragile: RedisConnection, server: RedisServer
) -> None:
    await fragile.call("INCR", "n")
    with sync_redis.Redis.from_url(server.url) as client:
        client.replicaof("127.0.0.1", 1)
        before = {entry["id"] for entry in client.client_list(_type="normal")}
        with pytest.raises(QueueUnavailable):
            await fragile.run(COUNT, ("n",), ())
        client.replicaof("NO", "ONE")
        assert await fragile.run(COUNT, ("n",), ()) == 2
        # By the name it was given, the link asks anew who is the master now.
        assert {entry["id"] for entry in client.client_list(_type="normal")} != before


async def test_closing_ends_the_connection_and_a_later_call_opens_it_again(
    link: RedisConnection, redis: Client
) -> None:
    before = len(await redis.client_list())
    await link.call("PING")
    assert len(await redis.client_list()) == before + 1
    await link.close()
    async with asyncio.timeout(5):
        while len(await redis.client_list()) > before:
            await asyncio.sleep(0.01)
    assert await link.call("PING") == b"PONG"


def test_the_database_is_that_of_the_address() -> None:
    assert Redis("redis://localhost:6379/7", 1).database == 7
    assert Redis("unix:///tmp/x.sock?db=3", 1).database == 3
    assert Redis("redis://localhost:6379", 1).database == 0


async def test_a_master_without_the_replicas_it_wants_is_doubted_but_not_all_the_time(
    start_redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = start_redis("--min-replicas-to-write", "1")
    link = Redis(alone.url, 5.0).link()
    number = await link.call("CLIENT", "ID")
    for doubtful in (False, True):
        if doubtful:
            monkeypatch.setattr("gateway.waiting_room.redis.shared.RECHECK_SECONDS", -1.0)
        with pytest.raises(QueueUnavailable, match="NOREPLICAS"):
            await link.run(COUNT, ("n",), ())
        # Another connection is one to whatever is master by now.
        assert (await link.call("CLIENT", "ID") != number) is doubtful
    await link.close()


def test_a_command_is_packed_as_redis_reads_it() -> None:
    assert pack_command(("SET", "käse", b"\xff", 7, 0.5)) == (
        b"*5\r\n$3\r\nSET\r\n$5\r\nk\xc3\xa4se\r\n$1\r\n\xff\r\n$1\r\n7\r\n$3\r\n0.5\r\n"
    )
    long = "x" * 300
    assert pack_command((long,)) == f"*1\r\n$300\r\n{long}\r\n".encode()
    with pytest.raises(UnicodeEncodeError):
        pack_command(("\ud800",))


async def test_what_was_sent_in_any_type_comes_back(server: RedisServer) -> None:
    link = Redis(server.url, 5).link()
    sent = ("", "käse\r\n$1", b"\x00\xff", 2**60, -0.5, "x" * 100_000)
    assert await link.call("RPUSH", "all", *sent) == len(sent)
    expected = [one if isinstance(one, bytes) else str(one).encode() for one in sent]
    assert await link.call("LRANGE", "all", 0, -1) == expected
    await link.close()
