"""One status object, written in two ways."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from gateway.api.envelope import encode
from gateway.api.status import status_json
from gateway.waiting_room.state import State, StateKind
from tests.api.rig import status_object

numbers = st.integers(0, 2**53)


@given(st.text(), numbers, numbers, numbers, st.none() | st.floats(0, 1e12), st.booleans())
def test_by_hand_it_is_what_the_encoder_writes(
    room: str, ticket: int, position: int, total: int, wait: float | None, paused: bool
) -> None:
    state = State(room, StateKind.WAITING, ticket, position, total, 0.0, wait, paused)
    by_hand = status_json(encode(room).decode(), state, "en")
    assert by_hand.encode() == encode(status_object(room, state))
    assert json.loads(by_hand)["room"] == room
    assert json.loads(by_hand).get("paused", False) is paused
