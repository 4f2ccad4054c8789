"""Reading the room."""

from __future__ import annotations

import asyncio

import pytest

from gateway.errors import QueueUnavailable
from gateway.sse.registry import UserStreams
from gateway.sse.state_reader import StateReader
from tests.sse.rig import NONE, Room, State, Told
from tests.support.waiting import eventually


def entries(count: int) -> list[UserStreams]:
    return [UserStreams(f"user-{number}") for number in range(count)]


async def test_states_are_read_in_calls_of_at_most_256_and_reach_their_users() -> None:
    room = Room({f"user-{number}": State(ticket=number) for number in range(600)})
    reader = StateReader(room, Told().turned)
    told: dict[str, tuple[int | None, int]] = {}
    await reader.read_each(
        entries(600), lambda entry, state, read: told.update({entry.user: (state.ticket, read)})
    )

    assert [len(call) for call in room.calls] == [256, 256, 88]
    assert {user: ticket for user, (ticket, _) in told.items()} == {f"user-{n}": n for n in range(600)}
    assert {read for _, read in told.values()} == {1, 2, 3}


async def test_reads_are_numbered_when_they_begin() -> None:
    reader = StateReader(Room({"kim": State(ticket=3)}), Told().turned)
    told: list[tuple[object, int]] = []
    reader.read_one("kim", lambda *answer: told.append(answer))
    assert (reader.latest, told) == (1, [])
    reader.read_one("lee", lambda *answer: told.append(answer))
    await eventually(lambda: len(told) == 2)

    assert told == [(State(ticket=3), 1), (NONE, 2)]


async def test_a_room_that_is_away_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    told = Told()
    reader = StateReader(Room(away=True), told.turned)
    called = []
    await reader.read_each(entries(300), lambda *told: called.append(told))

    reader.read_one("kim", lambda *answer: called.append(answer))
    await eventually(lambda: bool(called))

    assert (called, told.turns) == ([(None, 3)], ["skipped", "skipped"])
    assert not caplog.records


class Closed(Room):
    """A room that refuses to be asked at all."""

    def status(self, user: str) -> asyncio.Future[State]:
        raise QueueUnavailable("the waiting room is closed")


async def test_a_room_that_is_closed_is_no_error_either() -> None:
    called: list[object] = []
    StateReader(Closed(), Told().turned).read_one("kim", lambda *answer: called.append(answer))

    assert called == [(None, 1)]


async def test_a_fault_of_ours_is_logged_and_leaves_the_user_without_a_state(
    caplog: pytest.LogCaptureFixture,
) -> None:
    called: list[object] = []
    StateReader(Room(broken=True), Told().turned).read_one("kim", lambda *answer: called.append(answer))
    await eventually(lambda: bool(called))

    assert called == [(None, 1)]
    assert "a fault of ours" in caplog.text


async def test_a_fault_of_ours_is_logged_and_counted_and_costs_one_batch(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told = Told()
    reader = StateReader(Room(), told.turned)
    called = []

    def tell(entry: UserStreams, state: object, read: int) -> None:
        called.append(entry.user)
        if entry.user == "user-10":
            raise RuntimeError("a fault of ours")

    await reader.read_each(entries(300), tell)

    assert len(called) == 11 + 44
    assert told.turns == ["failed", "done"]
    assert "a fault of ours" in caplog.text


async def test_a_reply_of_the_wrong_length_is_an_error_and_reaches_no_caller(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Short(Room):
        async def statuses(self, users: object) -> list[State]:
            return [State()]

    told = Told()
    called = []
    await StateReader(Short(), told.turned).read_each(entries(2), lambda *told: called.append(told))

    assert (called, told.turns) == ([], ["failed"])
    assert "telling users" in caplog.text


async def test_reading_no_users_costs_no_call() -> None:
    room = Room()
    await StateReader(room, Told().turned).read_each([], lambda *told: None)

    assert room.calls == []
