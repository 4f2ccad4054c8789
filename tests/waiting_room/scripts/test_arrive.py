"""arrive: a gated request of each of these users, which lines up a user without a place."""

from __future__ import annotations

import random

import pytest

from tests.waiting_room.rig import (
    ADMITTED,
    ALLOWED_IN,
    CLOSED,
    FULL,
    NOT_ELIGIBLE,
    REGISTERED,
    ROOM_FULL,
    START,
    TOO_MANY_LINEUPS,
    UNPREPARED,
    WAITING,
    Rig,
)

SOLD_OUT = 11
LINED_UP = 1
"""Instead of the milliseconds of a session: this call has put the user in line."""
END = START + 3_600_000
ELIGIBLE = ("", "", "")
NONE = ("", 0, 0)


def codes(answers: list[list[int]]) -> list[int]:
    return [answer[0] for answer in answers]


def test_a_user_without_a_place_gets_a_slot_or_a_place_in_the_same_call(rig: Rig) -> None:
    assert rig.arrive("ann", "bob", "cid", "dan") == [
        [ADMITTED, 0, 0, 0, 10_000],
        [ADMITTED, 0, 0, 0, 10_000],
        [WAITING, 1, 1, 1, LINED_UP],
        [WAITING, 2, 2, 2, LINED_UP],
    ]
    assert set(rig.inside()) == {"ann", "bob"}
    assert rig.waiting() == ["cid", "dan"]
    assert rig.tally() == {"admitted": 2, "lineups": 2}
    assert [what for _, what, _, _ in rig.history("cid")] == ["JOINED"]


def test_users_inside_are_renewed_and_users_in_line_keep_their_tickets(rig: Rig) -> None:
    rig.arrive("ann", "bob", "cid")
    rig.advance(4_000)
    assert rig.arrive("cid", "ann", "cid") == [
        [WAITING, 1, 1, 1, 0],
        [ALLOWED_IN, 0, 0, 1, 10_000],
        [WAITING, 1, 1, 1, 0],
    ]
    assert rig.activity()["ann"] == START + 4_000
    assert rig.absent() == {"cid": START + 4_000}
    assert rig.tally()["lineups"] == 1


def test_a_user_who_comes_twice_in_one_call_is_lined_up_once(rig: Rig) -> None:
    assert codes(rig.arrive("ann", "ann", "bob", "cid", "cid")) == [
        ADMITTED,
        ALLOWED_IN,
        ADMITTED,
        WAITING,
        WAITING,
    ]
    assert rig.line() == [("cid", 1)]


def test_free_slots_go_to_the_line_before_a_newcomer(rig: Rig) -> None:
    rig.arrive("ann", "bob", "cid")
    rig.advance(10_000)
    assert codes(rig.arrive("dan", "cid")) == [WAITING, WAITING]
    rig.sweep()
    assert codes(rig.arrive("cid", "dan")) == [ALLOWED_IN, ALLOWED_IN]


def test_a_user_whose_session_is_over_is_lined_up_anew(rig: Rig) -> None:
    rig.arrive("ann", "bob", "cid")
    rig.advance(10_000)
    # The slot that ann gives up goes to the first in line.
    assert codes(rig.arrive("ann")) == [WAITING]
    assert rig.events() == [("ADMITTED", "cid", 1)]
    assert [what for _, what, _, _ in rig.history("ann")] == ["ADMITTED", "EXPIRED", "JOINED"]


def test_a_parked_user_is_back_with_the_same_ticket(rig: Rig) -> None:
    rig.limits(capacity=0)
    rig.arrive("cid", "dan")
    rig.sweep(absent=2_000)
    rig.advance(2_000)
    rig.sweep()
    assert set(rig.parked()) == {"cid", "dan"}
    assert rig.arrive("dan", "eve", "cid") == [
        [WAITING, 2, 1, 1, 0],
        [WAITING, 3, 2, 2, LINED_UP],
        [WAITING, 1, 1, 3, 0],
    ]


def test_a_return_with_an_unusable_ticket_gives_no_ticket_twice(rig: Rig) -> None:
    rig.limits(capacity=0)
    rig.arrive("cid", "dan")
    rig.sweep(absent=2_000)
    rig.advance(2_000)
    rig.sweep()
    rig.client.zadd(rig.keys.tickets, {"dan": float("inf")})
    tickets = [answer[1] for answer in rig.arrive("eve", "dan", "fay", "cid")]
    assert len(set(tickets)) == 4
    assert tickets[:3] == sorted(tickets[:3])


def test_it_is_refused_as_a_lineup_is(rig: Rig) -> None:
    rig.set_rules(max_waiting=1)
    assert codes(rig.arrive("ann", "bob", "cid", "dan")) == [ADMITTED, ADMITTED, WAITING, ROOM_FULL]
    rig.doors("close")
    assert rig.arrive("eve", "cid", "ann") == [
        [CLOSED, 0, 0, 1, 0, 0],
        [WAITING, 1, 1, 1, 0],
        [ALLOWED_IN, 0, 0, 1, 10_000],
    ]
    rig.doors("sold_out")
    assert codes(rig.arrive("eve", "cid", "ann")) == [SOLD_OUT, SOLD_OUT, ALLOWED_IN]


def test_only_lineups_count_for_the_bound_of_lineups(rig: Rig) -> None:
    rig.set_rules(lineups_per_minute=1)
    rig.limits(capacity=0)
    for _ in range(3):
        assert codes(rig.arrive("ann")) == [WAITING]
    rig.leave(("both", "ann"))
    assert rig.arrive("ann") == [[TOO_MANY_LINEUPS, 0, 0, 0, 60_000]]
    rig.advance(60_000)
    assert codes(rig.arrive("ann")) == [WAITING]


def test_without_memory_only_newcomers_are_refused(rig: Rig) -> None:
    rig.arrive("ann", "bob", "cid")
    rig.set_memory_full(True)
    try:
        assert codes(rig.arrive("ann", "dan", "cid")) == [ALLOWED_IN, FULL, WAITING]
    finally:
        rig.set_memory_full(False)
    assert rig.waiting() == ["cid"]


def test_in_the_pre_queue_a_user_is_registered(rig: Rig) -> None:
    rig.set_rules(opens_at=START + 5_000, prequeue=10_000)
    assert codes(rig.arrive("ann")) == [UNPREPARED]
    rig.gather(order="draw", salt_key="5a" * 32)
    answers = rig.arrive("ann", "bob", "ann")
    assert [answer[:4] for answer in answers] == [
        [REGISTERED, 0, 0, 1],
        [REGISTERED, 0, 0, 2],
        [REGISTERED, 0, 0, 2],
    ]
    assert answers[0][6] == "5a" * 32
    assert rig.registered() == ["ann", "bob"]
    rig.advance(5_000)
    # The first call after the close notices it, and comes behind those who registered.
    assert rig.arrive("cid")[0][:2] == [WAITING, 3]


def test_before_the_opening_nobody_is_lined_up(rig: Rig) -> None:
    rig.set_rules(opens_at=START + 5_000)
    assert rig.arrive("ann") == [[CLOSED, 0, 0, 0, 0, START + 5_000]]
    rig.advance(5_000)
    assert codes(rig.arrive("ann")) == [ADMITTED]


def test_an_invitation_is_spent_with_the_place_that_it_brings(rig: Rig) -> None:
    answers = rig.arrive_by(
        ("ann", *ELIGIBLE), ("bob", *NONE), ("cid", "a", 1, END), ("dan", "a", 1, END), ("cid", *NONE)
    )
    assert codes(answers) == [ADMITTED, NOT_ELIGIBLE, ADMITTED, NOT_ELIGIBLE, ALLOWED_IN]
    assert rig.client.get(rig.keys.invitation("a")) == "1"
    assert (
        codes(rig.arrive_by(("eve", "b", 1, END), ("fay", *ELIGIBLE), ("eve", "b", 1, END))) == [WAITING] * 3
    )
    assert rig.waiting() == ["eve", "fay"]


def test_a_user_promoted_by_the_call_of_another_passes_in_the_same_call(rig: Rig) -> None:
    rig.set_rules(claim=5_000)
    rig.arrive("ann", "bob", "cid")
    rig.advance(10_000)
    # ann is lined up again. That ends the session, so cid gets the slot, and claims it with this call.
    assert [answer[0] for answer in rig.arrive("ann", "cid")] == [WAITING, ALLOWED_IN]
    assert [what for _, what, _, _ in rig.history("cid")] == ["JOINED", "PROMOTED", "CLAIMED"]


def test_it_lines_up_if_the_room_or_the_call_says_so(rig: Rig) -> None:
    def arrive(lines_up: str, *users: str) -> list[int]:
        keys = (rig.keys.lineups, rig.keys.last_lineups, rig.keys.draw)
        return codes(rig.raw_room("arrive", keys, "", lines_up, *users).answers)

    assert arrive("010", "ann", "bob", "cid") == [0, ADMITTED, 0]
    assert arrive("00", "bob", "ann") == [ALLOWED_IN, 0]
    rig.set_rules(lineup="implicit")
    assert arrive("01", "ann", "cid") == [ADMITTED, WAITING]


def test_without_users_only_the_numbers_are_returned(rig: Rig) -> None:
    rig.arrive("ann", "bob", "cid")
    reply = rig.run("arrive")
    assert reply.answers == []
    assert (reply.summary.waiting, reply.summary.allowed_in) == (1, 2)


@pytest.mark.parametrize("seed", range(5))
def test_users_who_arrive_are_admitted_in_the_order_of_their_first_call(rig: Rig, seed: int) -> None:
    rng = random.Random(seed)
    users = [f"u{n}" for n in range(40)]
    first: list[str] = []
    rig.limits(capacity=0)
    for _ in range(60):
        batch = rng.choices(users, k=rng.randint(1, 6))
        first += [user for user in dict.fromkeys(batch) if user not in first]
        assert set(codes(rig.arrive(*batch))) == {WAITING}
        rig.advance(rng.randint(1, 900))
    assert rig.waiting() == first
    rig.events()
    rig.limits(capacity=100)
    assert [user for kind, user, _ in rig.events() if kind == "ADMITTED"] == first
