"""configure: an instance starts and says which limits it was given."""

from __future__ import annotations

import pytest
import redis

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
    rig.limits(capacity=5, duration=20_000)
    reply = rig.configure(*given)
    assert reply.answers[0][2] == "override"
    assert stored(rig) == ("5", "20000")


def test_an_operators_capacity_does_not_keep_out_another_duration_of_the_file(rig: Rig) -> None:
    rig.configure(2, 10_000)
    rig.limits(capacity=5)
    assert rig.configure(3, 30_000).answers[0][2] == "override"
    assert stored(rig) == ("5", "30000")
    rig.limits(duration=40_000)
    rig.configure(3, 50_000)
    assert stored(rig) == ("5", "40000")


def test_nor_an_operators_duration_another_capacity(rig: Rig) -> None:
    rig.configure(2, 10_000)
    rig.limits(duration=20_000)
    rig.configure(3, 30_000)
    assert stored(rig) == ("3", "20000")


def test_what_an_earlier_version_has_set_stands_too(rig: Rig) -> None:
    rig.configure(2, 10_000)
    rig.limits(capacity=5)
    # It knows only of both limits together.
    rig.client.hset(rig.keys.settings, mapping={"duration_ms": 40_000, "override": 1})
    rig.configure(3, 30_000)
    assert stored(rig) == ("5", "40000")
    rig.client.hdel(rig.keys.settings, "override")
    rig.configure(4, 50_000)
    assert stored(rig) == ("4", "50000")


def test_every_script_uses_the_limits_in_redis_not_those_it_was_given(rig: Rig) -> None:
    rig.configure(1, 10_000)
    rig.capacity, rig.duration = 100, 1
    rig.lineup("ann", "bob")
    assert rig.waiting() == ["bob"]
    assert rig.status("ann")[0][4] == 10_000


def rules(rig: Rig) -> tuple[str | None, ...]:
    return tuple(rig.client.hmget(rig.keys.settings, "rules", "declared_rules", "operator_rules"))


def test_settings_are_written_and_other_ones_replace_them(rig: Rig) -> None:
    rig.rules = "absent=5000"
    rig.configure(2, 10_000)
    assert rules(rig) == ("absent=5000", "absent=5000", None)
    rig.rules = "hold=0"
    rig.configure(2, 10_000)
    assert rules(rig) == ("hold=0", "hold=0", None)


def test_an_operators_settings_stand_when_instances_start(rig: Rig) -> None:
    rig.rules = "absent=5000 hold=7000"
    rig.configure(2, 10_000)
    rig.limits(rules="hold=1 absent=9000")
    rig.limits(rules="hold=")
    assert rules(rig) == ("absent=9000 hold=7000", "absent=5000 hold=7000", "absent=9000")
    rig.rules = ""
    rig.configure(2, 10_000)
    assert rules(rig) == ("absent=9000", "", "absent=9000")
    rig.limits(lift=True)
    assert rules(rig) == ("", "", "")


def test_what_an_earlier_version_wrote_is_taken_over_with_the_first_call(rig: Rig) -> None:
    rig.client.hset(rig.keys.settings, mapping={"capacity": 1, "duration_ms": 9_000, "declared_capacity": 1})
    rig.client.zadd(rig.keys.line, {"ann": 4})
    rig.client.zadd(rig.keys.absent, {"ann": rig.now})
    rig.rules = "absent=5000"
    rig.status("bob")
    assert rules(rig) == ("absent=5000", None, None)
    assert rig.client.hget(rig.keys.settings, "schema") == "2"
    rig.configure(1, 9_000)
    assert rules(rig) == ("absent=5000", "absent=5000", None)


@pytest.mark.parametrize("text", ["absent", "absent=soon", "absent=-1", "speed=5", "hold=1 and more"])
def test_unusable_settings_of_an_instance_are_an_error(rig: Rig, text: str) -> None:
    rig.rules = text
    with pytest.raises(redis.ResponseError, match="BAD_ARGUMENT default_rules"):
        rig.configure(2, 10_000)
    assert not rig.client.exists(rig.keys.settings)
