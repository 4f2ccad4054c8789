"""What the gateway writes by hand, in the slow and obvious way."""

from __future__ import annotations

from typing import Any

from gateway.waiting_room.state import State


def status_object(room: str, state: State) -> dict[str, Any]:
    """The status object of a user who is waiting in ``room``."""
    content: dict[str, Any] = {
        "room": room,
        "ticket": state.ticket,
        "userQueuePosition": state.position,
        "totalQueueSize": state.total,
        "usersBehind": state.behind,
    }
    if state.estimated_wait is not None:
        content["estimatedWaitSeconds"] = max(1, round(state.estimated_wait))
    if state.wait_range is not None:
        content["estimatedWaitRange"] = [max(1, round(seconds)) for seconds in state.wait_range]
    if state.paused:
        content["paused"] = True
    if state.unlikely:
        content["unlikely"] = True
    return content
