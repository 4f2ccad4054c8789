"""The rules of one stream."""

from __future__ import annotations

import pytest

from gateway.demo.rules import Rule
from gateway.demo.seen import Answered, Call, Sent, Standing
from tests.demo.story import Story


@pytest.fixture
def story() -> Story:
    story = Story()
    story.lines_up(1, 1.0, ticket=1)
    story.opens(1, 1.1)
    return story


# --- the last frame ---


def test_an_event_after_the_last_frame_is_counted(story: Story) -> None:
    story.let_in(1, 2.0)
    story.updated(1, 2.1, 1, 1)
    assert story.broken(2.2) == [Rule.LAST_FRAME]


def test_a_second_last_frame_is_counted(story: Story) -> None:
    story.let_in(1, 2.0)
    story.let_in(1, 2.1)
    assert story.broken(2.2) == [Rule.LAST_FRAME]


def test_a_last_frame_that_browsers_would_not_recognise_is_counted(story: Story) -> None:
    story.hears(1, 2.0, "ALLOWED_IN", Standing(state="ALLOWED_IN"), event_id="")
    assert story.broken(2.2) == [Rule.LAST_FRAME]


def test_a_stream_that_stays_open_after_its_last_frame_is_counted(story: Story) -> None:
    story.let_in(1, 2.0)
    story.closes(1, 4.5)
    assert story.broken(5.0) == [Rule.LAST_FRAME]


def test_a_stream_closed_early_by_the_client_after_its_last_frame_is_in_order(story: Story) -> None:
    story.let_in(1, 2.0)
    story.closes(1, 2.5)
    assert story.broken(5.0) == []


# --- updates ---


def test_updates_at_the_interval_are_in_order(story: Story) -> None:
    for at in (1.2, 3.2, 5.2, 7.9):
        story.updated(1, at, 1, 1)
    verdict = story.verdict(8.0)
    assert verdict.broken == ()
    assert verdict.checks[Rule.UPDATES] == 4


def test_a_first_update_that_keeps_one_waiting_is_counted(story: Story) -> None:
    story.updated(1, 3.3, 1, 1)
    assert story.broken(3.4) == [Rule.UPDATES]


def test_an_update_that_comes_too_late_is_counted(story: Story) -> None:
    story.updated(1, 1.2, 1, 1)
    story.updated(1, 5.4, 1, 1)
    assert story.broken(5.5) == [Rule.UPDATES]


def test_a_stream_that_falls_silent_is_counted_once_without_waiting_for_its_end(story: Story) -> None:
    story.updated(1, 1.2, 1, 1)
    assert story.broken(5.0) == []
    assert story.broken(5.4) == [Rule.UPDATES]
    assert story.broken(9.0) == [Rule.UPDATES]
    story.updated(1, 9.5, 1, 1)
    assert story.broken(9.6) == [Rule.UPDATES]


def test_silence_before_a_stream_is_closed_is_counted(story: Story) -> None:
    story.updated(1, 1.2, 1, 1)
    story.closes(1, 6.0)
    assert story.broken(6.1) == [Rule.UPDATES]


def test_the_crowds_own_stall_is_no_silence_of_the_gateways(story: Story) -> None:
    story.updated(1, 1.2, 1, 1)
    story.observer.stalled(until=5.0, seconds=1.0)
    story.updated(1, 5.4, 1, 1)
    assert story.broken(5.5) == []


def test_silence_is_judged_in_the_light_of_a_stall_that_goes_on(story: Story) -> None:
    story.updated(1, 1.2, 1, 1)
    story.observer.stalling(since=2.0)
    story.closes(1, 6.0)
    assert story.broken(6.1) == []


def test_a_stall_that_goes_on_excuses_nothing_that_was_late_before(story: Story) -> None:
    story.updated(1, 1.2, 1, 1)
    story.observer.stalling(since=5.5)
    story.closes(1, 6.0)
    assert story.broken(6.1) == [Rule.UPDATES]


def test_after_a_stall_silence_counts_again(story: Story) -> None:
    story.updated(1, 1.2, 1, 1)
    story.observer.stalling(since=2.0)
    story.observer.stalling(None)
    story.observer.stalled(until=3.0, seconds=1.0)
    story.updated(1, 3.2, 1, 1)
    story.closes(1, 7.4)
    assert story.broken(7.5) == [Rule.UPDATES]


# --- being told of one's leave ---


@pytest.mark.parametrize("call", [Call.LEAVE_LINE, Call.LEAVE])
def test_a_leave_that_never_reaches_the_open_stream_is_counted(story: Story, call: Call) -> None:
    story.updated(1, 1.2, 1, 1)
    story.call(1, 2.0, call, 200)
    story.updated(1, 3.2, 1, 1)
    assert story.broken(3.4) == []
    assert story.broken(3.6) == [Rule.TOLD]


def test_a_leave_told_on_the_stream_is_a_check_that_holds(story: Story) -> None:
    story.updated(1, 1.2, 1, 1)
    story.leaves_line(1, 2.0)
    story.told_off(1, 2.05, "REMOVED", "LEFT")
    verdict = story.verdict(9.0)
    assert verdict.broken == ()
    assert verdict.checks[Rule.TOLD] == 1


def test_a_leave_told_before_its_own_answer_is_read_is_in_order(story: Story) -> None:
    story.updated(1, 1.2, 1, 1)
    story.observer.see(Sent(1, 2.0, Call.LEAVE_LINE))
    story.told_off(1, 2.05, "REMOVED", "LEFT")
    story.observer.see(Answered(1, 2.1, Call.LEAVE_LINE, 2.0, 200))
    assert story.broken(9.0) == []
