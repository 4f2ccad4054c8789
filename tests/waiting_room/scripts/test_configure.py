"""configure: an instance starts and says which limits it was given."""

from __future__ import annotations

import pytest

from tests.waiting_room.rig import Rig


def stored(rig: Rig) -> tuple[str | None, ...]:
    return tuple(rig.client.hmget(rig.keys.settings, "capacity", "duration_ms"))


def test_an_instance_with_other_limits_writes_them_and_admits_at_once(rig: Rig) -> None:
    rig.configure(2, 10_000)
    rig.lineup("ann", "bob", "cid")
    reply = rig.configure(3, 20_000)
    assert reply.answers == [[2, 10_000, ""]]
    assert (reply.summary.capacity, reply.summary.duration, reply.summary.promoted) == (3, 20.0, 1)
    assert stored(rig) == ("3", "20000")


def test_the_first_instance_of_all_finds_no_limits(rig: Rig) -> None:
    assert rig.configure(2, 10_000).answers == [[-1, -1, ""]]
    assert stored(rig) == ("2", "10000")


def test_an_instance_with_the_same_limits_changes_nothing(rig: Rig) -> None:
    rig.configure(2, 10_000)
    before = rig.everything()
    rig.configure(2, 10_000)
    assert rig.everything() == before


@pytest.mark.parametrize("given", [(2, 10_000), (7, 10_000), (2, 30_000)])
def test_an_override_stands_when_instances_start(rig: Rig, given: tuple[int, int]) -> None:
    rig.configure(2, 10_000)
    rig.limits(capacity=5)
    reply = rig.configure(*given)
    assert reply.answers[0][2] == "override"
    assert stored(rig) == ("5", "10000")


def test_every_script_uses_the_limits_in_redis_not_those_it_was_given(rig: Rig) -> None:
    rig.configure(1, 10_000)
    rig.capacity, rig.duration = 100, 1
    rig.lineup("ann", "bob")
    assert rig.waiting() == ["bob"]
    assert rig.status("ann")[0][4] == 10_000
