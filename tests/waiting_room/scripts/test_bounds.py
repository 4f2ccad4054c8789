"""Bounds of a room: how many users wait, and how often each lines up."""

from __future__ import annotations

import pytest

from tests.waiting_room.model import ADMITTED, ALLOWED_IN, FULL, ROOM_FULL, TOO_MANY_LINEUPS, WAITING
from tests.waiting_room.rig import Rig


def codes(answers: list[list[int]]) -> list[int]:
    return [answer[0] for answer in answers]


def test_without_a_bound_any_number_waits(rig: Rig) -> None:
    rig.set_rules(max_waiting=0)
    assert codes(rig.lineup(*(f"u{n}" for n in range(20))))[2:] == [WAITING] * 18


def test_with_as_many_waiting_as_may_nobody_else_joins_and_nothing_is_written(rig: Rig) -> None:
    rig.set_rules(max_waiting=2)
    assert codes(rig.lineup("ann", "bob", "cid", "dan", "eve")) == [
        *(ADMITTED, ADMITTED, WAITING, WAITING, ROOM_FULL)
    ]
    before = rig.everything()
    assert rig.lineup("eve") == [[ROOM_FULL, 0, 0, 2, 0]]
    assert rig.everything() == before


def test_users_with_a_place_or_a_slot_are_never_refused(rig: Rig) -> None:
    rig.set_rules(max_waiting=1)
    rig.lineup("ann", "bob", "cid")
    assert codes(rig.lineup("ann", "cid", "dan")) == [ALLOWED_IN, WAITING, ROOM_FULL]
    assert codes(rig.lineup("cid", relineup="keep")) == [WAITING]


def test_parked_users_count_and_come_back(rig: Rig) -> None:
    rig.set_rules(max_waiting=1, absent=1_000)
    rig.lineup("ann", "bob", "cid")
    rig.sweep()
    rig.advance(1_000)
    assert rig.sweep().parked == 1
    assert codes(rig.lineup("dan", "cid")) == [ROOM_FULL, WAITING]


def test_a_user_who_need_not_wait_is_admitted_whatever_the_bound(rig: Rig) -> None:
    """Parked users fill the room of those who wait, but a slot is free and nobody is in line."""
    rig.set_rules(max_waiting=1, absent=1_000)
    rig.lineup("ann", "bob", "cid")
    rig.sweep()
    rig.advance(1_000)
    rig.sweep()
    rig.leave(("slot", "ann"))
    assert codes(rig.lineup("dan", "eve")) == [ADMITTED, ROOM_FULL]


def test_a_place_becomes_free_with_each_admission(rig: Rig) -> None:
    rig.set_rules(max_waiting=1)
    rig.lineup("ann", "bob", "cid")
    rig.leave(("slot", "ann"))
    assert codes(rig.lineup("dan", "eve")) == [WAITING, ROOM_FULL]


def test_at_the_limit_of_memory_that_is_what_a_new_user_hears(rig: Rig) -> None:
    rig.set_rules(max_waiting=1)
    rig.lineup("ann", "bob", "cid")
    rig.set_memory_full(True)
    try:
        assert codes(rig.lineup("dan")) == [FULL]
    finally:
        rig.set_memory_full(False)


def test_without_a_bound_a_user_lines_up_at_will_and_nothing_is_kept(rig: Rig) -> None:
    rig.set_rules(lineups_per_minute=0)
    assert TOO_MANY_LINEUPS not in codes(rig.lineup(*["ann", "bob", "cid"] * 50))
    assert rig.client.exists(rig.keys.lineups, rig.keys.last_lineups) == 0


def test_in_any_minute_a_user_lines_up_so_often_to_the_millisecond(rig: Rig) -> None:
    rig.set_rules(lineups_per_minute=3)
    rig.limits(capacity=0)
    for _ in range(3):
        assert codes(rig.lineup("cid")) == [WAITING]
        rig.advance(10_000)
    assert rig.lineup("cid") == [[TOO_MANY_LINEUPS, 0, 0, 1, 30_000]]
    rig.advance(29_999)
    assert rig.lineup("cid") == [[TOO_MANY_LINEUPS, 0, 0, 1, 1]]
    rig.advance(1)
    assert rig.lineup("cid")[0][0] != TOO_MANY_LINEUPS
    rig.advance(9_999)
    assert rig.lineup("cid")[0][0] == TOO_MANY_LINEUPS
    rig.advance(1)
    assert rig.lineup("cid")[0][0] != TOO_MANY_LINEUPS


def test_too_many_lineups_change_neither_the_place_nor_anything_else(rig: Rig) -> None:
    rig.set_rules(lineups_per_minute=1)
    rig.lineup("ann", "bob", "cid", "dan")
    before = rig.everything()
    assert codes(rig.lineup("cid", "ann")) == [TOO_MANY_LINEUPS] * 2
    assert rig.everything() == before


def test_a_refused_lineup_is_a_sighting(rig: Rig) -> None:
    rig.set_rules(lineups_per_minute=1)
    rig.limits(capacity=0)
    rig.sweep(absent=2_000)
    rig.lineup("cid", "dan")
    for _ in range(3):
        rig.advance(1_000)
        rig.lineup("cid")
        rig.sweep()
    assert rig.waiting() == ["cid"]
    assert codes(rig.lineup("dan")) == [TOO_MANY_LINEUPS]
    assert rig.waiting() == ["cid", "dan"]


def test_a_refused_lineup_does_not_count(rig: Rig) -> None:
    rig.set_rules(lineups_per_minute=1, max_waiting=1)
    rig.lineup("ann", "bob", "cid")
    assert codes(rig.lineup("dan", "dan")) == [ROOM_FULL] * 2
    rig.leave(("slot", "ann"))
    assert codes(rig.lineup("dan", "dan")) == [WAITING, TOO_MANY_LINEUPS]


def test_of_each_user_no_more_times_are_kept_than_count(rig: Rig) -> None:
    rig.set_rules(lineups_per_minute=2)
    for _ in range(6):
        rig.lineup("ann")
        rig.advance(30_000)
    times = [int(text) for text in rig.client.hget(rig.keys.lineups, "ann").split()]
    assert times == [rig.now - 60_000, rig.now - 30_000]


def test_the_sweep_forgets_users_who_have_not_lined_up_for_a_minute(rig: Rig) -> None:
    rig.set_rules(lineups_per_minute=2, absent=0)
    rig.lineup(*(f"u{n:03}" for n in range(256)))
    rig.lineup("late")
    rig.advance(30_000)
    rig.lineup("later")
    rig.advance(30_000)
    assert rig.sweep().more
    assert rig.client.hlen(rig.keys.lineups) == 2
    rig.sweep()
    assert rig.client.hkeys(rig.keys.lineups) == ["later"]
    assert rig.client.zrange(rig.keys.last_lineups, 0, -1) == ["later"]


def test_once_switched_off_the_keys_end_by_themselves(rig: Rig) -> None:
    rig.set_rules(lineups_per_minute=2)
    rig.lineup("ann")
    for key in (rig.keys.lineups, rig.keys.last_lineups):
        assert 0 < rig.client.pttl(key) <= 120_000


@pytest.mark.parametrize("stored", ["", "x", "99999999999999999", "1 2 3", "-5"])
def test_unusable_times_count_for_nothing(rig: Rig, stored: str) -> None:
    rig.set_rules(lineups_per_minute=1)
    rig.client.hset(rig.keys.lineups, "ann", stored)
    assert codes(rig.lineup("ann", "ann")) == [ADMITTED, TOO_MANY_LINEUPS]


@pytest.mark.parametrize("script", ["lineup", "sweep"])
@pytest.mark.parametrize("key", ["lineups", "last_lineups"])
def test_a_key_of_another_type_is_an_error_only_with_the_bound(rig: Rig, script: str, key: str) -> None:
    rig.client.set(getattr(rig.keys, key), "x")
    call = {"lineup": lambda: rig.lineup("ann"), "sweep": rig.sweep}[script]
    call()
    rig.set_rules(lineups_per_minute=1)
    with pytest.raises(Exception, match="WRONGTYPE_KEY"):
        call()
