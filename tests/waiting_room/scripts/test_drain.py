"""drain: what becomes of the streams of an instance that died."""

from __future__ import annotations

from tests.waiting_room.rig import START, Rig

ARRIVED = "arrived"


def queue(rig: Rig, *users: str) -> None:
    rig.limits(capacity=0)
    rig.beat("old")
    rig.lineup(*users)


def test_an_instance_that_beats_again_is_not_drained(rig: Rig) -> None:
    queue(rig, "ann")
    rig.beat("one")
    rig.presence("one", (ARRIVED, "ann"))
    rig.advance(10_000)
    rig.beat("one")
    rig.drain("one")
    assert rig.streams() == {"ann": 1}


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


def test_streams_and_their_clearing_up_publish_nothing(rig: Rig) -> None:
    queue(rig, "ann")
    rig.beat("one")
    rig.presence("one", (ARRIVED, "ann"))
    rig.advance(10_000)
    rig.drain("one")
    assert rig.events() == []
