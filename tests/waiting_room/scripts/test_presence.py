"""presence: who has an open stream at which instance."""

from __future__ import annotations

from tests.waiting_room.rig import START, Rig

ARRIVED, DEPARTED = "arrived", "departed"


def queue(rig: Rig, *users: str) -> None:
    rig.limits(capacity=0)
    rig.beat("old")
    rig.lineup(*users)


def test_saying_the_same_twice_changes_nothing(rig: Rig) -> None:
    queue(rig, "ann")
    for _ in range(2):
        rig.presence("one", (ARRIVED, "ann"), (ARRIVED, "ann"))
        assert rig.streams() == {"ann": 1}
    for _ in range(2):
        rig.presence("one", (DEPARTED, "ann"), (DEPARTED, "ann"))
        assert rig.streams() == {}


def test_streams_at_several_instances_are_counted(rig: Rig) -> None:
    queue(rig, "ann")
    rig.presence("one", (ARRIVED, "ann"))
    rig.presence("two", (ARRIVED, "ann"))
    assert rig.streams() == {"ann": 2}
    rig.presence("one", (DEPARTED, "ann"))
    assert rig.streams() == {"ann": 1}


def test_coming_and_going_in_one_batch_keeps_the_order(rig: Rig) -> None:
    queue(rig, "ann", "bob")
    rig.presence("one", (ARRIVED, "ann"), (DEPARTED, "ann"), (DEPARTED, "bob"), (ARRIVED, "bob"))
    assert rig.streams() == {"bob": 1}


def test_a_count_that_is_no_number_is_put_right(rig: Rig) -> None:
    queue(rig, "ann")
    rig.client.hset(rig.keys.streams, "ann", "many")
    rig.presence("one", (ARRIVED, "ann"))
    assert rig.streams() == {"ann": 1}


def test_arriving_and_departing_are_sightings_of_those_in_line_only(rig: Rig) -> None:
    queue(rig, "ann")
    rig.advance(3_000)
    rig.presence("one", (ARRIVED, "ann"), (ARRIVED, "zoe"))
    assert rig.absent() == {"ann": START + 3_000}
    rig.advance(3_000)
    rig.presence("one", (DEPARTED, "ann"), (DEPARTED, "zoe"))
    assert rig.absent() == {"ann": START + 6_000}
