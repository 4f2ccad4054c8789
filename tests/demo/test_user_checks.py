"""The rules that one person's observations can break: positions, blips, sessions, absences, and those of one stream."""

from __future__ import annotations

import pytest

from gateway.demo.observations import Call, QueueStatus, RequestSent, ResponseReceived
from gateway.demo.rules import Rule
from tests.demo.trace import Trace


@pytest.fixture
def trace() -> Trace:
    trace = Trace()
    trace.lines_up(1, 1.0, ticket=9, position=9)
    return trace


# --- positions ---


def test_a_position_that_grows_on_one_stream_is_counted(trace: Trace) -> None:
    trace.opens(1, 1.1)
    trace.updated(1, 1.2, 9, 7)
    trace.updated(1, 3.2, 9, 8)
    assert trace.broken(3.3) == [Rule.POSITION]


def test_a_position_that_grows_between_polls_is_counted(trace: Trace) -> None:
    trace.asks(1, 2.0, 9, 7)
    trace.asks(1, 3.0, 9, 8)
    assert trace.broken(3.1) == [Rule.POSITION]


def test_an_update_that_was_under_way_during_a_poll_is_not_compared_with_it(trace: Trace) -> None:
    trace.opens(1, 1.1)
    trace.updated(1, 1.2, 9, 9)
    trace.asks(1, 2.0, 9, 5)
    trace.updated(1, 2.01, 9, 6)
    assert trace.broken(2.1) == []


def test_the_first_position_on_a_new_stream_is_compared_with_what_was_known_when_it_was_asked_for(
    trace: Trace,
) -> None:
    trace.listens(1, 1.1, 1.1, 9, 5)
    trace.closes(1, 2.0)
    trace.listens(1, 3.0, 3.0, 9, 6, stream=2)
    assert trace.broken(3.1) == [Rule.POSITION]


@pytest.mark.parametrize(
    "queue_status", [QueueStatus("WAITING", 9, None), QueueStatus("WAITING", 9, 0, 3, 3)]
)
def test_being_in_line_at_no_place_is_counted(trace: Trace, queue_status: QueueStatus) -> None:
    trace.opens(1, 1.1)
    trace.hears(1, 1.2, "STATUS_UPDATE", queue_status)
    assert trace.broken(1.3) == [Rule.POSITION]


def test_figures_that_do_not_add_up_are_counted(trace: Trace) -> None:
    trace.opens(1, 1.1)
    trace.hears(1, 1.2, "STATUS_UPDATE", QueueStatus("WAITING", 9, 5, 9, 5))
    assert trace.broken(1.3) == [Rule.POSITION]


def test_lining_up_again_may_move_to_the_back(trace: Trace) -> None:
    trace.listens(1, 1.1, 1.1, 9, 5)
    trace.closes(1, 2.0)
    trace.lines_up(1, 3.0, ticket=20, position=16)
    trace.listens(1, 3.1, 5.1, 20, 15, stream=2)
    assert trace.broken(5.2) == []


# --- blips ---


def test_a_changed_ticket_is_counted(trace: Trace) -> None:
    trace.opens(1, 1.1)
    trace.updated(1, 1.2, 9, 9)
    trace.updated(1, 3.2, 10, 9)
    assert trace.broken(3.3) == [Rule.POSITION]


def test_another_ticket_after_a_blip_is_counted(trace: Trace) -> None:
    trace.listens(1, 1.1, 1.1, 9, 5)
    trace.closes(1, 2.0)
    trace.listens(1, 3.0, 3.0, 20, 5, stream=2)
    assert trace.broken(3.1) == [Rule.BLIP]


def test_no_place_after_a_blip_is_counted(trace: Trace) -> None:
    trace.listens(1, 1.1, 1.1, 9, 5)
    trace.closes(1, 2.0)
    trace.opens(1, 3.0, stream=2)
    trace.told_off(1, 3.1, "NOT_IN_QUEUE", stream=2)
    assert trace.broken(3.2) == [Rule.BLIP]


def test_no_place_after_being_away_too_long_is_in_order(trace: Trace) -> None:
    trace.listens(1, 1.1, 1.1, 9, 5)
    trace.closes(1, 2.0)
    trace.opens(1, 7.5, stream=2)
    trace.told_off(1, 7.6, "NOT_IN_QUEUE", stream=2)
    assert trace.broken(7.7) == []


def test_the_same_ticket_after_a_blip_is_a_check_that_holds(trace: Trace) -> None:
    trace.listens(1, 1.1, 1.1, 9, 5)
    trace.closes(1, 2.0)
    trace.listens(1, 3.0, 3.0, 9, 5, stream=2)
    verdict = trace.verdict(3.1)
    assert verdict.broken == ()
    assert verdict.checks[Rule.BLIP] == 1


# --- sessions ---


def test_a_refusal_within_the_session_is_counted(trace: Trace) -> None:
    trace.opens(1, 1.1)
    trace.let_in(1, 2.0)
    trace.passes(1, 3.0)
    trace.refused(1, 5.0)
    assert trace.broken(5.1) == [Rule.SESSION]


def test_a_refusal_right_after_admission_is_counted(trace: Trace) -> None:
    trace.opens(1, 1.1)
    trace.let_in(1, 2.0)
    trace.refused(1, 3.0)
    assert trace.broken(3.1) == [Rule.SESSION]


def test_a_session_shorter_than_it_should_be_is_counted_whatever_the_gateway_says_of_it(trace: Trace) -> None:
    trace.listens(1, 1.1, 1.1, 9, 5)
    trace.hears(1, 2.0, "ALLOWED_IN", QueueStatus("ALLOWED_IN", expires_in=1.0), event_id="end")
    trace.refused(1, 5.0)
    assert trace.broken(5.1) == [Rule.SESSION]


def test_a_user_away_at_admission_has_as_long_as_the_gateway_says(trace: Trace) -> None:
    trace.listens(1, 1.1, 1.1, 9, 5)
    trace.closes(1, 2.0)
    trace.opens(1, 6.0, stream=2)
    trace.hears(1, 6.1, "ALLOWED_IN", QueueStatus("ALLOWED_IN", expires_in=2.0), stream=2, event_id="end")
    trace.refused(1, 8.0)
    assert trace.broken(8.1) == []


def test_a_refusal_about_when_the_session_ends_is_not(trace: Trace) -> None:
    trace.opens(1, 1.1)
    trace.let_in(1, 2.0)
    trace.passes(1, 3.0)
    trace.refused(1, 8.7)
    assert trace.broken(9.0) == []


def test_each_gated_call_renews_the_session(trace: Trace) -> None:
    trace.opens(1, 1.1)
    trace.let_in(1, 2.0)
    for at in (5.0, 9.0, 13.0):
        trace.passes(1, at)
    trace.refused(1, 17.0)
    assert trace.broken(17.1) == [Rule.SESSION]


def test_no_slot_to_leave_within_the_session_is_counted(trace: Trace) -> None:
    trace.opens(1, 1.1)
    trace.let_in(1, 2.0)
    trace.passes(1, 3.0)
    trace.leaves_room(1, 4.0, status=404)
    assert trace.broken(4.1) == [Rule.SESSION]


def test_being_shown_in_line_after_admission_is_counted_unless_it_was_under_way(trace: Trace) -> None:
    trace.opens(1, 1.1)
    trace.let_in(1, 2.0)
    trace.opens(1, 2.1, stream=2)
    trace.updated(1, 2.5, 9, 1, stream=2)
    assert trace.broken(2.6) == []
    trace.updated(1, 4.0, 9, 1, stream=2)
    assert trace.broken(4.1) == [Rule.SESSION]


def test_being_told_to_wait_after_admission_is_counted(trace: Trace) -> None:
    trace.opens(1, 1.1)
    trace.let_in(1, 2.0)
    trace.asks(1, 3.0, 9, 1)
    assert trace.broken(3.1) == [Rule.SESSION]


# --- absence ---


def test_a_place_still_held_after_a_long_absence_is_counted(trace: Trace) -> None:
    trace.listens(1, 1.1, 1.1, 9, 5)
    trace.closes(1, 2.0)
    trace.asks(1, 10.5, 9, 4)
    assert trace.broken(10.6) == [Rule.ABSENT]


def test_a_place_gone_after_a_long_absence_is_a_check_that_holds(trace: Trace) -> None:
    trace.listens(1, 1.1, 1.1, 9, 5)
    trace.closes(1, 2.0)
    trace.finds_nothing(1, 10.5)
    verdict = trace.verdict(10.6)
    assert verdict.broken == ()
    assert verdict.checks[Rule.ABSENT] == 1


def test_a_place_still_held_shortly_after_the_limit_may_be_between_two_sweeps(trace: Trace) -> None:
    trace.listens(1, 1.1, 1.1, 9, 5)
    trace.closes(1, 2.0)
    trace.asks(1, 9.5, 9, 4)
    assert trace.broken(9.6) == []


@pytest.fixture
def streaming() -> Trace:
    streaming = Trace()
    streaming.lines_up(1, 1.0, ticket=1)
    streaming.opens(1, 1.1)
    return streaming


# --- the last frame ---


def test_an_event_after_the_last_frame_is_counted(streaming: Trace) -> None:
    streaming.let_in(1, 2.0)
    streaming.updated(1, 2.1, 1, 1)
    assert streaming.broken(2.2) == [Rule.LAST_FRAME]


def test_a_second_last_frame_is_counted(streaming: Trace) -> None:
    streaming.let_in(1, 2.0)
    streaming.let_in(1, 2.1)
    assert streaming.broken(2.2) == [Rule.LAST_FRAME]


def test_a_last_frame_that_browsers_would_not_recognise_is_counted(streaming: Trace) -> None:
    streaming.hears(1, 2.0, "ALLOWED_IN", QueueStatus(state="ALLOWED_IN"), event_id="")
    assert streaming.broken(2.2) == [Rule.LAST_FRAME]


def test_a_stream_that_stays_open_after_its_last_frame_is_counted(streaming: Trace) -> None:
    streaming.let_in(1, 2.0)
    streaming.closes(1, 4.5)
    assert streaming.broken(5.0) == [Rule.LAST_FRAME]


def test_a_stream_closed_early_by_the_client_after_its_last_frame_is_in_order(streaming: Trace) -> None:
    streaming.let_in(1, 2.0)
    streaming.closes(1, 2.5)
    assert streaming.broken(5.0) == []


# --- updates ---


def test_updates_at_the_interval_are_in_order(streaming: Trace) -> None:
    for at in (1.2, 3.2, 5.2, 7.9):
        streaming.updated(1, at, 1, 1)
    verdict = streaming.verdict(8.0)
    assert verdict.broken == ()
    assert verdict.checks[Rule.UPDATES] == 4


def test_a_first_update_that_keeps_one_waiting_is_counted(streaming: Trace) -> None:
    streaming.updated(1, 3.3, 1, 1)
    assert streaming.broken(3.4) == [Rule.UPDATES]


def test_an_update_that_comes_too_late_is_counted(streaming: Trace) -> None:
    streaming.updated(1, 1.2, 1, 1)
    streaming.updated(1, 5.4, 1, 1)
    assert streaming.broken(5.5) == [Rule.UPDATES]


def test_a_stream_that_falls_silent_is_counted_once_without_waiting_for_its_end(streaming: Trace) -> None:
    streaming.updated(1, 1.2, 1, 1)
    assert streaming.broken(5.0) == []
    assert streaming.broken(5.4) == [Rule.UPDATES]
    assert streaming.broken(9.0) == [Rule.UPDATES]
    streaming.updated(1, 9.5, 1, 1)
    assert streaming.broken(9.6) == [Rule.UPDATES]


def test_silence_before_a_stream_is_closed_is_counted(streaming: Trace) -> None:
    streaming.updated(1, 1.2, 1, 1)
    streaming.closes(1, 6.0)
    assert streaming.broken(6.1) == [Rule.UPDATES]


def test_the_crowds_own_stall_is_no_silence_of_the_gateways(streaming: Trace) -> None:
    streaming.updated(1, 1.2, 1, 1)
    streaming.observer.stalled(until=5.0, seconds=1.0)
    streaming.updated(1, 5.4, 1, 1)
    assert streaming.broken(5.5) == []


def test_silence_is_judged_in_the_light_of_a_stall_that_goes_on(streaming: Trace) -> None:
    streaming.updated(1, 1.2, 1, 1)
    streaming.observer.stalling(since=2.0)
    streaming.closes(1, 6.0)
    assert streaming.broken(6.1) == []


def test_a_stall_that_goes_on_excuses_nothing_that_was_late_before(streaming: Trace) -> None:
    streaming.updated(1, 1.2, 1, 1)
    streaming.observer.stalling(since=5.5)
    streaming.closes(1, 6.0)
    assert streaming.broken(6.1) == [Rule.UPDATES]


def test_after_a_stall_silence_counts_again(streaming: Trace) -> None:
    streaming.updated(1, 1.2, 1, 1)
    streaming.observer.stalling(since=2.0)
    streaming.observer.stalling(None)
    streaming.observer.stalled(until=3.0, seconds=1.0)
    streaming.updated(1, 3.2, 1, 1)
    streaming.closes(1, 7.4)
    assert streaming.broken(7.5) == [Rule.UPDATES]


# --- being told of one's leave ---


@pytest.mark.parametrize("call", [Call.LEAVE_LINE, Call.LEAVE])
def test_a_leave_that_never_reaches_the_open_stream_is_counted(streaming: Trace, call: Call) -> None:
    streaming.updated(1, 1.2, 1, 1)
    streaming.call(1, 2.0, call, 200)
    streaming.updated(1, 3.2, 1, 1)
    assert streaming.broken(3.4) == []
    assert streaming.broken(3.6) == [Rule.TOLD]


def test_a_leave_told_on_the_stream_is_a_check_that_holds(streaming: Trace) -> None:
    streaming.updated(1, 1.2, 1, 1)
    streaming.leaves_line(1, 2.0)
    streaming.told_off(1, 2.05, "REMOVED", "LEFT")
    verdict = streaming.verdict(9.0)
    assert verdict.broken == ()
    assert verdict.checks[Rule.TOLD] == 1


def test_a_leave_told_before_its_own_answer_is_read_is_in_order(streaming: Trace) -> None:
    streaming.updated(1, 1.2, 1, 1)
    streaming.observer.observe(RequestSent(1, 2.0, Call.LEAVE_LINE))
    streaming.told_off(1, 2.05, "REMOVED", "LEFT")
    streaming.observer.observe(ResponseReceived(1, 2.1, Call.LEAVE_LINE, 2.0, 200))
    assert streaming.broken(9.0) == []
