"""Where a user stands, asked of a real room."""

from __future__ import annotations

from gateway.waiting_room.history import HistoryEntry
from gateway.waiting_room.room import Room
from gateway.waiting_room.whereabouts import Whereabouts, parse_whereabouts
from tests.support.waiting import eventually


def test_what_is_unknown_is_none() -> None:
    assert parse_whereabouts([b"NONE", b"", b"", b"", b"", b"", b""]) == Whereabouts(
        "NONE", None, None, None, None
    )
    assert parse_whereabouts([b"WAITING", b"7", 2, b"", b"5", b"", b"vip"]) == Whereabouts(
        "WAITING", 7, 2, None, 5, lane="vip"
    )


def test_endings_are_there_with_the_last_one_first() -> None:
    found = parse_whereabouts(
        [
            *(b"NONE", b"", b"", b"", b""),
            b"1.7 JOINED,2.7 REMOVED ABSENT;3.0 ADMITTED,4.0 EXPIRED;5.8 JOINED,",
            b"",
        ]
    )
    assert found.endings == (HistoryEntry(4, "EXPIRED", None, None), HistoryEntry(2, "REMOVED", "ABSENT", 7))


async def test_a_user_is_found_with_the_instances_that_have_a_stream(room: Room) -> None:
    for user in ("ann", "bob", "cid"):
        await room.lineup(user)
    assert (await room.operations.find("cid"))[:3] == ("WAITING", 1, 1)
    assert (await room.operations.find("cid")).streams == {}
    room.presence.arrived("cid")

    async def instances() -> tuple[str, ...]:
        return tuple((await room.operations.find("cid")).streams)

    assert await eventually(instances) == (room.presence.instance,)
    assert (await room.operations.find("가")).state == "NONE"
