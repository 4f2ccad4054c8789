"""The rate of admissions."""

from __future__ import annotations

import pytest

from tests.waiting_room.rig import ADMITTED, START, WAITING, Rig
from tests.waiting_room.rules import look


@pytest.fixture
def rig(rig: Rig) -> Rig:
    """A room with more slots than anybody needs."""
    rig.limits(capacity=1000, duration=1_000_000)
    return rig


def users(count: int, name: str = "u") -> list[str]:
    return [f"{name}{number}" for number in range(count)]


def admitted_each_second(rig: Rig, seconds: int) -> list[int]:
    counts = []
    for _ in range(seconds):
        rig.advance(1_000)
        counts.append(rig.sweep(absent=0).admitted)
    return counts


def test_without_a_rate_all_free_slots_are_filled_at_once(rig: Rig) -> None:
    assert {code for code, *_ in rig.lineup(*users(200))} == {ADMITTED}
    assert not rig.client.hexists(rig.keys.pace, "tokens")


@pytest.mark.parametrize(
    ("rate", "at_first", "each_second"),
    [
        ("5/s", 5, [5, 5, 5, 5]),
        ("1/s", 1, [1, 1, 1, 1]),
        ("30/m", 1, [0, 1, 0, 1]),
        ("1800/h", 1, [0, 1, 0, 1]),
    ],
)
def test_one_seconds_worth_is_admitted_at_first_then_as_many_as_come(
    rig: Rig, rate: str, at_first: int, each_second: list[int]
) -> None:
    rig.set_rate(rate)
    codes = [code for code, *_ in rig.lineup(*users(40))]
    assert codes == [ADMITTED] * at_first + [WAITING] * (40 - at_first)
    assert admitted_each_second(rig, 4) == each_second


def test_sweeping_when_a_reply_says_so_admits_as_many_as_the_rate_says(rig: Rig) -> None:
    rig.set_rate("90/m")
    summary = rig.run("lineup", *users(100)).summary
    admitted, began = summary.admitted, rig.now
    while rig.now < began + 60_000:
        assert not summary.more
        rig.advance(round(summary.next_token * 1000))
        summary = rig.sweep(absent=0)
        admitted += summary.admitted
    # A second's worth is one token and a half.
    assert admitted == ((rig.now - began) * 90 + 90_000) // 60_000


def test_a_token_comes_to_the_millisecond(rig: Rig) -> None:
    rig.set_rate("3/s")
    rig.lineup(*users(10))
    rig.advance(333)
    assert rig.sweep().admitted == 0
    rig.advance(1)
    assert rig.sweep().admitted == 1


def test_a_bucket_holds_no_more_than_one_seconds_worth(rig: Rig) -> None:
    rig.set_rate("5/s")
    rig.advance(3_600_000)
    assert [code for code, *_ in rig.lineup(*users(8))].count(ADMITTED) == 5


def test_the_slot_that_a_user_gives_back_brings_no_token_back(rig: Rig) -> None:
    rig.set_rate("1/s")
    rig.lineup("ann", "bob")
    rig.leave(("slot", "ann"))
    assert rig.status("bob")[0][0] == WAITING


def test_a_newcomer_does_not_take_the_token_of_a_user_in_line(rig: Rig) -> None:
    rig.set_rate("1/s")
    rig.lineup("ann", "bob")
    rig.advance(1_000)
    assert rig.lineup("cid")[0][0] == WAITING
    assert rig.events() == [("ADMITTED", "bob", 1)]


def test_the_line_may_be_empty_and_the_next_user_waits_all_the_same(rig: Rig) -> None:
    rig.set_rate("1/m")
    assert rig.lineup("ann")[0][0] == ADMITTED
    assert rig.lineup("bob") == [[WAITING, 1, 1, 1, 0]]


def test_capacity_binds_as_well(rig: Rig) -> None:
    rig.limits(capacity=2, rules="rate=100/s")
    codes = [code for code, *_ in rig.lineup(*users(5))]
    assert codes == [ADMITTED] * 2 + [WAITING] * 3
    rig.advance(1_000)
    assert rig.sweep().admitted == 0


def test_a_reply_says_when_the_next_token_comes_and_not_to_go_on_at_once(rig: Rig) -> None:
    rig.set_rate("30/m")
    summary = rig.run("lineup", *users(3)).summary
    assert (summary.more, summary.next_token) == (False, 2.0)
    rig.advance(500)
    assert rig.sweep().next_token == 1.5
    rig.limits(paused=True)
    assert rig.sweep().next_token == 0
    rig.limits(paused=False, capacity=1)
    assert rig.sweep().next_token == 0


def test_a_user_who_returns_from_parking_waits_for_a_token_too(rig: Rig) -> None:
    rig.sweep()
    rig.set_rate("6/h")
    rig.lineup("ann", "bob")
    for _ in range(62):
        rig.advance(1_000)
        rig.sweep()
    assert rig.parked() == {"bob": (1, START + 60_000)}
    assert rig.gate("bob")[0][0] == WAITING


def test_a_change_keeps_the_tokens_there_are_as_far_as_the_new_bucket_holds_them(rig: Rig) -> None:
    rig.set_rate("10/s")
    rig.lineup(*users(4))
    rig.set_rate("20/s")
    codes = [code for code, *_ in rig.lineup(*users(8, "v"))]
    assert codes == [ADMITTED] * 6 + [WAITING] * 2
    rig.leave(*(("line", user) for user in users(8, "v")))
    rig.advance(1_000)
    rig.set_rate("2/s")
    codes = [code for code, *_ in rig.lineup(*users(4, "w"))]
    assert codes == [ADMITTED] * 2 + [WAITING] * 2


def test_the_time_before_a_change_counts_by_the_rate_that_was(rig: Rig) -> None:
    rig.set_rate("1/s")
    rig.lineup("ann")
    rig.advance(500)
    rig.set_rate("1/h")
    rig.lineup("bob")
    rig.advance(1_799_999)
    assert rig.status("bob")[0][0] == WAITING
    assert rig.sweep(absent=0).admitted == 0
    rig.advance(1)
    assert rig.sweep(absent=0).admitted == 1


def test_a_change_of_other_settings_gives_no_tokens(rig: Rig) -> None:
    rig.set_rate("1/m")
    rig.lineup("ann", "bob")
    rig.limits(rules="absent=30000")
    rig.configure(1000, 1_000_000)
    assert rig.status("bob")[0][0] == WAITING


def test_lifting_the_rate_admits_everybody_and_a_new_one_starts_full(rig: Rig) -> None:
    rig.set_rate("2/s")
    rig.lineup(*users(5))
    assert rig.limits(rules="rate=").admitted == 3
    assert rig.client.hmget(rig.keys.pace, "tokens", "tokens_at") == [None, None]
    rig.set_rate("2/s")
    assert [code for code, *_ in rig.lineup(*users(3, "v"))] == [ADMITTED, ADMITTED, WAITING]


def test_an_operator_may_switch_a_configured_rate_off(rig: Rig) -> None:
    rig.rules = "rate=1/m"
    rig.configure(1000, 1_000_000)
    assert [code for code, *_ in rig.lineup(*users(3))] == [ADMITTED, WAITING, WAITING]
    assert rig.set_rate("off").admitted == 2
    rig.limits(rules="rate=")
    assert rig.lineup("late")[0][0] == ADMITTED
    assert rig.lineup("later")[0][0] == WAITING


def test_one_call_still_admits_256_at_most(rig: Rig) -> None:
    rig.limits(paused=True, rules="rate=500/s")
    rig.lineup(*users(200))
    rig.lineup(*users(200, "v"))
    first = rig.limits(paused=False)
    second = rig.sweep()
    assert (first.admitted, first.more, second.admitted, second.more) == (256, True, 144, False)


def test_a_user_in_line_whom_another_system_admitted_costs_no_token(rig: Rig) -> None:
    rig.set_rate("1/m")
    rig.lineup("ann", "bob", "cid")
    rig.client.hset(rig.keys.inside, "bob", rig.now // 1000)
    rig.advance(60_000)
    assert rig.sweep(absent=0).admitted == 1
    assert rig.events()[-1] == ("ADMITTED", "cid", 2)


@pytest.mark.parametrize(
    ("tokens", "at"),
    [("x", START), ("3600000", "x"), ("-1", START), ("1e300", START), ("nan", START), ("", "")],
)
def test_unusable_tokens_count_as_a_full_bucket(rig: Rig, tokens: str, at: int | str) -> None:
    rig.set_rate("3/s")
    rig.client.hset(rig.keys.pace, mapping={"tokens": tokens, "tokens_at": at})
    assert [code for code, *_ in rig.lineup(*users(5))].count(ADMITTED) == 3


def test_tokens_counted_in_the_future_count_as_now(rig: Rig) -> None:
    rig.set_rate("3/s")
    rig.lineup(*users(3))
    rig.set_clock(rig.now - 60_000)
    assert rig.lineup("late")[0][0] == WAITING
    rig.advance(334)
    assert rig.sweep().admitted == 1
    rig.advance(330)
    assert rig.lineup("later")[0][0] == WAITING


def test_a_lower_rate_counts_in_estimates_at_once(rig: Rig) -> None:
    rig.set_rate("10/s")
    rig.lineup(*users(60))
    admitted_each_second(rig, 2)
    before = rig.sweep()
    assert before.rate == pytest.approx(10, rel=0.4)
    assert rig.set_rate("1/s").rate == 1
    assert look(rig).line


def test_while_an_older_system_is_followed_a_slot_is_handed_over_rather_than_left_free(rig: Rig) -> None:
    rig.follow = ("on", 60_000)
    rig.limits(capacity=1)
    rig.set_rate("1/m")
    rig.sweep()
    rig.lineup("ann", "bob")
    rig.presence("here", ("arrived", "bob"))
    rig.leave(("slot", "ann"))
    assert rig.inside() == {"ann": "0"}


@pytest.mark.parametrize("rate", ["0/s", "5", "5/d", "/s", "-1/s", "1.5/s", "12345678/s", "on", "05/s"])
def test_other_rates_are_refused(rig: Rig, rate: str) -> None:
    with pytest.raises(Exception, match="BAD_ARGUMENT new_rules"):
        rig.limits(rules=f"rate={rate}")


def test_a_rate_that_is_written_past_the_scripts_and_unusable_is_none(rig: Rig) -> None:
    rig.client.hset(rig.keys.settings, "rules", "rate=0/s")
    assert rig.lineup("ann", "bob")[1][0] == ADMITTED
