"""Parking: an absent user is skipped, keeps the ticket, and returns at the next sighting."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.waiting_room.rig import (
    ADMITTED,
    ALLOWED_IN,
    NONE,
    NOTHING,
    PLACE,
    START,
    WAITING,
    Rig,
    fill,
)

ABSENT = 60_000
HOLD = 1_800_000
SIGHTINGS: dict[str, Callable[[Rig, str], object]] = {
    "lineup": lambda rig, user: rig.lineup(user),
    "lineup that keeps": lambda rig, user: rig.lineup(user, relineup="keep"),
    "status": lambda rig, user: rig.status(user),
    "update of a stream": lambda rig, user: rig.status(user, sighting=False),
    "gate": lambda rig, user: rig.gate(user),
    "stream": lambda rig, user: rig.presence("one", ("arrived", user)),
}


def keep_sweeping(rig: Rig, seconds: int) -> None:
    for _ in range(seconds):
        rig.advance(1_000)
        rig.sweep()


@pytest.fixture
def parked(rig: Rig) -> Rig:
    """ann (1) and bob (2) are parked since the last call; cid (3), dan (4) and eve (5) wait. The room is full."""
    rig.lineup("in1", "in2")
    rig.limits(duration=10_000_000)
    rig.sweep()
    rig.lineup("ann", "bob")
    keep_sweeping(rig, 30)
    rig.lineup("cid", "dan", "eve")
    rig.presence("one", *(("arrived", user) for user in ("cid", "dan", "eve")))
    keep_sweeping(rig, 30)
    assert rig.waiting() == ["cid", "dan", "eve"]
    rig.events()
    return rig


def test_absent_users_are_parked_to_the_millisecond_and_no_event_is_sent(rig: Rig) -> None:
    rig.limits(capacity=0)
    rig.sweep()
    rig.lineup("ann", "bob")
    keep_sweeping(rig, 58)
    rig.status("bob")
    rig.advance(1_999)
    assert rig.sweep().parkings == 0
    rig.advance(1)
    summary = rig.sweep()
    assert (summary.parkings, summary.parked, summary.waiting, summary.evicted) == (1, 1, 1, 0)
    assert rig.parked() == {"ann": (1, rig.now)}
    assert rig.events() == []
    assert rig.tally()["parkings"] == 1


def test_parked_users_count_in_no_position_and_no_size(parked: Rig) -> None:
    assert parked.status("cid", "eve") == [[WAITING, 3, 1, 3, 0], [WAITING, 5, 3, 3, 0]]
    assert parked.lineup("new") == [[WAITING, 6, 4, 4, 0]]


def test_parked_users_are_in_no_key_of_older_systems(parked: Rig) -> None:
    assert not {"ann", "bob"} & {*parked.waiting(), *parked.inside()}


def test_parked_users_are_skipped(parked: Rig) -> None:
    parked.leave(("slot", "in1"))
    assert parked.events() == [("ADMITTED", "cid", 3)]
    assert set(parked.parked()) == {"ann", "bob"}


@pytest.mark.parametrize("sighting", SIGHTINGS)
def test_each_sighting_puts_a_parked_user_back_with_the_same_ticket(parked: Rig, sighting: str) -> None:
    parked.advance(1_000)
    SIGHTINGS[sighting](parked, "bob")
    assert parked.line() == [("bob", 2), ("cid", 3), ("dan", 4), ("eve", 5)]
    assert set(parked.parked()) == {"ann"}
    assert parked.absent()["bob"] == parked.now
    assert parked.tally()["returns"] == 1
    assert parked.events() == []


def test_the_answer_to_a_sighting_has_ticket_and_position(parked: Rig) -> None:
    assert parked.lineup("bob") == [[WAITING, 2, 1, 4, 0]]
    assert parked.status("ann") == [[WAITING, 1, 1, 5, 0]]
    assert parked.gate("bob") == [[WAITING, 2, 2, 5, 0]]


def test_a_second_lineup_moves_to_the_back_as_ever(parked: Rig) -> None:
    answers = parked.lineup("ann", "ann")
    assert answers == [[WAITING, 1, 1, 4, 0], [WAITING, 6, 4, 4, 0]]


def free_a_slot_past_the_line(rig: Rig) -> None:
    """The line is empty, and one slot is free, as it may be while users are parked."""
    rig.leave(*(("line", user) for user in rig.waiting()), ("slot", "in1"))
    rig.events()


@pytest.mark.parametrize(
    ("sighting", "code"),
    [
        ("lineup", ADMITTED),
        ("lineup that keeps", ADMITTED),
        ("status", ALLOWED_IN),
        ("update of a stream", ALLOWED_IN),
        ("gate", ALLOWED_IN),
        ("stream", None),
    ],
)
def test_a_user_who_returns_is_admitted_at_once_if_it_is_the_users_turn(
    parked: Rig, sighting: str, code: int | None
) -> None:
    free_a_slot_past_the_line(parked)
    answers = SIGHTINGS[sighting](parked, "bob")
    if code is not None:
        assert answers == [[code, 0, 0, 0, 10_000_000]]
    assert "bob" in parked.inside()
    assert parked.events() == [("ADMITTED", "bob", 2)]
    assert parked.activity()["bob"] == parked.now


def test_a_batch_at_the_gate_admits_as_many_as_there_are_slots(parked: Rig) -> None:
    free_a_slot_past_the_line(parked)
    answers = parked.gate("bob", "in2", "ann", "bob", "zoe", "ann")
    assert [answer[0] for answer in answers] == [ALLOWED_IN, ALLOWED_IN, WAITING, ALLOWED_IN, NONE, WAITING]
    assert set(parked.inside()) == {"in2", "bob"}
    assert parked.waiting() == ["ann"]


@pytest.mark.parametrize("paused", [False, True])
def test_a_newcomer_does_not_wait_for_parked_users(parked: Rig, paused: bool) -> None:
    free_a_slot_past_the_line(parked)
    parked.limits(paused=paused)
    assert parked.lineup("new")[0][0] == (WAITING if paused else ADMITTED)


def test_hold_counts_from_parking_and_then_the_place_is_lost(parked: Rig) -> None:
    parked.set_rules(hold=100_000)
    keep_sweeping(parked, 99)
    parked.advance(999)
    assert parked.sweep().evicted == 0
    parked.advance(1)
    summary = parked.sweep()
    assert (summary.evicted, summary.parked) == (2, 0)
    assert parked.events() == [("ABSENT", "ann", 1), ("ABSENT", "bob", 2)]
    assert parked.parked() == {}
    assert not parked.client.exists(parked.keys.tickets)
    assert parked.status("ann")[0][0] == NONE
    assert parked.lineup("ann")[0][:2] == [WAITING, 6]


def test_a_user_who_returned_is_parked_again_after_another_absence(parked: Rig) -> None:
    parked.status("ann")
    keep_sweeping(parked, 59)
    assert parked.waiting()[0] == "ann"
    keep_sweeping(parked, 1)
    assert parked.parked()["ann"] == (1, parked.now)


@pytest.mark.parametrize("reason", ["LEFT", "OPERATOR"])
@pytest.mark.parametrize(("what", "code"), [("line", PLACE), ("both", PLACE), ("slot", NOTHING)])
def test_a_parked_user_gives_up_the_place(parked: Rig, what: str, code: int, reason: str) -> None:
    assert parked.leave((what, "ann"), reason=reason) == [code]
    assert ("ann" in parked.parked()) is (code == NOTHING)
    assert parked.events() == ([(reason, "ann", 1)] if code == PLACE else [])


def test_after_a_time_without_sweeps_no_parked_user_loses_the_ticket_before_having_had_time_to_return(
    parked: Rig,
) -> None:
    parked.advance(HOLD)
    assert parked.sweep().evicted == 0
    keep_sweeping(parked, 59)
    assert set(parked.parked()) == {"ann", "bob"}
    keep_sweeping(parked, 1)
    assert parked.parked() == {}


def test_with_hold_zero_parked_users_are_removed_with_the_next_sweep(parked: Rig) -> None:
    parked.advance(1_000)
    assert parked.sweep(hold=0).evicted == 2


def test_one_step_parks_and_removes_256(rig: Rig) -> None:
    rig.limits(capacity=0)
    rig.sweep()
    users = [f"w{n:04}" for n in range(300)]
    rig.lineup(*users[:150])
    rig.lineup(*users[150:])
    keep_sweeping(rig, 59)
    rig.advance(1_000)
    first, second = rig.sweep(), rig.sweep()
    assert (first.parkings, first.more, second.parkings, second.more) == (256, True, 44, False)
    rig.set_rules(hold=10_000)
    keep_sweeping(rig, 9)
    rig.advance(1_000)
    first, second = rig.sweep(), rig.sweep()
    assert (first.evicted, first.more, second.evicted, second.more) == (256, True, 44, False)


# -- another system lines a parked user up again, or admits the user ----------------------------------------


def line_up_elsewhere(rig: Rig, user: str) -> None:
    ticket = rig.client.incr(rig.keys.counter)
    rig.client.zadd(rig.keys.line, {user: ticket})


@pytest.mark.parametrize("sighting", [*SIGHTINGS, "sweep"])
def test_the_lower_of_two_tickets_counts(parked: Rig, sighting: str) -> None:
    line_up_elsewhere(parked, "ann")
    assert parked.line()[-1] == ("ann", 6)
    if sighting == "sweep":
        parked.sweep()
    else:
        SIGHTINGS[sighting](parked, "ann")
    assert parked.line()[0] == ("ann", 1)
    assert "ann" not in parked.parked()
    assert parked.status("eve") == [[WAITING, 5, 4, 4, 0]]


def test_a_parked_user_who_is_promoted_from_a_higher_ticket_is_parked_no_longer(parked: Rig) -> None:
    line_up_elsewhere(parked, "ann")
    parked.limits(capacity=6)
    assert set(parked.inside()) == {"in1", "in2", "cid", "dan", "eve", "ann"}
    assert set(parked.parked()) == {"bob"}
    assert parked.client.zrange(parked.keys.tickets, 0, -1) == ["bob"]


@pytest.mark.parametrize("script", ["lineup", "status", "sweep", "leave"])
def test_a_parked_user_who_was_admitted_elsewhere_is_parked_no_longer(parked: Rig, script: str) -> None:
    parked.client.hset(parked.keys.inside, "ann", parked.now // 1000)
    {
        "lineup": lambda: parked.lineup("ann"),
        "status": lambda: parked.status("ann"),
        "sweep": parked.sweep,
        "leave": lambda: parked.leave(("line", "ann")),
    }[script]()
    assert "ann" in parked.inside()
    assert set(parked.parked()) == {"bob"}
    assert parked.events() == [("ADMITTED", "ann", 1)]


def test_a_hold_that_ends_does_not_end_a_place_given_elsewhere(parked: Rig) -> None:
    keep_sweeping(parked, HOLD // 1000 - 1)
    line_up_elsewhere(parked, "ann")
    parked.advance(1_000)
    parked.sweep(scan=0)
    assert parked.line()[0] == ("ann", 1)
    assert parked.events() == [("ABSENT", "bob", 2)]


def test_while_an_older_system_is_followed_no_user_is_parked_or_removed(parked: Rig) -> None:
    parked.follow = ("on", 60_000)
    parked.presence("one", ("departed", "cid"))
    keep_sweeping(parked, HOLD // 1000 + 100)
    assert set(parked.parked()) == {"ann", "bob"}
    assert parked.waiting() == ["cid", "dan", "eve"]


# -- what can't be read ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [None, float("inf"), float("-inf"), 1e300])
def test_a_parked_user_whose_ticket_is_unusable_returns_at_the_end(parked: Rig, bad: float | None) -> None:
    if bad is None:
        parked.client.delete(parked.keys.tickets)
    else:
        parked.client.zadd(parked.keys.tickets, {"ann": bad})
    assert parked.status("ann") == [[WAITING, 6, 4, 4, 0]]
    assert parked.lineup("new")[0][:2] == [WAITING, 7]


def test_no_ticket_is_given_twice_even_if_the_counter_was_lost(parked: Rig) -> None:
    parked.leave(*(("line", user) for user in ("cid", "dan", "eve")))
    parked.client.delete(parked.keys.counter)
    assert parked.lineup("new", "bob", "other") == [
        [WAITING, 3, 1, 1, 0],
        [WAITING, 2, 1, 2, 0],
        [WAITING, 4, 3, 3, 0],
    ]


def test_a_user_who_was_parked_in_the_future_was_parked_now(parked: Rig) -> None:
    parked.client.zadd(parked.keys.parked, {"ann": START * 2})
    parked.sweep()
    assert parked.parked()["ann"] == (1, parked.now)


def test_many_parked_users_are_looked_at_in_turn(rig: Rig) -> None:
    users = [f"p{n:04}" for n in range(2000)]
    fill(rig, rig.keys.parked, [(user, START) for user in users], "zset")
    fill(rig, rig.keys.tickets, [(user, n) for n, user in enumerate(users, 1)], "zset")
    fill(rig, rig.keys.line, [(user, 5_000 + n) for n, user in enumerate(users)], "zset")
    rig.limits(paused=True)
    for _ in range(10):
        rig.sweep()
    assert rig.parked() == {}
    assert rig.line() == [(user, n) for n, user in enumerate(users, 1)]


@pytest.mark.parametrize(
    "rules", ["absent=x hold=y", "=", "absent", "absent=-5 hold=-5", "hold=1e99", "nonsense"]
)
def test_unusable_settings_count_as_the_defaults(rig: Rig, rules: str) -> None:
    rig.client.hset(rig.keys.settings, "rules", rules)
    rig.limits(capacity=0)
    rig.sweep()
    rig.lineup("ann")
    keep_sweeping(rig, 59)
    assert rig.waiting() == ["ann"]
    keep_sweeping(rig, 1)
    assert rig.parked() == {"ann": (1, rig.now)}


def test_estimates_do_not_count_parked_users_and_returns_make_none_rise_without_cause(rig: Rig) -> None:
    rig.limits(duration=10_000)
    rig.sweep()
    rig.lineup("in1", "in2")
    rig.lineup(*(f"w{n}" for n in range(8)))
    rig.presence("one", *(("arrived", f"w{n}") for n in range(4, 8)))
    for _ in range(30):
        keep_sweeping(rig, 1)
    before = rig.run("status", "0").summary
    assert before.rate > 0
    rig.status("w0")
    after = rig.run("status", "0").summary
    assert after.rate == before.rate
    assert after.abandon_rate == before.abandon_rate
