"""``/api/v1/queue/**``: entering a room's line, reading one's state, leaving."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from aiohttp import web
from multidict import istr

from gateway.api.endpoints import Endpoint
from gateway.api.envelope import state_response, success
from gateway.api.own_origin import with_room
from gateway.api.visitors import challenge_visitor, check_visitor, maker
from gateway.api.waiting_page import see_other
from gateway.auth.invitations import NO_INVITATION, Invitation, Invitations
from gateway.auth.visitors import visitor_key
from gateway.context import (
    ADMISSIONS,
    CONFIGURATION,
    CONTEXT,
    INVITATIONS,
    OBSERVERS,
    PASSES,
    ROOMS,
    SIGNING_KEYS,
    Handler,
    PublishedKeys,
    RequestContext,
)
from gateway.draw.receipts import RECEIPT_TYPE, receipt_for
from gateway.errors import (
    BadRequest,
    NotAllowedIn,
    NotEligible,
    NotInQueue,
    PrefetchRefused,
    QueueError,
    QueueStorageFull,
    QueueUnavailable,
    RoomClosed,
    RoomFull,
    SoldOut,
    TooManyLineups,
)
from gateway.observability.spans import Admissions
from gateway.query import values_of
from gateway.routing.callers import lane_of
from gateway.routing.table import RouteTable
from gateway.server.whole_response import JsonResponse
from gateway.settings.model import Settings
from gateway.waiting_room.keys import DEFAULT_ROOM
from gateway.waiting_room.lanes import DEFAULT_LANE
from gateway.waiting_room.named_room import UnmadeRoom
from gateway.waiting_room.state import Left, State, StateKind

if TYPE_CHECKING:
    from gateway.auth.csrf import Headers
    from gateway.auth.passes import Passes
    from gateway.waiting_room.room import Question, Room, What
    from gateway.waiting_room.rooms import Rooms

QUEUE = "/api/v1/queue"

FULL_RETRY_SECONDS = (5.0, 15.0)
"""Memory and places become free as users leave, or when an operator adds some. Each caller gets a random time from this
range."""

_SEC_PURPOSE: Final = istr("Sec-Purpose")
_LINEUPS: Final = frozenset({"lineup", "arrive"})
"""The questions that give a place."""

_LINEUP_MESSAGES = {
    StateKind.ADMITTED: "lineup.admitted",
    StateKind.ALLOWED_IN: "lineup.already",
    StateKind.WAITING: "lineup.waiting",
    StateKind.REGISTERED: "lineup.registered",
}
CLOSED_RETRY_SECONDS = (60.0, 300.0)
"""When to ask a closed room again. Each caller gets a random time from this range, or a shorter one if it opens or
registers users sooner."""
OPENING_SPREAD_SECONDS = 10.0
"""Callers who come back for an opening without a pre-queue do so within this time after it."""


def room_name(context: RequestContext) -> str:
    """The room of a call: ``?room=``, at most once, else ``default``. Raises BadRequest, also for a malformed query."""
    target = context.target
    if target is None or not target.has_query:
        return DEFAULT_ROOM
    names = values_of(target.raw_query, "room")
    if len(names) > 1:
        raise BadRequest("room is given several times")
    return names[0] if names else DEFAULT_ROOM


def room_runs_here(context: RequestContext, rooms: Rooms) -> bool:
    """Whether the room of a gated call or of a call of the queue runs at this instance, or the call has none."""
    if context.match is not None or context.described:
        return context.room is None or rooms.get(context.room) is not None
    try:
        return rooms.get(room_name(context)) is not None
    except BadRequest:
        # Reported later, to callers with a token.
        return True


def caller(context: RequestContext) -> str:
    """The key in rooms of the calling user or visitor. The gateway never answers these calls without one."""
    member = context.member
    assert member is not None  # noqa: S101 - the authentication middleware refused before
    return member


def is_prefetch(headers: Headers) -> bool:
    """Whether a browser loads a page in advance, which its user may never open."""
    values = headers.getall(_SEC_PURPOSE, ())
    return bool(values) and any("prefetch" in value.lower() for value in values)


def check_prefetch(headers: Headers) -> None:
    """Refuses to give a place to a page that is loaded in advance, or to let it claim one. A browser shows such a page
    without a further call, so nothing would claim the slot later. Raises PrefetchRefused."""
    if is_prefetch(headers):
        raise PrefetchRefused


def endpoints(settings: Settings) -> tuple[Endpoint, ...]:
    """The endpoints below ``/api/v1/queue``."""
    return (
        Endpoint("POST", f"{QUEUE}/lineup", lineup, label="queue.lineup", of_room=True, sheddable=True),
        Endpoint("GET", f"{QUEUE}/status", status, label="queue.status", of_room=True),
        Endpoint("POST", f"{QUEUE}/claim", claim, label="queue.claim", of_room=True),
        Endpoint(
            "DELETE", f"{QUEUE}/allowed-in-token", drop_slot, label="queue.allowed-in-token", of_room=True
        ),
        Endpoint("DELETE", f"{QUEUE}/waiting-token", drop_place, label="queue.waiting-token", of_room=True),
        Endpoint("POST", f"{QUEUE}/leave", leave, label="queue.leave", of_room=True, may_be_page=True),
    )


def issue_pass(passes: Passes, context: RequestContext, state: State) -> None:
    """If the caller is in this state allowed in, the answer and the service get a pass."""
    if state.allowed_in:
        context.queue_pass = passes.issue(
            state.room,
            caller(context),
            ticket=state.ticket,
            expires_in=state.expires_in,
            fresh=state.kind is StateKind.ADMITTED,
            secure=context.over_tls,
        )


def with_receipt(keys: PublishedKeys, state: State, user: str) -> State:
    """The state with a signed receipt, if the call has registered ``user`` for a draw. Raises QueueUnavailable if no
    key is known yet; the registration stands, and lining up again brings the receipt."""
    if not state.salt:
        return state
    receipt = signed_receipt(keys, state.room, user, state.salt)
    return state._replace(receipt=receipt)


def signed_receipt(keys: PublishedKeys, room: str, user: str, salt: bytes) -> str:
    """The receipt of a user who took part with this salt. Raises QueueUnavailable if no key is known yet."""
    signed = keys.sign(RECEIPT_TYPE, lambda now: receipt_for(room, user, salt, int(now)).claims())
    if signed is None:
        raise QueueUnavailable("the signing keys are not known yet", retry_after=1.0)
    return signed


def _closed(state: State) -> RoomClosed:
    wait = random.uniform(*CLOSED_RETRY_SECONDS)
    if state.registers_at:
        wait = min(wait, max(1.0, (state.registers_at - state.server_time) / 1000))
    elif state.opens_at:
        until = max(1.0, (state.opens_at - state.server_time) / 1000)
        wait = min(wait, until + random.uniform(0.0, OPENING_SPREAD_SECONDS))
    return RoomClosed(state.room, state.opens_at, state.registers_at, wait, state.notice)


def invitation_of(
    question: Question, context: RequestContext, room: str, table: RouteTable, invitations: Invitations
) -> Invitation | None:
    """The invitation ``?invite=`` of a caller who is not eligible. ``NO_INVITATION`` if the caller has none: then the
    lineup succeeds only if the caller has a place or slot already. None if the caller is eligible, or does not line up.
    Raises BadRequest for several invitations and for a malformed query. At the gate they count as none, because the
    query is the service's."""
    if question not in _LINEUPS:
        return None
    rule = table.eligible_of(room)
    if rule is None or (context.principal is not None and rule.matches(context.principal.claims)):
        return None
    try:
        given = values_of(context.target.raw_query, "invite") if context.target is not None else []
        if len(given) > 1:
            raise BadRequest("invite is given several times")
    except BadRequest:
        if question == "lineup":
            raise
        given = []
    found = invitations.read(given[0], room, caller(context)) if given else None
    return found or NO_INVITATION


def lane_of_caller(question: Question, context: RequestContext, room: str, table: RouteTable) -> str:
    """In which lane of the room the caller is to line up; ``default`` also if the caller does not."""
    lanes = table.lanes_of(room) if question in _LINEUPS else ()
    if not lanes or context.principal is None:
        return DEFAULT_LANE
    return lane_of(lanes, context.principal.claims) or DEFAULT_LANE


def lineup_terms(
    question: Question, context: RequestContext, room: str, table: RouteTable, invitations: Invitations
) -> tuple[Invitation | None, str]:
    """With which invitation, and in which lane, the caller is to line up."""
    if question not in _LINEUPS:
        return None, DEFAULT_LANE
    invitation = invitation_of(question, context, room, table, invitations)
    return invitation, lane_of_caller(question, context, room, table)


def refusal_of(state: State) -> QueueError | None:
    """The error for a user whom the room does not take; None if it has not refused the user."""
    match state.kind:
        case StateKind.FULL:
            return QueueStorageFull(random.uniform(*FULL_RETRY_SECONDS))
        case StateKind.ROOM_FULL:
            return RoomFull(random.uniform(*FULL_RETRY_SECONDS))
        case StateKind.TOO_MANY_LINEUPS:
            return TooManyLineups(state.expires_in)
        case StateKind.CLOSED:
            return _closed(state)
        case StateKind.NOT_ELIGIBLE:
            return NotEligible()
        case StateKind.UNPREPARED:
            return QueueUnavailable("another instance has to begin the pre-queue", retry_after=1.0)
        case StateKind.SOLD_OUT:
            return SoldOut()
    return None


class StateCall(NamedTuple):
    """A call that asks the room for the caller's state, and answers with it."""

    question: Question
    """What the room is asked."""
    answer: Callable[[RequestContext, Admissions, State], JsonResponse]
    """The answer. Raises an error of the queue if the user is refused."""


def _answer_lineup(context: RequestContext, admissions: Admissions, state: State) -> JsonResponse:
    if (refusal := refusal_of(state)) is not None:
        raise refusal
    if state.waiting:
        admissions.waits(state.room, caller(context), state.ticket, context.trace)
    return state_response(context, _LINEUP_MESSAGES[state.kind], state)


def _answer_status(context: RequestContext, admissions: Admissions, state: State) -> JsonResponse:
    if (refusal := refusal_of(state)) is not None:
        raise refusal
    if state.kind is StateKind.NONE:
        raise NotInQueue
    key = (
        "status.waiting"
        if state.waiting
        else "status.registered"
        if state.registered
        else "status.allowed_in"
    )
    return state_response(context, key, state)


def _answer_claim(context: RequestContext, admissions: Admissions, state: State) -> JsonResponse:
    if not state.allowed_in:
        raise NotAllowedIn
    return state_response(context, "claimed", state)


LINEUP: Final = StateCall("lineup", _answer_lineup)
STATUS: Final = StateCall("status", _answer_status)
CLAIM: Final = StateCall("enter", _answer_claim)


async def lineup(request: web.Request) -> web.StreamResponse:
    """Lines the caller up, or admits the caller at once."""
    return await _state(request, LINEUP)


async def status(request: web.Request) -> web.StreamResponse:
    """The caller's state."""
    return await _state(request, STATUS)


async def claim(request: web.Request) -> web.StreamResponse:
    """Claims the caller's slot, and renews the session, as a gated call does."""
    return await _state(request, CLAIM)


async def _state(request: web.Request, call: StateCall) -> web.StreamResponse:
    app, context = request.app, request[CONTEXT]
    if call is not STATUS:
        check_prefetch(request.headers)
    table, room = app[CONFIGURATION].tables.current.table, await _room(request)
    invitation = invitation_of(call.question, context, room.name, table, app[INVITATIONS])
    if call is LINEUP and isinstance(room, UnmadeRoom) and not room.off:
        room = await made_to_line_up_in(app, room, context, invitation)
    if call is LINEUP and not isinstance(room, UnmadeRoom):
        state = await line_up(app, context, room, "lineup", invitation)
    else:
        state = await room.ask(call.question, caller(context))
    if (passes := request.app.get(PASSES)) is not None:
        issue_pass(passes, context, state)
    state = with_receipt(request.app[SIGNING_KEYS], state, caller(context))
    return call.answer(context, request.app[ADMISSIONS], state)


async def line_up(
    app: web.Application,
    context: RequestContext,
    room: Room,
    question: Question,
    invitation: Invitation | None,
) -> State:
    """Where the caller stands after lining up by ``question``: ``lineup``, or ``arrive`` at the gate. The place of a
    visitor who has signed in becomes the user's, and other visitors are checked before. Raises TooManyPlaces,
    ChallengeRequired or QueueUnavailable."""
    if context.visitor_to_move is not None and not room.off:
        moved, state = await room.move(visitor_key(context.visitor_to_move), caller(context))
        if moved:
            app[OBSERVERS].metrics.place_moved(room.name, "user")
            # A gated call renews the session that has been moved, and claims the slot.
            return await room.enter(caller(context)) if question == "arrive" else state
    release = None
    if context.visitor is not None:
        release = await check_visitor(app, context, room)
    # If Redis does not answer, the visitor may have a place nevertheless, so nothing is released.
    lane = lane_of_caller(question, context, room.name, app[CONFIGURATION].tables.current.table)
    state = await room.ask(question, caller(context), invitation, lane=lane, lines_up=context.lines_up)
    if release is not None and refusal_of(state) is not None:
        await release()
    return state


STATE_CALLS: Final[Mapping[Handler, StateCall]] = {lineup: LINEUP, status: STATUS}
"""The calls that ask for a state and are made often, by their handler."""


async def drop_slot(request: web.Request) -> web.StreamResponse:
    """Gives up the caller's slot. The next user in line gets it at once."""
    if await _leave(request, "slot") is Left.NOTHING:
        raise NotAllowedIn
    return success(request[CONTEXT], "left.slot")


async def drop_place(request: web.Request) -> web.StreamResponse:
    """Gives up the caller's place in line."""
    if await _leave(request, "line") is Left.NOTHING:
        raise NotInQueue
    return success(request[CONTEXT], "left.place")


async def leave(request: web.Request) -> web.StreamResponse:
    """Gives up slot or place, whichever the caller has. For a button: the form of the page is answered with an address
    to go on to, and a script needs to read nothing."""
    await _leave(request, "both")
    if request[CONTEXT].as_page:
        return see_other(with_room("/api/v1/queue/left", room_name(request[CONTEXT])))
    return web.Response(status=204, headers={"Cache-Control": "no-store"})


async def _leave(request: web.Request, what: What) -> Left:
    room = await _room(request)
    return await room.leave(caller(request[CONTEXT]), what)


async def _room(request: web.Request) -> Room | UnmadeRoom:
    return await request.app[ROOMS].find(room_name(request[CONTEXT]))


async def made_to_line_up_in(
    app: web.Application, room: UnmadeRoom, context: RequestContext, invitation: Invitation | None
) -> Room:
    """The room, made because a caller lines up. Raises NotEligible, ChallengeRequired, TooManyRooms or
    QueueUnavailable."""
    if invitation is NO_INVITATION:
        # The room would say so, and would have been made for that.
        raise NotEligible
    # Before the room is made: visitors whom the service refuses would use up all rooms that there may be.
    await challenge_visitor(app, context, room.name)
    return await app[ROOMS].make(room.name, maker(context))
