"""limits: an operator changes, pauses and resumes a room."""

from __future__ import annotations

from tests.waiting_room.rig import Rig, fill


def stored(rig: Rig) -> tuple[str | None, ...]:
    return tuple(rig.client.hmget(rig.keys.settings, "capacity", "duration_ms"))


def test_a_higher_capacity_admits_at_once(rig: Rig) -> None:
    rig.lineup("ann", "bob", "cid", "dan", "eve")
    summary = rig.limits(capacity=4)
    assert (summary.promoted, summary.waiting, summary.allowed_in) == (2, 1, 4)
    assert rig.events() == [("ADMITTED", "cid", 1), ("ADMITTED", "dan", 2)]


def test_a_lower_capacity_ends_no_session(rig: Rig) -> None:
    rig.lineup("ann", "bob", "cid")
    summary = rig.limits(capacity=1)
    assert (summary.allowed_in, summary.waiting, summary.more) == (2, 1, False)
    assert rig.events() == []


def test_capacity_zero_closes_the_room_to_new_users(rig: Rig) -> None:
    rig.limits(capacity=0)
    rig.lineup("ann")
    assert rig.waiting() == ["ann"]


def test_another_duration_holds_for_those_inside_too(rig: Rig) -> None:
    rig.lineup("ann")
    rig.advance(5_000)
    rig.limits(duration=6_000)
    assert rig.status("ann")[0][4] == 1_000
    rig.advance(1_000)
    assert rig.sweep().expired == 1


def test_pausing_stops_admissions_and_resuming_admits_at_once(rig: Rig) -> None:
    rig.lineup("ann", "bob", "cid")
    assert rig.limits(paused=True).paused
    rig.leave(("slot", "ann"))
    assert rig.waiting() == ["cid"]
    summary = rig.limits(paused=False)
    assert (summary.paused, summary.promoted) == (False, 1)


def test_pausing_alone_is_no_override_of_the_limits(rig: Rig) -> None:
    rig.configure(2, 10_000)
    rig.limits(paused=True)
    rig.configure(5, 10_000)
    assert stored(rig) == ("5", "10000")


def test_one_call_admits_256_and_says_that_there_is_more(rig: Rig) -> None:
    rig.limits(capacity=0)
    fill(rig, rig.keys.line, [(f"w{n:03}", n + 1) for n in range(600)], "zset")
    summary = rig.limits(capacity=1000)
    assert (summary.promoted, summary.more) == (256, True)
    assert [rig.sweep().promoted for _ in range(2)] == [256, 88]


def test_lifting_goes_back_to_what_the_last_instance_was_given(rig: Rig) -> None:
    rig.configure(2, 10_000)
    rig.limits(capacity=5, duration=50_000)
    rig.configure(3, 30_000)
    # Whichever instance the operator asks, and whatever that one was given.
    rig.capacity, rig.duration = 2, 10_000
    summary = rig.limits(lift=True)
    assert (summary.capacity, summary.duration) == (3, 30.0)
    rig.configure(4, 30_000)
    assert stored(rig) == ("4", "30000")


def test_lifting_and_setting_in_one_call_lifts_first(rig: Rig) -> None:
    rig.configure(2, 10_000)
    rig.limits(capacity=5, duration=50_000)
    summary = rig.limits(capacity=9, lift=True)
    assert (summary.capacity, summary.duration) == (9, 10.0)
    assert rig.configure(3, 10_000).answers[0][2] == "override"


def test_lifting_where_no_instance_ever_said_takes_the_callers_limits(rig: Rig) -> None:
    rig.limits(capacity=5)
    summary = rig.limits(lift=True)
    assert (summary.capacity, summary.duration) == (2, 10.0)


def test_one_limit_may_be_lifted_and_the_other_stands(rig: Rig) -> None:
    rig.configure(2, 10_000)
    rig.limits(capacity=5, duration=50_000)
    rig.configure(3, 30_000)
    summary = rig.limits(capacity="lift")
    assert (summary.capacity, summary.duration) == (3, 50.0)
    assert rig.configure(4, 20_000).answers[0][2] == "override"
    assert stored(rig) == ("4", "50000")
    summary = rig.limits(duration="lift")
    assert (summary.capacity, summary.duration) == (4, 20.0)
    assert rig.configure(5, 20_000).answers[0][2] == ""
    assert rig.client.hmget(rig.keys.settings, "override", "override_except") == [None, None]


def test_lifting_a_limit_admits_at_once_and_is_in_the_audit(rig: Rig) -> None:
    rig.configure(2, 10_000)
    rig.limits(capacity=0)
    rig.lineup("ann")
    assert rig.limits(capacity="lift").promoted == 1
    last = rig.client.xrevrange(rig.keys.audit, count=1)[0][1]
    assert {name: last[name] for name in ("act", "setting", "from", "to")} == {
        "act": "lift",
        "setting": "capacity",
        "from": "0",
        "to": "2",
    }
