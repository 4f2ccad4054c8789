"""leave: giving up a slot or a place, and an operator taking it away."""

from __future__ import annotations

import pytest

from tests.waiting_room.rig import NOTHING, PLACE, SLOT, START, WAITING, Rig

SECOND = START // 1000


def test_a_slot_given_up_goes_to_the_head_of_the_line_in_the_same_call(rig: Rig) -> None:
    rig.lineup("ann", "bob", "cid", "dan")
    assert rig.leave(("slot", "ann")) == [SLOT]
    assert sorted(rig.inside()) == ["bob", "cid"]
    assert rig.waiting() == ["dan"]
    assert rig.events() == [("ADMITTED", "cid", 1)]
    assert rig.tally()["left"] == 1


@pytest.mark.parametrize(
    ("what", "user", "code"),
    [
        ("slot", "ann", SLOT),
        ("line", "ann", NOTHING),
        ("both", "ann", SLOT),
        ("slot", "cid", NOTHING),
        ("line", "cid", PLACE),
        ("both", "cid", PLACE),
        ("slot", "zoe", NOTHING),
        ("line", "zoe", NOTHING),
        ("both", "zoe", NOTHING),
    ],
)
def test_what_is_given_up_is_answered_with_its_code(rig: Rig, what: str, user: str, code: int) -> None:
    rig.lineup("ann", "bob", "cid")
    assert rig.leave((what, user)) == [code]


@pytest.mark.parametrize(("reason", "total"), [("LEFT", "left"), ("OPERATOR", "removed")])
def test_a_user_who_leaves_the_line_is_counted_and_streams_hear_the_reason(
    rig: Rig, reason: str, total: str
) -> None:
    rig.lineup("ann", "bob", "cid", "dan")
    assert rig.leave(("both", "dan"), ("both", "ann"), reason=reason) == [PLACE, SLOT]
    assert rig.events() == [(reason, "dan", 2), ("ADMITTED", "cid", 1)]
    assert rig.tally()[total] == 2
    assert set(rig.absent()) == set()


def test_the_same_user_twice_in_a_batch_leaves_once(rig: Rig) -> None:
    rig.lineup("ann", "bob", "cid")
    pairs = [("both", "ann"), ("both", "ann"), ("line", "cid"), ("slot", "cid"), ("slot", "cid")]
    # Ann's slot goes to Cid at once, so that Cid has a slot to give up and no place.
    assert rig.leave(*pairs) == [SLOT, NOTHING, NOTHING, SLOT, NOTHING]
    assert sorted(rig.inside()) == ["bob"]


@pytest.mark.parametrize(("age", "code"), [(9_999, SLOT), (10_000, NOTHING)])
def test_an_expired_session_is_nothing_to_the_millisecond_but_its_slot_is_freed(
    rig: Rig, age: int, code: int
) -> None:
    rig.lineup("ann", "bob", "cid")
    rig.advance(age)
    assert rig.leave(("slot", "ann")) == [code]
    assert "cid" in rig.inside()
    assert rig.tally().get("expired", 0) == (1 if code == NOTHING else 0)


@pytest.mark.parametrize("reason", ["LEFT", "OPERATOR"])
def test_a_waiting_user_with_an_expired_session_leaves_the_line_and_is_not_promoted(
    rig: Rig, reason: str
) -> None:
    rig.client.hset(rig.keys.inside, mapping={"ann": SECOND - 60, "bob": SECOND})
    rig.client.zadd(rig.keys.line, {"ann": 7, "cid": 8})
    assert rig.leave(("both", "ann"), reason=reason) == [PLACE]
    assert rig.waiting() == []
    assert sorted(rig.inside()) == ["bob", "cid"]
    assert rig.events() == [(reason, "ann", 7), ("ADMITTED", "cid", 8)]


def test_a_user_in_hash_and_line_is_allowed_in_and_gives_up_the_slot(rig: Rig) -> None:
    rig.client.hset(rig.keys.inside, mapping={"ann": SECOND, "bob": SECOND})
    rig.client.zadd(rig.keys.line, {"ann": 7, "cid": 8})
    assert rig.leave(("both", "ann")) == [SLOT]
    assert rig.waiting() == []
    assert sorted(rig.inside()) == ["bob", "cid"]
    assert rig.events() == [("ADMITTED", "ann", 7), ("ADMITTED", "cid", 8)]
    assert rig.tally()["promoted"] == 2


def test_in_a_paused_room_no_user_moves_up(rig: Rig) -> None:
    rig.lineup("ann", "bob", "cid")
    rig.limits(paused=True)
    reply = rig.run("leave", "LEFT", "slot", "ann")
    assert reply.answers == [SLOT]
    assert rig.waiting() == ["cid"]
    assert not reply.summary.more


def test_256_leavers_in_one_call_are_all_followed(rig: Rig) -> None:
    rig.limits(capacity=256)
    buyers = [f"buyer{n}" for n in range(256)]
    rig.lineup(*buyers)
    for at in range(0, 512, 256):
        rig.lineup(*(f"guest{n:03}" for n in range(at, at + 256)))
    reply = rig.run("leave", "LEFT", *(part for user in buyers for part in ("slot", user)))
    assert reply.answers == [SLOT] * 256
    assert reply.summary.promoted == 256
    assert not reply.summary.more
    assert sorted(rig.inside()) == [f"guest{n:03}" for n in range(256)]
    assert rig.status("guest256")[0][:3] == [WAITING, 257, 1]
