"""Redis at maxmemory with noeviction: what removes, moves or looks still works; only new users are refused."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from tests.waiting_room.rig import ADMITTED, ALLOWED_IN, FULL, PLACE, SLOT, WAITING, Rig

HERE = "one"


@pytest.fixture
def full(rig: Rig) -> Iterator[Rig]:
    """A room with two users inside, four in line and one stream, on a Redis that has no memory left."""
    rig.beat(HERE)
    rig.lineup("in1", "in2", "w1", "w2", "w3", "w4")
    rig.presence(HERE, ("arrived", "w1"))
    rig.sweep()
    rig.events()
    rig.set_memory_full(True)
    with pytest.raises(redis.exceptions.OutOfMemoryError):
        rig.client.set("more", "memory")
    yield rig
    rig.set_memory_full(False)


def test_statuses_and_sightings_work(full: Rig) -> None:
    full.advance(1_000)
    assert [answer[0] for answer in full.status("in1", "w1", "w4")] == [ALLOWED_IN, WAITING, WAITING]
    assert full.absent()["w4"] == full.now


def test_the_gate_renews_sessions(full: Rig) -> None:
    full.advance(9_000)
    assert [answer[0] for answer in full.gate("in1", "w1")] == [ALLOWED_IN, WAITING]
    full.advance(9_000)
    assert full.status("in1")[0][0] == ALLOWED_IN


def test_sessions_end_and_the_line_moves_on_without_any_leave(full: Rig) -> None:
    full.advance(10_000)
    summary = full.sweep()
    assert (summary.expired, summary.promoted) == (2, 2)
    assert list(full.inside()) == ["w1", "w2"]
    assert full.waiting() == ["w3", "w4"]
    assert [(kind, user) for kind, user, _ in full.events()] == [("ADMITTED", "w1"), ("ADMITTED", "w2")]


def test_users_leave_and_the_next_are_admitted(full: Rig) -> None:
    assert full.leave(("slot", "in1"), ("line", "w2")) == [SLOT, PLACE]
    assert (set(full.inside()), full.waiting()) == ({"in2", "w1"}, ["w3", "w4"])
    assert full.leave(("both", "w3"), reason="OPERATOR") == [PLACE]


def test_absent_users_are_evicted_and_those_with_a_stream_stay(full: Rig) -> None:
    for _ in range(70):
        full.advance(1_000)
        full.gate("in1", "in2")
        full.beat(HERE)
        full.sweep(absent=60_000)
    assert full.waiting() == ["w1"]


def test_a_new_user_is_refused_and_nothing_is_written(full: Rig) -> None:
    before = full.everything()
    assert full.lineup("new1", "new2") == [[FULL, 0, 0, 4, 0]] * 2
    assert full.everything() == before
    assert full.lineup("new1", relineup="keep") == [[FULL, 0, 0, 4, 0]]


def test_a_new_user_is_refused_even_with_a_slot_free(full: Rig) -> None:
    full.limits(capacity=10)
    assert full.waiting() == []
    assert full.lineup("new")[0][0] == FULL
    full.set_memory_full(False)
    assert full.lineup("new")[0][0] == ADMITTED


def test_a_lineup_of_a_user_with_a_place_is_answered(full: Rig) -> None:
    answers = full.lineup("in1", "w2", "new", relineup="keep")
    assert [answer[0] for answer in answers] == [ALLOWED_IN, WAITING, FULL]
    assert full.lineup("w1")[0][:3] == [WAITING, 5, 4]
    assert full.waiting() == ["w2", "w3", "w4", "w1"]


def test_in_one_call_a_slot_that_a_lineup_frees_goes_to_the_line_and_not_to_new_users(full: Rig) -> None:
    full.advance(10_000)
    answers = full.lineup("in1", "new")
    assert [answer[0] for answer in answers] == [FULL, FULL]
    assert "w1" in full.inside()
    assert "in1" not in full.inside()


def test_operators_pause_resume_and_change_limits(full: Rig) -> None:
    assert full.limits(paused=True).paused
    full.leave(("slot", "in1"))
    assert len(full.waiting()) == 4
    summary = full.limits(capacity=3, paused=False)
    assert (summary.allowed_in, summary.waiting) == (3, 2)


def test_instances_beat_tell_of_streams_start_and_are_drained(full: Rig) -> None:
    assert full.configure(2, 20_000).summary.duration == 20.0
    full.beat("two")
    full.presence("two", ("arrived", "w2"), ("departed", "w2"))
    full.presence("two", ("arrived", "w3"))
    assert full.streams() == {"w1": 1, "w3": 1}
    full.advance(20_000)
    _, dead = full.beat("three")
    assert dead == [HERE, "two"]
    for instance in dead:
        assert not full.drain(instance)
    assert full.streams() == {}


def test_what_an_older_system_wrote_is_reconciled(full: Rig) -> None:
    full.client.hdel(full.keys.inside, "in1")
    full.client.zrem(full.keys.activity, "in2")
    full.client.delete(full.keys.settings, full.keys.pace, full.keys.tally)
    assert full.sweep().promoted == 1
    assert set(full.inside()) == {"in2", "w1"} <= set(full.activity())


def test_locks_are_taken_and_held(full: Rig) -> None:
    lock = full.keys.sweep_lock
    assert full.raw("lock", lock, "me", 60_000, key_count=1) == 1
    assert full.raw("lock", lock, "you", 60_000, key_count=1) == 0
    assert full.raw("hold", lock, "me", 60_000, key_count=1) == 1
    assert full.raw("hold", lock, "you", 60_000, key_count=1) == 0
    assert 0 < full.client.pttl(lock) <= 60_000


def test_with_memory_again_all_goes_on_and_no_user_is_lost(full: Rig) -> None:
    full.advance(5_000)
    full.gate("in1")
    full.advance(6_000)
    full.sweep()
    assert full.lineup("new")[0][0] == FULL
    full.set_memory_full(False)
    assert full.lineup("new")[0][:3] == [WAITING, 5, 4]
    assert set(full.inside()) == {"in1", "w1"}
    assert full.waiting() == ["w2", "w3", "w4", "new"]
