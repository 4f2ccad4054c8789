"""presence, beat and drain: who has an open stream where, and what becomes of it when an instance dies."""

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


def test_an_instance_that_beats_again_is_not_drained(rig: Rig) -> None:
    queue(rig, "ann")
    rig.beat("one")
    rig.presence("one", (ARRIVED, "ann"))
    rig.advance(10_000)
    rig.beat("one")
    rig.drain("one")
    assert rig.streams() == {"ann": 1}


def test_at_most_sixteen_dead_instances_are_named_at_a_time(rig: Rig) -> None:
    for at in range(20):
        rig.beat(f"i{at:02}")
    rig.advance(10_000)
    _, dead = rig.beat("me")
    assert len(dead) == 16
    for name in dead:
        rig.drain(name)
    assert len(rig.beat("me")[1]) == 4


def test_a_dead_instances_streams_do_not_count_and_its_users_were_last_seen_at_its_last_beat(
    rig: Rig,
) -> None:
    queue(rig, "ann", "bob")
    rig.beat("one")
    rig.presence("one", (ARRIVED, "ann"), (ARRIVED, "bob"))
    rig.presence("two", (ARRIVED, "bob"))
    rig.advance(2_000)
    rig.beat("one")
    rig.advance(10_000)
    assert not rig.drain("one")
    assert rig.streams() == {"bob": 1}
    assert rig.absent()["ann"] == START + 2_000
    assert not rig.client.exists(rig.keys.here("one"))


def test_a_sighting_after_the_last_beat_stands(rig: Rig) -> None:
    queue(rig, "ann", "bob")
    rig.beat("one")
    rig.advance(1_500)
    # Bob's stream opens after the beat; Ann's browser asks for the status when the instance has just died.
    rig.presence("one", (ARRIVED, "ann"), (ARRIVED, "bob"))
    rig.advance(5_000)
    rig.status("ann")
    rig.advance(5_000)
    rig.drain("one")
    assert rig.absent() == {"ann": START + 6_500, "bob": START + 1_500}


def test_a_big_instance_is_drained_in_steps_and_learns_of_it_when_it_comes_back_meanwhile(rig: Rig) -> None:
    users = [f"u{n:03}" for n in range(600)]
    queue(rig)
    for at in range(0, 600, 200):
        rig.lineup(*users[at : at + 200])
    rig.beat("one")
    for at in range(0, 600, 200):
        rig.presence("one", *((ARRIVED, user) for user in users[at : at + 200]))
    rig.advance(10_000)
    assert rig.drain("one")
    assert len(rig.streams()) == 600 - 256
    assert rig.drain("one")
    assert rig.beat("one") == (True, ["old"])
    assert not rig.drain("one")
    assert len(rig.streams()) == 600 - 512
    rig.advance(10_000)
    assert not rig.drain("one")
    assert rig.streams() == {}
    assert rig.beat("one") == (True, ["old"])


def test_a_drain_is_finished_with_its_users_even_if_the_room_has_more_to_do(rig: Rig) -> None:
    queue(rig, "ann")
    rig.beat("one")
    rig.presence("one", (ARRIVED, "ann"))
    rig.advance(10_000)
    rig.client.hset(rig.keys.settings, "capacity", 5)
    assert rig.status("ann", sighting=False)[0][2] == 1
    assert not rig.drain("one")


def test_presence_and_drain_publish_nothing(rig: Rig) -> None:
    queue(rig, "ann")
    rig.beat("one")
    rig.presence("one", (ARRIVED, "ann"))
    rig.advance(10_000)
    rig.drain("one")
    assert rig.events() == []


def test_a_lock_is_held_for_longer_by_its_holder_only(rig: Rig) -> None:
    lock = rig.keys.sweep_lock
    assert rig.raw("hold", lock, "mine", 5_000, key_count=1) == 0
    rig.client.set(lock, "mine", px=100)
    assert rig.raw("hold", lock, "yours", 5_000, key_count=1) == 0
    assert rig.client.pttl(lock) <= 100
    assert rig.raw("hold", lock, "mine", 5_000, key_count=1) == 1
    assert rig.client.pttl(lock) > 1_000
