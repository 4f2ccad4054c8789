"""One person's own evidence: positions, blips, sessions and absences."""

from __future__ import annotations

import pytest

from gateway.demo.rules import Rule
from gateway.demo.seen import Standing
from tests.demo.story import Story


@pytest.fixture
def story() -> Story:
    story = Story()
    story.lines_up(1, 1.0, ticket=9, position=9)
    return story


# --- positions ---


def test_a_position_that_grows_on_one_stream_is_counted(story: Story) -> None:
    story.opens(1, 1.1)
    story.updated(1, 1.2, 9, 7)
    story.updated(1, 3.2, 9, 8)
    assert story.broken(3.3) == [Rule.POSITION]


def test_a_position_that_grows_between_polls_is_counted(story: Story) -> None:
    story.asks(1, 2.0, 9, 7)
    story.asks(1, 3.0, 9, 8)
    assert story.broken(3.1) == [Rule.POSITION]


def test_an_update_that_was_under_way_during_a_poll_is_not_compared_with_it(story: Story) -> None:
    story.opens(1, 1.1)
    story.updated(1, 1.2, 9, 9)
    story.asks(1, 2.0, 9, 5)
    story.updated(1, 2.01, 9, 6)
    assert story.broken(2.1) == []


def test_the_first_position_on_a_new_stream_is_compared_with_what_was_known_when_it_was_asked_for(
    story: Story,
) -> None:
    story.listens(1, 1.1, 1.1, 9, 5)
    story.closes(1, 2.0)
    story.listens(1, 3.0, 3.0, 9, 6, stream=2)
    assert story.broken(3.1) == [Rule.POSITION]


@pytest.mark.parametrize("standing", [Standing("WAITING", 9, None), Standing("WAITING", 9, 0, 3, 3)])
def test_being_in_line_at_no_place_is_counted(story: Story, standing: Standing) -> None:
    story.opens(1, 1.1)
    story.hears(1, 1.2, "STATUS_UPDATE", standing)
    assert story.broken(1.3) == [Rule.POSITION]


def test_figures_that_do_not_add_up_are_counted(story: Story) -> None:
    story.opens(1, 1.1)
    story.hears(1, 1.2, "STATUS_UPDATE", Standing("WAITING", 9, 5, 9, 5))
    assert story.broken(1.3) == [Rule.POSITION]


def test_lining_up_again_may_move_to_the_back(story: Story) -> None:
    story.listens(1, 1.1, 1.1, 9, 5)
    story.closes(1, 2.0)
    story.lines_up(1, 3.0, ticket=20, position=16)
    story.listens(1, 3.1, 5.1, 20, 15, stream=2)
    assert story.broken(5.2) == []


# --- blips ---


def test_a_changed_ticket_is_counted(story: Story) -> None:
    story.opens(1, 1.1)
    story.updated(1, 1.2, 9, 9)
    story.updated(1, 3.2, 10, 9)
    assert story.broken(3.3) == [Rule.POSITION]


def test_another_ticket_after_a_blip_is_counted(story: Story) -> None:
    story.listens(1, 1.1, 1.1, 9, 5)
    story.closes(1, 2.0)
    story.listens(1, 3.0, 3.0, 20, 5, stream=2)
    assert story.broken(3.1) == [Rule.BLIP]


def test_no_place_after_a_blip_is_counted(story: Story) -> None:
    story.listens(1, 1.1, 1.1, 9, 5)
    story.closes(1, 2.0)
    story.opens(1, 3.0, stream=2)
    story.told_off(1, 3.1, "NOT_IN_QUEUE", stream=2)
    assert story.broken(3.2) == [Rule.BLIP]


def test_no_place_after_being_away_too_long_is_in_order(story: Story) -> None:
    story.listens(1, 1.1, 1.1, 9, 5)
    story.closes(1, 2.0)
    story.opens(1, 7.5, stream=2)
    story.told_off(1, 7.6, "NOT_IN_QUEUE", stream=2)
    assert story.broken(7.7) == []


def test_the_same_ticket_after_a_blip_is_a_check_that_holds(story: Story) -> None:
    story.listens(1, 1.1, 1.1, 9, 5)
    story.closes(1, 2.0)
    story.listens(1, 3.0, 3.0, 9, 5, stream=2)
    verdict = story.verdict(3.1)
    assert verdict.broken == ()
    assert verdict.checks[Rule.BLIP] == 1


# --- sessions ---


def test_a_refusal_within_the_session_is_counted(story: Story) -> None:
    story.opens(1, 1.1)
    story.let_in(1, 2.0)
    story.passes(1, 3.0)
    story.refused(1, 5.0)
    assert story.broken(5.1) == [Rule.SESSION]


def test_a_refusal_right_after_admission_is_counted(story: Story) -> None:
    story.opens(1, 1.1)
    story.let_in(1, 2.0)
    story.refused(1, 3.0)
    assert story.broken(3.1) == [Rule.SESSION]


def test_a_session_shorter_than_it_should_be_is_counted_whatever_the_gateway_says_of_it(story: Story) -> None:
    story.listens(1, 1.1, 1.1, 9, 5)
    story.hears(1, 2.0, "ALLOWED_IN", Standing("ALLOWED_IN", expires_in=1.0), event_id="end")
    story.refused(1, 5.0)
    assert story.broken(5.1) == [Rule.SESSION]


def test_who_was_away_when_let_in_has_as_long_as_the_gateway_says(story: Story) -> None:
    story.listens(1, 1.1, 1.1, 9, 5)
    story.closes(1, 2.0)
    story.opens(1, 6.0, stream=2)
    story.hears(1, 6.1, "ALLOWED_IN", Standing("ALLOWED_IN", expires_in=2.0), stream=2, event_id="end")
    story.refused(1, 8.0)
    assert story.broken(8.1) == []


def test_a_refusal_about_when_the_session_ends_is_not(story: Story) -> None:
    story.opens(1, 1.1)
    story.let_in(1, 2.0)
    story.passes(1, 3.0)
    story.refused(1, 8.7)
    assert story.broken(9.0) == []


def test_each_gated_call_renews_the_session(story: Story) -> None:
    story.opens(1, 1.1)
    story.let_in(1, 2.0)
    for at in (5.0, 9.0, 13.0):
        story.passes(1, at)
    story.refused(1, 17.0)
    assert story.broken(17.1) == [Rule.SESSION]


def test_no_slot_to_leave_within_the_session_is_counted(story: Story) -> None:
    story.opens(1, 1.1)
    story.let_in(1, 2.0)
    story.passes(1, 3.0)
    story.leaves_room(1, 4.0, status=404)
    assert story.broken(4.1) == [Rule.SESSION]


def test_being_shown_in_line_after_admission_is_counted_unless_it_was_under_way(story: Story) -> None:
    story.opens(1, 1.1)
    story.let_in(1, 2.0)
    story.opens(1, 2.1, stream=2)
    story.updated(1, 2.5, 9, 1, stream=2)
    assert story.broken(2.6) == []
    story.updated(1, 4.0, 9, 1, stream=2)
    assert story.broken(4.1) == [Rule.SESSION]


def test_being_told_to_wait_after_admission_is_counted(story: Story) -> None:
    story.opens(1, 1.1)
    story.let_in(1, 2.0)
    story.asks(1, 3.0, 9, 1)
    assert story.broken(3.1) == [Rule.SESSION]


# --- absence ---


def test_a_place_still_held_after_a_long_absence_is_counted(story: Story) -> None:
    story.listens(1, 1.1, 1.1, 9, 5)
    story.closes(1, 2.0)
    story.asks(1, 10.5, 9, 4)
    assert story.broken(10.6) == [Rule.ABSENT]


def test_a_place_gone_after_a_long_absence_is_a_check_that_holds(story: Story) -> None:
    story.listens(1, 1.1, 1.1, 9, 5)
    story.closes(1, 2.0)
    story.finds_nothing(1, 10.5)
    verdict = story.verdict(10.6)
    assert verdict.broken == ()
    assert verdict.checks[Rule.ABSENT] == 1


def test_a_place_still_held_shortly_after_the_limit_may_be_between_two_sweeps(story: Story) -> None:
    story.listens(1, 1.1, 1.1, 9, 5)
    story.closes(1, 2.0)
    story.asks(1, 9.5, 9, 4)
    assert story.broken(9.6) == []
