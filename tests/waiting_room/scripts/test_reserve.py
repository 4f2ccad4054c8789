"""reserve: how many visitors of one address may have a place."""

from __future__ import annotations

import pytest
import redis

from tests.waiting_room.rig import SCRIPTS, Rig

REFUSED, FREE, HELD = range(3)


def reserve(rig: Rig, visitor: str, most: int | str = 2, address: str = "one", giver: str = "") -> int:
    return stamped(rig, visitor, most, address, giver)[0]


def stamped(
    rig: Rig, visitor: str, most: int | str = 2, address: str = "one", giver: str = ""
) -> tuple[int, int]:
    """The code, and the stamp with which it can be taken back."""
    code, stamp = rig.run("reserve", visitor, most, giver, keys=[rig.keys.neighbours(address)]).answers
    return int(code), int(stamp)


def unreserve(rig: Rig, visitor: str, stamp: int) -> int:
    script = SCRIPTS["unreserve"].text
    return int(rig.client.eval(script, 1, rig.keys.neighbours("one"), visitor, stamp))  # type: ignore[arg-type]


def known(rig: Rig) -> int:
    """How many visitors of the address are remembered."""
    return int(rig.client.zcard(rig.keys.neighbours("one")))  # type: ignore[arg-type]


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


def test_visitors_who_have_places_add_no_more_than_the_bound(rig: Rig) -> None:
    """Their places may be of other addresses, so they can be any number."""
    visitors = [f"visitor-{number}" for number in range(300)]
    rig.lineup(*visitors)
    assert {reserve(rig, visitor, most=5) for visitor in visitors} == {HELD}
    assert known(rig) == 5
    assert reserve(rig, "ann", most=5) == REFUSED
    rig.client.delete(rig.keys.neighbours("one"))
    assert [reserve(rig, visitor, most=1) for visitor in visitors[:3]] == [HELD] * 3
    assert known(rig) == 1


def test_one_call_looks_at_256_visitors_at_most_and_repeated_ones_at_all(rig: Rig) -> None:
    key = rig.keys.neighbours("one")
    rig.client.zadd(key, {f"gone-{number}": number for number in range(2_000)})
    codes = []
    for _ in range(9):
        before = known(rig)
        codes.append(reserve(rig, "ann"))
        assert before - known(rig) <= 256
        rig.advance(1)
    assert codes[:7] == [REFUSED] * 7
    assert codes[-1] == FREE
    assert known(rig) <= 3


def test_a_place_that_became_free_is_found_among_many(rig: Rig) -> None:
    rig.lineup("in1", "in2")
    visitors = [f"visitor-{number}" for number in range(300)]
    assert {enter(rig, visitor, most=300) for visitor in visitors} == {FREE}
    rig.advance(10_000)
    for left in (visitors[0], visitors[150], visitors[-1]):
        assert reserve(rig, "ann", most=300) == REFUSED
        rig.leave(("both", left))
        found = []
        for _ in range(45):
            rig.advance(1)
            found.append(enter(rig, f"instead of {left}", most=300))
        assert FREE in found
        rig.advance(10_000)


def test_an_expired_session_counts_for_none_before_it_is_swept(rig: Rig) -> None:
    rig.lineup("in1", "in2")
    rig.gate("in1", "in2")
    assert [reserve(rig, user, most=1) for user in ("in1", "in2")] == [HELD, HELD]
    rig.advance(rig.duration + 10_000)
    assert reserve(rig, "in2", most=1) == FREE
    assert rig.client.zrange(rig.keys.neighbours("one"), 0, -1) == ["in2"]


def test_a_refused_lineup_gives_back_what_was_reserved(rig: Rig) -> None:
    code, stamp = stamped(rig, "ann", most=1)
    assert (code, reserve(rig, "bob", most=1)) == (FREE, REFUSED)
    assert unreserve(rig, "ann", stamp) == 1
    assert unreserve(rig, "ann", stamp) == 0
    assert reserve(rig, "bob", most=1) == FREE


def test_a_refused_lineup_takes_nothing_from_another_one_of_the_same_visitor(rig: Rig) -> None:
    """Otherwise a visitor could line up twice at a time, have one lineup refused, and keep a place uncounted."""
    _, first = stamped(rig, "ann", most=1)
    _, second = stamped(rig, "ann", most=1)
    assert second == 0
    assert unreserve(rig, "ann", first) == 0
    rig.lineup("ann")
    assert stamped(rig, "ann", most=1) == (HELD, 0)
    rig.advance(10_000)
    assert reserve(rig, "bob", most=1) == REFUSED


def test_a_place_that_moves_within_the_address_is_none_more(rig: Rig) -> None:
    rig.lineup("in1", "in2")
    assert enter(rig, "ann", most=1) == FREE
    assert reserve(rig, "phone", most=1) == REFUSED
    assert reserve(rig, "phone", most=1, giver="ann") == FREE
    assert reserve(rig, "phone", most=1, address="other", giver="ann") == FREE
    rig.advance(10_000)
    # It has not moved, so it still counts.
    assert reserve(rig, "phone", most=1) == REFUSED
