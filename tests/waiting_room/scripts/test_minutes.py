"""The report: each change is counted in one minute, whichever instance sweeps."""

from __future__ import annotations

import pytest

from gateway.waiting_room.report import MAX_MINUTES, Minute, parse_report
from tests.waiting_room.rig import SLOT, START, Rig

MINUTE = 60_000
FIRST = START - START % MINUTE


def report(rig: Rig, minutes: int = MAX_MINUTES) -> list[Minute]:
    before = rig.everything()
    answers = rig.run("report", minutes, keys=[rig.keys.watch, rig.keys.minutes]).answers
    assert rig.everything() == before
    return parse_report([None, *answers], minutes)


def next_minute(rig: Rig) -> None:
    rig.set_clock(rig.now - rig.now % MINUTE + MINUTE)


def numbers(minute: Minute) -> tuple[int, ...]:
    return (minute.arrivals, minute.admissions, minute.left, minute.parked, minute.evicted)


def test_the_first_sweep_counts_what_was_before_it(rig: Rig) -> None:
    rig.lineup("ann", "bob", "cid")
    assert [numbers(minute) for minute in report(rig)] == [(3, 2, 0, 0, 0)]
    rig.sweep()
    (only,) = report(rig)
    assert (only.at, numbers(only), only.waiting, only.inside) == (FIRST, (3, 2, 0, 0, 0), 1, 2)


def test_each_change_is_in_the_minute_in_which_it_happened(rig: Rig) -> None:
    rig.sweep()
    rig.lineup("ann", "bob", "cid", "dan")
    next_minute(rig)
    rig.sweep()
    # The sessions of ten seconds are over at this sweep, which is of the second minute.
    assert rig.leave(("slot", "cid")) == [SLOT]
    rig.lineup("eve")
    next_minute(rig)
    rig.sweep()
    first, second, third = report(rig)
    assert [minute.at for minute in (first, second, third)] == [FIRST, FIRST + MINUTE, FIRST + 2 * MINUTE]
    assert (numbers(first), first.waiting, first.inside) == ((4, 2, 0, 0, 0), 2, 2)
    assert (numbers(second), second.waiting, second.inside) == ((1, 3, 1, 0, 0), 0, 2)
    assert numbers(third) == (0, 0, 0, 0, 0)


def test_a_second_sweep_in_the_minute_counts_nothing_twice(rig: Rig) -> None:
    rig.sweep()
    rig.lineup("ann", "bob", "cid")
    next_minute(rig)
    for _ in range(5):
        rig.advance(1000)
        rig.sweep()
        rig.lineup("dan")
    rows = report(rig)
    assert rows[0].arrivals == 3
    assert rig.client.zcard(rig.keys.minutes) == 1


def test_a_minute_in_which_the_room_was_empty_takes_no_room(rig: Rig) -> None:
    rig.sweep()
    for _ in range(3):
        next_minute(rig)
        rig.sweep()
    assert rig.client.zcard(rig.keys.minutes) == 0
    rig.lineup("ann")
    next_minute(rig)
    rig.sweep()
    rig.advance(20_000)
    rig.sweep()
    for _ in range(5):
        next_minute(rig)
        rig.sweep()
    assert rig.client.zcard(rig.keys.minutes) == 2
    assert [minute.arrivals for minute in report(rig)] == [1, 0, 0, 0, 0, 0, 0]


def test_what_no_sweep_saw_counts_in_the_minute_that_was_under_way(rig: Rig) -> None:
    rig.sweep()
    rig.lineup("ann")
    rig.advance(10 * MINUTE)
    rig.lineup("bob")
    (*_, last) = report(rig)
    assert last.arrivals == 0
    rig.sweep()
    rows = report(rig)
    assert [minute.arrivals for minute in rows] == [2, *[0] * 10]


def test_a_room_that_an_earlier_version_swept_begins_now(rig: Rig) -> None:
    rig.client.hset(rig.keys.tally, mapping={"lineups": 1000, "admitted": 900})
    rig.client.hset(rig.keys.watch, "swept_at", rig.now - 1000)
    rig.sweep()
    rig.lineup("ann")
    (only,) = report(rig)
    assert numbers(only) == (1, 1, 0, 0, 0)


@pytest.mark.parametrize("totals", ["", "x", "[]", "3", '{"admitted": "x"}', '{"lineups": 1e99}'])
def test_unusable_totals_count_as_none(rig: Rig, totals: str) -> None:
    rig.lineup("ann")
    rig.sweep()
    rig.client.hset(rig.keys.watch, "minute_totals", totals)
    assert report(rig)[-1].admissions == 1
    next_minute(rig)
    rig.sweep()
    assert report(rig)[0].admissions == 1


def test_a_total_that_starts_again_is_counted_from_nothing(rig: Rig) -> None:
    rig.client.hset(rig.keys.tally, "lineups", 1000)
    rig.client.hset(rig.keys.watch, "swept_at", rig.now)
    rig.sweep()
    rig.client.hset(rig.keys.tally, "lineups", 3)
    assert report(rig)[0].arrivals == 3


def test_a_clock_that_was_ahead_loses_nothing(rig: Rig) -> None:
    rig.sweep()
    rig.lineup("ann")
    rig.advance(-3 * MINUTE)
    rig.sweep()
    rig.lineup("bob")
    assert [minute.arrivals for minute in report(rig)] == [2]
    next_minute(rig)
    rig.sweep()
    assert sum(minute.arrivals for minute in report(rig)) == 2


def test_waits_are_counted_by_class_wherever_the_user_was_admitted(rig: Rig) -> None:
    rig.sweep()
    rig.advance(1)
    rig.lineup("ann", "bob", "cid", "dan")
    for _ in range(8):
        rig.sweep()
        rig.advance(1000)
    rig.leave(("slot", "ann"))
    rig.advance(2000)
    rig.sweep()
    (only,) = report(rig)
    assert sum(only.waits.values()) == 2
    assert only.wait(0.25) == pytest.approx(7.5, rel=0.1)
    assert only.wait(1.0) == pytest.approx(9.5, rel=0.2)
    assert only.estimate_error is None


def test_errors_of_estimates_come_with_the_beat(rig: Rig) -> None:
    rig.sweep()
    rig.beat("one", errors=[(5, 3), (20, 1)])
    rig.beat("two", errors=[(5, 1)])
    rig.beat("two")
    (only,) = report(rig)
    assert only.errors == {5: 4, 20: 1}
    next_minute(rig)
    rig.sweep()
    first, second = report(rig)
    assert (first.errors, second.errors) == ({5: 4, 20: 1}, {})


def test_a_day_is_kept_and_as_much_is_returned_as_was_asked_for(rig: Rig) -> None:
    rig.limits(duration=10**9)
    rig.lineup("ann")
    rig.sweep()
    for number in range(MAX_MINUTES + 5):
        rig.client.zadd(
            rig.keys.minutes, {f'{{"minute":{FIRST // MINUTE - number}}}': FIRST // MINUTE - number}
        )
    next_minute(rig)
    rig.sweep()
    assert rig.client.zcard(rig.keys.minutes) <= MAX_MINUTES
    assert len(report(rig)) == MAX_MINUTES
    assert [minute.at for minute in report(rig, 2)] == [FIRST, FIRST + MINUTE]


def test_streams_beyond_the_first_are_counted_and_go_with_their_instance(rig: Rig) -> None:
    rig.presence("one", ("arrived", "ann"), ("2", "ann"), ("arrived", "bob"), ("3", "ann"))
    several = rig.keys.several("one")
    assert rig.client.hgetall(several) == {"ann": "3"}
    rig.presence("one", ("1", "ann"), ("1", "ann"))
    assert rig.client.hgetall(several) == {}
    rig.presence("one", ("2", "ann"), ("2", "bob"), ("departed", "ann"))
    assert rig.client.hgetall(several) == {"bob": "2"}
    rig.beat("one")
    rig.advance(20_000)
    assert rig.drain("one") is False
    assert not rig.client.exists(several)
