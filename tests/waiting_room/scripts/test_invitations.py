"""lineup of users who are not eligible, by invitations."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from tests.waiting_room.rig import ADMITTED, ALLOWED_IN, NOT_ELIGIBLE, START, WAITING, Rig

END = START + 3_600_000
NONE = ("", 0, 0)


def codes(answers: list[list[int]]) -> list[int]:
    return [answer[0] for answer in answers]


def test_without_an_invitation_no_place_is_taken(rig: Rig) -> None:
    assert rig.lineup_by(("ann", *NONE)) == [[NOT_ELIGIBLE, 0, 0, 0, 0]]
    assert rig.inside() == {}
    assert rig.line() == []


def test_an_invitation_is_spent_with_the_place_that_it_brings(rig: Rig) -> None:
    assert codes(rig.lineup_by(("ann", "a", 1, END), ("bob", "a", 1, END))) == [ADMITTED, NOT_ELIGIBLE]
    assert codes(rig.lineup_by(("cid", "a", 1, END), ("dan", "b", 1, END))) == [NOT_ELIGIBLE, ADMITTED]
    assert codes(rig.lineup_by(("eve", "c", 2, END), ("fay", "c", 2, END), ("gus", "c", 2, END))) == [
        WAITING,
        WAITING,
        NOT_ELIGIBLE,
    ]
    assert [user for user, _ in rig.line()] == ["eve", "fay"]


def test_who_has_a_place_needs_no_invitation_and_spends_none(rig: Rig) -> None:
    rig.lineup("ann", "bob", "cid", "dan")
    assert codes(rig.lineup_by(("ann", *NONE), ("cid", *NONE))) == [ALLOWED_IN, WAITING]
    assert codes(rig.lineup_by(("dan", "a", 1, END))) == [WAITING]
    assert rig.client.exists(rig.keys.invitation("a")) == 0
    # Lining up again has moved both to the end, as it does for everyone.
    assert [user for user, _ in rig.line()] == ["cid", "dan"]


def test_a_parked_user_returns_with_the_same_ticket_and_spends_none(rig: Rig) -> None:
    rig.limits(capacity=0)
    rig.sweep()
    rig.lineup("cid")
    ticket = rig.line()[0][1]
    for _ in range(62):
        rig.advance(1_000)
        rig.sweep()
    assert rig.line() == []
    assert rig.lineup_by(("cid", *NONE))[0][:2] == [WAITING, ticket]
    assert rig.line() == [("cid", ticket)]


def test_a_session_that_has_ended_is_no_place(rig: Rig) -> None:
    assert codes(rig.lineup_by(("ann", "a", 1, END))) == [ADMITTED]
    rig.advance(10_000)
    assert codes(rig.lineup_by(("ann", "a", 1, END))) == [NOT_ELIGIBLE]
    assert codes(rig.lineup_by(("ann", "b", 1, END))) == [ADMITTED]


def test_an_invitation_ends_and_so_does_what_redis_keeps_of_it(rig: Rig) -> None:
    assert codes(rig.lineup_by(("ann", "a", 5, START + 1))) == [ADMITTED]
    rig.advance(1)
    assert codes(rig.lineup_by(("bob", "a", 5, START + 1))) == [NOT_ELIGIBLE]
    rig.lineup_by(("cid", "b", 1, END))
    assert 0 < rig.client.pttl(rig.keys.invitation("b")) <= END - rig.now


def test_a_refusal_spends_no_invitation(rig: Rig) -> None:
    rig.lineup("ann")
    rig.set_memory_full(True)
    try:
        assert codes(rig.lineup_by(("bob", "a", 1, END))) == [4]
    finally:
        rig.set_memory_full(False)
    assert codes(rig.lineup_by(("bob", "a", 1, END))) == [ADMITTED]


@pytest.mark.parametrize("left_behind", ["many", "-1", "1e400", ""])
def test_an_unusable_count_counts_as_none(rig: Rig, left_behind: str) -> None:
    rig.client.set(rig.keys.invitation("a"), left_behind)
    assert codes(rig.lineup_by(("ann", "a", 1, END), ("bob", "a", 1, END))) == [ADMITTED, NOT_ELIGIBLE]


def test_a_key_of_another_type_is_replaced(rig: Rig) -> None:
    rig.client.rpush(rig.keys.invitation("a"), "x")
    assert codes(rig.lineup_by(("ann", "a", 1, END), ("bob", "a", 1, END))) == [ADMITTED, NOT_ELIGIBLE]


@pytest.mark.parametrize("seed", range(6))
def test_whatever_happens_no_invitation_brings_more_places_than_it_says(rig: Rig, seed: int) -> None:
    drawn = random.Random(seed)
    uses = {"one": 1, "two": 2, "five": 5}
    users = [f"user-{number}" for number in range(8)]
    taken: Counter[str] = Counter()
    rig.limits(capacity=3, duration=5_000)
    for _ in range(150):
        user = drawn.choice(users)
        act = drawn.choice(["line up", "line up", "line up", "leave", "wait", "sweep"])
        if act == "leave":
            rig.leave(("both", user))
        elif act == "wait":
            rig.advance(drawn.choice([500, 3_000]))
        elif act == "sweep":
            rig.sweep(absent=4_000, hold=8_000)
        else:
            [[before, *_]] = rig.status(user, sighting=False)
            name = drawn.choice(["", *uses])
            [[after, *_]] = rig.lineup_by((user, name, uses.get(name, 0), END))
            if before != 0:
                assert after in {WAITING, ADMITTED, ALLOWED_IN}
            elif after != NOT_ELIGIBLE:
                assert after in {WAITING, ADMITTED}
                taken[name] += 1
            else:
                assert taken[name] == uses.get(name, 0)
    assert all(taken[name] <= uses[name] for name in uses)
    assert taken[""] == 0
    assert taken["one"] == 1
