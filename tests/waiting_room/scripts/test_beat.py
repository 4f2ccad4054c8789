"""beat: instances say that they live, and learn which others don't."""

from __future__ import annotations

from tests.waiting_room.rig import START, Rig


def test_an_instance_is_unknown_at_first_and_known_then(rig: Rig) -> None:
    assert rig.beat("one") == (True, [])
    assert rig.beat("one") == (False, [])
    rig.client.flushall()
    rig.set_clock(START + 1)
    assert rig.beat("one") == (True, [])


def test_an_instance_is_dead_at_exactly_the_time_given(rig: Rig) -> None:
    rig.beat("one")
    rig.advance(9_999)
    assert rig.beat("two") == (True, [])
    rig.advance(1)
    assert rig.beat("two") == (False, ["one"])
    assert not rig.drain("two")
    assert rig.beat("two") == (False, ["one"])
    rig.drain("one")
    assert rig.beat("two") == (False, [])


def test_at_most_sixteen_dead_instances_are_named_at_a_time(rig: Rig) -> None:
    for at in range(20):
        rig.beat(f"i{at:02}")
    rig.advance(10_000)
    _, dead = rig.beat("me")
    assert len(dead) == 16
    for name in dead:
        rig.drain(name)
    assert len(rig.beat("me")[1]) == 4


def test_a_report_ends_with_the_instance(rig: Rig) -> None:
    rig.beat("quiet")
    assert not rig.client.exists(rig.keys.about("quiet"))
    rig.beat("one", dead=5_000, report="3 1.0")
    assert rig.client.get(rig.keys.about("one")) == "3 1.0"
    assert 0 < rig.client.pttl(rig.keys.about("one")) <= 5_000
