"""What the demo shows: the live view, the instructions and the summary."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from gateway.demo.display import (
    ServiceTotals,
    failures,
    instructions,
    log_line,
    open_display,
    render,
    sparkline,
    summary,
)
from gateway.demo.observations import (
    Call,
    EventReceived,
    Outcome,
    QueueStatus,
    ResponseReceived,
    VisitFinished,
)
from gateway.demo.rules import Verdict
from gateway.demo.statistics import Statistics, snapshot
from tests.demo.trace import BAD, GOOD, IN, LIMITS, NAMES, PLAN

ALL_WELL = ServiceTotals(peak=2, without_user=0, sold=1)


@pytest.mark.parametrize(
    ("counts", "curve"), [([], ""), ([0, 0], "  "), ([1, 4, 16], "▂▄█"), ([1, 100], "▁█")]
)
def test_sparklines_show_even_the_smallest(counts: list[int], curve: str) -> None:
    assert sparkline(counts) == curve


def test_the_picture_fits_a_small_terminal(statistics: Statistics) -> None:
    console = Console(file=io.StringIO(), width=80, height=24, force_terminal=True, record=True)
    console.print(render(snapshot(PLAN, statistics, BAD, 106.0), 80))
    lines = console.export_text().rstrip("\n").splitlines()
    assert len(lines) <= 21
    assert all(len(line) <= 80 for line in lines)
    text = "\n".join(lines)
    for expected in ("1 of 2 in", "0 waiting", "3 checks, 1 broken", "Ada looked again"):
        assert expected in text


def test_without_a_terminal_each_event_is_told_once_in_plain_lines(statistics: Statistics) -> None:
    out = io.StringIO()
    with open_display(Console(file=out, width=80)) as display:
        display.show(snapshot(PLAN, statistics, GOOD, 106.0))
        display.show(snapshot(PLAN, statistics, GOOD, 107.0))
    assert out.getvalue().count("Ada looked again") == 1
    assert "\x1b" not in out.getvalue()
    assert out.getvalue().count("3 checks, 0 broken") == 2
    assert log_line(snapshot(PLAN, statistics, GOOD, 106.0)) in out.getvalue()


def test_the_picture_is_painted_in_a_terminal(statistics: Statistics) -> None:
    out = io.StringIO()
    with open_display(Console(file=out, width=80, height=24, force_terminal=True)) as display:
        display.show(snapshot(PLAN, statistics, GOOD, 106.0))
    assert "1 of 2 in" in out.getvalue()


# --- the end ---


def test_all_well_is_told_with_the_rules_and_how_often_they_were_tested(statistics: Statistics) -> None:
    statistics.observe(VisitFinished(2, 112.0, Outcome.STILL_WAITING))
    assert not failures(PLAN, statistics, GOOD, ALL_WELL)
    text = summary(PLAN, statistics, GOOD, ALL_WELL, 12.0)
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
    ("verdict", "service_totals", "last"),
    [
        (BAD, ALL_WELL, Outcome.BOUGHT),
        (GOOD, ServiceTotals(3, 0, 1), Outcome.BOUGHT),
        (GOOD, ServiceTotals(2, 1, 1), Outcome.BOUGHT),
        (GOOD, ALL_WELL, Outcome.LOST),
        (GOOD, ALL_WELL, None),
    ],
)
def test_anything_amiss_is_no_success(
    statistics: Statistics, verdict: Verdict, service_totals: ServiceTotals, last: Outcome | None
) -> None:
    if last is not None:
        statistics.observe(VisitFinished(2, 112.0, last))
    assert failures(PLAN, statistics, verdict, service_totals)
    assert "nobody was lost" not in summary(PLAN, statistics, verdict, service_totals, 12.0)


@pytest.mark.parametrize(("count", "seconds", "slow"), [(20, 0.3, True), (19, 0.3, False), (20, 0.2, False)])
def test_slots_passed_on_slowly_are_a_failure(
    statistics: Statistics, count: int, seconds: float, slow: bool
) -> None:
    statistics.observe(VisitFinished(2, 112.0, Outcome.BOUGHT))
    statistics.handovers = [seconds] * count
    assert bool(failures(PLAN, statistics, GOOD, ALL_WELL)) is slow


def test_breaches_are_shown_with_when_and_what(statistics: Statistics) -> None:
    text = summary(PLAN, statistics, BAD, ALL_WELL, 12.0)
    assert "BROKEN never more people in than the room holds" in text
    assert "at 3.00 s" in text
    assert "3 in at once, room for 2" in text


def test_the_instructions_can_be_pasted() -> None:
    text = instructions("http://127.0.0.1:1", "abc.def.ghi", "s3cret", {"auth-service": "http://127.0.0.1:2"})
    assert "Wait in line      http://127.0.0.1:1/box-office\n" in text
    assert "http://127.0.0.1:1/desk   (sign in with s3cret)\n" in text
    assert '\nGW=http://127.0.0.1:1\nAUTH="Authorization: Bearer abc.def.ghi"\n' in text
    assert '\ncurl -sS -H "$AUTH" -N $GW/api/v1/queue/stream\n' in text


def test_estimates_are_held_against_the_real_wait_of_the_ticket_they_were_shown_with() -> None:
    def told(ticket: int, seconds: float) -> QueueStatus:
        return QueueStatus("WAITING", ticket, 1, estimated_wait=seconds)

    statistics = Statistics(LIMITS, NAMES, opened=100.0)
    for observation in (
        ResponseReceived(1, 101.0, Call.LINEUP, 100.9, 200, told(7, 500.0)),
        ResponseReceived(1, 105.0, Call.LINEUP, 104.9, 200, told(9, 8.0)),
        EventReceived(1, 110.0, 1, "STATUS_UPDATE", "", told(9, 10.0)),
        ResponseReceived(1, 111.0, Call.STATUS, 110.9, 200, QueueStatus("WAITING", 9, 1)),
        EventReceived(1, 115.0, 1, "ALLOWED_IN", "end", IN),
        ResponseReceived(2, 101.0, Call.LINEUP, 100.9, 200, told(8, 3.0)),
        VisitFinished(2, 120.0, Outcome.GAVE_UP),
    ):
        statistics.observe(observation)
    assert statistics.estimate_errors == [pytest.approx(0.2), pytest.approx(1.0)]
    text = summary(PLAN, statistics, GOOD, ALL_WELL, 20.0)
    assert "estimates    off by 100% of the real wait in the median (2 shown to people who got in)" in text
