"""reserve: how many visitors of one address may have a place."""

from __future__ import annotations

import pytest
import redis

from tests.waiting_room.rig import Rig

REFUSED, FREE, HELD = range(3)


def reserve(rig: Rig, visitor: str, most: int | str = 2, address: str = "one") -> int:
    [code] = rig.run("reserve", visitor, most, keys=[rig.keys.neighbours(address)]).answers
    return int(code)


def enter(rig: Rig, visitor: str, most: int = 2, address: str = "one") -> int:
    """A lineup, if it may come."""
    code = reserve(rig, visitor, most, address)
    if code != REFUSED:
        rig.lineup(visitor)
    return code


def test_so_many_visitors_of_an_address_have_a_place_and_no_more(rig: Rig) -> None:
    assert [enter(rig, visitor) for visitor in ("ann", "bob", "cid")] == [FREE, FREE, REFUSED]
    assert enter(rig, "dan", address="other") == FREE
    # Those who have one may line up again.
    assert [enter(rig, visitor) for visitor in ("ann", "bob")] == [HELD, HELD]


@pytest.mark.parametrize("how", ["leaving", "expiry"])
def test_a_place_that_has_ended_makes_room_for_another(rig: Rig, how: str) -> None:
    assert [enter(rig, visitor) for visitor in ("ann", "bob")] == [FREE, FREE]
    rig.advance(10_000)
    if how == "leaving":
        rig.leave(("both", "ann"))
    else:
        rig.gate("bob")
        rig.advance(0)
        rig.sweep()
    assert enter(rig, "cid") == FREE
    assert "ann" not in rig.client.zrange(rig.keys.neighbours("one"), 0, -1)


def test_parked_visitors_count(rig: Rig) -> None:
    rig.lineup("in1", "in2")
    enter(rig, "ann", most=1)
    for _ in range(3):
        rig.sweep(absent=2_000, hold=60_000)
        rig.advance(1_000)
        rig.gate("in1", "in2")
    rig.sweep()
    assert set(rig.parked()) == {"ann"}
    assert enter(rig, "bob", most=1) == REFUSED
    assert reserve(rig, "ann", most=1) == HELD


def test_two_lineups_at_a_time_do_not_both_take_the_last_place(rig: Rig) -> None:
    assert reserve(rig, "ann", most=1) == FREE
    assert reserve(rig, "bob", most=1) == REFUSED
    rig.lineup("ann")
    assert reserve(rig, "bob", most=1) == REFUSED
    rig.leave(("both", "ann"))
    rig.advance(9_999)
    assert reserve(rig, "bob", most=1) == REFUSED
    rig.advance(1)
    assert reserve(rig, "bob", most=1) == FREE


def test_without_a_bound_it_only_says_who_has_a_place(rig: Rig) -> None:
    assert [enter(rig, visitor, most=0) for visitor in ("ann", "bob", "cid", "cid")] == [
        FREE,
        FREE,
        FREE,
        HELD,
    ]
    assert rig.client.exists(rig.keys.neighbours("one")) == 0


def test_the_key_goes_when_it_is_no_longer_used_and_shows_no_address(rig: Rig) -> None:
    reserve(rig, "ann", address="192.0.2.7")
    [key] = rig.client.keys("*address:*")
    assert "192.0.2" not in key
    assert 172_000_000 < rig.client.pttl(key) <= 172_800_000


@pytest.mark.parametrize("most", ["", "-1", "x"])
def test_an_unusable_bound_is_refused_before_anything_is_written(rig: Rig, most: str) -> None:
    before = rig.everything()
    with pytest.raises(redis.ResponseError, match="BAD_ARGUMENT most"):
        reserve(rig, "ann", most)
    assert rig.everything() == before


def test_a_key_of_another_type_is_named(rig: Rig) -> None:
    rig.client.set(rig.keys.neighbours("one"), "x")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE_KEY"):
        reserve(rig, "ann")
