"""Authentication: identifies the caller by a token, or a visitor by a cookie. A token is checked once, and the result
is cached."""

from __future__ import annotations

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.api.body import form_values
from gateway.api.queue import lineup
from gateway.auth.access import LEAVE_CALL, Authenticator
from gateway.auth.csrf import check_csrf
from gateway.auth.operators import Operator
from gateway.auth.visitors import VisitorCookies, may_set_cookie
from gateway.context import (
    AUTHENTICATOR,
    CONFIGURATION,
    CONTEXT,
    OBSERVERS,
    OPERATOR,
    OPERATORS,
    ROOMS,
    UPLOADS,
    VISITORS,
    RequestContext,
)
from gateway.errors import CookieRequired, CsrfRejected, QueueUnavailable, RoleNotAllowed
from gateway.middleware.cors import RequestOrigins
from gateway.middleware.desk import admit_to_desk
from gateway.middleware.gate import lines_up_at_gate
from gateway.observability.metrics import Metrics
from gateway.server.head import RequestHead
from gateway.waiting_room.rooms import Rooms

_READS = frozenset({"GET", "HEAD"})


@web.middleware
async def authentication(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Identifies the caller. Raises an AuthError if the caller must have a token and has no valid one.

    An answer that was decided earlier, such as 404, is given only after this check. So a caller without a token can't
    find out which paths exist.
    """
    context = request[CONTEXT]
    if context.auth == "token":
        authenticator = request.app[AUTHENTICATOR]
        if counts_token(context):
            context.principal = authenticator.from_cache(request.headers)
        if context.principal is None or request.method == "POST":
            await _identify(request, context, authenticator)
        if context.identity != "token":
            app = request.app
            identify_visitor(request, context, app[VISITORS], app[ROOMS], app[OBSERVERS].metrics)
    elif context.auth == "management":
        request[OPERATOR] = _operator(request, context)
    elif context.auth in {"desk", "desk_open"}:
        await admit_to_desk(request, context)
    if context.refusal is not None:
        raise context.refusal
    return await handler(request)


async def _identify(request: web.Request, context: RequestContext, authenticator: Authenticator) -> None:
    target = context.target
    assert target is not None  # noqa: S101 - resolved before
    access = context.access or request.app[CONFIGURATION].tables.current.access
    form: list[str] = []
    if (request.method, target.path) == LEAVE_CALL:
        # Even if the token is known, because the next request on the connection comes after the body.
        form = await form_values(request, "access_token", request.app[UPLOADS], context.client)
    if context.principal is not None or not counts_token(context):
        return
    context.principal = await authenticator.identify(
        access,
        request.method,
        target.path,
        request.headers,
        query=target.raw_query,
        form=form,
        gated=context.gate_needs_token,
        identity=context.identity,
        place_is_enough=context.place_is_enough,
        origins=RequestOrigins(request, context),
    )


def counts_token(context: RequestContext) -> bool:
    """Whether a token says anything in this call. It does not about places that only visitors may have."""
    return context.identity != "visitor" or context.for_service


def identify_visitor(
    request: RequestHead, context: RequestContext, visitors: VisitorCookies, rooms: Rooms, metrics: Metrics
) -> None:
    """Identifies the visitor who calls, by the cookie, in a call that is about a place which a visitor may have.

    Raises CookieRequired if the caller must be one and is none; the answer then sets the cookie, if it may. Raises
    CsrfRejected if a foreign page may have caused the call, and QueueUnavailable as long as no secret is known. At a
    gate that lets everyone pass, none of them is raised, unless the visitor stands for a token that is needed.
    """
    try:
        lines_up = context.handler is lineup or lines_up_at_gate(context, rooms)
        _identify_visitor(request, context, visitors, lines_up=lines_up)
    except (CookieRequired, CsrfRejected, QueueUnavailable) as error:
        mode = "on" if context.room is None else rooms.mode_of(context.room)
        if context.room is None or mode == "on" or _stands_for_token(request, context):
            raise
        context.visitor_cookie = None
        if mode == "observe":
            metrics.would_refuse(context.room, error.code)


def _stands_for_token(request: RequestHead, context: RequestContext) -> bool:
    """Whether the access rules ask for a token, and the caller has none because a visitor needs none."""
    if not context.place_is_enough or context.principal is not None:
        return False
    access, target = context.access, context.target
    return access is None or target is None or not access.is_open(request.method, target.path)


def _identify_visitor(
    request: RequestHead, context: RequestContext, visitors: VisitorCookies, *, lines_up: bool
) -> None:
    if context.identity == "either" and context.principal is not None:
        # A user's own place counts.
        if lines_up:
            context.visitor_to_move = _visitor_who_signed_in(request, context, visitors)
        return
    required = not context.for_service or context.gate_needs_token
    if not visitors.known:
        if required:
            raise QueueUnavailable("the secret for visitors' cookies is not known yet")
        return
    headers, secure, origins = request.headers, context.over_tls, RequestOrigins(request, context)
    found = visitors.find(headers, secure=secure)
    if found.visitor is None:
        if not required:
            return
        # A third cookie would not make two of them count, and would replace the visitor's own.
        if found.cookies < 2 and may_set_cookie(request.method, headers, origins):
            context.visitor_cookie = visitors.new(secure=secure)
        raise CookieRequired
    try:
        check_csrf(request.method, headers, origins)
    except CsrfRejected:
        if required:
            raise
        return
    context.visitor = found.visitor.id
    if found.visitor.stale and may_set_cookie(request.method, headers, origins):
        context.visitor_cookie = visitors.renewed(found.visitor, secure=secure)


def _visitor_who_signed_in(
    request: RequestHead, context: RequestContext, visitors: VisitorCookies
) -> str | None:
    """The visitor that the user was until now, if the lineup brings that cookie too, and no foreign page caused it."""
    if not visitors.known:
        return None
    found = visitors.find(request.headers, secure=context.over_tls)
    try:
        check_csrf(request.method, request.headers, RequestOrigins(request, context))
    except CsrfRejected:
        return None
    return None if found.visitor is None else found.visitor.id


def _operator(request: web.Request, context: RequestContext) -> Operator:
    """The operator who calls. Raises RoleNotAllowed for a change by an operator who may only look, and the errors of
    ``Operators.identify``."""
    given = request.headers.getall("Authorization", ())
    operator = request.app[OPERATORS].identify(given, context.client)
    if operator.role != "act" and request.method not in _READS:
        raise RoleNotAllowed
    return operator
