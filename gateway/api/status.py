"""The caller's state as clients read it: one renderer for lineup, status, gate and stream."""

from __future__ import annotations

import math

from gateway.sse.interfaces import UserState
from gateway.waiting_room.state import State


def status_json(room: str, state: UserState, reason: str = "") -> str:
    """The status object of a user who is waiting, as compact JSON; ``room`` is JSON already. ``reason``: why the user
    stands further back than in the update before, if so. Built by hand for speed: each stream gets one every few
    seconds."""
    wait, between = state.estimated_wait, state.wait_range
    estimate = "" if wait is None else f',"estimatedWaitSeconds":{_seconds(wait)}'
    if between is not None:
        estimate += f',"estimatedWaitRange":[{_seconds(between[0])},{_seconds(between[1])}]'
    if state.paused:
        estimate += ',"paused":true'
    if reason:
        estimate += f',"reason":"{reason}"'
    return (
        f'{{"room":{room},"ticket":{state.ticket},"userQueuePosition":{state.position},'
        f'"totalQueueSize":{state.total},"usersBehind":{state.behind}{estimate}}}'
    )


def registration_json(room: str, state: UserState) -> str:
    """The status object of a registered user, as compact JSON; ``room`` is JSON already. Moments are in epoch
    milliseconds by Redis's clock."""
    return f'{{"room":{room},"opensAt":{state.opens_at},"serverTime":{state.server_time},"registered":{state.total}}}'


def _seconds(wait: float) -> int:
    """An estimate for people in whole seconds, at least 1: a user who waits never sees 0."""
    return max(1, round(wait))


def state_json(room: str, state: State, token: str = "") -> str:
    """The members of an envelope with the caller's state; ``room`` is JSON already, ``token`` is the caller's pass, if
    any. Clients of the older system recognise "allowed in" by the missing ``data``."""
    if state.waiting:
        return f'"state":"WAITING","data":{status_json(room, state)}'
    if state.registered:
        receipt = f',"receipt":"{state.receipt}"' if state.receipt else ""
        return f'"state":"REGISTERED","data":{registration_json(room, state)[:-1]}{receipt}}}'
    members = f'"state":"ALLOWED_IN","room":{room},"expiresInSeconds":{math.ceil(state.expires_in)}'
    if state.claim_by:
        members += f',"claimBy":{state.claim_by}'
    return f'{members},"pass":"{token}"' if token else members
