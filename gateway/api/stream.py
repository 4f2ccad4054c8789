"""``GET /api/v1/queue/stream``: shows each user their place live."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

from gateway.api.endpoints import Endpoint
from gateway.api.i18n import message
from gateway.api.notices import notice_json
from gateway.api.queue import QUEUE, caller, room_name
from gateway.api.status import registration_json, status_json
from gateway.auth.passes import Passes
from gateway.context import CONFIGURATION, CONTEXT, DETACHED, HUBS, OBSERVERS, ROOMS, RequestContext
from gateway.errors import (
    MethodNotAllowed,
    NotInQueue,
    QueueFailed,
    QueueUnavailable,
    RoomNotFound,
    TokenExpired,
)
from gateway.observability.tracing import TRACE_ID
from gateway.request_accounting import CLIENT_GONE, DetachedCall
from gateway.server.whole_response import SERVER_NAME
from gateway.settings.model import Settings
from gateway.sse.frames import END_ID, to_json
from gateway.sse.hub import Hub
from gateway.sse.interfaces import UserState
from gateway.sse.protocol import StreamProtocol
from gateway.sse.response import EventStream
from gateway.waiting_room.named_room import UnmadeRoom
from gateway.waiting_room.notices import Notices
from gateway.waiting_room.room import Room
from gateway.waiting_room.state import State


class EventRenderer:
    """Data of one room's events, in the user's language: the hub's renderer."""

    def __init__(self, room: str, notices: Notices, passes: Passes | None = None) -> None:
        """``passes`` issues a pass for each admitted user; None if users get none."""
        self._notices = notices
        self._passes = passes
        self._room = room
        self._room_json = to_json(room)

    def status(self, state: UserState, languages: str, reason: str = "") -> str:
        """The status object."""
        if state.kind == "REGISTERED":
            return registration_json(self._room_json, state, languages)
        return status_json(self._room_json, state, languages, reason)

    def notice(self, languages: str) -> str:
        """The notice in force, as the data of an event."""
        notice = self._notices.current
        text = "" if notice is None else notice_json(notice, languages)
        return f'{{"notice":{text}}}' if text else "{}"

    @property
    def personal(self) -> bool:
        """Whether the data for each admitted user is another one."""
        return self._passes is not None

    def allowed_in(
        self, expires_in: float, locale: str, user: str, ticket: int, claim_by: int = 0
    ) -> Mapping[str, object]:
        """The data for an admitted user, whose session lasts ``expires_in`` seconds without further calls. ``ticket``:
        that of the user's place in line, 0 if it is unknown. ``claim_by``: until when the user must claim the slot, in
        epoch milliseconds; 0: need not."""
        data: dict[str, object] = {
            "message": message(locale, "status.allowed_in"),
            "room": self._room,
            "expiresInSeconds": max(0, round(expires_in)),
        }
        if claim_by:
            data["claimBy"] = claim_by
        if self._passes is not None:
            issued = self._passes.issue(self._room, user, ticket=ticket, expires_in=expires_in)
            if issued is not None:
                data["pass"] = issued.token
        return data

    def error(self, code: str, reason: str | None, locale: str) -> Mapping[str, object]:
        """The data that says why the stream ends."""
        key = f"removed.{reason}" if reason else f"error.{code}"
        data: dict[str, object] = {"code": code, "message": message(locale, key)}
        if reason:
            data["reason"] = reason
        return data


def endpoints(settings: Settings) -> tuple[Endpoint, ...]:
    """The endpoint of this module."""
    return (
        Endpoint(
            "GET", f"{QUEUE}/stream", stream, label="queue.stream", of_room=True, sheddable=True, streams=True
        ),
    )


async def stream(request: web.Request) -> web.StreamResponse:
    """Opens a stream. The room's hub serves it to its end, without this request."""
    if request.method != "GET":
        raise MethodNotAllowed(("GET",))
    app, context = request.app, request[CONTEXT]
    user = caller(context)
    room = await app[ROOMS].find(room_name(context))
    if isinstance(room, UnmadeRoom):
        # Without an event, since no lineup would end in this stream.
        raise NotInQueue
    hub = hub_of(context, app[HUBS])
    ended = has_ended(request.headers)
    late = context.visitor is None and context.principal is not None and context.principal.late
    if (ended or late) and (state := await _state(room, user)) is not None:
        if late and not state.pending:
            raise TokenExpired
        if ended and not state.pending:
            # The last event still holds. This status stops a browser's reconnects for good.
            return web.Response(status=204, headers={"Cache-Control": "no-store"})
    response = stream_response(context)
    opened = await response.start(
        request,
        user=user,
        locale=context.locale,
        languages=context.languages,
        max_buffer=app[CONFIGURATION].settings.sse_max_buffer_bytes,
        connections=app[DETACHED],
        on_end=StreamCall(context, app[OBSERVERS], request.method),
    )
    if opened is not None:
        context.detached = True
        serve(hub, opened)
    return response


def has_ended(headers: Mapping[str, str]) -> bool:
    """Whether the client has already got the last event of its stream."""
    return headers.get("Last-Event-ID") == END_ID


def hub_of(context: RequestContext, hubs: Mapping[str, Hub]) -> Hub:
    """The hub of the room that the call names. Raises RoomNotFound, and BadRequest for a malformed query."""
    name = room_name(context)
    hub = hubs.get(name)
    if hub is None:
        raise RoomNotFound(name)
    return hub


def stream_response(context: RequestContext) -> EventStream:
    """The answer that becomes a stream, with all headers of its own."""
    response = EventStream(headers={"Server": SERVER_NAME, TRACE_ID: context.trace_id})
    response.headers.extend(context.cors_headers)
    if context.visitor_cookie is not None:
        response.headers.add("Set-Cookie", context.visitor_cookie)
    if context.security is not None:
        context.security.add_missing(response.headers, response.status, own=True)
    return response


def serve(hub: Hub, opened: StreamProtocol) -> None:
    """Gives a stream that has just been opened to its hub."""
    try:
        hub.serve(opened)
    except BaseException:
        # No other code would end the stream.
        opened.abort()
        raise


class StreamCall(DetachedCall):
    """Logs the answer when its stream ends."""

    __slots__ = ()

    def __call__(self, stream: StreamProtocol) -> None:
        """Called when the connection of ``stream`` is lost."""
        self.ended(200 if stream.begun else CLIENT_GONE, stream.body_length, stream.end)


async def _state(room: Room, user: str) -> State | None:
    """The user's state; None if it can't be read. An EventSource never reconnects after a 503, so the stream is then
    opened all the same, and the wheel sends the state when Redis is back."""
    try:
        return await room.status(user)
    except (QueueUnavailable, QueueFailed):
        return None
