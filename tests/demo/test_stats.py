"""The figures, and what is said about them."""

from __future__ import annotations

import io
from collections import Counter

import pytest
from rich.console import Console

from gateway.demo.plan import plan_run
from gateway.demo.rules import Broken, Rule, Verdict
from gateway.demo.seen import Answered, Call, Ended, Finished, Heard, Outcome, Sent, Standing
from gateway.demo.snapshot import snapshot
from gateway.demo.stats import Stats, percentile
from gateway.demo.summary import Witnessed, failures, invitation, summary
from gateway.demo.view import one_line, open_view, picture, spark
from tests.demo.story import LIMITS, waiting

PLAN = plan_run(3, 2, 20, seed=5)
NAMES = {1: "Hana", 2: "Noah", 3: "Ada"}
GOOD = Verdict(Counter({Rule.CAPACITY: 3}), ())
BAD = Verdict(Counter({Rule.CAPACITY: 3}), (Broken(Rule.CAPACITY, 103.0, 0, "3 in at once, room for 2"),))
ALL_WELL = Witnessed(most_in=2, nameless=0, sold=1)
IN = Standing("ALLOWED_IN", expires_in=6.0)


@pytest.fixture
def stats() -> Stats:
    """Hana gets in at once and buys, Noah waits, blips and gets in, Ada closes the tab."""
    stats = Stats(LIMITS, NAMES, opened=100.0)
    for fact in (
        Answered(1, 101.0, Call.LINEUP, 100.9, 200, IN),
        Answered(2, 101.5, Call.LINEUP, 101.4, 200, waiting(1, 1)),
        Answered(3, 101.6, Call.LINEUP, 101.5, 200, waiting(2, 2)),
        Heard(2, 101.7, 1, "STATUS_UPDATE", "", waiting(1, 1)),
        Ended(2, 102.0, 1, by_us=True),
        Ended(3, 102.0, 1, by_us=True),
        Heard(2, 103.0, 2, "STATUS_UPDATE", "", waiting(1, 1)),
        Answered(1, 103.2, Call.GATED, 103.0, 200),
        Answered(3, 103.4, Call.GATED, 103.3, 429, Standing("WAITING", 2, 2, code="QUEUE_WAITING")),
        Sent(1, 104.0, Call.LEAVE_SLOT),
        Finished(1, 104.1, Outcome.BOUGHT),
        Heard(2, 104.1, 2, "ALLOWED_IN", "end", IN),
        Ended(2, 104.1, 2, by_us=False),
        Answered(3, 111.0, Call.STATUS, 110.9, 404),
        Finished(3, 111.0, Outcome.CLOSED_TAB),
    ):
        stats.see(fact)
    return stats


def test_who_is_where_is_known(stats: Stats) -> None:
    now = snapshot(PLAN, stats, GOOD, 106.0)
    assert (now.arrived, now.waiting, now.inside, now.done, now.admitted) == (3, 0, 1, 2, 2)
    assert now.wait_p50 == pytest.approx(2.6)
    assert snapshot(PLAN, stats, GOOD, 110.2).inside == 0  # Noah's session is over by then


def test_a_freed_slot_is_timed_until_the_next_one_hears_of_it(stats: Stats) -> None:
    assert stats.handovers == [pytest.approx(0.1)]
    stats.see(Heard(3, 120.0, 1, "ALLOWED_IN", "end", IN))  # a session has run out: nobody left
    assert len(stats.handovers) == 1


def test_what_happened_is_told(stats: Stats) -> None:
    told = [text for _, text in stats.happened]
    assert told == [
        "Noah is back, still ticket 1, position 1",
        "Ada tried the gate and was turned away: 429 QUEUE_WAITING",
        "Noah is the first from the line to be let in",
        "Ada looked again after a while away: the place is gone",
    ]
    assert (stats.blips, stats.evicted()) == (1, 1)


def test_a_place_that_was_used_up_unseen_was_not_evicted(stats: Stats) -> None:
    """A higher ticket went in before Ada could be evicted, so Ada had been let in as well."""
    stats.admissions.append((104.5, 3))
    assert stats.evicted() == 0


def test_admissions_are_counted_per_second(stats: Stats) -> None:
    assert stats.rate(104.9, 5) == [0, 1, 0, 0, 1]
    assert stats.rate(200.0, 5) == [0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        ([], 50, None),
        ([3.0], 95, 3.0),
        ([3.0, 1.0, 2.0], 50, 2.0),
        ([float(n) for n in range(100)], 95, 95.0),
    ],
)
def test_percentiles(values: list[float], percent: float, expected: float | None) -> None:
    assert percentile(values, percent) == expected


@pytest.mark.parametrize(
    ("counts", "picture"), [([], ""), ([0, 0], "  "), ([1, 4, 16], "▂▄█"), ([1, 100], "▁█")]
)
def test_sparklines_show_even_the_smallest(counts: list[int], picture: str) -> None:
    assert spark(counts) == picture


def test_the_picture_fits_a_small_terminal(stats: Stats) -> None:
    console = Console(file=io.StringIO(), width=80, height=24, force_terminal=True, record=True)
    console.print(picture(snapshot(PLAN, stats, BAD, 106.0), 80))
    lines = console.export_text().rstrip("\n").splitlines()
    assert len(lines) <= 21
    assert all(len(line) <= 80 for line in lines)
    text = "\n".join(lines)
    for expected in ("1 of 2 in", "0 waiting", "3 checks, 1 broken", "Ada looked again"):
        assert expected in text


def test_without_a_terminal_each_event_is_told_once_in_plain_lines(stats: Stats) -> None:
    out = io.StringIO()
    with open_view(Console(file=out, width=80)) as view:
        view.show(snapshot(PLAN, stats, GOOD, 106.0))
        view.show(snapshot(PLAN, stats, GOOD, 107.0))
    assert out.getvalue().count("Ada looked again") == 1
    assert "\x1b" not in out.getvalue()
    assert out.getvalue().count("3 checks, 0 broken") == 2
    assert one_line(snapshot(PLAN, stats, GOOD, 106.0)) in out.getvalue()


def test_the_picture_is_painted_in_a_terminal(stats: Stats) -> None:
    out = io.StringIO()
    with open_view(Console(file=out, width=80, height=24, force_terminal=True)) as view:
        view.show(snapshot(PLAN, stats, GOOD, 106.0))
    assert "1 of 2 in" in out.getvalue()


# --- the end ---


def test_all_well_is_told_with_the_rules_and_how_often_they_were_tested(stats: Stats) -> None:
    stats.see(Finished(2, 112.0, Outcome.STILL_WAITING))
    assert not failures(PLAN, stats, GOOD, ALL_WELL)
    text = summary(PLAN, stats, GOOD, ALL_WELL, 12.0)
    for expected in (
        "3  people came",
        "1  bought",
        "the 1 still in line at close left it properly",
        "never more people in than the room holds",
        "3 checks",
        "not put to the test",
        "0 broken; nobody was lost",
        "seed 5",
    ):
        assert expected in text


@pytest.mark.parametrize(
    ("verdict", "witnessed", "last"),
    [
        (BAD, ALL_WELL, Outcome.BOUGHT),
        (GOOD, Witnessed(3, 0, 1), Outcome.BOUGHT),
        (GOOD, Witnessed(2, 1, 1), Outcome.BOUGHT),
        (GOOD, ALL_WELL, Outcome.LOST),
        (GOOD, ALL_WELL, None),
    ],
)
def test_anything_amiss_is_no_success(
    stats: Stats, verdict: Verdict, witnessed: Witnessed, last: Outcome | None
) -> None:
    if last is not None:
        stats.see(Finished(2, 112.0, last))
    assert failures(PLAN, stats, verdict, witnessed)
    assert "nobody was lost" not in summary(PLAN, stats, verdict, witnessed, 12.0)


@pytest.mark.parametrize(("count", "seconds", "slow"), [(20, 0.3, True), (19, 0.3, False), (20, 0.2, False)])
def test_slots_passed_on_slowly_are_a_failure(stats: Stats, count: int, seconds: float, slow: bool) -> None:
    stats.see(Finished(2, 112.0, Outcome.BOUGHT))
    stats.handovers = [seconds] * count
    assert bool(failures(PLAN, stats, GOOD, ALL_WELL)) is slow


def test_breaches_are_shown_with_when_and_what(stats: Stats) -> None:
    text = summary(PLAN, stats, BAD, ALL_WELL, 12.0)
    assert "BROKEN never more people in than the room holds" in text
    assert "at 3.00 s" in text
    assert "3 in at once, room for 2" in text


def test_the_invitation_can_be_pasted() -> None:
    text = invitation("http://127.0.0.1:1", "abc.def.ghi", {"auth-service": "http://127.0.0.1:2"})
    assert '\nGW=http://127.0.0.1:1\nAUTH="Authorization: Bearer abc.def.ghi"\n' in text
    assert '\ncurl -sS -H "$AUTH" -N $GW/api/v1/queue/stream\n' in text


def test_estimates_are_held_against_the_real_wait_of_the_ticket_they_were_shown_with() -> None:
    def told(ticket: int, seconds: float) -> Standing:
        return Standing("WAITING", ticket, 1, estimated_wait=seconds)

    stats = Stats(LIMITS, NAMES, opened=100.0)
    for fact in (
        Answered(1, 101.0, Call.LINEUP, 100.9, 200, told(7, 500.0)),
        Answered(1, 105.0, Call.LINEUP, 104.9, 200, told(9, 8.0)),
        Heard(1, 110.0, 1, "STATUS_UPDATE", "", told(9, 10.0)),
        Answered(1, 111.0, Call.STATUS, 110.9, 200, Standing("WAITING", 9, 1)),
        Heard(1, 115.0, 1, "ALLOWED_IN", "end", IN),
        Answered(2, 101.0, Call.LINEUP, 100.9, 200, told(8, 3.0)),
        Finished(2, 120.0, Outcome.GAVE_UP),
    ):
        stats.see(fact)
    assert stats.estimate_errors == [pytest.approx(0.2), pytest.approx(1.0)]
    text = summary(PLAN, stats, GOOD, ALL_WELL, 20.0)
    assert "estimates    off by 100% of the real wait in the median (2 shown to people who got in)" in text
