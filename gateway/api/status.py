"""The caller's state as clients read it: one renderer for lineup, status, gate and stream."""

from __future__ import annotations

import math

from gateway.api.notices import notice_json
from gateway.sse.interfaces import UserState
from gateway.waiting_room.notices import Notice
from gateway.waiting_room.state import State


def status_json(room: str, state: UserState, languages: str, reason: str = "") -> str:
    """The status object of a user who is waiting, as compact JSON; ``room`` is JSON already. ``languages``: what the
    client asks for, as in ``Accept-Language``. ``reason``: why the user stands further back than in the update before,
    if so. Built by hand for speed: each stream gets one every few seconds."""
    wait, between = state.estimated_wait, state.wait_range
    estimate = "" if wait is None else f',"estimatedWaitSeconds":{_seconds(wait)}'
    if between is not None:
        estimate += f',"estimatedWaitRange":[{_seconds(between[0])},{_seconds(between[1])}]'
    if state.paused:
        estimate += ',"paused":true'
    if state.unlikely:
        estimate += ',"unlikely":true'
    if reason:
        estimate += f',"reason":"{reason}"'
    if state.lane:
        estimate += f',"lane":"{state.lane}"'
    if state.notice is not None:
        estimate += _notice(state, languages)
    return (
        f'{{"room":{room},"ticket":{state.ticket},"userQueuePosition":{state.position},'
        f'"totalQueueSize":{state.total},"usersBehind":{state.behind}{estimate}}}'
    )


def registration_json(room: str, state: UserState, languages: str) -> str:
    """The status object of a registered user, as compact JSON; ``room`` is JSON already, ``languages`` as in
    ``status_json``. Moments are in epoch milliseconds by Redis's clock."""
    lane = f',"lane":"{state.lane}"' if state.lane else ""
    return (
        f'{{"room":{room},"opensAt":{state.opens_at},"serverTime":{state.server_time},"registered":{state.total}'
        f"{lane}{_notice(state, languages)}}}"
    )


def _notice(state: UserState, languages: str) -> str:
    """The member ``notice``, if there is one for this user."""
    text = notice_json(state.notice, languages) if isinstance(state.notice, Notice) else ""
    return f',"notice":{text}' if text else ""


def _seconds(wait: float) -> int:
    """An estimate for people in whole seconds, at least 1: a user who waits never sees 0."""
    return max(1, round(wait))


def state_json(room: str, state: State, languages: str, token: str = "") -> str:
    """The members of an envelope with the caller's state; ``room`` is JSON already, ``languages`` as in
    ``status_json``, ``token`` is the caller's pass, if any. Clients of the older system recognise "allowed in" by the
    missing ``data``."""
    if state.waiting:
        return f'"state":"WAITING","data":{status_json(room, state, languages)}'
    if state.registered:
        receipt = f',"receipt":"{state.receipt}"' if state.receipt else ""
        return f'"state":"REGISTERED","data":{registration_json(room, state, languages)[:-1]}{receipt}}}'
    members = f'"state":"ALLOWED_IN","room":{room},"expiresInSeconds":{math.ceil(state.expires_in)}'
    if state.claim_by:
        members += f',"claimBy":{state.claim_by}'
    return f'{members},"pass":"{token}"' if token else members
