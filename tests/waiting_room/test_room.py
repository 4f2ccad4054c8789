"""One room as Python offers it: what is batched, what is finished by itself, what is told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from redis.asyncio import Redis as Client

from gateway.auth.invitations import NO_INVITATION, Invitation
from gateway.errors import QueueUnavailable
from gateway.waiting_room.configured import ConfiguredLimits
from gateway.waiting_room.events import RoomEvent
from gateway.waiting_room.redis.connection import MAX_SHARED, Redis
from gateway.waiting_room.room import Room
from gateway.waiting_room.rooms import Rooms
from gateway.waiting_room.rules import RoomRules
from gateway.waiting_room.state import Left, StateKind, Summary
from tests.support.redis_server import StartRedis
from tests.waiting_room.rooms import make_room


class Watcher:
    """Remembers what a room tells."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []
        self.lineups = 0

    def on_call(self, script: str, _seconds: float, size: int, _failed: bool, /) -> None:
        self.calls.append((script, size))

    def on_summary(self, _room: str, summary: Summary, /) -> None:
        self.lineups += summary.lineups


@pytest.fixture
def watcher() -> Watcher:
    return Watcher()


@pytest.fixture
async def room(redis_url: str, watcher: Watcher) -> AsyncIterator[Room]:
    rooms = Rooms(Redis(redis_url, 1.0), observer=watcher)
    await rooms.provide({"default": ConfiguredLimits(2, 60)})
    async with rooms.running():
        yield rooms["default"]


async def test_lineups_at_the_same_time_are_batched_in_order(room: Room, watcher: Watcher) -> None:
    states = await asyncio.gather(*(room.lineup(f"u{number}") for number in range(600)))
    assert [state.kind for state in states[:3]] == [StateKind.ADMITTED, StateKind.ADMITTED, StateKind.WAITING]
    assert [state.ticket for state in states[2:]] == list(range(1, 599))
    sizes = [size for script, size in watcher.calls if script == "lineup"]
    assert len(sizes) <= 4
    assert max(sizes) == 256
    assert watcher.lineups == 598


async def test_two_thousand_at_two_instances_fill_exactly_the_room(redis_url: str) -> None:
    instances = [Rooms(Redis(redis_url, 2.0)) for _ in range(2)]
    for rooms in instances:
        await rooms.provide({"default": ConfiguredLimits(100, 60)})
    async with instances[0].running(), instances[1].running():
        states = await asyncio.gather(
            *(instances[number % 2]["default"].lineup(f"u{number}") for number in range(2000))
        )
    assert sum(state.allowed_in for state in states) == 100
    assert sorted(state.ticket for state in states if state.waiting) == list(range(1, 1901))


async def test_more_than_one_call_may_admit_is_finished_by_itself(room: Room) -> None:
    await asyncio.gather(*(room.lineup(f"u{number}") for number in range(700)))
    assert (await room.operations.set_limits(capacity=1000)).more
    async with asyncio.timeout(5):
        while (await room.overview()).waiting:
            await asyncio.sleep(0.005)
    assert (await room.overview()).allowed_in == 700


async def test_leaving_says_what_was_given_up(room: Room) -> None:
    for user in ("in-1", "in-2", "waiting"):
        await room.lineup(user)
    assert await room.leave("waiting", "slot") is Left.NOTHING
    assert await room.leave("waiting", "line") is Left.PLACE
    assert await room.leave("in-1", "both") is Left.SLOT
    assert await room.operations.remove(["in-2", "nobody"]) == [Left.SLOT, Left.NOTHING]


async def test_asking_for_others_is_bounded_and_no_sighting(room: Room, redis_url: str) -> None:
    for user in ("in-1", "in-2", "waiting"):
        await room.lineup(user)
    states = await room.statuses(["waiting", "in-1", "nobody"])
    assert [state.kind for state in states] == [StateKind.WAITING, StateKind.ALLOWED_IN, StateKind.NONE]
    with pytest.raises(ValueError, match="at most 256"):
        await room.statuses(["u"] * 257)


async def test_the_gate_renews_and_refuses(room: Room) -> None:
    for user in ("in-1", "in-2", "waiting"):
        await room.lineup(user)
    assert (await room.enter("in-1")).allowed_in
    refused = await room.enter("waiting")
    assert (refused.waiting, refused.position) == (True, 1)
    assert (await room.enter("nobody")).kind is StateKind.NONE


async def test_an_estimate_is_given_once_something_was_measured(room: Room) -> None:
    await asyncio.gather(*(room.lineup(f"u{number}") for number in range(10)))
    assert (await room.status("u9")).estimated_wait is None
    for number in range(4):
        await room.leave(f"u{number}", "slot")
        await asyncio.sleep(0.5)
    await room.sweep()
    estimate = (await room.status("u9")).estimated_wait
    assert estimate is not None
    assert 0 < estimate < 5


async def test_a_failed_batch_is_told_to_each_and_leaves_the_next_unharmed(start_redis: StartRedis) -> None:
    server = start_redis()
    rooms = Rooms(Redis(server.url, 0.5))
    await rooms.provide({"default": ConfiguredLimits(2, 60)})
    async with rooms.running():
        room = rooms["default"]
        await room.lineup("before")
        server.freeze()
        errors: Sequence[object] = await asyncio.gather(
            *(room.status(f"u{number}") for number in range(5)), return_exceptions=True
        )
        assert all(isinstance(error, QueueUnavailable) for error in errors)
        assert len({id(error) for error in errors}) == 5
        server.thaw()
        assert (await room.status("before")).allowed_in


async def test_events_name_the_ticket_they_are_about(redis_url: str) -> None:
    heard: asyncio.Queue[RoomEvent] = asyncio.Queue()

    def hear(events: Sequence[RoomEvent]) -> None:
        for event in events:
            heard.put_nowait(event)

    rooms = Rooms(Redis(redis_url, 1.0), on_events=hear)
    await rooms.provide({"default": ConfiguredLimits(1, 60)})
    async with rooms.running():
        await rooms.subscription.listening.wait()
        room = rooms["default"]
        for user in ("in", "ann", "bob"):
            await room.lineup(user)
        await room.leave("bob", "line")
        await room.leave("in", "slot")
        async with asyncio.timeout(5):
            first, second = await heard.get(), await heard.get()
    assert (first.user, first.ticket, first.kind, first.reason) == ("bob", 2, "REMOVED", "LEFT")
    assert (second.user, second.ticket, second.kind, second.expires_in) == ("ann", 1, "ADMITTED", 60.0)


async def fill(room: Room) -> None:
    """Two in, two waiting."""
    for user in ("ann", "bob", "cid", "dan"):
        await room.lineup(user)


async def test_lining_up_answers_where_one_stands(room: Room) -> None:
    first = await room.lineup("ann")
    assert (first.kind, first.expires_in, first.room) == (StateKind.ADMITTED, 60, "default")
    assert first.allowed_in
    assert not first.waiting
    await room.lineup("bob")
    third, fourth = await room.lineup("cid"), await room.lineup("dan")
    assert (third.kind, third.ticket, third.position, third.total, third.behind) == (
        StateKind.WAITING,
        1,
        1,
        1,
        0,
    )
    assert (fourth.ticket, fourth.position, fourth.total, fourth.behind) == (2, 2, 2, 0)
    assert (await room.statuses(["cid"]))[0].behind == 1
    assert (await room.lineup("ann")).kind is StateKind.ALLOWED_IN


async def test_nothing_is_estimated_before_anything_was_measured_and_by_the_rate_then(room: Room) -> None:
    await fill(room)
    assert (await room.status("dan")).estimated_wait is None
    await room.leave("ann", "slot")
    await room.lineup("eve")
    await asyncio.sleep(1.1)
    await room.leave("bob", "slot")
    state, summary = await room.status("eve"), await room.overview()
    assert summary.rate > 0
    assert state.estimated_wait == pytest.approx(state.position / summary.rate, rel=0.35)
    assert (await room.status("cid")).estimated_wait is None


async def test_an_operator_takes_slots_and_places(room: Room) -> None:
    await fill(room)
    assert await room.operations.remove(["ann", "dan", "zoe"]) == [Left.SLOT, Left.PLACE, Left.NOTHING]
    summary = await room.overview()
    assert (summary.allowed_in, summary.waiting) == (2, 0)


async def test_many_are_asked_about_in_one_call_without_being_seen(room: Room, redis: Client) -> None:
    await fill(room)
    before = await redis.zrange(room.keys.absent, 0, -1, withscores=True)
    states = await room.statuses(["dan", "ann", "zoe"])
    assert [state.kind for state in states] == [StateKind.WAITING, StateKind.ALLOWED_IN, StateKind.NONE]
    assert await redis.zrange(room.keys.absent, 0, -1, withscores=True) == before
    assert await room.statuses([]) == []


async def test_more_than_256_in_one_call_are_refused(room: Room) -> None:
    with pytest.raises(ValueError, match="at most 256"):
        await room.statuses(["u"] * 257)
    with pytest.raises(ValueError, match="at most 256"):
        await room.operations.remove(["u"] * 257)


async def test_limits_are_set_and_lifted(room: Room) -> None:
    await room.configure_once()
    await fill(room)
    summary = await room.operations.set_limits(capacity=3, duration=1.5)
    assert (summary.capacity, summary.duration, summary.promoted) == (3, 1.5, 1)
    assert (await room.operations.set_limits(paused=True)).paused
    assert not (await room.operations.set_limits(paused=False)).paused
    summary = await room.operations.set_limits(lift=True)
    assert (summary.capacity, summary.duration) == (2, 60)


async def test_a_place_is_kept_where_the_policy_says_so(place: Redis) -> None:
    room = make_room(place, capacity=0, rules=RoomRules(relineup="keep"))
    async with room.running():
        first = await room.lineup("ann")
        await room.lineup("bob")
        again = await room.lineup("ann")
    assert (again.ticket, again.position) == (first.ticket, 1)


async def test_a_user_id_that_is_no_text_affects_no_other_user(room: Room) -> None:
    first = room.lineup("ann")
    with pytest.raises(ValueError, match="surrogates"):
        await room.lineup("\ud800")
    second = room.lineup("bob")
    assert [state.kind for state in (await first, await second)] == [StateKind.ADMITTED, StateKind.ADMITTED]
    for call in (room.status, room.enter):
        with pytest.raises(ValueError, match="surrogates"):
            await call("\ud800")
    with pytest.raises(ValueError, match="surrogates"):
        await room.leave("\udcff", "both")


async def test_the_gate_never_waits_behind_another_kind_of_call(place: Redis, redis: Client) -> None:
    room = make_room(place)
    async with room.running():
        await room.lineup("ann")
        connections = room._links["lineup"]._connections
        taken = [await connections.take(None) for _ in range(MAX_SHARED)]
        stuck = room.lineup("bob")
        assert (await asyncio.wait_for(room.enter("ann"), 2)).kind is StateKind.ALLOWED_IN
        assert (await asyncio.wait_for(room.status("ann"), 2)).kind is StateKind.ALLOWED_IN
        assert not stuck.done()
        for each in taken:
            await connections.give_back(None, each)
        assert (await stuck).kind is StateKind.ADMITTED


async def test_without_redis_every_call_says_so(start_redis: Any) -> None:
    server = start_redis()
    room = make_room(Redis(server.url, 0.3))
    async with room.running():
        await room.lineup("ann")
        server.kill()
        calls = (
            room.lineup("bob"),
            room.status("ann"),
            room.enter("ann"),
            room.leave("ann", "slot"),
            room.statuses(["ann"]),
            room.operations.remove(["ann"]),
            room.overview(),
            room.operations.set_limits(capacity=1),
            room.sweep(),
        )
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(result) for result in results} == {QueueUnavailable}
        assert len({id(result) for result in results}) == len(calls)
        server.start()
        assert (await room.lineup("bob")).kind is StateKind.ADMITTED


async def test_unusable_keys_are_no_answer_either(room: Room, redis: Client) -> None:
    await redis.lpush(room.keys.line, "x")
    with pytest.raises(QueueUnavailable, match="WRONGTYPE_KEY"):
        await room.lineup("ann")


class Notes:
    def __init__(self) -> None:
        self.calls: list[tuple[str, int, bool]] = []
        self.summaries: list[tuple[str, Summary]] = []

    def on_call(self, script: str, seconds: float, size: int, failed: bool, /) -> None:
        assert seconds > 0
        self.calls.append((script, size, failed))

    def on_summary(self, room: str, summary: Summary, /) -> None:
        self.summaries.append((room, summary))


async def test_the_observer_hears_of_every_call_and_its_summary(place: Redis) -> None:
    notes = Notes()
    room = make_room(place, "vip", observer=notes)
    async with room.running():
        await asyncio.gather(*(room.lineup(user) for user in ("ann", "bob", "cid")))
    assert ("lineup", 3, False) in notes.calls
    name, summary = next((name, summary) for name, summary in notes.summaries if summary.admitted)
    assert (name, summary.admitted, summary.lineups, summary.waiting) == ("vip", 2, 1, 1)


async def test_limits_given_while_others_are_being_written_are_written_next(
    room: Room, redis: Client
) -> None:
    await room.configure_once()
    room.set_configured_limits(ConfiguredLimits(5, 60))
    writing = asyncio.create_task(room.configure_once())
    await asyncio.sleep(0)
    room.set_configured_limits(ConfiguredLimits(7, 60))
    await writing
    await room.configure_once()
    assert await redis.hget(room.keys.settings, "capacity") == "7"


async def test_other_limits_than_before_are_logged_and_the_same_are_not(
    place: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gateway.waiting_room")
    for capacity, logged in ((2, ""), (2, ""), (5, "limits changed from 2 slots, 60 s to 5 slots, 60 s")):
        room = make_room(place, capacity=capacity)
        async with room.running():
            await room.configure_once()
        assert logged in caplog.text
        if not logged:
            assert "limits" not in caplog.text


SUMMARY = Summary(
    waiting=40,
    allowed_in=10,
    capacity=10,
    duration=60.0,
    paused=False,
    rate=1.0,
    abandon_rate=0.0,
    more=False,
    now=0.0,
    parked=0,
    next_token=0.0,
    lanes=(),
    admitted=0,
    promoted=0,
    expired=0,
    evicted=0,
    left=0,
    removed=0,
    lineups=0,
    parkings=0,
    returns=0,
    lapsed=0,
    unclaimed=0,
    registrations=0,
    waits=(),
    stays=(),
    ages=(),
)


@pytest.mark.parametrize(
    ("changes", "position", "wait"),
    [
        pytest.param({"rate": 0.0}, 5, None, id="nothing measured"),
        pytest.param({}, 5, 5.0, id="one a second"),
        pytest.param({"abandon_rate": 0.1}, 10, 6.93, id="and a tenth of those ahead give up each second"),
        pytest.param(
            {"ages": (10.0, 7.5, 5.0, 2.5, 0.0)}, 5, 4.4, id="sessions of ten seconds, evenly spread"
        ),
        pytest.param({"ages": (2.0,) * 5}, 10, 8.0, id="all began two seconds ago, so all end in eight"),
        pytest.param({"ages": (2.0,) * 5}, 18, 18.0, id="and the next ones ten seconds later"),
        pytest.param({"ages": (9.0,) * 5}, 10, 7.0, id="ages move it by 30 % at most"),
        pytest.param({"ages": (0.0,) * 5}, 2, 2.6, id="in either direction"),
        pytest.param({"ages": (9.0,) * 5, "allowed_in": 1}, 10, 10.0, id="one session is no wave"),
    ],
)
def test_a_wait_follows_from_the_rooms_numbers(
    changes: dict[str, Any], position: int, wait: float | None
) -> None:
    told = SUMMARY._replace(**changes).wait_at(position)
    assert told == (None if wait is None else pytest.approx(wait, abs=0.05))


async def test_the_gate_lines_up_if_the_room_says_so_or_the_call(place: Redis) -> None:
    room = make_room(place, capacity=1)
    async with room.running():
        assert not room.implicit
        states = await asyncio.gather(
            room.ask("arrive", "ann"), room.ask("arrive", "bob", lines_up=True), room.ask("arrive", "cid")
        )
        assert [state.kind for state in states] == [StateKind.NONE, StateKind.ADMITTED, StateKind.NONE]
        await room.operations.set_limits(rules={"lineup": "implicit"})
        assert room.implicit
        assert [(await room.ask("arrive", user)).kind for user in ("bob", "cid")] == [
            StateKind.ALLOWED_IN,
            StateKind.WAITING,
        ]


async def test_arrivals_share_a_call_also_if_only_some_need_an_invitation(place: Redis) -> None:
    room = make_room(place, capacity=9, rules=RoomRules(lineup="implicit"))
    given = Invitation("a1", 1, 4_102_444_800_000)
    async with room.running():
        states = await asyncio.gather(
            room.ask("arrive", "ann"),
            room.ask("arrive", "bob", given),
            room.ask("arrive", "cid", given),
            room.ask("arrive", "dan", NO_INVITATION),
        )
    assert [state.kind for state in states] == [
        StateKind.ADMITTED,
        StateKind.ADMITTED,
        StateKind.NOT_ELIGIBLE,
        StateKind.NOT_ELIGIBLE,
    ]
