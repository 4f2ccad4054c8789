"""Whether a stream goes on, as tables."""

from __future__ import annotations

import pytest

from gateway.sse import termination
from gateway.sse.termination import AllowedIn, StreamEnd, StreamRefused
from tests.sse.rig import ALLOWED_IN, NONE, Event, State

ADMITTED = Event("kim", 5, expires_in=240.0)
REMOVED = Event("kim", 5, "REMOVED", "ABSENT")
MOVED = Event("kim", 5, "REMOVED", "MOVED")


@pytest.mark.parametrize(
    ("of_event", "ticket", "about"),
    [(5, 5, True), (5, 4, True), (5, 6, False), (5, None, True), (None, 5, False), (None, None, False)],
)
def test_an_event_concerns_the_ticket_it_names_and_older_ones(
    of_event: int | None, ticket: int | None, about: bool
) -> None:
    assert termination.concerns(Event("kim", of_event), ticket) is about


@pytest.mark.parametrize(
    ("pending_event", "event", "kept"),
    [(None, 5, 5), (5, 6, 6), (6, 5, 6), (5, 5, 5), (None, None, None), (5, None, 5)],
)
def test_of_two_events_that_came_before_the_state_the_one_of_the_higher_ticket_is_kept(
    pending_event: int | None, event: int | None, kept: int | None
) -> None:
    before = None if pending_event is None else Event("kim", pending_event)
    after = termination.newer(before, Event("kim", event))

    assert (after.ticket if after else None) == kept


@pytest.mark.parametrize(
    ("state", "pending_event", "ending"),
    [
        (State(ticket=5), None, None),
        (State(ticket=5), ADMITTED, AllowedIn(240.0)),
        (State(ticket=4), ADMITTED, AllowedIn(240.0)),
        (State(ticket=6), ADMITTED, None),
        (State(ticket=5), REMOVED, StreamRefused("REMOVED", "ABSENT")),
        (State(ticket=6), REMOVED, None),
        (ALLOWED_IN, None, AllowedIn(240.0)),
        (ALLOWED_IN, ADMITTED, AllowedIn(240.0)),
        (ALLOWED_IN, REMOVED, AllowedIn(240.0)),
        (State("ADMITTED", 0, 0, expires_in=120.0), None, AllowedIn(120.0)),
        (NONE, None, StreamRefused("NOT_IN_QUEUE")),
        (NONE, ADMITTED, StreamRefused("NOT_IN_QUEUE")),
        (NONE, REMOVED, StreamRefused("REMOVED", "ABSENT")),
        (NONE, MOVED, StreamRefused("MOVED")),
        (State(ticket=5), MOVED, StreamRefused("MOVED")),
        (State(ticket=6), MOVED, None),
        (State("REGISTERED", 0, 0), None, None),
        (State("REGISTERED", 0, 0), ADMITTED, AllowedIn(240.0)),
    ],
)
def test_a_state_and_what_happened_before_it_decide_together(
    state: State, pending_event: Event | None, ending: StreamEnd | None
) -> None:
    assert termination.of_state(state, pending_event) == ending
