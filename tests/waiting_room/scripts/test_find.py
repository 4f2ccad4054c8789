"""find: an operator looks for one user, and nobody moves."""

from __future__ import annotations

from typing import Any

import pytest

from tests.waiting_room.rig import START, Rig


def find(rig: Rig, user: str) -> list[Any]:
    before = rig.everything()
    answers = rig.run("find", user).answers
    assert rig.everything() == before
    assert rig.events() == []
    return answers


@pytest.fixture
def room(rig: Rig) -> Rig:
    """ann and bob are in, cid (1) is parked, dan (2) and eve (3) wait."""
    rig.lineup("ann", "bob", "cid", "dan", "eve")
    rig.limits(duration=1_000_000)
    rig.sweep(absent=2000)
    rig.advance(1000)
    rig.status("dan", "eve")
    rig.gate("ann")
    rig.sweep()
    rig.advance(1000)
    assert rig.sweep().parkings == 1
    rig.events()
    return rig


@pytest.mark.parametrize(
    ("user", "found"),
    [
        ("ann", ["ALLOWED_IN", "", "", str(START), str(START + 1000)]),
        ("bob", ["ALLOWED_IN", "", "", str(START), str(START)]),
        ("cid", ["PARKED", "1", "", str(START + 2000), ""]),
        ("dan", ["WAITING", "2", 1, "", str(START + 1000)]),
        ("eve", ["WAITING", "3", 2, "", str(START + 1000)]),
        ("zoe", ["NONE", "", "", "", ""]),
    ],
)
def test_an_operator_sees_where_a_user_stands(room: Rig, user: str, found: list[Any]) -> None:
    assert find(room, user) == [*found, room.client.hget(room.keys.history, user) or "", ""]


def test_a_look_is_no_sighting(room: Rig) -> None:
    for _ in range(3):
        room.advance(1000)
        find(room, "dan")
        room.status("eve")
        room.sweep()
    assert room.waiting() == ["eve"]
    assert find(room, "dan")[0] == "PARKED"


def test_an_expired_session_is_none(room: Rig) -> None:
    room.advance(1_000_000)
    assert find(room, "bob")[0] == "NONE"


def test_a_slot_that_was_not_claimed_in_time_is_lost_before_the_sweep_has_seen_it(rig: Rig) -> None:
    rig.set_rules(claim=2_000)
    rig.limits(capacity=1, duration=60_000)
    rig.lineup("ann", "bob")
    rig.leave(("slot", "ann"))
    rig.events()
    rig.advance(1_999)
    assert find(rig, "bob")[0] == "ALLOWED_IN"
    rig.advance(1)
    # As the sweep will say.
    assert find(rig, "bob")[:5] == ["PARKED", "1", "", str(START + 2_000), ""]
    rig.sweep()
    assert find(rig, "bob")[:2] == ["PARKED", "1"]
    # The second time for the same ticket it is gone.
    rig.status("bob")
    rig.events()
    assert find(rig, "bob")[0] == "ALLOWED_IN"
    rig.advance(2_000)
    assert find(rig, "bob")[0] == "NONE"


def test_a_promoted_user_whose_session_is_over_is_not_parked(rig: Rig) -> None:
    """The ticket is kept for the claim, until the sweep ends the session."""
    rig.set_rules(claim=2_000)
    rig.limits(capacity=1, duration=1_000)
    rig.lineup("ann", "bob")
    rig.leave(("slot", "ann"))
    rig.events()
    assert find(rig, "bob")[0] == "ALLOWED_IN"
    rig.advance(1_000)
    assert find(rig, "bob")[:5] == ["NONE", "", "", "", ""]
