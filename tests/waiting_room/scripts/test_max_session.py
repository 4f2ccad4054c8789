"""The absolute end of a session."""

from __future__ import annotations

import pytest

from tests.waiting_room.rig import ALLOWED_IN, NONE, START, WAITING, Rig


@pytest.fixture
def rig(rig: Rig) -> Rig:
    """Sessions of 10 s, and of 25 s at most."""
    rig.set_rules(max_session=25_000)
    return rig


def renew_until(rig: Rig, user: str, at: int) -> None:
    while rig.now < START + at:
        rig.advance(min(5_000, START + at - rig.now))
        rig.gate(user)


def test_without_an_absolute_end_activity_renews_for_ever(rig: Rig) -> None:
    rig.set_rules(max_session=0)
    rig.lineup("ann")
    renew_until(rig, "ann", 3_600_000)
    assert rig.gate("ann") == [[ALLOWED_IN, 0, 0, 0, 10_000]]


def test_a_session_ends_to_the_millisecond_however_active_the_user_is(rig: Rig) -> None:
    assert rig.lineup("ann")[0][4] == 10_000
    renew_until(rig, "ann", 24_999)
    assert rig.gate("ann") == [[ALLOWED_IN, 0, 0, 0, 1]]
    assert rig.status("ann") == [[ALLOWED_IN, 0, 0, 0, 1]]
    assert rig.lineup("ann") == [[ALLOWED_IN, 0, 0, 0, 1]]
    rig.advance(1)
    assert rig.gate("ann")[0][0] == NONE
    assert rig.status("ann")[0][0] == NONE
    summary = rig.sweep()
    assert (summary.expired, summary.stays) == (1, (25.0,))
    assert rig.inside() == {}


def test_the_slot_goes_to_the_next_in_line(rig: Rig) -> None:
    rig.lineup("ann", "bob", "cid")
    renew_until(rig, "ann", 25_000)
    rig.sweep()
    assert rig.events()[-1] == ("ADMITTED", "cid", 1)
    assert "ann" not in rig.inside()


def test_answers_say_what_is_left_until_the_earlier_end(rig: Rig) -> None:
    rig.lineup("ann")
    renew_until(rig, "ann", 20_000)
    assert rig.gate("ann") == [[ALLOWED_IN, 0, 0, 0, 5_000]]


def test_a_user_promoted_from_the_line_has_the_whole_time(rig: Rig) -> None:
    rig.limits(paused=True)
    rig.lineup("ann")
    rig.advance(60_000)
    rig.limits(paused=False)
    assert rig.status("ann")[0][4] == 10_000
    rig.advance(5_000)
    rig.gate("ann")
    assert rig.status("ann")[0][4] == 10_000


def test_an_end_before_the_usual_one_is_what_admission_says(rig: Rig) -> None:
    rig.set_rules(max_session=3_000)
    assert rig.lineup("ann")[0][4] == 3_000


def test_a_change_holds_for_sessions_that_have_begun(rig: Rig) -> None:
    rig.lineup("ann")
    renew_until(rig, "ann", 12_000)
    rig.limits(rules="max_session=11000")
    assert rig.gate("ann")[0][0] == NONE


def test_lining_up_after_the_end_begins_a_new_session(rig: Rig) -> None:
    rig.lineup("ann")
    renew_until(rig, "ann", 25_000)
    assert rig.lineup("ann")[0][4] == 10_000
    assert rig.client.zscore(rig.keys.since, "ann") == rig.now


def test_a_session_of_an_older_system_counts_from_when_it_was_seen(rig: Rig) -> None:
    rig.client.hset(rig.keys.inside, "old", START // 1000)
    rig.sweep()
    renew_until(rig, "old", 24_999)
    assert rig.gate("old") == [[ALLOWED_IN, 0, 0, 0, 1]]
    rig.advance(1)
    assert rig.sweep().expired == 1


def test_while_an_older_system_is_followed_no_session_ends_so(rig: Rig) -> None:
    rig.follow = ("on", 60_000)
    rig.sweep()
    rig.lineup("ann")
    renew_until(rig, "ann", 40_000)
    assert rig.gate("ann")[0][0] == ALLOWED_IN


def test_one_step_ends_256(rig: Rig) -> None:
    rig.limits(capacity=1000, duration=100_000)
    users = [f"u{n}" for n in range(300)]
    rig.lineup(*users[:150])
    rig.lineup(*users[150:])
    rig.advance(25_000)
    first, second = rig.sweep(), rig.sweep()
    assert (first.expired, first.more, second.expired, second.more) == (256, True, 44, False)


def test_a_user_whose_session_is_over_waits_like_everybody(rig: Rig) -> None:
    rig.lineup("ann", "bob", "cid")
    renew_until(rig, "ann", 24_000)
    rig.sweep()
    rig.advance(1_000)
    rig.lineup("dan", "eve")
    assert rig.lineup("ann")[0][0] == WAITING
