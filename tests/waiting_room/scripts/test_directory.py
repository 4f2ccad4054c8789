"""The list of rooms that calls have made: entered before they are made, struck off unless entered again."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from gateway.waiting_room.keys import DirectoryKeys
from tests.waiting_room.rig import Rig

KEYS = DirectoryKeys("")


def enlist(rig: Rig, room: str, most: int = 3) -> int:
    return int(rig.raw("enlist", KEYS.rooms, KEYS.version, room, most, key_count=2))


def enlist_of(rig: Rig, client: str, room: str, per_client: int = 2) -> int:
    keys = (KEYS.rooms, KEYS.version, KEYS.of_client(client))
    return int(rig.raw("enlist", *keys, room, 1000, per_client, key_count=3))


def delist(rig: Rig, room: str, entered: int, for_ms: int = 0) -> bool:
    return bool(rig.raw("delist", KEYS.rooms, KEYS.version, room, entered, for_ms, key_count=2))


def sync(rig: Rig, known: str = "", *working: str, for_ms: int = 10_000) -> tuple[str, list[str], Any]:
    keys = (KEYS.rooms, KEYS.version, KEYS.at_work)
    version, at_work, *listed = rig.raw("directory", *keys, known, for_ms, *working, key_count=3)
    return (
        version,
        at_work,
        dict(zip(listed[0][::2], map(int, listed[0][1::2]), strict=True)) if listed else None,
    )


def test_a_room_is_entered_with_the_moment(rig: Rig) -> None:
    assert enlist(rig, "a") == rig.now
    assert sync(rig)[2] == {"a": rig.now}


def test_a_room_entered_again_gets_a_later_moment_even_at_once(rig: Rig) -> None:
    first = enlist(rig, "a")
    assert enlist(rig, "a") == first + 1
    rig.advance(500)
    assert enlist(rig, "a") == first + 500


def test_there_are_so_many_rooms_and_no_more(rig: Rig) -> None:
    assert all(enlist(rig, room) for room in "abc")
    assert enlist(rig, "d") == 0
    assert enlist(rig, "a") > 0
    assert sorted(sync(rig)[2]) == ["a", "b", "c"]


def test_one_client_makes_so_many_rooms_and_no_more(rig: Rig) -> None:
    made = {room: enlist_of(rig, "ann", room) for room in "ab"}
    assert all(made.values())
    assert enlist_of(rig, "ann", "c") == -1
    # Rooms that are on the list already, or that others make, count for none of this client's.
    assert enlist_of(rig, "ann", "a") > made["a"]
    assert enlist_of(rig, "bob", "c") > 0
    assert enlist_of(rig, "ann", "c") > 0
    assert enlist(rig, "d", most=1000) > 0
    assert sorted(sync(rig)[2]) == ["a", "b", "c", "d"]


def test_a_room_that_is_gone_counts_for_its_client_no_longer(rig: Rig) -> None:
    for room in "ab":
        enlist_of(rig, "ann", room)
    assert enlist_of(rig, "ann", "c") == -1
    delist(rig, "a", sync(rig)[2]["a"])
    assert enlist_of(rig, "ann", "c") > 0
    assert enlist_of(rig, "ann", "d") == -1
    key = KEYS.of_client("ann")
    assert sorted(rig.client.zrange(key, 0, -1)) == ["b", "c"]
    assert 172_700_000 < rig.client.pttl(key) <= 172_800_000


def test_a_bound_of_a_client_that_was_lowered_holds(rig: Rig) -> None:
    for room in range(5):
        enlist_of(rig, "ann", str(room), per_client=5)
    assert enlist_of(rig, "ann", "5", per_client=2) == -1


def test_the_bound_of_a_client_may_be_as_high_as_a_thousand(rig: Rig) -> None:
    rig.client.zadd(KEYS.rooms, {str(room): room for room in range(900)})
    rig.client.zadd(KEYS.of_client("ann"), {str(room): room for room in range(1000)})
    assert enlist_of(rig, "ann", "new", per_client=900) == -1
    assert enlist_of(rig, "ann", "new", per_client=1000) > 0
    assert rig.client.zcard(KEYS.of_client("ann")) == 901


def test_a_room_is_struck_off_unless_it_was_entered_again(rig: Rig) -> None:
    entered = enlist(rig, "a")
    again = enlist(rig, "a")
    assert not delist(rig, "a", entered)
    assert delist(rig, "a", again)
    assert not delist(rig, "a", again)
    assert sync(rig)[2] == {}


def test_a_room_entered_just_now_may_be_about_to_be_made(rig: Rig) -> None:
    entered = enlist(rig, "a")
    rig.advance(999)
    assert not delist(rig, "a", entered, 1000)
    rig.advance(1)
    assert delist(rig, "a", entered, 1000)


def test_the_list_is_told_only_if_it_has_changed(rig: Rig) -> None:
    enlist(rig, "a")
    version, _, _ = sync(rig)
    assert sync(rig, version) == (version, [], None)
    enlist(rig, "b")
    changed, _, rooms = sync(rig, version)
    assert (changed != version, sorted(rooms)) == (True, ["a", "b"])
    delist(rig, "b", rooms["b"])
    assert list(sync(rig, changed)[2]) == ["a"]


def test_every_instance_learns_which_rooms_have_work(rig: Rig) -> None:
    for room in ("a", "b"):
        enlist(rig, room)
    assert sync(rig, "", "b")[1] == ["b"]
    rig.advance(5000)
    assert sync(rig, "", "a")[1] == ["b", "a"]
    rig.advance(5000)
    assert sync(rig)[1] == ["a"]
    rig.advance(5000)
    assert sync(rig)[1] == []


def test_a_room_with_work_that_redis_has_lost_is_entered_again(rig: Rig) -> None:
    enlist(rig, "a")
    version = sync(rig)[0]
    rig.client.flushdb()
    rig.set_clock(rig.now + 1)
    told, at_work, rooms = sync(rig, version, "a")
    assert (at_work, rooms) == (["a"], {"a": rig.now})
    assert told


def test_the_version_never_repeats(rig: Rig) -> None:
    seen = set()
    for _ in range(5):
        entered = enlist(rig, "a")
        seen.add(sync(rig)[0])
        delist(rig, "a", entered)
        seen.add(sync(rig)[0])
    assert len(seen) == 10


@pytest.mark.parametrize(
    ("key", "script"), [(KEYS.rooms, enlist), (KEYS.version, enlist), (KEYS.at_work, sync)]
)
def test_a_key_of_another_type_is_told(rig: Rig, key: str, script: Any) -> None:
    rig.client.delete(key)
    rig.client.sadd(key, "x")
    with pytest.raises(redis.exceptions.ResponseError, match="WRONGTYPE_KEY"):
        script(rig, "a")


def test_at_maxmemory_the_list_goes_on(rig: Rig) -> None:
    rig.set_memory_full(True)
    entered = enlist(rig, "a")
    assert sync(rig, "", "a")[1] == ["a"]
    assert delist(rig, "a", entered)
    rig.set_memory_full(False)
