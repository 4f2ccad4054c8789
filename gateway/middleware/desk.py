"""Who may use the operator's desk: its host, the session of the cookie, and the token that a change needs."""

from __future__ import annotations

from aiohttp import web

from gateway.api.desk_access import SESSION_LABEL, operator_of
from gateway.auth import desk
from gateway.context import (
    CONFIGURATION,
    DESK_SESSION,
    OPERATOR,
    OPERATORS,
    RequestContext,
)
from gateway.errors import CsrfRejected, HostNotAllowed, RoleNotAllowed, RouteNotFound, SessionRequired

_READS = frozenset({"GET", "HEAD"})


async def admit_to_desk(request: web.Request, context: RequestContext) -> None:
    """Lets a call of the desk pass. Raises RouteNotFound while there are no operators, HostNotAllowed, SessionRequired,
    CsrfRejected, RoleNotAllowed, and QueueUnavailable."""
    if not request.app[OPERATORS].exist:
        raise RouteNotFound
    host = context.origin.host if context.origin is not None else request.headers.get("Host", "")
    if not desk.answers_host(host, request.app[CONFIGURATION].settings.desk_hosts):
        raise HostNotAllowed
    if context.auth == "desk_open":
        return
    token = desk.token_of(request.headers.getall("Cookie", ()), secure=context.over_tls)
    operator = None if token is None else await operator_of(request.app, token)
    if token is None or operator is None:
        raise SessionRequired
    if request.method not in _READS:
        if not desk.may_change(token, request.headers.getall("X-CSRF-Token", ())):
            raise CsrfRejected
        if operator.role != "act" and context.label != SESSION_LABEL:
            raise RoleNotAllowed
    request[OPERATOR], request[DESK_SESSION] = operator, token
