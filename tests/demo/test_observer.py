"""The observer: each rule broken in a trace is counted, and the same trace in order is not."""

from __future__ import annotations

import pytest

from gateway.demo.observations import Call, Outcome, QueueStatus, RequestSent, ResponseReceived
from gateway.demo.observer import describe
from gateway.demo.rules import Broken, Rule
from tests.demo.trace import Trace


@pytest.fixture
def trace() -> Trace:
    return Trace()


def test_a_whole_sale_in_order_breaks_nothing(trace: Trace) -> None:
    trace.let_in_at_once(1, 1.0)
    trace.let_in_at_once(2, 1.1)
    trace.lines_up(3, 1.2, ticket=1)
    trace.lines_up(4, 1.3, ticket=2)
    for who, ticket in ((3, 1), (4, 2)):
        trace.listens(who, 1.5, 5.5, ticket, ticket)
    for who in (1, 2):
        trace.passes(who, 2.0, identity=f"person-{who}")
        trace.leaves_room(who, 6.0 + who / 10)
        trace.let_in(who + 2, 6.05 + who / 10)
        trace.is_closed(who + 2, 6.1 + who / 10)
        trace.passes(who + 2, 7.0)
        trace.leaves_room(who + 2, 8.0)
    for who in (1, 2, 3, 4):
        trace.finishes(who, 9.0, Outcome.BOUGHT)

    verdict = trace.verdict(9.5, final=True)
    assert verdict.broken == ()
    tested = {rule for rule in Rule if verdict.checks[rule]}
    assert tested >= {
        Rule.CAPACITY,
        Rule.ORDER,
        Rule.TICKETS,
        Rule.POSITION,
        Rule.LOST,
        Rule.SESSION,
        Rule.UPDATES,
    }


# --- capacity ---


def test_one_too_many_in_at_once_is_counted(trace: Trace) -> None:
    for who in (1, 2, 3):
        trace.let_in_at_once(who, 1.0)
        trace.passes(who, 2.0)
    assert trace.broken(2.5) == [Rule.CAPACITY]


def test_a_user_who_has_sent_leave_no_longer_counts(trace: Trace) -> None:
    for who in (1, 2):
        trace.let_in_at_once(who, 1.0)
        trace.passes(who, 2.0)
    trace.leaves_room(1, 3.0)
    trace.let_in_at_once(3, 2.95)  # after the leave was sent, before it was answered
    trace.passes(3, 4.0)
    assert trace.broken(5.0) == []


def test_a_walk_off_holds_the_slot_for_a_sessions_length(trace: Trace) -> None:
    for who in (1, 2):
        trace.let_in_at_once(who, 1.0)
        trace.passes(who, 2.0)
    trace.let_in_at_once(3, 5.0)  # neither has left, and both sessions last until about 8
    trace.passes(3, 5.5)
    assert trace.broken(6.0) == [Rule.CAPACITY]


def test_after_a_walk_offs_session_the_slot_may_be_someone_elses(trace: Trace) -> None:
    for who in (1, 2):
        trace.let_in_at_once(who, 1.0)
        trace.passes(who, 2.0)
    trace.let_in_at_once(3, 8.0)
    trace.passes(3, 8.5)
    assert trace.broken(9.0) == []


def test_an_admission_without_any_later_sign_proves_no_stay(trace: Trace) -> None:
    for who in (1, 2, 3):
        trace.let_in_at_once(who, 1.0)
    assert trace.broken(2.0) == []


def test_leaving_the_room_proves_that_one_was_in_until_then(trace: Trace) -> None:
    for who in (1, 2, 3):
        trace.let_in_at_once(who, 1.0)
    for who in (1, 2, 3):
        trace.leaves_room(who, 4.0)
    assert trace.broken(5.0) == [Rule.CAPACITY]


# --- order ---


def test_being_overtaken_is_counted_by_a_later_poll(trace: Trace) -> None:
    trace.lines_up(1, 1.0, ticket=1)
    trace.lines_up(2, 1.2, ticket=2)
    trace.opens(2, 1.3)
    trace.let_in(2, 2.0)
    trace.asks(1, 2.2, ticket=1, position=1)
    assert trace.broken(2.3) == [Rule.ORDER]


def test_a_poll_that_was_under_way_is_no_proof(trace: Trace) -> None:
    trace.lines_up(1, 1.0, ticket=1)
    trace.lines_up(2, 1.2, ticket=2)
    trace.opens(2, 1.3)
    trace.let_in(2, 2.0)
    trace.asks(1, 2.05, ticket=1, position=1)
    assert trace.broken(2.1) == []


def test_being_overtaken_is_counted_by_an_open_stream_that_stays_silent_about_it(trace: Trace) -> None:
    trace.lines_up(1, 1.0, ticket=1)
    trace.lines_up(2, 1.2, ticket=2)
    trace.opens(2, 1.3)
    trace.listens(1, 1.3, 3.3, ticket=1, position=1)
    trace.let_in(2, 2.0)
    assert trace.broken(3.0) == []
    assert trace.broken(3.6) == [Rule.ORDER]


def test_events_of_one_moment_may_be_read_in_any_order(trace: Trace) -> None:
    trace.lines_up(1, 1.0, ticket=1)
    trace.lines_up(2, 1.2, ticket=2)
    trace.listens(1, 1.3, 1.3, ticket=1, position=1)
    trace.listens(2, 1.3, 1.3, ticket=2, position=2)
    trace.let_in(2, 2.0)
    trace.let_in(1, 2.4)
    assert trace.broken(5.0) == []


def test_a_user_without_a_stream_cannot_prove_to_be_overtaken(trace: Trace) -> None:
    trace.lines_up(1, 1.0, ticket=1)
    trace.lines_up(2, 1.2, ticket=2)
    trace.listens(1, 1.3, 1.3, ticket=1, position=1)
    trace.closes(1, 1.9)
    trace.opens(2, 1.3)
    trace.let_in(2, 2.0)
    assert trace.broken(9.0) == []


def test_a_stall_of_the_crowds_own_process_excuses_late_events(trace: Trace) -> None:
    trace.lines_up(1, 1.0, ticket=1)
    trace.lines_up(2, 1.2, ticket=2)
    trace.listens(1, 1.3, 1.3, ticket=1, position=1)
    trace.opens(2, 1.3)
    trace.let_in(2, 2.0)
    trace.observer.stalled(until=3.9, seconds=2.0)
    trace.let_in(1, 4.0)
    assert Rule.ORDER not in trace.broken(4.1)


def test_a_stall_at_another_time_excuses_nothing(trace: Trace) -> None:
    trace.observer.stalled(until=1.0, seconds=9.0)
    trace.lines_up(1, 1.0, ticket=1)
    trace.lines_up(2, 1.2, ticket=2)
    trace.listens(1, 1.3, 3.3, ticket=1, position=1)
    trace.opens(2, 1.3)
    trace.let_in(2, 2.0)
    assert trace.broken(3.6) == [Rule.ORDER]


def test_an_admission_at_once_past_a_waiting_user_is_counted(trace: Trace) -> None:
    trace.lines_up(1, 1.0, ticket=1)
    trace.let_in_at_once(2, 2.0)
    trace.asks(1, 2.5, ticket=1, position=1)
    assert trace.broken(3.0) == [Rule.ORDER]


def test_a_lineup_sent_before_the_line_formed_overtakes_no_one(trace: Trace) -> None:
    trace.observer.observe(RequestSent(2, 0.5, Call.LINEUP))
    trace.lines_up(1, 1.0, ticket=1)
    trace.observer.observe(ResponseReceived(2, 1.1, Call.LINEUP, 0.5, 200, QueueStatus(state="ALLOWED_IN")))
    trace.asks(1, 2.5, ticket=1, position=1)
    assert trace.broken(3.0) == []


def test_an_admission_read_after_a_refused_leave_keeps_its_ticket(trace: Trace) -> None:
    """Giving up in the moment of being let in: 404 for the line, then ALLOWED_IN on the stream."""
    trace.lines_up(1, 1.0, ticket=1)
    trace.lines_up(2, 1.2, ticket=2)
    trace.listens(2, 1.3, 5.3, ticket=2, position=2)
    trace.listens(1, 1.3, 1.3, ticket=1, position=1)
    trace.leaves_line(1, 2.0, status=404)
    trace.let_in(1, 2.05)
    trace.leaves_room(1, 2.3)
    trace.finishes(1, 2.4, Outcome.GAVE_UP)
    trace.leaves_line(2, 6.0)
    trace.finishes(2, 6.0, Outcome.STILL_WAITING)
    assert trace.broken(6.0, final=True) == []


# --- tickets ---


def test_a_ticket_given_out_twice_is_counted(trace: Trace) -> None:
    trace.lines_up(1, 1.0, ticket=5)
    trace.lines_up(2, 1.05, ticket=5)
    assert trace.broken(2.0) == [Rule.TICKETS]


def test_a_ticket_below_one_already_known_is_counted(trace: Trace) -> None:
    trace.lines_up(1, 1.0, ticket=5)
    trace.lines_up(2, 2.0, ticket=4)
    assert Rule.TICKETS in trace.broken(2.1)


def test_lineups_under_way_at_once_may_be_answered_in_any_order(trace: Trace) -> None:
    trace.lines_up(1, 1.0, ticket=5)
    trace.lines_up(2, 1.05, ticket=4)
    assert trace.broken(1.1) == []


# --- gate ---


def test_passing_the_gate_without_ever_lining_up_is_counted(trace: Trace) -> None:
    trace.passes(1, 1.0)
    assert trace.broken(2.0) == [Rule.GATE]


def test_passing_the_gate_without_a_token_is_counted(trace: Trace) -> None:
    trace.call(1, 1.0, Call.ANONYMOUS, 200)
    trace.call(2, 1.0, Call.ANONYMOUS, 401)
    assert trace.broken(2.0) == [Rule.GATE]


def test_passing_the_gate_from_the_line_is_counted_once_a_later_answer_says_still_waiting(
    trace: Trace,
) -> None:
    trace.lines_up(1, 1.0, ticket=1)
    trace.passes(1, 2.0)
    assert trace.broken(2.0) == []  # perhaps just let in
    trace.asks(1, 2.5, ticket=1, position=1)
    assert trace.broken(3.0) == [Rule.GATE]


def test_passing_the_gate_just_before_reading_of_the_admission_is_in_order(trace: Trace) -> None:
    trace.lines_up(1, 1.0, ticket=1)
    trace.listens(1, 1.1, 1.1, ticket=1, position=1)
    trace.passes(1, 2.0)
    trace.let_in(1, 2.01)
    assert trace.broken(3.0) == []


def test_passing_the_gate_after_leaving_is_counted(trace: Trace) -> None:
    trace.let_in_at_once(1, 1.0)
    trace.passes(1, 1.5)
    trace.leaves_room(1, 2.0)
    trace.passes(1, 3.0)
    assert trace.broken(4.0) == [Rule.GATE]


def test_passing_the_gate_after_the_session_is_counted_and_within_it_is_not(trace: Trace) -> None:
    trace.let_in_at_once(1, 1.0)
    trace.passes(1, 2.0)
    trace.passes(1, 7.0)
    assert trace.broken(7.5) == []
    trace.passes(1, 13.25)
    assert trace.broken(14.0) == [Rule.GATE]


def test_being_told_to_wait_without_ever_lining_up_is_counted(trace: Trace) -> None:
    trace.told_to_wait(1, 1.0, ticket=1, position=1)
    assert trace.broken(2.0) == [Rule.GATE]


def test_gate_crashers_turned_away_are_checks_that_hold(trace: Trace) -> None:
    trace.refused(1, 1.0)
    trace.lines_up(2, 1.0, ticket=1)
    trace.told_to_wait(2, 2.0, ticket=1, position=1)
    verdict = trace.verdict(3.0)
    assert verdict.broken == ()
    assert verdict.checks[Rule.GATE] == 2


def test_a_user_who_left_and_comes_back_may_pass_again(trace: Trace) -> None:
    trace.let_in_at_once(1, 1.0)
    trace.leaves_room(1, 2.0)
    trace.let_in_at_once(1, 3.0)
    trace.passes(1, 4.0)
    assert trace.broken(5.0) == []


# --- nobody is lost ---


@pytest.mark.parametrize("outcome", [Outcome.LOST, None])
def test_a_user_who_lined_up_and_has_no_outcome_is_lost(trace: Trace, outcome: Outcome | None) -> None:
    trace.lines_up(1, 1.0, ticket=1)
    if outcome is not None:
        trace.finishes(1, 2.0, outcome)
    assert trace.broken(9.0) == []
    assert trace.broken(9.0, final=True) == [Rule.LOST]


def test_a_claim_to_have_bought_without_ever_having_been_in_does_not_add_up(trace: Trace) -> None:
    trace.lines_up(1, 1.0, ticket=1)
    trace.finishes(1, 2.0, Outcome.BOUGHT)
    assert trace.broken(9.0, final=True) == [Rule.LOST]


def test_still_waiting_at_close_counts_only_with_a_leave_that_was_granted(trace: Trace) -> None:
    for who in (1, 2):
        trace.lines_up(who, float(who), ticket=who)
    trace.leaves_line(1, 5.0)
    trace.leaves_line(2, 5.0, status=404)
    for who in (1, 2):
        trace.finishes(who, 6.0, Outcome.STILL_WAITING)
    broken = trace.verdict(9.0, final=True).broken
    assert [(one.rule, one.person) for one in broken] == [(Rule.LOST, 2)]


def test_an_admission_in_the_moment_of_leaving_the_line_is_accounted_for_by_leaving_the_room(
    trace: Trace,
) -> None:
    trace.lines_up(1, 1.0, ticket=1)
    trace.leaves_line(1, 2.0, status=404)
    trace.leaves_room(1, 2.2)
    trace.finishes(1, 3.0, Outcome.STILL_WAITING)
    assert trace.broken(9.0, final=True) == []


def test_a_user_who_never_lined_up_needs_no_outcome(trace: Trace) -> None:
    trace.finishes(1, 2.0, Outcome.NEVER_IN_LINE)
    assert trace.broken(9.0, final=True) == []


def test_vanishing_from_the_line_while_polling_is_counted(trace: Trace) -> None:
    trace.lines_up(1, 1.0, ticket=1)
    trace.asks(1, 2.0, ticket=1, position=1)
    trace.finds_nothing(1, 3.0)
    assert trace.broken(3.0) == [Rule.LOST]


def test_being_in_neither_line_nor_room_at_close_is_counted(trace: Trace) -> None:
    trace.lines_up(1, 1.0, ticket=1)
    trace.leaves_line(1, 2.0, status=404)
    trace.leaves_room(1, 2.2, status=404)
    assert trace.broken(3.0) == [Rule.LOST]


def test_being_in_neither_after_a_long_absence_is_explained(trace: Trace) -> None:
    trace.lines_up(1, 1.0, ticket=1)
    trace.leaves_line(1, 8.0, status=404)
    trace.leaves_room(1, 8.2, status=404)
    trace.finishes(1, 8.3, Outcome.PLACE_GONE)
    assert trace.broken(9.0, final=True) == []


def test_being_in_neither_after_a_leave_without_an_answer_is_explained(trace: Trace) -> None:
    trace.lines_up(1, 1.0, ticket=1)
    trace.unanswered(1, 2.0, Call.LEAVE_LINE)
    trace.leaves_line(1, 2.2, status=404)
    trace.leaves_room(1, 2.4, status=404)
    trace.finishes(1, 3.0, Outcome.GAVE_UP)
    assert trace.broken(9.0, final=True) == []


def test_a_place_said_to_be_gone_without_any_evidence_does_not_add_up(trace: Trace) -> None:
    trace.lines_up(1, 1.0, ticket=1)
    trace.finishes(1, 8.3, Outcome.PLACE_GONE)
    assert trace.broken(9.0, final=True) == [Rule.LOST]


@pytest.mark.parametrize(
    ("code", "reason"), [("REMOVED", "ABSENT"), ("REMOVED", "LEFT"), ("NOT_IN_QUEUE", "")]
)
def test_being_thrown_out_with_an_open_stream_is_counted(trace: Trace, code: str, reason: str) -> None:
    trace.lines_up(1, 1.0, ticket=1)
    trace.listens(1, 1.2, 3.2, ticket=1, position=1)
    trace.told_off(1, 4.0, code, reason)
    assert trace.broken(4.1) == [Rule.LOST]


def test_an_operators_removal_is_not_the_rooms_fault(trace: Trace) -> None:
    trace.lines_up(1, 1.0, ticket=1)
    trace.listens(1, 1.2, 3.2, ticket=1, position=1)
    trace.told_off(1, 4.0, "REMOVED", "OPERATOR")
    assert trace.broken(4.1) == []


def test_a_lineup_without_an_answer_leaves_everything_open(trace: Trace) -> None:
    trace.unanswered(1, 1.0, Call.LINEUP)
    trace.passes(1, 2.0)
    assert trace.broken(3.0) == []


def test_after_a_lost_answer_the_status_says_what_the_lineup_did(trace: Trace) -> None:
    trace.unanswered(1, 1.0, Call.LINEUP)
    trace.asks(1, 1.5, ticket=3, position=3)
    trace.listens(1, 2.0, 4.0, ticket=3, position=4)
    assert trace.broken(4.1) == [Rule.POSITION]


def test_a_lineup_turned_away_for_overload_changes_nothing(trace: Trace) -> None:
    trace.call(1, 1.0, Call.LINEUP, 503, QueueStatus(code="OVERLOADED"))
    trace.passes(1, 2.0)
    assert trace.broken(3.0) == [Rule.GATE]


# --- identity ---


def test_being_taken_for_another_user_is_counted(trace: Trace) -> None:
    trace.let_in_at_once(1, 1.0)
    trace.passes(1, 2.0, identity="person-1")
    trace.passes(1, 3.0, identity="somebody-else")
    assert trace.broken(4.0) == [Rule.IDENTITY]


# --- the verdict ---


def test_asking_for_the_verdict_again_counts_nothing_twice(trace: Trace) -> None:
    for who in (1, 2, 3):
        trace.let_in_at_once(who, 1.0)
        trace.passes(who, 2.0)
    assert trace.verdict(3.0) == trace.verdict(3.0)


def test_breaches_are_told_with_names() -> None:
    told = describe(Broken(Rule.LOST, 1.0, 7, "the place in line was gone"), {7: "Hana"})
    assert told == "nobody in line is lost: Hana: the place in line was gone"
    assert describe(Broken(Rule.CAPACITY, 1.0, 0, "3 in at once"), {}).endswith("holds: 3 in at once")
