"""What the scripts publish, as this instance hears it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

import pytest
from redis.asyncio import Redis as Client

from gateway.waiting_room.events import EVENTS_PER_TURN, RoomEvent, Subscription, parse_event
from gateway.waiting_room.keys import RoomKeys
from gateway.waiting_room.redis.connection import Redis
from gateway.waiting_room.room import channel


class Ears:
    """Hears what a subscription says."""

    def __init__(self, place: Redis, prefix: str = "", ping: float = 5.0) -> None:
        self.heard: asyncio.Queue[RoomEvent] = asyncio.Queue()
        self.restored: asyncio.Queue[bool] = asyncio.Queue()
        self.subscription = Subscription(
            place,
            lambda room: channel(RoomKeys(prefix, room), place),
            self.hear,
            lambda: self.restored.put_nowait(True),
            ping=ping,
        )

    def hear(self, events: Sequence[RoomEvent]) -> None:
        for event in events:
            self.heard.put_nowait(event)

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[Ears]:
        async with self.subscription.running(), asyncio.timeout(20):
            await self.restored.get()
            yield self


def message(user: str, event: str = "ADMITTED", ticket: str = "7") -> str:
    return '{"event":"%s","people":[["%s","%s"]],"expires_ms":4500}' % (event, user, ticket)  # noqa: UP031


def test_an_admission_is_parsed() -> None:
    payload = b'{"expires_ms":4500,"event":"ADMITTED","people":[["ann","7"],["bob","8"]]}'
    assert parse_event("vip", payload) == [
        RoomEvent("vip", "ann", 7, "ADMITTED", None, 4.5),
        RoomEvent("vip", "bob", 8, "ADMITTED", None, 4.5),
    ]


@pytest.mark.parametrize("reason", ["LEFT", "ABSENT", "OPERATOR"])
def test_a_removal_is_parsed_with_its_reason(reason: str) -> None:
    (event,) = parse_event("vip", message("ann", reason).encode())
    assert (event.kind, event.reason, event.ticket) == ("REMOVED", reason, 7)


def test_user_ids_that_are_no_utf8_do_not_cost_the_others_their_news() -> None:
    payload = b'{"expires_ms":1,"event":"LEFT","people":[["\xff\xfe","1"],["ann","2"]]}'
    assert [event.user for event in parse_event("vip", payload)] == ["\udcff\udcfe", "ann"]


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff",
        b"[]",
        b"null",
        b'"x"',
        b"{}",
        b'{"event":"ADMITTED","people":[["ann","7"]]}',
        b'{"event":"ADMITTED","people":[["ann"]],"expires_ms":1}',
        b'{"event":"ADMITTED","people":[["ann","x"]],"expires_ms":1}',
        b'{"event":"ADMITTED","people":[["ann",null]],"expires_ms":1}',
        b'{"event":"ADMITTED","people":5,"expires_ms":1}',
        b'{"event":"ADMITTED","people":[["ann","7"]],"expires_ms":"soon"}',
        b'{"event":"DANCED","people":[["ann","7"]],"expires_ms":1}',
        b"[" * 100_000,
    ],
)
def test_anything_else_is_no_event(payload: bytes) -> None:
    with pytest.raises(ValueError, match="not an event"):
        parse_event("vip", payload)


async def test_events_of_every_room_are_heard_in_order(place: Redis, redis: Client) -> None:
    async with Ears(place).listening() as ears:
        for room in ("default", "vip", "*", "a{b}", "대기"):
            await redis.publish(channel(RoomKeys("", room), place), message("ann"))
        heard = [(await ears.heard.get()).room for _ in range(5)]
    assert heard == ["default", "vip", "*", "a{b}", "대기"]


@pytest.mark.parametrize("prefix", ["a*", "[x]?", "back\\slash", "{tag}", "^$.+"])
async def test_a_prefix_is_taken_as_it_stands(place: Redis, redis: Client, prefix: str) -> None:
    async with Ears(place, prefix).listening() as ears:
        for other in ("aa", "ab", "x", "xy", "back/slash", "", "{tag}x", prefix + prefix):
            await redis.publish(channel(RoomKeys(other, "vip"), place), message("not ours"))
        await redis.publish(channel(RoomKeys(prefix, "vip"), place), message("ann"))
        assert (await ears.heard.get()).user == "ann"
        assert ears.heard.empty()


async def test_another_database_is_another_gateway(redis_url: str, redis: Client) -> None:
    ours = Redis(redis_url + "?db=3", 5)
    theirs = Redis(redis_url, 5)
    async with Ears(ours).listening() as ears:
        await redis.publish(channel(RoomKeys("", "default"), theirs), message("not ours"))
        await redis.publish(channel(RoomKeys("", "default"), ours), message("ann"))
        assert (await ears.heard.get()).user == "ann"


async def test_a_malformed_message_is_passed_over(
    place: Redis, redis: Client, caplog: pytest.LogCaptureFixture
) -> None:
    async with Ears(place).listening() as ears:
        name = channel(RoomKeys("", "default"), place)
        for bad in ("", "x", "[]", b"\xff", "{}", "[" * 50_000):
            await redis.publish(name, bad)
        await redis.publish(name, message("ann"))
        assert (await ears.heard.get()).user == "ann"
        assert ears.restored.empty()


async def test_a_hearer_that_fails_does_not_end_the_listening(place: Redis, redis: Client) -> None:
    ears = Ears(place)
    hear = ears.hear
    ears.subscription._on_events = lambda events: hear(events) if events[0].user == "ann" else 1 / 0  # type: ignore
    async with ears.listening():
        name = channel(RoomKeys("", "default"), place)
        await redis.publish(name, message("bad luck"))
        await redis.publish(name, message("ann"))
        assert (await ears.heard.get()).user == "ann"


async def test_a_failing_restore_callback_does_not_end_the_subscription(place: Redis, redis: Client) -> None:
    ears = Ears(place)
    calls = 0

    def restored() -> None:
        nonlocal calls
        calls += 1
        ears.restored.put_nowait(True)
        if calls == 1:
            raise LookupError("bad luck")

    ears.subscription._on_restored = restored
    async with ears.listening():
        async with asyncio.timeout(5):
            await ears.restored.get()
        await redis.publish(channel(RoomKeys("", "default"), place), message("ann"))
        assert (await ears.heard.get()).user == "ann"


async def test_after_a_lost_connection_it_listens_again_and_says_so(place: Redis, redis: Client) -> None:
    async with Ears(place).listening() as ears:
        for _ in range(3):
            await redis.client_kill_filter(_type="pubsub")
            await ears.restored.get()
            await redis.publish(channel(RoomKeys("", "default"), place), message("ann"))
            assert (await ears.heard.get()).user == "ann"
        assert ears.subscription.listening.is_set()


async def test_a_connection_that_has_gone_silent_is_given_up(start_redis: Any) -> None:
    server = start_redis()
    async with Ears(Redis(server.url, 0.2), ping=0.1).listening() as ears:
        server.freeze()
        async with asyncio.timeout(5):
            while ears.subscription.listening.is_set():
                await asyncio.sleep(0.01)
        server.thaw()
        await ears.restored.get()


async def test_a_quiet_connection_that_answers_is_kept(place: Redis, redis: Client) -> None:
    async def pings() -> int:
        return (await redis.info("commandstats")).get("cmdstat_ping", {"calls": 0})["calls"]

    before = await pings()
    # A busy machine may answer late, and then the connection would be given up.
    async with Ears(place, ping=0.3).listening() as ears, asyncio.timeout(10):
        while await pings() < before + 3:
            await asyncio.sleep(0.05)
        assert ears.restored.empty()
        await redis.publish(channel(RoomKeys("", "default"), place), message("ann"))
        assert (await ears.heard.get()).user == "ann"


async def test_redis_may_be_away_at_the_start(start_redis: Any) -> None:
    server = start_redis()
    server.kill()
    ears = Ears(Redis(server.url, 1))
    async with ears.subscription.running():
        await asyncio.sleep(0.1)
        assert not ears.subscription.listening.is_set()
        server.start()
        await asyncio.wait_for(ears.restored.get(), 10)


class Burst:
    """A connection on which messages have arrived, each with a user."""

    def __init__(self, messages: int) -> None:
        self.left = messages

    async def read_response(self, timeout: float) -> object:
        if not self.left:
            await asyncio.Event().wait()
        self.left -= 1
        return [
            b"pmessage",
            b"*",
            channel(RoomKeys("", "vip"), Redis("redis://x", 1)).encode(),
            message("ann").encode(),
        ]


async def test_other_work_comes_in_between_while_thousands_of_messages_have_arrived(place: Redis) -> None:
    ears, most = Ears(place), 0
    reading = asyncio.create_task(ears.subscription._receive_messages(cast(Any, Burst(10 * EVENTS_PER_TURN))))
    while ears.heard.qsize() < 10 * EVENTS_PER_TURN:
        before = ears.heard.qsize()
        await asyncio.sleep(0)
        most = max(most, ears.heard.qsize() - before)
    reading.cancel()
    assert most == EVENTS_PER_TURN
