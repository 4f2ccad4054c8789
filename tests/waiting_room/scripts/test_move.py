"""move: a place or a slot becomes another user's, with the same ticket."""

from __future__ import annotations

import pytest
import redis

from tests.waiting_room.rig import ALLOWED_IN, NONE, WAITING, Rig


def move(rig: Rig, giver: str, taker: str) -> tuple[int, list[int]]:
    moved, answer = rig.run("move", giver, taker).answers
    return moved, answer


def test_a_place_is_moved_with_its_ticket_and_the_old_streams_hear_it(rig: Rig) -> None:
    rig.lineup("in1", "in2", "ann", "bob", "cid")
    assert move(rig, "bob", "new") == (1, [WAITING, 2, 2, 3, 0])
    assert rig.waiting() == ["ann", "new", "cid"]
    assert rig.events() == [("MOVED", "bob", 2)]
    assert rig.status("bob")[0][0] == NONE
    assert rig.tally()["moved"] == 1
    rig.leave(("slot", "in1"), ("slot", "in2"))
    assert rig.events() == [("ADMITTED", "ann", 1), ("ADMITTED", "new", 2)]


def test_a_slot_is_moved_with_what_is_left_of_its_session(rig: Rig) -> None:
    rig.lineup("ann", "bob", "cid")
    rig.advance(4_000)
    assert move(rig, "ann", "new") == (1, [ALLOWED_IN, 0, 0, 1, 6_000])
    assert sorted(rig.inside()) == ["bob", "new"]
    assert rig.events() == []
    rig.advance(6_000)
    assert rig.status("new")[0][0] == NONE


def test_a_slot_is_moved_with_its_claim_window(rig: Rig) -> None:
    rig.set_rules(claim=3_000)
    rig.lineup("in1", "in2", "ann")
    rig.leave(("slot", "in1"))
    rig.advance(1_000)
    until = rig.now + 2_000
    assert move(rig, "ann", "new") == (1, [ALLOWED_IN, 0, 0, 0, 9_000, until])
    rig.advance(2_000)
    rig.sweep()
    assert "new" not in rig.inside()
    assert rig.parked()["new"][0] == 1
    # The ticket has been missed once; at its new owner the second time is the last.
    assert move(rig, "new", "newer")[1][0] == ALLOWED_IN
    rig.advance(3_000)
    rig.events()
    rig.sweep()
    assert rig.events() == [("UNCLAIMED", "newer", 1)]


@pytest.mark.parametrize(
    ("giver", "taker", "answer", "events"),
    [
        # A slot before a place, the lower of two tickets.
        ("in1", "w1", [ALLOWED_IN], [("ADMITTED", "w1", 1)]),
        ("w1", "in1", [ALLOWED_IN], [("MOVED", "w1", 1)]),
        ("w1", "w3", [WAITING, 1, 1, 2], [("MOVED", "w1", 1)]),
        ("w3", "w1", [WAITING, 1, 1, 2], [("MOVED", "w3", 3)]),
        ("in1", "in2", [ALLOWED_IN], [("ADMITTED", "w1", 1)]),
    ],
)
def test_of_two_the_better_one_stays(
    rig: Rig, giver: str, taker: str, answer: list[int], events: list[tuple[str, str, int]]
) -> None:
    rig.lineup("in1", "in2", "w1", "w2", "w3")
    moved, answered = move(rig, giver, taker)
    assert moved == 1
    assert answered[: len(answer)] == answer
    assert rig.events() == events
    assert giver not in rig.waiting()
    assert giver not in rig.inside()
    assert len(rig.inside()) == 2


@pytest.mark.parametrize("giver", ["nobody", "gone"])
def test_where_there_is_nothing_nothing_moves(rig: Rig, giver: str) -> None:
    rig.lineup("gone", "in2", "w1")
    rig.leave(("both", "gone"))
    rig.events()
    before = rig.tally()
    assert move(rig, giver, "new") == (0, [NONE, 0, 0, 0, 0])
    assert move(rig, giver, "w1")[1][0] == ALLOWED_IN
    assert (rig.events(), rig.tally()) == ([], before)


def test_a_parked_place_returns_and_is_moved(rig: Rig) -> None:
    rig.lineup("in1", "in2", "ann", "bob")
    for _ in range(3):
        rig.sweep(absent=2_000, hold=60_000)
        rig.advance(1_000)
        rig.gate("in1", "in2")
        rig.status("bob")
    rig.sweep(absent=2_000)
    assert set(rig.parked()) == {"ann"}
    assert move(rig, "ann", "new") == (1, [WAITING, 1, 1, 2, 0])
    assert rig.parked() == {}
    assert rig.absent()["new"] == rig.now
    assert "ann" not in rig.absent()


def test_a_parked_taker_keeps_the_better_ticket(rig: Rig) -> None:
    rig.lineup("in1", "in2", "ann", "bob")
    for _ in range(3):
        rig.sweep(absent=2_000, hold=60_000)
        rig.advance(1_000)
        rig.gate("in1", "in2")
        rig.status("bob")
    rig.sweep(absent=2_000)
    assert move(rig, "bob", "ann") == (1, [WAITING, 1, 1, 1, 0])
    assert rig.waiting() == ["ann"]


def test_a_user_in_both_line_and_hash_gives_the_slot_alone(rig: Rig) -> None:
    rig.lineup("ann", "in2", "w1")
    rig.client.zadd(rig.keys.line, {"ann": 9})
    assert move(rig, "ann", "new")[1][0] == ALLOWED_IN
    assert rig.waiting() == ["w1"]
    assert set(rig.inside()) == {"in2", "new"}


def test_a_move_to_oneself_is_refused_before_anything_is_written(rig: Rig) -> None:
    rig.lineup("ann")
    before = rig.everything()
    with pytest.raises(redis.ResponseError, match="BAD_ARGUMENT from, to"):
        rig.run("move", "ann", "ann")
    assert rig.everything() == before


def test_a_place_is_moved_while_redis_has_no_memory_left(rig: Rig) -> None:
    rig.lineup("in1", "in2", "ann")
    rig.set_memory_full(True)
    try:
        assert move(rig, "ann", "new")[1][:2] == [WAITING, 1]
        assert move(rig, "in1", "another")[1][0] == ALLOWED_IN
    finally:
        rig.set_memory_full(False)


def test_a_total_that_is_no_number_starts_again(rig: Rig) -> None:
    rig.lineup("ann")
    rig.client.hset(rig.keys.tally, "moved", "x")
    move(rig, "ann", "new")
    assert rig.tally()["moved"] == 1
