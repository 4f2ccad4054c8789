"""Following an older system: how it is recognised, what is left to it, and how it ends."""

from __future__ import annotations

from itertools import count

import pytest

from gateway.waiting_room.state import Sign
from tests.waiting_room.rig import ALLOWED_IN, NONE, NOTHING, SLOT, START, WAITING, Rig

SECOND = START // 1000
FOLLOW = 60_000
NOTIFICATIONS = "job-lock:default:notifyQueueStatusUpdates"
SWEEPS = ("job-lock:default:allowedInUserIdsCleanup", "job-lock:default:allowedInTokenCleanup")
ABSENT = 60_000

runs = count()


@pytest.fixture
def rig(rig: Rig) -> Rig:
    """A room that looks for an older system, with a line that the older system made: ann and bob are in."""
    rig.follow = ("auto", FOLLOW)
    rig.client.hset(rig.keys.inside, mapping={"ann": SECOND, "bob": SECOND})
    rig.client.zadd(rig.keys.line, {"cid": 1, "dan": 2, "eve": 3})
    rig.client.set(rig.keys.counter, 3)
    return rig


def take(rig: Rig, lock: str) -> None:
    """What a run of the older system's schedulers writes into their lock."""
    rig.client.set(lock, f"ADDED:run-{next(runs)}@host")


def followed(rig: Rig) -> Rig:
    """The room after a sweep that saw the older system, without what was published."""
    take(rig, NOTIFICATIONS)
    following = rig.sweep().following
    assert following is not None
    assert following.sign is Sign.NOTIFICATIONS
    rig.events()
    return rig


def watching(rig: Rig, *users: str) -> None:
    rig.presence("here", *(("arrived", user) for user in users))


def sweeps(rig: Rig, seconds: int, absent: int = 0) -> None:
    for _ in range(seconds):
        rig.advance(1_000)
        rig.sweep(absent)


@pytest.mark.parametrize("lock", [NOTIFICATIONS, *SWEEPS])
def test_a_lock_of_its_schedulers_shows_that_it_runs(rig: Rig, lock: str) -> None:
    take(rig, lock)
    rig.advance(20_000)
    summary = rig.sweep()
    assert summary.following is not None
    assert summary.following.since == summary.following.last_sign == rig.now / 1000
    assert (summary.expired, summary.promoted, summary.more) == (0, 0, False)
    assert rig.waiting() == ["cid", "dan", "eve"]
    assert rig.inside().keys() == {"ann", "bob"}


@pytest.mark.parametrize(("lock", "seconds"), [(NOTIFICATIONS, 60), (SWEEPS[0], 330)])
def test_it_is_gone_so_long_after_its_last_sign_and_then_all_rules_hold_in_the_same_call(
    rig: Rig, lock: str, seconds: int
) -> None:
    take(rig, lock)
    rig.sweep()
    sweeps(rig, seconds - 1)
    assert rig.waiting() == ["cid", "dan", "eve"]
    sweeps(rig, 1)
    assert rig.waiting() == ["eve"]
    assert rig.inside().keys() == {"cid", "dan"}
    assert rig.events() == [("ADMITTED", "cid", 1), ("ADMITTED", "dan", 2)]
    # What it left behind is no new sign.
    sweeps(rig, 3)
    assert rig.sweep().following is None


def test_each_run_of_its_notifications_is_a_new_sign(rig: Rig) -> None:
    followed(rig)
    for _ in range(20):
        sweeps(rig, 10)
        take(rig, NOTIFICATIONS)
    sweeps(rig, 59)
    following = rig.sweep().following
    assert following is not None
    assert following.since == SECOND
    assert following.last_sign == SECOND + 201
    sweeps(rig, 2)
    assert rig.sweep().following is None


def test_where_notifications_are_seen_a_sweep_is_not_waited_for(rig: Rig) -> None:
    take(rig, SWEEPS[0])
    rig.sweep()
    sweeps(rig, 5)
    take(rig, NOTIFICATIONS)
    sweeps(rig, 1)
    take(rig, SWEEPS[0])
    sweeps(rig, 61)
    assert rig.sweep().following is None


def test_a_lock_that_stays_for_ever_counts_once(rig: Rig) -> None:
    for lock in (NOTIFICATIONS, SWEEPS[0]):
        take(rig, lock)
    followed(rig)
    sweeps(rig, 61)
    for _ in range(3):
        sweeps(rig, 100)
        assert rig.sweep().following is None
    # Not even after a time in which nobody swept, since nobody is unknown any more.
    rig.advance(3_600_000)
    rig.sweep()
    assert rig.sweep().following is None


@pytest.mark.parametrize("kind", ["list", "empty"])
def test_a_lock_that_is_something_else_says_nothing(rig: Rig, kind: str) -> None:
    rig.client.delete(rig.keys.inside, rig.keys.line)
    for lock in (NOTIFICATIONS, *SWEEPS):
        if kind == "list":
            rig.client.lpush(lock, "x")
        else:
            rig.client.set(lock, "")
    assert rig.sweep().following is None


def test_of_a_very_long_lock_little_is_kept(rig: Rig) -> None:
    rig.client.set(NOTIFICATIONS, "x" * 1_000_000)
    assert rig.sweep().following is not None
    assert sum(map(len, rig.client.hgetall(rig.keys.settings).values())) < 500


@pytest.mark.parametrize("first", ["configure", "sweep"])
@pytest.mark.parametrize("unknown", ["in the hash", "in line"])
def test_at_the_first_look_users_whom_nobody_knows_are_left_alone_for_as_long_as_a_sign_takes(
    rig: Rig, first: str, unknown: str
) -> None:
    if unknown == "in line":
        rig.client.delete(rig.keys.inside)
    else:
        rig.client.hset(rig.keys.inside, mapping={"ann": SECOND - 100, "bob": SECOND - 100})
        rig.client.zadd(rig.keys.absent, {"cid": START, "dan": START, "eve": START})
    if first == "configure":
        rig.configure(5, 10_000)
    rig.capacity = 5
    following = rig.sweep().following
    assert following is not None
    assert following.sign is Sign.STRANGERS
    sweeps(rig, 14)
    assert rig.waiting() == ["cid", "dan", "eve"]
    sweeps(rig, 1)
    assert rig.waiting() == []


@pytest.mark.parametrize("known", ["sighted", "streams"])
def test_a_room_of_our_own_is_swept_at_once_after_a_time_without_a_sweep(rig: Rig, known: str) -> None:
    rig.client.flushall()
    rig.set_clock(rig.now)
    rig.limits(paused=True)
    rig.lineup("ann", "bob", "cid")
    if known == "streams":
        watching(rig, "ann", "bob", "cid")
        rig.client.delete(rig.keys.absent)
    rig.limits(paused=False, capacity=2)
    assert rig.sweep().following is None
    rig.advance(3_600_000)
    assert rig.sweep().following is None
    assert rig.waiting() == []


def test_the_first_call_of_an_instance_looks_before_it_promotes(rig: Rig) -> None:
    take(rig, NOTIFICATIONS)
    summary = rig.configure(5, 10_000).summary
    assert summary.following is not None
    assert summary.promoted == 0


def test_a_user_whom_the_older_system_queues_shows_that_it_runs(rig: Rig) -> None:
    rig.client.delete(rig.keys.line, rig.keys.inside)
    rig.lineup("ann", "bob", "cid")
    sweeps(rig, 2)
    rig.lineup("dan")
    sweeps(rig, 1)
    assert rig.sweep().following is None
    rig.advance(1_000)
    rig.client.zadd(rig.keys.line, {"old": rig.client.incr(rig.keys.counter)})
    following = rig.sweep().following
    assert following is not None
    assert following.sign is Sign.LINEUP
    sweeps(rig, 59)
    assert rig.sweep().following is not None
    sweeps(rig, 1)
    assert rig.sweep().following is None


def test_a_user_whom_an_operator_writes_into_the_hash_shows_nothing(rig: Rig) -> None:
    rig.client.delete(rig.keys.line, rig.keys.inside)
    rig.lineup("ann", "bob", "cid")
    rig.sweep()
    rig.advance(1_000)
    rig.client.hset(rig.keys.inside, "guest", rig.now // 1000)
    assert rig.sweep().following is None


def test_sessions_that_it_renews_prolong_it(rig: Rig) -> None:
    followed(rig)
    sweeps(rig, 50)
    rig.client.hset(rig.keys.inside, "ann", rig.now // 1000)
    sweeps(rig, 59)
    assert rig.sweep().following is not None
    # What is renewed here is no sign of it.
    rig.gate("ann")
    sweeps(rig, 1)
    assert rig.sweep().following is None


def test_a_time_without_a_sweep_is_no_time_without_a_sign(rig: Rig) -> None:
    followed(rig)
    rig.advance(3_600_000)
    assert rig.sweep().following is not None
    sweeps(rig, 59)
    assert rig.sweep().following is not None
    sweeps(rig, 1)
    assert rig.sweep().following is None


def test_the_setting_forces_it(rig: Rig) -> None:
    rig.follow = ("on", FOLLOW)
    sweeps(rig, 500)
    following = rig.sweep().following
    assert following is not None
    assert following.sign is Sign.SETTING
    rig.follow = ("off", FOLLOW)
    take(rig, NOTIFICATIONS)
    assert rig.sweep().following is None
    assert rig.waiting() == ["eve"]


def test_from_on_to_auto_it_ends_in_time(rig: Rig) -> None:
    rig.follow = ("on", FOLLOW)
    rig.sweep()
    rig.follow = ("auto", FOLLOW)
    sweeps(rig, 59)
    following = rig.sweep().following
    assert following is not None
    assert following.sign is Sign.SETTING
    sweeps(rig, 1)
    assert rig.sweep().following is None


# -- what is left to it ---------------------------------------------------------------------------------------


def test_its_sessions_last_until_it_ends_them(rig: Rig) -> None:
    followed(rig)
    rig.advance(500_000)
    assert rig.status("ann")[0][:3] == [ALLOWED_IN, 0, 0]
    assert rig.lineup("ann")[0][0] == ALLOWED_IN
    assert rig.gate("ann")[0] == [ALLOWED_IN, 0, 0, 3, 10_000]
    assert rig.inside()["ann"] == str(rig.now // 1000)
    assert rig.inside()["bob"] == str(SECOND)


def test_while_following_no_user_is_absent_and_afterwards_the_time_begins_anew(rig: Rig) -> None:
    followed(rig)
    rig.lineup("fay")
    sweeps(rig, 58, ABSENT)
    take(rig, NOTIFICATIONS)
    sweeps(rig, 60, ABSENT)
    assert "fay" in rig.waiting()
    rig.limits(paused=True)
    sweeps(rig, 59, ABSENT)
    assert "fay" in rig.waiting()
    sweeps(rig, 1, ABSENT)
    assert "fay" not in rig.waiting()


def test_a_new_user_is_admitted_only_into_a_free_slot_without_a_line(rig: Rig) -> None:
    followed(rig)
    rig.client.hdel(rig.keys.inside, "ann")
    assert rig.lineup("fay")[0][:3] == [WAITING, 4, 4]
    rig.client.delete(rig.keys.line)
    assert rig.lineup("gil")[0][0] == 3
    assert rig.lineup("hal")[0][0] == WAITING
    assert rig.inside().keys() == {"bob", "gil"}


def test_a_slot_given_up_here_waits_for_its_sweep_if_only_it_can_tell_the_next(rig: Rig) -> None:
    followed(rig)
    assert rig.leave(("slot", "ann")) == [SLOT]
    assert rig.inside() == {"ann": "0", "bob": str(SECOND)}
    assert rig.waiting() == ["cid", "dan", "eve"]
    assert rig.status("ann")[0][0] == NONE
    assert rig.gate("ann")[0][0] == NONE
    assert rig.leave(("slot", "ann")) == [NOTHING]
    assert rig.lineup("ann")[0][:3] == [WAITING, 4, 4]
    sweeps(rig, 3)
    assert rig.status("ann")[0][0] == WAITING
    assert rig.tally()["left"] == 1
    assert rig.events() == []
    # In the older system a call renews whatever is in the hash.
    rig.client.hset(rig.keys.inside, "ann", rig.now // 1000)
    assert rig.gate("ann")[0][0] == ALLOWED_IN
    assert rig.events() == [("ADMITTED", "ann", 4)]


def test_a_slot_given_up_here_goes_to_the_next_user_with_a_stream_here(rig: Rig) -> None:
    followed(rig)
    watching(rig, "cid", "eve")
    assert rig.leave(("slot", "ann"), ("slot", "bob")) == [SLOT, SLOT]
    assert rig.events() == [("ADMITTED", "cid", 1)]
    assert rig.inside() == {"bob": "0", "cid": str(SECOND)}
    assert rig.waiting() == ["dan", "eve"]


def test_without_a_line_a_slot_given_up_is_free(rig: Rig) -> None:
    rig.client.delete(rig.keys.line)
    followed(rig)
    assert rig.leave(("slot", "ann")) == [SLOT]
    assert rig.inside().keys() == {"bob"}


def test_a_paused_room_gives_no_slot_to_new_users_of_the_older_system(rig: Rig) -> None:
    followed(rig)
    watching(rig, "cid")
    rig.limits(paused=True)
    assert rig.leave(("slot", "ann")) == [SLOT]
    assert rig.inside()["ann"] == "0"


def test_a_larger_capacity_admits_from_the_head_users_with_a_stream_here(rig: Rig) -> None:
    followed(rig)
    watching(rig, "cid", "dan", "fay")
    rig.client.zadd(rig.keys.line, {"fay": 4})
    summary = rig.limits(capacity=20)
    assert (summary.promoted, summary.more) == (2, False)
    assert rig.events() == [("ADMITTED", "cid", 1), ("ADMITTED", "dan", 2)]
    assert rig.waiting() == ["eve", "fay"]
    watching(rig, "eve")
    assert rig.sweep().promoted == 2
    assert rig.events() == [("ADMITTED", "eve", 3), ("ADMITTED", "fay", 4)]


def test_places_are_given_up_as_ever(rig: Rig) -> None:
    followed(rig)
    assert rig.leave(("line", "dan")) == [2]
    assert rig.events() == [("LEFT", "dan", 2)]
    assert rig.waiting() == ["cid", "eve"]


def test_users_with_a_stream_here_are_counted(rig: Rig) -> None:
    followed(rig)
    watching(rig, "cid", "dan")
    following = rig.sweep().following
    assert following is not None
    assert following.streams == 2


def test_what_it_admits_says_nothing_of_the_pace(rig: Rig) -> None:
    rig.follow = ("off", FOLLOW)
    rig.limits(capacity=1, duration=10_000)
    rig.lineup(*(f"u{n}" for n in range(30)))
    sweeps(rig, 100)
    before = rig.sweep().rate
    rig.follow = ("auto", FOLLOW)
    followed(rig)
    for _ in range(10):
        sweeps(rig, 50)
        take(rig, NOTIFICATIONS)
    assert rig.sweep().rate == pytest.approx(before, rel=0.01)


@pytest.mark.parametrize("field", ["older_until", "older_seen", "older_sign", "older_since"])
@pytest.mark.parametrize("bad", ["", "x", "nan", "1e300"])
def test_an_unusable_memory_of_it_ends_in_time(rig: Rig, field: str, bad: str) -> None:
    followed(rig)
    rig.client.hset(rig.keys.settings, field, bad)
    rig.sweep()
    sweeps(rig, 62)
    assert rig.sweep().following is None
