"""front: an operator puts a user in line in front of all others."""

from __future__ import annotations

import pytest
import redis

from tests.waiting_room.rig import ALLOWED_IN, START, WAITING, Rig


@pytest.fixture
def full(rig: Rig) -> Rig:
    """ann and bob are inside; cid, dan and eve wait with the tickets 1, 2 and 3."""
    rig.lineup("ann", "bob", "cid", "dan", "eve")
    rig.events()
    return rig


def test_the_user_is_the_first_and_the_others_move_back(full: Rig) -> None:
    assert full.front("eve") == "-1"
    assert full.line() == [("eve", -1), ("cid", 1), ("dan", 2)]
    assert full.status("eve", "cid") == [[WAITING, -1, 1, 3, 0], [WAITING, 1, 2, 3, 0]]
    assert full.events() == [("FRONT", "eve", -1)]
    assert [entry[1:] for entry in full.history("eve")] == [("JOINED", None, 3), ("FRONT", None, -1)]
    assert full.tally()["fronted"] == 1


def test_the_last_one_put_in_front_is_the_first(full: Rig) -> None:
    assert [full.front(user) for user in ("eve", "dan", "dan", "cid")] == ["-1", "-2", "-2", "-3"]
    assert full.waiting() == ["cid", "dan", "eve"]
    assert full.events() == [("FRONT", "eve", -1), ("FRONT", "dan", -2), ("FRONT", "cid", -3)]


def test_no_such_ticket_is_given_twice(full: Rig) -> None:
    full.front("eve")
    full.leave(("both", "eve"))
    full.lineup("eve")
    assert full.front("eve") == "-2"


def test_the_next_slot_is_the_users(full: Rig) -> None:
    full.set_rules(claim=5_000)
    full.front("eve")
    full.events()
    full.leave(("slot", "ann"))
    assert full.events() == [("ADMITTED", "eve", -1)]
    assert full.gate("eve")[0][0] == ALLOWED_IN
    assert full.history("eve")[-2:] == [(START, "PROMOTED", None, -1), (START, "CLAIMED", None, None)]


def test_a_slot_that_is_free_is_the_users_at_once(rig: Rig) -> None:
    rig.limits(capacity=0)
    rig.lineup("ann", "bob")
    rig.set_rules(rate="1/h")
    rig.events()
    # Raised past the scripts, so that no call has promoted yet.
    rig.client.hset(rig.keys.settings, "capacity", 1)
    assert rig.front("bob") == "-1"
    assert rig.events() == [("FRONT", "bob", -1), ("ADMITTED", "bob", -1)]


def test_new_tickets_are_still_above_all(full: Rig) -> None:
    full.front("eve")
    assert full.lineup("fay")[0][1] == 4
    assert full.lineup("eve")[0][:2] == [WAITING, 5]


def test_a_parked_user_stays_parked_and_returns_as_the_first(full: Rig) -> None:
    full.limits(duration=3_600_000)
    full.sweep(absent=2_000)
    full.advance(2_000)
    full.sweep()
    full.status("cid", "dan")
    assert set(full.parked()) == {"eve"}
    assert full.front("eve") == "-1"
    assert full.parked()["eve"][0] == -1
    assert full.waiting() == ["cid", "dan"]
    assert full.status("eve") == [[WAITING, -1, 1, 3, 0]]
    full.advance(2_000)
    full.sweep()
    assert full.parked()["eve"][0] == -1


def test_who_does_not_claim_the_slot_keeps_the_ticket_once(full: Rig) -> None:
    full.set_rules(claim=1_000)
    full.sweep(absent=0)
    full.front("eve")
    full.leave(("slot", "ann"))
    full.advance(1_000)
    full.sweep()
    assert full.parked()["eve"] == (-1, START + 1_000)
    # Put in front anew, the user has not missed a window for the new ticket.
    assert full.front("eve") == "-1"
    assert full.status("eve")[0][1:3] == [-1, 1]


@pytest.mark.parametrize("user", ["ann", "nobody"])
def test_who_is_not_in_line_stays_where_they_are(full: Rig, user: str) -> None:
    before = full.line()
    assert full.front(user) == ""
    assert full.line() == before
    assert full.events() == []
    assert full.client.xlen(full.keys.audit) == 0


def test_a_registered_user_has_no_place_yet(rig: Rig) -> None:
    rig.set_rules(opens_at=START + 5_000, prequeue=10_000)
    rig.gather()
    rig.lineup("ann")
    assert rig.front("ann") == ""
    assert rig.registered() == ["ann"]


def test_the_audit_has_it(full: Rig) -> None:
    full.front("eve")
    [(_, entry)] = full.client.xrange(full.keys.audit)
    assert (entry["by"], entry["act"], entry["user"], entry["from"], entry["to"]) == (
        *("anna", "front", "eve"),
        *("3", "-1"),
    )
    assert entry["reason"] == "it is a test"


def test_without_an_operator_nothing_is_changed(full: Rig) -> None:
    full.author = ("", "")
    with pytest.raises(redis.ResponseError, match="BAD_ARGUMENT by"):
        full.front("eve")
    assert full.waiting() == ["cid", "dan", "eve"]


def test_what_another_system_wrote_there_does_not_matter(full: Rig) -> None:
    full.client.zadd(full.keys.line, {"low": -1e300, "high": 1e300, "half": 1.5})
    full.client.hset(full.keys.tally, "fronted", "x")
    assert full.front("eve") == "-1"
    assert full.front("half") == "-2"
    assert full.line()[1:3] == [("half", -2), ("eve", -1)]
