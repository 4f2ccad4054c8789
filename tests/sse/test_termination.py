"""Whether a stream goes on, as tables."""

from __future__ import annotations

import pytest

from gateway.sse import termination as verdict
from gateway.sse.termination import AllowedIn, Refused, StreamEnd
from tests.sse.rig import ALLOWED_IN, NONE, Event, State

ADMITTED = Event("kim", 5, expires_in=240.0)
REMOVED = Event("kim", 5, "REMOVED", "ABSENT")


@pytest.mark.parametrize(
    ("of_event", "ticket", "about"),
    [(5, 5, True), (5, 4, True), (5, 6, False), (5, None, True), (None, 5, False), (None, None, False)],
)
def test_an_event_concerns_the_ticket_it_names_and_older_ones(
    of_event: int | None, ticket: int | None, about: bool
) -> None:
    assert verdict.concerns(Event("kim", of_event), ticket) is about


@pytest.mark.parametrize(
    ("held", "event", "kept"),
    [(None, 5, 5), (5, 6, 6), (6, 5, 6), (5, 5, 5), (None, None, None), (5, None, 5)],
)
def test_of_two_events_that_came_before_the_state_the_one_of_the_higher_ticket_is_kept(
    held: int | None, event: int | None, kept: int | None
) -> None:
    before = None if held is None else Event("kim", held)
    after = verdict.newer(before, Event("kim", event))

    assert (after.ticket if after else None) == kept


@pytest.mark.parametrize(
    ("state", "held", "ending"),
    [
        (State(ticket=5), None, None),
        (State(ticket=5), ADMITTED, AllowedIn(240.0)),
        (State(ticket=4), ADMITTED, AllowedIn(240.0)),
        (State(ticket=6), ADMITTED, None),
        (State(ticket=5), REMOVED, Refused("REMOVED", "ABSENT")),
        (State(ticket=6), REMOVED, None),
        (ALLOWED_IN, None, AllowedIn(240.0)),
        (ALLOWED_IN, ADMITTED, AllowedIn(240.0)),
        (ALLOWED_IN, REMOVED, AllowedIn(240.0)),
        (State("ADMITTED", 0, 0, expires_in=120.0), None, AllowedIn(120.0)),
        (NONE, None, Refused("NOT_IN_QUEUE")),
        (NONE, ADMITTED, Refused("NOT_IN_QUEUE")),
        (NONE, REMOVED, Refused("REMOVED", "ABSENT")),
    ],
)
def test_a_state_and_what_happened_before_it_decide_together(
    state: State, held: Event | None, ending: StreamEnd | None
) -> None:
    assert verdict.of_state(state, held) == ending
