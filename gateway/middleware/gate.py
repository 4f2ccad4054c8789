"""The gate: a gated call passes only for a user who is allowed in, and renews the session in the same Redis call. Where
the gate lines users up, that call lines up a user without a place, too."""

from __future__ import annotations

from typing import Final, NamedTuple, Protocol

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.api.envelope import NotInQueueAtGate, status_of
from gateway.api.queue import (
    invitation_of,
    is_prefetch,
    issue_pass,
    line_up,
    lineup_terms,
    made_to_line_up_in,
    refusal_of,
    with_receipt,
)
from gateway.auth.csrf import Headers
from gateway.context import (
    ADMISSIONS,
    CONFIGURATION,
    CONTEXT,
    INVITATIONS,
    OBSERVERS,
    PASSES,
    ROOMS,
    SIGNING_KEYS,
    RequestContext,
)
from gateway.errors import GatewayError, PrefetchRefused, QueueUnavailable, QueueWaiting
from gateway.observability.metrics import Metrics
from gateway.observability.spans import Admissions
from gateway.routing.table import RouteTable
from gateway.settings.model import Settings
from gateway.waiting_room.named_room import UnmadeRoom
from gateway.waiting_room.room import Question, Room
from gateway.waiting_room.rooms import Rooms
from gateway.waiting_room.rules import Mode
from gateway.waiting_room.state import State, StateKind

_BROKEN_SERVICE: Final = frozenset({502, 503, 504})


@web.middleware
async def gate(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Checks a gated call with its room. It is the last middleware: passing the gate renews a session, so only a call
    that will be served may do so. Raises QueueWaiting, NotInQueueAtGate, PrefetchRefused, an error with which a lineup
    is refused, or QueueUnavailable while Redis is unavailable."""
    context = request[CONTEXT]
    await check_gate(request, context)
    try:
        return await handler(request)
    except GatewayError as error:
        note_failure(request.app[ROOMS], context, error)
        raise


async def check_gate(request: web.Request, context: RequestContext) -> None:
    """Checks the call that ``context`` is about with its room, if it is gated. Raises the errors of ``gate``."""
    if (
        context.room is not None
        and not passes_by_rule(context, request.app[OBSERVERS].metrics)
        and (member := context.member) is not None
    ):
        await _pass_gate(request, context, context.room, member)


def passes_by_rule(context: RequestContext, metrics: Metrics) -> bool:
    """Whether the caller passes the gate without a place. Then Redis is not asked, and the call is counted."""
    name = context.bypass
    if name is None or context.room is None:
        return False
    metrics.bypassed(context.room, name)
    return True


class GatedRoom(Protocol):
    """A room as a gate needs it."""

    @property
    def name(self) -> str: ...
    @property
    def mode(self) -> Mode: ...


class KnownRoom(NamedTuple):
    """A room of which only this is known, because Redis is away."""

    name: str
    mode: Mode


def skips_gate(room: GatedRoom, context: RequestContext, headers: Headers) -> bool:
    """Whether the call goes on without asking the room: it is loaded in advance, and needs no place. Raises
    PrefetchRefused if it needs one."""
    if not is_prefetch(headers):
        return False
    if room.mode == "on" and not context.renews_only:
        raise PrefetchRefused
    return True


def lines_up_at_gate(context: RequestContext, rooms: Rooms) -> bool:
    """Whether the gate lines the caller up who has no place: by the room's ``lineup``, or because of this call."""
    if context.room is None or context.renews_only:
        return False
    return context.lines_up or rooms.implicit_of(context.room)


def first_question(context: RequestContext, rooms: Rooms, table: RouteTable) -> Question:
    """What the room of a gated call is asked first. It is ``enter`` also for a caller who is lined up, if that takes
    more than one call: then only callers without a place pay for it, see ``line_up_at_gate``."""
    if not lines_up_at_gate(context, rooms):
        return "enter"
    checked = context.visitor is not None and context.room in table.checked_rooms
    return "enter" if checked or context.visitor_to_move is not None else "arrive"


async def line_up_at_gate(app: web.Application, context: RequestContext, room: Room, first: State) -> State:
    """Where the caller stands in the end, who stands as ``first`` says after ``enter``. Raises the errors of
    ``line_up``."""
    if first.kind is not StateKind.NONE or not lines_up_at_gate(context, app[ROOMS]):
        return first
    table = app[CONFIGURATION].tables.current.table
    invitation = invitation_of("arrive", context, room.name, table, app[INVITATIONS])
    return await line_up(app, context, room, "arrive", invitation)


async def _pass_gate(request: web.Request, context: RequestContext, name: str, user: str) -> None:
    app = request.app
    settings, metrics, rooms = app[CONFIGURATION].settings, app[OBSERVERS].metrics, app[ROOMS]
    room: GatedRoom = KnownRoom(name, rooms.mode_of(name))
    try:
        found = room = await rooms.find(name)
        if skips_gate(room, context, request.headers):
            return
        state = await _state_at_gate(app, context, found, user)
        state = with_receipt(app[SIGNING_KEYS], state, user)
    except PrefetchRefused:
        raise
    except GatewayError as error:
        check_failed(room, error, settings, context.renews_only, metrics)
    else:
        note_lineup(app[ADMISSIONS], context, state, user)
        check_place(room, state, settings, context.renews_only, metrics)
        context.may_reopen_claim = state.may_reopen
        if state.allowed_in and room.mode == "on" and not context.renews_only:
            context.session_user = user
        if (passes := app.get(PASSES)) is not None:
            issue_pass(passes, context, state)


async def _state_at_gate(
    app: web.Application, context: RequestContext, found: Room | UnmadeRoom, user: str
) -> State:
    """Where the caller stands in the end. A room that no call has made is made if the gate lines the caller up."""
    rooms, table = app[ROOMS], app[CONFIGURATION].tables.current.table
    question = first_question(context, rooms, table)
    invitation, lane = lineup_terms(question, context, found.name, table, app[INVITATIONS])
    if isinstance(found, UnmadeRoom):
        if found.off or not lines_up_at_gate(context, rooms):
            return await found.enter(user)
        found = await made_to_line_up_in(app, found, context, invitation)
    state = await found.ask(question, user, invitation, lane=lane, lines_up=context.lines_up)
    return await line_up_at_gate(app, context, found, state) if question == "enter" else state


def note_lineup(admissions: Admissions, context: RequestContext, state: State, user: str) -> None:
    """The wait of a user whom this call has put in line belongs to its trace. Those that the user repeats meanwhile are
    no lineups."""
    if state.lined_up:
        admissions.waits(state.room, user, state.ticket, context.trace)


def check_place(
    room: GatedRoom, state: State, settings: Settings, renews_only: bool, metrics: Metrics
) -> None:
    """Whether a user in this state passes the gate. Raises QueueWaiting, NotInQueueAtGate, or the error with which the
    user is not lined up, if not."""
    if state.allowed_in or renews_only:
        return
    if state.pending:
        _refuse(room, QueueWaiting(state, retry_after=settings.queue_status_interval_seconds), metrics)
    else:
        _refuse(room, refusal_of(state) or NotInQueueAtGate(), metrics)


def check_failed(
    room: GatedRoom, error: GatewayError, settings: Settings, renews_only: bool, metrics: Metrics
) -> None:
    """Whether a call passes the gate although the room could not be asked, or may not be. Raises ``error`` if not."""
    if isinstance(error, QueueUnavailable):
        check_unavailable(room, error, settings, renews_only, metrics)
    else:
        _refuse(room, error, metrics)


def note_failure(rooms: Rooms, context: RequestContext, error: GatewayError) -> None:
    """The gateway answers a gated call with ``error``. If that is a 502, 503 or 504, and the call is one of the first
    after a promotion, the call does not use up the user's claim window."""
    if context.may_reopen_claim and status_of(error) in _BROKEN_SERVICE:
        context.may_reopen_claim = False
        if context.room is not None and (member := context.member) is not None:
            room = rooms.get(context.room)
            if room is not None:
                room.reopen(member)


def check_unavailable(
    room: GatedRoom, error: QueueUnavailable, settings: Settings, renews_only: bool, metrics: Metrics
) -> None:
    """Whether a call passes the gate unchecked while Redis is unavailable. Raises ``error`` if not."""
    if room.mode != "off" and not (settings.queue_fail_open or renews_only):
        _refuse(room, error, metrics)
    metrics.passed_unchecked()


def _refuse(room: GatedRoom, error: GatewayError, metrics: Metrics) -> None:
    """Raises ``error``; a room that is only observed counts it."""
    if room.mode != "observe":
        raise error
    metrics.would_refuse(room.name, error.code)
